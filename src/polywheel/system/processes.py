"""Run a child process: own process group, no input, output to a log file, a time limit.

A child that leaves its process group (a daemon with a session of its own) can't be ended. On Windows, a
job object takes the place of the process group, see :mod:`polywheel.system.job_objects`.

Children have process groups of their own, so a signal that ends a run has to end them first.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from types import FrameType

from polywheel.errors import BuildError
from polywheel.system.logs import Log, open_log

_NO_PROCESS = 1 << 31
"""Process numbers are below this."""
_POLL_INTERVAL = 0.1
"""Seconds after which the time limit and the stop event are checked again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildResult:
    """How a child ended."""

    code: int
    """Its exit code; negative if a signal ended it."""

    late: bool = False
    """Whether it was ended because of its time limit."""

    stopped: bool = False
    """Whether it was ended because the run was stopped."""

    def raise_if_ended(self, time_limit: float | None) -> None:
        """Raise BuildError if it was ended because of its time limit, in seconds, or a stop."""
        if self.late:
            raise BuildError(f"timed out after {time_limit or 0:g} seconds")
        if self.stopped:
            raise BuildError("stopped")


def run_child(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    stop: Event,
    seconds: float | None = None,
    keep_open: Sequence[int] = (),
    grace: float = 10.0,
    ask: int = signal.SIGTERM,
) -> ChildResult:
    """Run a command until it ends, ``stop`` is set, or ``seconds`` are over. Return how it ended.

    All processes of its group end with it. If the command ends by itself, they are killed at once.
    Otherwise they get the signal ``ask`` and have ``grace`` seconds before they are killed. ``keep_open``
    are file descriptors that the command inherits. A log that grows too large is shortened meanwhile.
    Raises OSError if the command can't be started.
    """
    until = None if seconds is None else time.monotonic() + seconds
    late = stopped = ended = False
    with ExitStack() as opened:
        output = opened.enter_context(open_log(log))
        windows = sys.platform == "win32"
        child = subprocess.Popen(
            list(command),
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output.file.fileno(),
            stderr=subprocess.STDOUT,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            start_new_session=not windows,
            pass_fds=() if windows else tuple(keep_open),
        )
        kill = create_killer(child)
        watch = opened.enter_context(_watch(child))
        try:
            while not (ended := _wait(child, watch)):
                output.shorten()
                stopped = stop.is_set()
                late = not stopped and until is not None and time.monotonic() > until
                if stopped or late:
                    break
        finally:
            try:
                if not ended and grace > 0 and _ask(child, ask):
                    _wait_for_group(child, watch, output, grace)
            finally:
                kill()
                child.wait()
    return ChildResult(code=child.returncode, late=late, stopped=stopped)


def capture_output(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> bytes | None:
    """Return the standard output of a command without input; None if it fails, or takes too long."""
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None


@contextmanager
def _watch(child: subprocess.Popen[bytes]) -> Iterator[int | None]:
    """Open a descriptor that becomes readable when the child ends; None if the system has none."""
    watch = None
    if sys.platform == "linux" and hasattr(os, "pidfd_open"):
        with suppress(OSError):  # an old kernel, or a container that forbids it
            watch = os.pidfd_open(child.pid)
    try:
        yield watch
    finally:
        if watch is not None:
            os.close(watch)


def _wait(child: subprocess.Popen[bytes], watch: int | None) -> bool:
    """Wait a moment for the end of a child. Return whether it has ended.

    With a descriptor the end is seen at once, and the child is not reaped. Until it is reaped, its number
    is not used again, so it still names the group of the child.
    """
    if watch is not None and sys.platform != "win32":
        poll = select.poll()
        poll.register(watch, select.POLLIN)
        return bool(poll.poll(_POLL_INTERVAL * 1000))
    with suppress(subprocess.TimeoutExpired):
        child.wait(_POLL_INTERVAL)
    return child.returncode is not None


def _wait_for_group(
    child: subprocess.Popen[bytes], watch: int | None, output: Log, seconds: float
) -> None:
    """Wait up to ``seconds`` for the end of all processes in the group of a child."""
    until = time.monotonic() + seconds
    while not (ended := _wait(child, watch)) and time.monotonic() < until:
        output.shorten()
    if ended:
        child.wait()  # reaps it, so that the group is gone as soon as the other processes have ended
        while is_group_alive(child.pid) and time.monotonic() < until:
            output.shorten()
            time.sleep(_POLL_INTERVAL / 2)


def _ask(child: subprocess.Popen[bytes], ask: int) -> bool:
    """Ask a group to end. Return False if that is impossible: it is gone, or there is no console."""
    try:
        if sys.platform == "win32":
            child.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            os.killpg(child.pid, ask)
    except OSError:
        return False
    return True


def is_group_alive(group: int) -> bool:
    """Whether the group of this number has a process. Numbers may be used again."""
    if sys.platform == "win32" or not 1 < group < _NO_PROCESS:
        return False
    try:
        os.killpg(group, 0)
    except OSError:  # no process, another user's process, or on macOS only zombies
        return False
    return sys.platform != "linux" or _has_live_process(group)


def _has_live_process(group: int) -> bool:
    """Whether a group has a process that is not a zombie.

    Not every container has an init process that reaps zombies.
    """
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):  # it has ended meanwhile
            # State, parent, group: proc_pid_stat(5). The name before them may contain anything.
            state, _, its_group = path.read_bytes().rpartition(b")")[2].split()[:3]
            if int(its_group) == group and state not in {b"Z", b"X"}:
                return True
    return False


def create_killer(child: subprocess.Popen[bytes]) -> Callable[[], None]:
    """Return a function that kills a child, which leads its own group, and all its descendants."""
    if sys.platform == "win32":
        from polywheel.system.job_objects import Job

        with suppress(OSError):  # it has ended, or this process lacks the permission
            return Job(child.pid).kill

        def kill_tree() -> None:
            # Windows finds no descendant whose parent has ended.
            capture_output(["taskkill", "/F", "/T", "/PID", str(child.pid)])
            with suppress(OSError):
                child.kill()

        return kill_tree

    def kill_group() -> None:
        # The group outlives its leader while it has another process.
        with suppress(ProcessLookupError, PermissionError):  # no process is left
            os.killpg(child.pid, signal.SIGKILL)

    return kill_group


_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""Ctrl-C, a canceled CI job, a closed terminal, and Ctrl-Break of Windows."""


@contextmanager
def on_interrupt(act: Callable[[], None]) -> Iterator[None]:
    """Call ``act`` for every signal that ends the run. Does nothing outside of the main thread.

    A signal that is ignored (``nohup``, a shell's ``&``) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        act()

    before = {}
    try:
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) not in {signal.SIG_IGN, None}:
                before[number] = signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_interrupt() -> None:
    """Raise KeyboardInterrupt, as Ctrl-C does by default."""
    raise KeyboardInterrupt
