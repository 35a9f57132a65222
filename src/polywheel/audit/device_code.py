"""The GPU architectures of the device code in a file: CUDA's fatbins, and the offload bundles of HIP.

Only headers are read. The content comes from strangers: every read is checked against its end, each byte is
passed once, and what can't be read is reported as damage.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Protocol

from polywheel.errors import ConfigError

CUDA_SECTIONS = (".nv_fatbin", ".nv_fatb")
"""Device code that is loaded as it is. Names in PE files have eight characters."""
RELOCATABLE_SECTIONS = ("__nv_relfatbin", "__nv_rel")
"""Device code before the device linker. Its PTX is linked when it is loaded, its machine code is not."""
HIP_SECTIONS = (".hip_fatbin", ".hip_fat")

_MOST_ENTRIES = 1_000_000
"""The most entries of CUDA in one section that are read: more than any compiler writes."""


class NamedSection(Protocol):
    """A section of a file."""

    @property
    def name(self) -> str: ...

    @property
    def content(self) -> memoryview: ...


@dataclass(frozen=True, order=True, slots=True)
class CudaArchitecture:
    """One architecture of CUDA: ``90a_real`` is machine code for sm_90a, ``90_virtual`` is PTX of compute_90."""

    number: int
    """Ten times the compute capability: 90 for 9.0."""

    suffix: str
    """``a`` if only GPUs of exactly this number run it, ``f`` for GPUs of its family, or empty."""

    is_virtual: bool
    """Whether it is PTX, which the driver compiles for any later GPU when it is loaded."""

    def __str__(self) -> str:
        return f"{self.number}{self.suffix}_{'virtual' if self.is_virtual else 'real'}"

    def runs_as(self, other: CudaArchitecture) -> bool:
        """Whether GPUs for which a label names ``other`` can use this code.

        "CUDA Compute Capability" in the CUDA C++ Programming Guide: machine code runs on GPUs with the same
        major number and the same or a later minor number, PTX on all later GPUs.
        """
        if self == other:
            return True
        if other.is_virtual and not self.is_virtual:
            return False
        if self.suffix == "a":
            return self.number == other.number and not other.is_virtual
        if self.number > other.number:
            return False
        if self.is_virtual and not self.suffix:
            return True
        return self.number // 10 == other.number // 10 and not (self.suffix and other.is_virtual)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceCode:
    """The device code in a file."""

    cuda: frozenset[CudaArchitecture] = frozenset()
    hip: frozenset[str] = frozenset()
    """Names of processors, without their features: ``gfx90a`` for ``gfx90a:xnack+``."""

    damage: tuple[str, ...] = ()
    """Sentences about the device code that can't be read."""

    has_cuda: bool = False
    """Whether there is a section for CUDA."""

    has_hip: bool = False
    """Whether there is a section for HIP."""


def read_device_code(sections: Iterable[NamedSection]) -> DeviceCode:
    """Return the device code in the sections of a file."""
    linked: set[CudaArchitecture] = set()
    relocatable: set[CudaArchitecture] = set()
    hip: set[str] = set()
    damage: list[str] = []
    kinds = set()
    for section in sections:
        name = section.name.rpartition(",")[2]  # Mach-O: segment and section
        report = _reporter(damage, name)
        if name in CUDA_SECTIONS:
            kinds.add("cuda")
            linked.update(cuda_architectures(section.content, report))
        elif name in RELOCATABLE_SECTIONS:
            kinds.add("cuda")
            relocatable.update(cuda_architectures(section.content, report))
        elif name in HIP_SECTIONS:
            kinds.add("hip")
            hip.update(hip_processors(section.content, report))
    return DeviceCode(
        cuda=frozenset(linked | {code for code in relocatable if code.is_virtual or not linked}),
        hip=frozenset(hip),
        damage=tuple(dict.fromkeys(damage)),
        has_cuda="cuda" in kinds,
        has_hip="hip" in kinds,
    )


def _reporter(damage: list[str], name: str) -> Callable[[str], None]:
    return lambda what: damage.append(f"the device code in {name} {what}")


Report = Callable[[str], None]
"""Is called with the end of a sentence about damage."""

# CUDA. The format is not documented. A container starts with a magic number (4 bytes), its version, the size of
# its header (2 bytes each), and the size of its entries (8). An entry starts with its kind, its version (2 each),
# the size of its header (4), and the size of its payload (8), and has its architecture (4) at byte 28, and flags
# (8) at byte 40. The payload may be compressed, the header never is. Shown with nvcc 11.8 to 13.2.

_FATBIN = re.compile(re.escape(struct.pack("<I", 0xBA55ED50)))
_PTX, _MACHINE_CODE = 1, 2
"""Kinds of entries. Others are not code for a GPU: 8 is code for link-time optimization."""
_ONLY_THIS, _FAMILY = 0x100000, 0x200000
"""Flags of the architectures with the suffixes ``a`` and ``f``."""
_SHORTEST_ENTRY = 48


def cuda_architectures(content: memoryview, report: Report) -> Iterator[CudaArchitecture]:
    """Yield the architectures in a section with fatbins, once for each entry."""
    at = entries = 0
    while match := _FATBIN.search(content, at):
        at = match.start()
        if at + 16 > len(content):
            report("is cut short")
            return
        header, size = struct.unpack_from("<HQ", content, at + 6)
        end = at + header + size
        if header < 16:
            report("has a container with a damaged header")
            return
        at += header
        while at < end:
            if entries == _MOST_ENTRIES:
                report("has too many entries")
                return
            if at + _SHORTEST_ENTRY > len(content):
                report("is cut short")
                return
            kind, _, header, size = struct.unpack_from("<HHIQ", content, at)
            (number,) = struct.unpack_from("<I", content, at + 28)
            (flags,) = struct.unpack_from("<Q", content, at + 40)
            if header < _SHORTEST_ENTRY or at + header + size > end:
                report("has a damaged entry")
                return
            if kind in {_PTX, _MACHINE_CODE}:
                suffix = "a" if flags & _ONLY_THIS else "f" if flags & _FAMILY else ""
                yield CudaArchitecture(number, suffix, kind == _PTX)
            entries += 1
            at += header + size
        at = end
        if at > len(content):
            report("is cut short")
            return


# HIP. https://clang.llvm.org/docs/ClangOffloadBundler.html, "Bundled Binary File Layout" and "Compression and
# Decompression". Shown with clang 19 and ROCm 6.4 to 7.15.

_BUNDLE = b"__CLANG_OFFLOAD_BUNDLE__"
_START = re.compile(_BUNDLE + rb"|CCOB[\1-\3]\0[\0\1]\0")
"""The start of a bundle, or of a compressed one of version 1 to 3, with zlib (0) or Zstandard (1)."""
_SIZES = {1: struct.Struct("<8xI8x"), 2: struct.Struct("<8xII8x"), 3: struct.Struct("<8xQQ8x")}
"""The header of a compressed bundle: its size since version 2, its inflated size, a hash."""
_ALIGNMENT = 4096
"""Bundles start at a multiple of this. The search for a bundle after one of version 1 relies on it."""
_ENTRY = struct.Struct("<QQQ")
"""An entry of a bundle: offset, size, and the size of its id, which follows."""
_PROCESSOR = re.compile(rb"-(gfx[0-9a-z][0-9a-z-]*|amdgcnspirv)(:[0-9a-z:+-]*)?")
_MOST_BUNDLES, _MOST_IDS = 20_000, 1000
"""The most bundles of a section, and entries of a bundle, that are read. Every file of PyTorch gives a bundle."""
_LARGEST_TABLE = 64 * 1024
"""The largest table of entries that is read, in bytes. 100 processors need a tenth of it."""
_COMPRESSED_PART = 256 * 1024
"""How much of a compressed bundle is inflated for its table. A block of Zstandard has at most half of it."""


def hip_processors(content: memoryview, report: Report) -> Iterator[str]:
    """Yield the processors in a section with offload bundles, once for each entry."""
    at, step = 0, 1
    for _ in range(_MOST_BUNDLES):
        starts = (match for match in _START.finditer(content, at) if match.start() % step == 0)
        match = next(starts, None)
        if match is None:
            return
        at, step = match.start(), 1
        try:
            if match[0] == _BUNDLE:
                ids, size = _bundle_ids(content[at : at + _LARGEST_TABLE])
            else:
                start, size = _inflated_start(content[at:])
                ids, _ = _bundle_ids(memoryview(start))
        except _DamagedError as error:
            report(str(error))
            at = match.end()
            continue
        for name in ids:
            if processor := _PROCESSOR.search(name):
                yield processor[1].decode("ascii")
        if not size:
            at, step = match.end(), _ALIGNMENT
        at += size
        if at > len(content):
            report("is cut short")
            return
    report("has too many bundles")


class _DamagedError(Exception):
    """A bundle can't be read. The text is the end of a sentence."""


def _bundle_ids(start: memoryview) -> tuple[list[bytes], int]:
    """The ids of the entries of a bundle, and its size in bytes, from its start. Raises _DamagedError."""
    at = len(_BUNDLE) + 8
    if len(start) < at or start[: len(_BUNDLE)] != _BUNDLE:
        raise _DamagedError("has a damaged bundle")
    ids = []
    end = at
    count = int.from_bytes(start[at - 8 : at], "little")
    if count > _MOST_IDS:
        raise _DamagedError("has a bundle with a damaged table")
    for _ in range(count):
        if at + _ENTRY.size > len(start):
            raise _DamagedError("has a bundle with a damaged table")
        offset, size, length = _ENTRY.unpack_from(start, at)
        at += _ENTRY.size
        if at + length > len(start):
            raise _DamagedError("has a bundle with a damaged table")
        ids.append(bytes(start[at : at + length]))
        at += length
        end = max(end, at, offset + size)
    return ids, end


def _inflated_start(bundle: memoryview) -> tuple[bytes, int]:
    """The inflated start of a compressed bundle, and its size in bytes, 0 if unknown. Raises _DamagedError."""
    version, is_zstd = bundle[4], bundle[6]
    header = _SIZES[version]
    if len(bundle) < header.size:
        raise _DamagedError("is cut short")
    size = header.unpack_from(bundle)[0] if version > 1 else 0
    compressed = bundle[header.size : header.size + _COMPRESSED_PART]
    inflate = _unzstd if is_zstd else _unzlib
    return inflate(compressed), max(size, header.size) if version > 1 else 0


def _unzlib(compressed: memoryview) -> bytes:
    try:
        return zlib.decompressobj().decompress(compressed, _LARGEST_TABLE)
    except zlib.error as error:
        raise _DamagedError(f"has a damaged bundle: {error}") from None


def _unzstd(compressed: memoryview) -> bytes:
    zstd = _require_zstd()
    try:
        start: bytes = zstd.ZstdDecompressor().decompress(compressed, _LARGEST_TABLE)
    except zstd.ZstdError as error:
        raise _DamagedError(f"has a damaged bundle: {error}") from None
    return start


def _require_zstd() -> ModuleType:
    """Import the Zstandard module of Python 3.14, or its backport. Raises ConfigError if there is none."""
    for name in ("compression.zstd", "backports.zstd"):
        with suppress(ModuleNotFoundError):
            return import_module(name)
    raise ConfigError(
        "the audit of compressed HIP code needs the package backports.zstd",
        hint="pip install 'polywheel[audit]'",
    )
