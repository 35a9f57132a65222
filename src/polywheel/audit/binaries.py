"""The ELF, Mach-O, and PE files of a wheel, and their parts: sections, functions, libraries, pointers.

lief reads the files. They come from strangers, so :func:`parse_binaries` should run in a process of its own, see
:mod:`polywheel.audit.pool`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import ModuleType

from polywheel.errors import ConfigError, WheelError, os_error_as
from polywheel.system.files import open_regular
from polywheel.wheel.archive.central_directory import Member
from polywheel.wheel.archive.reader import Archive, open_archive

LARGEST = 4 * 1024**3 - 1
"""The largest member that is examined, in bytes."""
_SMALLEST = 64
"""Bytes of the smallest file: the headers of all formats are longer."""
FAT = (b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf")
_MACH_O = (b"\xfe\xed\xfa\xce", b"\xce\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xcf\xfa\xed\xfe")
_MOST_SLICES = 32
"""Java class files have the magic number of universal files, and a version of 45 or more in this place."""


class Format(Enum):
    ELF = "ELF"
    MACH_O = "Mach-O"
    PE = "PE"


@dataclass(frozen=True, slots=True)
class Section:
    """A named part of a file."""

    name: str
    """The name in the file; ``__TEXT,__text`` in Mach-O files."""

    address: int
    """Where it is in memory, relative to the start of the image as disassemblers show it."""

    content: memoryview
    executable: bool = False
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Symbol:
    """A function or a variable."""

    name: str
    address: int
    size: int = 0
    """Bytes; 0 if the file does not say it."""

    is_ifunc: bool = False
    """Whether it is a resolver: a function that returns the function to call (STT_GNU_IFUNC)."""

    is_exported: bool = False
    """Whether other files can use it. That is False for weak symbols: C++ compilers make them for each copy
    of an inline function, and every file has its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Binary:
    """One file with machine code, or the part of a universal file for one processor."""

    file: str
    """The name of the member, with the processor in parentheses for a universal file."""

    format: Format
    machine: str
    """``x86_64``, ``aarch64``, or the name that lief has for another processor."""

    sections: tuple[Section, ...] = ()
    symbols: tuple[Symbol, ...] = ()
    """Its functions, by address. A function may have several names."""

    starts: tuple[int, ...] = ()
    """The sorted addresses at which functions start, from symbols and tables for exceptions."""

    ends: tuple[int, ...] = ()
    """The addresses at which functions end, as far as the file says it. Other functions or data follow."""

    objects: tuple[Symbol, ...] = ()
    """Its variables, by address."""

    data_in_code: tuple[tuple[int, int], ...] = ()
    """The first address and the end of data between its instructions, as far as the file says it."""

    entry_points: tuple[int, ...] = ()
    """The addresses of functions that the loader calls: initializers and the like."""

    libraries: tuple[str, ...] = ()
    """The libraries that it needs: DT_NEEDED, LC_LOAD_DYLIB, or the import table."""

    pointers: Mapping[int, int] = field(default_factory=dict)
    """The addresses in its data that the loader writes, by the address of the place."""

    imports: Mapping[int, str] = field(default_factory=dict)
    """The names of the functions and variables that the loader looks up, by the address of the place."""

    is_macos: bool = False
    """Whether it runs on macOS, whose processors all have more than the baseline of their machine."""

    @property
    def code(self) -> tuple[Section, ...]:
        """The executable sections."""
        return tuple(section for section in self.sections if section.executable)

    def section(self, name: str) -> Section | None:
        """Return the first section with a name; None if there is none."""
        return next((section for section in self.sections if section.name == name), None)


@dataclass(frozen=True, slots=True)
class BinaryMember:
    """A member of a wheel that has machine code, according to its first bytes."""

    name: str
    size: int
    """Bytes, inflated."""


def binary_members(wheel: Path) -> tuple[BinaryMember, ...]:
    """Return the members of a wheel with machine code, in its order. Raises WheelError."""
    with _opened(wheel) as archive:
        return tuple(
            BinaryMember(member.name, member.size)
            for member in archive.members
            if is_binary(_first_bytes(archive, member))
        )


@contextmanager
def _opened(wheel: Path) -> Iterator[Archive]:
    with (
        os_error_as(WheelError, f"{wheel.name} can't be read", at=wheel.parent),
        open_regular(wheel) as file,
    ):
        yield open_archive(file, wheel)


def _first_bytes(archive: Archive, member: Member) -> bytes:
    try:
        return archive.start(member, 8) if member.size >= 8 else b""
    except WheelError:
        # `polywheel show --hashes` reports it. It may have been code.
        return b"\x7fELF" if ".so" in member.name or member.name.endswith(_SUFFIXES) else b""


_SUFFIXES = (".pyd", ".dll", ".dylib", ".exe")


def is_binary(start: bytes) -> bool:
    """Whether the first eight bytes of a file are those of an ELF, Mach-O, or PE file."""
    if start.startswith(FAT):
        return 0 < int.from_bytes(start[4:8], "big") <= _MOST_SLICES
    return start.startswith((b"\x7fELF", b"MZ", *_MACH_O))


def read_member(wheel: Path, name: str) -> bytes:
    """Return the content of a member of at most :data:`LARGEST` bytes. Raises WheelError."""
    with _opened(wheel) as archive:
        return archive.read_named(name, limit=LARGEST)


def names_used_in_wheel(wheel: Path, library: str) -> frozenset[str] | None:
    """Return the names that the other files of a wheel import, if only they use a library.

    That is so for libraries that auditwheel or delocate copied into the wheel under a name of their own, and that
    others need. Returns None for other files. Raises WheelError.
    """
    folder, _, name = library.rpartition("/")
    if not folder.endswith((".libs", ".dylibs")) or name.lower().endswith(".dll"):
        return None
    names: set[str] = set()
    is_needed = False
    for member in binary_members(wheel):
        if member.name == library:
            continue
        for binary in parse_binaries(read_member(wheel, member.name), member.name):
            names.update(binary.imports.values())
            is_needed |= any(needed.rpartition("/")[2] == name for needed in binary.libraries)
    return frozenset(names) if is_needed else None


def _import_lief() -> ModuleType:
    """Import lief. Raises ConfigError if it is missing."""
    try:
        import lief
    except ModuleNotFoundError:
        raise ConfigError(
            "the audit of machine code needs the package lief",
            hint="pip install 'polywheel[audit]'",
        ) from None
    lief.logging.disable()
    return lief


def parse_binaries(content: bytes, file: str) -> tuple[Binary, ...]:
    """Parse the content of a file: one description, or one for each part of a universal file.

    ``file`` is its name. Raises WheelError if it is damaged, and ConfigError if lief is missing.
    """
    from polywheel.audit import elf, mach_o, pe

    lief = _import_lief()
    if len(content) < _SMALLEST:
        raise damaged(file, f"it has only {len(content)} bytes")
    try:
        if content.startswith(b"\x7fELF"):
            return (elf.parse(lief, content, file),)
        if content.startswith(b"MZ"):
            return (pe.parse(lief, content, file),)
        if content.startswith((*_MACH_O, *FAT)):
            return tuple(mach_o.parse(lief, content, file))
    except WheelError:
        raise
    except Exception as error:  # noqa: BLE001 -- SystemError, for example, for an unknown processor
        raise damaged(file, f"lief can't read it ({type(error).__name__}: {error})") from None
    raise damaged(file, "it is no ELF, Mach-O, or PE file")


def damaged(file: str, why: str) -> WheelError:
    return WheelError(f"{file} can't be examined: {why}")


_MACHINES = {
    **dict.fromkeys(("X86_64", "AMD64"), "x86_64"),
    **dict.fromkeys(("AARCH64", "ARM64"), "aarch64"),
    **dict.fromkeys(("I386", "X86"), "x86"),
}


def text(name: str | bytes) -> str:
    """A name in a file as text: lief returns bytes if they are not valid UTF-8."""
    return name if isinstance(name, str) else name.decode("utf-8", "backslashreplace")


def machine_name(machine: object) -> str:
    name = str(machine).rpartition(".")[2]
    return _MACHINES.get(name, name.lower())


def part_of(content: bytes, offset: int, size: int, file: str, name: str) -> memoryview:
    """The bytes of a section. Raises WheelError if the file ends before them."""
    if offset + size > len(content):
        raise damaged(file, f"it is cut short, {name} ends after the end of the file")
    return memoryview(content)[offset : offset + size]


def sorted_symbols(symbols: Iterable[Symbol]) -> tuple[Symbol, ...]:
    """Return symbols by address. Of two tables with the same symbol, the one that exports it counts."""
    by_place: dict[tuple[int, str], Symbol] = {}
    for symbol in symbols:
        known = by_place.setdefault((symbol.address, symbol.name), symbol)
        if symbol.is_exported and not known.is_exported:
            by_place[symbol.address, symbol.name] = symbol
    return tuple(by_place[place] for place in sorted(by_place))


def is_in(address: int, sections: Iterable[Section]) -> bool:
    """Whether an address is in one of the sections."""
    return any(
        section.address <= address < section.address + len(section.content) for section in sections
    )


def sorted_starts(starts: Iterable[int], sections: Iterable[Section]) -> tuple[int, ...]:
    """Return addresses, sorted, that are in the code."""
    ordered = sorted(set(starts))
    inside: set[int] = set()
    for section in sections:
        if section.executable:
            first = bisect_left(ordered, section.address)
            last = bisect_left(ordered, section.address + len(section.content))
            inside.update(ordered[first:last])
    return tuple(sorted(inside))
