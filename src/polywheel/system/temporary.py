"""Temporary folders. The next run removes the folders of killed processes.

A folder has a name with a fixed pattern, and contains a file :data:`_LOCK`. The owner holds the lock of
that file as long as it runs. A folder whose lock is free has no owner any more. A process number would not
be reliable: numbers are used again, and containers have numbers of their own.
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

from polywheel.system.files import MAX_DEPTH, rename, replace
from polywheel.system.locks import try_lock

_LOCK = "polywheel.lock"
_NAME = re.compile(r"\.?polywheel-tmp-[0-9a-f]{12}")
USERS = ".users"
"""The end of the names of folders with the marks of :func:`using`."""
MOST_KEPT = 20
"""The number of folders that :func:`remove_unused` keeps: the ones that were used last."""
_KEPT_SECONDS = 7 * 24 * 3600.0
"""Seconds for which it keeps them after their last use."""
_JUST_USED = 60.0
"""Seconds after its last use in which a folder is not removed, regardless of the number of folders."""
_TRIES = 100
_LONG = 1000
"""Characters of a relative path, well below the limit of 4096 bytes for paths."""


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """Create a folder of this process, and remove it at the end.

    It is a hidden folder in ``parent``, or a folder in the system's folder for temporary files. Folders
    that killed processes have left there are removed, once per process. Raises OSError.
    """
    container = _temporary_directory() if parent is None else parent
    remove_abandoned_once(container)
    folder, lock = _create_folder(container, "" if parent is None else ".")
    try:
        yield folder
    finally:
        _remove(folder, lock)


def _temporary_directory() -> Path:
    """Return the system's folder for temporary files, as :mod:`tempfile` chooses it.

    That module tests a folder with a file of a random name, which stays if the process is killed then.
    So it is used only if the usual folder is not writable.
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
def replacing(target: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a path for new content, and rename it to ``target`` at the end.

    So ``target`` is either complete or unchanged. Raises FileExistsError if it exists and ``overwrite`` is
    false. Raises OSError.
    """
    with temporary_folder(target.parent) as folder:
        part = folder / "part"
        yield part
        rename(part, target, overwrite=overwrite)


def write_output(path: Path, content: bytes) -> None:
    """Write a file that the user names, completely or not at all. Missing folders are created.

    A link stays, and its target is written. Pipes, devices, and a file that is the standard output or standard
    error of this process are written to, not replaced. Raises OSError.
    """
    stream = _standard_stream(path)
    if stream is not None:
        with os.fdopen(os.dup(stream), "wb") as file:
            file.write(content)
    elif is_special(path):
        with path.open("wb") as file:
            file.write(content)
    else:
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as part:
            part.write_bytes(content)


def is_special(path: Path) -> bool:
    """Whether a path is a pipe, a device, or the like, or a link to one. Raises OSError."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _standard_stream(path: Path) -> int | None:
    """The file descriptor of the standard stream that writes to a file, such as ``/dev/stdout``."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
    return None


def remove_abandoned(parent: Path) -> None:
    """Remove the temporary folders in ``parent`` that no living process owns.

    Folders of other users, and folders that are not temporary folders of polywheel, are kept. Links are
    not followed. A folder that can't be removed is kept.
    """
    folders: list[Path] = []
    with suppress(OSError), os.scandir(parent) as entries:
        folders = [Path(entry.path) for entry in entries if is_temporary_name(entry)]
    for folder in folders:
        with suppress(OSError):
            status = folder.lstat()
            ours = not hasattr(os, "getuid") or status.st_uid == os.getuid()
            if ours and stat.S_ISDIR(status.st_mode):
                _remove_if_abandoned(folder)


def is_temporary_name(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder has the name of a temporary folder."""
    return _NAME.fullmatch(entry.name) is not None


@cache
def remove_abandoned_once(parent: Path) -> None:
    """Like :func:`remove_abandoned`, once per process."""
    remove_abandoned(parent)


@cache
def mark_as_used(folder: Path) -> None:
    """Mark a folder as used until this process ends. Raises OSError."""
    uses = ExitStack()
    uses.enter_context(using(folder))
    atexit.register(uses.close)


@contextmanager
def using(folder: Path) -> Iterator[None]:
    """Mark a folder as used, with a temporary folder beside it. Raises OSError."""
    users = users_folder(folder)
    with ExitStack() as mark:
        while True:
            users.mkdir(exist_ok=True)
            with suppress(
                FileNotFoundError
            ):  # the last user of the folder has removed it meanwhile
                mark.enter_context(temporary_folder(users))
                break
        yield


def is_used(folder: Path) -> bool:
    """Whether a living process has marked a folder as used."""
    users = users_folder(folder)
    remove_abandoned(users)
    return users.is_dir() and any(users.iterdir())


def users_folder(folder: Path) -> Path:
    """Return the folder with the marks of :func:`using`."""
    return folder.with_name(f"{folder.name}{USERS}")


def move_unused(folder: Path, target: Path) -> bool:
    """Rename a file or folder that no process has marked as used. Return False if one has. Raises OSError.

    A process that marks it and then finds it complete can use it.
    """
    if is_used(folder):
        return False
    replace(folder, target)
    if is_used(folder):  # marked meanwhile
        with suppress(OSError):  # created again meanwhile
            replace(target, folder)
        return False
    with suppress(OSError):
        users_folder(folder).rmdir()
    return True


def remove_unused(parent: Path, *, most: int = MOST_KEPT, seconds: float = _KEPT_SECONDS) -> None:
    """Remove the folders in ``parent`` that no living process uses, and that are too old or too many.

    The ``most`` folders that were used last are kept, and all folders that were used less than a minute ago.
    Folders whose last use is more than ``seconds`` ago are removed. A use is a call of :func:`mark_as_used`
    and a new modification time. Raises OSError if ``parent`` can't be listed.
    """
    with os.scandir(parent) as entries:
        by_time = [(entry.stat(follow_symlinks=False).st_mtime, entry.path) for entry in entries]
    kept, now = 0, time.time()
    for used, path in sorted(by_time, reverse=True):
        folder = Path(path)
        if folder.name.startswith(".") or folder.name.endswith(USERS):
            continue
        kept += 1
        expired = now - used > seconds or (kept > most and now - used > _JUST_USED)
        if expired and not is_used(folder):
            with suppress(OSError), temporary_folder(parent) as trash:
                move_unused(folder, trash / "entry")


def _remove_if_abandoned(folder: Path) -> None:
    """Remove a folder without an owner. Raises OSError if it can't be removed."""
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(folder / _LOCK, flags)
    except FileNotFoundError:
        # Its owner was killed before it created the lock, or at the end. An owner that is about to lock
        # it creates another folder. Other folders with such a name are not empty, and are kept.
        folder.rmdir()
        return
    with os.fdopen(descriptor, "r+b") as lock:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and try_lock(lock):
            _remove(folder, lock)


def _create_folder(parent: Path, dot: str) -> tuple[Path, BinaryIO]:
    """Create a folder. Return it and its lock, which this process holds."""
    for _ in range(_TRIES):
        folder = parent / f"{dot}polywheel-tmp-{os.urandom(6).hex()}"
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        with ExitStack() as opened:
            try:
                lock = opened.enter_context((folder / _LOCK).open("x+b"))
                is_locked = True
                with suppress(OSError):  # without locks, no process can remove the folder
                    is_locked = try_lock(lock)
                # Another process may have removed the folder as abandoned before it was locked.
                status = (folder / _LOCK).lstat()
                if is_locked and os.path.samestat(os.fstat(lock.fileno()), status):
                    opened.pop_all()
                    return folder, lock
            except FileNotFoundError:
                continue
            except OSError:
                with suppress(OSError):
                    folder.rmdir()
                raise
    raise OSError(f"can't create a temporary folder in {parent}")


def _remove(folder: Path, lock: BinaryIO) -> None:
    """Remove a folder whose lock is held. The lock goes last, so a kill leaves an abandoned folder."""
    with suppress(OSError):
        with os.scandir(folder) as entries:
            inside = [Path(entry.path) for entry in entries if entry.name != _LOCK]
        for path in inside:
            remove_tree(path)
    if os.name == "nt":  # an open file can't be removed there
        lock.close()
    # On other systems it is held to the end: an owner that has opened it but not locked it yet creates
    # another folder.
    with lock, suppress(OSError):
        # If something is left, the next run tries again.
        if set(os.listdir(folder)) <= {_LOCK}:  # noqa: PTH208
            (folder / _LOCK).unlink(missing_ok=True)
            folder.rmdir()


def remove_tree(path: Path) -> None:
    """Remove a file, or a folder with its content, as far as possible.

    Links are not followed. Folders without write permission, and folders that are nested a thousand levels
    deep, are removed too.
    """
    if path.is_symlink() or not path.is_dir():
        _unlink(path)
        return
    top = len(str(path))
    waiting, folders, moved = [(path, 0)], [], 0
    while waiting:
        folder, depth = waiting.pop()
        folders.append(folder)
        for entry in _entries(folder):
            inner = Path(entry.path)
            if not entry.is_dir(follow_symlinks=False):
                _unlink(inner)
                continue
            deep = depth >= MAX_DEPTH or len(entry.path) > top + _LONG
            if deep:  # move it up, so that no path exceeds the length limit
                moved += 1
                with suppress(OSError):
                    inner.chmod(0o700)
                    inner = inner.rename(path / f"gone-{moved}-{os.urandom(4).hex()}")
            waiting.append((inner, 1 if deep else depth + 1))
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Make a folder writable, and return its entries."""
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
        except PermissionError:  # Windows does not remove read-only files
            if path.is_symlink():
                raise
            path.chmod(0o600)
            path.unlink()
