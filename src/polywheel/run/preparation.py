"""Prepare a run: open the source, read the project, and expand or check the plan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from polywheel.config.project import Project, read_project
from polywheel.errors import ConfigError
from polywheel.matrix.expansion import expand_project, is_machine_independent, labels_anywhere
from polywheel.model.plan import Plan
from polywheel.model.setup import BackendChoice
from polywheel.run.source.snapshot import open_source_tree
from polywheel.run.stale_wheels import FullPlan
from polywheel.setup.profiles import choose_backend


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedRun:
    """A project whose source is open, with its whole plan."""

    source: Path
    """The folder or the sdist that the user named."""

    tree: Path
    """The folder that the project is read and built from."""

    project: Project
    choice: BackendChoice
    plan: Plan
    full_plan: FullPlan
    """Everything that is planned."""


@contextmanager
def prepare_run(
    source: Path,
    *,
    config: Path | None = None,
    plan: Plan | None = None,
    plan_name: str = "plan",
    clean: bool = False,
    fresh: bool = False,
) -> Iterator[PreparedRun]:
    """Open a source: a project's folder, or an sdist.

    ``config`` is a file whose tables replace those of pyproject.toml. ``plan`` replaces the plan of
    the project's own matrix; ``plan_name`` names it in messages. ``clean`` builds what is
    committed, ``fresh`` unpacks an sdist again. Raises ConfigError and BuildError.
    """
    with open_source_tree(source, clean=clean, fresh=fresh) as tree:
        project = read_project(tree, variants=True, config=config)
        if plan is None:
            plan = expand_project(project)
            full_plan = _full_plan(plan, plan, project)
        else:
            _check_project(plan, project, plan_name)
            has_matrix = project.settings.has_matrix
            full_plan = _full_plan(plan, expand_project(project) if has_matrix else None, project)
        yield PreparedRun(
            source=source,
            tree=tree,
            project=project,
            choice=choose_backend(project),
            plan=plan,
            full_plan=full_plan,
        )


def _full_plan(plan: Plan, whole: Plan | None, project: Project) -> FullPlan:
    """Return everything that is planned: ``plan`` and the project's ``whole`` plan (None: unknown)."""
    if whole is None:
        return FullPlan(plan=plan, complete=False, labels=lambda: None)
    jobs = {job.id: job for job in (*whole.jobs, *plan.jobs)}
    return FullPlan(
        plan=replace(whole, jobs=tuple(jobs.values()), targets={**whole.targets, **plan.targets}),
        complete=is_machine_independent(project),
        labels=partial(labels_anywhere, project),
    )


def _check_project(plan: Plan, project: Project, plan_name: str) -> None:
    name = project.name if project.settings.has_matrix else None
    if name is not None and plan.project not in {None, name}:
        raise ConfigError(
            f"the plan is for the project {plan.project!r}, but the source is {name!r}",
            at=f"{plan_name}: project",
            hint="pass the source that the plan was made from",
        )
