"""Select jobs of a plan by options, and keep their builds consistent.

``--pr-subset`` selects the fewest jobs that have every value of the matrix. This is a minimum set cover, found with
branch and bound: choose the value that the fewest jobs have, try each of these jobs, and stop if a branch can't be
better than the best cover so far. A greedy search gives the first cover, so there is always a result. The search
ends after a fixed number of steps, even if the result may not be the minimum.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from heapq import heapify, heapreplace

from polywheel.errors import ConfigError, Problem, nearest
from polywheel.model.plan import NON_VARIANT, Job, Plan

OPTIONS = {"globs": "--select", "jobs": "--only", "pythons": "--python", "targets": "--target"}
"""The command options by the fields of a selection, which are arguments of ``Plan.select``."""
_IDS_HINT = "polywheel matrix --json lists the ids of all jobs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Conditions for jobs. A job must match one entry of each field that is not empty."""

    globs: tuple[str, ...] = ()
    """For labels and ids. The label of the non-variant wheel is ``non-variant``."""

    jobs: tuple[str, ...] = ()
    """Ids."""

    pythons: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    def matches(self, job: Job) -> bool:
        return (
            (not self.globs or any(_matches(job, glob) for glob in self.globs))
            and (not self.jobs or job.id in self.jobs)
            and (not self.pythons or not {*self.pythons}.isdisjoint(job.pythons))
            and (not self.targets or not {*self.targets}.isdisjoint(job.targets))
        )

    def __bool__(self) -> bool:
        return bool(self.globs or self.jobs or self.pythons or self.targets)


def select(plan: Plan, selection: Selection, *, options: Mapping[str, str] = OPTIONS) -> Plan:
    """The plan with the matching jobs. Raises ConfigError if an entry matches no job, or if no job is left.

    Messages name the ``options``, by field, or the field if it has none.
    """
    if not selection:
        return plan
    if problems := [*_unmatched(plan, selection, options)]:
        raise ConfigError.collected(problems)
    kept = {job.id for job in plan.jobs if selection.matches(job)}
    if not kept:
        *names, last = (options.get(name, name) for name in OPTIONS)
        raise ConfigError(
            "no job matches the selection",
            hint=f"a job must match every given {'option' if options else 'argument'} of "
            f"{', '.join(names)}, and {last}",
        )
    return keep_jobs(plan, kept)


def _unmatched(plan: Plan, selection: Selection, options: Mapping[str, str]) -> Iterable[Problem]:
    """A problem for each entry of the selection that matches no job."""
    for glob in selection.globs:
        if not any(_matches(job, glob) for job in plan.jobs):
            names = {job.label or NON_VARIANT for job in plan.jobs} | {job.id for job in plan.jobs}
            what = f"no job has a label or an id that matches {glob!r}"
            hint = _hint(options.get("globs"), glob, names)
            yield Problem(what, options.get("globs", "globs"), hint)
    ids = {job.id for job in plan.jobs}
    pythons = {python for job in plan.jobs for python in job.pythons}
    targets = {target for job in plan.jobs for target in job.targets}
    for field, entries, known, what in (
        ("jobs", selection.jobs, ids, "no job has the id"),
        ("pythons", selection.pythons, pythons, "no job is for Python"),
        ("targets", selection.targets, targets, "no job is for the target"),
    ):
        for name in entries:
            if name not in known:
                hint = _hint(options.get(field), name, known)
                yield Problem(f"{what} {name!r}", options.get(field, field), hint)


def _hint(option: str | None, value: str, known: Iterable[str]) -> str:
    """A hint for an unknown value: repeat the option instead of a comma, or the nearest name."""
    parts = [part for part in value.split(",") if part]
    if len(parts) > 1 and option is None:
        return f"pass several texts: {', '.join(map(repr, parts))}"
    if len(parts) > 1:
        return "repeat the option: " + " ".join(f"{option} {shlex.quote(part)}" for part in parts)
    return nearest(value, known) or _IDS_HINT


def _matches(job: Job, glob: str) -> bool:
    return fnmatchcase(job.label or NON_VARIANT, glob) or fnmatchcase(job.id, glob)


def keep_jobs(plan: Plan, kept: Collection[str]) -> Plan:
    """The plan with only the jobs of these ids, in the same order.

    Builds and targets without jobs are removed. The id of a build is always that of its first job, so it changes
    if that job is removed. Axes and removed cells are those of the whole plan.
    """
    builds = []
    build_of: dict[str, str] = {}
    for build in plan.builds:
        if job_ids := tuple(identifier for identifier in build.jobs if identifier in kept):
            builds.append(replace(build, id=job_ids[0], jobs=job_ids))
            build_of |= dict.fromkeys(job_ids, job_ids[0])
    jobs = [
        job if job.build == build_of[job.id] else replace(job, build=build_of[job.id])
        for job in plan.jobs
        if job.id in build_of
    ]
    order = {job.id: number for number, job in enumerate(jobs)}
    used = {target for job in jobs for target in job.targets}
    return replace(
        plan,
        jobs=tuple(jobs),
        builds=tuple(sorted(builds, key=lambda build: order[build.id])),
        targets={name: target for name, target in plan.targets.items() if name in used},
    )


def labels(jobs: Sequence[Job]) -> list[str]:
    """Every label once, in the order of the jobs. The non-variant wheel has none."""
    return list(dict.fromkeys(job.label for job in jobs if job.label is not None))


MAX_STEPS = 2_000_000
"""The maximum number of jobs that the search compares: about a second."""
_MAX_DEPTH = 500
"""A larger cover is not improved, because the recursion would be too deep for Python."""

Value = tuple[str, str]
"""The kind of a value, such as ``python``, and the value."""


def values_of(job: Job) -> frozenset[Value]:
    """Every value that a job covers: its Pythons, targets, and axis values.

    A job without axes covers its label: a declared variant, an include, the null variant, the non-variant wheel.
    """
    values = [("python", python) for python in job.pythons]
    values += [("target", target) for target in job.targets]
    values += [(f"axis {axis}", value) for axis, value in job.axes.items()]
    return frozenset(values if job.axes else [*values, ("label", job.label or NON_VARIANT)])


def pr_subset(plan: Plan, *, max_steps: int = MAX_STEPS) -> Plan:
    """The plan with the fewest jobs that have every value of all its jobs."""
    chosen = smallest_cover([values_of(job) for job in plan.jobs], max_steps=max_steps)
    return keep_jobs(plan, {plan.jobs[number].id for number in chosen})


def smallest_cover(sets: Sequence[frozenset[Value]], *, max_steps: int = MAX_STEPS) -> list[int]:
    """The fewest sets with the same union as all sets, by their numbers, sorted.

    After ``max_steps``, the result may have more sets. The same sets in the same order give the same result.
    """
    values = sorted(set[Value]().union(*sets))
    bits = {value: 1 << number for number, value in enumerate(values)}
    kinds: dict[str, int] = {}
    for value in values:
        kinds[value[0]] = kinds.get(value[0], 0) | bits[value]
    # The first of equal sets represents all of them.
    numbers: dict[int, int] = {}
    for number, members in enumerate(sets):
        numbers.setdefault(sum(bits[value] for value in members), number)
    cover = _CoverSearch([*numbers], [*kinds.values()], max_steps).run()
    return sorted(numbers[mask] for mask in cover)


class _CoverSearch:
    """The search for a minimum set cover. Sets are numbers with one bit for each value."""

    def __init__(self, masks: list[int], kinds: list[int], steps: int) -> None:
        self.masks = masks
        self.steps = steps
        self.all = 0
        self.having: dict[int, list[int]] = {}
        """The sets that have a value, by its bit."""
        for mask in masks:
            self.all |= mask
            for bit in _bits(mask):
                self.having.setdefault(bit, []).append(mask)
        self.kinds = [(kind, max((mask & kind).bit_count() for mask in masks)) for kind in kinds]
        """The bits of each kind of value, and the largest number of them in one set."""
        self.best: list[int] = []

    def run(self) -> list[int]:
        self.best = self._greedy_cover()
        if len(self.best) <= _MAX_DEPTH:
            self._branch(self.all, [])
        return self.best

    def _greedy_cover(self) -> list[int]:
        missing, cover = self.all, []
        # The number of missing values that a set has only decreases. So if it did not change for the first
        # set in the queue, this set has most of them.
        queue = [(-mask.bit_count(), number) for number, mask in enumerate(self.masks)]
        heapify(queue)
        while missing:
            count, number = queue[0]
            covered = self.masks[number] & missing
            if covered.bit_count() < -count:
                heapreplace(queue, (-covered.bit_count(), number))
                continue
            cover.append(self.masks[number])
            missing &= ~covered
        return cover

    def _can_improve(self, missing: int, chosen: list[int]) -> bool:
        """Whether a better cover is possible, by the number of missing values of each kind."""
        needed = max(-(-(missing & kind).bit_count() // most) for kind, most in self.kinds)
        return self.steps > 0 and len(chosen) + needed < len(self.best)

    def _branch(self, missing: int, chosen: list[int]) -> None:
        if not missing:
            self.best = list(chosen)
            return
        if not self._can_improve(missing, chosen):
            return
        rarest = min(_bits(missing), key=lambda bit: len(self.having[bit]))
        for covered, mask in self._candidates(rarest, missing):
            self._branch(missing & ~covered, [*chosen, mask])
            if not self._can_improve(missing, chosen):
                return

    def _candidates(self, bit: int, missing: int) -> list[tuple[int, int]]:
        """The sets with a value, each after its missing values, those with most first.

        A set is left out if another one has all of its missing values.
        """
        by_covered: dict[int, int] = {}
        for mask in self.having[bit]:
            by_covered.setdefault(mask & missing, mask)
        self.steps -= len(self.having[bit])
        candidates: list[tuple[int, int]] = []
        for covered in sorted(by_covered, key=lambda bits: -bits.bit_count()):
            self.steps -= 1 + len(candidates) // 8
            if not any(covered & other == covered for other, _ in candidates):
                candidates.append((covered, by_covered[covered]))
        return candidates


def _bits(mask: int) -> list[int]:
    """Each bit of a number as a number, lowest first."""
    bits = []
    while mask:
        bits.append(mask & -mask)
        mask &= mask - 1
    return bits
