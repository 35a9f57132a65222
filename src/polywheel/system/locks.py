"""Locks on open files; they go with the process that holds them."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import BinaryIO

from polywheel.errors import BuildError

_LOOK = 0.1
"""Seconds after which a lock that somebody else holds is tried again."""
_BEYOND_THE_END = 1 << 30
"""Windows locks bytes, which nobody else can read then. So this is one that is rarely there."""
_HELD_ON_WINDOWS = frozenset({errno.EACCES, errno.EDEADLK})
"""What ``_locking`` of the C library says where another process has the lock."""


def try_lock(file: BinaryIO) -> bool:
    """Take the exclusive lock of an open file; False where somebody else holds it.

    The position in the file may change. Raises OSError where the file system has no locks.
    """
    if sys.platform == "win32":
        import msvcrt

        file.seek(_BEYOND_THE_END)
        return _taken(lambda: msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1), _HELD_ON_WINDOWS)
    import fcntl

    return _taken(lambda: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB), {errno.EWOULDBLOCK})


@contextmanager
def held(
    path: Path, *, stop: Event, waiting: Callable[[], None], seconds: float | None = None
) -> Iterator[None]:
    """Hold the lock of a file, which is made. No child inherits it: who holds it is a living run.

    ``waiting`` is called once where somebody else has it. Raises BuildError once ``stop`` is set,
    or ``seconds`` are over.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    until = None if seconds is None else time.monotonic() + seconds
    with path.open("a+b") as file:
        said = False
        while not try_lock(file):
            if not said:
                waiting()
                said = True
            if stop.wait(_LOOK):
                raise BuildError("it was stopped")
            if until is not None and time.monotonic() > until:
                raise BuildError(f"it waited {seconds:g} seconds for another run", at=str(path))
        yield


@contextmanager
def first_free(
    paths: Iterable[Path], *, fits: Callable[[Path], bool] = lambda _: True
) -> Iterator[tuple[Path, int]]:
    """Hold the lock of the first of these files, which is made, that nobody else holds.

    ``fits`` says of one whose lock is held whether it will do. Yields its path, and its descriptor
    for children that are to hold it too. Raises OSError.
    """
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            if try_lock(file) and fits(path):
                yield path, file.fileno()
                return
    raise ValueError("there are no more files to lock")


def _taken(lock: Callable[[], object], held: frozenset[int] | set[int]) -> bool:
    """Whether a lock was taken; False for an error that means that somebody else holds it."""
    try:
        lock()
    except OSError as error:
        if error.errno in held:
            return False
        raise
    return True
