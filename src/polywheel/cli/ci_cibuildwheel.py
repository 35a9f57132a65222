"""``polywheel ci cibuildwheel``: the runs of cibuildwheel for the wheels of a plan."""

from __future__ import annotations

from polywheel.ci.cibuildwheel import CibuildwheelRun
from polywheel.cli import say
from polywheel.config.matrix_table import read_matrix
from polywheel.config.project import PYPROJECT, Project
from polywheel.errors import ConfigError
from polywheel.model.plan import Plan
from polywheel.run.executors.cibuildwheel_options import (
    by_variant,
    check_backend,
    cibuildwheel_tables,
    cibuildwheel_variables,
    require_platform,
)


def plan_runs(project: Project, plan: Plan) -> list[CibuildwheelRun]:
    """A run for each variant and target. Raises ConfigError if cibuildwheel can't build them."""
    _check_project(project)
    plan = by_variant(plan)
    tables = cibuildwheel_tables(project.document)
    runs = []
    for build in plan.builds:
        jobs = [job for job in plan.jobs if job.build == build.id]
        target = plan.targets[build.target]
        platform = require_platform(
            build.target, at=target.at, hint="polywheel ci github supports any target"
        )
        environment = cibuildwheel_variables(
            jobs, target, platform, settings={}, environment={}, tables=tables, environ={}
        )
        label, runner = jobs[0].label, target.runner or ""
        runs.append(
            CibuildwheelRun(target=target.name, runner=runner, label=label, variables=environment)
        )
    return runs


def _check_project(project: Project) -> None:
    check_backend(project)
    if project.file != PYPROJECT:
        raise ConfigError(
            f"cibuildwheel can't read the tables in {project.file}",
            hint=f"move them to {PYPROJECT}, or use polywheel ci github",
        )
    matrix, _ = read_matrix(project)
    for key, values in (("python", matrix.python), ("targets", matrix.targets)):
        if not values:
            say(f"note: the matrix does not set {key}: the workflow has the value of this machine")
