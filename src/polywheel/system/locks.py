"""Locks on open files. The system releases a lock when the process that holds it ends.

The package filelock is not used. The backend needs locks too, and has no other dependencies. Work folders and
installers need what filelock hides: the descriptor of a held lock, which their children inherit.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import BinaryIO

from polywheel.errors import BuildError

_RETRY_INTERVAL = 0.1
"""Seconds after which a lock that another process holds is tried again."""
_BEYOND_THE_END = 1 << 30
"""Windows locks bytes, and other processes can't read locked bytes. So this one is far behind the end."""
_HELD = frozenset({errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK})
"""The errors if another process has the lock: the first of flock(2), the others of ``_locking`` on Windows."""


def try_lock(file: BinaryIO) -> bool:
    """Take the exclusive lock of an open file. Return False if another process holds it.

    The position in the file may change. Raises OSError if the file system has no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(_BEYOND_THE_END)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _HELD:
            raise
        return False
    return True


def is_same_file(file: BinaryIO, path: Path) -> bool:
    """Whether an open file still has its path. Processes that hold the lock of a file may remove the file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def hold_lock(
    path: Path, *, stop: Event, waiting: Callable[[], None], seconds: float | None = None
) -> Iterator[None]:
    """Hold the lock of a file. The file is created. Children do not inherit the lock.

    ``waiting`` is called once if another process holds the lock. Raises BuildError if ``stop`` is set,
    or after ``seconds``.
    """
    until = None if seconds is None else time.monotonic() + seconds
    notified = is_held = False
    while not is_held:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            while not try_lock(file):
                if not notified:
                    waiting()
                    notified = True
                if stop.wait(_RETRY_INTERVAL):
                    raise BuildError("stopped")
                if until is not None and time.monotonic() > until:
                    raise BuildError(f"it waited {seconds:g} seconds for another run", at=str(path))
            if is_held := is_same_file(file, path):
                yield


@contextmanager
def lock_first_free(
    paths: Iterable[Path], *, fits: Callable[[Path], bool] = lambda _: True
) -> Iterator[tuple[Path, int]]:
    """Hold the lock of the first of these files that no other process holds. The file is created.

    ``fits`` decides whether a locked file is suitable. Yields its path, and its descriptor for children
    that have to hold the lock too. Raises OSError.
    """
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            if try_lock(file) and fits(path) and is_same_file(file, path):
                yield path, file.fileno()
                return
    raise ValueError("there are no more files to lock")
