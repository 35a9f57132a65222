"""Read ``*.dist-info`` of a wheel: METADATA, variant.json, and RECORD, and compare RECORD with the archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from polywheel.errors import WheelError
from polywheel.model.wheelname import WheelName
from polywheel.wheel.archive.central_directory import Member
from polywheel.wheel.archive.reader import Archive
from polywheel.wheel.record import Record, hash_disagreement, parse_record

VARIANT_JSON = "variant.json"
SIGNATURES = ("RECORD.jws", "RECORD.p7s")
_LIMIT = 64 * 1024 * 1024
"""Bytes of METADATA, RECORD, or variant.json. A larger file is an attack."""


@dataclass(frozen=True, slots=True)
class DistInfo:
    """The parts of ``*.dist-info`` that a stamp changes."""

    folder: str
    archive: Archive
    metadata: bytes
    variant_json: bytes | None
    """None if the wheel is not stamped."""
    record: Record
    record_content: bytes

    def check(self) -> None:
        """Compare RECORD with the archive. Raises WheelError if they disagree."""
        for what in self.disagreements():
            raise self.archive.broken(what)

    def disagreements(self, **contents: bytes) -> Iterator[str]:
        """Yield the disagreements between RECORD and the archive as messages.

        The hashes of METADATA, variant.json, and the files in ``contents`` are compared; of the other members,
        which are not inflated, presence and size. A hash may be left out.
        """
        if not self._columns_agree():
            yield from self._differences()
        if self.variant_json is not None:
            contents = {VARIANT_JSON: self.variant_json, **contents}
        for name, content in {"METADATA": self.metadata, **contents}.items():
            path = self.path(name)
            row = self.record.row(path)
            if (
                row is not None
                and row.hash
                and (what := hash_disagreement(path, row.hash, [content]))
            ):
                yield what

    def hash_disagreements(self) -> Iterator[str]:
        """Read every member in the order of the file, and compare it with its hash in RECORD.

        A member that can't be read is a disagreement. The others are still read.
        """
        archive = self.archive
        unhashed = {self.path(name) for name in ("RECORD", *SIGNATURES)}
        hashes = dict(zip(self.record.paths, self.record.hashes, strict=True))
        for member in map(archive.table.member, archive.table.order):
            listed = hashes.get(member.name)
            try:
                if listed:
                    what = hash_disagreement(member.name, listed, archive.chunks(member))
                else:
                    what = None
                    for _ in archive.chunks(member):
                        pass
                    if listed is not None and member.name not in unhashed:
                        what = f"RECORD gives {member.name!r} no hash"
            except WheelError as error:
                what = error.problems[0].what
            if what:
                yield what

    def _columns_agree(self) -> bool:
        """Whether RECORD lists all members and sizes in the order of the archive, as most RECORDs do."""
        names, own = self.archive.table.names, self.path("RECORD")
        if self.record.paths != names or own not in names:
            return False
        sizes, listed = list(map(str, self.archive.table.sizes)), self.record.sizes
        number = names.index(own)
        return sizes[:number] == listed[:number] and sizes[number + 1 :] == listed[number + 1 :]

    def _differences(self) -> Iterator[str]:
        """Yield missing rows, extra rows, and wrong sizes of RECORD as messages.

        A size may be left out. Folders, RECORD itself, and its signatures need no row.
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
        """Return the path of a file of the folder."""
        return f"{self.folder}/{name}"

    def member(self, path: str) -> Member:
        """Return a member that is known to exist."""
        return self.archive.table.member(self.archive.table.position[path])


def read_dist_info(archive: Archive) -> DistInfo:
    """Find ``*.dist-info`` and compare RECORD with the archive. Raises WheelError."""
    info = find_dist_info(archive)
    info.check()
    return info


def find_dist_info(archive: Archive) -> DistInfo:
    """Find ``*.dist-info`` and read METADATA, variant.json, and RECORD. Raises WheelError."""
    folder = _dist_info_folder(archive)
    metadata = archive.read_named(f"{folder}/METADATA", limit=_LIMIT)
    record = archive.read_named(f"{folder}/RECORD", limit=_record_limit(archive))
    rows = parse_record(record, at=str(archive.path))
    variant_json = None
    if (path := f"{folder}/{VARIANT_JSON}") in archive.table.position:
        variant_json = archive.read_named(path, limit=_LIMIT)
    return DistInfo(folder, archive, metadata, variant_json, rows, record)


def _record_limit(archive: Archive) -> int:
    """Return the size limit of a RECORD with these members: a quoted name, a hash, and a size for each.

    A row takes many times its length in memory, so the number of rows must be limited.
    """
    names = archive.table.names
    return min(_LIMIT, 4096 + 2 * len("".join(names).encode("utf-8")) + 256 * len(names))


def _dist_info_folder(archive: Archive) -> str:
    likely = [name for name in archive.table.names if ".dist-info/" in name]
    folders = sorted(
        {top for name in likely if (top := name.partition("/")[0]).endswith(".dist-info")}
    )
    if not folders:
        raise archive.broken("it has no .dist-info folder")
    if len(folders) > 1:
        raise archive.broken(f"it has several .dist-info folders: {', '.join(folders)}")
    distribution = folders[0].removesuffix(".dist-info").rpartition("-")[0]
    expected = WheelName.parse(archive.path.name).distribution
    if canonicalize_name(distribution) != canonicalize_name(expected):
        raise archive.broken(f"{folders[0]} belongs to another distribution than {expected}")
    return folders[0]
