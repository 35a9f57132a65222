"""Reading a zip archive raw: where each member lies, without inflating it.

The layout is that of PKWARE's APPNOTE.TXT: local headers with data, then the central directory,
then the end record; sizes and offsets that do not fit 32 bits stand in a zip64 extra field. What
does not agree with itself is refused: an archive is a stranger's input.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from polywheel.errors import WheelError

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s4B4H3L5H2L")
END = struct.Struct("<4s4H2LH")
ZIP64_LOCATOR = struct.Struct("<4sLQL")
ZIP64_END = struct.Struct("<4sQ2H2L4Q")

STORED, DEFLATED = 0, 8
HAS_DESCRIPTOR, UTF8, ENCRYPTED = 0x08, 0x800, 0x01
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
ZIP64_EXTRA = 0x0001

_MAX_COMMENT = 0xFFFF
_MAX_DIRECTORY = 256 * 1024 * 1024
"""Bytes of central directory that are read: enough for two million members."""


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


@dataclass(frozen=True, slots=True)
class Archive:
    """An open archive: its members in the order of the central directory."""

    file: BinaryIO
    path: Path
    members: tuple[Member, ...]
    directory: int
    """Where the central directory starts; the members end there."""
    comment: bytes
    zip64: bool

    def read(self, member: Member, *, limit: int) -> bytes:
        """The content of a member, inflated and checked; no more than ``limit`` bytes of it."""
        if member.size > limit:
            raise self.broken(
                f"{member.name} claims {member.size} bytes, over the bound of {limit}"
            )
        self.file.seek(self.data_offset(member))
        raw = self.file.read(member.compressed)
        if len(raw) != member.compressed:
            raise self.broken(f"{member.name} is cut short")
        if member.method == STORED:
            content = raw
        elif member.method == DEFLATED:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                content = inflater.decompress(raw, member.size + 1)
            except zlib.error as error:
                raise self.broken(f"{member.name} can't be inflated: {error}") from None
            if not inflater.eof and len(content) <= member.size:
                raise self.broken(f"{member.name} is cut short")
        else:
            raise self.broken(f"{member.name} is compressed by the unknown method {member.method}")
        if len(content) != member.size or zlib.crc32(content) != member.crc:
            raise self.broken(f"{member.name} is not what the archive's directory says of it")
        return content

    def data_offset(self, member: Member) -> int:
        """Where the data of a member starts, behind its local header."""
        self.file.seek(member.offset)
        header = self.file.read(LOCAL.size)
        if len(header) != LOCAL.size or header[:4] != b"PK\x03\x04":
            raise self.broken(f"{member.name} has no local header where it should be")
        name_length: int
        extra_length: int
        *_, name_length, extra_length = LOCAL.unpack(header)
        if self.file.read(name_length) != member.raw_name:
            raise self.broken(f"{member.name} has another name in its local header")
        return member.offset + LOCAL.size + name_length + extra_length

    def extents(self) -> Iterator[tuple[Member, int]]:
        """Members as they lie in the file, each with where it ends: at the next, or the directory.

        Raises WheelError where members overlap, a sign of an archive that is made to explode.
        """
        ordered = sorted(self.members, key=lambda member: member.offset)
        ends = [member.offset for member in ordered[1:]] + [self.directory]
        for member, end in zip(ordered, ends, strict=True):
            least = LOCAL.size + len(member.raw_name) + member.compressed
            if member.offset + least > end:
                raise self.broken(f"{member.name} overlaps what follows it")
            yield member, end

    def broken(self, what: str) -> WheelError:
        return broken(self.path, what)


def broken(path: Path, what: str) -> WheelError:
    return WheelError(f"broken wheel: {what}", at=str(path))


def open_archive(file: BinaryIO, path: Path) -> Archive:
    """Read the directory of an archive. Raises WheelError for anything that is not right."""
    size = file.seek(0, 2)
    tail_start = max(0, size - END.size - _MAX_COMMENT)
    file.seek(tail_start)
    tail = file.read()
    at = _find_end(tail)
    if at < 0:
        raise broken(path, "it is not a zip archive, or it is cut short")
    _, disk, start_disk, here, count, length, offset, _ = END.unpack_from(tail, at)
    comment = tail[at + END.size :]
    end = tail_start + at
    zip64 = False
    found = _zip64_end(file, path, end)
    if found is not None:
        count, length, offset, end = found
        here, disk, start_disk, zip64 = count, 0, 0, True
    if disk or start_disk or here != count:
        raise broken(path, "it is split over several files")
    if offset + length != end:
        raise broken(path, "its directory is not where the end record says")
    if length > _MAX_DIRECTORY or count * CENTRAL.size > length:
        raise broken(path, f"it claims {count} members in a directory of {length} bytes")
    file.seek(offset)
    raw = file.read(length)
    members = tuple(_members(raw, count, path))
    _check_names(members, path)
    return Archive(file, path, members, offset, comment, zip64)


def _find_end(tail: bytes) -> int:
    """Where the end record starts: the last one whose comment reaches exactly to the end."""
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0:
        if len(tail) - at >= END.size:
            *_, comment_length = END.unpack_from(tail, at)
            if at + END.size + comment_length == len(tail):
                return at
        at = tail.rfind(b"PK\x05\x06", 0, at)
    return -1


def _zip64_end(file: BinaryIO, path: Path, end: int) -> tuple[int, int, int, int] | None:
    """Count, length and offset of the directory, and where it ends; None where there is no zip64."""
    if end < ZIP64_LOCATOR.size:
        return None
    file.seek(end - ZIP64_LOCATOR.size)
    magic, _, where, _ = ZIP64_LOCATOR.unpack(file.read(ZIP64_LOCATOR.size))
    if magic != b"PK\x06\x07":
        return None
    if where > end - ZIP64_LOCATOR.size - ZIP64_END.size:
        raise broken(path, "its zip64 end record is not where it should be")
    file.seek(where)
    magic, *_, here, count, length, offset = ZIP64_END.unpack(file.read(ZIP64_END.size))
    if magic != b"PK\x06\x06" or here != count:
        raise broken(path, "its zip64 end record is malformed")
    return count, length, offset, where


def _members(raw: bytes, count: int, path: Path) -> Iterator[Member]:
    at = 0
    for _ in range(count):
        if len(raw) - at < CENTRAL.size:
            raise broken(path, "its directory is cut short")
        # fmt: off
        (
            magic, made, made_os, needed, needed_os, flags, method, time, date, crc, compressed,
            size, name_length, extra_length, comment_length, disk, internal, external, offset,
        ) = CENTRAL.unpack_from(raw, at)
        # fmt: on
        at += CENTRAL.size
        raw_name = raw[at : at + name_length]
        extra = raw[at + name_length : at + name_length + extra_length]
        at += name_length + extra_length
        comment = raw[at : at + comment_length]
        at += comment_length
        if magic != b"PK\x01\x02" or at > len(raw):
            raise broken(path, "its directory is malformed")
        name = _decode(raw_name, flags, path)
        wide = [value for value in (size, compressed, offset) if value == FULL32]
        if wide:
            values = iter(_zip64_values(extra, len(wide), name, path))
            size = next(values) if size == FULL32 else size
            compressed = next(values) if compressed == FULL32 else compressed
            offset = next(values) if offset == FULL32 else offset
        if flags & ENCRYPTED or disk not in (0, FULL16):
            raise broken(path, f"{name} is encrypted or split")
        yield Member(
            *(name, raw_name, (made, made_os), (needed, needed_os), flags, method, time, date),
            *(crc, compressed, size, internal, external, offset, extra, comment),
        )
    if at != len(raw):
        raise broken(path, "its directory holds more than its members")


def _decode(raw: bytes, flags: int, path: Path) -> str:
    try:
        return raw.decode("utf-8" if flags & UTF8 else "cp437")
    except UnicodeDecodeError:
        raise broken(path, f"a member's name is not UTF-8: {raw!r}") from None


def extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """``(id, whole field)`` of an extra block; a tail that is no field comes with the id -1."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        yield kind, extra[at : at + 4 + length]
        at += 4 + length
    if at < len(extra):
        yield -1, extra[at:]


def _zip64_values(extra: bytes, count: int, name: str, path: Path) -> tuple[int, ...]:
    for kind, field in extra_fields(extra):
        if kind == ZIP64_EXTRA and len(field) >= 4 + 8 * count:
            return struct.unpack_from(f"<{count}Q", field, 4)
    if count == 1:
        return (FULL32,)  # exactly 4 GiB - 1: a value, not a sign
    raise broken(path, f"{name} lacks its zip64 sizes")


def _check_names(members: tuple[Member, ...], path: Path) -> None:
    seen = set()
    for member in members:
        name = member.name
        parts = name.removesuffix("/").split("/")
        if (
            not all(parts)
            or {".", ".."}.intersection(parts)
            or "\\" in name
            or ":" in parts[0]
            or any(ord(character) < 32 or ord(character) == 127 for character in name)
        ):
            raise broken(
                path, f"the member name {name!r} leads out of the archive, or is malformed"
            )
        if name in seen:
            raise broken(path, f"there are two members named {name!r}")
        seen.add(name)
