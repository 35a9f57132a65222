"""Running the host of plugins with a time limit, and leaving nothing of it behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

_MARK = "_POLYWHEEL_PROVIDERS"
_HOST = Path(__file__).with_name("_host.py")


def run_host(python: str, folder: Path, timeout: float) -> int | None:
    """Run the host; its exit code, or None where it ran past ``timeout`` seconds.

    Whatever it started is killed with it: its process group, and on Linux also what left the
    group, found by a mark in its environment.
    """
    mark = uuid.uuid4().hex
    options: dict[str, object] = {}
    if os.name == "nt":
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP  # type: ignore[attr-defined]
    else:
        options["start_new_session"] = True
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # type: ignore[call-overload]
            [python, "-P", "-X", "utf8", str(_HOST), str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, _MARK: mark},
            **options,
        )
    code: int | None
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        _kill_group(process)
        process.wait()
        if sys.platform == "linux":
            _kill_marked(mark)
    return code


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if os.name == "nt":
        command = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.run(command, capture_output=True, check=False)
    else:
        # The group outlives its leader as long as anybody is in it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _kill_marked(mark: str) -> None:
    """Kill what carries the mark; again until nothing new is found, since it may fork meanwhile."""
    needle = f"{_MARK}={mark}".encode("ascii")
    for _ in range(10):
        found = False
        for entry in os.scandir("/proc"):
            if not entry.name.isdecimal():
                continue
            try:
                environment = Path(entry.path, "environ").read_bytes()
                if needle in environment.split(b"\0"):
                    found = True
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                continue  # gone meanwhile, or somebody else's
        if not found:
            return
