"""Stale wheels: wheels in the output directory that are no longer planned.

Only wheels of the project and version of the run are considered. A wheel that may be part of the
plan on another machine is never stale.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.utils import canonicalize_name

from polywheel.errors import PolywheelError
from polywheel.model.plan import NON_VARIANT, Plan
from polywheel.model.wheelname import WheelName, same_version
from polywheel.run.journal import Journal
from polywheel.run.worker.checks import tag_problems
from polywheel.system.files import sha256_of


@dataclass(frozen=True, kw_only=True, slots=True)
class FullPlan:
    """Everything that a project plans, even if a run builds only some of its jobs."""

    plan: Plan
    complete: bool
    """Whether these are all jobs.

    A matrix without ``python`` or ``targets`` also has jobs of other machines.
    """

    labels: Callable[[], Collection[str | None] | None]
    """Returns the labels of the plan with every Python and target, or None if there are too many.

    The label None stands for the non-variant wheel.
    """

    config: str = ""
    """The file whose tables the plan was made from, as the journal names it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StaleWheel:
    """A wheel that is no longer planned."""

    file: str
    why: str
    own: bool
    """Whether a run made it in this directory, and it has not changed since."""

    removed: bool = False


def find_outdated(journal: Journal, failed: Iterable[str]) -> tuple[StaleWheel, ...]:
    """Return the wheels of earlier runs whose jobs have failed or were stopped in this run."""
    outdated = []
    for job in failed:
        entry = journal.entry(job)
        if entry is not None and journal.finished(job, entry.key) is not None:
            why = f"{job} made no new wheel in this run: this one is from an earlier run"
            outdated.append(StaleWheel(file=entry.file, why=why, own=True))
    return tuple(outdated)


def find_stale(
    out: Path, journal: Journal, full_plan: FullPlan, current: Sequence[str]
) -> tuple[StaleWheel, ...]:
    """Return the stale wheels of a directory, sorted by name.

    ``current`` has the wheels of the run that ended. If it is empty, no wheel is stale, because the
    version of the release is not known.
    """
    if not current:
        return ()
    newest = map(journal.entry, (job.id for job in full_plan.plan.jobs))
    planned = {*current, *(entry.file for entry in newest if entry is not None)}
    stale = (
        _stale_wheel(out, journal, full_plan, wheel, current)
        for wheel in _wheels_of_release(out, WheelName.parse(current[0]))
        if str(wheel) not in planned
    )
    return tuple(wheel for wheel in stale if wheel is not None)


def prune(out: Path, stale: Sequence[StaleWheel]) -> tuple[StaleWheel, ...]:
    """Remove the stale wheels that polywheel made, and return all stale wheels.

    If a wheel can't be removed, its ``why`` says so.
    """
    return tuple(_remove(out, wheel) if wheel.own else wheel for wheel in stale)


def _remove(out: Path, wheel: StaleWheel) -> StaleWheel:
    try:
        (out / wheel.file).unlink()
    except OSError as error:
        return replace(wheel, why=f"{wheel.why}; it can't be removed: {error.strerror or error}")
    return replace(wheel, removed=True)


def _wheels_of_release(out: Path, release: WheelName) -> list[WheelName]:
    """Return the wheels of a project and version, sorted by name."""
    wheels = []
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
            wheels.append(wheel)
    return wheels


def _stale_wheel(
    out: Path, journal: Journal, full_plan: FullPlan, wheel: WheelName, current: Sequence[str]
) -> StaleWheel | None:
    """Return a wheel as stale if it is not planned; None if it may be planned.

    No planned job made it last.
    """
    file = str(wheel)
    try:
        origin = journal.origin(file, sha256_of(out / file))
    except OSError:  # it can't be read, or was removed
        origin = None
    if origin is not None and origin.config != full_plan.config:
        tables = origin.config or "the project's own tables"
        return StaleWheel(file=file, why=f"made with {tables}", own=False)
    job = origin.job if origin is not None else None
    if not _is_planned(wheel.label, full_plan):
        if job is None and wheel.label is None:
            return None  # a non-variant wheel of another origin
        kind = f"variant {wheel.label!r}" if wheel.label is not None else "non-variant wheel"
        return StaleWheel(file=file, why=f"no {kind} is planned", own=job is not None)
    if job is None:
        return None
    why: str | None
    newer = journal.entry(job) if full_plan.plan.job(job) is not None else None
    if newer is not None:
        why = f"{job} makes {newer.file} now" if (out / newer.file).is_file() else None
    elif full_plan.complete:
        why = f"no job {job} is planned"
    else:
        why = _replacement(wheel, full_plan.plan, current)
    return StaleWheel(file=file, why=why, own=True) if why is not None else None


def _is_planned(label: str | None, full_plan: FullPlan) -> bool:
    """Return whether a label is planned for any Python and target."""
    if any(job.label == label for job in full_plan.plan.jobs):
        return True
    labels = full_plan.labels()
    return labels is None or label in labels


def _replacement(wheel: WheelName, plan: Plan, current: Sequence[str]) -> str | None:
    """Return which wheel replaces a wheel whose job is gone: same variant, other tag."""
    for job in plan.jobs:
        targets = [plan.targets[name] for name in job.targets]
        if job.label != wheel.label or tag_problems(wheel, job, targets):
            continue
        for file in current:
            other = WheelName.parse(file)
            if other.label == job.label and not tag_problems(other, job, targets):
                return f"{job.label or NON_VARIANT} is in {file} now"
    return None
