"""The build loop calls an executor as ``polywheel.run.executors.protocol`` says."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from polywheel.errors import BuildError
from polywheel.model.plan import Build
from polywheel.run.executors.protocol import BuildExecutor, capture_outcome
from polywheel.run.options import RunObserver
from polywheel.run.outcome import ExistingWheels, Outcome, State, Wheel
from polywheel.run.scheduler import Limits, Task, run_builds
from support.plans import job, plan_of

PLAN = plan_of([job(None)], [job("v1")], [job("v2")])
FIRST, SECOND, THIRD = PLAN.builds


class RecordingExecutor:
    """An executor of another engine, reduced to the protocol."""

    def __init__(self, existing: Sequence[Build] = (), failing: Sequence[Build] = ()) -> None:
        self.existing, self.failing = existing, failing
        self.stop = threading.Event()
        self.calls: list[str] = []
        self.prepare_thread: threading.Thread | None = None

    def find_existing(self, build: Build) -> ExistingWheels:
        self.calls.append("find_existing")
        jobs = tuple(job for job in PLAN.jobs if job.id in build.jobs)
        return ExistingWheels(wheels=(), missing=() if build in self.existing else jobs)

    def prepare(self, builds: int) -> None:
        self.calls.append(f"prepare {builds}")
        self.prepare_thread = threading.current_thread()

    def build(self, build: Build, existing: ExistingWheels) -> Outcome:
        self.calls.append(f"build {build.id}")

        def build_wheels(wheels: list[Wheel]) -> float:
            wheels.append(Wheel(job=build.jobs[0], file="f", size=1, sha256="0", seconds=1.0))
            if build in self.failing:
                raise BuildError("it broke")
            return 0.5

        log = Path("no-such-folder", f"{build.id}.log")
        return capture_outcome(build.id, existing, log, self.stop, build_wheels)


def run(
    executor: RecordingExecutor,
    *,
    keep_going: bool = True,
    missing: Sequence[Build] = (),
    parallel: int = 1,
) -> dict[str, Outcome]:
    implementation: BuildExecutor = executor
    outcomes, interrupted = run_builds(
        PLAN.builds,
        {build.python: "no such Python" for build in missing},
        implementation,
        task_of=lambda build: Task(id=build.id),
        limits=Limits(max_parallel=parallel, keep_going=keep_going),
        stop=executor.stop,
        observer=RunObserver(),
    )
    assert not interrupted
    return {outcome.build: outcome for outcome in outcomes}


def test_existing_wheels_are_found_before_the_builds_are_prepared_and_built() -> None:
    executor = RecordingExecutor(existing=[SECOND])
    outcomes = run(executor)
    assert executor.calls[:4] == ["find_existing"] * 3 + ["prepare 2"]
    assert executor.calls[4:] == [f"build {FIRST.id}", f"build {THIRD.id}"]
    assert executor.prepare_thread is threading.current_thread()
    assert outcomes[SECOND.id].state == State.UP_TO_DATE
    assert outcomes[FIRST.id].state == State.BUILT
    assert outcomes[FIRST.id].hook_seconds == 0.5


def test_builds_know_when_they_started_and_on_which_slot() -> None:
    before = time.monotonic()
    outcomes = run(RecordingExecutor(existing=[SECOND]))
    first, second, third = (outcomes[build.id] for build in PLAN.builds)
    assert (second.started, second.slot) == (None, None)
    assert first.started is not None
    assert third.started is not None
    assert before <= first.started <= third.started <= time.monotonic()
    assert (first.slot, third.slot) == (0, 0)  # one after the other


def test_builds_at_the_same_time_have_different_slots() -> None:
    together = threading.Barrier(3, timeout=60)

    class Waiting(RecordingExecutor):
        def build(self, build: Build, existing: ExistingWheels) -> Outcome:
            together.wait()
            return super().build(build, existing)

    outcomes = run(Waiting(), parallel=3)
    assert [outcomes[build.id].slot for build in PLAN.builds] == [0, 1, 2]


def test_an_executor_never_gets_builds_whose_python_is_missing() -> None:
    executor = RecordingExecutor()
    outcomes = run(executor, missing=PLAN.builds)
    assert executor.calls == ["prepare 0"]
    assert {outcome.state for outcome in outcomes.values()} == {State.NO_PYTHON}


def test_a_failure_keeps_the_wheels_before_it_and_others_go_on() -> None:
    outcomes = run(RecordingExecutor(failing=[FIRST]))
    assert outcomes[FIRST.id].state == State.FAILED
    assert outcomes[FIRST.id].error == "it broke"
    assert len(outcomes[FIRST.id].wheels) == 1
    assert outcomes[THIRD.id].state == State.BUILT


def test_no_build_starts_after_the_first_failure_if_the_run_does_not_keep_going() -> None:
    executor = RecordingExecutor(failing=[FIRST])
    outcomes = run(executor, keep_going=False)
    assert executor.stop.is_set()
    assert outcomes[SECOND.id].state == State.NOT_STARTED
    assert outcomes[THIRD.id].state == State.NOT_STARTED


def test_a_failure_after_stop_is_a_stopped_build(tmp_path: Path) -> None:
    stop = threading.Event()

    def build_wheels(_: list[Wheel]) -> float:
        stop.set()
        raise BuildError("it was stopped")

    nothing = ExistingWheels(wheels=(), missing=())
    outcome = capture_outcome("b", nothing, tmp_path / "b.log", stop, build_wheels)
    assert (outcome.state, outcome.error) == (State.STOPPED, None)


def test_another_exception_of_an_executor_is_raised_after_stop_is_set() -> None:
    class Defective(RecordingExecutor):
        def build(self, build: Build, existing: ExistingWheels) -> Outcome:
            raise ZeroDivisionError(build, existing)

    executor = Defective()
    with pytest.raises(ZeroDivisionError):
        run(executor)
    assert executor.stop.is_set()
