"""The scheduler, with tasks that do nothing or wait for the test."""

from __future__ import annotations

import gc
import random
import signal
import threading
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock

import pytest

from polywheel.run.scheduler import Limits, Task, by_length, run_all
from polywheel.system.processes import on_interrupt

SOON = 60.0
"""Seconds after which what should have happened long ago is taken not to happen."""


def tasks(count: int, *, memory: int = 0) -> list[Task]:
    return [Task(id=f"job{number}", memory=memory) for number in range(count)]


def run(
    what: Sequence[Task],
    work: Callable[[Task], str] = lambda task: task.id,
    *,
    limits: Limits | None = None,
    stop: Event | None = None,
    started: Callable[[Task], object] = lambda _: None,
    finished: Callable[[str], object] = lambda _: None,
) -> list[str]:
    """The results, in the order in which the tasks ended; "bad" ones have failed."""
    before = set(threading.enumerate())
    try:
        return run_all(
            what,
            work,
            limits=limits or Limits(max_parallel=1),
            stop=stop or Event(),
            failed=lambda result: result.startswith("bad"),
            started=started,
            finished=finished,
        )
    finally:
        assert set(threading.enumerate()) <= before, "a thread was left behind"


@dataclass
class Gauge:
    """How many tasks run, and the most that ever did."""

    now: list[Task] = field(default_factory=list)
    most: int = 0
    most_memory: int = 0
    lock: Lock = field(default_factory=Lock)

    def __call__(self, task: Task) -> str:
        with self.lock:
            self.now.append(task)
            self.most = max(self.most, len(self.now))
            self.most_memory = max(self.most_memory, sum(one.memory for one in self.now))
        time.sleep(random.random() / 200)
        with self.lock:
            self.now.remove(task)
        return task.id


def test_unknown_tasks_come_first_in_their_order_then_long_before_short() -> None:
    what = [
        Task(id="short", seconds=1.0),
        Task(id="new2"),
        Task(id="long", seconds=9.0),
        Task(id="new1"),
        Task(id="also long", seconds=9.0),
        Task(id="nothing", seconds=0.0),
    ]
    order = ["new2", "new1", "also long", "long", "short", "nothing"]
    assert [task.id for task in by_length(what)] == order
    assert run(what) == order


@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_never_more_at_once_than_allowed_and_as_many_where_there_is_work(at_once: int) -> None:
    together = threading.Barrier(at_once)
    gauge = Gauge()

    def work(task: Task) -> str:
        if int(task.id[3:]) < at_once:
            together.wait(SOON)  # the first ones do all run at the same time
        return gauge(task)

    assert sorted(run(tasks(30), work, limits=Limits(max_parallel=at_once))) == sorted(
        task.id for task in tasks(30)
    )
    assert gauge.most <= at_once


def test_a_place_is_filled_as_soon_as_it_is_free() -> None:
    """One long task does not hold up those that run beside it."""
    others_done = Event()
    done: list[str] = []

    def work(task: Task) -> str:
        assert task.id != "job0" or others_done.wait(SOON)
        return task.id

    def finished(result: str) -> None:
        done.append(result)
        if len(done) == 9:
            others_done.set()

    run(tasks(10), work, limits=Limits(max_parallel=2), finished=finished)
    assert done[-1] == "job0"


def test_memory_of_what_runs_stays_below_what_was_free() -> None:
    gauge = Gauge()
    limits = Limits(max_parallel=8, free_memory=lambda: 350)
    assert len(run(tasks(40, memory=100), gauge, limits=limits)) == 40
    assert gauge.most_memory <= 300
    assert gauge.most == 3


def test_a_task_that_needs_more_than_there_is_runs_alone() -> None:
    gauge = Gauge()
    what = [*tasks(3, memory=10), Task(id="huge", memory=1000), *tasks(3)]
    run(what, gauge, limits=Limits(max_parallel=4, free_memory=lambda: 100))
    assert gauge.most_memory == 1000


def test_nothing_starts_beside_another_while_memory_is_short() -> None:
    """Others on the machine take what was free; once they give it back, it goes on."""
    short, looked_again, second = Event(), Event(), Event()
    looks: list[int] = []

    def free() -> int:
        if not short.is_set():
            return 1000
        looks.append(1)
        if len(looks) == 3:
            looked_again.set()
        return 10

    def started(task: Task) -> None:
        if task.id == "job0":
            short.set()
        else:
            assert not short.is_set(), "it was started although there is no memory for it"
            second.set()

    def work(task: Task) -> str:
        if task.id == "job0":
            assert looked_again.wait(SOON)
            short.clear()
            assert second.wait(SOON)
        return task.id

    limits = Limits(max_parallel=2, free_memory=free)
    assert sorted(run(tasks(2, memory=100), work, limits=limits, started=started)) == [
        "job0",
        "job1",
    ]


def test_short_memory_is_no_reason_to_wait_for_ever() -> None:
    """Where nothing runs, nothing of ours will give memory back."""
    short: list[tuple[str, int]] = []
    limits = Limits(
        max_parallel=2,
        free_memory=lambda: 50,
        short_of_memory=lambda task, free: short.append((task.id, free)),
    )
    assert run(tasks(3, memory=100), limits=limits) == ["job0", "job1", "job2"]
    assert short == [("job0", 50)], "one note is enough"
    short.clear()
    run(tasks(3, memory=50), limits=limits)
    assert short == []


def test_where_nobody_knows_what_is_free_memory_is_no_limit() -> None:
    gauge = Gauge()
    together = threading.Barrier(4)

    def work(task: Task) -> str:
        together.wait(SOON)
        return gauge(task)

    assert len(run(tasks(4, memory=1 << 60), work, limits=Limits(max_parallel=4))) == 4


def test_a_failure_leaves_the_others_alone() -> None:
    results = run(tasks(6), lambda task: "bad" if task.id == "job1" else task.id)
    assert results == ["job0", "bad", "job2", "job3", "job4", "job5"]


def test_the_first_failure_ends_it_where_it_is_to_fail_fast() -> None:
    """What runs is told to stop, and what waits is never started."""
    stop = Event()
    running = Event()

    def work(task: Task) -> str:
        if task.id == "job0":
            running.set()
            return "stopped" if stop.wait(SOON) else "never told"
        assert running.wait(SOON)
        return "bad"

    limits = Limits(max_parallel=2, keep_going=False)
    assert run(tasks(50), work, limits=limits, stop=stop) == ["bad", "stopped"]


def test_what_is_set_from_outside_ends_it_too() -> None:
    stop = Event()

    def finished(result: str) -> None:
        if result == "job2":
            stop.set()

    assert run(tasks(50), stop=stop, finished=finished) == ["job0", "job1", "job2"]
    assert run(tasks(5), stop=stop) == []


def test_an_exception_of_the_work_is_raised_after_all_has_ended() -> None:
    stop = Event()
    ended = Event()

    def work(task: Task) -> str:
        if task.id == "job1":
            raise ZeroDivisionError
        assert stop.wait(SOON)
        ended.set()
        return task.id

    with pytest.raises(ZeroDivisionError):
        run(tasks(9), work, limits=Limits(max_parallel=2), stop=stop)
    assert ended.is_set()


def test_an_exception_of_a_callback_is_raised_after_all_has_ended() -> None:
    """A pipe that nobody reads any more, say."""
    stop = Event()
    seen = []

    def work(task: Task) -> str:
        assert task.id == "job0" or stop.wait(SOON)
        return task.id

    def finished(result: str) -> None:
        seen.append(result)
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(tasks(9), work, limits=Limits(max_parallel=3), stop=stop, finished=finished)
    assert sorted(seen) == ["job0", "job1", "job2"]


def test_keyboard_interrupt_is_raised_again_after_all_has_ended() -> None:
    stop = Event()
    seen: list[str] = []

    def work(task: Task) -> str:
        if task.id == "job1":
            time.sleep(0.3)  # until the scheduler has nothing to do but to wait
            signal.raise_signal(signal.SIGINT)
        assert stop.wait(SOON)
        return task.id

    def finished(result: str) -> None:
        seen.append(result)

    gc.disable()  # hypothesis has a callback, and an exception in it is lost
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tasks(9), work, limits=Limits(max_parallel=2), stop=stop, finished=finished)
    finally:
        gc.enable()
    assert sorted(seen) == ["job0", "job1"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_that_sets_the_event_loses_no_result(name: str) -> None:
    number = getattr(signal, name, None)
    if number is None:
        pytest.skip(f"this system has no {name}")
    stop = Event()
    before = signal.getsignal(number)

    def work(task: Task) -> str:
        if task.id == "job1":
            signal.raise_signal(number)
        assert stop.wait(SOON)
        return task.id

    with on_interrupt(stop.set):
        assert sorted(run(tasks(9), work, limits=Limits(max_parallel=2), stop=stop)) == [
            "job0",
            "job1",
        ]
    assert signal.getsignal(number) == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    if not hasattr(signal, "SIGHUP"):
        pytest.skip("this system has no SIGHUP")
    called = Event()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with on_interrupt(called.set):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert not called.is_set()


def test_without_tasks_there_is_nothing_to_do() -> None:
    assert run([]) == []


def test_a_thousand_jobs_take_the_memory_of_a_few() -> None:
    """What the scheduler holds beside the results does not grow with what was run."""
    seen = 0
    marks = []

    def finished(_: str) -> None:
        nonlocal seen
        seen += 1
        if seen in {200, 1000}:
            marks.append(tracemalloc.get_traced_memory()[0])

    what = tasks(1000)
    tracemalloc.start()
    try:
        run(what, limits=Limits(max_parallel=8), finished=finished)
    finally:
        tracemalloc.stop()
    assert seen == 1000
    # Of each there is what came of it, which the caller wants: no more than 200 bytes.
    assert marks[1] - marks[0] < 800 * 200
