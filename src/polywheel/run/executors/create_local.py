"""Create the executor for this machine: its Pythons, the sdist, and what all builds have in common."""

from __future__ import annotations

from collections.abc import Mapping

from polywheel.environments.interpreters import find_interpreters
from polywheel.environments.virtual_environments import (
    Environments,
)
from polywheel.matrix.expansion import builds_read_variant
from polywheel.run.build_commands import BeforeAll
from polywheel.run.build_key import KeyMaker
from polywheel.run.build_requirements import (
    BuildRequirements,
    known_plugin_requirements,
)
from polywheel.run.compiler_cache import cache_that_changes_paths
from polywheel.run.context import RunContext
from polywheel.run.executors.local import LocalExecutor
from polywheel.run.fingerprint import ToolVersions
from polywheel.run.own_package import requirements_without_polywheel
from polywheel.run.source.sdist import SdistMaker, SdistVariables
from polywheel.run.source.snapshot import Source
from polywheel.run.stamper import Stamper
from polywheel.run.wheel_audit import create_auditor

_DEFAULT_REQUIRES = ("setuptools>=40.8.0",)
"""The build requirements of a project without a ``[build-system]`` table (PEP 518)."""


def create_local_executor(run: RunContext) -> tuple[LocalExecutor, Mapping[str, str]]:
    """Return the executor, and why each missing version of Python is not available.

    Finds or installs the Pythons, and makes the sdist. Raises ConfigError and BuildError.
    """
    project, options = run.prepared.project, run.options
    requires = requirements_without_polywheel(
        project.build_system.requires if "build-system" in project.document else _DEFAULT_REQUIRES,
        at="pyproject.toml: build-system.requires",
    )
    environments = Environments(
        fresh=options.fresh,
        notify=run.observer.note,
        stop=run.worker_context.stop,
        time_limit=options.time_limit,
    )
    interpreters, missing = find_interpreters(
        (build.python for build in run.builds),
        install=options.install_python and not options.dry_run,
        notify=run.observer.note,
    )
    source: Source | None = run.source
    if interpreters and not run.is_sdist:
        python, interpreter = next(iter(interpreters.items()))
        # One sdist serves all builds.
        first = next(build for build in run.builds if build.python == python)
        sdist_maker = SdistMaker(
            context=run.worker_context,
            interpreter=interpreter,
            environments=environments,
            requires=requires,
            choice=run.prepared.choice,
            project=project.source,
            folder=run.work_folder,
            log=options.log_folder / "sdist.log",
            notify=run.observer.note,
            installer_settings=first.settings.environment,
            variables=SdistVariables.of(run.prepared.plan.builds, project.name),
            fresh=options.fresh,
            without=options.paths_outside_source(),
            only_find=options.dry_run,
        )
        source = sdist_maker.unpacked_sdist(run.source)
    knows_source = source is not None
    source = source if source is not None else run.source.freeze()
    keys = KeyMaker(
        project=project,
        choice=run.prepared.choice,
        context=run.worker_context,
        source=source,
        origin=run.source,
        knows_source=knows_source,
        compiler_cache=cache_that_changes_paths(run.compiler_cache, run.prepared.choice.profile),
        tools=ToolVersions(project, run.worker_context, run.tools),
        reads_variant=builds_read_variant(project, source.root) is not None,
    )
    executor = LocalExecutor(
        run=run,
        source=source,
        interpreters=interpreters,
        requirements=BuildRequirements(
            project=project,
            choice=run.prepared.choice,
            requires=requires,
            plugins=known_plugin_requirements(project),
            source=source.root,
            keys=keys,
            context=run.worker_context,
            environments=environments,
            settings={build.id: build.settings for build in run.builds},
            fresh=options.fresh,
        ),
        publisher=run.publisher(),
        before_all=BeforeAll(run, source),
        tester=run.tester(),
        auditor=create_auditor(project.settings.audit, run.worker_context.stop),
        keys=keys,
        store=run.store,
        stamper=Stamper(
            project=project,
            choice=run.prepared.choice,
            context=run.worker_context,
            interpreters=interpreters,
        ),
    )
    return executor, missing
