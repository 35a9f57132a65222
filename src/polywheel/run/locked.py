"""Locks between processes, on files; they go with the process that holds them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import BinaryIO

from polywheel.errors import BuildError

_LOOK = 0.1
_FAR = 1 << 30
"""Windows locks bytes, which nobody else can read then; so it is one that is not there."""


def locked(file: BinaryIO) -> bool:
    """Take the lock of an open file; False where somebody has it.

    Raises OSError where the file system has no locks.
    """
    if sys.platform == "win32":
        import msvcrt

        file.seek(_FAR)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def held(path: Path, *, stop: Event, waiting: Callable[[], None]) -> Iterator[int]:
    """Hold the lock of a file, which is made; its descriptor, for children that are to hold it too.

    ``waiting`` is called once where somebody else has it. Raises BuildError once ``stop`` is set.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        said = False
        while not locked(file):
            if not said:
                waiting()
                said = True
            if stop.wait(_LOOK):
                raise BuildError("it was stopped")
        yield file.fileno()
