"""Read variant.json from a wheel with one read, and nothing else.

An index needs only the variant of a wheel; ``polywheel show`` checks the rest. In nearly every
wheel the dist-info is at the end of the archive, so one read of the end is enough. A wheel with
an unusual structure is not checked here: it must be read with :mod:`polywheel.wheel.inspect`.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from io import SEEK_END, FileIO
from pathlib import Path

from polywheel.formats.variant_json import parse_single_variant
from polywheel.model.wheelname import WheelName

# The records of a zip archive that are needed here. polywheel.wheel.archive has all of them.
_LOCAL = struct.Struct("<4s2x2H4x3L2H")
_ENTRY = struct.Struct("<4s4x2H4x3L4H6xL")
_END = struct.Struct("<4s4H2LH")
_LOCAL_MAGIC, _ENTRY_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_LOCATOR_MAGIC, _LOCATOR = b"PK\x06\x07", 20
_STORED, _DEFLATED = 0, 8
_DESCRIPTOR = 0x08
_USUAL_FLAGS = 0x800 | _DESCRIPTOR | 0x06
"""UTF-8, a data descriptor, and the compression level."""

_VARIANT_JSON, _WHEEL = b".dist-info/variant.json", b".dist-info/WHEEL"
_TAIL = 16 * 1024
"""Bytes at the end that include the dist-info and the central directory of a small wheel."""
_MAX_DIRECTORY = 16 * 1024 * 1024
_MAX_DOCUMENT = 64 * 1024

_Member = tuple[bytes, int, int, int, int, int]
"""A member in the central directory: path, method, CRC, compressed size, size, offset."""


class UnusualError(Exception):
    """The wheel is unusual and must be inspected completely. It may or may not have a problem."""


def read_document(path: str | Path, name: WheelName) -> bytes | None:
    """Return the variant.json of a wheel, which has one variant with the label of the filename.

    Returns None for a non-variant wheel. Raises UnusualError like :func:`read_variant_member`, and OSError.
    """
    with FileIO(path) as file:
        document = read_variant_member(file, name)
    if document is not None:
        single = parse_single_variant(document)
        if single is None or single.label != name.label:
            raise UnusualError
    return document


def read_variant_member(file: FileIO, name: WheelName) -> bytes | None:
    """Return the content of variant.json; None for a non-variant wheel.

    Raises UnusualError if one read is not enough, for example if a wheel with a label has no
    variant.json, or if a wheel without a label has one.
    """
    size = file.seek(0, SEEK_END)
    start = max(0, size - _TAIL)
    tail = _read(file, start, size - start)
    end = len(tail) - _END.size
    if end < 0:
        raise UnusualError
    magic, disk, first_disk, disk_entries, count, length, offset, comment = _END.unpack_from(
        tail, end
    )
    if (
        magic != _END_MAGIC
        or disk
        or first_disk
        or disk_entries != count
        or comment
        or offset + length + _END.size != size
        or length > _MAX_DIRECTORY
        or tail.startswith(_LOCATOR_MAGIC, end - _LOCATOR)
    ):
        raise UnusualError
    if offset >= start:
        directory, first, last = tail, offset - start, end
    else:
        directory, first, last = _read(file, offset, length), 0, length
    if name.label is None:
        if (
            directory.find(_WHEEL, first, last) < 0
            or directory.find(_VARIANT_JSON, first, last) >= 0
        ):
            raise UnusualError
        return None
    member = _find_member(directory, first, last, name)
    _, method, crc, compressed, content_size, member_start = member
    if member_start < start:
        start = member_start
        tail = _read(file, start, min(_TAIL + compressed, offset - start))
    data = _compressed_data(tail, member, member_start - start, offset - start)
    content = _decompress(data, method, crc, content_size)
    if content is None:
        raise UnusualError
    return content


def _find_member(directory: bytes, first: int, last: int, name: WheelName) -> _Member:
    """Find the only variant.json of a central directory. Raises UnusualError."""
    path = f"{name.distribution}-{name.version}".encode() + _VARIANT_JSON
    at = directory.find(path, first, last)
    if at < first + _ENTRY.size or directory.count(_VARIANT_JSON, first, last) != 1:
        raise UnusualError
    magic, flags, method, crc, compressed, size, length, extra, comment, disk, offset = (
        _ENTRY.unpack_from(directory, at - _ENTRY.size)
    )
    following = at + len(path)
    if (
        magic != _ENTRY_MAGIC
        or flags & ~_USUAL_FLAGS
        or length != len(path)
        or extra
        or comment
        or disk
        or compressed > _MAX_DOCUMENT
        or size > _MAX_DOCUMENT
        or not (following == last or directory.startswith(_ENTRY_MAGIC, following))
    ):
        raise UnusualError
    return path, method, crc, compressed, size, offset


def _compressed_data(part: bytes, member: _Member, at: int, end: int) -> bytes:
    """Return the compressed data of a member, whose local header is at ``at`` in ``part``.

    All members end before ``end``. Raises UnusualError if the local header disagrees with the
    central directory.
    """
    if at < 0 or at + _LOCAL.size > len(part):
        raise UnusualError
    path, method, crc, compressed, size, _ = member
    magic, flags, local_method, *local, length, extra = _LOCAL.unpack_from(part, at)
    at += _LOCAL.size
    first = at + length + extra
    data = part[first : first + compressed]
    if (
        magic != _LOCAL_MAGIC
        or local_method != method
        or length != len(path)
        or not part.startswith(path, at)
        or len(data) != compressed
        or first + compressed > end
        # With a data descriptor, these values follow the data.
        or (local != [crc, compressed, size] and not flags & _DESCRIPTOR)
    ):
        raise UnusualError
    return data


@lru_cache(maxsize=1024)
def _decompress(data: bytes, method: int, crc: int, size: int) -> bytes | None:
    """Decompress data; None if it does not match ``crc`` and ``size``.

    Cached, because wheels of one variant have the same variant.json.
    """
    content = data
    if method == _DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = inflater.decompress(data, size + 1)
        except zlib.error:
            return None
        if not inflater.eof or inflater.unused_data:
            return None
    elif method != _STORED:
        return None
    return content if len(content) == size and zlib.crc32(content) == crc else None


def _read(file: FileIO, start: int, length: int) -> bytes:
    """Read exactly ``length`` bytes. Raises UnusualError."""
    if length < 0:
        raise UnusualError
    file.seek(start)
    content = file.read(length)
    if content is None or len(content) != length:
        raise UnusualError
    return content
