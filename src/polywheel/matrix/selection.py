"""Select jobs of a plan by options, and keep their builds consistent.

``--pr-subset`` selects the fewest jobs that have every value of the matrix. It is a minimum set cover, found by
branch and bound: take the value that the fewest jobs have, try each of them, and give up a branch as
soon as it can't be better than the best so far. The first best is what a greedy choice gives, so there
always is an answer. The search ends after a fixed number of steps, with an exact answer or not.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from heapq import heapify, heapreplace

from polywheel.errors import ConfigError, Problem, nearest
from polywheel.model.plan import NON_VARIANT, Job, Plan

_LISTED = "polywheel matrix --json lists the ids of all jobs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What jobs have to be. Of each field one entry has to fit; of the fields, each that says
    anything.
    """

    globs: tuple[str, ...] = ()
    """Over labels and ids; ``non-variant`` stands for the label of the non-variant wheel."""

    jobs: tuple[str, ...] = ()
    """Ids."""

    pythons: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    def fits(self, job: Job) -> bool:
        return (
            (not self.globs or any(_matches(job, glob) for glob in self.globs))
            and (not self.jobs or job.id in self.jobs)
            and (not self.pythons or not {*self.pythons}.isdisjoint(job.pythons))
            and (not self.targets or not {*self.targets}.isdisjoint(job.targets))
        )

    def __bool__(self) -> bool:
        return bool(self.globs or self.jobs or self.pythons or self.targets)


def select(plan: Plan, selection: Selection) -> Plan:
    """The jobs that fit. Raises ConfigError for everything in the selection that fits no job of
    the plan, and where no job fits all of it.
    """
    if not selection:
        return plan
    problems = [*_without_effect(plan, selection)]
    if problems:
        raise ConfigError.collected(problems)
    kept = {job.id for job in plan.jobs if selection.fits(job)}
    if not kept:
        raise ConfigError(
            "no job matches the selection",
            hint="a job must match every given option of --select, --only, --python, and --target",
        )
    return keep_jobs(plan, kept)


def _without_effect(plan: Plan, selection: Selection) -> Iterable[Problem]:
    for glob in selection.globs:
        if not any(_matches(job, glob) for job in plan.jobs):
            names = {job.label or NON_VARIANT for job in plan.jobs} | {job.id for job in plan.jobs}
            what = f"no job has a label or an id that matches {glob!r}"
            yield Problem(what, "--select", _hint("--select", glob, names))
    ids = {job.id for job in plan.jobs}
    pythons = {python for job in plan.jobs for python in job.pythons}
    targets = {target for job in plan.jobs for target in job.targets}
    for option, asked, known, what in (
        ("--only", selection.jobs, ids, "no job has the id"),
        ("--python", selection.pythons, pythons, "no job is for Python"),
        ("--target", selection.targets, targets, "no job is for the target"),
    ):
        for name in asked:
            if name not in known:
                yield Problem(f"{what} {name!r}", option, _hint(option, name, known))


def _hint(option: str, value: str, known: Iterable[str]) -> str:
    """A hint for an unknown value: repeat the option instead of a comma, or the nearest name."""
    parts = [part for part in value.split(",") if part]
    if len(parts) > 1:
        return "repeat the option: " + " ".join(f"{option} {shlex.quote(part)}" for part in parts)
    return nearest(value, known) or _LISTED


def _matches(job: Job, glob: str) -> bool:
    return fnmatchcase(job.label or NON_VARIANT, glob) or fnmatchcase(job.id, glob)


def keep_jobs(plan: Plan, kept: Collection[str]) -> Plan:
    """The plan with the jobs of these ids alone, in the same order.

    A build without jobs is gone. The id of another is that of its first job, as ever: where that
    job is gone, the id is another one. Targets that no job is for are gone; axes and what the
    matrix removed are those of the whole plan.
    """
    builds = []
    stamped_from: dict[str, str] = {}
    for build in plan.builds:
        if left := tuple(one for one in build.jobs if one in kept):
            builds.append(replace(build, id=left[0], jobs=left))
            stamped_from |= dict.fromkeys(left, left[0])
    jobs = [
        job if job.build == stamped_from[job.id] else replace(job, build=stamped_from[job.id])
        for job in plan.jobs
        if job.id in stamped_from
    ]
    order = {job.id: number for number, job in enumerate(jobs)}
    used = {target for job in jobs for target in job.targets}
    return replace(
        plan,
        jobs=tuple(jobs),
        builds=tuple(sorted(builds, key=lambda one: order[one.id])),
        targets={name: one for name, one in plan.targets.items() if name in used},
    )


def of_builds(plan: Plan, builds: Iterable[str]) -> Plan:
    """The plan with the builds of these ids alone."""
    wanted = {*builds}
    return keep_jobs(plan, {job.id for job in plan.jobs if job.build in wanted})


def labels(jobs: Sequence[Job]) -> list[str]:
    """Every label once, in the order of the jobs; the non-variant wheel has none."""
    return list(dict.fromkeys(job.label for job in jobs if job.label is not None))


LOOKS = 2_000_000
"""How often the search may look at a job: about a second."""
_DEEPEST = 500
"""Jobs of an answer that is searched to be bettered; Python goes not much deeper."""

Value = tuple[str, str]
"""What it is a value of, and the value."""


def values_of(job: Job) -> frozenset[Value]:
    """Every value that a job covers.

    All its Pythons and targets, since one wheel serves them; its axes; and its label where it has
    no axes: a declared variant, an include, the null variant, the non-variant wheel.
    """
    found = [("python", one) for one in job.pythons]
    found += [("target", one) for one in job.targets]
    found += [(f"axis {axis}", value) for axis, value in job.axes.items()]
    if not job.axes:
        found.append(("label", job.label or NON_VARIANT))
    return frozenset(found)


def pr_subset(plan: Plan, *, looks: int = LOOKS) -> Plan:
    """The plan with the fewest jobs that have every value which its jobs have."""
    chosen = smallest_cover([values_of(job) for job in plan.jobs], looks=looks)
    return keep_jobs(plan, {plan.jobs[number].id for number in chosen})


def smallest_cover(sets: Sequence[frozenset[Value]], *, looks: int = LOOKS) -> list[int]:
    """The fewest sets whose union is that of all, by their numbers in order.

    Where the search is cut short after ``looks``, more than the fewest. The same sets in the same
    order give the same answer.
    """
    values = sorted(set[Value]().union(*sets))
    bits = {value: 1 << number for number, value in enumerate(values)}
    kinds: dict[str, int] = {}
    for kind, name in values:
        kinds[kind] = kinds.get(kind, 0) | bits[kind, name]
    # Of equal sets the first stands for all.
    masks: dict[int, int] = {}
    for number, one in enumerate(sets):
        masks.setdefault(sum(bits[value] for value in one), number)
    search = _Search(list(masks), list(kinds.values()), looks)
    return sorted(masks[mask] for mask in search.found())


@dataclass(slots=True)
class _Search:
    """Sets and their values as bits."""

    masks: list[int]
    kinds: list[int]
    looks: int
    best: list[int] = field(default_factory=list)
    most: list[int] = field(default_factory=list)
    """For each kind, how many of its values one set may have."""

    having: dict[int, list[int]] = field(default_factory=dict)
    """For each value, the sets that have it."""

    def found(self) -> list[int]:
        everything = 0
        for mask in self.masks:
            everything |= mask
        self.most = [
            max((mask & kind).bit_count() for mask in self.masks) or 1 for kind in self.kinds
        ]
        for mask in self.masks:
            for bit in _bits(mask):
                self.having.setdefault(bit, []).append(mask)
        self.best = self._greedy(everything)
        if len(self.best) <= _DEEPEST:
            self._branch(everything, [])
        return self.best

    def _greedy(self, left: int) -> list[int]:
        taken = []
        # What a set has of the missing values gets less and less: so a set that still has what it
        # had, and comes first, is the one with most.
        waiting = [(-mask.bit_count(), number) for number, mask in enumerate(self.masks)]
        heapify(waiting)
        while left:
            before, number = waiting[0]
            new = self.masks[number] & left
            if new.bit_count() < -before:
                heapreplace(waiting, (-new.bit_count(), number))
                continue
            taken.append(self.masks[number])
            left &= ~new
        return taken

    def _at_least(self, left: int) -> int:
        """How many sets it takes at least: of some kind, values are left for so many."""
        return max(
            -(-(left & kind).bit_count() // most)
            for kind, most in zip(self.kinds, self.most, strict=True)
        )

    def _branch(self, left: int, taken: list[int]) -> None:
        if not left:
            self.best = list(taken)
            return
        if len(taken) + self._at_least(left) >= len(self.best) or self.looks <= 0:
            return
        rarest = min(_bits(left), key=lambda bit: len(self.having[bit]))
        for covered, mask in self._choices(rarest, left):
            taken.append(mask)
            self._branch(left & ~covered, taken)
            taken.pop()
            if self.looks <= 0 or len(taken) + self._at_least(left) >= len(self.best):
                return

    def _choices(self, bit: int, left: int) -> list[tuple[int, int]]:
        """What of the missing values each set with this one has, most first, and the set.

        What a set brings that another brings with more besides is no choice.
        """
        new: dict[int, int] = {}
        for mask in self.having[bit]:
            new.setdefault(mask & left, mask)
        self.looks -= len(self.having[bit])
        kept: list[tuple[int, int]] = []
        for covered, mask in sorted(new.items(), key=lambda one: -one[0].bit_count()):
            self.looks -= 1 + len(kept) // 8
            if not any(covered & other == covered for other, _ in kept):
                kept.append((covered, mask))
        return kept


def _bits(mask: int) -> list[int]:
    """Every bit of a number by itself, lowest first."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low)
        mask ^= low
    return found
