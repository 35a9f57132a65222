"""A GitHub Actions workflow with one run of cibuildwheel for each variant and target.

The workflow contains the matrix, unlike the workflow of ``polywheel ci github``. Each run is
configured with ``CIBW_*`` variables. Only cibuildwheel takes part in the build. A CI job has one run,
or several that start one after the other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from polywheel.ci.github import Workflow, template_values
from polywheel.ci.plan_formats import GITHUB_MOST, require_runner, runner_value
from polywheel.ci.rendering import render_template
from polywheel.ci.time_limits import AFTER_THE_BUILD, BuildJob, github_job_minutes
from polywheel.config.matrix_table import read_matrix
from polywheel.config.project import PYPROJECT, Project
from polywheel.config.reader import Problems
from polywheel.errors import ConfigError
from polywheel.matrix.cibuildwheel_platforms import (
    check_jobs,
    check_skip,
    read_pinned,
    require_platform,
)
from polywheel.matrix.shards import pack
from polywheel.model.matrix import BuildSettings, Credentials
from polywheel.model.plan import NON_VARIANT, Build, Plan
from polywheel.run.executors.cibuildwheel_options import (
    PROJECT,
    by_variant,
    check_backend,
    check_settings,
    cibuildwheel_tables,
    cibuildwheel_variables,
    platform_variables,
    unused_settings,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """The login at a registry of images."""

    registry: str
    credentials: Credentials


_CHECKOUT = "$GITHUB_WORKSPACE"
"""The folder in which cibuildwheel runs: the root of the repository."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CibuildwheelRun:
    """One run of cibuildwheel."""

    name: str
    """The name of the folder with its wheels. In one folder, variants would overwrite each other."""

    target: str
    runner: tuple[str, ...]
    label: str | None
    """None for the non-variant wheels."""

    variables: Mapping[str, str]
    """The ``CIBW_*`` variables."""

    login: Login | None = None
    """The login for its image."""

    seconds: int | None = None
    """Its time limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """An entry of a matrix: a CI job."""

    runs: tuple[CibuildwheelRun, ...]

    @property
    def artifact(self) -> str:
        """The name of the job and of its artifact."""
        others = len(self.runs) - 1
        return self.runs[0].name + (f"-and-{others}-more" if others else "")

    @property
    def build_job(self) -> BuildJob:
        """The CI job, for checks of its time limit."""
        limits = [run.seconds for run in self.runs]
        return BuildJob(name=self.artifact, runner=self.runs[0].runner, limits=limits)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkflowJob:
    """A job of the workflow, with a matrix."""

    id: str
    runner: str | list[str]
    entries: tuple[Entry, ...]
    login: Login | None
    same: Mapping[str, str]
    """The variables with the same value in every run. A missing variable differs from an empty one,
    which means "none" to cibuildwheel.
    """

    minutes: int
    """The time limit of each entry."""

    @property
    def build_minutes(self) -> int:
        """The time limit of the step that runs cibuildwheel. The next step uploads what is finished."""
        return self.minutes - AFTER_THE_BUILD


def plan_entries(
    project: Project,
    plan: Plan,
    *,
    source: str,
    max_jobs: int | None,
    compiler_cache: str = "off",
    notify: Callable[[str], None],
) -> list[Entry]:
    """Return the runs, one for each variant and target, in at most ``max_jobs`` entries.

    ``source`` is the folder of the project, relative to the root of the repository. Without
    ``max_jobs``, an entry has one run. Raises ConfigError if cibuildwheel can't build them.
    """
    plan = by_variant(plan)
    runs = _plan_runs(project, plan, source=source, compiler_cache=compiler_cache, notify=notify)
    packs = pack(plan, max_jobs or len(plan.builds), {})
    return [Entry(runs=tuple(runs[build.id] for build in pack.builds)) for pack in packs]


def _plan_runs(
    project: Project,
    plan: Plan,
    *,
    source: str,
    compiler_cache: str,
    notify: Callable[[str], None],
) -> dict[str, CibuildwheelRun]:
    """Return the runs by the build of a plan (`by_variant`).

    Raises ConfigError if cibuildwheel can't build them.
    """
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
    for note in unused_settings(plan, plan.builds):
        notify(note)
    tables = cibuildwheel_tables(project.document)
    python_at = {
        python: f"{matrix.at}.python[{index}]" for index, python in enumerate(matrix.python)
    }
    names = Counter(_run_name(plan, build) for build in plan.builds)
    inner = source.removeprefix(".").replace("$", "$$")
    problems = Problems()
    runs = {}
    for build in plan.builds:
        jobs = [job for job in plan.jobs if job.build == build.id]
        target, settings = plan.targets[build.target], build.settings
        runner = problems.attempt(require_runner, plan, build)
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
            *check_settings(plan, build, platform),
        ]
        variables = cibuildwheel_variables(
            jobs,
            plan.settings_of(jobs[0]),
            platform,
            config_settings={},
            environment={},
            project=(PROJECT if platform.in_container else _CHECKOUT) + inner,
            folder=source,
            tables=tables,
            compiler_cache=compiler_cache,
            environ={},
        )
        name = _run_name(plan, build)
        runs[build.id] = CibuildwheelRun(
            name=name if names[name] == 1 else f"wheels-{build.id}",
            target=target.name,
            runner=runner or (),
            label=jobs[0].label,
            variables={**platform_variables(platform), **variables},
            login=_login(settings) if platform.in_container else None,
            seconds=None if settings.job_timeout is None else ceil(settings.job_timeout),
        )
    problems.found = list(dict.fromkeys(problems.found))
    problems.raise_all()
    return runs


def _run_name(plan: Plan, build: Build) -> str:
    """Return the name of a run, unless its variant has several runs with different settings."""
    job = plan.job(build.jobs[0])
    return f"wheels-{build.target}-{(job and job.label) or NON_VARIANT}"


def cibuildwheel_workflow(workflow: Workflow, entries: Sequence[Entry]) -> str:
    """Return the workflow. Raises ConfigError for a target without a runner."""
    runs = [run for entry in entries for run in entry.runs]
    logins = [run.login.credentials for run in runs if run.login is not None]
    return render_template(
        "cibuildwheel.yml.j2",
        **template_values(workflow, selectable=False, logins=logins),
        version=read_pinned().version,
        builds=workflow_jobs(entries, minutes=workflow.settings.timeout_minutes),
        finalize=[
            *(f"collected/{run.name}" for run in runs),
            "--output=dist",
            "--keep-going",
            *(["--plain"] if any(run.label is None for run in runs) else []),
        ],
    )


def workflow_jobs(entries: Sequence[Entry], *, minutes: int) -> list[WorkflowJob]:
    """Return the jobs of the workflow. ``minutes`` are their time limit, unless runs may take longer.

    The entries of a job have the same target, runner, and login.
    """
    groups: dict[tuple[object, ...], list[Entry]] = {}
    for entry in entries:
        first = entry.runs[0]
        key = (first.target, first.runner, first.login)
        groups.setdefault(key, []).append(entry)
    ids: set[str] = set()
    jobs = []
    for members in groups.values():
        first = members[0].runs[0]
        for start in range(0, len(members), GITHUB_MOST):
            part = tuple(members[start : start + GITHUB_MOST])
            variables = [run.variables.items() for entry in part for run in entry.runs]
            jobs.append(
                WorkflowJob(
                    id=_unused_job_id(first.target, ids),
                    runner=runner_value(first.runner),
                    entries=part,
                    login=first.login,
                    minutes=max(
                        github_job_minutes(minutes, first.runner, entry.build_job.limits)
                        for entry in part
                    ),
                    same={
                        name: text
                        for name, text in variables[0]
                        if all((name, text) in others for others in variables)
                    },
                )
            )
    return jobs


def _login(settings: BuildSettings) -> Login | None:
    """Return the login for the image of a build.

    As for docker, the first part of a name is a registry if it has a dot or a colon.
    """
    if settings.container_credentials is None:
        return None
    first, slash, _ = (settings.image or "").partition("/")
    registry = first if slash and (set(first) & set(".:") or first == "localhost") else "docker.io"
    return Login(registry=registry, credentials=settings.container_credentials)


def _unused_job_id(target: str, taken: set[str]) -> str:
    """Return an unused job identifier (letters, digits, hyphens), and add it to ``taken``."""
    base = "build-" + re.sub(r"[^A-Za-z0-9-]", "-", target)
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    taken.add(name)
    return name
