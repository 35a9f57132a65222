"""The context of a run: the prepared project, and everything that an executor is created from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from polywheel.config.project import Project, read_project
from polywheel.errors import ConfigError, PolywheelError
from polywheel.matrix.expansion import expand_project, is_machine_independent, labels_anywhere
from polywheel.model.matrix import LOWEST_PYTHON, can_build
from polywheel.model.plan import Build, Job, Plan
from polywheel.model.setup import BackendChoice
from polywheel.run.journal import Journal
from polywheel.run.options import RunObserver, RunOptions
from polywheel.run.outcome import log_file
from polywheel.run.source.snapshot import Source, open_source_tree
from polywheel.run.stale_wheels import FullPlan
from polywheel.run.wheel_store import WheelStore
from polywheel.run.work_folder import WorkFolder, open_work_folder, work_folder_path
from polywheel.run.worker.jobserver import CompileSlots
from polywheel.run.worker.publish import Publisher
from polywheel.run.worker.requests import WorkerContext
from polywheel.setup.profiles import choose_backend
from polywheel.system.logs import keep_tool_logs

if TYPE_CHECKING:
    from polywheel.run.testing.tester import WheelTester


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
            _check_pythons(plan, plan_name)
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


def _check_pythons(plan: Plan, plan_name: str) -> None:
    """Refuse a plan of an earlier version of polywheel that can't be built."""
    for index, build in enumerate(plan.builds):
        if not can_build(build.python):
            raise ConfigError(
                f"nothing can be built with Python {build.python}: polywheel and its build backend need "
                f"Python {LOWEST_PYTHON} or newer",
                at=f"{plan_name}: builds[{index}].python",
                hint="remove it from the matrix, and write the plan again with polywheel matrix --json",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunContext:
    """Everything that an executor is created from."""

    prepared: PreparedRun
    plan: Plan
    """The selected jobs, with their builds as the executor runs them."""

    builds: Sequence[Build]
    """The builds for this machine."""

    source: Source
    """The source as it was read."""

    work_folder: Path
    """The folder with the work folder of each build."""

    worker_context: WorkerContext
    """What all workers share, and the event ``stop`` of the run."""

    tools: Sequence[str]
    """The versions of the compilers and the build tools of this machine."""

    compiler_cache: str
    """The compiler cache of builds: a value of the setting ``compiler-cache``."""

    options: RunOptions
    journal: Journal
    store: WheelStore
    slots: CompileSlots
    observer: RunObserver

    @property
    def is_sdist(self) -> bool:
        """Whether the source is an sdist."""
        return not self.prepared.source.is_dir()

    def publisher(self) -> Publisher:
        """Return a new publisher for the output directory."""
        return Publisher(
            out=self.options.out,
            journal=self.journal,
            targets=self.plan.targets,
            force=self.options.force,
            project=self.plan.project,
            version=self.prepared.project.version,
            config=self.options.config_name,
        )

    def tester(self) -> WheelTester | None:
        """Return the tester of the wheels; None if no wheel is tested. Raises ConfigError."""
        if not self.options.test:
            return None
        builds = {build.id for build in self.builds}
        jobs = (job for job in self.plan.jobs if job.build in builds)
        if not any(self.plan.settings_of(job).test_command for job in jobs):
            return None
        # Few runs need its libraries.
        from polywheel.run.testing.tester import WheelTester

        return WheelTester(
            project=self.prepared.project,
            plan=self.plan,
            context=self.worker_context,
            log_folder=self.options.log_folder,
            require=self.options.require_tests,
            notify=self.observer.note,
        )

    def jobs_of(self, build: Build) -> list[Job]:
        """Return the jobs of a build, in its order."""
        return self.plan.jobs_of(build)

    def time_limit(self, build: Build) -> float | None:
        """Return the seconds that the steps of a build may take together; None means no limit."""
        return self.options.time_limit or build.settings.job_timeout

    def log_of(self, build: Build) -> Path:
        """Return the log of a build."""
        return log_file(self.options.log_folder, build)

    @contextmanager
    def copy_of_source(
        self, build: Build, source: Source, *, cibuildwheel: bool = False
    ) -> Iterator[WorkFolder]:
        """Copy a source into the work folder of a build, and yield the folder.

        If the build fails, the logs of its tools are kept, and all of its files with ``keep_work``.
        """
        log = self.log_of(build)
        path = work_folder_path(self.work_folder, build.id, cibuildwheel=cibuildwheel)
        with open_work_folder(path) as work:
            try:
                source.copy_to(work.source)
                yield work
            except (PolywheelError, OSError):
                if not self.worker_context.stop.is_set():
                    keep_tool_logs(log, [work.source, work.scratch])
                    if self.options.keep_work:
                        work.keep()
                        self.observer.note(
                            f"{build.id}: its files stay in {work.folder} until the next build"
                        )
                raise
