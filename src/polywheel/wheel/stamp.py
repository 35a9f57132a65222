"""Stamping: a wheel gets another METADATA, a variant.json, a new RECORD and another name."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from packaging.utils import canonicalize_name

from polywheel.errors import WheelError
from polywheel.model.wheelname import WheelName
from polywheel.wheel.archive import Archive, open_archive
from polywheel.wheel.head_start import HeadStart
from polywheel.wheel.layout import Member
from polywheel.wheel.record import Record, agrees, parse_record, updated_record
from polywheel.wheel.rewrite import NewMember, rewrite

VARIANT_JSON = "variant.json"
_SIGNATURES = ("RECORD.jws", "RECORD.p7s")
_LIMIT = 64 * 1024 * 1024
"""Bytes of METADATA, RECORD or variant.json that are read: more is no wheel but an attack."""
# 1980-01-01T00:00:00Z and 2107-12-31T23:59:58Z, the first and last moment that an entry can name
_EARLIEST, _LATEST = 315532800, 4354819198


@dataclass(frozen=True, slots=True)
class Stamp:
    """What to put into a wheel."""

    metadata: Callable[[bytes], bytes]
    """From the METADATA that the wheel has to the one that it shall have."""

    variant_json: bytes
    epoch: int | None = None
    """SOURCE_DATE_EPOCH: the time of entries that are new; without it, that of METADATA."""


def stamp_wheel(source: Path, target: Path, stamp: Stamp, *, notify: Callable[[str], None]) -> None:
    """Write ``source``, stamped, to ``target``, whose name the caller has made.

    ``target`` appears whole or not at all, in place of a file of that name; ``source`` stays as it
    is. Members that do not change are copied as they stand in the file. A signature of RECORD is
    void with the old RECORD: it is left out, and ``notify`` is told. Raises WheelError.
    """
    # The source is closed before the target is moved, so that the two may be one on Windows too.
    with (
        _appearing(target, like=source) as output,
        _opened(source) as file,
        HeadStart(file, output) as head_start,
    ):
        archive = open_archive(file, source, seen=head_start.begin)
        found = find_dist_info(archive)
        plan = _Plan.make(found, stamp)
        found.check()  # after the plan: it has begun to deflate what is large
        for name in plan.dropped:
            notify(f"warning: {name} signed the old RECORD and is left out of {target.name}")
        rewrite(
            archive,
            output,
            replace_with=plan.replaced,
            add_before=plan.added,
            drop=plan.dropped,
            head_start=head_start,
        )


@dataclass(frozen=True, slots=True)
class DistInfo:
    """The parts of ``*.dist-info`` that a stamp is about, checked against the archive."""

    folder: str
    archive: Archive
    metadata: bytes
    variant_json: bytes | None
    """None where the wheel is not stamped."""
    record: Record

    def check(self) -> None:
        """Hold RECORD against the archive; raises WheelError where they disagree.

        Only what is small was inflated: METADATA and variant.json are checked by hash, the other
        members by presence and size.
        """
        contents = {self.path("METADATA"): self.metadata}
        if self.variant_json is not None:
            contents[self.path(VARIANT_JSON)] = self.variant_json
        _check_record(self.archive, self.folder, self.record, contents)

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
    rows = parse_record(content("RECORD", _record_limit(archive)), at=str(archive.path))
    stamped = f"{folder}/{VARIANT_JSON}" in archive.table.position
    variant_json = content(VARIANT_JSON, _LIMIT) if stamped else None
    return DistInfo(folder, archive, metadata, variant_json, rows)


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


def _check_record(archive: Archive, folder: str, rows: Record, contents: dict[str, bytes]) -> None:
    own = f"{folder}/RECORD"
    unlisted = {own, *(f"{folder}/{name}" for name in _SIGNATURES)}
    names, listed_sizes = archive.table.names, rows.sizes
    sizes = list(map(str, archive.table.sizes))
    if rows.paths == names and own in names:
        # In the order of the archive, as most tools write it: the columns can be compared.
        number = names.index(own)
        same = sizes[:number] == listed_sizes[:number] and (
            sizes[number + 1 :] == listed_sizes[number + 1 :]
        )
    else:
        same = False
    if not same:
        _find_disagreement(
            archive,
            dict(zip(names, sizes, strict=True)),
            dict(zip(rows.paths, listed_sizes, strict=True)),
            unlisted,
        )
    for path, content in contents.items():
        row = rows.row(path)
        if row is not None and not agrees(row, content):
            raise archive.broken(f"the hash of {path} is not the one in RECORD")


def _find_disagreement(
    archive: Archive, sizes: dict[str, str], listed: dict[str, str], unlisted: set[str]
) -> None:
    """Raise WheelError for what RECORD and archive disagree on.

    A size may be left out, folders are not listed, nor need the files be that RECORD can't list.
    """
    for name in sizes:
        if name not in listed and name not in unlisted and not name.endswith("/"):
            raise archive.broken(f"RECORD does not list {name}")
    for path, size in listed.items():
        if path not in sizes:
            raise archive.broken(f"RECORD lists {path!r}, which is not there")
        if size and size != sizes[path] and not path.endswith(".dist-info/RECORD"):
            raise archive.broken(f"RECORD gives {path} {size!r} bytes, the archive {sizes[path]}")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is written anew, what is left out."""

    replaced: dict[str, NewMember]
    added: dict[str, NewMember]
    dropped: tuple[str, ...]

    @classmethod
    def make(cls, found: DistInfo, stamp: Stamp) -> _Plan:
        metadata, record = found.path("METADATA"), found.path("RECORD")
        variant_json = found.path(VARIANT_JSON)
        there = found.archive.table.position
        dropped = tuple(path for name in _SIGNATURES if (path := found.path(name)) in there)
        changed = {
            metadata: stamp.metadata(found.metadata),
            variant_json: stamp.variant_json,
        }
        new_record = updated_record(found.record, own=record, changed=changed, dropped=dropped)
        fresh = _dated(found.member(metadata), stamp.epoch)
        new = {
            path: NewMember(path, content, found.member(path) if path in there else fresh)
            for path, content in {**changed, record: new_record}.items()
        }
        added = {} if variant_json in there else {record: new.pop(variant_json)}
        return cls(new, added, dropped)


def _dated(like: Member, epoch: int | None) -> Member:
    if epoch is None:
        return like
    moment = time.gmtime(min(max(epoch, _EARLIEST), _LATEST))
    return replace(
        like,
        date=(moment.tm_year - 1980) << 9 | moment.tm_mon << 5 | moment.tm_mday,
        time=moment.tm_hour << 11 | moment.tm_min << 5 | moment.tm_sec // 2,
    )


def _opened(source: Path) -> BinaryIO:
    try:
        return source.open("rb")
    except OSError as error:
        raise WheelError(
            f"{source.name} can't be read: {error.strerror or error}", at=str(source.parent)
        ) from None


@contextmanager
def _appearing(target: Path, *, like: Path) -> Iterator[BinaryIO]:
    """A file that becomes ``target``, with the mode of ``like``, once all has been written to it.

    Until then it lies beside, under a name that nobody takes for a wheel. Raises WheelError.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=".polywheel-", suffix=".part", dir=target.parent)
        try:
            with os.fdopen(handle, "w+b") as file:
                yield file
            shutil.copymode(like, name)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise WheelError(
            f"{target.name} can't be written: {error.strerror or error}", at=str(target.parent)
        ) from None
