"""What became of the builds of a run, and of their wheels."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Event

from polywheel.errors import PolywheelError
from polywheel.model.plan import Job
from polywheel.system.logs import remove_logs, tool_logs


class State(StrEnum):
    """What became of a build, or of a job; the words stand in reports and events."""

    BUILT = "built"
    """This run made it."""

    UP_TO_DATE = "up-to-date"
    """It is there, an earlier run made it, and nothing that it depends on has changed."""

    FAILED = "failed"

    STOPPED = "stopped"
    """It was being built when the run was interrupted, or ended at the failure of another."""

    NOT_STARTED = "not-started"
    """The run ended before it began."""

    NO_PYTHON = "no-python"
    """The Python that it needs is not on this machine."""

    ELSEWHERE = "elsewhere"
    """It is for another machine."""


WARNING = "warning: "
_LOGGED = re.compile(rb"polywheel: ((?:warning|note): .+)")
_LONGEST_LINE = 64 * 1024
"""Bytes."""
THERE = frozenset({State.BUILT, State.UP_TO_DATE})
"""The states of what is there at the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """A finished wheel."""

    job: str
    file: str
    size: int
    """Bytes."""

    sha256: str
    seconds: float
    """How long it took, when it was made: of a build that made several, its share."""

    state: State = State.BUILT
    setup: str = ""
    """The digest of what its variant asks of the build; empty where that is not known."""


@dataclass(frozen=True, slots=True)
class Message:
    """A warning or a note about jobs."""

    text: str
    """Begins with ``warning:`` or ``note:``."""

    jobs: tuple[str, ...]
    """Their ids."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a build."""

    build: str
    state: State
    wheels: tuple[Wheel, ...] = ()
    """Those of its wheels that are there, whatever its state."""

    seconds: float = 0.0
    """Wall time in this run."""

    hook_seconds: float = 0.0
    """Of which the real backend's own."""

    error: str | None = None
    log: Path | None = None
    messages: tuple[Message, ...] = ()
    """Each text once."""

    tool_logs: tuple[Path, ...] = ()
    """What Meson and CMake wrote of their checks, where the build failed."""

    @property
    def logs(self) -> list[Path]:
        """All logs that are there."""
        own = [self.log] if self.log is not None and self.log.exists() else []
        return [*own, *self.tool_logs]


def merged(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Each text once, with all jobs that have it; warnings first, else in the order in which they
    came.
    """
    jobs: dict[str, dict[str, None]] = {}
    for one in messages:
        jobs.setdefault(one.text, {}).update(dict.fromkeys(one.jobs))
    found = [Message(text, tuple(ids)) for text, ids in jobs.items()]
    return tuple(sorted(found, key=lambda one: not one.text.startswith(WARNING)))


def logged_messages(log: Path) -> Iterator[str]:
    """The warnings and notes of build hooks in a log that another tool has written."""
    with suppress(OSError), log.open("rb") as file:
        while line := file.readline(_LONGEST_LINE):
            found = _LOGGED.fullmatch(line.strip())
            if found is not None:
                yield found[1].decode("utf-8", "replace")


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What of a build is there, and what is not."""

    wheels: tuple[Wheel, ...]
    missing: tuple[Job, ...]


def outcome_of(
    build: str, standing: Standing, log: Path, stop: Event, make: Callable[[list[Wheel]], float]
) -> Outcome:
    """What becomes of a build that ``make`` makes; a failure is an outcome too.

    ``make`` adds each wheel to the list as soon as it is there, and says how long the real backend
    took, in seconds. What was finished before it failed is there.
    """
    started = time.monotonic()
    wheels = list(standing.wheels)
    state, error, hook_seconds = State.BUILT, None, 0.0
    try:
        remove_logs(log)
        hook_seconds = make(wheels)
    except PolywheelError as failure:
        state, error = State.FAILED, failure.render().removeprefix("error: ")
    except OSError as failure:
        state = State.FAILED
        error = f"{failure.filename or build}: {failure.strerror or failure}"
    if error is not None and stop.is_set():
        state, error = State.STOPPED, None
    if state == State.BUILT and all(one.state == State.UP_TO_DATE for one in wheels):
        state = State.UP_TO_DATE
    return Outcome(
        build=build,
        state=state,
        wheels=tuple(wheels),
        seconds=time.monotonic() - started,
        hook_seconds=hook_seconds,
        error=error,
        log=log,
        tool_logs=tuple(tool_logs(log)) if state == State.FAILED else (),
    )
