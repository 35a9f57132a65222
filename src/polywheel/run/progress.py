"""What a person, or a program, sees of a run."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from polywheel.model.plan import Build
from polywheel.run.builder import Outcome
from polywheel.run.orchestrator import Watcher

_TAIL = 30
"""Lines of a log that are shown where its job failed."""
_LINE = 200


@contextmanager
def plain_lines(stream: TextIO) -> Iterator[Watcher]:
    """A line for every event."""
    place = {"total": 0, "done": 0}

    def write(line: str) -> None:
        stream.write(line + "\n")
        stream.flush()

    def begun(waiting: Sequence[Build], others: Sequence[Outcome]) -> None:
        place["total"] = len(waiting) + len(others)

    def ended(outcome: Outcome) -> None:
        place["done"] += 1
        write(f"[{place['done']}/{place['total']}] {described(outcome)}")
        for line in failure(outcome):
            write(line)

    yield Watcher(
        said=lambda line: write(f"polywheel: {line}"),
        begun=begun,
        started=lambda build: write(f"{build.id}: started"),
        ended=ended,
    )


@contextmanager
def json_events(stream: TextIO) -> Iterator[Watcher]:
    """A JSON object a line for every event."""

    def write(event: str, **what: Any) -> None:  # noqa: ANN401  # whatever JSON takes
        stream.write(json.dumps({"event": event, "time": round(time.time(), 3), **what}) + "\n")
        stream.flush()

    yield Watcher(
        said=lambda line: write("note", text=line),
        begun=lambda waiting, others: write(
            "begin", waiting=[one.id for one in waiting], done=[one.build for one in others]
        ),
        started=lambda build: write("start", build=build.id, jobs=list(build.jobs)),
        ended=lambda outcome: write(
            "end",
            build=outcome.build,
            state=outcome.state,
            seconds=round(outcome.seconds, 3),
            files=[wheel.file for wheel in outcome.wheels],
            error=outcome.error,
        ),
    )


@contextmanager
def live_table(stream: TextIO, logs: Path) -> Iterator[Watcher]:
    """A table of what runs, with its last line of output, and a bar for all of it (rich)."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    total = bar.add_task("builds", total=None)
    running: dict[str, float] = {}

    class View:
        def __rich__(self) -> Group:
            table = Table.grid(padding=(0, 2), expand=True)
            table.add_column(no_wrap=True)
            table.add_column(no_wrap=True, justify="right")
            table.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
            for name, began in list(running.items()):
                last = last_line(logs / f"{name}.log")
                table.add_row(name, f"{time.monotonic() - began:.0f} s", Text(last, style="dim"))
            return Group(table, bar)

    with Live(View(), console=console, refresh_per_second=4, transient=True):

        def begun(waiting: Sequence[Build], others: Sequence[Outcome]) -> None:
            bar.update(total, total=len(waiting) + len(others))

        def started(build: Build) -> None:
            running[build.id] = time.monotonic()

        def ended(outcome: Outcome) -> None:
            running.pop(outcome.build, None)
            bar.advance(total)
            style = {"built": "green", "skipped": "dim"}.get(outcome.state, "bold red")
            console.print(Text(described(outcome), style=style))
            for line in failure(outcome):
                console.print(Text(line))

        yield Watcher(
            said=lambda line: console.print(Text(f"polywheel: {line}", style="dim")),
            begun=begun,
            started=started,
            ended=ended,
        )


def described(outcome: Outcome) -> str:
    """What became of a build, in a line."""
    files = ", ".join(wheel.file for wheel in outcome.wheels)
    if outcome.state == "built":
        return f"{outcome.build}: built in {outcome.seconds:.1f} s: {files}"
    if outcome.state == "skipped":
        return f"{outcome.build}: is there already: {files}"
    return f"{outcome.build}: {outcome.state}"


def failure(outcome: Outcome) -> list[str]:
    """Why a build is not there, the end of its log, and where the log lies."""
    if outcome.error is None:
        return []
    lines = [f"error: {outcome.error}"]
    if outcome.log is not None and outcome.log.exists():
        lines = [f"  | {line}" for line in tail(outcome.log)] + lines
        lines.append(f"  log: {outcome.log}")
    return lines


def tail(log: Path) -> list[str]:
    """The last lines of a log, without what a terminal would act on."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 64 * 1024))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = [harmless(line) for line in text.splitlines() if line.strip()]
    return lines[-_TAIL:]


def last_line(log: Path) -> str:
    lines = tail(log)
    return lines[-1] if lines else ""


def harmless(line: str) -> str:
    """A line without control characters, and not too long."""
    kept = "".join(char if char.isprintable() or char == "\t" else "?" for char in line)
    return kept[:_LINE]


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody looks on who can see a table move."""
    return stream.isatty() and sys.platform != "emscripten"
