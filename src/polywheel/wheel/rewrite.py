"""Writing an archive anew around members that stay: they are copied compressed, as they lie."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO

from polywheel.wheel.archive import Archive
from polywheel.wheel.layout import (
    CENTRAL,
    DEFLATED,
    END,
    FULL16,
    FULL32,
    LOCAL,
    STORED,
    UTF8,
    ZIP64_END,
    ZIP64_EXTRA,
    ZIP64_LOCATOR,
    Member,
    extra_fields,
)

_ZIP64_VERSION = 45
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class NewMember:
    """A member to be written: its content, and the entry whose mode, method and time it takes."""

    name: str
    content: bytes
    like: Member


def rewrite(
    archive: Archive,
    target: BinaryIO,
    *,
    replace_with: Mapping[str, NewMember],
    add_before: Mapping[str, NewMember],
    drop: Collection[str] = (),
) -> None:
    """Write ``archive`` to the empty file ``target`` with some members changed.

    ``replace_with`` gives new members for old names, ``add_before`` puts a new member in front of
    the named one, ``drop`` leaves members out. Order is kept, in the file and in the directory.
    The rest is copied without being inflated, headers and data descriptors included, neighbours
    in one go.
    """
    entries: dict[str, Member] = {}
    added: dict[str, Member] = {}
    # What stays and is not copied yet: archive bytes start..end; at first, what lies in front.
    start, end = 0, min((member.offset for member in archive.members), default=0)
    for member, member_end in archive.extents():
        if member.name in add_before or member.name in replace_with or member.name in drop:
            _copy(archive.file, target, start, end)
            start = end = member_end
            if member.name in add_before:
                added[member.name] = _write(target, add_before[member.name])
            if member.name in replace_with:
                entries[member.name] = _write(target, replace_with[member.name])
            elif member.name not in drop:
                entries[member.name] = replace(member, offset=target.tell())
                _copy(archive.file, target, member.offset, member_end)
        else:
            # What lies before the run has been written: the run moves by the difference.
            entries[member.name] = replace(member, offset=member.offset - start + target.tell())
            end = member_end
    _copy(archive.file, target, start, end)
    directory = []
    for member in archive.members:
        if member.name in added:
            directory.append(added[member.name])
        if member.name in entries:
            directory.append(entries[member.name])
    _write_directory(target, directory, archive)


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
    data, method = new.content, STORED
    if like.method != STORED and new.content:
        deflater = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -zlib.MAX_WBITS)
        data, method = deflater.compress(new.content) + deflater.flush(), DEFLATED
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


def _write_directory(target: BinaryIO, members: list[Member], archive: Archive) -> None:
    offset = target.tell()
    target.writelines(_central(member) for member in members)
    length = target.tell() - offset
    count = len(members)
    if archive.zip64 or count >= FULL16 or length >= FULL32 or offset >= FULL32:
        where = target.tell()
        target.write(
            ZIP64_END.pack(
                *(b"PK\x06\x06", ZIP64_END.size - 12, _ZIP64_VERSION, _ZIP64_VERSION, 0, 0),
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


def _central(member: Member) -> bytes:
    """The directory entry; what does not fit 32 bits goes into a zip64 field, in its fixed order."""
    wide = [value for value in (member.size, member.compressed, member.offset) if value >= FULL32]
    extra = b"".join(field for kind, field in extra_fields(member.extra) if kind != ZIP64_EXTRA)
    needed = member.needed
    if wide:
        extra = struct.pack(f"<2H{len(wide)}Q", ZIP64_EXTRA, 8 * len(wide), *wide) + extra
        needed = (max(needed[0], _ZIP64_VERSION), needed[1])
    header = CENTRAL.pack(
        *(b"PK\x01\x02", *member.made_by, *needed, member.flags, member.method),
        *(member.time, member.date, member.crc),
        *(min(member.compressed, FULL32), min(member.size, FULL32)),
        *(len(member.raw_name), len(extra), len(member.comment), 0, member.internal),
        *(member.external, min(member.offset, FULL32)),
    )
    return header + member.raw_name + extra + member.comment
