"""One pool of compile slots for all jobs of a run.

Where the compile step speaks it, through make's jobserver protocol: a named pipe with one byte for
each slot beside those that the jobs have by themselves (GNU make, "POSIX Jobserver Interaction"; the
form ``fifo:`` is known to Ninja since 1.13 and to make since 4.4). Elsewhere each job gets a fixed,
fair share.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock

from packaging.version import InvalidVersion, Version

from polywheel.model.profile import BackendProfile
from polywheel.run.environments import Environment

_TOKEN = b"+"
_NINJA = Version("1.13")
_GENERIC = ("CMAKE_BUILD_PARALLEL_LEVEL", "MAX_JOBS", "CARGO_BUILD_JOBS")


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What a build is told of its slots."""

    environment: Mapping[str, str]
    settings: Mapping[str, str]


class Slots:
    """The pool."""

    def __init__(self, total: int, at_once: int, pipe: Path | None, handle: int) -> None:
        self.total = total
        self.share = max(1, total // at_once)
        self._pipe = pipe
        self._handle = handle
        self._returned = 0
        self._lock = Lock()

    @contextmanager
    def one(self) -> Iterator[None]:
        """The slot that a job has by itself; when it is over, the slot is for the others."""
        if self._pipe is None:
            yield
            return
        # One that a job before it gave away is taken back, if it is still there.
        with self._lock, suppress(BlockingIOError):
            if self._returned and os.read(self._handle, 1):
                self._returned -= 1
        try:
            yield
        finally:
            with self._lock:
                os.write(self._handle, _TOKEN)
                self._returned += 1

    def told(self, profile: BackendProfile | None, environment: Environment) -> Told:
        """What a job of a backend is told, in its environment."""
        if profile is not None and profile.ninja and self._pipe is not None:
            version = _ninja(environment.resolved)
            if version is not None and version >= _NINJA:
                flags = f" -j{self.total} --jobserver-auth=fifo:{self._pipe}"
                return Told(environment={"MAKEFLAGS": flags}, settings={})
        share = str(self.share)
        generic = {name: os.environ.get(name, share) for name in _GENERIC}
        way = profile.parallel if profile is not None else None
        if way is None or way.via == "env":
            return Told(environment=generic, settings={})
        kind, _, name = way.via.partition(":")
        text = way.format.replace("{value}", share)
        if kind == "env":
            return Told(environment={**generic, name: os.environ.get(name, text)}, settings={})
        return Told(environment=generic, settings={name: text})


def _ninja(resolved: Sequence[str]) -> Version | None:
    """The version of the Ninja that a build finds: that of its environment, else that of PATH."""
    for one in resolved:
        name, _, version = one.partition("==")
        if name == "ninja":
            return _version(version)
    return _ninja_on_path()


@cache
def _ninja_on_path() -> Version | None:
    ninja = shutil.which("ninja")
    if ninja is None:
        return None
    with suppress(OSError, subprocess.SubprocessError):
        command = [ninja, "--version"]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=True
        )
        return _version(done.stdout.decode("ascii", "replace").strip())
    return None


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


@contextmanager
def compile_slots(total: int, at_once: int) -> Iterator[Slots]:
    """A pool of ``total`` slots for ``at_once`` jobs at a time: each has one, the rest is shared."""
    if sys.platform == "win32" or not hasattr(os, "mkfifo"):
        yield Slots(total, at_once, None, -1)
        return
    with tempfile.TemporaryDirectory(prefix="polywheel-") as folder:
        pipe = Path(folder) / "jobserver"
        os.mkfifo(pipe, 0o600)
        # Open for both: it must not be at its end while no job reads, nor block without one.
        handle = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        try:
            os.write(handle, _TOKEN * max(0, total - at_once))
            yield Slots(total, at_once, pipe, handle)
        finally:
            os.close(handle)
