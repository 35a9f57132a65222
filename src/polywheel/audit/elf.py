"""ELF files: Linux and other Unix systems."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from types import ModuleType
from typing import TYPE_CHECKING

from polywheel.audit.binaries import (
    Binary,
    Format,
    Section,
    Symbol,
    damaged,
    machine_name,
    part_of,
    sorted_starts,
    sorted_symbols,
    text,
)

if TYPE_CHECKING:
    import lief

_POINTERS = {
    # https://gitlab.com/x86-psABIs/x86-64-ABI: R_X86_64_64, GLOB_DAT, JUMP_SLOT, RELATIVE
    "x86_64": frozenset({1, 6, 7, 8}),
    # https://github.com/ARM-software/abi-aa: R_AARCH64_ABS64, GLOB_DAT, JUMP_SLOT, RELATIVE
    "aarch64": frozenset({257, 1025, 1026, 1027}),
}
"""The relocations that write an address into the data."""
_RESOLVERS = {"x86_64": 37, "aarch64": 1032}
"""R_X86_64_IRELATIVE, R_AARCH64_IRELATIVE: the address of a resolver."""
_TYPE_BITS = 0xFFFFFF
"""lief adds the processor to the number of a relocation."""
_MAPPING = re.compile(r"\$[dx](\.|$)")
_STARTUP = (".preinit_array", ".init_array", ".fini_array", ".ctors", ".dtors")


def parse(lief: ModuleType, content: bytes, file: str) -> Binary:
    """Parse an ELF file. Raises WheelError if it is damaged."""
    settings = lief.ELF.ParserConfig()
    settings.parse_notes = settings.parse_symbol_versions = settings.parse_overlay = False
    elf = lief.ELF.parse(content, settings)
    if elf is None:
        raise damaged(file, "its ELF header is damaged")
    machine = machine_name(elf.header.machine_type)
    sections = tuple(_sections(lief, elf, content, file))
    pointers, imports, resolvers = _relocations(elf, machine)
    symbols = [Symbol("", address, 0, is_ifunc=True) for address in resolvers]
    named_functions, objects = _symbols(lief, elf)
    symbols += named_functions
    arrays = [section for section in sections if section.name in _STARTUP]
    entry_points = [section.address for section in sections if section.name in {".init", ".fini"}]
    entry_points += [
        pointers[place]
        for array in arrays
        for place in range(array.address, array.address + len(array.content), 8)
        if place in pointers
    ]
    functions = [(function.address, function.size) for function in elf.functions]
    functions += [(symbol.address, symbol.size) for symbol in symbols]
    if elf.header.entrypoint:
        entry_points.append(elf.header.entrypoint)
    return Binary(
        file=file,
        format=Format.ELF,
        machine=machine,
        sections=sections,
        symbols=sorted_symbols(symbols),
        starts=sorted_starts((start for start, _ in functions), sections),
        ends=sorted_starts((start + size for start, size in functions if size), sections),
        objects=sorted_symbols(objects),
        data_in_code=tuple(_data_in_code(elf, sections)),
        entry_points=tuple(entry_points),
        libraries=tuple(map(text, elf.libraries)),
        pointers=pointers,
        imports=imports,
    )


def _data_in_code(elf: lief.ELF.Binary, sections: tuple[Section, ...]) -> Iterator[tuple[int, int]]:
    """The data between instructions, according to mapping symbols: it starts at $d and ends at $x.

    https://github.com/ARM-software/abi-aa, "ELF for the Arm 64-bit Architecture"
    """
    marks = sorted(
        (symbol.value, text(symbol.name)[1])
        for symbol in elf.symtab_symbols
        if _MAPPING.match(text(symbol.name))
    )
    for section in sections if marks else ():
        if section.executable:
            end = section.address + len(section.content)
            own = [mark for mark in marks if section.address <= mark[0] < end]
            for (start, kind), (following, _) in pairwise([*own, (end, "")]):
                if kind == "d" and start < following:
                    yield start, following


def _symbols(lief: ModuleType, elf: lief.ELF.Binary) -> tuple[list[Symbol], list[Symbol]]:
    """The functions and the variables of the file: the symbols of both tables with an address."""
    functions: list[Symbol] = []
    variables: list[Symbol] = []
    kinds, visibilities = lief.ELF.Symbol.TYPE, lief.ELF.Symbol.VISIBILITY
    func, ifunc, variable = kinds.FUNC, kinds.GNU_IFUNC, kinds.OBJECT
    default, protected = visibilities.DEFAULT, visibilities.PROTECTED
    strong = lief.ELF.Symbol.BINDING.GLOBAL
    for table, is_dynamic in ((elf.dynamic_symbols, True), (elf.symtab_symbols, False)):
        for symbol in table:
            address = symbol.value
            if not address or not symbol.shndx:
                continue
            kind, size = symbol.type, symbol.size
            is_function = kind in (func, ifunc)  # their hashes are slow
            if not is_function and not (size and kind == variable):
                continue
            is_exported = (
                is_dynamic
                and symbol.binding == strong
                and symbol.visibility in (default, protected)
            )
            name = text(symbol.name)
            if is_function:
                functions.append(Symbol(name, address, size, kind == ifunc, is_exported))
            else:
                variables.append(Symbol(name, address, size, is_exported=is_exported))
    return functions, variables


def _relocations(
    elf: lief.ELF.Binary, machine: str
) -> tuple[dict[int, int], dict[int, str], list[int]]:
    """The addresses and the names that the loader looks up, by place, and the resolvers that it calls."""
    pointers: dict[int, int] = {}
    imports: dict[int, str] = {}
    resolvers: list[int] = []
    kinds, resolver = _POINTERS.get(machine, frozenset()), _RESOLVERS.get(machine)
    for relocation in elf.relocations if kinds else ():
        kind = int(relocation.type) & _TYPE_BITS
        if kind == resolver:
            resolvers.append(relocation.addend)
        elif kind not in kinds:
            continue
        symbol = relocation.symbol if relocation.has_symbol else None
        if symbol is None or not symbol.name:
            pointers[relocation.address] = relocation.addend
        elif symbol.value:
            pointers[relocation.address] = symbol.value + relocation.addend
        else:
            imports[relocation.address] = text(symbol.name)
    return pointers, imports, resolvers


def _sections(
    lief: ModuleType, elf: lief.ELF.Binary, content: bytes, file: str
) -> Iterator[Section]:
    """The sections of an ELF file; without a table of sections, its executable segments."""
    nobits, flags = lief.ELF.Section.TYPE.NOBITS, lief.ELF.Section.FLAGS
    header_end = elf.header.section_header_offset + (
        elf.header.numberof_sections * elf.header.section_header_size
    )
    part_of(content, 0, header_end, file, "the table of sections")
    for section in elf.sections:
        if section.size and section.type != nobits:
            name = text(section.name)
            part = part_of(content, section.offset, section.size, file, f"section {name}")
            executable, writable = section.has(flags.EXECINSTR), section.has(flags.WRITE)
            yield Section(name, section.virtual_address, part, executable, writable)
    if not elf.header.numberof_sections:
        for segment in elf.segments:
            if segment.type == lief.ELF.Segment.TYPE.LOAD and segment.has(lief.ELF.Segment.FLAGS.X):
                size = segment.physical_size
                part = part_of(content, segment.file_offset, size, file, "a segment")
                yield Section("", segment.virtual_address, part, executable=True)
