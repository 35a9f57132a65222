"""Killing processes and everything that they started, as the kernel does it to whole machines."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest


def parents() -> dict[int, int]:
    """The parent of every process that has not ended."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, rest = path.read_text(encoding="utf-8", errors="replace").rpartition(")")
        except OSError:  # it has ended
            continue
        state, parent = rest.split()[:2]
        if state != "Z":
            found[int(path.parent.name)] = int(parent)
    return found


def descendants(process: int) -> set[int]:
    """A process, its children, theirs, and so on."""
    found = {process}
    known = parents()
    while more := {child for child, parent in known.items() if parent in found} - found:
        found |= more
    return found


def kill_all(process: int) -> None:
    """``kill -9`` for a whole tree; each is stopped before, so that nobody starts another."""
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    stopped: set[int] = set()
    while more := descendants(process) - stopped:
        for one in more:
            _send(one, signal.SIGSTOP)
        stopped |= more
    for one in stopped:
        _send(one, signal.SIGKILL)


def _send(process: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)
