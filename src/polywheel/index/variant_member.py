"""The variant.json of a wheel, and nothing else of it, at the price of one read.

An index of variants needs no more of a wheel; what else is in it is for `polywheel show` to judge. Its
dist-info comes last in nearly every wheel, so one read of the end brings all. What is not as nearly
every wheel has it is not judged here either: it is unusual, and for :mod:`polywheel.examined`.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from io import FileIO

from polywheel.model.wheelname import WheelName

# The records of a zip archive, as far as they are needed here; wheel/layout.py has all of them.
_LOCAL = struct.Struct("<4s2x2H4x3L2H")
_ENTRY = struct.Struct("<4s4x2H4x3L4H6xL")
_END = struct.Struct("<4s4H2LH")
_LOCATOR_MAGIC, _LOCATOR = b"PK\x06\x07", 20
_STORED, _DEFLATED = 0, 8
_DESCRIPTOR = 0x08
_USUAL_FLAGS = 0x800 | _DESCRIPTOR | 0x06
"""UTF-8, a data descriptor, and how hard the compressor tried."""

_VARIANT_JSON, _WHEEL = b".dist-info/variant.json", b".dist-info/WHEEL"
_TAIL = 16 * 1024
"""Bytes that hold the dist-info and the directory of a small wheel."""
_MAX_DIRECTORY = 16 * 1024 * 1024
_MAX_DOCUMENT = 64 * 1024


class UnusualError(Exception):
    """The wheel has to be looked at from all sides; nothing is said of what is wrong, if anything."""


def variant_member(file: FileIO, size: int, name: WheelName) -> bytes | None:
    """The content of variant.json in a wheel of ``size`` bytes; None for a non-variant wheel.

    Raises UnusualError where that can't be told at a glance: among others, where the one has no
    variant.json, or the other has one.
    """
    start = max(0, size - _TAIL)
    tail = _read(file, start, size - start)
    end = len(tail) - _END.size
    if end < 0:
        raise UnusualError
    magic, disk, first_disk, here, count, length, offset, comment = _END.unpack_from(tail, end)
    if (
        magic != b"PK\x05\x06"
        or (disk, first_disk, here, comment) != (0, 0, count, 0)
        or offset + length + _END.size != size
        or length > _MAX_DIRECTORY
        or tail.startswith(_LOCATOR_MAGIC, end - _LOCATOR)
    ):
        raise UnusualError
    directory = tail[offset - start : end] if offset >= start else _read(file, offset, length)
    variants = directory.count(_VARIANT_JSON)
    if directory.count(b"PK\x01\x02") != count or variants != (name.label is not None):
        raise UnusualError
    if not variants:
        if _WHEEL not in directory:
            raise UnusualError
        return None
    return _content(file, tail, start, directory, offset, name)


def _content(
    file: FileIO, tail: bytes, start: int, directory: bytes, end: int, name: WheelName
) -> bytes:
    """The content of the one variant.json that ``directory``, at the offset ``end``, lists."""
    path = f"{name.distribution}-{name.version}".encode() + _VARIANT_JSON
    at = directory.find(path) - _ENTRY.size
    if at < 0:
        raise UnusualError
    (magic, flags, method, crc, compressed, size, name_length, extra, comment, disk, offset) = (
        _ENTRY.unpack_from(directory, at)
    )
    if (
        magic != b"PK\x01\x02"
        or flags & ~_USUAL_FLAGS
        or (name_length, extra, comment, disk) != (len(path), 0, 0, 0)
        or max(compressed, size) > _MAX_DOCUMENT
    ):
        raise UnusualError
    if offset < start:
        start, tail = offset, _read(file, offset, min(_TAIL + compressed, end - offset))
    at = offset - start
    if at + _LOCAL.size > len(tail):
        raise UnusualError
    magic, local_flags, local_method, *sizes, name_length, extra = _LOCAL.unpack_from(tail, at)
    at += _LOCAL.size + name_length + extra
    data = tail[at : at + compressed]
    if (
        magic != b"PK\x03\x04"
        or not tail.startswith(path, at - name_length - extra)
        or (local_method, name_length) != (method, len(path))
        or not (local_flags & _DESCRIPTOR or sizes == [crc, compressed, size])
        or start + at + compressed > end
        or len(data) != compressed
    ):
        raise UnusualError
    content = _inflated(data, method, crc, size)
    if content is None:
        raise UnusualError
    return content


@lru_cache(maxsize=1024)
def _inflated(data: bytes, method: int, crc: int, size: int) -> bytes | None:
    """What was compressed; None where it is something else. Wheels of one variant share it."""
    if method == _STORED:
        content = data
    elif method == _DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = inflater.decompress(data, size + 1)
        except zlib.error:
            return None
        if not inflater.eof or inflater.unused_data:
            return None
    else:
        return None
    return content if (len(content), zlib.crc32(content)) == (size, crc) else None


def _read(file: FileIO, start: int, length: int) -> bytes:
    file.seek(start)
    content = file.read(length)
    if content is None or len(content) != length:
        raise UnusualError
    return content
