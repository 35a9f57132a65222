"""One child of a run: a process group of its own, no input, output to its own log, a time limit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

GRACE = 10.0
"""Seconds that a child has to end by itself when it is asked to."""
_LOOK = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a child ended."""

    code: int
    """Its exit code; negative where a signal ended it."""

    late: bool = False
    """Whether it was killed because its time was over."""

    stopped: bool = False
    """Whether it was ended because the run was stopped."""


def run_child(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    stop: Event,
    seconds: float | None = None,
    keep_open: Sequence[int] = (),
    grace: float = GRACE,
) -> Ended:
    """Run a command to its end, or until ``stop`` is set or ``seconds`` are over.

    All its processes end with it. ``keep_open`` are file descriptors that it inherits. Raises
    OSError where it can't be started.
    """
    until = None if seconds is None else time.monotonic() + seconds
    options: dict[str, object] = {"start_new_session": True, "pass_fds": tuple(keep_open)}
    if sys.platform == "win32":
        options = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    with log.open("ab") as output:
        child = subprocess.Popen(  # type: ignore[call-overload]
            list(command),
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            **options,
        )
        late = stopped = False
        try:
            while child.poll() is None:
                stopped = stop.wait(0) if until is None else stop.is_set()
                late = until is not None and time.monotonic() > until
                if stopped or late:
                    break
                _wait(child, _LOOK)
        finally:
            _end(child, grace if child.poll() is None else 0)
    return Ended(code=child.returncode, late=late, stopped=stopped)


def _wait(child: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(seconds)


def _end(child: subprocess.Popen[bytes], grace: float) -> None:
    """Ask the group to end, give it time, then kill what is left of it."""
    if child.poll() is None:
        _signal(child, getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))
        _wait(child, grace)
    _signal(child, getattr(signal, "SIGKILL", None))
    child.wait()


def _signal(child: subprocess.Popen[bytes], number: int | None) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
        if sys.platform == "win32":
            if child.poll() is None:
                child.kill() if number is None else child.send_signal(number)
        elif number is not None:
            os.killpg(child.pid, number)
