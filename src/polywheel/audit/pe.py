"""PE files: Windows."""

from __future__ import annotations

from collections.abc import Iterator
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


def parse(lief: ModuleType, content: bytes, file: str) -> Binary:
    """Parse a PE file. Raises WheelError if it is damaged."""
    settings = lief.PE.ParserConfig()
    settings.parse_exceptions = True
    settings.parse_rsrc = settings.parse_signature = False
    pe = lief.PE.parse(content, settings)
    if pe is None or len(pe.sections) != pe.header.numberof_sections:
        raise damaged(file, "its PE header is damaged")
    base = pe.optional_header.imagebase
    sections = tuple(_sections(lief, pe, content, file))
    symbols = [
        Symbol(text(function.name), base + function.address, is_exported=True)
        for function in pe.exported_functions
    ]
    entry_points = [] if pe.tls is None else list(pe.tls.callbacks)
    if pe.optional_header.addressof_entrypoint:
        entry_points.append(base + pe.optional_header.addressof_entrypoint)
    starts = [base + function.address for function in pe.exception_functions]
    starts += [symbol.address for symbol in symbols]
    return Binary(
        file=file,
        format=Format.PE,
        machine=machine_name(pe.header.machine),
        sections=sections,
        symbols=sorted_symbols(symbol for symbol in symbols if symbol.name),
        starts=sorted_starts((*starts, *entry_points), sections),
        ends=sorted_starts(
            (
                base + function.address + function.size
                for function in pe.exception_functions
                if function.size
            ),
            sections,
        ),
        entry_points=tuple(entry_points),
        libraries=tuple(text(library.name) for library in (*pe.imports, *pe.delay_imports)),
        pointers=dict(_pointers(lief, pe, sections)),
        imports={
            base + entry.iat_address: text(entry.name)
            for library in pe.imports
            for entry in library.entries
            if not entry.is_ordinal
        },
    )


def _sections(lief: ModuleType, pe: lief.PE.Binary, content: bytes, file: str) -> Iterator[Section]:
    flags = lief.PE.Section.CHARACTERISTICS
    for section in pe.sections:
        name, size = text(section.name), section.sizeof_raw_data
        yield Section(
            name,
            pe.optional_header.imagebase + section.virtual_address,
            part_of(
                content,
                section.pointerto_raw_data,
                min(size, section.virtual_size or size),
                file,
                f"section {name}",
            ),
            section.has_characteristic(flags.MEM_EXECUTE),
            section.has_characteristic(flags.MEM_WRITE),
        )


def _pointers(
    lief: ModuleType, pe: lief.PE.Binary, sections: tuple[Section, ...]
) -> Iterator[tuple[int, int]]:
    """The places that the loader changes if it moves the file, and the addresses there."""
    base = pe.optional_header.imagebase
    wide = lief.PE.RelocationEntry.BASE_TYPES.DIR64
    for block in pe.relocations:
        for entry in block.entries:
            if entry.type != wide:
                continue
            place = base + entry.address
            for section in sections:
                at = place - section.address
                if 0 <= at <= len(section.content) - 8:
                    yield place, int.from_bytes(section.content[at : at + 8], "little")
