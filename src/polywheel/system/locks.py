"""Locks on open files; they go with the process that holds them."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import BinaryIO

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


def _taken(lock: Callable[[], object], held: frozenset[int] | set[int]) -> bool:
    """Whether a lock was taken; False for an error that means that somebody else holds it."""
    try:
        lock()
    except OSError as error:
        if error.errno in held:
            return False
        raise
    return True
