"""Write an archive with some new members; the others are copied in compressed form.

The front of the archive is copied while its directory is still being checked.
"""

from __future__ import annotations

import contextlib
import os
import sys
import zlib
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Thread
from typing import BinaryIO, Protocol, Self

from polywheel.wheel.archive.archive import Archive, Neighbours
from polywheel.wheel.archive.directory import Directory
from polywheel.wheel.archive.entry import (
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
    Member,
    central,
)

_WORTH_A_THREAD = 256 * 1024
"""Bytes from which on deflating takes longer than starting a thread for it."""


class NewMember:
    """A member to be written: its content, and the entry whose mode, method and time it takes.

    What is large (the RECORD of a wheel with many members) is deflated in a thread of its own,
    while its maker goes on, and lightly: it is hashes mostly, and more effort takes longer for next
    to nothing. ``thorough`` deflates it as zlib does by default. ``around`` is what stood around the
    member that comes back, ``extra`` an extra field for its directory entry.
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
        self.name = name
        self.content = content
        self.like = like
        self._around = around
        self._extra = extra
        large = len(content) > _WORTH_A_THREAD
        self._level = zlib.Z_DEFAULT_COMPRESSION if thorough or not large else zlib.Z_BEST_SPEED
        self._data = content
        self._thread: Thread | None = None
        if like.method != STORED and content:
            self._thread = Thread(target=self._deflate)
            if large:
                self._thread.start()

    def data(self) -> bytes:
        """What stands in the archive: the content itself where it is stored."""
        if self._thread is not None:
            if self._thread.ident is None:
                self._deflate()
            else:
                self._thread.join()
            self._thread = None
        return self._data

    def write(self, target: BinaryIO) -> Member:
        """Append the member; deterministic: the same content and model give the same bytes."""
        data = self.data()
        like, around = self.like, self._around
        crc, offset = zlib.crc32(self.content), target.tell()
        if around is not None and (crc, len(data)) == (like.crc, like.compressed):
            target.write(around.local + data + around.trailing)
            return replace(like, offset=offset)
        anew = replace(
            like,
            name=self.name,
            raw_name=self.name.encode("utf-8"),
            method=STORED if data is self.content else DEFLATED,
            crc=crc,
            compressed=len(data),
            size=len(self.content),
            offset=offset,
        )
        member, local = plain_headers(anew)
        target.write(local)
        target.write(data)
        return replace(member, extra=self._extra)

    def _deflate(self) -> None:
        deflater = zlib.compressobj(self._level, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._data = deflater.compress(self.content) + deflater.flush()


def plain_headers(member: Member) -> tuple[Member, bytes]:
    """The directory entry and the local header that polywheel gives a member, as zipfile does."""
    raw_name = member.raw_name
    plain = replace(
        member,
        flags=member.flags & UTF8 if raw_name.isascii() else UTF8,
        needed=(20, 0),
        extra=b"",
        comment=b"",
    )
    local = LOCAL.pack(
        *(b"PK\x03\x04", 20, plain.flags, plain.method, plain.time, plain.date, plain.crc),
        *(plain.compressed, plain.size, len(raw_name), 0),
    )
    return plain, local + raw_name


class HeadStart:
    """Copies in the kernel, in a thread, up to where the first change is likely to be.

    That is a guess from the raw directory: the first member of a ``.dist-info``. Where it goes too
    far, :meth:`settle` takes it back. The two files are to stay open until the context is left.
    """

    def __init__(self, source: BinaryIO, target: BinaryIO) -> None:
        self._source = source
        self._target = target
        self._end = 0
        self._done = 0
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
        """How many bytes the target holds now: none of what lies from ``first_change`` on."""
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
        """As far as the kernel does it; whatever is left is copied with the rest."""
        if sys.platform != "linux":
            return
        source, target = self._source.fileno(), self._target.fileno()
        with contextlib.suppress(OSError):
            if hasattr(os, "posix_fallocate"):
                # Room in one piece is written to a tenth faster than room that grows.
                os.posix_fallocate(target, 0, self._end)
            while self._done < self._end:
                left = self._end - self._done
                step = os.copy_file_range(source, target, left, self._done, self._done)
                if step == 0:
                    break
                self._done += step


def _first_of_dist_info(directory: bytes) -> int:
    """The lowest offset that an entry with ``.dist-info/`` in its name seems to have."""
    found = []
    at = directory.find(b".dist-info/")
    while at >= 0:
        start = directory.rfind(b"PK\x01\x02", 0, at)
        if start < 0 or start + CENTRAL.size > at:
            return 0
        found.append(int.from_bytes(directory[start + 42 : start + 46], "little"))
        at = directory.find(b".dist-info/", at + 1)
    return min((offset for offset in found if offset != FULL32), default=0)


_CHUNK = 1024 * 1024
LAST = ""
"""Stands for the end of the members in :attr:`Change.added`: no member has this name."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to an archive."""

    replaced: Mapping[str, NewMember]
    """New members for old names."""

    added: Mapping[str, Sequence[NewMember]] = field(default_factory=dict)
    """Members that come in front of the named one, or behind all under :data:`LAST`."""

    dropped: Collection[str] = ()


class HasFront(Protocol):
    """Whoever has the front of the archive in the target already."""

    def settle(self, first_change: int, /) -> int:
        """How many bytes of the archive the target holds now, none of them a changed one."""


@dataclass(slots=True)
class Written:
    """Where the members of an archive have come to lie."""

    changed: dict[int, list[Member | int]]
    """For the number of a member that was touched: what stands in its place.

    New members, and the offset of the old one where that stays.
    """

    moved: list[tuple[int, int]]
    """The old offset of each run of members that stay, and by how much it moves."""

    last: list[Member]

    def count(self, archive: Archive) -> int:
        """How many members there are now."""
        more = sum(len(entries) - 1 for entries in self.changed.values())
        return len(archive.table.names) + more + len(self.last)


def rewrite(
    archive: Archive, target: BinaryIO, change: Change, *, front: HasFront | None = None
) -> None:
    """Write ``archive`` to the empty file ``target`` with some members changed.

    Order is kept, in the file and in the directory. The rest is copied without being inflated,
    headers and data descriptors included, neighbours in one go; ``front`` may have copied some of
    it already.
    """
    written = write_members(archive, target, change, front=front)
    offset = target.tell()
    write_directory(target, archive, written)
    length = target.tell() - offset
    write_end(target, archive, count=written.count(archive), offset=offset, length=length)


def write_members(
    archive: Archive, target: BinaryIO, change: Change, *, front: HasFront | None = None
) -> Written:
    """Write the members alone; the gap that an interrupted change left is left out."""
    table = archive.table
    changes = _touched(archive, change)
    copied = front.settle(changes[0][0] if changes else table.end) if front else 0
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
        entries += [one.write(target) for one in change.added.get(name, ())]
        if name in change.replaced:
            entries.append(change.replaced[name].write(target))
        elif name not in change.dropped:
            entries.append(target.tell())
            _copy(archive.file, target, offset, end)
    written.moved.append((start, _keep(archive, target, start, table.end, copied)))
    written.last = [one.write(target) for one in change.added.get(LAST, ())]
    return written


def _touched(archive: Archive, change: Change) -> list[tuple[int, int, int]]:
    """Offset, end and number of the members that are touched; a gap has the number -1."""
    table = archive.table
    names = {*change.replaced, *change.added, *change.dropped} - {LAST}
    found = table.extents({table.position[name] for name in names})
    if archive.gap is None:
        return found
    # The member in front of a gap seems to reach to its end.
    first, end = archive.gap
    clipped = [(at, first if at < first < to else to, number) for at, to, number in found]
    return sorted([*clipped, (first, end, -1)])


def _keep(archive: Archive, target: BinaryIO, start: int, end: int, copied: int) -> int:
    """Copy a run of members, but for what is there already; by how much the run moves."""
    moves = target.tell() - copied - start
    _copy(archive.file, target, start + copied, end)
    return moves


def _moving(table: Directory, moved: list[tuple[int, int]]) -> dict[int, int]:
    """The members that come to lie elsewhere, with their new offsets."""
    starts = [start for start, _ in moved]
    found = {}
    for number in reversed(table.order):
        offset = table.offset(number)
        run = bisect_right(starts, offset) - 1
        if not any(by for _, by in moved[: run + 1]):
            break  # nothing in front of here moves
        if moved[run][1]:
            found[number] = offset + moved[run][1]
    return found


def _copy(source: BinaryIO, target: BinaryIO, start: int, end: int) -> None:
    """Append source[start:end] to target, in the kernel where that can be done."""
    target.flush()
    source.seek(start)
    left = end - start
    if hasattr(os, "copy_file_range"):
        at = start
        try:
            while left:
                done = os.copy_file_range(source.fileno(), target.fileno(), left, at)
                if done == 0:
                    break
                at, left = at + done, left - done
        except OSError:
            pass  # a file system that can't, or no file at all: the rest goes the long way
        source.seek(at)
        target.seek(0, os.SEEK_END)
    while left:
        chunk = source.read(min(left, _CHUNK))
        if not chunk:
            raise OSError("the archive became shorter while it was read")
        target.write(chunk)
        left -= len(chunk)


def write_directory(
    target: BinaryIO, archive: Archive, written: Written, *, shift: int = 0
) -> None:
    """Write the central directory; what neither changes nor moves, as it stands.

    ``shift``: by how many bytes all that lies behind the first change lies further back.
    """
    table = archive.table
    moved = [(start, by + shift if run else by) for run, (start, by) in enumerate(written.moved)]
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


def write_end(
    target: BinaryIO,
    archive: Archive,
    *,
    count: int,
    offset: int,
    length: int,
    comment: bytes = b"",
) -> None:
    """The end record behind a directory, in zip64 too where it must be, or where it was.

    ``offset`` and ``length`` are those of the directory, in bytes; ``comment`` comes behind the
    comment that the archive has.
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
    short = min(count, FULL16)
    target.write(
        END.pack(
            *(b"PK\x05\x06", 0, 0, short, short, min(length, FULL32), min(offset, FULL32)),
            len(comment),
        )
    )
    target.write(comment)
