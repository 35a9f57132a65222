"""Read a zip archive without inflating it: the position of each member.

Archives are untrusted, so an inconsistent archive is refused. Marks of interrupted in-place changes are
recognized, see :mod:`polywheel.wheel.in_place`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from polywheel.errors import WheelError
from polywheel.wheel.archive.central_directory import (
    CENTRAL,
    DEFLATED,
    END,
    FULL16,
    FULL32,
    LOCAL,
    STORED,
    ZIP64_END,
    ZIP64_LOCATOR,
    Directory,
    Member,
    broken,
    parse_local_header,
)

_UNFINISHED = b"polywheel\x00unfinished\x00"
_GAP = b"\x00polywheel gap\x00"
_NUMBERS = struct.Struct("<QQL")
_MARK = len(_UNFINISHED) + _NUMBERS.size
_CHUNK = 1024 * 1024
_FURTHEST = 512 * 1024 * 1024
"""Bytes that an interrupted change may have left: twice the maximum size of a directory."""


def unfinished_mark(old: int) -> bytes:
    """Return the mark between a wheel of ``old`` bytes and its new end."""
    return _UNFINISHED + _pack_numbers(old, old)


def gap_mark(start: int, end: int) -> bytes:
    """Return the mark at the end of the comment of an archive with a gap between two offsets."""
    return _GAP + _pack_numbers(start, end)


def split_comment(comment: bytes) -> tuple[bytes, tuple[int, int] | None]:
    """Return the comment of an archive without the mark, and the gap that the mark names."""
    at = len(comment) - len(_GAP) - _NUMBERS.size
    if at < 0 or not comment.startswith(_GAP, at):
        return comment, None
    start, end, _ = _NUMBERS.unpack_from(comment, at + len(_GAP))
    return (comment[:at], (start, end)) if comment[at:] == gap_mark(start, end) else (comment, None)


def old_size(file: BinaryIO, size: int) -> int:
    """Return the size of the wheel before the last mark in a file; ``size`` if there is no mark."""
    # The mark at the end of the file may be incomplete.
    file.seek(max(0, size - _MARK))
    end = file.read(min(size, _MARK))
    for length in range(min(len(end), _MARK - 1), 0, -1):
        if unfinished_mark(size - length).startswith(end[-length:]):
            return size - length
    at = size
    while at > 0 and size - at < _FURTHEST:
        start = max(0, at - _CHUNK)
        file.seek(start)
        chunk = file.read(min(at + _MARK, size) - start)
        mark = chunk.rfind(_UNFINISHED)
        while mark >= 0:
            old = start + mark
            if chunk.startswith(unfinished_mark(old), mark):
                return old
            mark = chunk.rfind(_UNFINISHED, 0, mark)
        at = start
    return size


def _pack_numbers(first: int, second: int) -> bytes:
    check = zlib.crc32(struct.pack("<QQ", first, second))
    return _NUMBERS.pack(first, second, check)


_FULL = (FULL16, FULL32, FULL32)
"""Count, length, and offset of the directory if only the zip64 end record has them."""
_END_MAGIC = b"PK\x05\x06"
_MAX_COMMENT = 0xFFFF
_MAX_INTERRUPTED = 16
MAX_TRAILING = 24
"""Bytes after the data of a member that are kept. A data descriptor has at most this size."""
_MAX_BLOCK_HEADER = 512
"""Bytes. The code lengths before a deflated block take less (RFC 1951, 3.2.7)."""
_MAX_DIRECTORY = 256 * 1024 * 1024
"""Bytes of the central directory: enough for two million members."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The bytes around the data of a member: its local header, and the bytes after the data.

    These are a data descriptor or padding. Most members have neither.
    """

    local: bytes
    trailing: bytes


@dataclass(frozen=True, slots=True)
class Archive:
    """An open archive."""

    file: BinaryIO
    path: Path
    table: Directory
    comment: bytes
    zip64: bool
    size: int
    """Bytes of the archive: the file without the bytes that an interrupted change left after it."""

    gap: tuple[int, int] | None = None
    """Start and end of the gap that an interrupted in-place change left between members, see in_place."""

    @property
    def members(self) -> list[Member]:
        """The members, in the order of the central directory. For a large archive, :meth:`member` is faster."""
        return [self.table.member(number) for number in range(len(self.table.names))]

    def member(self, name: str) -> Member | None:
        """Return the member with a name; None if there is none."""
        number = self.table.position.get(name)
        return None if number is None else self.table.member(number)

    def read_named(self, name: str, *, limit: int) -> bytes:
        """Return the content of the member with a name, like :meth:`read`. Raises WheelError if there is none."""
        member = self.member(name)
        if member is None:
            raise self.broken(f"{name} is missing")
        return self.read(member, limit=limit)

    def read(self, member: Member, *, limit: int) -> bytes:
        """Return the content of a member, inflated and checked. Raises WheelError over ``limit`` bytes."""
        size = max(member.size, member.compressed)
        if size > limit:
            raise self.broken(f"{member.name} has {size} bytes, over the limit of {limit}")
        return b"".join(self.chunks(member))

    def chunks(self, member: Member, *, step: int = _CHUNK) -> Iterator[bytes]:
        """Yield the content of a member, inflated, in chunks of up to ``step`` bytes.

        Raises WheelError as soon as the content differs from the directory.
        """
        self.file.seek(self.data_offset(member))
        if member.method == STORED:
            chunks = self._raw_chunks(member, step)
        elif member.method == DEFLATED:
            chunks = self._inflated_chunks(member, step)
        else:
            raise self.broken(f"{member.name} is compressed by the unknown method {member.method}")
        size, crc = 0, 0
        different = f"{member.name} differs from its entry in the archive's directory"
        for chunk in chunks:
            size += len(chunk)
            if size > member.size:
                raise self.broken(different)
            crc = zlib.crc32(chunk, crc)
            yield chunk
        if size != member.size or crc != member.crc:
            raise self.broken(different)

    def _raw_chunks(self, member: Member, step: int) -> Iterator[bytes]:
        remaining = member.compressed
        while remaining:
            chunk = self.file.read(min(remaining, step))
            if not chunk:
                raise self.broken(f"{member.name} is cut short")
            remaining -= len(chunk)
            yield chunk

    def _inflated_chunks(self, member: Member, step: int) -> Iterator[bytes]:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        raw_chunks = self._raw_chunks(member, step)
        most = min(step, member.size + 1)  # a byte more than expected is enough to refuse a bomb
        while not inflater.eof:
            raw = inflater.unconsumed_tail or next(raw_chunks, b"")
            try:
                chunk = inflater.decompress(raw, most)
            except zlib.error as error:
                raise self.broken(f"{member.name} can't be inflated: {error}") from None
            if not raw and not chunk and not inflater.eof:
                raise self.broken(f"{member.name} is cut short")
            yield chunk
        if inflater.unused_data or next(raw_chunks, None) is not None:
            raise self.broken(f"{member.name} ends before its data")

    def start(self, member: Member, length: int) -> bytes:
        """Return the first ``length`` bytes of a member. Little more is read and inflated."""
        return next(self.chunks(member, step=length + _MAX_BLOCK_HEADER), b"")[:length]

    def data_offset(self, member: Member) -> int:
        """Return the start of the data of a member, after its local header.

        Raises WheelError if that header is missing or differs from the directory: some readers use the
        local header, others the directory, and they would see different wheels.
        """
        self.file.seek(member.offset)
        header = parse_local_header(self.file.read(LOCAL.size), member)
        if header is None:
            raise self.broken(f"{member.name} has no local header at its offset")
        if self.file.read(header.name_length) != member.raw_name:
            raise self.broken(f"{member.name} has another name in its local header")
        if not header.agrees:
            raise self.broken(f"{member.name} has another description in its local header")
        start = member.offset + LOCAL.size + header.name_length + header.extra_length
        if start + member.compressed > self.table.end_of(member):
            raise self.broken(f"{member.name} overlaps what follows it")
        return start

    def around(self, member: Member) -> Neighbours:
        """Return the bytes around the data of a member. Raises WheelError like :meth:`data_offset`."""
        start = self.data_offset(member)
        data_end = start + member.compressed
        self.file.seek(member.offset)
        local = self.file.read(start - member.offset)
        self.file.seek(data_end)
        trailing = min(self.table.end_of(member) - data_end, MAX_TRAILING)
        return Neighbours(local, self.file.read(trailing))

    def broken(self, what: str) -> WheelError:
        """Return the error for a broken wheel."""
        return broken(self.path, what)


def open_archive(
    file: BinaryIO, path: Path, *, seen: Callable[[bytes], object] | None = None
) -> Archive:
    """Read the directory of an archive. Raises WheelError if it is invalid.

    ``seen`` gets the raw directory before it is checked.
    """
    size, tail_start, tail = _tail(file, path, file.seek(0, 2))
    at = _find_end(tail)
    _, disk, start_disk, here, count, length, offset, _ = END.unpack_from(tail, at)
    comment, gap = split_comment(tail[at + END.size :])
    if _END_MAGIC in comment:
        raise broken(path, "its comment has a second end record, which other readers would use")
    end, zip64 = tail_start + at, False
    if (zip64_end := _zip64_end(file, path, end)) is not None:
        narrow, wide = (count, length, offset), zip64_end[:3]
        if any(a not in (b, full) for a, b, full in zip(narrow, wide, _FULL, strict=True)):
            raise broken(path, "its two end records contradict each other")
        count, length, offset, end = zip64_end
        here, disk, start_disk, zip64 = count, 0, 0, True
    if disk or start_disk or here != count:
        raise broken(path, "it is split over several files")
    if offset + length != end:
        raise broken(path, "its directory is not at the offset in the end record")
    if length > _MAX_DIRECTORY or count * CENTRAL.size > length:
        raise broken(path, f"it claims {count} members in a directory of {length} bytes")
    file.seek(offset)
    raw = file.read(length)
    if seen is not None:
        seen(raw)
    table = Directory(raw, count, offset, path)
    if gap is not None and not table.is_gap(*gap):
        raise broken(path, "its comment names a gap that does not exist")
    return Archive(file, path, table, comment, zip64, size, gap)


def _tail(file: BinaryIO, path: Path, size: int) -> tuple[int, int, bytes]:
    """Return the size of the archive, and the start and the content of its tail with the end record.

    Bytes of a few interrupted changes may follow the archive.
    """
    for _ in range(_MAX_INTERRUPTED):
        start = max(0, size - END.size - _MAX_COMMENT)
        file.seek(start)
        tail = file.read(size - start)
        if _find_end(tail) >= 0:
            return size, start, tail
        size, known = old_size(file, size), size
        if size == known:
            break
    raise broken(path, "it is not a zip archive, or it is cut short")


def _find_end(tail: bytes) -> int:
    """Return the start of the end record: the last one whose comment ends exactly at the end."""
    at = tail.rfind(_END_MAGIC)
    while at >= 0:
        if len(tail) - at >= END.size:
            *_, comment_length = END.unpack_from(tail, at)
            if at + END.size + comment_length == len(tail):
                return at
        at = tail.rfind(_END_MAGIC, 0, at)
    return -1


def _zip64_end(file: BinaryIO, path: Path, end: int) -> tuple[int, int, int, int] | None:
    """Return count, length, offset, and end of the directory; None if there is no zip64 end record."""
    if end < ZIP64_LOCATOR.size:
        return None
    file.seek(end - ZIP64_LOCATOR.size)
    magic, disk, end_record, disks = ZIP64_LOCATOR.unpack(file.read(ZIP64_LOCATOR.size))
    if magic != b"PK\x06\x07":
        return None
    if disk or disks > 1 or end_record > end - ZIP64_LOCATOR.size - ZIP64_END.size:
        raise broken(path, "its zip64 end record is not at its offset")
    file.seek(end_record)
    record = ZIP64_END.unpack(file.read(ZIP64_END.size))
    magic, rest, _, _, disk, start_disk, here, count, length, offset = record
    if magic != b"PK\x06\x06" or end_record + 12 + rest != end - ZIP64_LOCATOR.size:
        raise broken(path, "its zip64 end record is malformed")
    if disk or start_disk or here != count:
        raise broken(path, "it is split over several files")
    return count, length, offset, end_record
