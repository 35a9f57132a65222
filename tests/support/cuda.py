"""Device code in files: fatbins and bundles as compilers write them, and the CUDA code of a wheel."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from polywheel.audit.binaries import parse_binaries
from polywheel.audit.device_code import read_device_code
from support.builds import Wheel
from support.projects import ROOT


def architectures(wheel: Wheel) -> set[str]:
    """The architectures of the CUDA code in a wheel: ``80_real``, ``90_virtual``."""
    return {
        str(architecture)
        for name, content in wheel.members.items()
        if name.endswith((".so", ".pyd"))
        for binary in parse_binaries(content, name)
        for architecture in read_device_code(binary.sections).cuda
    }


@dataclass(frozen=True)
class RecordedCode:
    """Device code that a compiler has written, with zeros in place of the code itself."""

    sections: Mapping[str, bytes]
    architectures: list[str]


@cache
def recorded_code() -> Mapping[str, RecordedCode]:
    """All of tests/unit/data/device-code.json, which says how each was compiled."""
    document = json.loads((ROOT / "tests/unit/data/device-code.json").read_text("utf-8"))
    return {
        name: RecordedCode(
            {section: _content(**parts) for section, parts in record["sections"].items()},
            record["architectures"],
        )
        for name, record in document.items()
    }


def _content(size: int, headers: list[tuple[int, str]]) -> bytes:
    content = bytearray(size)
    for at, header in headers:
        part = bytes.fromhex(header)
        content[at : at + len(part)] = part
    return bytes(content)


def fatbin(*entries: tuple[int, int, int]) -> bytes:
    """A container. Each entry has a kind (1: PTX, 2: machine code), an architecture, and flags."""
    body = b"".join(
        struct.pack("<HHIQIIHHIIIQQQ", kind, 0x101, 64, 8, 0, 0, 1, 8, number, 0, 0, flags, 0, 0)
        + bytes(8)
        for kind, number, flags in entries
    )
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def cuda_code(*names: str) -> bytes:
    """A container with these architectures: ``80_real``, ``90a_virtual``."""
    entries = []
    for name in names:
        number, _, kind = name.partition("_")
        flags = {"a": 0x100000, "f": 0x200000}.get(number[-1], 0)
        entries.append((1 if kind == "virtual" else 2, int(number.rstrip("af")), flags | 0x11))
    return fatbin(*entries)


def bundle(ids: Iterable[str]) -> bytes:
    """An offload bundle with four bytes of code for each entry."""
    entries = [name.encode() for name in ids]
    start = 32 + sum(24 + len(name) for name in entries)
    table = b"".join(
        struct.pack("<QQQ", start + 4 * number, 4, len(name)) + name
        for number, name in enumerate(entries)
    )
    header = b"__CLANG_OFFLOAD_BUNDLE__" + struct.pack("<Q", len(entries))
    return header + table + b"code" * len(entries)


def hip_code(*processors: str) -> bytes:
    """A bundle with code for these processors, and without the code of the host."""
    host = "host-x86_64-unknown-linux-gnu-"
    return bundle([host, *(f"hipv4-amdgcn-amd-amdhsa--{name}" for name in processors)])
