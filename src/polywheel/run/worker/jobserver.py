"""Share the compile slots of a run among its builds.

Builds with a new enough Ninja share a pool through the jobserver protocol of make: a named pipe with
one byte for each slot (GNU make, "POSIX Jobserver Interaction"; Ninja 1.13 and make 4.4 support the
form ``fifo:``). A build takes one slot for itself, and its first compiler uses that slot, as the protocol
requires. Other builds get a fixed, equal share.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Event, Lock

from packaging.version import Version

from polywheel.environments.virtual_environments import Environment
from polywheel.errors import BuildError
from polywheel.model.setup import BackendProfile
from polywheel.system.logs import last_lines
from polywheel.system.processes import capture_output
from polywheel.system.temporary import temporary_folder

_TOKEN = b"+"
_NINJA = Version("1.13")
_GENERIC = ("CMAKE_BUILD_PARALLEL_LEVEL", "MAX_JOBS", "CARGO_BUILD_JOBS")
_JOBS = re.compile(r"(^|\s)(-j|--jobs)")
_OTHERS_POOL = re.compile(r"(^|\s)(-j\S*|--jobserver-(auth|fds)=\S*)")
_MAX_LINES = 1000
"""Lines of the end of a log."""
_POLL_SECONDS = 0.1
"""How often a build that waits for a slot checks whether to stop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobserverSettings:
    """How a build gets its compile slots: environment variables and config settings."""

    environment: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    pooled: bool = False
    """Whether it uses the pool."""


class CompileSlots:
    """The compile slots of a run."""

    def __init__(self, total: int, pipe: Path | None = None, handle: int = -1) -> None:
        """``total`` slots for as many builds at a time, with the named pipe of the pool."""
        self.total = total
        self._left = total
        self._pipe = pipe
        self._handle = handle
        self._running = 0
        self._refused = False
        self._lock = Lock()
        self._ninja_on_path = cache(_ninja_on_path)

    def share_among(self, builds: int) -> None:
        """Share the slots among this number of builds. Each takes one slot once."""
        self._left = builds

    @property
    def share(self) -> int:
        """The slots of a build that starts now without the pool."""
        return self.total // max(1, min(self.total, self._left))

    @contextmanager
    def take_slot(self, stop: Event) -> Iterator[None]:
        """Take a slot for a build, and give it back at the end.

        Raises BuildError if ``stop`` is set before a slot is free.
        """
        while self._pipe is not None and not self._take():
            if stop.is_set():
                raise BuildError("stopped")
            if sys.platform != "win32":
                poll = select.poll()
                poll.register(self._handle, select.POLLIN)
                poll.poll(_POLL_SECONDS * 1000)
        try:
            yield
        finally:
            with self._lock:
                self._left -= 1
                if self._pipe is not None:
                    self._running -= 1
                    os.write(self._handle, _TOKEN)

    def _take(self) -> bool:
        with self._lock:
            if not self._running:
                # Builds that were killed did not give back their slots.
                with suppress(BlockingIOError):
                    os.read(self._handle, 1 << 16)
                os.write(self._handle, _TOKEN * self.total)
            with suppress(BlockingIOError):
                os.read(self._handle, 1)
                self._running += 1
                return True
            return False

    def disable_pool(self) -> None:
        """Give all further builds a fixed share: a tool in the builds does not support the pool."""
        self._refused = True

    def settings_for(
        self,
        profile: BackendProfile | None,
        build_environment: Environment,
        variables: Mapping[str, str],
    ) -> JobserverSettings:
        """Return the settings of a build with a backend, in its environment and with its variables.

        The user's own variables for parallel jobs take precedence.
        """
        if profile is not None and profile.ninja and self._pipe is not None and not self._refused:
            flags = _make_flags(self._pipe, self.total, variables.get("MAKEFLAGS", ""))
            version = self._ninja_version(build_environment, variables)
            if flags is not None and version is not None and version >= _NINJA:
                return JobserverSettings(environment={"MAKEFLAGS": flags}, pooled=True)
        share = str(self.share)
        environment = {name: variables.get(name, share) for name in _GENERIC}
        settings = {}
        if profile is not None and profile.parallel is not None:
            kind, _, name = profile.parallel.via.partition(":")
            text = profile.parallel.format.replace("{value}", share)
            if kind != "env":
                settings[name] = text
            elif name:
                environment[name] = variables.get(name, text)
        return JobserverSettings(environment=environment, settings=settings)

    def _ninja_version(
        self, environment: Environment, variables: Mapping[str, str]
    ) -> Version | None:
        """The version of Ninja in the environment of a build, else on PATH."""
        for requirement in environment.resolved:
            name, _, version = requirement.partition("==")
            if name == "ninja":
                return _version(version)
        return self._ninja_on_path(variables.get("NINJA"), variables.get("PATH"))


def _make_flags(pipe: Path, total: int, flags: str) -> str | None:
    """MAKEFLAGS with a pool; None if the user's own ``flags`` set the number of jobs."""
    if "--jobserver-auth=fifo:" in flags:
        return flags  # the pool of a make that runs polywheel
    if "--jobserver-" in flags:
        # An older make runs polywheel: its file descriptors are not inherited by workers.
        flags = _OTHERS_POOL.sub("", flags)
    elif _JOBS.search(flags):
        return None
    # At the end: flags without a hyphen have to come first.
    return f"{flags} -j{total} --jobserver-auth=fifo:{pipe}"


def _ninja_on_path(configured: str | None, search_path: str | None) -> Version | None:
    names = [configured] if configured else ["ninja", "ninja-build"]
    found = (shutil.which(name, path=search_path) for name in names)
    ninja = next(filter(None, found), None)
    if ninja is None:
        return None
    output = capture_output([ninja, "--version"], seconds=10)
    return None if output is None else _version(output.decode("ascii", "replace"))


def _version(text: str) -> Version | None:
    """The numbers at the start of a version. The version of a patched Ninja may not follow PEP 440."""
    match = re.match(r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}", text)
    return Version(match[0]) if match else None


def rejects_jobserver(log: Path) -> bool:
    """Whether a build failed because a make in it does not support the name of the pool."""
    return any("--jobserver-auth string" in line for line in last_lines(log, _MAX_LINES))


@contextmanager
def compile_slots(total: int) -> Iterator[CompileSlots]:
    """Open ``total`` slots for as many builds at a time."""
    with temporary_folder() as folder:
        pipe = folder / "jobserver"
        # MAKEFLAGS can't name a path with blanks.
        if sys.platform == "win32" or any(letter.isspace() for letter in str(pipe)):
            yield CompileSlots(total)
            return
        os.mkfifo(pipe, 0o600)
        # Open for reading and writing: otherwise it ends, or blocks, while no build has it open.
        handle = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        try:
            yield CompileSlots(total, pipe, handle)
        finally:
            os.close(handle)
