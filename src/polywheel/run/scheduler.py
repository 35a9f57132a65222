"""Schedule the builds of a run: the missing wheels in parallel, long builds first, within free memory."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from threading import Event
from typing import TypeVar

from polywheel.model.plan import Build
from polywheel.run.executors.protocol import BuildExecutor
from polywheel.run.options import RunObserver
from polywheel.run.outcome import FAILURES, ExistingWheels, Outcome, State
from polywheel.system.limits import cpu_count
from polywheel.system.processes import on_interrupt

R = TypeVar("R")
_TICK = 0.2
"""Seconds between two looks at free memory and at the stop event."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A task to run."""

    id: str
    seconds: float | None = None
    """How long it took the last time."""

    memory: int = 0
    """Bytes that it may need; 0 if that is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How much may run in parallel."""

    max_parallel: int
    free_memory: Callable[[], int | None] = lambda: None
    """Returns the bytes that are free now; None if that is not known."""

    short_of_memory: Callable[[Task, int], object] = lambda *_: None
    """Called once, with the first task that starts although it may need more than the free bytes."""

    keep_going: bool = True
    """Whether other tasks go on after a failure. If not, no task starts and running tasks end."""


def by_length(tasks: Sequence[Task]) -> list[Task]:
    """Return tasks of unknown length in their order, then the others, the longest first."""
    timed = [task for task in tasks if task.seconds is not None]
    unknown = [task for task in tasks if task.seconds is None]
    return [*unknown, *sorted(timed, key=lambda task: (-(task.seconds or 0.0), task.id))]


def run_all(
    tasks: Sequence[Task],
    work: Callable[[Task], R],
    *,
    limits: Limits,
    stop: Event,
    failed: Callable[[R], bool],
    started: Callable[[Task], object] = lambda _: None,
    finished: Callable[[R], object] = lambda _: None,
) -> list[R]:
    """Run the tasks, and return the results of all that were started, in the order of their ends.

    ``work`` runs in a thread of a pool. It must end soon after ``stop`` is set, and no task starts
    then. The caller may set ``stop``. This function sets it at the first failure if the limits say
    so, and at an exception (KeyboardInterrupt, or an exception of ``work`` or of a callback). The
    exception is raised again after all running tasks have ended. Both callbacks run in the calling
    thread.
    """
    waiting = deque(by_length(tasks))
    running: dict[Future[R], Task] = {}
    ended: queue.SimpleQueue[Future[R]] = queue.SimpleQueue()
    results: list[R] = []
    memory = _Memory(limits)

    def start_some(pool: ThreadPoolExecutor) -> None:
        while waiting and len(running) < limits.max_parallel and not stop.is_set():
            if not memory.has_room(waiting[0], running.values()):
                break
            task = waiting.popleft()
            started(task)
            future = pool.submit(work, task)
            running[future] = task
            future.add_done_callback(ended.put)

    def take_result() -> None:
        try:
            future = ended.get(timeout=_TICK)
        except queue.Empty:
            return
        del running[future]
        result = future.result()
        results.append(result)
        if failed(result) and not limits.keep_going:
            stop.set()
        finished(result)

    with ThreadPoolExecutor(max_workers=limits.max_parallel) as pool:
        try:
            start_some(pool)
            while running:
                take_result()
                start_some(pool)
        except BaseException:
            stop.set()
            while running:
                with suppress(Exception):  # the first one is raised
                    take_result()
            raise
    return results


class _Memory:
    """The memory that was free when no task ran, and the tasks share."""

    def __init__(self, limits: Limits) -> None:
        self._free = limits.free_memory
        self._short = limits.short_of_memory
        self._total: int | None = None
        self._was_short = False

    def has_room(self, task: Task, running: Collection[Task]) -> bool:
        """Return whether a task may start. Smaller tasks do not overtake it.

        Two conditions hold: the task and all running tasks fit together, because running tasks may
        not have allocated their memory yet; and the task fits now, because other programs may have
        allocated memory. If nothing runs, any task may start: otherwise a task that needs more
        memory than the machine has would wait forever.
        """
        if not task.memory:
            return True
        if not running:
            self._total = self._free()
            if self._total is not None and task.memory > self._total and not self._was_short:
                self._was_short = True
                self._short(task, self._total)
            return True
        if self._total is not None:
            reserved = sum(other.memory for other in running)
            if reserved + task.memory > self._total:
                return False
        free = self._free()
        return free is None or task.memory <= free


def run_builds(
    builds: Sequence[Build],
    missing_pythons: Mapping[str, str],
    executor: BuildExecutor,
    *,
    task_of: Callable[[Build], Task],
    limits: Limits,
    stop: Event,
    observer: RunObserver,
) -> tuple[list[Outcome], bool]:
    """Build the missing wheels of builds. Return the outcomes, and whether the run was interrupted.

    ``missing_pythons`` has the reason for each version of Python that is not available. ``task_of``
    returns the task of a build, which has the id of the build.
    """
    outcomes = [
        Outcome(build=build.id, state=State.NO_PYTHON, error=missing_pythons[build.python])
        for build in builds
        if build.python in missing_pythons
    ]
    runnable = [build for build in builds if build.python not in missing_pythons]
    # In threads, since the hashes of all wheels are computed.
    with ThreadPoolExecutor(max_workers=cpu_count()) as pool:
        existing_wheels = list(pool.map(executor.find_existing, runnable))
    waiting: dict[str, tuple[Build, ExistingWheels]] = {}
    for build, existing in zip(runnable, existing_wheels, strict=True):
        if existing.missing or existing.untested:
            waiting[build.id] = build, existing
        else:
            state = State.UP_TO_DATE
            outcomes.append(Outcome(build=build.id, state=state, wheels=existing.wheels))
    observer.begin([build for build, _ in waiting.values()], outcomes)
    for _, existing in waiting.values():
        for job, reasons in existing.reasons.items():
            observer.explain(job, reasons)
    for outcome in outcomes:
        observer.build_ended(outcome)
    interrupts = []

    def interrupted() -> None:
        # No exception: it could be raised anywhere and lose an outcome.
        interrupts.append(True)
        stop.set()

    starts = _Starts()

    def build_started(task: Task) -> None:
        starts.note(task.id)
        observer.build_started(waiting[task.id][0])

    def build_ended(outcome: Outcome) -> None:
        starts.release(outcome.build)
        observer.build_ended(outcome)

    executor.prepare(len(waiting))
    with on_interrupt(interrupted):
        ended = run_all(
            [task_of(build) for build, _ in waiting.values()],
            lambda task: executor.build(*waiting[task.id]),
            limits=limits,
            stop=stop,
            failed=lambda outcome: outcome.state in FAILURES,
            started=build_started,
            finished=build_ended,
        )
    for outcome in ended:
        del waiting[outcome.build]
    not_started = (
        Outcome(build=build.id, state=State.NOT_STARTED, wheels=existing.wheels)
        for build, existing in waiting.values()
    )
    return [*outcomes, *map(starts.add_to, ended), *not_started], bool(interrupts)


class _Starts:
    """When builds started, and on which slots: a build has the lowest number that no running build has."""

    def __init__(self) -> None:
        self._starts: dict[str, tuple[float, int]] = {}
        self._taken: set[int] = set()

    def note(self, build: str) -> None:
        """Note that a build starts."""
        slot = next(number for number in count() if number not in self._taken)
        self._taken.add(slot)
        self._starts[build] = time.monotonic(), slot

    def release(self, build: str) -> None:
        """Make the slot of a build free."""
        self._taken.discard(self._starts[build][1])

    def add_to(self, outcome: Outcome) -> Outcome:
        """Return an outcome with the start of its build."""
        started, slot = self._starts[outcome.build]
        return replace(outcome, started=started, slot=slot)
