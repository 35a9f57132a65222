"""The central directory of an archive: parsed as a table, checked as a whole.

A large wheel has many thousand members, and labelling one is to cost little more than copying the
file. So the checks run over whole columns first; only where one of them finds something unusual
are the members looked at one by one, to tell what it is, or that it is harmless.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from operator import le
from pathlib import Path

from polywheel.errors import WheelError
from polywheel.wheel.layout import (
    CENTRAL,
    ENCRYPTED,
    FULL16,
    FULL32,
    LOCAL,
    STORED,
    UNICODE_PATH,
    UTF8,
    ZIP64_EXTRA,
    Member,
    central,
    extra_fields,
)

_MAGIC = b"PK\x01\x02"
# What the columns need of an entry, behind its magic number: flags, method, sizes, lengths, disk, offset.
_SCREENED = struct.Struct("<4x2H8x2L4H6xL")
_Head = tuple[int, ...]
_OFFSET = struct.Struct("<L")
_MAX_NAME = 4096
"""Bytes of a name: no system takes a longer path, and one that is derived from it still fits."""
_MAX_EXTRA = FULL16 - 28
"""Bytes of extra fields: room is left for a zip64 field, should the member move beyond 4 GiB."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Printable ASCII but for what other systems take as separators.
_HARMLESS = bytes({*range(0x20, 0x7F), ord("\n")} - {*b":\\"})


def broken(path: Path, what: str) -> WheelError:
    return WheelError(f"broken wheel: {what}", at=str(path))


class Directory:
    """The entries of a central directory, in its order; ``end`` is where the members end."""

    def __init__(self, raw: bytes, count: int, end: int, path: Path) -> None:
        self.raw = raw
        self.end = end
        self._wide = True
        self._path = path
        # Where each entry starts, and where the last one ends.
        self._starts: list[int] = []
        names, heads = self._cut_by_magic(count) or self._cut_by_lengths(count)
        self._screen(names, heads)

    @property
    def names(self) -> list[str]:
        return self._names

    @property
    def sizes(self) -> list[int]:
        """Bytes of each member, inflated."""
        return self._sizes

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """Every member; a large archive has better use for :meth:`member`."""
        return tuple(map(self.member, range(len(self._names))))

    @cached_property
    def position(self) -> dict[str, int]:
        """Where in the directory each name stands."""
        return {name: number for number, name in enumerate(self._names)}

    def member(self, number: int) -> Member:
        return _member(self.raw, self._starts[number], self._path)

    def entries(self, first: int, last: int) -> bytes:
        """The entries first to last - 1, as they stand in the directory."""
        return self.raw[self._starts[first] : self._starts[last]] if last > first else b""

    def moved(self, number: int, offset: int) -> bytes:
        """The entry of a member that comes to lie at another offset."""
        start = self._starts[number]
        if offset < FULL32 and not self._wide:
            entry = bytearray(self.raw[start : self._starts[number + 1]])
            _OFFSET.pack_into(entry, CENTRAL.size - _OFFSET.size, offset)
            return bytes(entry)
        return central(replace(self.member(number), offset=offset))

    @cached_property
    def by_offset(self) -> list[tuple[int, int, int]]:
        """``(offset, end, number)`` of the members as they lie in the file.

        A member ends at the next one, or at the directory.
        """
        order = sorted(range(len(self._offsets)), key=self._offsets.__getitem__)
        starts = [*(self._offsets[number] for number in order), self.end]
        return list(zip(starts[:-1], starts[1:], order, strict=True))

    def _cut_by_magic(self, count: int) -> tuple[list[bytes], list[_Head]] | None:
        """Names and heads of the entries, cut where the next magic number stands.

        None where that is not where an entry ends: one has extra fields, or a name like a magic
        number.
        """
        entries = self.raw.split(_MAGIC)
        size = _SCREENED.size
        if len(entries) != count + 1 or entries.pop(0) or min(map(len, entries), default=0) < size:
            return None
        heads = list(_SCREENED.iter_unpack(b"".join([entry[:size] for entry in entries])))
        names = [entry[size:] for entry in entries]
        lengths = list(map(len, names))
        if [(head[4], head[5], head[6]) for head in heads] != [(n, 0, 0) for n in lengths]:
            return None
        self._starts = list(accumulate((CENTRAL.size + n for n in lengths), initial=0))
        return names, heads

    def _cut_by_lengths(self, count: int) -> tuple[list[bytes], list[_Head]]:
        """Names and heads of the entries, one after the other."""
        names: list[bytes] = []
        heads: list[_Head] = []
        at = 0
        for _ in range(count):
            if len(self.raw) - at < CENTRAL.size:
                raise broken(self._path, "its directory is cut short")
            if not self.raw.startswith(_MAGIC, at):
                raise broken(self._path, "its directory is malformed")
            head = _SCREENED.unpack_from(self.raw, at + len(_MAGIC))
            self._starts.append(at)
            heads.append(head)
            at += CENTRAL.size
            names.append(self.raw[at : at + head[4]])
            at += head[4] + head[5] + head[6]
        if at != len(self.raw):
            more = "holds more than its members" if at < len(self.raw) else "is cut short"
            raise broken(self._path, f"its directory {more}")
        self._starts.append(at)
        return names, heads

    def _screen(self, names: list[bytes], heads: list[_Head]) -> None:
        """Take the columns apart and check them; the members themselves where one is unusual."""
        self._names: list[str] = []
        self._sizes: list[int] = []
        self._offsets: list[int] = []
        if not heads:
            return
        # fmt: off
        flags, methods, compressed, sizes, lengths, extras, _, disks, offsets = zip(
            *heads, strict=True
        )
        # fmt: on
        joined = b"\n".join(names)
        plain = (
            _is_plain(joined)
            and joined.count(b"\n") == len(names) - 1
            and not any(map(ENCRYPTED.__and__, set(flags)))
            and set(disks) == {0}
            and not any(extras)
            and max(lengths) <= _MAX_NAME
            and FULL32 not in {max(compressed), max(sizes), max(offsets)}
            and not any(
                method == STORED and there != size
                for method, there, size in zip(methods, compressed, sizes, strict=True)
            )
        )
        self._wide = not plain
        if plain:
            self._names = joined.decode("ascii").split("\n")
            self._sizes, self._offsets = list(sizes), list(offsets)
        else:
            members = [self.member(number) for number in range(len(names))]
            self._names = [member.name for member in members]
            self._sizes = [member.size for member in members]
            self._offsets = [member.offset for member in members]
            compressed = tuple(member.compressed for member in members)
        if not plain or len(set(self._names)) != len(names):
            self._check_names()
        self._check_extents(lengths, compressed)

    def _check_names(self) -> None:
        """Refuse names that lead out of the archive, that are malformed, or stand twice."""
        seen = set()
        for name in self._names:
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

    def _check_extents(self, lengths: Sequence[int], compressed: Sequence[int]) -> None:
        """Refuse members that overlap, a sign of an archive that is made to explode."""
        least = [
            offset + LOCAL.size + length + there
            for offset, length, there in zip(self._offsets, lengths, compressed, strict=True)
        ]
        if self._offsets == sorted(self._offsets) and all(
            map(le, least, [*self._offsets[1:], self.end])
        ):
            return
        for _, end, number in self.by_offset:
            if least[number] > self.end:
                raise broken(
                    self._path, f"{self._names[number]} reaches beyond the end of the archive"
                )
            if least[number] > end:
                raise broken(self._path, f"{self._names[number]} overlaps what follows it")


def _is_plain(names: bytes) -> bool:
    """Whether names, a line each, are printable ASCII and none of their parts is special.

    That of a folder ends with an empty part: archives with folders take the long way.
    """
    parts = b"/" + names.replace(b"\n", b"/") + b"/"
    return not names.translate(None, _HARMLESS) and not any(
        part in parts for part in (b"//", b"/./", b"/../")
    )


def _member(raw: bytes, at: int, path: Path) -> Member:
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
        raise broken(path, f"{name!r} is stored, yet takes another size than it has")
    _check_extra(extra, name, path)
    if len(raw_name) > _MAX_NAME:
        raise _bad_name(name, path)
    return Member(
        *(name, raw_name, (made, made_os), (needed, needed_os), flags, method, time, date),
        *(crc, compressed, size, internal, external, offset, extra, comment),
    )


def _bad_name(name: str, path: Path) -> WheelError:
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
        return (FULL32,)  # exactly 4 GiB - 1: a value, not a sign
    raise broken(path, f"{name!r} lacks its zip64 sizes")


def _check_extra(extra: bytes, name: str, path: Path) -> None:
    if len(extra) > _MAX_EXTRA:
        raise broken(path, f"{name!r} has {len(extra)} bytes of extra fields")
    for kind, field in extra_fields(extra):
        # Newer readers take this name, older ones the other. Version and checksum come before it.
        if kind == UNICODE_PATH and field[9:] != name.encode("utf-8"):
            raise broken(path, f"{name!r} has another name in its extra fields")
