"""Variants that turned out to ask the same of their builds, once plugins had been asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from polywheel.model.plan import EqualVariants, Plan
from polywheel.run.existing_wheels import PRESENT, WARNING, Message, Outcome, State, merged

Compare = Callable[[Sequence[Sequence[str]]], Iterable[EqualVariants]]
"""From sets of jobs, by id, that asked the same of their builds to those that should not."""


def with_equal_setups(plan: Plan, outcomes: Iterable[Outcome], compare: Compare) -> list[Outcome]:
    """The outcomes, with a warning at builds of variants that asked the same without saying so.

    Where that is an error, these builds have failed: their wheels stay where they are, but the
    outcomes do not have them any more.
    """
    found = list(outcomes)
    setups = {wheel.job: wheel.setup for one in found for wheel in one.wheels if wheel.setup}
    for equal in compare(same_setups(plan, setups)):
        found = [_with(one, equal) for one in found]
    return found


def same_setups(plan: Plan, setups: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Sets of jobs with one Python and target that ask the same of their builds, in plan order.

    ``setups`` has the digest of what each job asks, by its id.
    """
    builds = {build.id: build for build in plan.builds}
    sets: dict[tuple[str, str, str], list[str]] = {}
    for job in plan.jobs:
        if job.id in setups:
            build = builds[job.build]
            sets.setdefault((build.target, build.python, setups[job.id]), []).append(job.id)
    return [tuple(one) for one in sets.values() if len(one) > 1]


def _with(outcome: Outcome, equal: EqualVariants) -> Outcome:
    """An outcome with what is said of its jobs."""
    jobs = tuple(wheel.job for wheel in outcome.wheels if wheel.job in equal.jobs)
    if not jobs:
        return outcome
    if equal.is_error:
        left = replace(
            outcome, wheels=tuple(wheel for wheel in outcome.wheels if wheel.job not in jobs)
        )
        if outcome.state not in PRESENT:
            return left  # it has an error of its own
        error = f"{equal}; strict = true makes this an error"
        # Without its log, which does not say this.
        return replace(left, state=State.FAILED, error=error, log=None)
    message = Message(f"{WARNING}{equal}", jobs)
    return replace(outcome, messages=merged((*outcome.messages, message)))
