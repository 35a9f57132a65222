"""Show the progress of a run: as lines, as JSON events, or as a live table."""

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
from polywheel.run.options import RunObserver
from polywheel.run.outcome import Outcome, State, log_file
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
"""Lines of a log that are shown if its build fails."""

_MAX_WIDTH = 200
"""Characters of a line of a log that are shown."""

_READ_LINES = 1000
"""Lines at the end of a log that are read if its build fails."""

_LAST_LINE = 4 * 1024
"""Bytes at the end of a log that are read for its last line."""

_SUMMARY_LINES = 3
"""Lines of the live table that do not show a build: counts and the progress bar."""


@contextmanager
def plain_lines(stream: TextIO) -> Iterator[RunObserver]:
    """Write a line for every event."""
    write = _line_writer(stream)
    count = _Count()
    errors: dict[tuple[str, ...], str] = {}

    def begin(waiting: Sequence[Build], others: Sequence[Outcome]) -> None:
        count.begin(waiting)
        for line in initial_lines(others):
            write(line)

    def build_ended(outcome: Outcome) -> None:
        if outcome.build not in count.waiting:
            return  # the initial lines have it
        count.done += 1
        write(f"[{count.done}/{count.total}] {summary_line(outcome)}")
        for line in failure_lines(outcome, errors):
            write(line)

    yield RunObserver(
        note=lambda line: write(f"polywheel: {line}"),
        begin=begin,
        build_started=lambda build: write(f"{build.id}: started"),
        build_ended=build_ended,
    )


@contextmanager
def json_events(stream: TextIO) -> Iterator[RunObserver]:
    """Write a line with a JSON object for every event; ``docs/build.md`` describes them."""
    write = _line_writer(stream, clean=str)

    def event(name: str, **values: Any) -> None:  # noqa: ANN401  # any JSON value
        write(json_text({"event": name, "time": round(time.time(), 3), **values}))

    def build_ended(outcome: Outcome) -> None:
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
        note=lambda line: event("note", text=line),
        begin=lambda waiting, others: event(
            "begin",
            shape=SHAPE,
            waiting=[build.id for build in waiting],
            others=[outcome.build for outcome in others],
        ),
        build_started=lambda build: event("start", build=build.id, jobs=list(build.jobs)),
        build_ended=build_ended,
    )


@contextmanager
def live_table(
    stream: TextIO, logs: Path, *, console: Console | None = None
) -> Iterator[RunObserver]:
    """Show a table of the running builds with their last lines of output, and a progress bar.

    Builds that have ended scroll away above the table. ``logs`` is the folder of the builds' logs.
    """
    from rich.console import Console
    from rich.live import Live

    view = _View(console or Console(file=stream), logs)
    with Live(view, console=view.console, refresh_per_second=4, transient=True):
        yield RunObserver(
            note=lambda line: view.show(f"polywheel: {line}", "dim"),
            begin=view.begin,
            build_started=view.build_started,
            build_ended=view.build_ended,
        )


@dataclass(frozen=True, slots=True)
class _Running:
    """A running build in the live table."""

    name: str
    start: float
    """By time.monotonic()."""

    log: LastLine


class LastLine:
    """The last line of a growing log that is not blank.

    The table asks four times a second for every running build. If the size of the log is the same
    as before, the log is not read. Otherwise only its end is read.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._size = 0
        self._line = ""

    def line(self) -> str:
        """Return the line without control characters; empty if there is none."""
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
            printable = _printable(line) if line.strip() else ""
            if printable.strip():
                self._line = printable
                break
        return self._line


class _View:
    """The live table and the lines above it."""

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
        for build in running[: max(1, self.console.height - _SUMMARY_LINES)]:
            elapsed = f"{time.monotonic() - build.start:.0f} s"
            table.add_row(Text(build.name), elapsed, Text(build.log.line(), style="dim"))
        waiting = self._count.total - self._count.done - len(running)
        state = f"{len(running)} running, {waiting} waiting, {self._count.failed} failed"
        return Group(table, Text(state, style="dim"), self._bar)

    def show(self, line: str, style: str = "") -> None:
        from rich.text import Text

        self.console.print(Text(log_line(line), style=style))

    def begin(self, waiting: Sequence[Build], others: Sequence[Outcome]) -> None:
        self._count.begin(waiting)
        self._bar.update(self._total, total=len(waiting))
        for line in initial_lines(others):
            self.show(line, "dim")

    def build_started(self, build: Build) -> None:
        log = LastLine(log_file(self._logs, build))
        self._running[build.id] = _Running(log_line(build.id), time.monotonic(), log)

    def build_ended(self, outcome: Outcome) -> None:
        if outcome.build not in self._count.waiting:
            return  # the initial lines have it
        self._running.pop(outcome.build, None)
        self._count.done += 1
        self._count.failed += outcome.state == State.FAILED
        self._bar.advance(self._total)
        self.show(summary_line(outcome), "green" if outcome.state == State.BUILT else "bold red")
        for line in failure_lines(outcome, self._errors):
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
    """How many builds of a run wait, have ended, and have failed."""

    total = done = failed = 0
    waiting: frozenset[str] = frozenset()

    def begin(self, waiting: Sequence[Build]) -> None:
        self.total = len(waiting)
        self.waiting = frozenset(build.id for build in waiting)


def initial_lines(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the lines before the first build: how many are up to date or can't be built."""
    up_to_date = sum(outcome.state == State.UP_TO_DATE for outcome in outcomes)
    lines = [f"{up_to_date} up to date"] if up_to_date else []
    skipped = Counter(outcome.error for outcome in outcomes if outcome.state == State.NO_PYTHON)
    return [*lines, *(f"{count} skipped: {reason}" for reason, count in skipped.items())]


def summary_line(outcome: Outcome) -> str:
    """Return the outcome of a build as a line."""
    if outcome.state != State.BUILT:
        return f"{outcome.build}: {outcome.state.replace('-', ' ')}"
    files = ", ".join(f"{wheel.file} ({format_size(wheel.size)})" for wheel in outcome.wheels)
    return f"{outcome.build}: built in {outcome.seconds:.1f} s: {files}"


def format_size(count: int) -> str:
    """Return a number of bytes with a unit."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def failure_lines(outcome: Outcome, first_build: dict[tuple[str, ...], str]) -> list[str]:
    """Return the end of a failed build's log, its error, and the paths of its logs.

    ``first_build`` has the build for which the same lines were shown before. They are shown once.
    This function adds to it.
    """
    if outcome.error is None:
        return []
    lines = [f"  | {line}" for line in log_tail(outcome.log)] if outcome.log is not None else []
    lines += [f"  {line}" for line in f"error: {outcome.error}".split("\n")]
    first = first_build.setdefault(tuple(lines), outcome.build)
    if first != outcome.build:
        lines = [f"  the same error as {first}"]
    return [*lines, *(f"  log: {log}" for log in outcome.logs)]


def log_tail(log: Path) -> list[str]:
    """Return the last lines of a log without control characters; none if there is no log."""
    try:
        lines = [_printable(line) for line in last_lines(log, _READ_LINES)]
    except OSError:
        return []
    return [line for line in lines if line.strip()][-_TAIL:]


def _printable(line: str) -> str:
    return log_line(line, longest=_MAX_WIDTH)


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that can show a live table."""
    return stream.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}


def _line_writer(stream: TextIO, clean: Callable[[str], str] = log_line) -> Callable[[str], None]:
    """Return a function that writes a line from any thread. After an error it does nothing."""
    lock = Lock()
    open_streams = [stream]

    def write(line: str) -> None:
        text = clean(line)
        with lock:
            for output in list(open_streams):
                try:
                    output.write(escape_unencodable(text, output) + "\n")
                    output.flush()
                except OSError:  # a closed pipe (`| head`): the builds go on
                    open_streams.clear()

    return write
