"""Mach-O files: macOS."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

from polywheel.audit.binaries import (
    FAT,
    Binary,
    Format,
    Section,
    Symbol,
    damaged,
    is_in,
    machine_name,
    part_of,
    sorted_starts,
    sorted_symbols,
    text,
)

if TYPE_CHECKING:
    import lief


def parse(lief: ModuleType, content: bytes, file: str) -> Iterator[Binary]:
    """Parse a Mach-O file, or each part of a universal file. Raises WheelError if it is damaged."""
    fat = lief.MachO.parse(content, lief.MachO.ParserConfig.deep)
    if fat is None or not fat.size:
        raise damaged(file, "its Mach-O header is damaged")
    universal = content.startswith(FAT)
    if universal and fat.size != int.from_bytes(content[4:8], "big"):
        raise damaged(file, "not all parts of this universal file can be read")
    for macho in fat:
        if len(macho.commands) != macho.header.nb_cmds:
            raise damaged(file, "not all load commands can be read")
        machine = machine_name(macho.header.cpu_type)
        name = f"{file} ({machine})" if universal else file
        yield _describe(lief, macho, content, name)


def _describe(lief: ModuleType, macho: lief.MachO.Binary, content: bytes, file: str) -> Binary:
    sections = tuple(_sections(lief, macho, content, file))
    code = [section for section in sections if section.executable]
    exported = {text(symbol.name) for symbol in macho.exported_symbols}
    symbols = [
        Symbol(
            text(symbol.name).removeprefix("_"),
            symbol.value,
            is_exported=text(symbol.name) in exported,
        )
        for symbol in macho.symbols
        if symbol.value and symbol.name and is_in(symbol.value, code)
    ]
    starts = _function_starts(macho) | {function.address for function in macho.ctor_functions}
    return Binary(
        file=file,
        format=Format.MACH_O,
        machine=machine_name(macho.header.cpu_type),
        is_macos=_is_macos(lief, macho),
        sections=sections,
        symbols=sorted_symbols(symbols),
        starts=sorted_starts((*starts, *(symbol.address for symbol in symbols)), sections),
        entry_points=tuple(function.address for function in macho.ctor_functions),
        data_in_code=tuple(_data_in_code(macho)),
        libraries=tuple(
            text(library.name)
            for library in macho.libraries
            if library.command != lief.MachO.LoadCommand.TYPE.ID_DYLIB  # its own name
        ),
        pointers=dict(_pointers(macho)),
        imports={
            binding.address: text(binding.symbol.name).removeprefix("_")
            for binding in macho.bindings
            if binding.symbol is not None
        },
    )


def _function_starts(macho: lief.MachO.Binary) -> set[int]:
    """The starts of functions: LC_FUNCTION_STARTS; without it, those that the table for exceptions names.

    The table names the first function of those that are unwound in the same way, and at the end a place that is
    no function.
    """
    table = macho.function_starts
    starts = set() if table is None else {macho.imagebase + offset for offset in table.functions}
    return starts or set(sorted({function.address for function in macho.unwind_functions})[:-1])


def _is_macos(lief: ModuleType, macho: lief.MachO.Binary) -> bool:
    """Whether the file is for macOS. Those for iOS say so."""
    version = macho.build_version
    return version is None or version.platform == lief.MachO.BuildVersion.PLATFORMS.MACOS


def _sections(
    lief: ModuleType, macho: lief.MachO.Binary, content: bytes, file: str
) -> Iterator[Section]:
    flags, kinds = lief.MachO.Section.FLAGS, lief.MachO.Section.TYPE
    empty = {kinds.ZEROFILL, kinds.GB_ZEROFILL, kinds.THREAD_LOCAL_ZEROFILL}
    for section in macho.sections:
        if section.type in empty:
            continue
        name = f"{section.segment_name},{text(section.name)}"
        yield Section(
            name,
            section.virtual_address,
            part_of(content, macho.fat_offset + section.offset, section.size, file, name),
            section.has(flags.PURE_INSTRUCTIONS) or section.has(flags.SOME_INSTRUCTIONS),
            str(section.segment_name).startswith("__DATA"),
        )


def _data_in_code(macho: lief.MachO.Binary) -> Iterator[tuple[int, int]]:
    """The data between instructions: LC_DATA_IN_CODE."""
    for entry in () if macho.data_in_code is None else macho.data_in_code.entries:
        start = macho.imagebase + entry.offset
        yield start, start + entry.length


def _pointers(macho: lief.MachO.Binary) -> Iterator[tuple[int, int]]:
    """The places that the loader changes if it moves the file, and the addresses there."""
    for relocation in macho.relocations:
        target = getattr(relocation, "target", None)  # the class for chained fixups has it
        if target is None:
            target = macho.get_int_from_virtual_address(relocation.address, 8)
        if target:
            yield relocation.address, target
