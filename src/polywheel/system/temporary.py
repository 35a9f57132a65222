"""Temporary folders that the next run removes where a process was killed before it could.

A folder has a name that nobody else gives, and a file :data:`_LOCK` in it. Its owner holds the lock of
that file for as long as it lives. What nobody holds has no owner any more. That is sure where a
process number would not be: numbers are used again, and containers have numbers of their own.
"""

from __future__ import annotations

import atexit
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from polywheel.system.files import DEEPEST, replace
from polywheel.system.locks import try_lock

_LOCK = "polywheel.lock"
_NAME = re.compile(r"\.?polywheel-tmp-[0-9a-f]{12}")
_USERS = ".users"
_JUST_USED = 60.0
"""Seconds in which a folder is not removed, however many there are."""
_TRIES = 100
_LONG = 1000
"""Characters of a relative path: where paths may have 4096 bytes, less than that."""


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """A new folder of this process, which is removed at the end.

    It lies in ``parent``, hidden, or in the system's folder for temporary files. What killed
    processes have left there is removed, once in the life of this process. Raises OSError.
    """
    where = _temporary_directory() if parent is None else parent
    remove_abandoned_once(where)
    folder, lock = _new_folder(where, "" if parent is None else ".")
    try:
        yield folder
    finally:
        _remove(folder, lock)


def _temporary_directory() -> Path:
    """The system's folder for temporary files, as :mod:`tempfile` chooses it.

    That module tries a folder with a file of a random name, which stays if the process is killed then.
    So it is only asked if the usual folder can't be written to.
    """
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None and tempfile.tempdir is not None:  # already known, or set on purpose
        return Path(tempfile.tempdir)
    names = (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    usual = next(filter(None, names), "/tmp" if os.name == "posix" else "")  # noqa: S108
    if usual and Path(usual).is_dir() and os.access(usual, os.W_OK | os.X_OK):
        return Path(usual).absolute()
    from tempfile import gettempdir  # few commands need it, and all of them start quickly

    return Path(gettempdir())


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path for new content, which takes the place of ``target`` at the end.

    So ``target`` appears complete, or stays as it was. Raises OSError.
    """
    with temporary_folder(target.parent) as folder:
        part = folder / "part"
        yield part
        replace(part, target)


def remove_abandoned(parent: Path) -> None:
    """Remove the temporary folders in ``parent`` that no living process owns.

    Folders of other users, and whatever is no temporary folder of polywheel, stay. Links are not
    followed. What can't be removed stays.
    """
    try:
        with os.scandir(parent) as entries:
            found = [Path(entry.path) for entry in entries if _NAME.fullmatch(entry.name)]
    except OSError:
        return
    for folder in found:
        with suppress(OSError):
            if _is_ours(folder):
                _remove_if_abandoned(folder)


@cache
def remove_abandoned_once(parent: Path) -> None:
    """The same, once in the life of this process."""
    remove_abandoned(parent)


@cache
def mark_as_used(folder: Path) -> None:
    """Have a folder counted as used for as long as this process lives. Raises OSError."""
    users = folder.with_name(f"{folder.name}{_USERS}")
    users.mkdir(exist_ok=True)
    atexit.register(_remove, *_new_folder(users, ""))


def remove_unused(parent: Path, *, most: int, seconds: float) -> None:
    """Remove the folders in ``parent`` that no living process uses and that are too old or too many.

    The ``most`` that were used last stay, and all that were used less than a minute ago, but none of
    which the last use is more than ``seconds`` ago. A use is :func:`mark_as_used` and a new time of
    modification. Raises OSError where ``parent`` can't be listed.
    """
    with os.scandir(parent) as entries:
        found = [(entry.stat(follow_symlinks=False).st_mtime, entry.path) for entry in entries]
    kept, now = 0, time.time()
    for used, path in sorted(found, reverse=True):
        folder = Path(path)
        if folder.name.startswith(".") or folder.name.endswith(_USERS):
            continue
        kept += 1
        if now - used > seconds or (kept > most and now - used > _JUST_USED):
            users = folder.with_name(f"{folder.name}{_USERS}")
            remove_abandoned(users)
            if not users.is_dir() or not os.listdir(users):  # noqa: PTH208
                remove_tree(folder)
                remove_tree(users)


def _is_ours(folder: Path) -> bool:
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and (
        not hasattr(os, "getuid") or status.st_uid == os.getuid()
    )


def _remove_if_abandoned(folder: Path) -> None:
    """Raises OSError where it can't be removed, or where its owner is at work."""
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(folder / _LOCK, flags)
    except FileNotFoundError:
        # Killed before it had a lock, or in the end; an owner that is about to lock it makes
        # another one. Anything else that has the name is not empty, and stays.
        folder.rmdir()
        return
    with os.fdopen(descriptor, "r+b") as lock:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and try_lock(lock):
            _remove(folder, lock)


def _new_folder(parent: Path, dot: str) -> tuple[Path, BinaryIO]:
    """A new folder, and its lock, which this process holds."""
    for _ in range(_TRIES):
        folder = parent / f"{dot}polywheel-tmp-{os.urandom(6).hex()}"
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        with ExitStack() as opened:
            try:
                lock = opened.enter_context((folder / _LOCK).open("x+b"))
                # Somebody who cleans up may have come between, and taken it for abandoned.
                if _locked(lock) and os.path.samestat(
                    os.fstat(lock.fileno()), (folder / _LOCK).lstat()
                ):
                    opened.pop_all()
                    return folder, lock
            except FileNotFoundError:
                continue
            except OSError:
                with suppress(OSError):
                    folder.rmdir()
                raise
    raise FileExistsError(f"no temporary folder can be made in {parent}")


def _locked(lock: BinaryIO) -> bool:
    try:
        return try_lock(lock)
    except OSError:  # a file system without locks: nobody can take the folder for abandoned
        return True


def _remove(folder: Path, lock: BinaryIO) -> None:
    """Remove a folder whose lock is held; the lock last, so that a kill leaves it abandoned."""
    with suppress(OSError):
        with os.scandir(folder) as entries:
            inside = [Path(entry.path) for entry in entries if entry.name != _LOCK]
        for path in inside:
            remove_tree(path)
    if os.name == "nt":  # an open file can't be removed there
        lock.close()
    # Elsewhere it is held to the end: an owner that has opened it and not locked it yet makes
    # another folder.
    with lock, suppress(OSError):
        # Not where something is left: the next run tries again.
        if set(os.listdir(folder)) <= {_LOCK}:  # noqa: PTH208
            (folder / _LOCK).unlink(missing_ok=True)
            folder.rmdir()


def remove_tree(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, as far as that can be done.

    Links are not followed. Folders without write permission, and folders that lie a thousand deep in
    one another, are no obstacle.
    """
    if path.is_symlink() or not path.is_dir():
        _unlink(path)
        return
    top = len(str(path))
    waiting, emptied, moved = [(path, 0)], [], 0
    while waiting:
        folder, depth = waiting.pop()
        emptied.append(folder)
        for entry in _entries(folder):
            inner = Path(entry.path)
            if not entry.is_dir(follow_symlinks=False):
                _unlink(inner)
                continue
            deep = depth >= DEEPEST or len(entry.path) > top + _LONG
            if deep:  # up, so that no path grows longer than a path may be
                moved += 1
                with suppress(OSError):
                    inner.chmod(0o700)
                    inner = inner.rename(path / f"gone-{moved}-{os.urandom(4).hex()}")
            waiting.append((inner, 1 if deep else depth + 1))
    for folder in reversed(emptied):
        with suppress(OSError):
            folder.rmdir()


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, which is made one that can be changed."""
    with suppress(OSError):
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            folder.chmod(0o700)
        with os.scandir(folder) as entries:
            return list(entries)
    return []


def _unlink(path: Path) -> None:
    with suppress(OSError):
        try:
            path.unlink()
        except PermissionError:  # Windows removes no read-only file
            if path.is_symlink():
                raise
            path.chmod(0o600)
            path.unlink()
