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

from polywheel.errors import WheelError
from polywheel.wheel.archive import open_archive
from polywheel.wheel.dist_info import SIGNATURES, VARIANT_JSON, DistInfo, find_dist_info
from polywheel.wheel.head_start import HeadStart
from polywheel.wheel.layout import Member
from polywheel.wheel.record import updated_record
from polywheel.wheel.rewrite import NewMember, rewrite

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
        dropped = tuple(path for name in SIGNATURES if (path := found.path(name)) in there)
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
