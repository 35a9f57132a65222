"""CUDA code in wheels."""

from __future__ import annotations

import struct
from pathlib import Path

from support.builds import Wheel, extension, run

_CONTAINER = 0xBA55ED50
_MACHINE_CODE = 2


def architectures(wheel: Wheel, scratch: Path) -> set[tuple[str, int]]:
    """What lies in the section .nv_fatbin: kind (``ptx`` or ``elf``) and architecture of each entry.

    A container starts with magic (u32), version, header size (u16 each) and size (u64); an entry
    with kind, version (u16 each), header size (u32), payload size (u64), and has the architecture
    at byte 28.
    """
    module = extension(wheel, scratch)
    section = scratch / "fatbin"
    run(["objcopy", "-O", "binary", "--only-section=.nv_fatbin", module, section], cwd=scratch)
    content = section.read_bytes()
    found = set()
    at = 0
    while at + 16 <= len(content):
        magic, _, header, size = struct.unpack_from("<IHHQ", content, at)
        if magic != _CONTAINER:
            at += 8  # containers are aligned
            continue
        end = at + header + size
        at += header
        while at < end:
            kind, _, entry, payload = struct.unpack_from("<HHIQ", content, at)
            (architecture,) = struct.unpack_from("<I", content, at + 28)
            found.add(("elf" if kind == _MACHINE_CODE else "ptx", architecture))
            at += entry + payload
    return found
