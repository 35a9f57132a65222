"""Which task runs when: so many at once, long ones first, within the memory that is free."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from typing import Generic, TypeVar

R = TypeVar("R")
_TICK = 0.2
"""Seconds after which free memory, and whether to stop, are looked at again."""


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
    free_memory: Callable[[], int | None] = lambda: None
    """Bytes that programs may still take, now; None where nobody knows."""

    keep_going: bool = True
    """Whether a failure leaves the others alone; else nothing more is started and what runs ends."""


def by_length(tasks: Sequence[Task]) -> list[Task]:
    """Those that nobody has timed in their order, then the others, the longest first."""
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
    finished: Callable[[Finished[R]], object] = lambda _: None,
) -> list[Finished[R]]:
    """Run the tasks; what came of those that were started, in the order in which they ended.

    ``work`` runs in a thread of its own and is to end soon once ``stop`` is set. Then nothing more
    is started. It is set from outside; here at the first failure where the limits say so, and when
    an exception comes (KeyboardInterrupt, or one of ``work`` or of a callback), which is raised again
    after everything has ended. Both callbacks run in the calling thread.
    """
    waiting = deque(by_length(tasks))
    running: dict[Future[R], Task] = {}
    ended: queue.SimpleQueue[Future[R]] = queue.SimpleQueue()
    found: list[Finished[R]] = []
    memory = _Memory(limits.free_memory)

    def start_some(pool: ThreadPoolExecutor) -> None:
        while waiting and len(running) < limits.at_once and not stop.is_set():
            if not memory.has_room(waiting[0], running.values()):
                break
            task = waiting.popleft()
            started(task)
            future = pool.submit(work, task)
            running[future] = task
            future.add_done_callback(ended.put)

    def settle_one() -> None:
        if (future := _next(ended)) is None:
            return
        done = Finished(task=running.pop(future), result=future.result())
        found.append(done)
        if failed(done.result) and not limits.keep_going:
            stop.set()
        finished(done)

    with ThreadPoolExecutor(max_workers=limits.at_once) as pool:
        try:
            start_some(pool)
            while running:
                settle_one()
                start_some(pool)
        except BaseException:
            stop.set()
            while running:
                with suppress(Exception):  # the first one is raised
                    settle_one()
            raise
    return found


def _next(ended: queue.SimpleQueue[Future[R]]) -> Future[R] | None:
    with suppress(queue.Empty):
        return ended.get(timeout=_TICK)
    return None


class _Memory:
    """What tasks may take of the memory that was free when none of them ran."""

    def __init__(self, free: Callable[[], int | None]) -> None:
        self._free = free
        self._all: int | None = None

    def has_room(self, task: Task, running: Collection[Task]) -> bool:
        """Whether a task may start; one that is smaller does not pass it.

        There has to be room beside all that runs, which may not have taken yet what it will; and
        room now, as others may have taken what was free. Where nothing runs there is room for any:
        a task that needs more than there is must still run, and waiting might have no end.
        """
        if not task.memory:
            return True
        if not running:
            self._all = self._free()
            return True
        if self._all is not None and sum(one.memory for one in running) + task.memory > self._all:
            return False
        free = self._free()
        return free is None or task.memory <= free
