"""Choose the executor of a run."""

from __future__ import annotations

from collections.abc import Mapping

from polywheel.config.reader import Problems
from polywheel.errors import BuildError
from polywheel.matrix.cibuildwheel_platforms import serves
from polywheel.model.plan import Build, Plan
from polywheel.model.setup import BuildSetup
from polywheel.model.variant import Variant
from polywheel.run.context import RunContext
from polywheel.run.executors.cibuildwheel import create_cibuildwheel_executor
from polywheel.run.executors.cibuildwheel_options import by_variant
from polywheel.run.executors.create_local import create_local_executor
from polywheel.run.executors.protocol import BuildExecutor
from polywheel.setup.resolve import resolve_setup


def plan_for_executor(plan: Plan, here: str, *, cibuildwheel: bool) -> tuple[Plan, list[Build]]:
    """Return the plan as the executor runs it, and its builds for the target ``here``.

    With cibuildwheel, one build is one variant for all Pythons. Raises BuildError if the plan has
    builds, but none for this machine.
    """
    if cibuildwheel:
        plan = by_variant(plan)
        builds = [build for build in plan.builds if serves(here, plan.platform_of(build.target))]
    else:
        builds = plan.builds_for(here)
    if plan.builds and not builds:
        targets = sorted({plan.platform_of(build.target) for build in plan.builds})
        raise BuildError(
            f"no build is for this machine: it is {here}, and the builds are for "
            + ", ".join(targets),
            hint="run the command on such a machine; polywheel matrix lists the targets",
        )
    return plan, builds


def create_executor(run: RunContext) -> tuple[BuildExecutor, Mapping[str, str]]:
    """Return the executor of a run, and why each missing version of Python is not available.

    Raises ConfigError and BuildError.
    """
    setups = _resolve_setups(run)
    if run.options.cibuildwheel is not None:
        return create_cibuildwheel_executor(run, setups), {}
    return create_local_executor(run)


def _resolve_setups(run: RunContext) -> dict[Variant, BuildSetup]:
    """Return the build setups of the variants, as far as they do not depend on plugins.

    Raises ConfigError with the problems of all variants, before the first build.
    """
    here = {job for build in run.builds for job in build.jobs}
    setups = {}
    problems = Problems()
    for job in run.plan.jobs:
        if job.id not in here or job.label is None:
            continue
        variant = Variant(job.properties, job.label)
        if variant not in setups:
            setups[variant] = problems.attempt(
                resolve_setup,
                run.prepared.project,
                run.prepared.choice,
                variant,
                python=None,
                notify=lambda _: None,
            )
    problems.found = list(dict.fromkeys(problems.found))
    problems.raise_all()
    return {variant: resolved.setup for variant, resolved in setups.items() if resolved}
