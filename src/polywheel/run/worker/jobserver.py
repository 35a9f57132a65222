"""One pool of compile slots for all jobs of a run.

Where the compile step speaks it, through make's jobserver protocol: a named pipe with one byte for
each slot (GNU make, "POSIX Jobserver Interaction"; the form ``fifo:`` is known to Ninja since 1.13 and
to make since 4.4). A job takes one slot for itself, which its first compiler uses, as the protocol has
it. Elsewhere each job gets a fixed, fair share.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event, Lock

from packaging.version import Version

from polywheel.environments.environments import Environment
from polywheel.errors import BuildError
from polywheel.model.setup import BackendProfile
from polywheel.system.logs import last_lines
from polywheel.system.temporary import temporary_folder

_TOKEN = b"+"
_NINJA = Version("1.13")
_GENERIC = ("CMAKE_BUILD_PARALLEL_LEVEL", "MAX_JOBS", "CARGO_BUILD_JOBS")
_JOBS = re.compile(r"(^|\s)(-j|--jobs)")
_OTHERS_POOL = re.compile(r"(^|\s)(-j\S*|--jobserver-(auth|fds)=\S*)")
_LAST = 1000
"""Lines of the end of a log."""
_LOOK = 0.1
"""Seconds after which somebody who waits for a slot looks whether to stop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobserverSettings:
    """What a build is told of its slots."""

    environment: Mapping[str, str]
    settings: Mapping[str, str]
    pooled: bool = False
    """Whether it draws on the pool."""


class CompileSlots:
    """The pool."""

    def __init__(self, total: int, at_once: int, pipe: Path | None, handle: int) -> None:
        self.total = total
        self._at_once = at_once
        self._left: int | None = None
        self._pipe = pipe
        self._handle = handle
        self._running = 0
        self._refused = False
        self._lock = Lock()

    def expect(self, builds: int) -> None:
        """So many builds will ask for a slot, each once: few builds have larger shares."""
        self._left = builds

    @property
    def share(self) -> int:
        """The slots of a build that has no pool, if it starts now."""
        at_once = self._at_once if self._left is None else min(self._at_once, self._left)
        return max(1, self.total // max(1, at_once))

    @contextmanager
    def one(self, stop: Event) -> Iterator[None]:
        """The slot that a job has by itself; others may have it before and after.

        Raises BuildError where ``stop`` is set before there is one.
        """
        while self._pipe is not None and not self._take():
            if stop.is_set():
                raise BuildError("it was stopped")
            if sys.platform != "win32":
                poll = select.poll()
                poll.register(self._handle, select.POLLIN)
                poll.poll(_LOOK * 1000)
        try:
            yield
        finally:
            with self._lock:
                if self._left is not None:
                    self._left -= 1
                if self._pipe is not None:
                    self._running -= 1
                    os.write(self._handle, _TOKEN)

    def _take(self) -> bool:
        with self._lock:
            if not self._running:
                # Jobs that were killed have not given back what they had taken.
                with suppress(BlockingIOError):
                    os.read(self._handle, 1 << 16)
                os.write(self._handle, _TOKEN * self.total)
            with suppress(BlockingIOError):
                os.read(self._handle, 1)
                self._running += 1
                return True
            return False

    def refuse(self) -> None:
        """From now on nobody is told of the pool: something in the builds does not know its form."""
        self._refused = True

    def told(self, profile: BackendProfile | None, environment: Environment) -> JobserverSettings:
        """What a job of a backend is told, in its environment.

        What the user's own variables say of parallel jobs holds in place of it.
        """
        if profile is not None and profile.ninja and self._pipe is not None and not self._refused:
            flags = _make_flags(self._pipe, self.total)
            version = _ninja(environment.resolved)
            if flags is not None and version is not None and version >= _NINJA:
                return JobserverSettings(environment={"MAKEFLAGS": flags}, settings={}, pooled=True)
        share = str(self.share)
        generic = {name: os.environ.get(name, share) for name in _GENERIC}
        way = profile.parallel if profile is not None else None
        if way is None or way.via == "env":
            return JobserverSettings(environment=generic, settings={})
        kind, _, name = way.via.partition(":")
        text = way.format.replace("{value}", share)
        if kind == "env":
            return JobserverSettings(
                environment={**generic, name: os.environ.get(name, text)}, settings={}
            )
        return JobserverSettings(environment=generic, settings={name: text})


def _make_flags(pipe: Path, total: int) -> str | None:
    """MAKEFLAGS that name a pool; None where the user's own say how many jobs there may be."""
    flags = os.environ.get("MAKEFLAGS", "")
    if "--jobserver-auth=fifo:" in flags:
        return flags  # the pool of a make that runs polywheel
    if "--jobserver-" in flags:
        # So is this one, in the form of older ones: file descriptors, which no worker inherits.
        flags = _OTHERS_POOL.sub("", flags)
    elif _JOBS.search(flags):
        return None
    # Behind the others: flags without a hyphen have to come first.
    return f"{flags} -j{total} --jobserver-auth=fifo:{pipe}"


def _ninja(resolved: Sequence[str]) -> Version | None:
    """The version of the Ninja that a build finds: that of its environment, else that of PATH."""
    for one in resolved:
        name, _, version = one.partition("==")
        if name == "ninja":
            return _version(version)
    return _ninja_on_path(os.environ.get("NINJA", ""), os.environ.get("PATH", ""))


@cache
def _ninja_on_path(said: str, path: str) -> Version | None:
    names = [said] if said else ["ninja", "ninja-build"]
    ninja = next(filter(None, (shutil.which(name, path=path) for name in names)), None)
    if ninja is None:
        return None
    with suppress(OSError, subprocess.SubprocessError):
        command = [ninja, "--version"]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=True
        )
        return _version(done.stdout.decode("ascii", "replace"))
    return None


def _version(text: str) -> Version | None:
    """The numbers that a version begins with: that of a patched Ninja is none of PEP 440."""
    found = re.match(r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}", text)
    return Version(found[0]) if found else None


def knows_no_pool(log: Path) -> bool:
    """Whether a build ended because it could not read how the pool is named."""
    return any("--jobserver-auth string" in line for line in last_lines(log, _LAST))


@contextmanager
def compile_slots(total: int, at_once: int) -> Iterator[CompileSlots]:
    """A pool of ``total`` slots for ``at_once`` jobs at a time."""
    if sys.platform == "win32" or not hasattr(os, "mkfifo"):
        yield CompileSlots(total, at_once, None, -1)
        return
    with temporary_folder() as folder:
        pipe = folder / "jobserver"
        if any(letter.isspace() for letter in str(pipe)):
            yield CompileSlots(total, at_once, None, -1)  # MAKEFLAGS can't name it
            return
        os.mkfifo(pipe, 0o600)
        # Open for both: it must not be at its end while no job reads, nor block without one.
        handle = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        try:
            yield CompileSlots(total, at_once, pipe, handle)
        finally:
            os.close(handle)
