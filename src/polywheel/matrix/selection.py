"""Some of a plan's jobs: those that options name, their builds kept consistent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from polywheel.errors import ConfigError, Problem, nearest
from polywheel.model.plan import NON_VARIANT, Job, Plan

_LISTED = "polywheel matrix --json has the ids of all jobs"


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
            "no job is left of this selection",
            hint="a job has to fit each of --select, --only, --python and --target that is given",
        )
    return narrowed(plan, kept)


def _without_effect(plan: Plan, selection: Selection) -> Iterable[Problem]:
    for glob in selection.globs:
        if not any(_matches(job, glob) for job in plan.jobs):
            names = {job.label or NON_VARIANT for job in plan.jobs} | {job.id for job in plan.jobs}
            what = f"no job has a label or an id that matches {glob!r}"
            yield Problem(what, "--select", nearest(glob, names) or _LISTED)
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
                yield Problem(f"{what} {name!r}", option, nearest(name, known) or _LISTED)


def _matches(job: Job, glob: str) -> bool:
    return fnmatchcase(job.label or NON_VARIANT, glob) or fnmatchcase(job.id, glob)


def narrowed(plan: Plan, kept: Collection[str]) -> Plan:
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
    return narrowed(plan, {job.id for job in plan.jobs if job.build in wanted})


def labels(jobs: Sequence[Job]) -> list[str]:
    """Every label once, in the order of the jobs; the non-variant wheel has none."""
    return list(dict.fromkeys(job.label for job in jobs if job.label is not None))
