"""Reading a zip archive raw: where each member lies, without inflating it.

What does not agree with itself is refused: an archive is a stranger's input.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from polywheel.errors import WheelError
from polywheel.wheel.layout import (
    CENTRAL,
    DEFLATED,
    ENCRYPTED,
    END,
    FULL16,
    FULL32,
    HAS_DESCRIPTOR,
    LOCAL,
    STORED,
    UNICODE_PATH,
    UTF8,
    ZIP64_END,
    ZIP64_EXTRA,
    ZIP64_LOCATOR,
    Member,
    extra_fields,
)

_FULL = (FULL16, FULL32, FULL32)
"""Count, length and offset of the directory, where the zip64 end record has them."""
_END_MAGIC = b"PK\x05\x06"
_MAX_COMMENT = 0xFFFF
_MAX_NAME = 4096
"""Bytes of a name: no system takes a longer path, and one that is derived from it still fits."""
_MAX_EXTRA = FULL16 - 28
"""Bytes of extra fields: room is left for a zip64 field, should the member move beyond 4 GiB."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MAX_DIRECTORY = 256 * 1024 * 1024
"""Bytes of central directory that are read: enough for two million members."""


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
        claimed = max(member.size, member.compressed)
        if claimed > limit:
            raise self.broken(f"{member.name} claims {claimed} bytes, over the bound of {limit}")
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
            if inflater.unused_data:
                raise self.broken(f"{member.name} ends before its data do")
        else:
            raise self.broken(f"{member.name} is compressed by the unknown method {member.method}")
        if len(content) != member.size or zlib.crc32(content) != member.crc:
            raise self.broken(f"{member.name} is not what the archive's directory says of it")
        return content

    def data_offset(self, member: Member) -> int:
        """Where the data of a member starts, behind its local header.

        Raises WheelError where that header is not there, or says other than the directory:
        readers that go by the one would see another wheel than readers that go by the other.
        """
        self.file.seek(member.offset)
        header = self.file.read(LOCAL.size)
        if len(header) != LOCAL.size or header[:4] != b"PK\x03\x04":
            raise self.broken(f"{member.name} has no local header where it should be")
        name_length: int
        extra_length: int
        fields = LOCAL.unpack(header)
        _, _, flags, method, _, _, crc, compressed, size, name_length, extra_length = fields
        if self.file.read(name_length) != member.raw_name:
            raise self.broken(f"{member.name} has another name in its local header")
        # With a data descriptor, checksum and sizes follow the data; what is wide stands in zip64.
        agreed = flags & HAS_DESCRIPTOR or (
            crc == member.crc
            and compressed in (member.compressed, FULL32)
            and size in (member.size, FULL32)
        )
        if method != member.method or not agreed:
            raise self.broken(f"{member.name} is described differently in its local header")
        return member.offset + LOCAL.size + name_length + extra_length

    def extents(self) -> Iterator[tuple[Member, int]]:
        """Members as they lie in the file, each with where it ends: at the next, or the directory.

        Raises WheelError where members overlap, a sign of an archive that is made to explode.
        """
        ordered = sorted(self.members, key=lambda member: member.offset)
        starts = [*(member.offset for member in ordered), self.directory]
        for member, end in zip(ordered, starts[1:], strict=True):
            if self.data_offset(member) + member.compressed > end:
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
    if _END_MAGIC in comment:
        raise broken(path, "its comment holds a second end record, which other readers would take")
    end = tail_start + at
    zip64 = False
    found = _zip64_end(file, path, end)
    if found is not None:
        narrow, wide = (count, length, offset), found[:3]
        if any(a not in (b, full) for a, b, full in zip(narrow, wide, _FULL, strict=True)):
            raise broken(path, "its two end records contradict each other")
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
    for member in members:
        if member.offset + LOCAL.size + len(member.raw_name) + member.compressed > offset:
            raise broken(path, f"{member.name} reaches beyond the end of the archive")
    return Archive(file, path, members, offset, comment, zip64)


def _find_end(tail: bytes) -> int:
    """Where the end record starts: the last one whose comment reaches exactly to the end."""
    at = tail.rfind(_END_MAGIC)
    while at >= 0:
        if len(tail) - at >= END.size:
            *_, comment_length = END.unpack_from(tail, at)
            if at + END.size + comment_length == len(tail):
                return at
        at = tail.rfind(_END_MAGIC, 0, at)
    return -1


def _zip64_end(file: BinaryIO, path: Path, end: int) -> tuple[int, int, int, int] | None:
    """Count, length and offset of the directory, and where it ends; None where there is no zip64."""
    if end < ZIP64_LOCATOR.size:
        return None
    file.seek(end - ZIP64_LOCATOR.size)
    magic, disk, where, disks = ZIP64_LOCATOR.unpack(file.read(ZIP64_LOCATOR.size))
    if magic != b"PK\x06\x07":
        return None
    if disk or disks > 1 or where > end - ZIP64_LOCATOR.size - ZIP64_END.size:
        raise broken(path, "its zip64 end record is not where it should be")
    file.seek(where)
    record = ZIP64_END.unpack(file.read(ZIP64_END.size))
    magic, rest, _, _, disk, start_disk, here, count, length, offset = record
    if magic != b"PK\x06\x06" or where + 12 + rest != end - ZIP64_LOCATOR.size:
        raise broken(path, "its zip64 end record is malformed")
    if disk or start_disk or here != count:
        raise broken(path, "it is split over several files")
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
            raise broken(path, f"{name!r} is encrypted or split")
        if method == STORED and compressed != size:
            raise broken(path, f"{name!r} is stored, yet takes another size than it has")
        _check_extra(extra, name, path)
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


def _check_names(members: tuple[Member, ...], path: Path) -> None:
    seen = set()
    for member in members:
        name = member.name
        parts = name.removesuffix("/").split("/")
        if (
            not all(parts)
            or len(member.raw_name) > _MAX_NAME
            or {".", ".."}.intersection(parts)
            or "\\" in name
            or ":" in parts[0]
            or _CONTROL.search(name)
        ):
            raise broken(
                path, f"the member name {name!r} leads out of the archive, or is malformed"
            )
        if name in seen:
            raise broken(path, f"there are two members named {name!r}")
        seen.add(name)
