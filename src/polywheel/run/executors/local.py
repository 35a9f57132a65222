"""Run builds on this machine, each in a worker process in its build environment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from polywheel.environments.interpreters import find_interpreter, install_interpreter
from polywheel.environments.virtual_environments import Environment, Environments, Interpreter
from polywheel.errors import BuildError
from polywheel.model.matrix import Target
from polywheel.model.plan import Build, Job
from polywheel.model.setup import BackendProfile
from polywheel.model.wheelname import WheelName
from polywheel.run.build_requirements import (
    BuildEnvironment,
    BuildRequirements,
    plugin_namespaces,
    plugin_requirements,
)
from polywheel.run.executors.context import RunContext
from polywheel.run.executors.protocol import capture_outcome
from polywheel.run.fingerprint import job_key, versions_of_chosen_tools
from polywheel.run.loop import RunObserver
from polywheel.run.options import RunOptions
from polywheel.run.outcome import (
    ExistingWheels,
    Outcome,
    Wheel,
    log_file,
    merge_messages,
)
from polywheel.run.own_package import requirements_without_polywheel
from polywheel.run.source.sdist import SdistMaker
from polywheel.run.source.snapshot import Source
from polywheel.run.work_folder import keep_failed_work, open_work_folder, work_folder_path
from polywheel.run.worker.checks import pure_wheel_note
from polywheel.run.worker.jobserver import CompileSlots, JobserverSettings, rejects_jobserver
from polywheel.run.worker.protocol import (
    BuildResult,
    BuildStep,
    EnvironmentCheck,
    Message,
    RequirementsStep,
    requested_jobs,
)
from polywheel.run.worker.publish import Publisher
from polywheel.run.worker.requests import StepContext, TimeBudget, WorkerContext, run_step
from polywheel.system.temporary import remove_tree, temporary_folder

_DEFAULT_REQUIRES = ("setuptools>=40.8.0",)
"""The build requirements of a project without a ``[build-system]`` table (PEP 518)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalExecutor:
    """Implements :class:`polywheel.run.executors.protocol.BuildExecutor` with worker processes.

    A build is a copy of the source, an environment, one call of the real backend, and a check, a
    stamp, and a final name for each wheel.
    """

    jobs: Mapping[str, Job]
    """By id."""

    source: Source
    source_digest: str
    """The digest of the source and of the ``--config`` file."""

    work_folder: Path
    """The folder with the work folder of each build."""

    context: WorkerContext
    interpreters: Mapping[str, Interpreter]
    requirements: BuildRequirements
    publisher: Publisher
    logs: Path
    slots: CompileSlots
    profile: BackendProfile | None
    chosen_tools: Callable[[str | None], Sequence[str]]
    """Returns the versions of the tools that setup rules and a repair command (or None) name."""

    notify: Callable[[str], None]

    def prepare(self, builds: int) -> None:
        """Share the compile slots among this number of builds."""
        self.slots.share_among(builds)

    def find_existing(self, build: Build) -> ExistingWheels:
        """Return the up-to-date wheels of a build. A build without a known environment has none."""
        jobs = self._jobs(build)
        interpreter = self.interpreters[build.python]
        environment = self.requirements.find_environment(interpreter, jobs)
        if environment is None:
            return ExistingWheels(wheels=(), missing=tuple(jobs))
        return self.publisher.existing_wheels(
            jobs, lambda job: self._key(build, job, interpreter, environment)
        )

    def build(self, build: Build, existing: ExistingWheels) -> Outcome:
        """Build, check, and publish the missing wheels."""
        log = log_file(self.logs, build)
        messages: list[Message] = []

        def build_wheels(wheels: list[Wheel]) -> float:
            with (
                self._open_work_folder(build, log, messages) as step_context,
                self.slots.take_slot(self.context.stop),
            ):
                return self._build(build, existing.missing, step_context, wheels)

        outcome = capture_outcome(build.id, existing, log, self.context.stop, build_wheels)
        return replace(outcome, messages=merge_messages(messages))

    def _build(
        self, build: Build, missing: Sequence[Job], step_context: StepContext, wheels: list[Wheel]
    ) -> float:
        """Append the wheels of the missing jobs to ``wheels``.

        Returns the seconds that the real backend took.
        """
        interpreter = self.interpreters[build.python]
        all_jobs = self._jobs(build)
        prepared = self._environment(interpreter, all_jobs, step_context)
        if prepared.certain:
            # A new environment may have the same content as the one before.
            environment = prepared.environment
            existing = self.publisher.existing_wheels(
                missing, lambda job: self._key(build, job, interpreter, environment)
            )
            wheels.extend(existing.wheels)
            missing = existing.missing
            if not missing:
                return 0.0
        keys = self._keys(build, missing, interpreter, prepared.environment)
        began = time.monotonic()
        with temporary_folder(self.publisher.out) as folder:
            out = folder / "wheels"
            out.mkdir()
            result = self._build_with_slots(build, missing, prepared, out, step_context)
            if not prepared.certain:
                # The environment was a guess. If the guess was wrong, nothing was built.
                guess, more = prepared.environment, result.requires or ()
                prepared = self.requirements.remember(interpreter, all_jobs, guess, more)
                keys = self._keys(build, missing, interpreter, prepared.environment)
                if result.wheels is None:
                    result = self._build_with_slots(build, missing, prepared, out, step_context)
            share = (time.monotonic() - began) / len(missing)
            built = {
                wheel.job: (out / wheel.file, wheel.setup_digest) for wheel in result.wheels or ()
            }
            # One after the other: if a wheel fails, the wheels before it stay.
            wheels.extend(self._publish(missing, built, keys, share, step_context.messages))
        return result.seconds

    def _environment(
        self, interpreter: Interpreter, jobs: Sequence[Job], step_context: StepContext
    ) -> BuildEnvironment:
        """Return the environment of a build.

        With ``--fresh`` the backend is asked for its requirements first.
        """
        prepared = self.requirements.prepare_environment(interpreter, jobs)
        if not self.requirements.fresh:
            return prepared
        step = RequirementsStep(jobs=requested_jobs(jobs))
        requires = run_step(step, self.context, step_context, prepared.environment).requires
        return self.requirements.remember(interpreter, jobs, prepared.environment, requires)

    def _publish(
        self,
        jobs: Sequence[Job],
        built: Mapping[str, tuple[Path, str]],
        keys: Mapping[str, str],
        share: float,
        messages: list[Message],
    ) -> Iterator[Wheel]:
        """Publish the wheels of jobs, and yield each one as soon as it has its final name.

        ``built`` has the wheel of each job and the digest of its build setup.
        """
        for job in jobs:
            wheel, setup = built.get(job.id, (None, ""))
            if wheel is None or not wheel.is_file():
                raise BuildError(f"the worker made no wheel for {job.id}")
            yield self.publisher.publish(job, wheel, keys[job.id], share, setup=setup)
            if text := pure_wheel_note(WheelName.parse(wheel.name), job):
                self.notify(text)
                messages.append(Message(text, (job.id,)))

    def _keys(
        self,
        build: Build,
        jobs: Sequence[Job],
        interpreter: Interpreter,
        environment: Environment,
    ) -> dict[str, str]:
        """Return the keys of jobs. Raises WheelError if the wheel of such a key was changed."""
        keys = {job.id: self._key(build, job, interpreter, environment) for job in jobs}
        for job in jobs:
            self.publisher.refuse_changed(job, keys[job.id])
        return keys

    def _build_with_slots(
        self,
        build: Build,
        jobs: Sequence[Job],
        prepared: BuildEnvironment,
        out: Path,
        step_context: StepContext,
    ) -> BuildResult:
        """Have a worker build the wheels of jobs in ``out``. Raises BuildError."""
        check = None
        if not prepared.certain:
            all_jobs = requested_jobs(self._jobs(build))
            check = EnvironmentCheck(jobs=all_jobs, installed=prepared.requirements)
        step = BuildStep(
            jobs=requested_jobs(jobs),
            out=str(out),
            check=check,
            repair=self._target(build).repair_command,
        )

        def run(slots: JobserverSettings) -> BuildResult:
            return run_step(step, self.context, step_context, prepared.environment, slots=slots)

        slots = self.slots.settings_for(self.profile, prepared.environment)
        try:
            return run(slots)
        except BuildError:
            if (
                not slots.pooled
                or self.context.stop.is_set()
                or not rejects_jobserver(step_context.log)
            ):
                raise
            # A make before 4.4, somewhere in the build, rejects the name of the pool.
            self.slots.disable_pool()
            _note(
                step_context.log,
                "this build uses a make before 4.4; trying again with a fixed number of jobs",
            )
            for folder in (out, step_context.scratch):
                remove_tree(folder)
                folder.mkdir()
            return run(self.slots.settings_for(self.profile, prepared.environment))

    def _target(self, build: Build) -> Target:
        return self.publisher.targets[build.target]

    def _jobs(self, build: Build) -> list[Job]:
        """Return the jobs of a build, in its order."""
        return [self.jobs[identifier] for identifier in build.jobs]

    def _key(
        self, build: Build, job: Job, interpreter: Interpreter, environment: Environment
    ) -> str:
        repair = self._target(build).repair_command
        return job_key(
            job,
            source=self.source_digest,
            polywheel=self.context.polywheel.name,
            interpreter=interpreter,
            environment=environment,
            settings=self.context.settings,
            epoch=self.context.epoch,
            chosen_tools=self.chosen_tools(repair),
            repair=repair,
        )

    @contextmanager
    def _open_work_folder(
        self, build: Build, log: Path, messages: list[Message]
    ) -> Iterator[StepContext]:
        """Copy the source into the work folder of a build, and yield the context of its steps."""
        with (
            open_work_folder(work_folder_path(self.work_folder, build.id)) as work,
            keep_failed_work(
                work, log, stop=self.context.stop, keep=self.context.keep_work, notify=self.notify
            ),
        ):
            self.source.copy_to(work.source)
            work.scratch.mkdir()
            yield StepContext(
                source=work.source,
                scratch=work.scratch,
                log=log,
                limit=TimeBudget(self.context.seconds or self._target(build).job_timeout),
                keep_open=(work.lock,),
                messages=messages,
            )


def _note(log: Path, line: str) -> None:
    with log.open("a", encoding="utf-8", newline="\n") as file:
        file.write(f"polywheel: {line}\n")


def create_local_executor(run: RunContext) -> tuple[LocalExecutor, Mapping[str, str]]:
    """Return the executor, and why each missing version of Python is not available.

    Finds or installs the Pythons, and makes the sdist. Raises ConfigError and BuildError.
    """
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
        logs=run.options.log_folder,
        slots=run.slots,
        profile=run.choice.profile,
        chosen_tools=cache(partial(versions_of_chosen_tools, run.project)),
        notify=run.observer.note,
    )
    return executor, missing


def _sdist_maker(
    run: RunContext,
    interpreters: Mapping[str, Interpreter],
    requires: Sequence[str],
    environments: Environments,
) -> SdistMaker:
    profile = run.choice.profile
    return SdistMaker(
        context=run.context,
        interpreter=next(iter(interpreters.values())),
        environments=environments,
        requires=requires,
        profile=profile.name if profile is not None else None,
        folder=run.work_folder,
        log=run.options.log_folder / "sdist.log",
        notify=run.observer.note,
        fresh=run.options.fresh,
        without=run.options.paths_outside_source(),
    )


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
