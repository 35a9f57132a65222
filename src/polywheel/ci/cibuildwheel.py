"""A GitHub Actions workflow with one run of cibuildwheel for each variant and target.

The workflow contains the matrix, unlike the workflow of ``polywheel ci github``. Each run is
configured with ``CIBW_*`` variables. Only cibuildwheel takes part in the build.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from polywheel.ci.github import WorkflowSettings, template_values
from polywheel.ci.plan_formats import GITHUB_MOST, require_runner
from polywheel.ci.rendering import render_template
from polywheel.config.matrix_table import read_matrix
from polywheel.config.project import PYPROJECT, Project
from polywheel.config.reader import Problems
from polywheel.errors import ConfigError
from polywheel.model.plan import NON_VARIANT, Plan
from polywheel.run.executors.cibuildwheel_options import (
    by_variant,
    check_backend,
    cibuildwheel_tables,
    cibuildwheel_variables,
    platform_variables,
)
from polywheel.run.executors.cibuildwheel_platforms import (
    check_image,
    check_jobs,
    check_skip,
    read_pinned,
    require_platform,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CibuildwheelRun:
    """One run of cibuildwheel."""

    target: str
    runner: tuple[str, ...]
    label: str | None
    """None for the non-variant wheels."""

    variables: Mapping[str, str]
    """The ``CIBW_*`` variables."""

    @property
    def artifact(self) -> str:
        """The artifact with its wheels. In one artifact, variants would overwrite each other."""
        return f"wheels-{self.target}-{self.label or NON_VARIANT}"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunGroup:
    """Runs of one target that have the same variables, apart from the values of some."""

    id: str
    """The identifier of the job."""

    runs: tuple[CibuildwheelRun, ...]
    same: Mapping[str, str]
    """The variables with the same value in every run. A missing variable differs from an empty one,
    which means "none" to cibuildwheel.
    """

    different: tuple[str, ...]
    """The names of the variables whose values differ. Each run has all of them."""

    @property
    def target(self) -> str:
        return self.runs[0].target

    @property
    def runner(self) -> str | list[str]:
        return require_runner(self.target, self.runs[0].runner)


def plan_runs(
    project: Project, plan: Plan, *, notify: Callable[[str], None]
) -> list[CibuildwheelRun]:
    """Return a run for each variant and target. Raises ConfigError if cibuildwheel can't build them."""
    check_backend(project)
    if project.file != PYPROJECT:
        raise ConfigError(
            f"cibuildwheel can't read the tables in {project.file}",
            hint=f"move them to {PYPROJECT}, or use polywheel ci github",
        )
    matrix = read_matrix(project).matrix
    for key, values in (("python", matrix.python), ("targets", matrix.targets)):
        if not values:
            notify(
                f"note: the matrix does not set {key}: the workflow has the value of this machine"
            )
    plan = by_variant(plan)
    tables = cibuildwheel_tables(project.document)
    python_at = {
        python: f"{matrix.at}.python[{index}]" for index, python in enumerate(matrix.python)
    }
    problems = Problems()
    runs = []
    for build in plan.builds:
        jobs = [job for job in plan.jobs if job.build == build.id]
        target = plan.targets[build.target]
        platform = problems.attempt(
            require_platform,
            plan.platform_of(build.target),
            at=target.at,
            hint="polywheel ci github supports any target",
        )
        if platform is None:
            continue
        problems.found += [
            *check_jobs(jobs, platform, python_at=python_at),
            *check_skip(jobs, platform, tables, at=f"{project.file}: tool.cibuildwheel.skip"),
            *check_image(
                build.settings.image,
                platform,
                at=f"{build.set_by.get('image', target.at)}.image",
            ),
        ]
        variables = cibuildwheel_variables(
            jobs,
            build.settings,
            platform,
            at=target.at,
            settings={},
            environment={},
            tables=tables,
            environ={},
        )
        runs.append(
            CibuildwheelRun(
                target=target.name,
                runner=build.settings.runner or (),
                label=jobs[0].label,
                variables={**platform_variables(platform), **variables},
            )
        )
    problems.found = list(dict.fromkeys(problems.found))
    problems.raise_all()
    return runs


def cibuildwheel_workflow(
    settings: WorkflowSettings, runs: Sequence[CibuildwheelRun], *, plain: bool
) -> str:
    """Return the workflow. ``plain``: there are non-variant wheels. Raises ConfigError."""
    for run in runs:
        require_runner(run.target, run.runner)
    return render_template(
        "cibuildwheel.yml.j2",
        **template_values(settings),
        version=read_pinned().version,
        groups=group_runs(runs),
        finalize=[
            *(f"collected/{run.artifact}" for run in runs),
            "--output=dist",
            "--keep-going",
            *(["--plain"] if plain else []),
        ],
    )


def group_runs(runs: Sequence[CibuildwheelRun]) -> list[RunGroup]:
    """Group the runs by target, runner, and the names of their variables.

    All entries of a matrix must have the same variables.
    """
    by_variables: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[CibuildwheelRun]] = {}
    for run in runs:
        by_variables.setdefault((run.target, run.runner, tuple(sorted(run.variables))), []).append(
            run
        )
    ids: set[str] = set()
    groups = []
    for (target, _, names), members in by_variables.items():
        for start in range(0, len(members), GITHUB_MOST):
            part = members[start : start + GITHUB_MOST]
            same = {
                name: part[0].variables[name]
                for name in names
                if len({run.variables[name] for run in part}) == 1
            }
            groups.append(
                RunGroup(
                    id=_unused_job_id(target, ids),
                    runs=tuple(part),
                    same=same,
                    different=tuple(name for name in names if name not in same),
                )
            )
    return groups


def _unused_job_id(target: str, taken: set[str]) -> str:
    """Return an unused job identifier (letters, digits, hyphens), and add it to ``taken``."""
    base = "build-" + re.sub(r"[^A-Za-z0-9-]", "-", target)
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    taken.add(name)
    return name
