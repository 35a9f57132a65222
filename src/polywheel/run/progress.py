"""What a person, or a program, sees of a run while it goes on."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TextIO

from polywheel.model.plan import Build
from polywheel.run.existing_wheels import Outcome, State
from polywheel.run.loop import RunObserver
from polywheel.run.report import warnings_as_json
from polywheel.system.files import open_regular
from polywheel.system.logs import last_lines
from polywheel.system.terminal import escape_unencodable, json_text, log_line

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.progress import Progress

SHAPE = 1
"""The version of the events of :func:`json_events`."""

_TAIL = 30
"""Lines of a log that are shown where its job failed."""

_LONGEST = 200
"""Letters of a line of a log that are shown."""

_LOOKED_AT = 1000
"""Lines at the end of a log that are looked at where its job failed."""

_LAST_LINE = 4 * 1024
"""Bytes at the end of a log that are looked at for its last line."""

_BELOW = 3
"""Lines of the live table that are not about one build: how many there are, and the bar."""


@contextmanager
def plain_lines(stream: TextIO) -> Iterator[RunObserver]:
    """A line for every event."""
    write = _writer(stream)
    count = _Count()
    errors: dict[tuple[str, ...], str] = {}

    def begun(waiting: Sequence[Build], others: Sequence[Outcome]) -> None:
        count.begin(waiting)
        for line in standing(others):
            write(line)

    def ended(outcome: Outcome) -> None:
        if outcome.build not in count.waiting:
            return  # told at the beginning
        count.done += 1
        write(f"[{count.done}/{count.total}] {described(outcome)}")
        for line in failure(outcome, errors):
            write(line)

    yield RunObserver(
        said=lambda line: write(f"polywheel: {line}"),
        begun=begun,
        started=lambda build: write(f"{build.id}: started"),
        ended=ended,
    )


@contextmanager
def json_events(stream: TextIO) -> Iterator[RunObserver]:
    """A JSON object a line for every event; ``docs/build.md`` describes them."""
    write = _writer(stream, tidy=str)

    def event(name: str, **what: Any) -> None:  # noqa: ANN401  # whatever JSON takes
        write(json_text({"event": name, "time": round(time.time(), 3), **what}))

    def ended(outcome: Outcome) -> None:
        event(
            "end",
            build=outcome.build,
            state=str(outcome.state),
            seconds=round(outcome.seconds, 3),
            wheels=[
                {"job": wheel.job, "file": wheel.file, "size": wheel.size, "sha256": wheel.sha256}
                for wheel in outcome.wheels
            ],
            error=outcome.error,
            warnings=warnings_as_json(outcome.messages),
            log=str(outcome.log) if outcome.log is not None else None,
            **{"tool-logs": [str(log) for log in outcome.tool_logs]},
        )

    yield RunObserver(
        said=lambda line: event("note", text=line),
        begun=lambda waiting, others: event(
            "begin",
            shape=SHAPE,
            waiting=[one.id for one in waiting],
            others=[one.build for one in others],
        ),
        started=lambda build: event("start", build=build.id, jobs=list(build.jobs)),
        ended=ended,
    )


@contextmanager
def live_table(
    stream: TextIO, logs: Path, *, console: Console | None = None
) -> Iterator[RunObserver]:
    """A table of what runs, with its last line of output, and a bar for all of it (rich).

    What has ended scrolls away above it. ``logs`` is where builds write theirs.
    """
    from rich.console import Console
    from rich.live import Live

    view = _View(console or Console(file=stream), logs)
    with Live(view, console=view.console, refresh_per_second=4, transient=True):
        yield RunObserver(
            said=lambda line: view.show(f"polywheel: {line}", "dim"),
            begun=view.begun,
            started=view.started,
            ended=view.ended,
        )


@dataclass(frozen=True, slots=True)
class _Running:
    """A build that runs, for the live table."""

    name: str
    began: float
    """By time.monotonic()."""

    log: LastLine


class LastLine:
    """The last line of a log that is not blank, while the log grows.

    The table asks four times a second for every build that runs. Where nothing was written it looks
    at the size alone; else at a few lines at the end.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._size = 0
        self._line = ""

    def line(self) -> str:
        """The line, without what a terminal would act on; empty where there is none."""
        try:
            size = self._log.stat().st_size
            if size == self._size:
                return self._line
            with open_regular(self._log) as file:
                file.seek(max(0, size - _LAST_LINE))
                text = file.read(_LAST_LINE).decode("utf-8", "replace")
        except OSError:
            return self._line
        self._size = size
        for line in reversed(text.splitlines()):
            shown = _shown(line) if line.strip() else ""
            if shown.strip():
                self._line = shown
                break
        return self._line


class _View:
    """What a terminal shows of a run."""

    def __init__(self, console: Console, logs: Path) -> None:
        self.console = console
        self._logs = logs
        self._bar = _total_bar(console)
        self._total = self._bar.add_task("builds", total=None)
        self._running: dict[str, _Running] = {}
        self._count = _Count()
        self._errors: dict[tuple[str, ...], str] = {}

    def __rich__(self) -> Group:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
        running = list(self._running.values())
        for one in running[: max(1, self.console.height - _BELOW)]:
            spent = f"{time.monotonic() - one.began:.0f} s"
            table.add_row(Text(one.name), spent, Text(one.log.line(), style="dim"))
        waiting = self._count.total - self._count.done - len(running)
        state = f"{len(running)} running, {waiting} waiting, {self._count.failed} failed"
        return Group(table, Text(state, style="dim"), self._bar)

    def show(self, line: str, style: str = "") -> None:
        from rich.text import Text

        self.console.print(Text(log_line(line), style=style))

    def begun(self, waiting: Sequence[Build], others: Sequence[Outcome]) -> None:
        self._count.begin(waiting)
        self._bar.update(self._total, total=len(waiting))
        for line in standing(others):
            self.show(line, "dim")

    def started(self, build: Build) -> None:
        log = LastLine(self._logs / f"{build.id}.log")
        self._running[build.id] = _Running(log_line(build.id), time.monotonic(), log)

    def ended(self, outcome: Outcome) -> None:
        if outcome.build not in self._count.waiting:
            return  # told at the beginning
        self._running.pop(outcome.build, None)
        self._count.done += 1
        self._count.failed += outcome.state == State.FAILED
        self._bar.advance(self._total)
        self.show(described(outcome), "green" if outcome.state == State.BUILT else "bold red")
        for line in failure(outcome, self._errors):
            self.show(line)


def _total_bar(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=console,
    )


class _Count:
    """Of the builds of a run."""

    total = done = failed = 0
    waiting: frozenset[str] = frozenset()

    def begin(self, waiting: Sequence[Build]) -> None:
        self.total = len(waiting)
        self.waiting = frozenset(one.id for one in waiting)


def standing(outcomes: Sequence[Outcome]) -> list[str]:
    """What is known before anything is built: how much is there, and what can't be built."""
    there = sum(one.state == State.UP_TO_DATE for one in outcomes)
    lines = [f"{there} up to date"] if there else []
    lacking = Counter(one.error for one in outcomes if one.state == State.NO_PYTHON)
    return [*lines, *(f"{count} left out: {why}" for why, count in lacking.items())]


def described(outcome: Outcome) -> str:
    """What became of a build, in a line."""
    if outcome.state != State.BUILT:
        return f"{outcome.build}: {outcome.state.replace('-', ' ')}"
    files = ", ".join(f"{wheel.file} ({sized(wheel.size)})" for wheel in outcome.wheels)
    return f"{outcome.build}: built in {outcome.seconds:.1f} s: {files}"


def sized(count: int) -> str:
    """A number of bytes for people."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def failure(outcome: Outcome, seen: dict[tuple[str, ...], str]) -> list[str]:
    """Why a build is not there, the end of its log, and where the log lies.

    ``seen`` has the first build for what was shown, and grows: the same is shown once.
    """
    if outcome.error is None:
        return []
    lines = [f"  | {line}" for line in tail(outcome.log)] if outcome.log is not None else []
    lines += [f"  {line}" for line in f"error: {outcome.error}".split("\n")]
    first = seen.setdefault(tuple(lines), outcome.build)
    if first != outcome.build:
        lines = [f"  the same error as {first}"]
    return [*lines, *(f"  log: {log}" for log in outcome.logs)]


def tail(log: Path) -> list[str]:
    """The last lines of a log, without what a terminal would act on; none where there is no log."""
    try:
        lines = [_shown(line) for line in last_lines(log, _LOOKED_AT)]
    except OSError:
        return []
    return [line for line in lines if line.strip()][-_TAIL:]


def _shown(line: str) -> str:
    return log_line(line, longest=_LONGEST)


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody looks on who can see a table move."""
    return stream.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}


def _writer(stream: TextIO, tidy: Callable[[str], str] = log_line) -> Callable[[str], None]:
    """Write lines, from any thread; once nobody reads them any more they go nowhere."""
    lock = Lock()
    open_ends = [stream]

    def write(line: str) -> None:
        text = tidy(line)
        with lock:
            for end in list(open_ends):
                try:
                    end.write(escape_unencodable(text, end) + "\n")
                    end.flush()
                except OSError:  # a pipe into `head`: what is built is built all the same
                    open_ends.clear()

    return write
