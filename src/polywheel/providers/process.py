"""Running the host of plugins with a time limit, and leaving nothing of it behind."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from polywheel.system.processes import killer

_MARK = "_POLYWHEEL_PROVIDERS"
_HOST = Path(__file__).with_name("_host.py")


def run_host(python: str, folder: Path, timeout: float) -> int | None:
    """Run the host; its exit code, or None where it ran past ``timeout`` seconds.

    Whatever it started is killed with it: its process group, and on Linux also what left the
    group, found by a number in its environment and among its limits (see the host). Where this
    process is killed, the host and its group end by themselves. Raises OSError where ``python`` can't be started.
    """
    # As a limit it must be above any file and below 2**63.
    mark = str(2**50 + secrets.randbits(50))
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-P", "-X", "utf8", str(_HOST), str(folder), mark, str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, _MARK: mark},
            start_new_session=sys.platform != "win32",
            creationflags=flags,
        )
    kill = killer(process)
    try:
        ended = _wait(process, timeout)
    finally:
        kill()
        process.wait()
        if sys.platform == "linux":
            _kill_marked(mark)
    code: int = process.returncode
    return code if ended else None


def _wait(process: subprocess.Popen[bytes], timeout: float) -> bool:
    """Whether the process ends in time.

    Where the system can tell, that is known at once, and its number stays its own until its group
    is killed; ``Popen.wait`` looks every 50 ms and gives the number back.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(process.pid)
            try:
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                return bool(poll.poll(timeout * 1000))
            finally:
                os.close(descriptor)
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill_marked(mark: str) -> None:
    """Kill what carries the mark, until nothing is left of it: it may fork meanwhile."""
    if sys.platform == "win32":
        return
    for _ in range(100):
        found = [number for number in _own_processes() if _is_marked(number, mark)]
        if not found:
            return
        for number in found:
            with contextlib.suppress(OSError):  # gone meanwhile
                os.kill(number, signal.SIGKILL)
        time.sleep(0.01)


def _own_processes() -> list[int]:
    if sys.platform == "win32":
        return []
    try:
        with os.scandir("/proc") as entries:
            names = [entry.name for entry in entries if entry.name.isdecimal()]
    except OSError:
        return []
    found = []
    for name in names:
        with contextlib.suppress(OSError):
            if Path("/proc", name).stat().st_uid == os.getuid():
                found.append(int(name))
    return found


def _is_marked(number: int, mark: str) -> bool:
    """Whether a process is alive and has the mark in its environment or among its limits."""
    folder = Path("/proc", str(number))
    try:
        if f"{_MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
            return True
        if mark.encode() not in (folder / "limits").read_bytes():
            return False
        # One that has ended keeps its limits until its parent has looked.
        return (folder / "stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False
