"""The build loop: find existing wheels first, then build the missing ones in parallel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

from polywheel.model.plan import Build
from polywheel.run.executors.protocol import BuildExecutor
from polywheel.run.outcome import ExistingWheels, Outcome, State
from polywheel.run.scheduler import Finished, Limits, Task, run_all
from polywheel.system.limits import cpu_count, free_memory
from polywheel.system.processes import on_interrupt


@dataclass(frozen=True, kw_only=True, slots=True)
class RunObserver:
    """Callbacks for the events of a run.

    ``note`` may be called in any thread, the others are called in the thread that runs the plan.
    """

    note: Callable[[str], None] = lambda _: None
    begin: Callable[[Sequence[Build], Sequence[Outcome]], None] = lambda *_: None
    """Called with the builds that have to run, and the outcomes of all others."""

    build_started: Callable[[Build], None] = lambda _: None
    build_ended: Callable[[Outcome], None] = lambda _: None


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildLoop:
    """Runs builds with an executor."""

    executor: BuildExecutor
    stop: Event
    observer: RunObserver
    seconds: Callable[[Build], float | None]
    """Returns how long a build took the last time; None if that is not known."""

    max_parallel: int
    memory: Callable[[Build], int]
    """Returns the bytes that a build may need; 0 if that is not known."""

    keep_going: bool

    def run(
        self, builds: Sequence[Build], missing_pythons: Mapping[str, str]
    ) -> tuple[list[Outcome], bool]:
        """Return the outcome of each build, and whether the run was interrupted.

        ``missing_pythons`` has the reason for each version of Python that is not available.
        """
        outcomes = [
            Outcome(build=build.id, state=State.NO_PYTHON, error=missing_pythons[build.python])
            for build in builds
            if build.python in missing_pythons
        ]
        waiting = {}
        runnable = [build for build in builds if build.python not in missing_pythons]
        # In threads, since the hashes of all wheels are computed.
        with ThreadPoolExecutor(max_workers=cpu_count()) as pool:
            existing_wheels = list(pool.map(self.executor.find_existing, runnable))
        for build, existing in zip(runnable, existing_wheels, strict=True):
            if existing.missing:
                waiting[build.id] = build, existing
            else:
                outcomes.append(
                    Outcome(build=build.id, state=State.UP_TO_DATE, wheels=existing.wheels)
                )
        self.observer.begin([build for build, _ in waiting.values()], outcomes)
        for outcome in outcomes:
            self.observer.build_ended(outcome)
        interrupted = self._build_all(waiting, outcomes)
        ended = {outcome.build for outcome in outcomes}
        outcomes += [
            Outcome(build=identifier, state=State.NOT_STARTED, wheels=existing.wheels)
            for identifier, (_, existing) in waiting.items()
            if identifier not in ended
        ]
        return outcomes, interrupted

    def _build_all(
        self, waiting: Mapping[str, tuple[Build, ExistingWheels]], outcomes: list[Outcome]
    ) -> bool:
        """Build what waits, append the outcomes, and return whether the run was interrupted."""
        interrupts = []

        def interrupted() -> None:
            # No exception: it could be raised anywhere and lose an outcome.
            interrupts.append(True)
            self.stop.set()

        def ended(finished: Finished[Outcome]) -> None:
            outcomes.append(finished.result)
            self.observer.build_ended(finished.result)

        tasks = [
            Task(id=build.id, seconds=self.seconds(build), memory=self.memory(build))
            for build, _ in waiting.values()
        ]
        limits = Limits(
            max_parallel=self.max_parallel, free_memory=free_memory, keep_going=self.keep_going
        )
        self.executor.prepare(len(tasks))
        with on_interrupt(interrupted):
            run_all(
                tasks,
                lambda task: self.executor.build(*waiting[task.id]),
                limits=limits,
                stop=self.stop,
                failed=lambda outcome: outcome.state == State.FAILED,
                started=lambda task: self.observer.build_started(waiting[task.id][0]),
                finished=ended,
            )
        return bool(interrupts)
