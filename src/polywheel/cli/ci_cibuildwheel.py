"""What ``polywheel ci cibuildwheel`` writes down: the runs of cibuildwheel that make a plan's wheels."""

from __future__ import annotations

from polywheel.ci.cibuildwheel import Run
from polywheel.cli import say
from polywheel.config.matrix_table import read_matrix
from polywheel.config.project import PYPROJECT, Project
from polywheel.errors import ConfigError
from polywheel.model.plan import Plan
from polywheel.run.cibuildwheel import by_variant, place_of, tables_of, variables

_OURS = "polywheel.backend"


def runs_of(project: Project, plan: Plan) -> list[Run]:
    """A run for each variant and target. Raises ConfigError where cibuildwheel can't make them."""
    _check(project)
    plan = by_variant(plan)
    tables = tables_of(project.document)
    runs = []
    for build in plan.builds:
        jobs = [job for job in plan.jobs if job.build == build.id]
        place, target = place_of(build.target), plan.targets[build.target]
        if place is None:
            raise ConfigError(
                f"cibuildwheel does not know the target {build.target!r}",
                at=target.at,
                hint="polywheel ci github builds for any",
            )
        told = variables(jobs, target, place, settings={}, environment={}, tables=tables, said={})
        label, runner = jobs[0].label, target.runner or ""
        runs.append(Run(target=target.name, runner=runner, label=label, variables=told))
    return runs


def _check(project: Project) -> None:
    backend = project.build_system.build_backend
    if backend != _OURS:
        raise ConfigError(
            f"cibuildwheel asks the backend for a variant, and this is {backend or 'not named'}",
            at=f"{PYPROJECT}: build-system.build-backend",
            hint=f'build-backend = "{_OURS}"; polywheel init shows all of it',
        )
    if project.file != PYPROJECT:
        raise ConfigError(
            f"the tables of {project.file} are unknown to the builds of cibuildwheel",
            hint=f"have them in {PYPROJECT}, or use polywheel ci github",
        )
    matrix, _ = read_matrix(project)
    for key, said in (("python", matrix.python), ("targets", matrix.targets)):
        if not said:
            say(f"note: the matrix names no {key}: the file has what this machine is")
