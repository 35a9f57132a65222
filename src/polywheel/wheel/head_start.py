"""Copying the front of an archive while its directory is still being checked."""

from __future__ import annotations

import contextlib
import os
import sys
from threading import Thread
from typing import BinaryIO, Self

from polywheel.wheel.layout import CENTRAL, FULL32


class HeadStart:
    """Copies in the kernel, in a thread, up to where the first change is likely to be.

    That is a guess from the raw directory: the first member of a ``.dist-info``. Where it goes too
    far, :meth:`settle` takes it back. The two files are to stay open until the context is left.
    """

    def __init__(self, source: BinaryIO, target: BinaryIO) -> None:
        self._source = source
        self._target = target
        self._end = 0
        self._done = 0
        self._thread: Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._join()

    def begin(self, directory: bytes) -> None:
        """Start copying; ``directory`` has not been checked yet."""
        self._end = _first_of_dist_info(directory)
        if self._end and sys.platform == "linux" and hasattr(os, "copy_file_range"):
            self._thread = Thread(target=self._copy)
            self._thread.start()

    def settle(self, first_change: int) -> int:
        """How many bytes the target holds now: none of what lies from ``first_change`` on."""
        self._join()
        if self._done > first_change:
            self._done = 0
        self._target.truncate(self._done)
        self._target.seek(self._done)
        return self._done

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _copy(self) -> None:
        """As far as the kernel does it; whatever is left is copied with the rest."""
        if sys.platform != "linux":
            return
        source, target = self._source.fileno(), self._target.fileno()
        with contextlib.suppress(OSError):
            if hasattr(os, "posix_fallocate"):
                # Room in one piece is written to a tenth faster than room that grows.
                os.posix_fallocate(target, 0, self._end)
            while self._done < self._end:
                left = self._end - self._done
                step = os.copy_file_range(source, target, left, self._done, self._done)
                if step == 0:
                    break
                self._done += step


def _first_of_dist_info(directory: bytes) -> int:
    """The lowest offset that an entry with ``.dist-info/`` in its name seems to have."""
    found = []
    at = directory.find(b".dist-info/")
    while at >= 0:
        start = directory.rfind(b"PK\x01\x02", 0, at)
        if start < 0 or start + CENTRAL.size > at:
            return 0
        found.append(int.from_bytes(directory[start + 42 : start + 46], "little"))
        at = directory.find(b".dist-info/", at + 1)
    return min((offset for offset in found if offset != FULL32), default=0)
