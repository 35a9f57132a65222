"""The records of a zip archive, as they lie in the file (PKWARE's APPNOTE.TXT).

Local headers with data come first, then the central directory, then the end record; sizes and
offsets that do not fit 32 bits stand in a zip64 extra field.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s4B4H3L5H2L")
END = struct.Struct("<4s4H2LH")
ZIP64_LOCATOR = struct.Struct("<4sLQL")
ZIP64_END = struct.Struct("<4sQ2H2L4Q")

ZIP64_VERSION = 45
STORED, DEFLATED = 0, 8
HAS_DESCRIPTOR, UTF8, ENCRYPTED = 0x08, 0x800, 0x01
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
ZIP64_EXTRA, UNICODE_PATH = 0x0001, 0x7075


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of the central directory; sizes and offsets in bytes, zip64 resolved."""

    name: str
    raw_name: bytes
    made_by: tuple[int, int]
    needed: tuple[int, int]
    flags: int
    method: int
    time: int
    date: int
    crc: int
    compressed: int
    size: int
    internal: int
    external: int
    offset: int
    extra: bytes
    comment: bytes

    @property
    def is_directory(self) -> bool:
        return self.name.endswith("/")


def extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """``(id, whole field)`` of an extra block; a tail that is no field comes with the id -1."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        yield kind, extra[at : at + 4 + length]
        at += 4 + length
    if at < len(extra):
        yield -1, extra[at:]


def central(member: Member) -> bytes:
    """The directory entry; what does not fit 32 bits goes into a zip64 field, in its fixed order."""
    wide = [value for value in (member.size, member.compressed, member.offset) if value >= FULL32]
    extra = b"".join(field for kind, field in extra_fields(member.extra) if kind != ZIP64_EXTRA)
    needed = member.needed
    if wide:
        extra = struct.pack(f"<2H{len(wide)}Q", ZIP64_EXTRA, 8 * len(wide), *wide) + extra
        needed = (max(needed[0], ZIP64_VERSION), needed[1])
    header = CENTRAL.pack(
        *(b"PK\x01\x02", *member.made_by, *needed, member.flags, member.method),
        *(member.time, member.date, member.crc),
        *(min(member.compressed, FULL32), min(member.size, FULL32)),
        *(len(member.raw_name), len(extra), len(member.comment), 0, member.internal),
        *(member.external, min(member.offset, FULL32)),
    )
    return header + member.raw_name + extra + member.comment
