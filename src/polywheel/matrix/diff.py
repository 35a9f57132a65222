"""The difference of two plans, for the review of a change of the matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from polywheel.matrix.plan_json import job_as_json
from polywheel.model.matrix import BuildSettings, Credentials
from polywheel.model.plan import Build, Job, Plan, Removal
from polywheel.system.terminal import join_first

SHAPE = 1
"""The version of the output of ``--diff --json``."""
_TARGET_FIELDS = ("platform", "platform_tags", "markers")
_SETTINGS = tuple(field.name for field in fields(BuildSettings))
_MAX_NAMED_JOBS = 3


@dataclass(frozen=True, slots=True)
class Change:
    """One changed value."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The difference of two plans. Jobs are compared by id."""

    added: tuple[Job, ...]
    removed: tuple[tuple[Job, Removal | None], ...]
    """Each with the rule that removes it, if there is one."""

    changed: Mapping[str, tuple[Change, ...]]
    """By id."""

    targets: Mapping[str, tuple[Change, ...]]
    """The changed settings of targets that both plans have, by name."""

    priorities: tuple[Change, ...]
    """The order of the namespaces, if it changed."""

    counts: tuple[Change, ...]
    """The numbers of jobs and builds."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.targets or self.priorities)


def difference(before: Plan, after: Plan) -> Difference:
    """The difference of two plans. The position of a rule in its file has no effect.

    Build setups are compared if both plans have them.
    """
    old = {job.id: job for job in before.jobs}
    new = {job.id: job for job in after.jobs}
    rules = {(rule.label, rule.python, rule.target): rule for rule in after.removed}
    together = [_built_together(plan, {*old} & {*new}) for plan in (before, after)]
    builds_before, builds_after = _build_of_job(before), _build_of_job(after)
    changed = {}
    for identifier in (identifier for identifier in new if identifier in old):
        fields = ("properties", "axes", "pythons", "targets")
        changes = [*_changes(old[identifier], new[identifier], fields)]
        was, is_now = (jobs[identifier] for jobs in together)
        if was != is_now:
            lost, gained = join_first(sorted(was - is_now), 3), join_first(sorted(is_now - was), 3)
            changes.append(Change("built together with", lost, gained))
        build_before, build_after = builds_before[identifier], builds_after[identifier]
        changes += _settings_of_job(
            build_before.settings,
            before.targets[build_before.target].settings,
            build_after.settings,
            after.targets[build_after.target].settings,
        )
        if build_before.setup is not None and build_after.setup is not None:
            changes += _setup_changes(build_before.setup, build_after.setup)
        if changes:
            changed[identifier] = tuple(changes)
    targets = {
        name: (
            *_changes(before.targets[name], target, _TARGET_FIELDS),
            *_changes(before.targets[name].settings, target.settings, _SETTINGS),
        )
        for name, target in after.targets.items()
        if name in before.targets
    }
    return Difference(
        added=tuple(job for job in after.jobs if job.id not in old),
        removed=tuple((job, _rule(job, rules)) for job in before.jobs if job.id not in new),
        changed=changed,
        targets={name: changes for name, changes in targets.items() if changes},
        priorities=tuple(_changes(before, after, ("namespaces",))),
        counts=(
            Change("jobs", str(len(before.jobs)), str(len(after.jobs))),
            Change("builds", str(len(before.builds)), str(len(after.builds))),
        ),
    )


def _rule(job: Job, rules: Mapping[tuple[str | None, str, str], Removal]) -> Removal | None:
    """The rule that removed a cell of a job. The keys of ``rules`` are label, Python, and target."""
    cells = ((job.label, python, target) for target in job.targets for python in job.pythons)
    return next((rules[cell] for cell in cells if cell in rules), None)


def _built_together(plan: Plan, common: set[str]) -> dict[str, frozenset[str]]:
    """For each job, the jobs of its build that both plans have, including itself.

    An added or removed job of a build does not change the other jobs.
    """
    together: dict[str, frozenset[str]] = {}
    for build in plan.builds:
        members = common.intersection(build.jobs)
        together |= dict.fromkeys(members, frozenset(members))
    return together


def _build_of_job(plan: Plan) -> dict[str, Build]:
    return {job: build for build in plan.builds for job in build.jobs}


def _settings_of_job(
    before: BuildSettings, target_before: BuildSettings, after: BuildSettings, target: BuildSettings
) -> Iterator[Change]:
    """The changed settings of a job, except those that changed as its target did."""
    for key in _SETTINGS:
        of_target = (getattr(target_before, key), getattr(target, key))
        if (getattr(before, key), getattr(after, key)) != of_target:
            yield from _changes(before, after, (key,))


def _setup_changes(
    before: Mapping[str, tuple[str, ...]], after: Mapping[str, tuple[str, ...]]
) -> Iterator[Change]:
    """The changed values of a build setup."""
    for name in sorted({*before, *after}):
        was, is_now = _value(before, name), _value(after, name)
        if was != is_now:
            yield Change(f"setup.{name}", value_as_text(was), value_as_text(is_now))


def _value(setup: Mapping[str, tuple[str, ...]], name: str) -> tuple[str, ...]:
    """A value of a setup. The value for a family of compilers is listed only if it differs from the others."""
    if name in setup or not name.startswith("compiler."):
        return setup.get(name, ())
    return setup.get(name.split(".", 2)[2], ())


def _changes(before: object, after: object, fields: Iterable[str]) -> Iterator[Change]:
    for field in fields:
        was, is_now = getattr(before, field), getattr(after, field)
        if was != is_now:
            yield Change(field.replace("_", "-"), value_as_text(was), value_as_text(is_now))


def value_as_text(value: object) -> str:
    """A setting or a property of a job as text; "" for None."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {item}" for key, item in sorted(value.items()))
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, Credentials):
        return f"{value.username}, secret {value.password_secret}"
    return "" if value is None else str(value)


def difference_as_json(diff: Difference) -> dict[str, Any]:
    """The output of ``polywheel matrix --diff PLAN.json --json``."""
    return {
        "shape": SHAPE,
        "added": [job_as_json(job) for job in diff.added],
        "removed": [
            {**job_as_json(job), "removed_by": rule.by if rule else None}
            | {"removed_at": rule.at if rule else None}
            for job, rule in diff.removed
        ],
        "changed": [_as_json("id", *item) for item in diff.changed.items()],
        "targets": [_as_json("target", *item) for item in diff.targets.items()],
        "priorities": _changes_as_json(diff.priorities),
        **{c.what: {"before": int(c.before), "after": int(c.after)} for c in diff.counts},
    }


def _as_json(key: str, name: str, changes: tuple[Change, ...]) -> dict[str, Any]:
    return {key: name, "changes": _changes_as_json(changes)}


def _changes_as_json(changes: tuple[Change, ...]) -> list[dict[str, str]]:
    return [{"what": c.what, "before": c.before, "after": c.after} for c in changes]


def difference_as_lines(diff: Difference) -> Iterator[str]:
    """The same as text: lines that begin with ``+``, ``-``, or ``~``, and a summary.

    Jobs with the same changes are in one line.
    """
    for job in diff.added:
        yield f"+ {job.id}  {_properties(job)}"
    for job, rule in diff.removed:
        by = f"  ({rule.by}: {rule.at})" if rule else ""
        yield f"- {job.id}  {_properties(job)}{by}"
    jobs_by_changes: dict[tuple[Change, ...], list[str]] = {}
    for identifier, changes in diff.changed.items():
        jobs_by_changes.setdefault(changes, []).append(identifier)
    changed = [(join_first(ids, _MAX_NAMED_JOBS), c) for c, ids in jobs_by_changes.items()]
    changed += diff.targets.items()
    changed += [("variant.default-priorities", diff.priorities)] if diff.priorities else []
    for names, changes in changed:
        yield f"~ {names}"
        for change in changes:
            yield f"    {change.what}: {change.before or 'none'} → {change.after or 'none'}"
    what = f"added {len(diff.added)}, removed {len(diff.removed)}, changed {len(diff.changed)}"
    if diff.targets:
        what += f", targets changed {len(diff.targets)}"
    counts = "; ".join(f"{c.what} {c.before} → {c.after}" for c in diff.counts)
    yield f"{what}; {counts}"


def _properties(job: Job) -> str:
    return ", ".join(map(str, job.properties)) or "no properties"
