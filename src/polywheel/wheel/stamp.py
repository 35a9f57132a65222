"""Stamp a wheel: new METADATA, variant.json, a new RECORD, and another filename."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from polywheel.config.project import Project
from polywheel.errors import ConfigError, WheelError
from polywheel.formats.metadata import new_dependencies, variant_fields, with_variant_fields
from polywheel.formats.variant_json import variant_json
from polywheel.model.wheelname import WheelName
from polywheel.setup.resolve import ResolvedSetup
from polywheel.system.files import open_regular
from polywheel.system.temporary import temporary_folder
from polywheel.wheel.archive.archive import open_archive
from polywheel.wheel.archive.entry import Member
from polywheel.wheel.archive.rewrite import Change, HeadStart, NewMember, rewrite
from polywheel.wheel.dist_info import SIGNATURES, VARIANT_JSON, DistInfo, find_dist_info
from polywheel.wheel.record import parse_record, updated_record
from polywheel.wheel.unstamp import OriginalFiles, Strip, original_wheel, undo_field

EARLIEST, LATEST = 315_532_800, 4_354_819_198
"""1980-01-01T00:00:00Z and 2107-12-31T23:59:58Z, in seconds since 1970: the first and the last moment
that an entry of a zip archive can name."""

Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What to put into a wheel."""

    metadata: Callable[[bytes], bytes]
    """From the METADATA that the wheel has to the one that it shall have."""

    variant_json: bytes
    epoch: int | None = None
    """SOURCE_DATE_EPOCH: the time of entries that are new; without it, that of METADATA."""

    strip: Strip = bytes
    """From a METADATA with variant fields to one without."""


def stamping(found: DistInfo, stamp: Stamp, *, name: str, notify: Notify) -> Change:
    """The change that stamps a wheel; a stamp that it has already is taken off before.

    A signature of RECORD is void with the old RECORD: it is left out, and ``notify`` is told;
    ``name`` is that of the new wheel, for messages.
    """
    plain = original_wheel(found, stamp.strip)
    metadata, record = found.path("METADATA"), found.path("RECORD")
    variant_json = found.path(VARIANT_JSON)
    there = found.archive.table.position
    changed = {metadata: stamp.metadata(plain.metadata.content), variant_json: stamp.variant_json}
    dropped = tuple(path for one in SIGNATURES if (path := found.path(one)) in there)
    rows = found.record
    if plain.record.around is not None and plain.record.content is not found.record_content:
        rows = parse_record(plain.record.content, at=str(found.archive.path))
    gone = (*dropped, *plain.signatures)
    new_record = updated_record(rows, own=record, changed=changed, dropped=gone)
    new = {
        metadata: NewMember(metadata, changed[metadata], found.member(metadata)),
        record: NewMember(record, new_record, found.member(record)),
    }
    for path in dropped:
        notify(f"warning: {path} signed the old RECORD and is left out of {name}")
    undo = undo_field(
        found, plain, metadata=changed[metadata], record=new_record, strip=stamp.strip
    )
    if undo is None:
        notify(f"warning: polywheel unlabel will not give back all of what {name} was made from")
    like = found.member(variant_json if variant_json in there else metadata)
    if variant_json not in there:
        like = _dated(like, stamp.epoch)
    stamped = NewMember(variant_json, stamp.variant_json, like, extra=undo or b"")
    if variant_json in there:
        return Change({**new, variant_json: stamped}, {}, dropped)
    return Change(new, {record: [stamped]}, dropped)


def unstamping(found: DistInfo, strip: Strip) -> Change:
    """The change that gives the non-variant wheel back; an empty one where nothing is stamped."""
    there = found.archive.table.position
    variant_json = found.path(VARIANT_JSON)
    if variant_json not in there and strip(found.metadata) == found.metadata:
        return Change({})
    plain = original_wheel(found, strip)
    replaced = {
        path: _coming_back(path, former)
        for path, former in (
            (found.path("METADATA"), plain.metadata),
            (found.path("RECORD"), plain.record),
        )
    }
    added: dict[str, list[NewMember]] = {}
    for path, former in plain.signatures.items():
        added.setdefault(plain.before[path], []).append(_coming_back(path, former))
    stale = {found.path(one) for one in SIGNATURES} & {*there}
    dropped = stale | ({variant_json} & {*there})
    return Change(replaced, added, sorted(dropped))


def _coming_back(path: str, former: OriginalFiles) -> NewMember:
    return NewMember(path, former.content, former.entry, thorough=True, around=former.around)


def _dated(like: Member, epoch: int | None) -> Member:
    if epoch is None:
        return like
    moment = time.gmtime(min(max(epoch, EARLIEST), LATEST))
    return replace(
        like,
        date=(moment.tm_year - 1980) << 9 | moment.tm_mon << 5 | moment.tm_mday,
        time=moment.tm_hour << 11 | moment.tm_min << 5 | moment.tm_sec // 2,
    )


MakeChange = Callable[[DistInfo], Change]
Check = Callable[[BinaryIO, Path], None]
"""Raises WheelError for a new wheel that is not right: its content, and the path that it will have."""


def stamp_wheel(
    source: Path,
    target: Path,
    stamp: Stamp,
    *,
    notify: Notify,
    overwrite: bool = True,
    check: Check | None = None,
) -> None:
    """Write ``source``, stamped, to ``target``, whose name the caller has made.

    ``target`` appears whole or not at all, and in place of a file of that name where ``overwrite``
    allows it, once ``check`` has seen it; ``source`` stays as it is. Members that do not change are
    copied as they stand in the file. Raises WheelError.
    """

    def change(found: DistInfo) -> Change:
        return stamping(found, stamp, name=target.name, notify=notify)

    changed_wheel(source, target, change, overwrite=overwrite, check=check)


def unstamp_wheel(
    source: Path,
    target: Path,
    strip: Strip,
    *,
    overwrite: bool = True,
    check: Check | None = None,
) -> None:
    """Write ``source`` without its stamp to ``target``; one that has none is copied.

    Every member comes back as it was before, in content, order, mode and time; the archive byte
    for byte where METADATA and RECORD were deflated as zlib does by default. Raises WheelError.
    """
    changed_wheel(
        source, target, lambda found: unstamping(found, strip), overwrite=overwrite, check=check
    )


def changed_wheel(
    source: Path, target: Path, make: MakeChange, *, overwrite: bool, check: Check | None = None
) -> None:
    """Write ``source`` with a change to ``target``, which appears whole or not at all."""
    if not overwrite and target.exists():
        raise taken(target)
    # The source is closed before the target is moved, so that the two may be one on Windows too.
    with (
        _appearing(target, like=source, overwrite=overwrite) as output,
        _opened(source) as file,
        HeadStart(file, output) as head_start,
    ):
        before = os.fstat(file.fileno())
        archive = open_archive(file, source, seen=head_start.begin)
        found = find_dist_info(archive)
        change = make(found)
        found.check()  # after the change is made: it has begun to deflate what is large
        rewrite(archive, output, change, front=head_start)
        after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise WheelError(f"{source.name} was changed while it was read", at=str(source.parent))
        if check is not None:
            output.flush()
            check(output, target)


def _opened(source: Path) -> BinaryIO:
    try:
        return open_regular(source)
    except OSError as error:
        raise WheelError(
            f"{source.name} can't be read: {error.strerror or error}", at=str(source.parent)
        ) from None


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder in the one for a wheel, which is made: what is big stays on the file system
    that has room. Raises WheelError.
    """
    with ExitStack() as opened:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            scratch = opened.enter_context(temporary_folder(folder))
        except OSError as error:
            raise WheelError(
                f"no wheel can be written there: {error.strerror or error}", at=str(folder)
            ) from None
        yield scratch.resolve()


@contextmanager
def _appearing(target: Path, *, like: Path, overwrite: bool) -> Iterator[BinaryIO]:
    """A file that becomes ``target``, with the mode of ``like``, once all has been written to it.

    Until then it lies in a temporary folder beside. Raises WheelError.
    """
    try:
        with temporary_folder(target.parent) as folder:
            part = folder / "part"
            with part.open("x+b") as file:
                yield file
            shutil.copymode(like, part)
            move(part, target, overwrite=overwrite)
    except OSError as error:
        raise WheelError(
            f"{target.name} can't be written: {error.strerror or error}", at=str(target.parent)
        ) from None


def move(source: Path, target: Path, *, overwrite: bool) -> None:
    """Give a file another name; without ``overwrite``, one that nobody has yet.

    Raises WheelError where the name is taken, OSError where it can't be done.
    """
    if overwrite:
        source.replace(target)
        return
    try:
        # A name that is taken while this runs is seen here, and in no other way.
        os.link(source, target)
    except FileExistsError:
        raise taken(target) from None
    except OSError:  # a file system without links
        if target.exists():
            raise taken(target) from None
        source.replace(target)
    else:
        try:
            source.unlink()
        except OSError:
            target.unlink()
            raise


def taken(target: Path) -> WheelError:
    return WheelError(
        f"{target.name} is there already",
        at=str(target.parent),
        hint="--force writes over it",
    )


def make_stamp(project: Project, asked: ResolvedSetup) -> Stamp:
    """What is put into a wheel of a variant, and into its prepared metadata. Raises ConfigError."""
    wanted = project.settings.metadata_fields
    dependencies = [one.value for one in asked.setup.dependencies]

    def edited(content: bytes) -> bytes:
        fields = variant_fields(asked.variant, asked.metadata) if wanted else ()
        return with_variant_fields(content, [*new_dependencies(content, dependencies), *fields])

    return Stamp(
        metadata=edited,
        variant_json=variant_json(asked.variant, asked.metadata),
        epoch=source_date_epoch(),
        strip=strip_variant_fields,
    )


def stamp_into_folder(
    built: Path, folder: Path, stamp: Stamp, *, label: str | None, notify: Callable[[str], None]
) -> str:
    """Write a plain wheel, stamped, into a folder; its new name, with a label or without one.

    Raises WheelError. The wheel appears under that name whole or not at all.
    """
    name = str(replace(WheelName.parse(built.name), label=label))
    stamp_wheel(built, folder / name, stamp, notify=notify)
    return name


def strip_variant_fields(metadata: bytes) -> bytes:
    """METADATA without its variant fields."""
    return with_variant_fields(metadata, ())


def source_date_epoch() -> int | None:
    """The variable SOURCE_DATE_EPOCH in seconds since 1970, at least :data:`EARLIEST`.

    None where it is not set, or empty. Blanks around the digits are allowed. Times before 1980 become
    1980, as in other tools that write archives: 0 and 1 are in common use. Raises ConfigError for
    any other text, and for times after 2107, which are mostly milliseconds.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "").strip()
    if not text:
        return None
    at = "environment variable SOURCE_DATE_EPOCH"
    shown = text if len(text) <= 40 else f"{text[:40]}…"
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(
            f"SOURCE_DATE_EPOCH is not a number of seconds: {shown!r}",
            at=at,
            hint="expected the seconds since 1970, as digits",
        )
    digits = text.lstrip("0") or "0"
    # Python converts at most 4300 digits.
    if len(digits) > len(str(LATEST)) or int(digits) > LATEST:
        raise ConfigError(
            f"SOURCE_DATE_EPOCH is {shown}: a time after 2107, which no wheel can express",
            at=at,
            hint="it is in seconds, not in milliseconds",
        )
    return max(int(digits), EARLIEST)
