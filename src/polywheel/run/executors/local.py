"""Run builds on this machine, each in a worker process in its build environment."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from polywheel.environments.virtual_environments import (
    Environment,
    Interpreter,
    refuse_changed,
)
from polywheel.errors import BuildError, ConfigError, ProviderError
from polywheel.model.plan import Build, Job
from polywheel.model.wheelname import WheelName
from polywheel.run.build_commands import BeforeAll, run_before_build
from polywheel.run.build_key import Key, KeyMaker
from polywheel.run.build_requirements import (
    BuildEnvironment,
    BuildRequirements,
)
from polywheel.run.compiler_cache import (
    compiler_cache_variables,
    read_cache_use,
    total_use,
)
from polywheel.run.context import RunContext
from polywheel.run.executors.protocol import capture_outcome
from polywheel.run.executors.wheel_checks import WheelChecks
from polywheel.run.outcome import (
    REBUILD,
    CacheUse,
    ExistingWheels,
    Outcome,
    State,
    Wheel,
    merge_messages,
)
from polywheel.run.source.snapshot import Source
from polywheel.run.stamper import Stamper
from polywheel.run.wheel_audit import WheelAuditor
from polywheel.run.wheel_store import WheelStore
from polywheel.run.worker.checks import pure_wheel_note
from polywheel.run.worker.jobserver import rejects_jobserver
from polywheel.run.worker.protocol import (
    UNSTAMPED,
    BuildResult,
    BuildStep,
    EnvironmentCheck,
    Message,
    RequirementsStep,
    requested_jobs,
)
from polywheel.run.worker.publish import Publisher
from polywheel.run.worker.requests import (
    StepContext,
    TimeBudget,
    run_step,
    variables_of_build,
)
from polywheel.system.temporary import remove_tree, temporary_folder

if TYPE_CHECKING:
    from polywheel.run.testing.tester import WheelTester


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalExecutor:
    """Implements :class:`polywheel.run.executors.protocol.BuildExecutor` with worker processes.

    A build is a copy of the source, an environment, one call of the real backend, and a check, a
    stamp, and a final name for each wheel.
    """

    run: RunContext
    source: Source
    """The unpacked sdist; the source itself if there is no sdist."""

    interpreters: Mapping[str, Interpreter]
    requirements: BuildRequirements
    publisher: Publisher
    before_all: BeforeAll
    tester: WheelTester | None
    """None if no wheel is tested."""

    auditor: WheelAuditor | None
    """None if no wheel is audited."""

    keys: KeyMaker
    store: WheelStore
    stamper: Stamper

    def prepare(self, builds: int) -> None:
        """Share the compile slots among this number of builds."""
        self.run.slots.share_among(builds)

    def find_existing(self, build: Build) -> ExistingWheels:
        """Return the up-to-date wheels of a build. A build without a known environment has none."""
        jobs = self.run.jobs_of(build)
        try:
            environment = self.requirements.find_environment(self.interpreters[build.python], jobs)
            keys = self._keys_of_build(build, environment)
        except ConfigError:  # its build reports it
            return ExistingWheels(wheels=(), missing=tuple(jobs))
        if self.run.options.rebuild:
            reasons = {job.id: REBUILD for job in jobs}
            return ExistingWheels(wheels=(), missing=tuple(jobs), reasons=reasons)
        existing = self.publisher.existing_wheels(jobs, lambda job: keys[job.id])
        return replace(existing, untested=self._untested(existing.wheels))

    def build(self, build: Build, existing: ExistingWheels) -> Outcome:
        """Build, check, test, and publish the missing wheels. Test those that exist, if it is due."""
        log, stop = self.run.log_of(build), self.run.worker_context.stop
        messages: list[Message] = []
        cache_uses: list[CacheUse | None] = []
        reasons = dict(existing.reasons)
        opened = ExitStack()
        checks = WheelChecks(
            build=build,
            interpreter=self.interpreters[build.python],
            source=self.run.source,
            publisher=self.publisher,
            auditor=self.auditor,
            tester=self.tester,
            opened=opened,
            before_test=lambda: self.before_all.run(build.settings, self.run.time_limit(build)),
        )

        def build_wheels(wheels: list[Wheel]) -> float:
            missing = self._stamp_known(build, existing, wheels, checks)
            if not missing and not existing.untested:
                return 0.0
            self.before_all.run(build.settings, self.run.time_limit(build))
            with self.run.copy_of_source(build, self.source) as work:
                work.scratch.mkdir()
                context = StepContext(
                    worker_context=self.run.worker_context,
                    source=work.source,
                    scratch=work.scratch,
                    log=log,
                    time_budget=TimeBudget(self.run.time_limit(build)),
                    variables=build.settings.environment,
                    settings=build.settings.config_settings,
                    keep_open=(work.lock,),
                    messages=messages,
                )
                checks.test_existing(existing.untested, wheels)
                if not missing:
                    return 0.0
                try:
                    return self._build(
                        build, missing, context, wheels=wheels, checks=checks, reasons=reasons
                    )
                finally:
                    cache_uses.append(read_cache_use(self.run.compiler_cache, work.folder))

        def build_in_slot(wheels: list[Wheel]) -> float:
            with self.run.slots.take_slot(stop):
                return build_wheels(wheels)

        with opened:
            outcome = capture_outcome(build.id, existing, log, stop, build_in_slot)
        messages.extend(checks.messages)
        current = {wheel.job for wheel in outcome.wheels if wheel.state == State.UP_TO_DATE}
        return replace(
            checks.add_to(outcome),
            messages=merge_messages(messages),
            compiler_cache=total_use(cache_uses),
            reasons={job: texts for job, texts in reasons.items() if job not in current},
        )

    def _stamp_known(
        self, build: Build, existing: ExistingWheels, wheels: list[Wheel], checks: WheelChecks
    ) -> Sequence[Job]:
        """Stamp the missing wheels whose content is in the store. Return the other jobs.

        If the environment of the build does not exist yet, these are all.
        """
        missing: Sequence[Job] = existing.missing
        if self.run.options.rebuild:
            return missing
        jobs = self.run.jobs_of(build)
        environment = self.requirements.find_environment(self.interpreters[build.python], jobs)
        if environment is None:
            return missing
        keys = self._keys(build, missing, environment)
        missing = checks.test_failed(missing, lambda job: keys[job.id], wheels)
        return self._stamp_stored(build, missing, keys, environment, wheels=wheels, checks=checks)

    def _stamp_stored(
        self,
        build: Build,
        missing: Sequence[Job],
        keys: Mapping[str, Key],
        environment: Environment,
        *,
        wheels: list[Wheel],
        checks: WheelChecks,
    ) -> Sequence[Job]:
        """Stamp the wheels of jobs whose content is in the store. Return the other jobs."""
        if self.run.options.rebuild:
            return missing
        others = []
        for job in missing:
            key = keys[job.id]
            stored = self.store.find(key.build)
            if stored is None or not key.allows(stored.own_files):
                others.append(job)
                continue
            with temporary_folder(self.publisher.out) as folder:
                try:
                    wheel = self.store.copy(stored, folder)
                    stamped = self.stamper.stamp(
                        job, wheel, folder, build=build, environment=environment
                    )
                # The environment may be damaged, which its build finds; and another run may replace the entry.
                except (ProviderError, OSError):
                    others.append(job)
                    continue
                checks.messages.extend(stamped.messages)
                checks.setup = checks.setup or stamped.setup
                checks.publish(
                    job,
                    folder / stamped.file,
                    key,
                    stored.seconds,
                    setup=stamped.setup_digest,
                    wheels=wheels,
                    state=State.STAMPED,
                    contained=stored.own_files,
                )
        return others

    def _untested(self, wheels: Iterable[Wheel]) -> tuple[Job, ...]:
        """The jobs of wheels whose test is due."""
        jobs = filter(None, (self.run.plan.job(wheel.job) for wheel in wheels))
        return tuple(
            job
            for job in jobs
            if self.tester is not None
            and (key := self.tester.key(job))
            and not self.publisher.is_tested(job, key, require=self.tester.require)
        )

    def _build(
        self,
        build: Build,
        missing: Sequence[Job],
        context: StepContext,
        *,
        wheels: list[Wheel],
        checks: WheelChecks,
        reasons: dict[str, tuple[str, ...]],
    ) -> float:
        """Append the wheels of the missing jobs to ``wheels``, and put the reasons into ``reasons``.

        Returns the seconds that the real backend took.
        """
        interpreter = self.interpreters[build.python]
        jobs = self.run.jobs_of(build)
        build_environment = self._environment(interpreter, build, context)
        if build_environment.certain:
            # A new environment may have the same content as the one before.
            environment = build_environment.environment
            all_keys = self._keys_of_build(build, environment)

            def key(job: Job) -> Key:
                return all_keys[job.id]

            if not self.run.options.rebuild:
                existing = self.publisher.existing_wheels(missing, key)
                reasons.update(existing.reasons)
                wheels.extend(existing.wheels)
                checks.test_existing(self._untested(existing.wheels), wheels)
                missing = checks.test_failed(existing.missing, key, wheels)
            keys = self._keys(build, missing, environment)
            missing = self._stamp_stored(
                build, missing, keys, environment, wheels=wheels, checks=checks
            )
            if not missing:
                return 0.0
        keys = self._keys(build, missing, build_environment.environment)
        began = time.monotonic()
        with temporary_folder(self.publisher.out) as folder:
            out = folder / "wheels"
            out.mkdir()
            result = self._build_with_slots(build, missing, build_environment, out, context)
            if not build_environment.certain:
                # The environment was a guess. If the guess was wrong, nothing was built.
                guess, answer = build_environment.environment, result.requires or ()
                build_environment = self.requirements.remember(interpreter, jobs, guess, answer)
                keys = self._keys(build, missing, build_environment.environment)
                if result.wheels is None:
                    result = self._build_with_slots(build, missing, build_environment, out, context)
            refuse_changed(build_environment.environment)
            checks.setup = result.setup
            share = (time.monotonic() - began) / len(missing)
            built = {wheel.job: wheel for wheel in result.wheels or ()}
            contained = self._store(context, keys[missing[0].id], result, share * len(missing))
            # One after the other: if a wheel fails, the wheels before it stay.
            for job in missing:
                wheel = built.get(job.id)
                if wheel is None or not (out / wheel.file).is_file():
                    raise BuildError(f"the worker made no wheel for {job.id}")
                checks.publish(
                    job,
                    out / wheel.file,
                    keys[job.id],
                    share,
                    setup=wheel.setup_digest,
                    wheels=wheels,
                    contained=contained,
                )
                if text := pure_wheel_note(WheelName.parse(wheel.file), job):
                    self.run.observer.note(text)
                    context.messages.append(Message(text, (job.id,)))
        return result.seconds

    def _store(
        self, context: StepContext, key: Key, result: BuildResult, seconds: float
    ) -> Mapping[str, str]:
        """Put the unstamped wheel of a build into the store.

        Returns the digests of files with tables of polywheel that it contains.
        """
        wheel = context.scratch / UNSTAMPED / (result.unstamped or "")
        if result.unstamped is None or wheel.is_symlink() or not wheel.is_file():
            raise BuildError("the worker left no unstamped wheel")
        contained = self.keys.contained_files(wheel)
        self.store.add(key.build, wheel, seconds=seconds, own_files=contained)
        return contained

    def _environment(
        self, interpreter: Interpreter, build: Build, context: StepContext
    ) -> BuildEnvironment:
        """Return the environment of a build, after its ``before-build`` command has run.

        With ``--fresh`` the backend is asked for its requirements first.
        """
        jobs = self.run.jobs_of(build)
        build_environment = self.requirements.prepare_environment(interpreter, jobs)
        run_before_build(build.settings.before_build, context, build_environment.environment)
        if not self.requirements.fresh:
            return build_environment
        step = RequirementsStep(jobs=requested_jobs(jobs))
        requires = run_step(step, context, build_environment.environment).requires
        return self.requirements.remember(
            interpreter, jobs, build_environment.environment, requires
        )

    def _keys(self, build: Build, jobs: Sequence[Job], environment: Environment) -> dict[str, Key]:
        """Return the keys of jobs. Raises WheelError if the wheel of such a key was changed."""
        keys = self._keys_of_build(build, environment)
        for job in jobs:
            self.publisher.refuse_changed(job, keys[job.id])
        return keys

    def _build_with_slots(
        self,
        build: Build,
        jobs: Sequence[Job],
        build_environment: BuildEnvironment,
        out: Path,
        context: StepContext,
    ) -> BuildResult:
        """Have a worker build the wheels of jobs in ``out``. Raises BuildError."""
        check = None
        if not build_environment.certain:
            all_jobs = requested_jobs(self.run.jobs_of(build))
            check = EnvironmentCheck(jobs=all_jobs, installed=build_environment.requirements)
        step = BuildStep(
            jobs=requested_jobs(jobs),
            out=str(out),
            check=check,
            repair=build.settings.repair_command,
        )
        environment, profile = build_environment.environment, self.run.prepared.choice.profile
        variables = variables_of_build(
            context.worker_context,
            environment=environment,
            settings=context.variables,
            project=context.source,
        )
        more = compiler_cache_variables(self.run.compiler_cache, context.source.parent, variables)
        slots = self.run.slots.settings_for(profile, environment, variables)
        try:
            return run_step(step, context, environment, slots=slots, more=more)
        except BuildError:
            stopped = self.run.worker_context.stop.is_set()
            if not slots.pooled or stopped or not rejects_jobserver(context.log):
                raise
        # A make before 4.4, somewhere in the build, rejects the name of the pool.
        self.run.slots.disable_pool()
        with context.log.open("a", encoding="utf-8", newline="\n") as log:
            log.write(
                "polywheel: this build uses a make before 4.4; trying again with a fixed number of "
                "jobs\n"
            )
        for folder in (out, context.scratch):
            remove_tree(folder)
            folder.mkdir()
        slots = self.run.slots.settings_for(profile, environment, variables)
        return run_step(step, context, environment, slots=slots, more=more)

    def _keys_of_build(self, build: Build, environment: Environment | None) -> dict[str, Key]:
        """Return the keys of all jobs of a build, by their ids."""
        return self.keys.keys(
            self.run.jobs_of(build),
            build.settings,
            self.interpreters[build.python],
            environment,
        )
