"""The central directory of an archive: its entries, and a table of them that is checked by columns.

The records of a zip archive are described in PKWARE's APPNOTE.TXT: local headers with data come first, then the
central directory, then the end record. Sizes and offsets that do not fit 32 bits are in a zip64 extra field.

A large wheel has many thousand members, and labelling it should cost little more than copying it. So the
checks run over whole columns first. Only if a check finds something unusual, the members are checked one by
one.
"""

from __future__ import annotations

import re
import struct
import sys
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from operator import le
from pathlib import Path
from typing import NamedTuple

from polywheel.errors import WheelError

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s4B4H3L5H2L")
END = struct.Struct("<4s4H2LH")
ZIP64_LOCATOR = struct.Struct("<4sLQL")
ZIP64_END = struct.Struct("<4sQ2H2L4Q")

ZIP64_VERSION = 45
STORED, DEFLATED = 0, 8
HAS_DESCRIPTOR, UTF8, ENCRYPTED = 0x08, 0x800, 0x01
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
ZIP64_EXTRA, UNICODE_PATH = 0x0001, 0x7075


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of the central directory. Sizes and offsets are in bytes, with zip64 fields resolved."""

    name: str
    raw_name: bytes
    made_by: tuple[int, int]
    needed: tuple[int, int]
    flags: int
    method: int
    time: int
    date: int
    crc: int
    compressed: int
    size: int
    internal: int
    external: int
    offset: int
    extra: bytes
    comment: bytes


def extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield ``(id, whole field)`` of an extra block. A malformed tail has the id -1."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        yield kind, extra[at : at + 4 + length]
        at += 4 + length
    if at < len(extra):
        yield -1, extra[at:]


def central(member: Member) -> bytes:
    """Return the directory entry. Numbers that do not fit 32 bits go into a zip64 field, in fixed order."""
    wide = [value for value in (member.size, member.compressed, member.offset) if value >= FULL32]
    extra = b"".join(field for kind, field in extra_fields(member.extra) if kind != ZIP64_EXTRA)
    needed = member.needed
    if wide:
        extra = struct.pack(f"<2H{len(wide)}Q", ZIP64_EXTRA, 8 * len(wide), *wide) + extra
        needed = (max(needed[0], ZIP64_VERSION), needed[1])
    header = CENTRAL.pack(
        *(b"PK\x01\x02", *member.made_by, *needed, member.flags, member.method),
        *(member.time, member.date, member.crc),
        *(min(member.compressed, FULL32), min(member.size, FULL32)),
        *(len(member.raw_name), len(extra), len(member.comment), 0, member.internal),
        *(member.external, min(member.offset, FULL32)),
    )
    return header + member.raw_name + extra + member.comment


MAX_NAME = 4096
"""Bytes of a name. No system accepts a longer path, and derived names still fit."""
_MAX_EXTRA = FULL16 - 28
"""Bytes of extra fields. There is room for a zip64 field if the member moves beyond 4 GiB."""


def broken(path: Path, what: str) -> WheelError:
    """Return the error for a broken wheel."""
    return WheelError(f"broken wheel: {what}", at=str(path))


def parse_entry(raw: bytes, at: int, path: Path) -> Member:
    """Parse the entry at an offset of a directory. Raises WheelError."""
    # fmt: off
    (
        _, made, made_os, needed, needed_os, flags, method, time, date, crc, compressed,
        size, name_length, extra_length, comment_length, disk, internal, external, offset,
    ) = CENTRAL.unpack_from(raw, at)
    # fmt: on
    at += CENTRAL.size
    raw_name = raw[at : at + name_length]
    extra = raw[at + name_length : at + name_length + extra_length]
    at += name_length + extra_length
    comment = raw[at : at + comment_length]
    at += comment_length
    name = _decode(raw_name, flags, path)
    wide = [value for value in (size, compressed, offset) if value == FULL32]
    if wide:
        values = iter(_zip64_values(extra, len(wide), name, path))
        size = next(values) if size == FULL32 else size
        compressed = next(values) if compressed == FULL32 else compressed
        offset = next(values) if offset == FULL32 else offset
    if flags & ENCRYPTED or disk not in (0, FULL16):
        raise broken(path, f"{name!r} is encrypted or split")
    if method == STORED and compressed != size:
        raise broken(path, f"{name!r} is stored, but has two different sizes")
    _check_extra(extra, name, path)
    if len(raw_name) > MAX_NAME:
        raise _bad_name(name, path)
    return Member(
        *(name, raw_name, (made, made_os), (needed, needed_os), flags, method, time, date),
        *(crc, compressed, size, internal, external, offset, extra, comment),
    )


class LocalHeader(NamedTuple):
    """The parts of a local header that may differ from the entry of its member."""

    flags: int
    name_length: int
    extra_length: int
    agrees: bool
    """Whether method, checksum, and sizes agree with the entry."""


def parse_local_header(raw: bytes, member: Member) -> LocalHeader | None:
    """Parse the local header of a member at the start of ``raw``; None if there is none."""
    if len(raw) < LOCAL.size or not raw.startswith(b"PK\x03\x04"):
        return None
    _, _, flags, method, _, _, crc, compressed, size, name, extra = LOCAL.unpack_from(raw)
    # With a data descriptor, checksum and sizes follow the data. Large sizes are in zip64 fields.
    agrees = method == member.method and (
        bool(flags & HAS_DESCRIPTOR)
        or (
            crc == member.crc
            and compressed in (member.compressed, FULL32)
            and size in (member.size, FULL32)
        )
    )
    return LocalHeader(flags, name, extra, agrees)


def _bad_name(name: str, path: Path) -> WheelError:
    """Return the error for a name that is malformed or leads out of the archive."""
    return broken(path, f"the member name {name[:200]!r} leads out of the archive, or is malformed")


def _decode(raw: bytes, flags: int, path: Path) -> str:
    try:
        return raw.decode("utf-8" if flags & UTF8 else "cp437")
    except UnicodeDecodeError:
        raise broken(path, f"a member's name is not UTF-8: {raw!r}") from None


def _zip64_values(extra: bytes, count: int, name: str, path: Path) -> tuple[int, ...]:
    for kind, field in extra_fields(extra):
        if kind == ZIP64_EXTRA and len(field) >= 4 + 8 * count:
            return struct.unpack_from(f"<{count}Q", field, 4)
    if count == 1:
        return (FULL32,)  # exactly 4 GiB - 1: a value, not a marker
    raise broken(path, f"{name!r} has no zip64 sizes")


def _check_extra(extra: bytes, name: str, path: Path) -> None:
    if len(extra) > _MAX_EXTRA:
        raise broken(path, f"{name!r} has {len(extra)} bytes of extra fields")
    for kind, field in extra_fields(extra):
        # Newer readers use this name, older ones the other. Version and checksum come before it.
        if kind == UNICODE_PATH and field[9:] != name.encode("utf-8"):
            raise broken(path, f"{name!r} has another name in its extra fields")


_MAGIC = b"PK\x01\x02"
# The size of the fixed part of an entry after its magic number, and the columns in it: the offset and the
# size in bytes of each number.
_HEAD = CENTRAL.size - len(_MAGIC)
_FLAGS, _METHOD, _COMPRESSED, _SIZE = (4, 2), (6, 2), (16, 4), (20, 4)
_NAME_LENGTH, _OFFSET = (24, 2), (38, 4)
_UNUSUAL = (26, 2), (28, 2), (30, 2)  # lengths of extra fields and comment, number of the disk
_LENGTHS = struct.Struct("<28x3H")  # of name, extra fields, and comment
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Printable ASCII without the separators of other systems.
_HARMLESS = bytes({*range(0x20, 0x7F), ord("\n")} - {*b":\\"})


class Directory:
    """The entries of a central directory, in its order. ``end`` is the end of the members."""

    def __init__(self, raw: bytes, count: int, end: int, path: Path) -> None:
        self.raw = raw
        self.end = end
        self._path = path
        self.names: list[str] = []
        self.sizes: list[int] = []
        """The inflated size of each member in bytes."""
        self.offsets: list[int] = []
        # The start of each entry, and the end of the last one.
        self._starts: list[int] = []
        self._usual = self._read_columns(count)
        if not self._usual:
            self._read_members(count)

    @cached_property
    def position(self) -> dict[str, int]:
        """The number of each name in the directory."""
        return {name: number for number, name in enumerate(self.names)}

    def member(self, number: int) -> Member:
        return parse_entry(self.raw, self._starts[number], self._path)

    def entries(self, first: int, last: int) -> bytes:
        """Return the entries first to last - 1, unchanged."""
        return self.raw[self._starts[first] : self._starts[last]] if last > first else b""

    def moved(self, number: int, offset: int) -> bytes:
        """Return the entry of a member for another offset."""
        start = self._starts[number]
        if offset < FULL32 and self._usual:
            name = start + CENTRAL.size
            return (
                self.raw[start : name - 4]
                + offset.to_bytes(4, "little")
                + self.raw[name : self._starts[number + 1]]
            )
        return central(replace(self.member(number), offset=offset))

    @cached_property
    def order(self) -> Sequence[int]:
        """The numbers of the members in the order of the file."""
        numbers = range(len(self.offsets))
        return numbers if self._in_order else sorted(numbers, key=self.offsets.__getitem__)

    def extents(self, only: Collection[int] | None = None) -> list[tuple[int, int, int]]:
        """Return ``(offset, end, number)`` of all or some members, in the order of the file.

        A member ends at the next one, or at the directory.
        """
        ends = self._ends
        return [
            (self.offsets[number], ends[number], number)
            for number in self.order
            if only is None or number in only
        ]

    @cached_property
    def _ends(self) -> dict[int, int]:
        ends = [*sorted(self.offsets)[1:], self.end] if self.offsets else []
        return dict(zip(self.order, ends, strict=True))

    def end_of(self, member: Member) -> int:
        """Return the end of a member: the next one in the file, or the directory."""
        return self._ends[self.position[member.name]]

    def is_gap(self, first: int, end: int) -> bool:
        """Whether the directory has no member between two offsets."""
        if not 0 < first < end <= self.end:
            return False
        in_front = [number for number, offset in enumerate(self.offsets) if offset < end]
        return all(
            member.offset + LOCAL.size + len(member.raw_name) + member.compressed <= first
            for member in map(self.member, in_front)
        )

    def _read_columns(self, count: int) -> bool:
        """Read all entries at once. Return False if something is unusual, for example an extra field."""
        entries = self.raw.split(_MAGIC)
        if len(entries) != count + 1 or entries.pop(0) or min(map(len, entries), default=0) < _HEAD:
            return False
        heads = b"".join([entry[:_HEAD] for entry in entries])
        joined = b"\n".join([entry[_HEAD:] for entry in entries])
        self.names = joined.decode("ascii", "replace").split("\n")
        lengths = list(map(len, self.names))
        compressed, sizes = _column(heads, _COMPRESSED).tolist(), _column(heads, _SIZE).tolist()
        offsets, methods = _column(heads, _OFFSET).tolist(), _column(heads, _METHOD)
        if not (
            _is_plain(joined)
            and _column(heads, _NAME_LENGTH).tolist() == lengths
            and len(set(self.names)) == count
            and not any(any(_column(heads, field)) for field in _UNUSUAL)
            and not any(map(ENCRYPTED.__and__, set(_column(heads, _FLAGS))))
            and max(lengths) <= MAX_NAME
            and FULL32 not in {max(compressed), max(sizes), max(offsets)}
            and (
                STORED not in methods
                or not any(
                    method == STORED and stored != size
                    for method, stored, size in zip(methods, compressed, sizes, strict=True)
                )
            )
        ):
            return False
        self.sizes, self.offsets = sizes, offsets
        self._starts = list(accumulate(map(CENTRAL.size.__add__, lengths), initial=0))
        self._check_extents(lengths, compressed)
        return True

    def _read_members(self, count: int) -> None:
        """Read and check the entries one by one."""
        at = 0
        for _ in range(count):
            if len(self.raw) - at < CENTRAL.size:
                raise broken(self._path, "its directory is cut short")
            if not self.raw.startswith(_MAGIC, at):
                raise broken(self._path, "its directory is malformed")
            self._starts.append(at)
            at += CENTRAL.size + sum(_LENGTHS.unpack_from(self.raw, at))
        if at != len(self.raw):
            problem = "has extra bytes" if at < len(self.raw) else "is cut short"
            raise broken(self._path, f"its directory {problem}")
        members = [parse_entry(self.raw, start, self._path) for start in self._starts]
        self._starts.append(at)
        self.names = [member.name for member in members]
        self.sizes = [member.size for member in members]
        self.offsets = [member.offset for member in members]
        self._check_names()
        self._check_extents(
            [len(member.raw_name) for member in members], [member.compressed for member in members]
        )

    def _check_names(self) -> None:
        """Raise WheelError for names that lead out of the archive, are malformed, or occur twice."""
        seen = set()
        for name in self.names:
            parts = name.removesuffix("/").split("/")
            if (
                not all(parts)
                or {".", ".."}.intersection(parts)
                or "\\" in name
                or ":" in parts[0]
                or _CONTROL.search(name)
            ):
                raise _bad_name(name, self._path)
            if name in seen:
                raise broken(self._path, f"there are two members named {name!r}")
            seen.add(name)

    def _check_extents(self, lengths: Iterable[int], compressed: Iterable[int]) -> None:
        """Raise WheelError for overlapping members, a sign of a zip bomb."""
        self._in_order = self.offsets == sorted(self.offsets)
        least = list(map(sum, zip(self.offsets, lengths, compressed, strict=True)))
        starts = map((-LOCAL.size).__add__, [*self.offsets[1:], self.end])
        if self._in_order and all(map(le, least, starts)):
            return
        least = [end + LOCAL.size for end in least]
        for _, end, number in self.extents():
            name = self.names[number]
            if least[number] > self.end:
                raise broken(self._path, f"{name} reaches beyond the end of the archive")
            if least[number] > end:
                raise broken(self._path, f"{name} overlaps what follows it")


def _column(heads: bytes, field: tuple[int, int]) -> array[int]:
    """Return one number of every head. Its bytes are one head apart, the lowest byte first."""
    at, width = field
    raw = bytearray(len(heads) // _HEAD * width)
    for byte in range(width):
        raw[byte::width] = heads[at + byte :: _HEAD]
    numbers = array("H" if width == 2 else "I", raw)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _is_plain(names: bytes) -> bool:
    """Whether names, one per line, are printable ASCII and have no special parts.

    The name of a folder ends with an empty part, so archives with folders take the slow path.
    """
    parts = b"/" + names.replace(b"\n", b"/") + b"/"
    return not names.translate(None, _HARMLESS) and not any(
        part in parts for part in (b"//", b"/./", b"/../")
    )
