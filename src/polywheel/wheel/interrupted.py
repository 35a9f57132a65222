"""The marks by which a change in place that was interrupted is known; see :mod:`.in_place`."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

_UNFINISHED = b"polywheel\x00unfinished\x00"
_GAP = b"\x00polywheel gap\x00"
_NUMBERS = struct.Struct("<QQL")
_MARK = len(_UNFINISHED) + _NUMBERS.size
_CHUNK = 1024 * 1024
_FURTHEST = 512 * 1024 * 1024
"""Bytes of what an interrupted change may have left: twice what a directory may have."""


def unfinished_mark(old: int) -> bytes:
    """Stands behind a wheel of ``old`` bytes, in front of its new end."""
    return _UNFINISHED + _numbers(old, old)


def gap_mark(start: int, end: int) -> bytes:
    """Ends the comment of an archive in which nothing lies between two offsets."""
    return _GAP + _numbers(start, end)


def split_comment(comment: bytes) -> tuple[bytes, tuple[int, int] | None]:
    """The comment of an archive without a mark, and the gap that the mark names."""
    at = len(comment) - len(_GAP) - _NUMBERS.size
    if at < 0 or not comment.startswith(_GAP, at):
        return comment, None
    found = _read(comment[at + len(_GAP) :])
    return (comment, None) if found is None else (comment[:at], found)


def old_size(file: BinaryIO, size: int) -> int:
    """Bytes of the wheel in front of the mark that stands last in a file; ``size`` if none does."""
    # A mark that is itself cut short ends the file.
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
        found = chunk.rfind(_UNFINISHED)
        while found >= 0:
            old = start + found
            if chunk.startswith(unfinished_mark(old), found):
                return old
            found = chunk.rfind(_UNFINISHED, 0, found)
        at = start
    return size


def _numbers(first: int, second: int) -> bytes:
    check = zlib.crc32(struct.pack("<QQ", first, second))
    return _NUMBERS.pack(first, second, check)


def _read(packed: bytes) -> tuple[int, int] | None:
    first, second, _ = _NUMBERS.unpack(packed)
    return (first, second) if packed == _numbers(first, second) else None
