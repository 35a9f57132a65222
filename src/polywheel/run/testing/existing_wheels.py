"""Test wheels that exist already, built by any run on any machine: ``polywheel test``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from polywheel.environments.interpreters import find_interpreters
from polywheel.environments.virtual_environments import Interpreter
from polywheel.errors import ConfigError, PolywheelError, WheelError
from polywheel.matrix.platforms import this_target
from polywheel.model.plan import NON_VARIANT, Build, Job, Plan
from polywheel.model.wheelname import WheelName
from polywheel.run.context import PreparedRun
from polywheel.run.executors.protocol import capture_outcome
from polywheel.run.options import RunObserver, RunOptions
from polywheel.run.orchestrator import worker_context
from polywheel.run.outcome import (
    ExistingWheels,
    Outcome,
    State,
    Wheel,
    WheelTestResult,
    WheelTestState,
    with_tests,
)
from polywheel.run.report import Report, RunStart
from polywheel.run.scheduler import Limits, Task, run_builds
from polywheel.run.source.snapshot import Source, read_opened_source
from polywheel.run.testing.tester import WheelTester
from polywheel.run.worker.checks import tag_problems
from polywheel.system.files import sha256_of
from polywheel.system.temporary import temporary_folder
from polywheel.wheel.inspect import read_variant


def test_wheels(
    prepared: PreparedRun, plan: Plan, options: RunOptions, observer: RunObserver
) -> Report:
    """Test the wheels of a plan in the folder ``options.out``, which stay where they are.

    The report has an outcome for each build of this machine with a test command. A wheel that is missing
    counts as failed. Raises PolywheelError if no test can start.
    """
    start = RunStart.now(prepared.source, options)
    builds = _builds_with_tests(plan, options.out)
    source = read_opened_source(
        prepared.tree, prepared.source, without=options.paths_outside_source()
    )
    context = worker_context(source, options)
    tester = WheelTester(
        project=prepared.project,
        plan=plan,
        context=context,
        log_folder=options.log_folder,
        require=options.require_tests,
        notify=observer.note,
    )
    wheels = _wheels_of(plan, builds, options.out)
    options.log_folder.mkdir(parents=True, exist_ok=True)
    interpreters, missing_pythons = find_interpreters(
        (build.python for build in builds), install=options.install_python, notify=observer.note
    )
    outcomes, interrupted = run_builds(
        builds,
        missing_pythons,
        _TestExecutor(
            plan=plan,
            folder=options.out,
            wheels=wheels,
            interpreters=interpreters,
            source=source,
            tester=tester,
        ),
        task_of=lambda build: Task(id=build.id),
        limits=Limits(max_parallel=options.max_parallel),
        stop=context.stop,
        observer=observer,
    )
    here = {build.id for build in builds}
    return Report(
        plan=plan,
        out=options.out,
        outcomes=tuple(outcomes),
        elsewhere=tuple(build.id for build in plan.builds if build.id not in here),
        seconds=time.monotonic() - start.clock,
        interrupted=interrupted,
        start=start,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _TestExecutor:
    """Implements :class:`polywheel.run.executors.protocol.BuildExecutor`: it tests instead of building."""

    plan: Plan
    folder: Path
    wheels: Mapping[str, Path]
    """By the id of their job."""

    interpreters: Mapping[str, Interpreter]
    source: Source
    tester: WheelTester

    def find_existing(self, build: Build) -> ExistingWheels:
        """All wheels are to be tested."""
        return ExistingWheels(wheels=(), missing=(), untested=tuple(self.plan.jobs_of(build)))

    def prepare(self, builds: int) -> None:
        """Nothing is shared."""

    def build(self, build: Build, existing: ExistingWheels) -> Outcome:
        """Test the wheels of a build. The outcome has those whose test did not fail."""
        results: list[WheelTestResult] = []

        def test_wheels(wheels: list[Wheel]) -> float:
            earlier: dict[object, WheelTestResult] = {}
            with temporary_folder() as folder:
                source = folder / "source"
                self.source.copy_to(source)
                for job in existing.untested:
                    result = self._test(job, build, source, earlier)
                    if result is not None:
                        results.append(result)
                    failed = result is not None and result.state == WheelTestState.FAILED
                    if job.id in self.wheels and not failed:
                        wheels.append(_existing_wheel(job, self.wheels[job.id]))
            return 0.0

        stop = self.tester.context.stop
        outcome = capture_outcome(build.id, existing, None, stop, test_wheels)
        return with_tests(outcome, results)

    def _test(
        self, job: Job, build: Build, source: Path, earlier: dict[object, WheelTestResult]
    ) -> WheelTestResult | None:
        """Test the wheel of a job; None if it has no test."""
        if not self.plan.settings_of(job).test_command:
            return None
        wheel = self.wheels.get(job.id)
        try:
            if wheel is None:
                raise WheelError(f"it has no wheel in {self.folder}")
            _check_variant(job, wheel)
        except (PolywheelError, OSError) as error:
            return self.tester.failure(job, error)
        return self.tester.test(
            job,
            build,
            wheel,
            interpreter=self.interpreters[build.python],
            source=source,
            earlier=earlier,
        )


def _builds_with_tests(plan: Plan, folder: Path) -> list[Build]:
    """The builds of this machine with a test. Raises ConfigError if there is none, or no folder."""
    if not folder.is_dir():
        raise ConfigError("the folder of the wheels does not exist", at=str(folder))
    builds = [
        build
        for build in plan.builds_for(this_target())
        if any(plan.settings_of(job).test_command for job in plan.jobs_of(build))
    ]
    if not builds:
        raise ConfigError(
            "no wheel of the plan has a test for this machine",
            at=f"--plan ({this_target()})",
            hint="set test-command in [tool.polywheel], a target, or an override",
        )
    return builds


def _wheels_of(plan: Plan, builds: Iterable[Build], folder: Path) -> Mapping[str, Path]:
    """The wheels in a folder by the id of their job. Raises WheelError if two fit one job."""
    paths: dict[str | None, list[tuple[WheelName, Path]]] = {}
    for path in sorted(folder.glob("*.whl")):
        name = WheelName.parse(path.name)
        paths.setdefault(name.label, []).append((name, path))
    found: dict[str, Path] = {}
    for build in builds:
        for job in plan.jobs_of(build):
            targets = [plan.targets[name] for name in job.targets]
            fitting = [
                path
                for name, path in paths.get(job.label, ())
                if not tag_problems(name, job, targets)
            ]
            if len(fitting) > 1:
                names = ", ".join(path.name for path in fitting)
                raise WheelError(
                    f"several wheels fit the job {job.id}: {names}",
                    at=str(folder),
                    hint="leave the wheels of one version and one target in the folder",
                )
            if fitting:
                found[job.id] = fitting[0]
    return found


def _check_variant(job: Job, path: Path) -> None:
    """Raise WheelError if a wheel is of another variant than its filename says."""
    variant = read_variant(path)
    properties = () if variant is None else variant.properties
    label = None if variant is None else variant.label
    if label != job.label or {*properties} != {*job.properties}:
        raise WheelError(
            f"{path.name} is not the variant {job.label or NON_VARIANT} of the plan: build it again, or use "
            "the plan that it was built from"
        )


def _existing_wheel(job: Job, path: Path) -> Wheel:
    return Wheel(
        job=job.id,
        file=path.name,
        size=path.stat().st_size,
        sha256=sha256_of(path),
        seconds=0.0,  # not known
        state=State.UP_TO_DATE,
    )
