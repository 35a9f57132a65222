"""The central directory of an archive: parsed as a table, checked by columns.

A large wheel has many thousand members, and labelling it should cost little more than copying it. So the
checks run over whole columns first. Only if a check finds something unusual, the members are checked one by
one.
"""

from __future__ import annotations

import re
import struct
import sys
from array import array
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from operator import le
from pathlib import Path

from polywheel.wheel.archive.entry import (
    CENTRAL,
    ENCRYPTED,
    FULL32,
    LOCAL,
    MAX_NAME,
    STORED,
    Member,
    bad_name,
    broken,
    central,
    parse_entry,
)

_MAGIC = b"PK\x01\x02"
# The size of the fixed part of an entry after its magic number, and the columns in it: the offset and the
# size in bytes of each number.
_HEAD = CENTRAL.size - len(_MAGIC)
_FLAGS, _METHOD, _COMPRESSED, _SIZE = (4, 2), (6, 2), (16, 4), (20, 4)
_NAME_LENGTH, _EXTRA_LENGTH, _COMMENT_LENGTH = (24, 2), (26, 2), (28, 2)
_DISK, _WHERE = (30, 2), (38, 4)
_LENGTHS = struct.Struct("<24x3H")
_OFFSET = struct.Struct("<L")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Printable ASCII without the separators of other systems.
_HARMLESS = bytes({*range(0x20, 0x7F), ord("\n")} - {*b":\\"})


class Directory:
    """The entries of a central directory, in its order. ``end`` is the end of the members."""

    def __init__(self, raw: bytes, count: int, end: int, path: Path) -> None:
        self.raw = raw
        self.end = end
        self._wide = True
        self._path = path
        self.names: list[str] = []
        self.sizes: list[int] = []
        """The inflated size of each member in bytes."""
        self.offsets: list[int] = []
        # The start of each entry, and the end of the last one.
        self._starts: list[int] = []
        names, heads = self._cut_by_magic(count) or self._cut_by_lengths(count)
        self._screen(names, heads)

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """All members. For a large archive, :meth:`member` is faster."""
        return tuple(map(self.member, range(len(self.names))))

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
        if offset < FULL32 and not self._wide:
            entry = bytearray(self.raw[start : self._starts[number + 1]])
            _OFFSET.pack_into(entry, CENTRAL.size - _OFFSET.size, offset)
            return bytes(entry)
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

    def _cut_by_magic(self, count: int) -> tuple[list[bytes], bytes] | None:
        """Split the directory at magic numbers. Return the names and heads of the entries.

        Returns None if entries do not end there: an entry has extra fields, or a name contains a magic
        number.
        """
        entries = self.raw.split(_MAGIC)
        if len(entries) != count + 1 or entries.pop(0) or min(map(len, entries), default=0) < _HEAD:
            return None
        heads = b"".join([entry[:_HEAD] for entry in entries])
        names = [entry[_HEAD:] for entry in entries]
        lengths = list(map(len, names))
        if (
            any(_column(heads, _EXTRA_LENGTH))
            or any(_column(heads, _COMMENT_LENGTH))
            or _column(heads, _NAME_LENGTH).tolist() != lengths
        ):
            return None
        self._starts = list(accumulate(map(CENTRAL.size.__add__, lengths), initial=0))
        return names, heads

    def _cut_by_lengths(self, count: int) -> tuple[list[bytes], bytes]:
        """Split the directory by the lengths of its entries. Return their names and heads."""
        names: list[bytes] = []
        heads: list[bytes] = []
        at = 0
        for _ in range(count):
            if len(self.raw) - at < CENTRAL.size:
                raise broken(self._path, "its directory is cut short")
            if not self.raw.startswith(_MAGIC, at):
                raise broken(self._path, "its directory is malformed")
            self._starts.append(at)
            head = self.raw[at + len(_MAGIC) : at + CENTRAL.size]
            heads.append(head)
            name, extra, comment = _LENGTHS.unpack_from(head)
            at += CENTRAL.size
            names.append(self.raw[at : at + name])
            at += name + extra + comment
        if at != len(self.raw):
            more = "has extra bytes" if at < len(self.raw) else "is cut short"
            raise broken(self._path, f"its directory {more}")
        self._starts.append(at)
        return names, b"".join(heads)

    def _screen(self, names: list[bytes], heads: bytes) -> None:
        """Extract and check the columns. If one is unusual, check the members one by one."""
        self._in_order = True
        if not names:
            return
        compressed, sizes = _column(heads, _COMPRESSED).tolist(), _column(heads, _SIZE).tolist()
        offsets, lengths = _column(heads, _WHERE).tolist(), _column(heads, _NAME_LENGTH)
        methods = _column(heads, _METHOD)
        joined = b"\n".join(names)
        plain = (
            _is_plain(joined)
            and joined.count(b"\n") == len(names) - 1
            and not any(map(ENCRYPTED.__and__, set(_column(heads, _FLAGS))))
            and not any(_column(heads, _DISK))
            and not any(_column(heads, _EXTRA_LENGTH))
            and max(lengths) <= MAX_NAME
            and FULL32 not in {max(compressed), max(sizes), max(offsets)}
            and (
                STORED not in methods
                or not any(
                    method == STORED and stored != size
                    for method, stored, size in zip(methods, compressed, sizes, strict=True)
                )
            )
        )
        self._wide = not plain
        if plain:
            self.names = joined.decode("ascii").split("\n")
            self.sizes, self.offsets = sizes, offsets
        else:
            members = [self.member(number) for number in range(len(names))]
            self.names = [member.name for member in members]
            self.sizes = [member.size for member in members]
            self.offsets = [member.offset for member in members]
            compressed = [member.compressed for member in members]
        if not plain or len(set(self.names)) != len(names):
            self._check_names()
        self._check_extents(lengths, compressed)

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
                raise bad_name(name, self._path)
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
