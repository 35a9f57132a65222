"""Create the executor of a run: local workers, or cibuildwheel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from polywheel.config.project import Project
from polywheel.config.reader import Problems
from polywheel.environments.environments import Environments, Interpreter
from polywheel.environments.interpreters import find_interpreter, install_interpreter
from polywheel.errors import BuildError, ConfigError
from polywheel.model.plan import Build, Plan
from polywheel.model.setup import BackendChoice
from polywheel.model.variant import Variant
from polywheel.run.build_requirements import (
    BuildRequirements,
    plugin_namespaces,
    plugin_requirements,
)
from polywheel.run.executors.cibuildwheel import CibuildwheelExecutor
from polywheel.run.executors.cibuildwheel_options import (
    build_platform,
    by_variant,
    check_backend,
    cibuildwheel_tables,
    container_engine,
    find_cibuildwheel,
    serves,
)
from polywheel.run.executors.local import LocalExecutor
from polywheel.run.executors.protocol import BuildExecutor
from polywheel.run.fingerprint import versions_of_chosen_tools
from polywheel.run.journal import Journal
from polywheel.run.loop import RunObserver
from polywheel.run.options import RunOptions
from polywheel.run.own_package import requirements_without_polywheel
from polywheel.run.source.sdist import SdistMaker
from polywheel.run.source.snapshot import Source
from polywheel.run.worker.jobserver import CompileSlots
from polywheel.run.worker.publish import Publisher
from polywheel.run.worker.requests import WorkerContext
from polywheel.setup.resolve import resolve_setup
from polywheel.system.files import sha256_of

_DEFAULT_REQUIRES = ("setuptools>=40.8.0",)
"""The build requirements of a project without a ``[build-system]`` table (PEP 518)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunContext:
    """Everything that an executor is created from."""

    plan: Plan
    builds: Sequence[Build]
    """The builds for this machine."""

    project: Project
    choice: BackendChoice
    origin: Path
    """The folder or the sdist that the user named."""

    source: Source
    work_folder: Path
    """The folder with the work folder of each build."""

    context: WorkerContext
    options: RunOptions
    journal: Journal
    slots: CompileSlots
    observer: RunObserver

    @property
    def is_sdist(self) -> bool:
        return not self.origin.is_dir()

    def publisher(self) -> Publisher:
        return Publisher(
            out=self.options.out,
            journal=self.journal,
            targets=self.plan.targets,
            force=self.options.force,
            project=self.plan.project,
            version=self.project.version,
            config=self.options.config_name,
        )

    def source_digest(self, source: Source) -> str:
        """Return the digest of a source and of the ``--config`` file."""
        config = self.options.config
        return source.digest + (sha256_of(config) if config is not None else "")


def plan_for_executor(plan: Plan, here: str, *, cibuildwheel: bool) -> tuple[Plan, list[Build]]:
    """Return the plan as the executor runs it, and its builds for the target ``here``.

    With cibuildwheel, one build is one variant for all Pythons. Raises BuildError if the plan has
    builds, but none for this machine.
    """
    if cibuildwheel:
        plan = by_variant(plan)
        builds = [build for build in plan.builds if serves(here, build.target)]
    else:
        builds = plan.builds_for(here)
    if plan.builds and not builds:
        targets = sorted({build.target for build in plan.builds})
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
    _check_variants(run)
    if run.options.cibuildwheel is not None:
        return _cibuildwheel_executor(run, run.options.cibuildwheel), {}
    document = run.project.document
    requires = requirements_without_polywheel(
        run.project.build_system.requires if "build-system" in document else _DEFAULT_REQUIRES,
        at="pyproject.toml: build-system.requires",
    )
    environments = Environments(
        fresh=run.options.fresh,
        notify=run.observer.note,
        stop=run.context.stop,
        patience=run.context.seconds,
    )
    interpreters, missing = _find_interpreters(run.builds, run.options, run.observer)
    source = run.source
    if interpreters and not run.is_sdist:
        source = _sdist_maker(run, interpreters, requires, environments).unpacked_sdist(source)
    digest = run.source_digest(source)
    executor = LocalExecutor(
        jobs={job.id: job for job in run.plan.jobs},
        source=source,
        source_digest=digest,
        work_folder=run.work_folder,
        context=run.context,
        interpreters=interpreters,
        requirements=BuildRequirements(
            requires=requires,
            expected=plugin_requirements(run.project, run.plan.jobs),
            plugins=plugin_namespaces(run.project),
            source=digest,
            context=run.context,
            environments=environments,
            fresh=run.options.fresh,
        ),
        publisher=run.publisher(),
        logs=run.options.logs,
        slots=run.slots,
        profile=run.choice.profile,
        chosen_tools=cache(partial(versions_of_chosen_tools, run.project)),
        notify=run.observer.note,
    )
    return executor, missing


def _check_variants(run: RunContext) -> None:
    """Raise ConfigError with all problems of the variants' build setups, before the first build."""
    here = {job for build in run.builds for job in build.jobs}
    jobs = [job for job in run.plan.jobs if job.id in here and job.label is not None]
    variants = dict.fromkeys(Variant(job.properties, job.label or "") for job in jobs)
    problems = Problems()
    for variant in variants:
        problems.attempt(
            resolve_setup, run.project, run.choice, variant, python=None, notify=lambda _: None
        )
    problems.found = list(dict.fromkeys(problems.found))
    problems.settle()


def _sdist_maker(
    run: RunContext,
    interpreters: Mapping[str, Interpreter],
    requires: Sequence[str],
    environments: Environments,
) -> SdistMaker:
    profile = run.choice.profile
    return SdistMaker(
        shop=run.context,
        interpreter=next(iter(interpreters.values())),
        environments=environments,
        requires=requires,
        profile=profile.name if profile is not None else None,
        place=run.work_folder,
        log=run.options.logs / "sdist.log",
        notify=run.observer.note,
        fresh=run.options.fresh,
        without=run.options.paths_outside_source(),
    )


def _cibuildwheel_executor(run: RunContext, options: tuple[str, ...]) -> CibuildwheelExecutor:
    check_backend(run.project)
    config, installation = _config_in_source(run), find_cibuildwheel()
    platforms = [build_platform(build.target) for build in run.builds]
    in_container = any(platform is not None and platform.in_container for platform in platforms)
    source = run.source if run.is_sdist else run.source.frozen(fresh=run.options.fresh)
    return CibuildwheelExecutor(
        jobs={job.id: job for job in run.plan.jobs},
        project=run.project,
        choice=run.choice,
        source=source,
        source_digest=run.source_digest(source),
        work_folder=run.work_folder,
        context=run.context,
        publisher=run.publisher(),
        targets=run.plan.targets,
        logs=run.options.logs,
        installation=installation,
        container_variables=container_engine(cibuildwheel_tables(run.project.document))
        if in_container
        else {},
        options=options,
        notify=run.observer.note,
        config=config,
    )


def _config_in_source(run: RunContext) -> str | None:
    """Return the ``--config`` file relative to the source, as the container sees it."""
    config = run.options.config
    if config is None:
        return None
    root = run.origin.resolve()
    name = config.relative_to(root).as_posix() if config.is_relative_to(root) else None
    if name not in run.source.files:
        raise ConfigError(
            f"cibuildwheel copies the source into a container, and {config.name} is not part of it",
            at="--config",
            hint="move the file into the project",
        )
    return name


def _find_interpreters(
    builds: Iterable[Build], options: RunOptions, observer: RunObserver
) -> tuple[dict[str, Interpreter], dict[str, str]]:
    """Return the Pythons of the builds, and the reason for each one that is not available."""
    pythons = sorted({build.python for build in builds})
    interpreters: dict[str, Interpreter] = {}
    missing: dict[str, str] = {}
    if not pythons:
        return interpreters, missing
    with ThreadPoolExecutor(max_workers=min(8, len(pythons))) as pool:
        for python, interpreter in zip(pythons, pool.map(find_interpreter, pythons), strict=True):
            if interpreter is not None:
                interpreters[python] = interpreter
            elif not options.install_python:
                missing[python] = (
                    f"no Python {python} was found; use --install-python to install it"
                )
            else:
                try:
                    interpreters[python] = install_interpreter(python, notify=observer.note)
                except BuildError as error:
                    missing[python] = error.problems[0].what
    return interpreters, missing
