"""Read tar archives as a stream, in bounded memory and in linear time.

The formats are ustar and pax (POSIX.1-2008, "pax Interchange Format") and GNU tar's. tarfile is not used. It
ends without an error at a damaged header, so files would be missing. It reads headers of any length into memory,
and before Python 3.11.10 and 3.12.6 it takes quadratic time for a pax header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from io import BufferedIOBase

_BLOCK = 512
_MAX_EXTENDED = 1 << 20
"""Bytes of a header that extends another one. Names have at most 4096 bytes; other fields are not used."""
_MAX_ALL_EXTENDED = 1 << 28
"""Bytes of all such headers: 500 for each of half a million files."""
_CHUNK = 1 << 16
_OCTAL = re.compile(rb"[0-7]{1,12}")
_TIME = re.compile(rb"-?[0-9]{1,15}(?:\.[0-9]{0,30})?")
_SIZE = re.compile(rb"[0-9]{1,19}")
_USTAR = b"ustar\0"
_USED = frozenset({b"path", b"linkpath", b"size", b"mtime"})


class TarError(Exception):
    """An archive is malformed, or exceeds a limit."""


class Kind(Enum):
    """The kind of a member."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "symbolic link"
    HARD_LINK = "hard link"
    OTHER = "neither file nor folder nor link"


_KINDS = {
    **dict.fromkeys((b"0", b"\0", b"7"), Kind.FILE),
    b"1": Kind.HARD_LINK,
    b"2": Kind.LINK,
    b"5": Kind.FOLDER,
}
_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL = b"L", b"K", b"x", b"g"


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A member. Names that are not UTF-8 are decoded like :func:`os.fsdecode` does."""

    name: str
    kind: Kind
    link: str
    """The target of a link."""

    size: int
    """Bytes of its content."""

    executable: bool
    """Whether its owner may execute it."""

    time: float
    """Of the last change, in seconds since 1970."""


class TarReader:
    """The members of an archive, one after the other, and the content of the current one."""

    def __init__(self, stream: BufferedIOBase, *, most_bytes: int, most_headers: int) -> None:
        self._stream = stream
        self._bytes = most_bytes
        self._headers = most_headers
        self._extensions = _MAX_ALL_EXTENDED
        self._content = 0
        """Bytes of the current member that were not read yet."""

    def __iter__(self) -> Iterator[Member]:
        """Yield every member. Raises TarError, and the errors of the stream."""
        for_all: dict[bytes, bytes] = {}
        extended: dict[bytes, bytes] = {}
        any_header = False
        while (header := self._header()) is not None:
            any_header = True
            kind, size = header[156:157], _number(header[124:136])
            if kind in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL):
                content = self._read_extended(size)
                if kind == _PAX:
                    extended |= _records(content)
                elif kind == _PAX_FOR_ALL:
                    for_all |= _records(content)
                else:
                    key = b"path" if kind == _LONG_NAME else b"linkpath"
                    extended[key] = content.partition(b"\0")[0]
                continue
            member = _member(header, {**for_all, **extended}, size)
            extended = {}
            self._content = member.size
            yield member
            self._skip(self._content + -member.size % _BLOCK)
        if extended:
            raise TarError("it ends behind a header that is about the next member")
        if not any_header:
            raise TarError("it is empty")

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes of the content of the current member; none at its end."""
        content = self._read(min(size, self._content, _CHUNK))
        self._content -= len(content)
        return content

    def _header(self) -> bytes | None:
        """Return the next header; None at the end. Reads on to the checksum at the end of the stream."""
        header = self._stream.read(_BLOCK)
        if not header.strip(b"\0"):
            while self._stream.read(min(_CHUNK, self._take(_CHUNK))):
                pass
            return None
        self._take(_BLOCK)
        if len(header) < _BLOCK:
            raise TarError("it is cut short")
        self._headers -= 1
        if self._headers < 0:
            raise TarError("it has too many headers")
        if not _has_its_checksum(header):
            raise TarError("a header is malformed: its checksum is wrong")
        return header

    def _read_extended(self, size: int) -> bytes:
        if not 0 <= size <= _MAX_EXTENDED:
            raise TarError(f"a header claims {size} bytes; expected at most {_MAX_EXTENDED}")
        self._extensions -= size
        if self._extensions < 0:
            raise TarError("its headers are too large")
        content = self._read(size)
        self._skip(-size % _BLOCK)
        return content

    def _read(self, size: int) -> bytes:
        content = self._stream.read(self._take(size))
        if len(content) < size:
            raise TarError("it is cut short")
        return content

    def _skip(self, size: int) -> None:
        while size > 0:
            size -= len(self._read(min(size, _CHUNK)))

    def _take(self, size: int) -> int:
        """Count bytes towards the limit of the archive. Return their number."""
        self._bytes -= size
        if self._bytes < 0:
            raise TarError("it has too many bytes")
        return size


def _has_its_checksum(header: bytes) -> bool:
    without = header[:148] + b" " * 8 + header[156:]
    total = sum(without)
    # Some old programs used signed bytes.
    return _number(header[148:156]) in (total, total - 256 * sum(byte > 127 for byte in without))


def _number(field: bytes) -> int:
    """Return a number of a header: octal digits, or in base 256, as GNU tar writes large ones."""
    if field[0] == 0xFF:
        return int.from_bytes(field, "big", signed=True)
    if field[0] & 0x80:
        return int.from_bytes(field, "big") - (0x80 << 8 * (len(field) - 1))
    digits = field.partition(b"\0")[0].strip()
    if digits and not _OCTAL.fullmatch(digits):
        raise TarError("a header is malformed: expected a number")
    return int(digits or b"0", 8)


def _records(content: bytes) -> dict[bytes, bytes]:
    """Return the used records of a pax header. A record is ``LENGTH KEY=VALUE`` and a line break."""
    records = {}
    at = 0
    while at < len(content) and content[at]:  # some have zeros after the last record
        digits = content[at : at + 8].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        record = content[at + len(digits) + 1 : at + length]
        key, equals, value = record.removesuffix(b"\n").partition(b"=")
        if at + length > len(content) or not equals or not record.endswith(b"\n"):
            raise TarError("a pax header is malformed")
        if key.startswith(b"GNU.sparse."):
            raise TarError("it has a sparse file")
        if key in _USED:
            records[key] = value
        at += length
    return records


def _member(header: bytes, extended: dict[bytes, bytes], size: int) -> Member:
    """Return a member. Values of ``extended`` that are not empty override its header."""
    kind = _KINDS.get(header[156:157], Kind.OTHER)
    name = extended.get(b"path")
    if not name:
        name = header[:100].partition(b"\0")[0]
        prefix = header[345:500].partition(b"\0")[0]
        if header[257:263] == _USTAR and prefix:  # GNU tar has other fields there
            name = prefix + b"/" + name
    if header[156:157] == b"\0" and name.endswith(b"/"):
        kind = Kind.FOLDER  # old formats have no type for folders
    if text := extended.get(b"size"):
        if not _SIZE.fullmatch(text):
            raise TarError("a pax header is malformed: expected a size")
        size = int(text)
    if size < 0:
        raise TarError("a header is malformed: a size is negative")
    link = extended.get(b"linkpath") or header[157:257].partition(b"\0")[0]
    time: float = _number(header[136:148])
    if (text := extended.get(b"mtime")) and _TIME.fullmatch(text):
        time = float(text)
    return Member(
        name=name.decode("utf-8", "surrogateescape"),
        kind=kind,
        link=link.decode("utf-8", "surrogateescape"),
        size=size if kind in {Kind.FILE, Kind.OTHER} else 0,
        executable=bool(_number(header[100:108]) & 0o100),
        time=time,
    )
