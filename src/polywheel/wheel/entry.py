"""One entry of a central directory, taken apart and checked."""

from __future__ import annotations

import struct
from pathlib import Path

from polywheel.errors import WheelError
from polywheel.wheel.layout import (
    CENTRAL,
    ENCRYPTED,
    FULL16,
    FULL32,
    STORED,
    UNICODE_PATH,
    UTF8,
    ZIP64_EXTRA,
    Member,
    extra_fields,
)

MAX_NAME = 4096
"""Bytes of a name: no system takes a longer path, and one that is derived from it still fits."""
_MAX_EXTRA = FULL16 - 28
"""Bytes of extra fields: room is left for a zip64 field, should the member move beyond 4 GiB."""


def broken(path: Path, what: str) -> WheelError:
    return WheelError(f"broken wheel: {what}", at=str(path))


def parse_entry(raw: bytes, at: int, path: Path) -> Member:
    """The entry that starts at an offset of a directory. Raises WheelError."""
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
        raise broken(path, f"{name!r} is stored, yet takes another size than it has")
    _check_extra(extra, name, path)
    if len(raw_name) > MAX_NAME:
        raise bad_name(name, path)
    return Member(
        *(name, raw_name, (made, made_os), (needed, needed_os), flags, method, time, date),
        *(crc, compressed, size, internal, external, offset, extra, comment),
    )


def bad_name(name: str, path: Path) -> WheelError:
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
        return (FULL32,)  # exactly 4 GiB - 1: a value, not a sign
    raise broken(path, f"{name!r} lacks its zip64 sizes")


def _check_extra(extra: bytes, name: str, path: Path) -> None:
    if len(extra) > _MAX_EXTRA:
        raise broken(path, f"{name!r} has {len(extra)} bytes of extra fields")
    for kind, field in extra_fields(extra):
        # Newer readers take this name, older ones the other. Version and checksum come before it.
        if kind == UNICODE_PATH and field[9:] != name.encode("utf-8"):
            raise broken(path, f"{name!r} has another name in its extra fields")
