"""Which task runs when: so many at once, long ones first, within the memory that is free."""

from __future__ import annotations

import queue
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Generic, TypeVar

R = TypeVar("R")
_TICK = 0.5
"""Seconds after which free memory is looked at again while something waits for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What there is to run, and what is known of it."""

    id: str
    seconds: float | None = None
    """How long it took the last time."""

    memory: int = 0
    """Bytes that it may need; 0 where nobody said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished(Generic[R]):
    """A task that was run, and what came of it."""

    task: Task
    result: R


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How much may run at once."""

    at_once: int
    memory: int | None = None
    """Bytes that are free for tasks; None where nobody knows, or it does not matter."""

    keep_going: bool = True
    """Whether a failure leaves the others alone; else nothing more is started and what runs ends."""


def by_length(tasks: Sequence[Task]) -> list[Task]:
    """Those that nobody has timed in their order, then the others, the longest first."""
    timed = [task for task in tasks if task.seconds is not None]
    unknown = [task for task in tasks if task.seconds is None]
    return [*unknown, *sorted(timed, key=lambda task: (-(task.seconds or 0.0), task.id))]


def run_all(
    tasks: Sequence[Task],
    work: Callable[[Task, Event], R],
    *,
    limits: Limits,
    failed: Callable[[R], bool],
    started: Callable[[Task], object] = lambda _: None,
    finished: Callable[[Finished[R]], object] = lambda _: None,
) -> list[Finished[R]]:
    """Run the tasks; what came of those that were started, in the order in which they ended.

    ``work`` runs in a thread of its own and is to end soon once its event is set: that happens at
    the first failure where the limits say so, and when KeyboardInterrupt comes, which is raised
    again after everything has ended. Both callbacks run in the calling thread.
    """
    waiting = by_length(tasks)
    running: dict[Future[R], Task] = {}
    ended: queue.SimpleQueue[Future[R]] = queue.SimpleQueue()
    found: list[Finished[R]] = []
    stop = Event()

    def settle(future: Future[R]) -> None:
        done = Finished(task=running.pop(future), result=future.result())
        found.append(done)
        finished(done)
        if failed(done.result) and not limits.keep_going:
            stop.set()

    with ThreadPoolExecutor(max_workers=limits.at_once) as pool:
        try:
            while waiting or running:
                while not stop.is_set() and (task := _next(waiting, running.values(), limits)):
                    waiting.remove(task)
                    started(task)
                    future = pool.submit(work, task, stop)
                    running[future] = task
                    future.add_done_callback(ended.put)
                if not running:
                    break
                settle(_ended(ended))
        except BaseException:
            stop.set()
            while running:
                settle(_ended(ended))
            raise
    return found


def _ended(queued: queue.SimpleQueue[Future[R]]) -> Future[R]:
    while True:
        try:
            # With a limit, so that an interrupt is seen on Windows too.
            return queued.get(timeout=_TICK)
        except queue.Empty:
            continue


def _next(waiting: Sequence[Task], running: Collection[Task], limits: Limits) -> Task | None:
    """The first task in line that there is room for; a smaller one does not pass a larger one.

    Where nothing runs there is room for any: a task that needs more than there is must still run.
    """
    if not waiting or len(running) >= limits.at_once:
        return None
    task = waiting[0]
    taken = sum(one.memory for one in running)
    if limits.memory is not None and running and taken + task.memory > limits.memory:
        return None
    return task
