"""Stamping: a wheel gets another METADATA, a variant.json, a new RECORD and another name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from polywheel.errors import WheelError
from polywheel.system.files import open_regular
from polywheel.system.temporary import temporary_folder
from polywheel.wheel.archive import open_archive
from polywheel.wheel.dist_info import DistInfo, find_dist_info
from polywheel.wheel.head_start import HeadStart
from polywheel.wheel.rewrite import Change, rewrite
from polywheel.wheel.stamping_change import Notify, Stamp, stamping, unstamping
from polywheel.wheel.undo import Strip

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
