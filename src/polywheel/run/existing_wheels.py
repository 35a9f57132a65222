"""The outcome of builds, and the wheels that are in the output directory already.

Wheels that are no longer planned (of a variant that was renamed, for example) are stale. Only wheels of the
project and version of a run are considered. A wheel that may be part of the plan on another machine is
never stale.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from threading import Event

from packaging.utils import canonicalize_name

from polywheel.errors import PolywheelError
from polywheel.model.plan import NON_VARIANT, Job, Plan
from polywheel.model.wheelname import WheelName
from polywheel.run.journal import Journal
from polywheel.run.worker.checks import misfits
from polywheel.system.files import sha256_of
from polywheel.system.logs import remove_logs, tool_logs
from polywheel.wheel.disagreements import same_version


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
PRESENT = frozenset({State.BUILT, State.UP_TO_DATE})
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
class ExistingWheels:
    """What of a build is there, and what is not."""

    wheels: tuple[Wheel, ...]
    missing: tuple[Job, ...]


def outcome_of(
    build: str,
    standing: ExistingWheels,
    log: Path,
    stop: Event,
    make: Callable[[list[Wheel]], float],
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """All that a project plans, however few of its jobs a run makes."""

    plan: Plan
    complete: bool
    """Whether the jobs are all that there are: a matrix without ``python`` or ``targets`` has those of
    other machines too."""

    labels: Callable[[], Collection[str | None] | None]
    """The labels of the plan with every Python and target, None standing for the non-variant wheel;
    None where they are too many to say."""

    config: str = ""
    """The file whose tables the plan was made of, as the journal names it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StaleWheel:
    """A wheel that is not planned any more."""

    file: str
    why: str
    own: bool
    """Whether a run has made it in this directory, and it has not changed since."""

    removed: bool = False


def find_stale(
    out: Path, journal: Journal, planned: Planned, made: Sequence[str]
) -> tuple[StaleWheel, ...]:
    """The stale wheels of a directory, by name; ``made`` are the files of the run that ended.

    Without a wheel in ``made`` there are none: nobody knows the version of the release.
    """
    if not made:
        return ()
    release = WheelName.parse(made[0])
    expected = {*made, *_newest(journal, planned.plan)}
    return tuple(
        found
        for file in _wheels(out, release)
        if str(file) not in expected and (found := _stale(out, journal, planned, file, made))
    )


def prune(out: Path, stale: Sequence[StaleWheel]) -> tuple[StaleWheel, ...]:
    """Remove the stale wheels that polywheel has made; what has become of each.

    One that can't be removed is not, and its ``why`` says so.
    """
    return tuple(_pruned(out, one) if one.own else one for one in stale)


def _pruned(out: Path, wheel: StaleWheel) -> StaleWheel:
    try:
        (out / wheel.file).unlink()
    except OSError as error:
        return replace(wheel, why=f"{wheel.why}; it can't be removed: {error.strerror or error}")
    return replace(wheel, removed=True)


def _newest(journal: Journal, plan: Plan) -> set[str]:
    """The file that each planned job made last."""
    entries = map(journal.entry, (job.id for job in plan.jobs))
    return {entry.file for entry in entries if entry is not None}


def _wheels(out: Path, release: WheelName) -> list[WheelName]:
    """The wheels of a project and version, by name."""
    found = []
    with os.scandir(out) as entries:
        names = sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
    project = canonicalize_name(release.distribution)
    for name in names:
        try:
            wheel = WheelName.parse(name)
        except PolywheelError:
            continue
        if canonicalize_name(wheel.distribution) == project and same_version(
            wheel.version, release.version
        ):
            found.append(wheel)
    return found


def _stale(
    out: Path, journal: Journal, planned: Planned, wheel: WheelName, made: Sequence[str]
) -> StaleWheel | None:
    """What is known of a wheel that no planned job has made last; None where it may be planned."""
    file = str(wheel)
    try:
        origin = journal.origin(file, sha256_of(out / file))
    except OSError:  # it can't be read, or is gone
        origin = None
    if origin is not None and origin.config != planned.config:
        tables = origin.config or "the project's own tables"
        return StaleWheel(file=file, why=f"made with {tables}", own=False)
    maker = origin.job if origin is not None else None
    if not _is_planned(wheel.label, planned):
        if maker is None and wheel.label is None:
            return None  # somebody's own, and no variant
        what = f"variant {wheel.label!r}" if wheel.label is not None else "non-variant wheel"
        return StaleWheel(file=file, why=f"no {what} is planned", own=maker is not None)
    if maker is None:
        return None
    why: str | None
    newer = journal.entry(maker) if planned.plan.job(maker) is not None else None
    if newer is not None:
        why = f"{maker} makes {newer.file} now" if (out / newer.file).is_file() else None
    elif planned.complete:
        why = f"no job {maker} is planned"
    else:
        why = _replaced(wheel, planned.plan, made)
    return StaleWheel(file=file, why=why, own=True) if why is not None else None


def _is_planned(label: str | None, planned: Planned) -> bool:
    """Whether a label is one of the plan, with whichever Python and target."""
    if any(job.label == label for job in planned.plan.jobs):
        return True
    labels = planned.labels()
    return labels is None or label in labels


def _replaced(wheel: WheelName, plan: Plan, made: Sequence[str]) -> str | None:
    """What takes the place of a wheel whose job is gone: a job for the same, with another tag."""
    for job in plan.jobs:
        targets = [plan.targets[name] for name in job.targets]
        if job.label != wheel.label or misfits(wheel, job, targets):
            continue
        for file in made:
            other = WheelName.parse(file)
            if other.label == job.label and not misfits(other, job, targets):
                return f"{job.label or NON_VARIANT} is in {file} now"
    return None
