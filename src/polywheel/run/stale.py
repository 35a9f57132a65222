"""Wheels in an output directory that are not planned any more: of a variant that was renamed, say.

Only wheels of the project and version that a run makes are looked at. A wheel that may be part of the
plan, on whichever machine, is never stale.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.utils import canonicalize_name

from polywheel.errors import PolywheelError
from polywheel.examined.disagreements import same_version
from polywheel.model.plan import NON_VARIANT, Plan
from polywheel.model.wheelname import WheelName
from polywheel.run.checks import misfits
from polywheel.run.journal import Journal
from polywheel.system.files import sha256_of


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
