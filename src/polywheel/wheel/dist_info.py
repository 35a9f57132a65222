"""``*.dist-info`` in an archive: the parts that variant data is about, checked against it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from polywheel.model.wheelname import WheelName
from polywheel.wheel.archive.archive import Archive
from polywheel.wheel.archive.entry import Member
from polywheel.wheel.record import Record, parse_record, row_matches

VARIANT_JSON = "variant.json"
SIGNATURES = ("RECORD.jws", "RECORD.p7s")
_LIMIT = 64 * 1024 * 1024
"""Bytes of METADATA, RECORD or variant.json that are read: more is no wheel but an attack."""


@dataclass(frozen=True, slots=True)
class DistInfo:
    """The parts of ``*.dist-info`` that a stamp is about, checked against the archive."""

    folder: str
    archive: Archive
    metadata: bytes
    variant_json: bytes | None
    """None where the wheel is not stamped."""
    record: Record
    record_content: bytes

    def check(self) -> None:
        """Hold RECORD against the archive; raises WheelError where they disagree.

        Only what is small was inflated: METADATA and variant.json are checked by hash, the other
        members by presence and size.
        """
        for what in self.disagreements():
            raise self.archive.broken(what)

    def disagreements(self) -> Iterator[str]:
        """What RECORD and the archive disagree on, in words."""
        if not self._columns_agree():
            yield from self.differences()
        contents = {"METADATA": self.metadata, VARIANT_JSON: self.variant_json}
        for name, content in contents.items():
            row = self.record.row(self.path(name))
            if content is not None and row is not None and not row_matches(row, content):
                yield f"the hash of {self.path(name)} is not the one in RECORD"

    def _columns_agree(self) -> bool:
        """Whether RECORD lists all, with its size, in the order of the archive, as most do."""
        names, own = self.archive.table.names, self.path("RECORD")
        if self.record.paths != names or own not in names:
            return False
        sizes, listed = list(map(str, self.archive.table.sizes)), self.record.sizes
        number = names.index(own)
        return sizes[:number] == listed[:number] and sizes[number + 1 :] == listed[number + 1 :]

    def differences(self) -> Iterator[str]:
        """Rows that RECORD lacks, rows too many, wrong sizes; one after the other.

        A size may be left out, folders need no row, nor do the files that it can't have one for.
        """
        unlisted = {self.path(name) for name in ("RECORD", *SIGNATURES)}
        table, record = self.archive.table, self.record
        sizes = dict(zip(table.names, map(str, table.sizes), strict=True))
        listed = dict(zip(record.paths, record.sizes, strict=True))
        for name in sizes:
            if name not in listed and name not in unlisted and not name.endswith("/"):
                yield f"RECORD does not list {name!r}, which is in the archive"
        for path, size in listed.items():
            if path not in sizes:
                yield f"RECORD lists {path!r}, which is not in the archive"
            elif size and size != sizes[path] and path != self.path("RECORD"):
                yield f"RECORD gives {path!r} {size!r} bytes, the archive {sizes[path]!r}"

    def path(self, name: str) -> str:
        return f"{self.folder}/{name}"

    def member(self, path: str) -> Member:
        """A member that is known to be there."""
        return self.archive.table.member(self.archive.table.position[path])


def read_dist_info(archive: Archive) -> DistInfo:
    """Find ``*.dist-info`` and hold RECORD against the archive. Raises WheelError."""
    found = find_dist_info(archive)
    found.check()
    return found


def find_dist_info(archive: Archive) -> DistInfo:
    """Find ``*.dist-info`` and read what is small of it. Raises WheelError."""
    folder = _dist_info_folder(archive)

    def content(name: str, limit: int) -> bytes:
        member = archive.member(f"{folder}/{name}")
        if member is None:
            raise archive.broken(f"there is no {folder}/{name}")
        return archive.read(member, limit=limit)

    metadata = content("METADATA", _LIMIT)
    record = content("RECORD", _record_limit(archive))
    rows = parse_record(record, at=str(archive.path))
    stamped = f"{folder}/{VARIANT_JSON}" in archive.table.position
    variant_json = content(VARIANT_JSON, _LIMIT) if stamped else None
    return DistInfo(folder, archive, metadata, variant_json, rows, record)


def _record_limit(archive: Archive) -> int:
    """Bytes of a RECORD that lists these members: each with its name, quoted, a hash and a size.

    A row takes many times its length in memory; rows without end must not get there.
    """
    names = archive.table.names
    return min(_LIMIT, 4096 + 2 * len("".join(names).encode("utf-8")) + 256 * len(names))


def _dist_info_folder(archive: Archive) -> str:
    likely = [name for name in archive.table.names if ".dist-info/" in name]
    folders = sorted(
        {top for name in likely if (top := name.partition("/")[0]).endswith(".dist-info")}
    )
    if not folders:
        raise archive.broken("there is no .dist-info folder in it")
    if len(folders) > 1:
        raise archive.broken(f"there are several .dist-info folders in it: {', '.join(folders)}")
    distribution = folders[0].removesuffix(".dist-info").rpartition("-")[0]
    expected = WheelName.parse(archive.path.name).distribution
    if canonicalize_name(distribution) != canonicalize_name(expected):
        raise archive.broken(f"{folders[0]} belongs to another distribution than {expected}")
    return folders[0]
