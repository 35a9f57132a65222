"""The build loop: find existing wheels first, then build the missing ones in parallel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

from polywheel.model.plan import Build
from polywheel.run.executors.protocol import BuildExecutor
from polywheel.run.options import RunObserver
from polywheel.run.outcome import ExistingWheels, Outcome, State
from polywheel.run.scheduler import Limits, Task, run_all
from polywheel.system.limits import cpu_count
from polywheel.system.processes import on_interrupt


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildLoop:
    """Runs builds with an executor."""

    executor: BuildExecutor
    stop: Event
    observer: RunObserver
    limits: Limits
    task_of: Callable[[Build], Task]
    """Returns the task of a build, which has the id of the build."""

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

        def ended(outcome: Outcome) -> None:
            outcomes.append(outcome)
            self.observer.build_ended(outcome)

        self.executor.prepare(len(waiting))
        with on_interrupt(interrupted):
            run_all(
                [self.task_of(build) for build, _ in waiting.values()],
                lambda task: self.executor.build(*waiting[task.id]),
                limits=self.limits,
                stop=self.stop,
                failed=lambda outcome: outcome.state == State.FAILED,
                started=lambda task: self.observer.build_started(waiting[task.id][0]),
                finished=ended,
            )
        return bool(interrupts)
