"""Show the progress of a run: as lines, as JSON events, or as a live table."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TextIO

from polywheel.model.plan import Build
from polywheel.run.options import RunObserver
from polywheel.run.outcome import (
    FAILURES,
    PRESENT,
    Outcome,
    State,
    WheelTestResult,
    WheelTestState,
    log_file,
)
from polywheel.run.report import cache_use_as_json, test_as_json, warnings_as_json
from polywheel.system.logs import last_lines
from polywheel.system.terminal import escape_unencodable, format_size, json_text, log_line

if TYPE_CHECKING:
    from rich.console import Console, Group

SHAPE = 1
"""The version of the events of :func:`json_events`."""

_TAIL = 30
"""Lines of a log that are shown if its build fails."""

_MAX_WIDTH = 200
"""Characters of a line of a log that are shown."""

_READ_LINES = 1000
"""Lines at the end of a log that are read at most."""

_SUMMARY_LINES = 3
"""Lines of the live table that do not show a build: counts and the progress bar."""


@contextmanager
def plain_lines(stream: TextIO) -> Iterator[RunObserver]:
    """Write a line for every event."""
    write = _line_writer(stream)
    yield _Lines(lambda line, _style: write(line)).observer()


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
            tests=[{"job": test.job, **(test_as_json(test) or {})} for test in outcome.tests],
            error=outcome.error,
            reasons={job: list(texts) for job, texts in outcome.reasons.items()},
            warnings=warnings_as_json(outcome.messages),
            log=str(outcome.log) if outcome.log is not None else None,
            **{
                "tool-logs": [str(log) for log in outcome.tool_logs],
                "compiler-cache": cache_use_as_json(outcome.compiler_cache),
            },
        )

    yield RunObserver(
        note=lambda line: event("note", text=line),
        begin=lambda waiting, others: event(
            "begin",
            shape=SHAPE,
            waiting=[build.id for build in waiting],
            others=[outcome.build for outcome in others],
        ),
        explain=lambda job, reasons: event("explain", job=job, reasons=list(reasons)),
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

    table = _LiveTable(console or Console(file=stream), logs)
    with Live(table, console=table.console, refresh_per_second=4, transient=True):
        yield table.observer()


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
        with suppress(OSError):
            size = self._log.stat().st_size
            if size != self._size:
                lines = map(_printable, reversed(last_lines(self._log, _READ_LINES)))
                self._line = next(filter(str.strip, lines), self._line)
                self._size = size
        return self._line


class _Lines:
    """Shows a line for every event, and counts the builds."""

    def __init__(self, show: Callable[[str, str], None]) -> None:
        """``show`` gets a line and its style for rich."""
        self.show = show
        self.total = self.done = self.failed = 0
        self._waiting: frozenset[str] = frozenset()
        self._errors: dict[tuple[str, ...], str] = {}

    def observer(self) -> RunObserver:
        return RunObserver(
            note=lambda line: self.show(f"polywheel: {line}", "dim"),
            begin=self.begin,
            explain=self.explain,
            build_started=self.build_started,
            build_ended=self.build_ended,
        )

    def begin(self, waiting: Sequence[Build], others: Sequence[Outcome]) -> None:
        self.total = len(waiting)
        self._waiting = frozenset(build.id for build in waiting)
        for line in initial_lines(waiting, others):
            self.show(line, "dim")

    def explain(self, job: str, reasons: Sequence[str]) -> None:
        self.show(f"{job}: {'; '.join(reasons)}", "dim")

    def build_started(self, build: Build) -> None:
        self.show(f"{build.id}: started", "")

    def build_ended(self, outcome: Outcome) -> None:
        if outcome.build not in self._waiting:
            return  # the initial lines have it
        self.done += 1
        self.failed += outcome.state in FAILURES
        self.show_summary(outcome)
        for line in failure_lines(outcome, self._errors):
            self.show(line, "")

    def show_summary(self, outcome: Outcome) -> None:
        self.show(f"[{self.done}/{self.total}] {summary_line(outcome)}", "")


class _LiveTable(_Lines):
    """The live table and the lines above it."""

    def __init__(self, console: Console, logs: Path) -> None:
        from rich import progress

        super().__init__(self._print)
        self.console = console
        self._logs = logs
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left:"),
            progress.TimeRemainingColumn(),
            console=console,
        )
        self._all_builds = self._bar.add_task("builds", total=None)
        self._running: dict[str, tuple[str, float, LastLine]] = {}
        """By build: its name, its start by time.monotonic(), and its log."""

    def __rich__(self) -> Group:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
        running = list(self._running.values())
        for name, start, log in running[: max(1, self.console.height - _SUMMARY_LINES)]:
            elapsed = f"{time.monotonic() - start:.0f} s"
            table.add_row(Text(name), elapsed, Text(log.line(), style="dim"))
        waiting = self.total - self.done - len(running)
        state = f"{len(running)} running, {waiting} waiting, {self.failed} failed"
        return Group(table, Text(state, style="dim"), self._bar)

    def _print(self, line: str, style: str) -> None:
        from rich.text import Text

        self.console.print(Text(log_line(line), style=style))

    def begin(self, waiting: Sequence[Build], others: Sequence[Outcome]) -> None:
        self._bar.update(self._all_builds, total=len(waiting))
        super().begin(waiting, others)

    def build_started(self, build: Build) -> None:
        log = LastLine(log_file(self._logs, build))
        self._running[build.id] = log_line(build.id), time.monotonic(), log

    def show_summary(self, outcome: Outcome) -> None:
        self._running.pop(outcome.build, None)
        self._bar.advance(self._all_builds)
        self.show(summary_line(outcome), "green" if outcome.state in PRESENT else "bold red")


def initial_lines(waiting: Sequence[Build], others: Sequence[Outcome]) -> list[str]:
    """Return the lines before the first build: how many are up to date or can't be built.

    If no build is waiting, the summary comes at once and has the first number.
    """
    up_to_date = sum(outcome.state == State.UP_TO_DATE for outcome in others)
    lines = [f"{up_to_date} up to date"] if up_to_date and waiting else []
    skipped = Counter(outcome.error for outcome in others if outcome.state == State.NO_PYTHON)
    return [*lines, *(f"{count} skipped: {reason}" for reason, count in skipped.items())]


def summary_line(outcome: Outcome) -> str:
    """Return the outcome of a build as a line."""
    if outcome.state not in PRESENT or (outcome.state == State.UP_TO_DATE and not outcome.tests):
        return f"{outcome.build}: {outcome.state.replace('-', ' ')}"
    files = ", ".join(f"{wheel.file} ({format_size(wheel.size)})" for wheel in outcome.wheels)
    what = "tested" if outcome.state == State.UP_TO_DATE else str(outcome.state)
    text = f"{outcome.build}: {what} in {outcome.seconds:.1f} s: {files}"
    return f"{text}; {tests}" if (tests := _tests(outcome.tests)) else text


def _tests(tests: Sequence[WheelTestResult]) -> str:
    """The results of the tests of a build that did not fail; empty without tests."""
    passed = sum(test.state == WheelTestState.PASSED for test in tests)
    reasons = dict.fromkeys(test.reason for test in tests if test.state == WheelTestState.SKIPPED)
    parts = ["test passed"] if passed else []
    return ", ".join([*parts, *(f"test skipped: {reason}" for reason in reasons)])


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
