"""What two plans differ in: for review of a change to the matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from polywheel.matrix.plan_json import job_as_json
from polywheel.model.matrix import Target
from polywheel.model.plan import Job, Plan, Removal

SHAPE = 1
"""The version of what ``--diff --json`` prints."""
_TARGET_FIELDS = (
    *("runner", "image", "platform_tags", "environment", "repair_command", "test_command"),
    *("memory_per_job", "job_timeout"),
)
Cell = tuple[str | None, str, str]
"""Label, Python, target."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is otherwise than before."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """From one plan to another; jobs are the same where their ids are."""

    added: tuple[Job, ...]
    removed: tuple[tuple[Job, Removal | None], ...]
    """With what removes them now, where that is a rule."""

    changed: Mapping[str, tuple[Change, ...]]
    """By id."""

    targets: Mapping[str, tuple[Change, ...]]
    """Targets of both plans that are otherwise, by name: where and how their jobs run."""

    counts: tuple[Change, ...]
    """How many jobs and builds there were, and are."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.targets)


def difference(before: Plan, after: Plan) -> Difference:
    """What makes one plan the other. Where a rule stands in its file makes no difference."""
    old = {job.id: job for job in before.jobs}
    new = {job.id: job for job in after.jobs}
    rules = {(one.label, one.python, one.target): one for one in after.removed}
    together = [_together(plan, {*old} & {*new}) for plan in (before, after)]
    changed = {}
    for identifier in [one for one in new if one in old]:
        changes = [*_changes(old[identifier], new[identifier])]
        was, is_now = (one[identifier] for one in together)
        if was != is_now:
            changes.append(Change("built together with", _few(was - is_now), _few(is_now - was)))
        if changes:
            changed[identifier] = tuple(changes)
    return Difference(
        added=tuple(job for job in after.jobs if job.id not in old),
        removed=tuple((job, _rule(job, rules)) for job in before.jobs if job.id not in new),
        changed=changed,
        targets={
            name: found
            for name, one in after.targets.items()
            if name in before.targets
            and (found := tuple(_target_changes(before.targets[name], one)))
        },
        counts=(
            Change("jobs", str(len(before.jobs)), str(len(after.jobs))),
            Change("builds", str(len(before.builds)), str(len(after.builds))),
        ),
    )


def _rule(job: Job, rules: Mapping[Cell, Removal]) -> Removal | None:
    """What removed a cell that the job was for."""
    cells = ((job.label, python, target) for target in job.targets for python in job.pythons)
    return next((rules[cell] for cell in cells if cell in rules), None)


def _together(plan: Plan, common: set[str]) -> dict[str, frozenset[str]]:
    """For each job, those of its build that are in both plans, itself among them.

    A build that is one job more or less does not change all the others of it.
    """
    found: dict[str, frozenset[str]] = {}
    for build in plan.builds:
        members = frozenset(one for one in build.jobs if one in common)
        found |= dict.fromkeys(members, members)
    return found


def _few(names: frozenset[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - 3} more" if len(ordered) > 3 else ""
    return ", ".join(ordered[:3]) + more


def _changes(before: Job, after: Job) -> Iterator[Change]:
    for what in ("properties", "axes", "pythons", "targets"):
        was, is_now = getattr(before, what), getattr(after, what)
        if was != is_now:
            yield Change(what, _spelled(was), _spelled(is_now))


def _target_changes(before: Target, after: Target) -> Iterator[Change]:
    for what in _TARGET_FIELDS:
        was, is_now = getattr(before, what), getattr(after, what)
        if was != is_now:
            yield Change(what.replace("_", "-"), _spelled(was), _spelled(is_now))


def _spelled(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {one}" for key, one in sorted(value.items()))
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def difference_as_json(found: Difference) -> dict[str, Any]:
    """The shape of ``polywheel matrix --diff PLAN.json --json``."""
    return {
        "shape": SHAPE,
        "added": [job_as_json(job) for job in found.added],
        "removed": [
            {**job_as_json(job), "removed_by": rule.by if rule else None}
            | {"removed_at": rule.at if rule else None}
            for job, rule in found.removed
        ],
        "changed": [_as_json("id", *one) for one in found.changed.items()],
        "targets": [_as_json("target", *one) for one in found.targets.items()],
        **{one.what: {"before": int(one.before), "after": int(one.after)} for one in found.counts},
    }


def _as_json(key: str, name: str, changes: tuple[Change, ...]) -> dict[str, Any]:
    return {
        key: name,
        "changes": [
            {"what": one.what, "before": one.before, "after": one.after} for one in changes
        ],
    }


def difference_as_lines(found: Difference) -> Iterator[str]:
    """The same for people; a line a job, ``+``, ``-`` or ``~`` in front, and a summary."""
    for job in found.added:
        yield f"+ {job.id}  {_of(job)}"
    for job, rule in found.removed:
        by = f"  ({rule.by}: {rule.at})" if rule else ""
        yield f"- {job.id}  {_of(job)}{by}"
    for name, changes in [*found.changed.items(), *found.targets.items()]:
        yield f"~ {name}"
        for one in changes:
            yield f"    {one.what}: {one.before or 'none'} → {one.after or 'none'}"
    what = f"added {len(found.added)}, removed {len(found.removed)}, changed {len(found.changed)}"
    if found.targets:
        what += f", targets changed {len(found.targets)}"
    counts = "; ".join(f"{one.what} {one.before} → {one.after}" for one in found.counts)
    yield f"{what}; {counts}"


def _of(job: Job) -> str:
    return ", ".join(map(str, job.properties)) or "no properties"
