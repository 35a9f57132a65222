"""Stamp a wheel: new METADATA, variant.json, a new RECORD, and another filename.

Restoring the original wheel from a stamped one is the reverse, see :mod:`polywheel.wheel.unstamp`.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from polywheel.errors import WheelError, os_error_as
from polywheel.formats.metadata import new_dependencies, variant_fields, with_variant_fields
from polywheel.formats.variant_json import variant_json
from polywheel.model.wheelname import WheelName
from polywheel.system.files import open_regular
from polywheel.system.source_date_epoch import EARLIEST, LATEST, source_date_epoch
from polywheel.system.temporary import remove_abandoned_once, replacing, temporary_folder
from polywheel.wheel.archive.central_directory import Member
from polywheel.wheel.archive.reader import open_archive
from polywheel.wheel.archive.rewrite import Change, HeadStart, NewMember, rewrite
from polywheel.wheel.dist_info import SIGNATURES, VARIANT_JSON, DistInfo, find_dist_info
from polywheel.wheel.record import parse_record, updated_record
from polywheel.wheel.unstamp import original_wheel, undo_field

if TYPE_CHECKING:
    from polywheel.config.project import Project
    from polywheel.setup.resolve import ResolvedSetup

Notify = Callable[[str], None]
MakeChange = Callable[[DistInfo], Change]
Check = Callable[[BinaryIO, Path], None]
"""Raises WheelError if a new wheel is wrong. It gets the content and the future path of the wheel."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """The variant data to put into a wheel."""

    metadata: Callable[[bytes], bytes]
    """Makes the new METADATA from the METADATA of the wheel."""

    variant_json: bytes
    epoch: int | None = None
    """SOURCE_DATE_EPOCH: the time of new entries. If it is None, they have the time of METADATA."""


def make_stamp(project: Project, resolved: ResolvedSetup) -> Stamp:
    """Return the stamp for wheels of a variant and for their prepared metadata. Raises ConfigError."""
    add_fields = project.settings.metadata_fields
    dependencies = [dependency.value for dependency in resolved.setup.dependencies]

    def edit(content: bytes) -> bytes:
        fields = variant_fields(resolved.variant, resolved.metadata) if add_fields else ()
        return with_variant_fields(content, [*new_dependencies(content, dependencies), *fields])

    return Stamp(
        metadata=edit,
        variant_json=variant_json(resolved.variant, resolved.metadata),
        epoch=source_date_epoch(),
    )


def stamp_into_folder(
    wheel: Path, folder: Path, stamp: Stamp, *, label: str | None, notify: Notify
) -> str:
    """Write a stamped copy of a wheel to a folder. Return its name, with the label if there is one.

    The wheel appears complete or not at all. Raises WheelError.
    """
    name = WheelName.parse(wheel.name).with_label(label)
    stamp_wheel(wheel, folder / name, stamp, notify=notify)
    return name


def stamp_wheel(source: Path, target: Path, stamp: Stamp, *, notify: Notify) -> None:
    """Write a stamped copy of ``source`` to ``target``, see :func:`write_changed_wheel`."""

    def change(info: DistInfo) -> Change:
        return stamp_change(info, stamp, name=target.name, notify=notify)

    write_changed_wheel(source, target, change)


def stamp_change(info: DistInfo, stamp: Stamp, *, name: str, notify: Notify) -> Change:
    """Return the change that stamps a wheel. An existing stamp is removed first.

    A signature of RECORD is not valid for the new RECORD. It is dropped, and ``notify`` gets a warning.
    ``name`` is the name of the new wheel, for messages.
    """
    original = original_wheel(info)
    metadata, record = info.path("METADATA"), info.path("RECORD")
    variant_json = info.path(VARIANT_JSON)
    existing = info.archive.table.position
    changed = {
        metadata: stamp.metadata(original.metadata.content),
        variant_json: stamp.variant_json,
    }
    dropped = tuple(path for file in SIGNATURES if (path := info.path(file)) in existing)
    rows = info.record
    if original.record.around is not None and original.record.content is not info.record_content:
        rows = parse_record(original.record.content, at=str(info.archive.path))
    unlisted = (*dropped, *original.signatures)
    new_record = updated_record(rows, own=record, changed=changed, dropped=unlisted)
    new = {
        metadata: NewMember(metadata, changed[metadata], info.member(metadata)),
        record: NewMember(record, new_record, info.member(record)),
    }
    for path in dropped:
        notify(f"warning: {path} signed the old RECORD and is left out of {name}")
    undo = undo_field(info, original, metadata=changed[metadata], record=new_record)
    if undo is None:
        notify(f"warning: polywheel unlabel can't restore the original of {name} completely")
    like = info.member(variant_json if variant_json in existing else metadata)
    if variant_json not in existing:
        like = _with_time(like, stamp.epoch)
    stamped = NewMember(variant_json, stamp.variant_json, like, extra=undo or b"")
    if variant_json in existing:
        return Change({**new, variant_json: stamped}, {}, dropped)
    return Change(new, {record: [stamped]}, dropped)


def _with_time(like: Member, epoch: int | None) -> Member:
    if epoch is None:
        return like
    moment = time.gmtime(min(max(epoch, EARLIEST), LATEST))
    return replace(
        like,
        date=(moment.tm_year - 1980) << 9 | moment.tm_mon << 5 | moment.tm_mday,
        time=moment.tm_hour << 11 | moment.tm_min << 5 | moment.tm_sec // 2,
    )


def write_changed_wheel(
    source: Path,
    target: Path,
    make: MakeChange,
    *,
    overwrite: bool = True,
    check: Check | None = None,
) -> None:
    """Write ``source`` with a change to ``target``.

    ``target`` appears complete or not at all, after ``check`` has accepted it. An existing file is replaced if
    ``overwrite`` is true. ``source`` is unchanged. Unchanged members are copied in compressed form. Raises
    WheelError.
    """
    if not overwrite and target.exists():
        raise name_taken(target)
    with os_error_as(WheelError, f"{source.name} can't be read", at=source.parent):
        file = open_regular(source)
    with file, _new_file(target, like=source, overwrite=overwrite) as output:
        with HeadStart(file, output) as head_start:
            before = os.fstat(file.fileno())
            archive = open_archive(file, source, seen=head_start.begin)
            info = find_dist_info(archive)
            change = make(info)
            info.check()  # after the change, which deflates large members in a thread
            rewrite(archive, output, change, front=head_start.settle)
        after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise WheelError(f"{source.name} was changed while it was read", at=str(source.parent))
        file.close()  # before the target is renamed: on Windows, the two may be one file
        if check is not None:
            output.flush()
            check(output, target)


@contextmanager
def _new_file(target: Path, *, like: Path, overwrite: bool) -> Iterator[BinaryIO]:
    """Open a temporary file that becomes ``target`` at the end, with the mode of ``like``.

    Raises WheelError.
    """
    with os_error_as(WheelError, f"{target.name} can't be written", at=target.parent):
        try:
            with replacing(target, overwrite=overwrite) as part:
                with part.open("x+b") as file:
                    yield file
                shutil.copymode(like, part)
        except FileExistsError:
            raise name_taken(target) from None


def name_taken(target: Path) -> WheelError:
    """Return the error for a wheel whose name exists already."""
    return WheelError(
        f"{target.name} already exists", at=str(target.parent), hint="use --force to overwrite it"
    )


def output_folder(wheel: Path, output: Path | None) -> Path:
    """Return the folder for a new wheel: ``output``, which is created, or the folder of the wheel.

    Files that killed runs left there are removed. Raises WheelError if it can't be created.
    """
    folder = output if output is not None else wheel.parent
    if output is not None:
        with os_error_as(WheelError, "the folder can't be created", at=output):
            output.mkdir(parents=True, exist_ok=True)
    remove_abandoned_once(folder)
    return folder


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """Create a temporary folder in the folder for a wheel, which is created too.

    So large files stay on the file system that has room for them. Raises WheelError.
    """
    with ExitStack() as opened:
        with os_error_as(WheelError, "no wheel can be written there", at=folder):
            folder.mkdir(parents=True, exist_ok=True)
            scratch = opened.enter_context(temporary_folder(folder))
        yield scratch.resolve()
