"""Processes and their descendants: finding and killing them (Linux)."""

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
    for path in Path("/proc").glob("[0-9]*"):
        try:
            _, _, rest = (
                (path / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
            )
        except OSError:  # it has ended
            continue
        state, parent = rest.split()[:2]
        if state != "Z":
            found[int(path.name)] = int(parent)
    return found


def state(number: int) -> str:
    """The state of a process, such as R (running), T (stopped), or Z (ended)."""
    try:
        about = Path("/proc", str(number), "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended, and its parent knows
        return "Z"
    return about.rpartition(")")[2].split()[0]


def is_alive(number: int) -> bool:
    """Whether a process has not ended (Linux)."""
    return state(number) != "Z"


def descendants(process: int) -> set[int]:
    """A process, its children, theirs, and so on."""
    found = {process}
    known = parents()
    while more := {child for child, parent in known.items() if parent in found} - found:
        found |= more
    return found


def kill_all(process: int) -> None:
    """Kill a process and its descendants. All are stopped first, so that none starts another."""
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


def marked_processes(mark: str) -> list[str]:
    """The commands of processes that have the mark in their environment; zombies do not count."""
    found = []
    # A pattern with a second part looks at each process, and fails if one has just ended.
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (path / "environ").read_bytes():
                command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if command.strip():
                    found.append(command.strip()[:100])
        except OSError:
            continue
    return found
