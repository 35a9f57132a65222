"""Write an archive with some new members. The other members are copied in compressed form.

The front of the archive is copied while its directory is still being checked.
"""

from __future__ import annotations

import contextlib
import os
import sys
import zlib
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Thread
from typing import BinaryIO, Self

from polywheel.wheel.archive.central_directory import (
    CENTRAL,
    DEFLATED,
    END,
    FULL16,
    FULL32,
    LOCAL,
    STORED,
    UTF8,
    ZIP64_END,
    ZIP64_LOCATOR,
    ZIP64_VERSION,
    Directory,
    Member,
    central,
)
from polywheel.wheel.archive.reader import Archive, Neighbours

_WORTH_A_THREAD = 256 * 1024
"""Bytes. Deflating more takes longer than starting a thread."""


class NewMember:
    """A new member: its content, and the entry whose mode, method, and time it gets.

    A large member (the RECORD of a wheel with many members) is deflated in a thread, with zlib's fastest
    level: it has mostly hashes, and more effort saves almost nothing. ``thorough`` uses zlib's default level.
    ``around`` are the bytes around a restored member, ``extra`` is an extra field for its directory entry.
    """

    def __init__(
        self,
        name: str,
        content: bytes,
        like: Member,
        *,
        thorough: bool = False,
        around: Neighbours | None = None,
        extra: bytes = b"",
    ) -> None:
        self.name, self.content, self._like = name, content, like
        self._around, self._extra = around, extra
        large = len(content) > _WORTH_A_THREAD
        self._level = zlib.Z_DEFAULT_COMPRESSION if thorough or not large else zlib.Z_BEST_SPEED
        self._data = content
        self._thread: Thread | None = None
        if like.method == STORED or not content:
            return
        if large:
            self._thread = Thread(target=self._deflate)
            self._thread.start()
        else:
            self._deflate()

    def _deflate(self) -> None:
        deflater = zlib.compressobj(self._level, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._data = deflater.compress(self.content) + deflater.flush()

    def write(self, target: BinaryIO) -> Member:
        """Append the member. Return its entry. The same content and entry give the same bytes."""
        if self._thread is not None:
            self._thread.join()
        data, like, around = self._data, self._like, self._around
        crc, offset = zlib.crc32(self.content), target.tell()
        if around is not None and (crc, len(data)) == (like.crc, like.compressed):
            target.write(around.local + data + around.trailing)
            return replace(like, offset=offset)
        method = STORED if data is self.content else DEFLATED
        entry = replace(like, name=self.name, raw_name=self.name.encode("utf-8"), method=method)
        entry = replace(entry, crc=crc, compressed=len(data), size=len(self.content), offset=offset)
        member, local = plain_headers(entry)
        target.write(local)
        target.write(data)
        return replace(member, extra=self._extra)


def plain_headers(member: Member) -> tuple[Member, bytes]:
    """Return the directory entry and the local header of a member, in the form that zipfile writes."""
    raw_name = member.raw_name
    flags = member.flags & UTF8 if raw_name.isascii() else UTF8
    plain = replace(member, flags=flags, needed=(20, 0), extra=b"", comment=b"")
    local = LOCAL.pack(
        *(b"PK\x03\x04", 20, plain.flags, plain.method, plain.time, plain.date, plain.crc),
        *(plain.compressed, plain.size, len(raw_name), 0),
    )
    return plain, local + raw_name


class HeadStart:
    """Copies the front of an archive in a thread, with a system call, up to the likely first change.

    The first change is guessed from the raw directory: the first member of a ``.dist-info``. If too much was
    copied, :meth:`settle` removes it. The two files must stay open until the context ends.
    """

    def __init__(self, source: BinaryIO, target: BinaryIO) -> None:
        self._source, self._target = source, target
        self._end, self._done = 0, 0
        self._thread: Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._join()

    def begin(self, directory: bytes) -> None:
        """Start copying; ``directory`` has not been checked yet."""
        self._end = _first_of_dist_info(directory)
        if self._end and sys.platform == "linux" and hasattr(os, "copy_file_range"):
            self._thread = Thread(target=self._copy)
            self._thread.start()

    def settle(self, first_change: int) -> int:
        """Stop copying. Return the number of copied bytes, which are all before ``first_change``."""
        self._join()
        if self._done > first_change:
            self._done = 0
        self._target.truncate(self._done)
        self._target.seek(self._done)
        return self._done

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _copy(self) -> None:
        """Copy as far as the kernel does. The remaining bytes are copied with the rest."""
        if sys.platform != "linux":
            return
        source, target = self._source.fileno(), self._target.fileno()
        with contextlib.suppress(OSError):
            # Writing to preallocated space is a tenth faster.
            os.posix_fallocate(target, 0, self._end)
            while left := self._end - self._done:
                step = os.copy_file_range(source, target, left, self._done, self._done)
                if step == 0:
                    break
                self._done += step


def _first_of_dist_info(directory: bytes) -> int:
    """Return the lowest offset of the entries that seem to have ``.dist-info/`` in their name."""
    offsets = []
    at = directory.find(b".dist-info/")
    while at >= 0:
        start = directory.rfind(b"PK\x01\x02", 0, at)
        if start < 0 or start + CENTRAL.size > at:
            return 0
        offsets.append(int.from_bytes(directory[start + 42 : start + 46], "little"))
        at = directory.find(b".dist-info/", at + 1)
    return min((offset for offset in offsets if offset != FULL32), default=0)


_CHUNK = 1024 * 1024
LAST = ""
"""The key for the end of the members in :attr:`Change.added`. No member has this name."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of an archive."""

    replaced: Mapping[str, NewMember]
    """New members for existing names."""

    added: Mapping[str, Sequence[NewMember]] = field(default_factory=dict)
    """New members, by the name of the member that follows them, or :data:`LAST`."""

    dropped: Collection[str] = ()


CopiedFront = Callable[[int], int]
"""Gets the offset of the first change. Returns the number of bytes before it that are in the target already."""


@dataclass(slots=True)
class Written:
    """The new positions of the members of an archive."""

    changed: dict[int, list[Member | int]]
    """The entries in place of each changed member, by its number.

    These are new members, and the offset of the old one if it is kept.
    """

    moved: list[tuple[int, int]]
    """The old offset of each run of kept members, and the distance by which it moves."""

    last: list[Member]


def rewrite(
    archive: Archive, target: BinaryIO, change: Change, *, front: CopiedFront | None = None
) -> None:
    """Write ``archive`` with a change to the empty file ``target``.

    The order is kept, in the file and in the directory. Unchanged members are copied with their headers and
    data descriptors, without inflating them, and neighbouring members at once. ``front`` may have copied some
    of them already.
    """
    write_directory(target, archive, write_members(archive, target, change, front=front))


def write_members(
    archive: Archive, target: BinaryIO, change: Change, *, front: CopiedFront | None
) -> Written:
    """Write only the members. A gap of an interrupted change is left out."""
    table = archive.table
    changes = _changed_extents(archive, change)
    copied = front(changes[0][0] if changes else table.end) if front else 0
    written = Written({}, [], [])
    start = 0
    for offset, end, number in changes:
        run_end = max(start, offset)
        written.moved.append((start, _keep(archive, target, start, run_end, copied)))
        start, copied = max(start, end), 0
        if number < 0:
            continue
        name = table.names[number]
        entries = written.changed[number] = []
        entries += [member.write(target) for member in change.added.get(name, ())]
        if name in change.replaced:
            entries.append(change.replaced[name].write(target))
        elif name not in change.dropped:
            entries.append(target.tell())
            _copy(archive.file, target, offset, end)
    written.moved.append((start, _keep(archive, target, start, table.end, copied)))
    written.last = [member.write(target) for member in change.added.get(LAST, ())]
    return written


def _changed_extents(archive: Archive, change: Change) -> list[tuple[int, int, int]]:
    """Return offset, end, and number of the changed members. A gap has the number -1."""
    table = archive.table
    names = {*change.replaced, *change.added, *change.dropped} - {LAST}
    extents = table.extents({table.position[name] for name in names})
    if archive.gap is None:
        return extents
    # The member before a gap seems to reach to the end of the gap.
    first, end = archive.gap
    clipped = [(at, first if at < first < to else to, number) for at, to, number in extents]
    return sorted([*clipped, (first, end, -1)])


def _keep(archive: Archive, target: BinaryIO, start: int, end: int, copied: int) -> int:
    """Copy a run of members without the bytes that are copied already. Return the distance it moves."""
    moves = target.tell() - copied - start
    _copy(archive.file, target, start + copied, end)
    return moves


def _moving(table: Directory, moved: list[tuple[int, int]]) -> dict[int, int]:
    """Return the members that move, with their new offsets."""
    starts = [start for start, _ in moved]
    moving = {}
    for number in reversed(table.order):
        offset = table.offsets[number]
        run = bisect_right(starts, offset) - 1
        if not any(by for _, by in moved[: run + 1]):
            break  # nothing before this member moves
        if moved[run][1]:
            moving[number] = offset + moved[run][1]
    return moving


def _copy(source: BinaryIO, target: BinaryIO, start: int, end: int) -> None:
    """Append source[start:end] to target, in the kernel if possible."""
    target.flush()
    source.seek(start)
    remaining = end - start
    if hasattr(os, "copy_file_range"):
        # If the file system can't, or the target is in memory, the rest is copied below.
        with contextlib.suppress(OSError):
            while remaining:
                at = end - remaining
                done = os.copy_file_range(source.fileno(), target.fileno(), remaining, at)
                if done == 0:
                    break
                remaining -= done
        source.seek(end - remaining)
        target.seek(0, os.SEEK_END)
    while remaining:
        chunk = source.read(min(remaining, _CHUNK))
        if not chunk:
            raise OSError("the archive became shorter while it was read")
        target.write(chunk)
        remaining -= len(chunk)


def write_directory(
    target: BinaryIO, archive: Archive, written: Written, *, shift: int = 0, comment: bytes = b""
) -> None:
    """Write the central directory and the end record. Entries of members that don't move are copied.

    ``shift`` is the number of bytes by which everything after the first change lies further back than in the
    target. ``comment`` is added after the comment of the archive.
    """
    table, start = archive.table, target.tell()
    count = len(table.names) + len(written.last)
    count += sum(len(entries) - 1 for entries in written.changed.values())
    moved = [(run, by + shift if number else by) for number, (run, by) in enumerate(written.moved)]
    moving = _moving(table, moved)
    first = 0
    for number in sorted({*written.changed, *moving}):
        target.write(table.entries(first, number))
        entries = written.changed[number] if number in written.changed else [moving[number] - shift]
        for entry in entries:
            if isinstance(entry, Member):
                target.write(central(replace(entry, offset=entry.offset + shift)))
            else:
                target.write(table.moved(number, entry + shift))
        first = number + 1
    target.write(table.entries(first, len(table.names)))
    target.writelines(
        central(replace(member, offset=member.offset + shift)) for member in written.last
    )
    length = target.tell() - start
    write_end(target, archive, count=count, offset=start + shift, length=length, comment=comment)


def write_end(
    target: BinaryIO,
    archive: Archive,
    *,
    count: int,
    offset: int,
    length: int,
    comment: bytes = b"",
) -> None:
    """Write the end record after a directory, and the zip64 end record if it is needed or existed before.

    ``offset`` and ``length`` are those of the directory, in bytes. ``comment`` is added after the comment of
    the archive.
    """
    comment = archive.comment + comment
    if archive.zip64 or count >= FULL16 or length >= FULL32 or offset >= FULL32:
        target.write(
            ZIP64_END.pack(
                *(b"PK\x06\x06", ZIP64_END.size - 12, ZIP64_VERSION, ZIP64_VERSION, 0, 0),
                *(count, count, length, offset),
            )
        )
        target.write(ZIP64_LOCATOR.pack(b"PK\x06\x07", 0, offset + length, 1))
    short, length, offset = min(count, FULL16), min(length, FULL32), min(offset, FULL32)
    target.write(END.pack(b"PK\x05\x06", 0, 0, short, short, length, offset, len(comment)))
    target.write(comment)
