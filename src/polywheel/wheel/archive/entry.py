"""The records of a zip archive (PKWARE's APPNOTE.TXT), and checked directory entries.

Local headers with data come first, then the central directory, then the end record. Sizes and
offsets that do not fit 32 bits are in a zip64 extra field.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from polywheel.errors import WheelError

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
    """One entry of the central directory. Sizes and offsets are in bytes, with zip64 fields resolved."""

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


def extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield ``(id, whole field)`` of an extra block. A malformed tail has the id -1."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        yield kind, extra[at : at + 4 + length]
        at += 4 + length
    if at < len(extra):
        yield -1, extra[at:]


def central(member: Member) -> bytes:
    """Return the directory entry. Numbers that do not fit 32 bits go into a zip64 field, in fixed order."""
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


MAX_NAME = 4096
"""Bytes of a name. No system accepts a longer path, and derived names still fit."""
_MAX_EXTRA = FULL16 - 28
"""Bytes of extra fields. There is room for a zip64 field if the member moves beyond 4 GiB."""


def broken(path: Path, what: str) -> WheelError:
    """Return the error for a broken wheel."""
    return WheelError(f"broken wheel: {what}", at=str(path))


def parse_entry(raw: bytes, at: int, path: Path) -> Member:
    """Parse the entry at an offset of a directory. Raises WheelError."""
    # fmt: off
    (
        _, made, made_os, needed, needed_os, flags, method, time, date, crc, compressed,
        size, name_length, extra_length, comment_length, disk, internal, external, offset,
    ) = CENTRAL.unpack_from(raw, at)
    # fmt: on
    at += CENTRAL.size
    raw_name = raw[at : at + name_length]
    extra = raw[at + name_length : at + name_length + extra_length]
    at += name_length + extra_length
    comment = raw[at : at + comment_length]
    at += comment_length
    name = _decode(raw_name, flags, path)
    wide = [value for value in (size, compressed, offset) if value == FULL32]
    if wide:
        values = iter(_zip64_values(extra, len(wide), name, path))
        size = next(values) if size == FULL32 else size
        compressed = next(values) if compressed == FULL32 else compressed
        offset = next(values) if offset == FULL32 else offset
    if flags & ENCRYPTED or disk not in (0, FULL16):
        raise broken(path, f"{name!r} is encrypted or split")
    if method == STORED and compressed != size:
        raise broken(path, f"{name!r} is stored, but has two different sizes")
    _check_extra(extra, name, path)
    if len(raw_name) > MAX_NAME:
        raise bad_name(name, path)
    return Member(
        *(name, raw_name, (made, made_os), (needed, needed_os), flags, method, time, date),
        *(crc, compressed, size, internal, external, offset, extra, comment),
    )


class LocalHeader(NamedTuple):
    """The parts of a local header that may differ from the entry of its member."""

    flags: int
    name_length: int
    extra_length: int
    agrees: bool
    """Whether method, checksum, and sizes agree with the entry."""


def parse_local_header(raw: bytes, member: Member) -> LocalHeader | None:
    """Parse the local header of a member at the start of ``raw``; None if there is none."""
    if len(raw) < LOCAL.size or not raw.startswith(b"PK\x03\x04"):
        return None
    _, _, flags, method, _, _, crc, compressed, size, name, extra = LOCAL.unpack_from(raw)
    # With a data descriptor, checksum and sizes follow the data. Large sizes are in zip64 fields.
    agrees = method == member.method and (
        bool(flags & HAS_DESCRIPTOR)
        or (
            crc == member.crc
            and compressed in (member.compressed, FULL32)
            and size in (member.size, FULL32)
        )
    )
    return LocalHeader(flags, name, extra, agrees)


def bad_name(name: str, path: Path) -> WheelError:
    """Return the error for a name that is malformed or leads out of the archive."""
    return broken(path, f"the member name {name[:200]!r} leads out of the archive, or is malformed")


def _decode(raw: bytes, flags: int, path: Path) -> str:
    try:
        return raw.decode("utf-8" if flags & UTF8 else "cp437")
    except UnicodeDecodeError:
        raise broken(path, f"a member's name is not UTF-8: {raw!r}") from None


def _zip64_values(extra: bytes, count: int, name: str, path: Path) -> tuple[int, ...]:
    for kind, field in extra_fields(extra):
        if kind == ZIP64_EXTRA and len(field) >= 4 + 8 * count:
            return struct.unpack_from(f"<{count}Q", field, 4)
    if count == 1:
        return (FULL32,)  # exactly 4 GiB - 1: a value, not a marker
    raise broken(path, f"{name!r} has no zip64 sizes")


def _check_extra(extra: bytes, name: str, path: Path) -> None:
    if len(extra) > _MAX_EXTRA:
        raise broken(path, f"{name!r} has {len(extra)} bytes of extra fields")
    for kind, field in extra_fields(extra):
        # Newer readers use this name, older ones the other. Version and checksum come before it.
        if kind == UNICODE_PATH and field[9:] != name.encode("utf-8"):
            raise broken(path, f"{name!r} has another name in its extra fields")
