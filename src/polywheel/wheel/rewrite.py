"""Writing an archive anew around members that stay: they are copied compressed, as they lie."""

from __future__ import annotations

import os
import zlib
from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import replace
from threading import Thread
from typing import BinaryIO

from polywheel.wheel.archive import Archive
from polywheel.wheel.directory import Directory
from polywheel.wheel.head_start import HeadStart
from polywheel.wheel.layout import (
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

_CHUNK = 1024 * 1024
_WORTH_A_THREAD = 256 * 1024
"""Bytes from which on deflating takes longer than starting a thread for it."""


class NewMember:
    """A member to be written: its content, and the entry whose mode, method and time it takes.

    What is large (the RECORD of a wheel with many members) is deflated in a thread of its own,
    while its maker goes on.
    """

    def __init__(self, name: str, content: bytes, like: Member) -> None:
        self.name = name
        self.content = content
        self.like = like
        self._data = content
        self._thread: Thread | None = None
        if like.method != STORED and content:
            self._thread = Thread(target=self._deflate)
            if len(content) > _WORTH_A_THREAD:
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

    def _deflate(self) -> None:
        # The RECORD of a large wheel is hashes mostly: more effort takes longer for next to nothing.
        large = len(self.content) > _WORTH_A_THREAD
        level = zlib.Z_BEST_SPEED if large else zlib.Z_DEFAULT_COMPRESSION
        deflater = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._data = deflater.compress(self.content) + deflater.flush()


def rewrite(
    archive: Archive,
    target: BinaryIO,
    *,
    replace_with: Mapping[str, NewMember],
    add_before: Mapping[str, NewMember],
    drop: Collection[str] = (),
    head_start: HeadStart | None = None,
) -> None:
    """Write ``archive`` to the empty file ``target`` with some members changed.

    ``replace_with`` gives new members for old names, ``add_before`` puts a new member in front of
    the named one, ``drop`` leaves members out. Order is kept, in the file and in the directory.
    The rest is copied without being inflated, headers and data descriptors included, neighbours
    in one go; ``head_start`` may have copied some of it already.
    """
    table = archive.table
    touched = {table.position[name] for name in (*replace_with, *add_before, *drop)}
    changed: dict[int, list[bytes]] = {}
    moved: list[tuple[int, int]] = []  # the old offset of each run of members, and by how much
    changes = table.extents(touched)
    copied = head_start.settle(changes[0][0] if changes else table.end) if head_start else 0
    start = 0
    for offset, end, number in changes:
        moved.append((start, _keep(archive, target, start, offset, copied)))
        start, copied = end, 0
        name = table.names[number]
        entries = changed[number] = []
        if name in add_before:
            entries.append(central(_write(target, add_before[name])))
        if name in replace_with:
            entries.append(central(_write(target, replace_with[name])))
        elif name not in drop:
            entries.append(table.moved(number, target.tell()))
            _copy(archive.file, target, offset, end)
    moved.append((start, _keep(archive, target, start, table.end, copied)))
    _write_directory(target, archive, changed, _moving(table, moved))


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
            pass  # a file system that can't: the rest goes the long way
        source.seek(at)
        target.seek(0, os.SEEK_END)
    while left:
        chunk = source.read(min(left, _CHUNK))
        if not chunk:
            raise OSError("the archive became shorter while it was read")
        target.write(chunk)
        left -= len(chunk)


def _write(target: BinaryIO, new: NewMember) -> Member:
    """Append a member; deterministic: the same content and model give the same bytes."""
    like = new.like
    raw_name = new.name.encode("utf-8")
    data = new.data()
    method = STORED if data is new.content else DEFLATED
    member = replace(
        like,
        name=new.name,
        raw_name=raw_name,
        flags=like.flags & UTF8 if raw_name.isascii() else UTF8,
        needed=(20, 0),
        method=method,
        crc=zlib.crc32(new.content),
        compressed=len(data),
        size=len(new.content),
        offset=target.tell(),
        extra=b"",
        comment=b"",
    )
    target.write(
        LOCAL.pack(
            *(b"PK\x03\x04", 20, member.flags, method, member.time, member.date, member.crc),
            *(member.compressed, member.size, len(raw_name), 0),
        )
    )
    target.write(raw_name)
    target.write(data)
    return member


def _write_directory(
    target: BinaryIO,
    archive: Archive,
    changed: Mapping[int, Collection[bytes]],
    moving: Mapping[int, int],
) -> None:
    """Write the central directory and its end; what neither changes nor moves, as it stands."""
    table = archive.table
    offset = target.tell()
    total = len(table.names)
    count, first = 0, 0
    for number in sorted({*changed, *moving}):
        target.write(table.entries(first, number))
        entries = changed[number] if number in changed else [table.moved(number, moving[number])]
        target.writelines(entries)
        count += number - first + len(entries)
        first = number + 1
    target.write(table.entries(first, total))
    count += total - first
    write_end(target, archive, count=count, offset=offset)


def write_end(target: BinaryIO, archive: Archive, *, count: int, offset: int) -> None:
    """The end record behind a directory, in zip64 too where it must be, or where it was."""
    length = target.tell() - offset
    if archive.zip64 or count >= FULL16 or length >= FULL32 or offset >= FULL32:
        where = target.tell()
        target.write(
            ZIP64_END.pack(
                *(b"PK\x06\x06", ZIP64_END.size - 12, ZIP64_VERSION, ZIP64_VERSION, 0, 0),
                *(count, count, length, offset),
            )
        )
        target.write(ZIP64_LOCATOR.pack(b"PK\x06\x07", 0, where, 1))
    short = min(count, FULL16)
    target.write(
        END.pack(
            *(b"PK\x05\x06", 0, 0, short, short, min(length, FULL32), min(offset, FULL32)),
            len(archive.comment),
        )
    )
    target.write(archive.comment)
