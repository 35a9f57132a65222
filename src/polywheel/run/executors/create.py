"""What makes the builds of a run: workers that call the hooks, or cibuildwheel."""

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
from polywheel.run.executors.cibuildwheel import (
    build_platform,
    container_engine,
    find_cibuildwheel,
    tables_of,
)
from polywheel.run.executors.local import LocalExecutor
from polywheel.run.executors.variant_runs import CibuildwheelExecutor
from polywheel.run.fingerprint import chosen_tools
from polywheel.run.journal import Journal
from polywheel.run.loop import BuildExecutor, RunObserver
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
"""What builds a project that names no backend (PEP 518, "build-system table")."""
_OURS = "polywheel.backend"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunContext:
    """What a run works with."""

    plan: Plan
    builds: Sequence[Build]
    """Those that are for this machine."""

    project: Project
    choice: BackendChoice
    origin: Path
    """The folder, or the sdist, that was named as the source."""

    tree: Source
    unpacked: bool
    """Whether the source is an sdist already."""

    place: Path
    """The folder for copies of the source, one for each build."""

    shop: WorkerContext
    wishes: RunOptions
    journal: Journal
    slots: CompileSlots
    watcher: RunObserver

    @property
    def publisher(self) -> Publisher:
        return Publisher(
            out=self.wishes.out,
            journal=self.journal,
            targets=self.plan.targets,
            force=self.wishes.force,
            project=self.plan.project,
            version=self.project.version,
            config=self.wishes.config_name,
        )

    def identity(self, source: Source) -> str:
        """The digest of a source, and of the file whose tables stand in place of its own."""
        config = self.wishes.config
        return source.digest + (sha256_of(config) if config is not None else "")


def create_executor(run: RunContext) -> tuple[BuildExecutor, Mapping[str, str]]:
    """Whoever makes the builds of a run; and why there is no Python of a version, where there is
    none. Raises ConfigError and BuildError.
    """
    _check_variants(run)
    if run.wishes.cibuildwheel is not None:
        return _variant_runs(run, run.wishes.cibuildwheel), {}
    document = run.project.document
    requires = requirements_without_polywheel(
        run.project.build_system.requires if "build-system" in document else _DEFAULT_REQUIRES,
        at="pyproject.toml: build-system.requires",
    )
    environments = Environments(
        fresh=run.wishes.fresh,
        notify=run.watcher.said,
        stop=run.shop.stop,
        patience=run.shop.seconds,
    )
    found, missing = _interpreters(run.builds, run.wishes, run.watcher)
    source = run.tree
    if found and not run.unpacked:
        source = _sdist_maker(run, found, requires, environments).unpacked_sdist(run.tree)
    identity = run.identity(source)
    builder = LocalExecutor(
        jobs={job.id: job for job in run.plan.jobs},
        source=source,
        identity=identity,
        place=run.place,
        shop=run.shop,
        interpreters=found,
        needs=BuildRequirements(
            requires=requires,
            foreseen=plugin_requirements(run.project, run.plan.jobs),
            plugins=plugin_namespaces(run.project),
            source=identity,
            shop=run.shop,
            environments=environments,
            fresh=run.wishes.fresh,
        ),
        publisher=run.publisher,
        logs=run.wishes.logs,
        slots=run.slots,
        profile=run.choice.profile,
        chosen=cache(partial(chosen_tools, run.project)),
        notify=run.watcher.said,
    )
    return builder, missing


def _check_variants(run: RunContext) -> None:
    """Raise ConfigError, before anything is built, with all that tables and presets refuse."""
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
    found: Mapping[str, Interpreter],
    requires: Sequence[str],
    environments: Environments,
) -> SdistMaker:
    profile = run.choice.profile
    return SdistMaker(
        shop=run.shop,
        interpreter=next(iter(found.values())),
        environments=environments,
        requires=requires,
        profile=profile.name if profile is not None else None,
        place=run.place,
        log=run.wishes.logs / "sdist.log",
        notify=run.watcher.said,
        fresh=run.wishes.fresh,
        without=run.wishes.no_source(),
    )


def _variant_runs(run: RunContext, options: tuple[str, ...]) -> CibuildwheelExecutor:
    if run.project.build_system.build_backend != _OURS:
        raise ConfigError(
            f"cibuildwheel calls the backend that the project names, which is not {_OURS}",
            at="pyproject.toml: build-system.build-backend",
            hint=f'name it: build-backend = "{_OURS}", or build without --frontend',
        )
    config, engine = _within(run), find_cibuildwheel()
    places = [build_platform(build.target) for build in run.builds]
    contained = any(place is not None and place.contained for place in places)
    source = run.tree if run.unpacked else run.tree.frozen(fresh=run.wishes.fresh)
    return CibuildwheelExecutor(
        jobs={job.id: job for job in run.plan.jobs},
        project=run.project,
        choice=run.choice,
        source=source,
        identity=run.identity(source),
        place=run.place,
        shop=run.shop,
        publisher=run.publisher,
        targets=run.plan.targets,
        logs=run.wishes.logs,
        engine=engine,
        container=container_engine(tables_of(run.project.document)) if contained else {},
        options=options,
        notify=run.watcher.said,
        config=config,
    )


def _within(run: RunContext) -> str | None:
    """The file whose tables stand in place of the project's, as its container sees it."""
    config = run.wishes.config
    if config is None:
        return None
    root = run.origin.resolve()
    name = config.relative_to(root).as_posix() if config.is_relative_to(root) else None
    if name not in run.tree.files:
        raise ConfigError(
            f"cibuildwheel takes the source into a container, and {config.name} is no part of it",
            at="--config",
            hint="put the file into the project",
        )
    return name


def _interpreters(
    builds: Iterable[Build], wishes: RunOptions, watcher: RunObserver
) -> tuple[dict[str, Interpreter], dict[str, str]]:
    """The Pythons of the builds; and why those that are not there are not."""
    pythons = sorted({build.python for build in builds})
    found: dict[str, Interpreter] = {}
    missing: dict[str, str] = {}
    if not pythons:
        return found, missing
    with ThreadPoolExecutor(max_workers=min(8, len(pythons))) as pool:
        for python, one in zip(pythons, pool.map(find_interpreter, pythons), strict=True):
            if one is not None:
                found[python] = one
            elif not wishes.install_python:
                missing[python] = f"there is no Python {python} here; --install-python gets it"
            else:
                try:
                    found[python] = install_interpreter(python, notify=watcher.said)
                except BuildError as error:
                    missing[python] = error.problems[0].what
    return found, missing
