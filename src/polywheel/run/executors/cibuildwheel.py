"""Run builds with cibuildwheel, once for each variant and target, and label its wheels."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from polywheel.backend.setup_report import setup_values
from polywheel.config.project import CONFIG_VARIABLE
from polywheel.errors import BuildError, ConfigError, PolywheelError, Problem
from polywheel.matrix.cibuildwheel_platforms import (
    BuildPlatform,
    check_jobs,
    require_platform,
)
from polywheel.matrix.expansion import builds_read_variant
from polywheel.model.matrix import BuildSettings, WheelTests
from polywheel.model.plan import Build, Job
from polywheel.model.setup import BuildSetup, SetupValues
from polywheel.model.variant import Variant
from polywheel.model.wheelname import WheelName
from polywheel.run.build_key import Key, KeyMaker, Part, part_of_secrets, tools_by_name
from polywheel.run.compiler_cache import (
    cibuildwheel_cache_variables,
    read_cache_use,
    total_use,
)
from polywheel.run.context import RunContext
from polywheel.run.executors.cibuildwheel_installation import (
    ENGINE,
    Installation,
    container_engine,
    find_cibuildwheel,
    installed_platform,
)
from polywheel.run.executors.cibuildwheel_options import (
    PROJECT,
    check_backend,
    check_settings,
    cibuildwheel_tables,
    cibuildwheel_variables,
    unused_settings,
)
from polywheel.run.executors.protocol import capture_outcome
from polywheel.run.fingerprint import ToolVersions, build_variables
from polywheel.run.journal import FAILED_WHEELS
from polywheel.run.outcome import (
    REBUILD,
    CacheUse,
    ExistingWheels,
    Outcome,
    Wheel,
    merge_messages,
    with_audit_errors,
)
from polywheel.run.own_package import write_own_wheel
from polywheel.run.source.git import copy_borrowed_objects
from polywheel.run.source.snapshot import Source
from polywheel.run.wheel_audit import BuildAudit, WheelAuditor, create_auditor
from polywheel.run.worker.checks import tag_problems
from polywheel.run.worker.protocol import Message
from polywheel.run.worker.publish import Publisher, duplicate_filename_error
from polywheel.system.files import sha256_of
from polywheel.system.processes import run_child
from polywheel.system.temporary import temporary_folder
from polywheel.wheel.finalize import finalize

_GRACE = 45.0
"""Seconds."""
_OWN_WHEEL = ".polywheel-served"
"""The folder for polywheel's own wheel in the copy of a source.

cibuildwheel copies only the source into its container."""
_LOGGED = re.compile(rb"polywheel: ((?:warning|note): .+)")
_LONGEST_LINE = 64 * 1024
"""Bytes."""

_NO_TEST = WheelTests(test_command="")
"""Overrides the test command in ``[tool.cibuildwheel]``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CibuildwheelExecutor:
    """Implements :class:`polywheel.run.executors.protocol.BuildExecutor` with cibuildwheel.

    The plan has one build for each variant and target (`cibuildwheel_options.by_variant`).
    """

    run: RunContext
    source: Source
    keys: KeyMaker

    publisher: Publisher
    auditor: WheelAuditor | None
    """None if no wheel is audited."""

    setups: Mapping[Variant, BuildSetup]
    installation: Installation
    container_variables: Mapping[str, str]
    """The variables that name the container engine; none without containers."""

    options: tuple[str, ...]
    """The user's options for cibuildwheel."""

    config: str | None
    """The ``--config`` file, relative to the source."""

    def prepare(self, builds: int) -> None:
        """Do nothing: cibuildwheel decides how many processors a build uses."""

    def find_existing(self, build: Build) -> ExistingWheels:
        """Return the up-to-date wheels of a build."""
        jobs = self.run.jobs_of(build)
        if self.run.options.rebuild:
            reasons = {job.id: REBUILD for job in jobs}
            return ExistingWheels(wheels=(), missing=tuple(jobs), reasons=reasons)
        key = partial(self._key, build)
        return self.publisher.existing_wheels(jobs, key)

    def build(self, build: Build, existing: ExistingWheels) -> Outcome:
        """Build the missing wheels with one run of cibuildwheel."""
        log, stop = self.run.log_of(build), self.run.worker_context.stop

        audits: list[BuildAudit] = []
        cache_uses: list[CacheUse | None] = []

        def build_wheels(wheels: list[Wheel]) -> float:
            for job in existing.missing:
                self.publisher.refuse_changed(job, self._key(build, job))
            self._build(
                build, existing.missing, wheels=wheels, audits=audits, cache_uses=cache_uses
            )
            return 0.0

        outcome = capture_outcome(build.id, existing, log, stop, build_wheels)
        ids = tuple(job.id for job in existing.missing)
        logged = (Message(text, ids) for text in logged_messages(log))
        found = (message for audit in audits for message in audit.messages)
        messages = merge_messages((*logged, *found))
        errors = [audit.error for audit in audits if audit.error]
        outcome = with_audit_errors(outcome, errors, self.publisher.out / FAILED_WHEELS)
        # cibuildwheel took all of the time.
        return replace(
            outcome,
            hook_seconds=outcome.seconds,
            messages=messages,
            compiler_cache=total_use(cache_uses),
            reasons=existing.reasons,
            setup=self._setup_of(existing.missing),
            findings={audit.job: audit.findings for audit in audits},
        )

    def _setup_of(self, jobs: Sequence[Job]) -> tuple[SetupValues, ...]:
        """Return the build setup of a run, for the report: that of its first variant."""
        variants = (Variant(job.properties, job.label) for job in jobs if job.label is not None)
        setup = next(filter(None, map(self.setups.get, variants)), None)
        return () if setup is None else setup_values(setup)

    def _build(
        self,
        build: Build,
        jobs: Sequence[Job],
        *,
        wheels: list[Wheel],
        audits: list[BuildAudit],
        cache_uses: list[CacheUse | None],
    ) -> None:
        log = self.run.log_of(build)
        setting = self.run.compiler_cache
        with (
            self.run.copy_of_source(build, self.source, cibuildwheel=True) as work,
            temporary_folder(self.publisher.out) as folder,
        ):
            platform = require_platform(self.run.plan.platform_of(build.target))
            if platform.in_container:
                copy_borrowed_objects(work.source)
            write_own_wheel(self.run.worker_context.polywheel, work.source / _OWN_WHEEL)
            work.scratch.mkdir()
            time_limit = self.run.time_limit(build)
            began = time.monotonic()
            child = run_child(
                [
                    *self.installation.command,
                    *("--platform", platform.platform, "--archs", platform.arch),
                    *("--output-dir", str(folder), *self.options, "."),
                ],
                folder=work.source,
                environment={
                    **os.environ,
                    **cibuildwheel_cache_variables(
                        setting, work.folder, in_container=platform.in_container
                    ),
                    **self._variables(jobs, platform, work.source, compiler_cache=setting),
                },
                log=log,
                stop=self.run.worker_context.stop,
                seconds=time_limit,
                keep_open=(work.lock,),
                # Only after an interrupt it removes its container, whose processes have half a
                # minute to end.
                ask=signal.SIGINT,
                grace=_GRACE,
            )
            seconds = (time.monotonic() - began) / len(jobs)
            cache_uses.append(read_cache_use(setting, work.folder))
            # If it failed, the wheels that it finished before are still good.
            errors = list(self._publish(build, jobs, folder, seconds, wheels=wheels, audits=audits))
        child.raise_if_ended(time_limit)
        if child.code:
            raise BuildError(f"cibuildwheel ended with exit code {child.code}")
        if errors:
            raise PolywheelError.collected(
                problem for error in errors for problem in error.problems
            )

    def _publish(
        self,
        build: Build,
        jobs: Sequence[Job],
        folder: Path,
        seconds: float,
        *,
        wheels: list[Wheel],
        audits: list[BuildAudit],
    ) -> Iterator[PolywheelError]:
        """Give the wheels of a run their labels and final names; yield the errors of the jobs.

        With an auditor they are audited before, and their audits are added to ``audits``.
        """
        finalized = finalize(sorted(folder.glob("*.whl")), plain=True)
        yield from finalized.errors
        paths = [file.written for file in finalized.done]
        job_of: dict[Path, Job] = {}
        for job in jobs:
            targets = [self.run.plan.targets[name] for name in job.targets]
            fitting = [
                path for path in paths if not tag_problems(WheelName.parse(path.name), job, targets)
            ]
            if not fitting and not finalized.errors:
                others = f", but {', '.join(path.name for path in paths)}" if paths else ""
                yield BuildError(
                    f"cibuildwheel made no wheel for {job.id}{others}",
                    hint="check skip in [tool.cibuildwheel], and whether it supports this Python",
                )
            if not fitting:
                continue
            other = job_of.setdefault(fitting[0], job)
            if other is not job:
                yield duplicate_filename_error(fitting[0].name, other.id, job.id)
                continue
            try:
                key = self._key(build, job)
                if self.auditor is not None:
                    audits.append(self.auditor.audit(job.id, fitting[0]))
                    if audits[-1].error:
                        self.publisher.set_aside(fitting[0])
                        continue
                contained = self.keys.contained_files(fitting[0])
                wheels.append(
                    self.publisher.publish(job, fitting[0], key, seconds, contained=contained)
                )
            except PolywheelError as error:
                yield error

    def _settings(self, job: Job) -> BuildSettings:
        """The settings of a run: without tests if the user wants none."""
        settings = self.run.plan.settings_of(job)
        return settings if self.run.options.test else settings.with_tests(_NO_TEST)

    def _variables(
        self,
        jobs: Sequence[Job],
        platform: BuildPlatform,
        source: Path,
        *,
        compiler_cache: str = "off",
    ) -> dict[str, str]:
        """Return the variables of a run. ``compiler_cache`` is not a part of what a wheel depends on."""
        tables = cibuildwheel_tables(self.run.prepared.project.document)
        project = PurePosixPath(PROJECT) if platform.in_container else source
        environment = self._setup_variables(jobs[0])
        if self.config is not None:
            environment[CONFIG_VARIABLE] = self.config
        variables = cibuildwheel_variables(
            jobs,
            self._settings(jobs[0]),
            platform,
            config_settings=self.run.worker_context.settings,
            environment=environment,
            epoch=self.run.worker_context.epoch,
            project=str(project).replace("$", "$$"),
            links=(project / _OWN_WHEEL).as_uri(),
            tables=tables,
            engine=self.container_variables.get(ENGINE, "docker"),
            compiler_cache=compiler_cache,
        )
        return {**self.container_variables, **variables}

    def _setup_variables(self, job: Job) -> dict[str, str]:
        """Return the variables that the setup rules of a variant set, for repairs and tests too.

        Absolute paths of this machine are left out: the backend in the container finds its own.
        """
        if job.label is None:
            return {}
        setup = self.setups[Variant(job.properties, job.label)]
        return {
            name: entry.value
            for name, entry in setup.env.items()
            if not os.path.isabs(entry.value)  # noqa: PTH117
        }

    def _key(self, build: Build, job: Job) -> Key:
        platform = require_platform(self.run.plan.platform_of(build.target))
        # The files that options name, also behind "=".
        paths = [Path(option.rpartition("=")[2]) for option in self.options]
        python = f"{job.python.rstrip('t')}.0"
        variables = self._variables([job], platform, self.run.work_folder)
        return Key(
            {
                **self.keys.project_parts(job, [job], build.settings, python),
                "polywheel": self.keys.polywheel_part,
                "job": Part({"pythons": " ".join(job.pythons), "id": job.id}),
                "cibuildwheel": Part(
                    {
                        "version": self.installation.version,
                        "options": " ".join(self.options),
                        **{str(path): sha256_of(path) for path in paths if path.is_file()},
                    }
                ),
                "tools": Part({} if platform.in_container else tools_by_name(self.run.tools)),
                "variables": part_of_secrets({**build_variables(), **variables}),
            },
            self.keys.files_with_tables,
            self.keys.origin_part,
        )


def logged_messages(log: Path) -> Iterator[str]:
    """Yield the warnings and notes of the build hooks from a log of cibuildwheel."""
    with suppress(OSError), log.open("rb") as file:
        while line := file.readline(_LONGEST_LINE):
            match = _LOGGED.fullmatch(line.strip())
            if match is not None:
                yield match[1].decode("utf-8", "replace")


def create_cibuildwheel_executor(
    run: RunContext, setups: Mapping[Variant, BuildSetup]
) -> CibuildwheelExecutor:
    """Return the executor. ``setups`` has the build setups of the variants.

    Raises ConfigError if cibuildwheel can't build the project on this machine.
    """
    project = run.prepared.project
    check_backend(project)
    config, installation = _config_in_source(run), find_cibuildwheel()
    platforms = _check_builds(run, installation)
    in_container = any(platform.in_container for platform in platforms)
    tables = cibuildwheel_tables(project.document)
    source = run.source if run.is_sdist else run.source.freeze(fresh=run.options.fresh)
    return CibuildwheelExecutor(
        run=run,
        source=source,
        keys=KeyMaker(
            project=project,
            choice=run.prepared.choice,
            context=run.worker_context,
            source=source,
            origin=run.source,
            tools=ToolVersions(project, run.worker_context, run.tools),
            reads_variant=builds_read_variant(project, source.root) is not None,
        ),
        publisher=run.publisher(),
        auditor=create_auditor(project.settings.audit, run.worker_context.stop),
        setups=setups,
        installation=installation,
        container_variables=container_engine(tables) if in_container else {},
        options=run.options.cibuildwheel or (),
        config=config,
    )


def _check_builds(run: RunContext, installation: Installation) -> list[BuildPlatform]:
    """Return the platforms of a run. Raises ConfigError for builds that cibuildwheel can't run."""
    platforms: dict[str, BuildPlatform] = {}
    problems: list[Problem] = []
    for build in run.builds:
        platform = require_platform(run.plan.platform_of(build.target))
        if platform.suffix not in platforms:
            platforms[platform.suffix] = installed_platform(installation, platform)
        platform, version = platforms[platform.suffix], installation.version
        problems += check_jobs(run.jobs_of(build), platform, version=version)
        problems += check_settings(run.plan, build, platform, version=version)
    if problems:
        raise ConfigError.collected(problems)
    for note in unused_settings(run.plan, run.builds):
        run.observer.note(note)
    return [*platforms.values()]


def _config_in_source(run: RunContext) -> str | None:
    """Return the ``--config`` file relative to the source, as the container sees it."""
    config = run.options.config
    if config is None:
        return None
    root = run.prepared.source.resolve()
    name = config.relative_to(root).as_posix() if config.is_relative_to(root) else None
    if name not in run.source.files:
        raise ConfigError(
            f"cibuildwheel copies the source into a container, and {config.name} is not part of it",
            at="--config",
            hint="move the file into the project",
        )
    return name
