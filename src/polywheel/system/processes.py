"""One child of a run: a process group of its own, no input, output to its own log, a time limit.

What leaves the group (a daemon that makes a session of its own) is out of reach.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from polywheel.system.logs import Log, opened_log

GRACE = 10.0
"""Seconds that a child has to end by itself when it is asked to."""
_NO_PROCESS = 1 << 31
"""The number of a process is below this."""
_LOOK = 0.1
"""Seconds after which the clock, and whether to stop, are looked at again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a child ended."""

    code: int
    """Its exit code; negative where a signal ended it."""

    late: bool = False
    """Whether it was ended because its time was over."""

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
    ask: int = signal.SIGTERM,
) -> Ended:
    """Run a command to its end, or until ``stop`` is set or ``seconds`` are over.

    All processes of its group end with it: where it ends by itself at once, else they are asked to
    (with the signal ``ask``) and have ``grace`` seconds before they are killed. ``keep_open`` are
    file descriptors that it inherits. A log that grows too large is shortened meanwhile. Raises
    OSError where it can't be started.
    """
    until = None if seconds is None else time.monotonic() + seconds
    late = stopped = False
    with ExitStack() as opened:
        output = opened.enter_context(opened_log(log))
        child = _started(command, folder, environment, output.file.fileno(), keep_open)
        kill = killer(child)
        watch = opened.enter_context(_watched(child))
        ended = False
        try:
            while not (ended := _wait(child, watch, _LOOK)):
                output.shorten()
                stopped = stop.is_set()
                late = not stopped and until is not None and time.monotonic() > until
                if stopped or late:
                    break
        finally:
            _end(child, watch, output, kill, grace=0 if ended else grace, ask=ask)
    return Ended(code=child.returncode, late=late, stopped=stopped)


def _started(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    output: int,
    keep_open: Sequence[int],
) -> subprocess.Popen[bytes]:
    if sys.platform == "win32":
        return subprocess.Popen(
            list(command),
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
        )
    return subprocess.Popen(
        list(command),
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=tuple(keep_open),
    )


@contextmanager
def _watched(child: subprocess.Popen[bytes]) -> Iterator[int | None]:
    """A descriptor that can be read from when the child has ended; None where there is no such thing."""
    watch = None
    if sys.platform == "linux" and hasattr(os, "pidfd_open"):
        with suppress(OSError):  # an old kernel, or a container that forbids it
            watch = os.pidfd_open(child.pid)
    try:
        yield watch
    finally:
        if watch is not None:
            os.close(watch)


def _wait(child: subprocess.Popen[bytes], watch: int | None, seconds: float) -> bool:
    """Wait for the end of a child, but no longer; whether it has ended.

    With a descriptor it is known at once, and the child is not reaped: as long as it is not, its
    number is that of its group and of nothing else.
    """
    if watch is not None and sys.platform != "win32":
        poll = select.poll()
        poll.register(watch, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    with suppress(subprocess.TimeoutExpired):
        child.wait(seconds)
    return child.returncode is not None


def _end(
    child: subprocess.Popen[bytes],
    watch: int | None,
    output: Log,
    kill: Callable[[], None],
    *,
    grace: float,
    ask: int,
) -> None:
    """Ask the group to end where there is grace, give it that time, then kill what is left of it."""
    try:
        if grace > 0 and _ask(child, ask):
            until = time.monotonic() + grace
            while not (ended := _wait(child, watch, _LOOK)) and time.monotonic() < until:
                output.shorten()
            if ended:
                # Reaped, so that the group is gone as soon as the others have ended.
                child.wait()
                while group_lives(child.pid) and time.monotonic() < until:
                    output.shorten()
                    time.sleep(0.05)
    finally:
        kill()
        child.wait()


def _ask(child: subprocess.Popen[bytes], ask: int) -> bool:
    """Ask a group to end; False where that can't be done: it is gone, or there is no console."""
    try:
        if sys.platform == "win32":
            child.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            os.killpg(child.pid, ask)
    except OSError:
        return False
    return True


def group_lives(group: int) -> bool:
    """Whether there is a process in the group of this number; a number may be used again."""
    if sys.platform == "win32" or not 1 < group < _NO_PROCESS:
        return False
    try:
        os.killpg(group, 0)
    except OSError:  # none; that of another user; on macOS, where all that is left are zombies
        return False
    return sys.platform != "linux" or _lives_in(group)


def _lives_in(group: int) -> bool:
    """Whether a group has somebody who is not dead already, and only waits for init to see it.

    Not every container has an init that looks.
    """
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):  # it has ended meanwhile
            # State, parent, group: proc_pid_stat(5), behind a name that may hold anything.
            state, _, its_group = path.read_bytes().rpartition(b")")[2].split()[:3]
            if int(its_group) == group and state not in {b"Z", b"X"}:
                return True
    return False


def killer(child: subprocess.Popen[bytes]) -> Callable[[], None]:
    """A function that kills a child, which leads a group of its own, and all that it has started."""
    if sys.platform == "win32":
        from polywheel.system.job_objects import Job

        try:
            return Job(child.pid).kill
        except OSError:  # it has ended, or this process may not
            return lambda: _kill_tree(child)
    return lambda: _kill_group(child)


def _kill_tree(child: subprocess.Popen[bytes]) -> None:
    """What Windows knows to be a descendant: not where the process between has ended."""
    subprocess.run(
        ["taskkill", "/F", "/T", "/PID", str(child.pid)],  # noqa: S607  # a part of Windows
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    with suppress(OSError):
        child.kill()


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    # The group outlives its leader for as long as anybody is in it.
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):  # nobody is left
            os.killpg(child.pid, signal.SIGKILL)
