"""The builds of a run, each in its turn: what is there is looked at first, the others are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Protocol

from polywheel.model.plan import Build
from polywheel.run.existing_wheels import ExistingWheels, Outcome, State
from polywheel.run.scheduler import Finished, Limits, Task, run_all
from polywheel.system.limits import cpu_count, free_memory
from polywheel.system.processes import on_interrupt


@dataclass(frozen=True, kw_only=True, slots=True)
class RunObserver:
    """Whoever wants to know how it goes; ``said`` may be called in any thread, the others are called
    in the one that runs the plan.
    """

    said: Callable[[str], None] = lambda _: None
    begun: Callable[[Sequence[Build], Sequence[Outcome]], None] = lambda *_: None
    """The builds that there is work for, and the outcomes of the others."""

    started: Callable[[Build], None] = lambda _: None
    ended: Callable[[Outcome], None] = lambda _: None


class BuildExecutor(Protocol):
    """Whoever makes builds; ``look`` and ``make`` may run in several threads at once."""

    def expect(self, builds: int) -> None:
        """So many builds will be made."""

    def look(self, build: Build) -> ExistingWheels:
        """What of a build is there already; nothing is made for it."""

    def make(self, build: Build, standing: ExistingWheels) -> Outcome:
        """Make what is missing; a failure is an outcome too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildLoop:
    """Makes builds."""

    maker: BuildExecutor
    stop: Event
    watcher: RunObserver
    seconds: Callable[[Build], float | None]
    """How long a build took the last time."""

    at_once: int
    memory: Callable[[Build], int]
    """The bytes that a build may need; 0 where nobody said."""

    keep_going: bool

    def all(
        self, builds: Sequence[Build], missing: Mapping[str, str]
    ) -> tuple[list[Outcome], bool]:
        """The outcomes, one for each build, and whether the run was interrupted.

        ``missing`` says why there is no Python of a version.
        """
        outcomes = [
            Outcome(build=build.id, state=State.NO_PYTHON, error=missing[build.python])
            for build in builds
            if build.python in missing
        ]
        waiting = {}
        for build, standing in self._looked([one for one in builds if one.python not in missing]):
            if standing.missing:
                waiting[build.id] = build, standing
            else:
                outcomes.append(
                    Outcome(build=build.id, state=State.UP_TO_DATE, wheels=standing.wheels)
                )
        self.watcher.begun([build for build, _ in waiting.values()], outcomes)
        for outcome in outcomes:
            self.watcher.ended(outcome)
        interrupted = self._make(waiting, outcomes)
        known = {outcome.build for outcome in outcomes}
        outcomes += [
            Outcome(build=identifier, state=State.NOT_STARTED, wheels=standing.wheels)
            for identifier, (_, standing) in waiting.items()
            if identifier not in known
        ]
        return outcomes, interrupted

    def _looked(self, builds: Sequence[Build]) -> list[tuple[Build, ExistingWheels]]:
        # In threads, since the hashes of all wheels are taken.
        with ThreadPoolExecutor(max_workers=cpu_count()) as pool:
            return list(zip(builds, pool.map(self.maker.look, builds), strict=True))

    def _make(
        self, waiting: Mapping[str, tuple[Build, ExistingWheels]], outcomes: list[Outcome]
    ) -> bool:
        """Make what is waiting and add the outcomes; whether that was interrupted."""
        interrupts = []

        def interrupted() -> None:
            # No exception, which would come in the midst of something and lose it.
            interrupts.append(True)
            self.stop.set()

        def ended(done: Finished[Outcome]) -> None:
            outcomes.append(done.result)
            self.watcher.ended(done.result)

        tasks = [
            Task(id=build.id, seconds=self.seconds(build), memory=self.memory(build))
            for build, _ in waiting.values()
        ]
        limits = Limits(at_once=self.at_once, free_memory=free_memory, keep_going=self.keep_going)
        self.maker.expect(len(tasks))
        with on_interrupt(interrupted):
            run_all(
                tasks,
                lambda task: self.maker.make(*waiting[task.id]),
                limits=limits,
                stop=self.stop,
                failed=lambda outcome: outcome.state == State.FAILED,
                started=lambda task: self.watcher.started(waiting[task.id][0]),
                finished=ended,
            )
        return bool(interrupts)
