"""Entries of the cache that processes share: their last use, and their removal beside running builds.

The time of the last use is the modification time of an entry's folder. It never decreases, also if the clock of the
system goes back: the file :data:`_USES` has the time of the newest use in the cache. The lock of that file orders
uses and removals. So an entry whose use was recorded stays until the run ends, or was removed before, which
:func:`record_use` reports.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from polywheel.system.cache import cache_directory
from polywheel.system.files import replace
from polywheel.system.locks import try_lock
from polywheel.system.temporary import (
    is_temporary_name,
    is_used,
    move_unused,
    remove_abandoned,
    temporary_folder,
)

_USES = "uses.lock"
_RUNS = "runs"
_STEP = 1000
"""Nanoseconds by which the time of the newest use increases while the clock is behind it. NTFS has steps of 100."""
_PATIENCE = 10.0
"""Seconds to wait for the lock. It is held for milliseconds, unless the process is suspended."""
_INTERVAL = 0.002
IN_USE = "it is in use"


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheEntry:
    """A file or folder in the cache that can be removed on its own."""

    path: Path
    size: int
    """Bytes."""

    used: int
    """The time of its last use, in nanoseconds since 1970."""

    locks: tuple[Path, ...] = ()
    """Locks that processes hold while they use it."""

    beside: tuple[Path, ...] = ()
    """Files and empty folders that belong to it and are removed with it."""

    busy: bool = False
    """Whether a process without a lock uses it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """What was removed from the cache, and what was not."""

    removed: tuple[CacheEntry, ...]
    kept: tuple[tuple[CacheEntry, str], ...]
    """The entries that were to be removed and stay, and the reason."""

    left: int
    """The bytes of all entries that stay."""


def last_use(entry: Path) -> int:
    """Return the time of the last use of an entry, in nanoseconds since 1970. Raises OSError."""
    return entry.lstat().st_mtime_ns


def record_use(entry: Path) -> bool:
    """Set the time of the last use of an entry. Returns False if the entry does not exist.

    The cache may be on a disk that is full or read-only.
    """
    with _hold_uses() as uses:
        with suppress(OSError):
            _set_time(entry, uses)
        return os.path.lexists(entry)


@contextmanager
def keep_used_entries() -> Iterator[int]:
    """Keep the entries of the cache that are used during the block, by this process or by others.

    Yields the time of its beginning. Raises OSError.
    """
    runs = cache_directory() / _RUNS
    runs.mkdir(exist_ok=True)
    with temporary_folder(runs) as mark:
        with _hold_uses() as uses:
            began = _set_time(mark, uses)
        yield began


def oldest_run() -> int | None:
    """Return the beginning of the oldest :func:`keep_used_entries` of a living process; None if there is none."""
    runs = cache_directory() / _RUNS
    remove_abandoned(runs)
    times = []
    with suppress(OSError), os.scandir(runs) as marks:
        for mark in filter(is_temporary_name, marks):
            with suppress(FileNotFoundError):
                times.append(mark.stat(follow_symlinks=False).st_mtime_ns)
    return min(times, default=None)


def remove_entry(entry: CacheEntry) -> str | None:
    """Remove an entry. Returns None, or why it stays: a process uses it, or it can't be removed.

    Entries that were used after the beginning of a run that is still running are in use. So are entries that
    were used since ``entry`` was read.
    """
    try:
        # The files are removed at the end, without the lock. If this process is killed, the next run does it.
        with (
            temporary_folder(_kind_folder(entry.path)) as trash,
            _hold_uses(),
            ExitStack() as held,
        ):
            if last_use(entry.path) != entry.used or _is_in_use(entry, held):
                return IN_USE
            if os.name == "nt":  # the folders of open files can't be renamed there
                held.close()
            if not move_unused(entry.path, trash / "entry"):
                return IN_USE
            for path in (*entry.locks, *entry.beside):
                _remove_file_or_empty_folder(path)
    except FileNotFoundError:  # another process has removed it
        return None
    except OSError as error:
        return str(error.strerror or error)
    return None


def place_entry(new: Path, target: Path, *, note: str, began: int) -> None:
    """Give a complete folder its name in the cache, in place of an older entry. Raises OSError.

    An entry whose file ``note`` was written after ``began`` stays: another run has added it meanwhile.
    """
    record_use(new / note)
    record_use(new)
    target.parent.mkdir(exist_ok=True)
    with temporary_folder(_kind_folder(target)) as trash, _hold_uses():
        with suppress(FileNotFoundError):
            if last_use(target / note) >= began:
                return
        with suppress(FileNotFoundError):
            replace(target, trash / "entry")
        replace(new, target)


def discard_entry(path: Path) -> None:
    """Remove an entry with wrong content, even if a process uses it. Raises OSError."""
    with temporary_folder(_kind_folder(path)) as trash, _hold_uses():
        replace(path, trash / "entry")


def remove_least_used(entries: Iterable[CacheEntry], *, max_size: int) -> Removal:
    """Remove the entries with the oldest last use until all have at most ``max_size`` bytes together.

    Entries in use stay.
    """
    by_use = sorted(entries, key=lambda entry: entry.used)
    left = sum(entry.size for entry in by_use)
    removed, kept = [], []
    for entry in by_use:
        if left <= max_size:
            break
        why = remove_entry(entry)
        if why is None:
            left -= entry.size
            removed.append(entry)
        else:
            kept.append((entry, why))
    return Removal(removed=tuple(removed), kept=tuple(kept), left=left)


def _remove_file_or_empty_folder(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            remove_abandoned(path)
            path.rmdir()
        else:
            path.unlink()


def _kind_folder(path: Path) -> Path:
    """The folder of the cache that an entry is in. Each run removes temporary folders of killed processes there."""
    cache = cache_directory()
    return cache / path.relative_to(cache).parts[0]


def is_in_use(entry: CacheEntry) -> bool:
    """Whether a process uses an entry, or a run that is still running has used it."""
    with ExitStack() as held:
        try:
            return last_use(entry.path) != entry.used or _is_in_use(entry, held)
        except OSError:
            return False


def _is_in_use(entry: CacheEntry, held: ExitStack) -> bool:
    """Whether a process uses an entry. If none does, ``held`` has the entry's locks. Raises OSError."""
    began = oldest_run()
    if entry.busy or (began is not None and entry.used >= began) or is_used(entry.path):
        return True
    for path in entry.locks:
        with suppress(FileNotFoundError):
            if not try_lock(held.enter_context(path.open("r+b"))):
                return True
    return False


@contextmanager
def _hold_uses() -> Iterator[BinaryIO | None]:
    """Hold the lock for uses and removals. Yields its file; None if the cache can't be written to."""
    try:
        file = (cache_directory() / _USES).open("a+b")
    except OSError:
        yield None
        return
    with file:
        until = time.monotonic() + _PATIENCE
        with suppress(OSError):  # a file system without locks
            while not try_lock(file) and time.monotonic() < until:
                time.sleep(_INTERVAL)
        yield file


def _set_time(path: Path, uses: BinaryIO | None) -> int:
    """Set the time of a file to now; to a time after the newest use if the clock went back. Raises OSError."""
    now = time.time_ns()
    newest = os.fstat(uses.fileno()).st_mtime_ns if uses is not None else 0
    now = max(now, newest + _STEP)
    os.utime(path, ns=(now, now))
    if uses is not None:
        os.utime(uses.name, ns=(now, now))
    return last_use(path)
