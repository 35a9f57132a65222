"""Find variants whose build setups turn out to be equal after the plugins were asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from polywheel.model.plan import EqualVariants, Plan
from polywheel.run.outcome import PRESENT, WARNING, Outcome, State, merge_messages
from polywheel.run.worker.protocol import Message

Compare = Callable[[Sequence[Sequence[str]]], Iterable[EqualVariants]]
"""Takes groups of job ids with equal build setups. Returns the groups that are a problem."""


def report_equal_setups(plan: Plan, outcomes: Iterable[Outcome], compare: Compare) -> list[Outcome]:
    """Return the outcomes, with warnings about variants whose equal setups are not declared.

    If this is an error, these builds become failed builds: their files stay in the output
    directory, but the outcomes do not list them.
    """
    reported = list(outcomes)
    setups = {
        wheel.job: wheel.setup for outcome in reported for wheel in outcome.wheels if wheel.setup
    }
    for equal in compare(group_by_setup(plan, setups)):
        reported = [_with_message(outcome, equal) for outcome in reported]
    return reported


def group_by_setup(plan: Plan, setups: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Group the jobs with the same Python, target, and build setup, in the order of the plan.

    ``setups`` has the digest of the build setup of each job, by its id. Groups of one job are left
    out.
    """
    builds = {build.id: build for build in plan.builds}
    groups: dict[tuple[str, str, str], list[str]] = {}
    for job in plan.jobs:
        if job.id in setups:
            build = builds[job.build]
            groups.setdefault((build.target, build.python, setups[job.id]), []).append(job.id)
    return [tuple(ids) for ids in groups.values() if len(ids) > 1]


def _with_message(outcome: Outcome, equal: EqualVariants) -> Outcome:
    """Return an outcome with the warning or the error about its jobs."""
    jobs = tuple(wheel.job for wheel in outcome.wheels if wheel.job in equal.jobs)
    if not jobs:
        return outcome
    if equal.is_error:
        remaining = replace(
            outcome, wheels=tuple(wheel for wheel in outcome.wheels if wheel.job not in jobs)
        )
        if outcome.state not in PRESENT:
            return remaining  # it has an error of its own
        error = f"{equal}; strict = true makes this an error"
        # Without its log, which does not have this error.
        return replace(remaining, state=State.FAILED, error=error, log=None)
    message = Message(f"{WARNING}{equal}", jobs)
    return replace(outcome, messages=merge_messages((*outcome.messages, message)))
