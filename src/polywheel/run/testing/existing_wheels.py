"""Test wheels that exist already, built by any run on any machine: ``polywheel test``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

from polywheel.environments.interpreters import find_interpreter, install_interpreter
from polywheel.environments.virtual_environments import Interpreter
from polywheel.errors import BuildError, ConfigError, PolywheelError, WheelError
from polywheel.matrix.platforms import this_target
from polywheel.model.plan import NON_VARIANT, Build, Job, Plan
from polywheel.model.wheelname import WheelName
from polywheel.run.context import PreparedRun
from polywheel.run.options import RunObserver, RunOptions
from polywheel.run.orchestrator import worker_context
from polywheel.run.outcome import (
    Outcome,
    State,
    Wheel,
    WheelTestResult,
    WheelTestState,
    with_tests,
)
from polywheel.run.report import Report
from polywheel.run.source.snapshot import Source, read_opened_source
from polywheel.run.testing.tester import WheelTester
from polywheel.run.worker.checks import tag_problems
from polywheel.system.files import sha256_of
from polywheel.system.processes import on_interrupt
from polywheel.system.temporary import temporary_folder
from polywheel.wheel.inspect import read_variant


def test_wheels(
    prepared: PreparedRun, plan: Plan, options: RunOptions, observer: RunObserver
) -> Report:
    """Test the wheels of a plan in the folder ``options.out``, which stay where they are.

    The report has an outcome for each build of this machine with a test command. A wheel that is missing
    counts as failed. Raises PolywheelError if no test can start.
    """
    started = time.monotonic()
    if not options.out.is_dir():
        raise ConfigError("the folder of the wheels does not exist", at=str(options.out))
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
    source = read_opened_source(
        prepared.tree, prepared.source, without=options.paths_outside_source()
    )
    context = worker_context(source, options)
    interrupts: list[bool] = []

    def interrupted() -> None:
        interrupts.append(True)
        context.stop.set()

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
    observer.begin(builds, [])

    def run(build: Build) -> Outcome:
        return _test_build(
            plan,
            build,
            wheels,
            tester=tester,
            source=source,
            stop=context.stop,
            options=options,
            notify=observer.note,
        )

    outcomes = []
    with (
        on_interrupt(interrupted),
        ThreadPoolExecutor(max_workers=options.max_parallel) as pool,
    ):
        for outcome in pool.map(run, builds):
            outcomes.append(outcome)
            observer.build_ended(outcome)
    here = {build.id for build in builds}
    return Report(
        plan=plan,
        out=options.out,
        outcomes=tuple(outcomes),
        elsewhere=tuple(build.id for build in plan.builds if build.id not in here),
        seconds=time.monotonic() - started,
        interrupted=bool(interrupts),
    )


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


def _test_build(
    plan: Plan,
    build: Build,
    wheels: Mapping[str, Path],
    *,
    tester: WheelTester,
    source: Source,
    stop: Event,
    options: RunOptions,
    notify: Callable[[str], None],
) -> Outcome:
    """Test the wheels of one build."""
    began = time.monotonic()
    outcome = Outcome(build=build.id, state=State.UP_TO_DATE)
    if stop.is_set():
        return replace(outcome, state=State.NOT_STARTED)
    earlier: dict[object, WheelTestResult] = {}
    results, present = [], []
    try:
        interpreter = _interpreter(build.python, options, notify)
        with temporary_folder() as folder:
            copy = folder / "source"
            source.copy_to(copy)
            for job in plan.jobs_of(build):
                path = wheels.get(job.id)
                if path is None:
                    if plan.settings_of(job).test_command:
                        results.append(_missing(job, options.out))
                    continue
                _check_variant(job, path)
                result = tester.test(
                    job, build, path, interpreter=interpreter, source=copy, earlier=earlier
                )
                if result is not None:
                    results.append(result)
                present.append(
                    Wheel(
                        job=job.id,
                        file=path.name,
                        size=path.stat().st_size,
                        sha256=sha256_of(path),
                        seconds=result.seconds if result is not None else 0.0,
                        state=State.UP_TO_DATE,
                    )
                )
    except (PolywheelError, OSError) as error:
        if stop.is_set():
            return replace(outcome, state=State.STOPPED)
        text = (
            error.render().removeprefix("error: ")
            if isinstance(error, PolywheelError)
            else str(error)
        )
        return replace(outcome, state=State.FAILED, error=text)
    outcome = replace(outcome, wheels=tuple(present), seconds=time.monotonic() - began)
    return with_tests(outcome, results)


def _missing(job: Job, folder: Path) -> WheelTestResult:
    reason = f"it has no wheel in {folder}"
    return WheelTestResult(job=job.id, state=WheelTestState.FAILED, reason=reason)


def _check_variant(job: Job, path: Path) -> None:
    """Raise WheelError if a wheel is of another variant than its filename says."""
    variant = read_variant(path)
    properties: Sequence[object] = () if variant is None else variant.properties
    label = None if variant is None else variant.label
    if label != job.label or sorted(map(str, properties)) != sorted(map(str, job.properties)):
        raise WheelError(
            f"{path.name} is not the variant {job.label or NON_VARIANT} of the plan",
            at=str(path.parent),
            hint="build it again, or use the plan that it was built from",
        )


def _interpreter(python: str, options: RunOptions, notify: Callable[[str], None]) -> Interpreter:
    interpreter = find_interpreter(python)
    if interpreter is not None:
        return interpreter
    if options.install_python:
        return install_interpreter(python, notify=notify)
    raise BuildError(f"no Python {python} was found", hint="use --install-python to install it")
