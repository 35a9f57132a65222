"""A member that is written anew: its content, and the headers that go with it."""

from __future__ import annotations

import zlib
from dataclasses import replace
from threading import Thread
from typing import BinaryIO

from polywheel.wheel.archive import Around
from polywheel.wheel.layout import DEFLATED, LOCAL, STORED, UTF8, Member

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
        around: Around | None = None,
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
