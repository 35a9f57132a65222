"""Small ELF, Mach-O, and PE files, as linkers write them, with code of one's choice."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

X86_64, AARCH64 = 62, 183
"""Machines of ELF files."""
CODE_AT = 0x1000
"""The address of the code in all files."""
RET = b"\xc3"
_FUNC, _IFUNC = 2, 10


def elf_file(
    code: bytes = RET,
    *,
    machine: int = X86_64,
    functions: Mapping[str, tuple[int, int]] | None = None,
    resolvers: Iterable[str] = (),
    libraries: Iterable[str] = (),
    sections: Mapping[str, bytes] | None = None,
) -> bytes:
    """A shared library. ``functions`` are offset in the code and size, by name; ``resolvers`` are those of
    them that are ifuncs. ``sections`` are further ones that are not loaded.
    """
    strings = bytearray(b"\0")

    def string(text: str) -> int:
        at = len(strings)
        strings.extend(text.encode() + b"\0")
        return at

    symbols = [struct.pack("<IBBHQQ", 0, 0, 0, 0, 0, 0)]
    for name, (offset, size) in (functions or {}).items():
        info = 1 << 4 | (_IFUNC if name in resolvers else _FUNC)
        symbols.append(struct.pack("<IBBHQQ", string(name), info, 0, 1, CODE_AT + offset, size))
    dynamic = [struct.pack("<QQ", 1, string(library)) for library in libraries]
    # name, type, flags, content, link, entry size
    parts: list[tuple[str, int, int, bytes, int, int]] = [
        (".text", 1, 6, code, 0, 0),
        (".dynsym", 11, 2, b"".join(symbols), 3, 24),
        (".dynstr", 3, 2, b"", 0, 0),
        (".dynamic", 6, 3, b"", 3, 16),
        *((name, 1, 0, content, 0, 0) for name, content in (sections or {}).items()),
        (".shstrtab", 3, 0, b"", 0, 0),
    ]
    names = bytearray(b"\0")
    headers = [bytes(64)]
    body = bytearray()
    offsets: dict[str, tuple[int, int]] = {}
    dynamic_size = 16 * (len(dynamic) + 5)
    for name, kind, flags, given, link, entry in parts:
        name_at = len(names)
        names.extend(name.encode() + b"\0")
        content = given
        if name == ".dynstr":
            content = bytes(strings)
        elif name == ".dynamic":
            content = bytes(dynamic_size)
        elif name == ".shstrtab":
            content = bytes(names)
        body.extend(bytes(-len(body) % 16))
        at = CODE_AT + len(body)
        offsets[name] = (at, len(content))
        body.extend(content)
        headers.append(
            struct.pack(
                *("<IIQQQQIIQQ", name_at, kind, flags, at if flags else 0, at, len(content)),
                *(link, 1 if name == ".dynsym" else 0, 16, entry),
            )
        )
    tables = {5: ".dynstr", 6: ".dynsym"}
    dynamic += [struct.pack("<QQ", tag, offsets[name][0]) for tag, name in tables.items()]
    dynamic += [struct.pack("<QQ", 10, len(strings)), struct.pack("<QQ", 11, 24), bytes(16)]
    start = offsets[".dynamic"][0] - CODE_AT
    body[start : start + dynamic_size] = b"".join(dynamic)
    body.extend(bytes(-len(body) % 16))
    sections_at = CODE_AT + len(body)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = ident + struct.pack(
        *("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, sections_at, 0, 64, 56, 2, 64),
        *(len(headers), len(headers) - 1),
    )
    size = len(body)
    load = struct.pack("<IIQQQQQQ", 1, 5, CODE_AT, CODE_AT, CODE_AT, size, size, 0x1000)
    at, length = offsets[".dynamic"]
    segment = struct.pack("<IIQQQQQQ", 2, 6, at, at, at, length, length, 8)
    return (header + load + segment).ljust(CODE_AT, b"\0") + bytes(body) + b"".join(headers)


IMAGE_BASE = 0x180000000
"""Where PE files are in memory."""


def pe_file(code: bytes = RET, *, machine: int = 0x8664) -> bytes:
    """A DLL with a section of code, for x86-64 or ARM64 (0xAA64)."""
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", machine, 1, 0, 0, 0, 240, 0x2022)
    raw = len(code) + -len(code) % 512
    optional = struct.pack(
        *("<HBBIIIIIQIIHHHHHHIIIIHHQQQQII", 0x20B, 14, 0, raw, 0, 0, 0, CODE_AT),
        *(IMAGE_BASE, 0x1000, 512, 6, 0, 0, 0, 6, 0, 0, CODE_AT + 0x1000 + raw, 512, 0, 2, 0),
        *(0x100000, 0x1000, 0x100000, 0x1000, 0, 16),
    )
    section = b".text".ljust(8, b"\0") + struct.pack(
        "<IIIIIIHHI", len(code), CODE_AT, raw, 512, 0, 0, 0, 0, 0x60000020
    )
    headers = dos + coff + optional + bytes(128) + section
    return headers.ljust(512, b"\0") + code.ljust(raw, b"\0")


def mach_o_file(
    code: bytes = RET,
    *,
    arm: bool = False,
    functions: Mapping[str, int] | None = None,
    libraries: Iterable[str] = (),
    own_name: str | None = None,
    unwound: tuple[int, int] | None = None,
) -> bytes:
    """A bundle with a section of code. ``functions`` are offsets in the code, by name.

    ``own_name`` is that of a library, by which others need it. ``unwound`` are the first offset and the end of
    what the table for exceptions covers.
    """
    cpu, subtype = (0x0100000C, 0) if arm else (0x01000007, 3)
    strings, symbols = bytearray(b"\0"), bytearray()
    for name, offset in (functions or {}).items():
        symbols += struct.pack("<IBBHQ", len(strings), 0x0F, 1, 0, CODE_AT + offset)
        strings += f"_{name}".encode() + b"\0"
    parts = [(b"__text", code, 0x80000400)]
    if unwound is not None:
        parts.append((b"__unwind_info", _unwind_table(*unwound), 0))
    sections, end = b"", CODE_AT
    for part, content, flags in parts:
        sections += struct.pack(
            *("<16s16sQQIIIIIIII", part, b"__TEXT", end, len(content), end, 0, 0, 0),
            *(flags, 0, 0, 0),
        )
        end += len(content)
    text = struct.pack(
        *("<II16sQQQQIIII", 0x19, 72 + len(sections), b"__TEXT", 0, end, 0, end),
        *(5, 5, len(parts), 0),
    )
    linkedit = struct.pack(
        *("<II16sQQQQIIII", 0x19, 72, b"__LINKEDIT", end, len(symbols) + len(strings), end),
        *(len(symbols) + len(strings), 1, 1, 0, 0),
    )
    table = struct.pack(
        *("<IIIIII", 2, 24, end, len(functions or {}), end + len(symbols), len(strings)),
    )
    dylibs = [(0xC, name) for name in libraries] + ([(0xD, own_name)] if own_name else [])
    names = [(command, name.encode() + bytes(8 - len(name) % 8)) for command, name in dylibs]
    commands = text + sections + linkedit + table
    commands += b"".join(
        struct.pack("<IIIIII", command, 24 + len(name), 24, 2, 0x10000, 0x10000) + name
        for command, name in names
    )
    count = 3 + len(names)
    header = struct.pack("<IIIIIIII", 0xFEEDFACF, cpu, subtype, 8, count, len(commands), 0, 0)
    body = b"".join(content for _, content, _ in parts) + bytes(symbols + strings)
    return (header + commands).ljust(CODE_AT, b"\0") + body


def _unwind_table(start: int, end: int) -> bytes:
    """__unwind_info with one function, and the end of the code, which has no page of its own."""
    header = struct.pack("<IIIIIII", 1, 28, 0, 28, 0, 28, 2)
    index = struct.pack("<IIIIII", CODE_AT + start, 52, 52, CODE_AT + end, 0, 52)
    return header + index + struct.pack("<IHHII", 2, 8, 1, CODE_AT + start, 0)


def universal_file(*slices: bytes) -> bytes:
    """A universal file of macOS with Mach-O files as its parts."""
    header, body = struct.pack(">4sI", b"\xca\xfe\xba\xbe", len(slices)), bytearray()
    for part in slices:
        body.extend(bytes(-len(body) % 0x4000))
        cpu, subtype = struct.unpack_from("<II", part, 4)
        header += struct.pack(">IIIII", cpu, subtype, 0x4000 + len(body), len(part), 14)
        body.extend(part)
    return header.ljust(0x4000, b"\0") + bytes(body)
