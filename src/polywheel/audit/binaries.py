"""The ELF, Mach-O, and PE files of a wheel, and their parts: sections, functions, libraries, pointers.

lief reads the files. They come from strangers, so :func:`parse_binaries` should run in a process of its own, see
:mod:`polywheel.audit.pool`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from polywheel.errors import ConfigError, WheelError, os_error_as
from polywheel.system.files import open_regular
from polywheel.wheel.archive.central_directory import Member
from polywheel.wheel.archive.reader import Archive, open_archive

if TYPE_CHECKING:
    import lief

LARGEST = 4 * 1024**3 - 1
"""The largest member that is examined, in bytes."""
_SMALLEST = 64
"""Bytes of the smallest file: the headers of all formats are longer."""
_FAT = (b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf")
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


@dataclass(frozen=True, slots=True)
class Symbol:
    """A function."""

    name: str
    address: int
    size: int = 0
    """Bytes; 0 if the file does not say it."""

    is_ifunc: bool = False
    """Whether it is a resolver: a function that returns the function to call (STT_GNU_IFUNC)."""


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

    libraries: tuple[str, ...] = ()
    """The libraries that it needs: DT_NEEDED, LC_LOAD_DYLIB, or the import table."""

    pointers: Mapping[int, int] = field(default_factory=dict)
    """The addresses in its data that the loader writes, by the address of the place."""

    imports: Mapping[int, str] = field(default_factory=dict)
    """The names of the functions and variables that the loader looks up, by the address of the place."""

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
    if start.startswith(_FAT):
        return 0 < int.from_bytes(start[4:8], "big") <= _MOST_SLICES
    return start.startswith((b"\x7fELF", b"MZ", *_MACH_O))


def read_member(wheel: Path, name: str) -> bytes:
    """Return the content of a member of at most :data:`LARGEST` bytes. Raises WheelError."""
    with _opened(wheel) as archive:
        return archive.read_named(name, limit=LARGEST)


def require_lief() -> ModuleType:
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
    lief = require_lief()
    if len(content) < _SMALLEST:
        raise _damaged(file, f"it has only {len(content)} bytes")
    try:
        if content.startswith(b"\x7fELF"):
            return (_parse_elf(lief, content, file),)
        if content.startswith(b"MZ"):
            return (_parse_pe(lief, content, file),)
        if content.startswith((*_MACH_O, *_FAT)):
            return tuple(_parse_mach_o(lief, content, file))
    except WheelError:
        raise
    except Exception as error:  # noqa: BLE001 -- SystemError, for example, for an unknown processor
        raise _damaged(file, f"lief can't read it ({type(error).__name__}: {error})") from None
    raise _damaged(file, "it is no ELF, Mach-O, or PE file")


def _damaged(file: str, why: str) -> WheelError:
    return WheelError(f"{file} can't be examined: {why}")


_MACHINES = {
    **dict.fromkeys(("X86_64", "AMD64"), "x86_64"),
    **dict.fromkeys(("AARCH64", "ARM64"), "aarch64"),
    **dict.fromkeys(("I386", "X86"), "x86"),
}


def _text(name: str | bytes) -> str:
    """A name in a file as text: lief returns bytes if they are not valid UTF-8."""
    return name if isinstance(name, str) else name.decode("utf-8", "backslashreplace")


def _machine(machine: object) -> str:
    name = str(machine).rpartition(".")[2]
    return _MACHINES.get(name, name.lower())


def _part(content: bytes, offset: int, size: int, file: str, name: str) -> memoryview:
    """The bytes of a section. Raises WheelError if the file ends before them."""
    if offset + size > len(content):
        raise _damaged(file, f"it is cut short, {name} ends after the end of the file")
    return memoryview(content)[offset : offset + size]


def _sorted_functions(
    symbols: Iterable[Symbol], starts: Iterable[int], code: Iterable[Section]
) -> tuple[tuple[Symbol, ...], tuple[int, ...]]:
    """The symbols by address without duplicates, and the sorted starts of functions in the code."""
    ranges = [(section.address, section.address + len(section.content)) for section in code]
    functions = sorted(set(symbols), key=lambda symbol: (symbol.address, symbol.name))
    addresses = {*starts, *(symbol.address for symbol in functions)}
    inside = [at for at in addresses if any(first <= at < last for first, last in ranges)]
    return tuple(functions), tuple(sorted(inside))


# ELF

_POINTER_TYPES = {
    # https://gitlab.com/x86-psABIs/x86-64-ABI, https://github.com/ARM-software/abi-aa (aaelf64)
    "x86_64": {"X86_64_RELATIVE", "X86_64_64", "X86_64_GLOB_DAT", "X86_64_JUMP_SLOT"},
    "aarch64": {"AARCH64_RELATIVE", "AARCH64_ABS64", "AARCH64_GLOB_DAT", "AARCH64_JUMP_SLOT"},
}
_IRELATIVE = ("X86_64_IRELATIVE", "AARCH64_IRELATIVE")


def _parse_elf(lief: ModuleType, content: bytes, file: str) -> Binary:
    settings = lief.ELF.ParserConfig()
    settings.parse_notes = settings.parse_symbol_versions = settings.parse_overlay = False
    elf = lief.ELF.parse(content, settings)
    if elf is None:
        raise _damaged(file, "its ELF header is damaged")
    machine = _machine(elf.header.machine_type)
    sections = tuple(_elf_sections(lief, elf, content, file))
    code = [section for section in sections if section.executable]
    function_types = {lief.ELF.Symbol.TYPE.FUNC, lief.ELF.Symbol.TYPE.GNU_IFUNC}
    symbols = [
        Symbol(
            _text(symbol.name), symbol.value, symbol.size, symbol.type != lief.ELF.Symbol.TYPE.FUNC
        )
        for table in (elf.symtab_symbols, elf.dynamic_symbols)
        for symbol in table
        if symbol.type in function_types and symbol.value and symbol.shndx
    ]
    pointers: dict[int, int] = {}
    imports: dict[int, str] = {}
    kinds = _POINTER_TYPES.get(machine, set())
    for relocation in elf.relocations if kinds else ():
        kind = str(relocation.type).rpartition(".")[2]
        if kind in _IRELATIVE:
            symbols.append(Symbol("", relocation.addend, 0, is_ifunc=True))
        elif kind not in kinds:
            continue
        symbol = relocation.symbol if relocation.has_symbol else None
        if symbol is None or not symbol.name:
            pointers[relocation.address] = relocation.addend
        elif symbol.value:
            pointers[relocation.address] = symbol.value + relocation.addend
        else:
            imports[relocation.address] = _text(symbol.name)
    starts = (function.address for function in elf.functions)
    functions, addresses = _sorted_functions(symbols, starts, code)
    return Binary(
        file=file,
        format=Format.ELF,
        machine=machine,
        sections=sections,
        symbols=functions,
        starts=addresses,
        libraries=tuple(map(_text, elf.libraries)),
        pointers=pointers,
        imports=imports,
    )


def _elf_sections(
    lief: ModuleType, elf: lief.ELF.Binary, content: bytes, file: str
) -> Iterator[Section]:
    """The sections of an ELF file; without a table of sections, its executable segments."""
    nobits, executable = lief.ELF.Section.TYPE.NOBITS, lief.ELF.Section.FLAGS.EXECINSTR
    header_end = elf.header.section_header_offset + (
        elf.header.numberof_sections * elf.header.section_header_size
    )
    _part(content, 0, header_end, file, "the table of sections")
    for section in elf.sections:
        if section.size and section.type != nobits:
            yield Section(
                _text(section.name),
                section.virtual_address,
                _part(
                    content, section.offset, section.size, file, f"section {_text(section.name)}"
                ),
                section.has(executable),
            )
    if not elf.header.numberof_sections:
        for segment in elf.segments:
            if segment.type == lief.ELF.Segment.TYPE.LOAD and segment.has(lief.ELF.Segment.FLAGS.X):
                part = _part(content, segment.file_offset, segment.physical_size, file, "a segment")
                yield Section("", segment.virtual_address, part, executable=True)


# PE


def _parse_pe(lief: ModuleType, content: bytes, file: str) -> Binary:
    settings = lief.PE.ParserConfig()
    settings.parse_exceptions = True
    settings.parse_rsrc = settings.parse_signature = settings.parse_reloc = False
    pe = lief.PE.parse(content, settings)
    if pe is None or len(pe.sections) != pe.header.numberof_sections:
        raise _damaged(file, "its PE header is damaged")
    base = pe.optional_header.imagebase
    executable = lief.PE.Section.CHARACTERISTICS.MEM_EXECUTE
    sections = tuple(
        Section(
            _text(section.name),
            base + section.virtual_address,
            _part(
                content,
                section.pointerto_raw_data,
                min(section.sizeof_raw_data, section.virtual_size or section.sizeof_raw_data),
                file,
                f"section {_text(section.name)}",
            ),
            section.has_characteristic(executable),
        )
        for section in pe.sections
    )
    symbols = [
        Symbol(_text(function.name), base + function.address)
        for function in pe.exported_functions
        if function.name
    ]
    imports = {
        base + entry.iat_address: _text(entry.name)
        for library in pe.imports
        for entry in library.entries
        if not entry.is_ordinal
    }
    starts = (base + function.address for function in pe.exception_functions)
    code = [section for section in sections if section.executable]
    functions, addresses = _sorted_functions(symbols, starts, code)
    return Binary(
        file=file,
        format=Format.PE,
        machine=_machine(pe.header.machine),
        sections=sections,
        symbols=functions,
        starts=addresses,
        libraries=tuple(_text(library.name) for library in (*pe.imports, *pe.delay_imports)),
        imports=imports,
    )


# Mach-O


def _parse_mach_o(lief: ModuleType, content: bytes, file: str) -> Iterator[Binary]:
    fat = lief.MachO.parse(content, lief.MachO.ParserConfig.deep)
    if fat is None or not fat.size:
        raise _damaged(file, "its Mach-O header is damaged")
    universal = content.startswith(_FAT)
    if universal and fat.size != struct.unpack_from(">I", content, 4)[0]:
        raise _damaged(file, "not all parts of this universal file can be read")
    for macho in fat:
        if len(macho.commands) != macho.header.nb_cmds:
            raise _damaged(file, "not all load commands can be read")
        machine = _machine(macho.header.cpu_type)
        name = f"{file} ({machine})" if universal else file
        yield _describe_mach_o(lief, macho, content, name, machine)


def _describe_mach_o(
    lief: ModuleType, macho: lief.MachO.Binary, content: bytes, file: str, machine: str
) -> Binary:
    flags = lief.MachO.Section.FLAGS
    code_flags = (flags.PURE_INSTRUCTIONS, flags.SOME_INSTRUCTIONS)
    empty = {
        lief.MachO.Section.TYPE.ZEROFILL,
        lief.MachO.Section.TYPE.GB_ZEROFILL,
        lief.MachO.Section.TYPE.THREAD_LOCAL_ZEROFILL,
    }
    sections = tuple(
        Section(
            f"{section.segment_name},{_text(section.name)}",
            section.virtual_address,
            _part(
                content, macho.fat_offset + section.offset, section.size, file, _text(section.name)
            ),
            any(section.has(flag) for flag in code_flags),
        )
        for section in macho.sections
        if section.type not in empty
    )
    code = [section for section in sections if section.executable]
    symbols = [
        Symbol(_text(symbol.name).removeprefix("_"), symbol.value)
        for symbol in macho.symbols
        if symbol.value and symbol.name and _is_in(symbol.value, code)
    ]
    starts = {function.address for function in macho.functions}
    if macho.function_starts is not None:
        starts |= {macho.imagebase + offset for offset in macho.function_starts.functions}
    functions, addresses = _sorted_functions(symbols, starts, code)
    return Binary(
        file=file,
        format=Format.MACH_O,
        machine=machine,
        sections=sections,
        symbols=functions,
        starts=addresses,
        libraries=tuple(_text(library.name) for library in macho.libraries),
        pointers={},
        imports={
            binding.address: _text(binding.symbol.name).removeprefix("_")
            for binding in macho.bindings
            if binding.symbol is not None
        },
    )


def _is_in(address: int, sections: Iterable[Section]) -> bool:
    return any(
        section.address <= address < section.address + len(section.content) for section in sections
    )
