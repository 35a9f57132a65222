"""Progress of a run: lines, events, a live table, and safe text for terminals."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from polywheel.model.plan import Build
from polywheel.run import progress
from polywheel.run.options import RunObserver
from polywheel.run.outcome import Outcome, State, Wheel
from polywheel.run.progress import (
    LastLine,
    failure_lines,
    is_terminal,
    json_events,
    live_table,
    log_tail,
    plain_lines,
)
from polywheel.system.terminal import log_line

COLOUR = re.compile(r"\x1b\[[0-9;]*[34]\dm|\x1b\[3[0-9]")


def build(name: str) -> Build:
    return Build(id=name, python="3.12", target="linux-x86_64", jobs=(name,))


def wheel(name: str) -> Wheel:
    return Wheel(job=name, file=f"{name}.whl", size=1_234_567, sha256="0" * 64, seconds=2.0)


def built(name: str) -> Outcome:
    return Outcome(build=name, state=State.BUILT, wheels=(wheel(name),), seconds=2.04)


def failed(name: str, log: Path | None = None, error: str = "it broke\n  hint: mend it") -> Outcome:
    return Outcome(build=name, state=State.FAILED, seconds=1.0, error=error, log=log)


def no_python(name: str) -> Outcome:
    return Outcome(build=name, state=State.NO_PYTHON, error="there is no Python 3.99 here")


def up_to_date(name: str) -> Outcome:
    return Outcome(build=name, state=State.UP_TO_DATE, wheels=(wheel(name),))


def a_run(observer: RunObserver, log: Path) -> None:
    """Two that are there, two without a Python, one that is built, one that fails."""
    log.write_text("".join(f"line {number}\n" for number in range(100)), encoding="utf-8")
    others = [up_to_date("a"), up_to_date("b"), no_python("c"), no_python("d")]
    observer.note("Python 3.12: installing meson-python")
    observer.begin([build("e"), build("f")], others)
    for outcome in others:
        observer.build_ended(outcome)
    observer.build_started(build("e"))
    observer.build_started(build("f"))
    observer.build_ended(built("e"))
    observer.build_ended(failed("f", log))


def test_plain_lines(tmp_path: Path) -> None:
    stream = io.StringIO()
    log = tmp_path / "f.log"
    with plain_lines(stream) as observer:
        a_run(observer, log)
    assert stream.getvalue().splitlines() == [
        "polywheel: Python 3.12: installing meson-python",
        "2 up to date",
        "2 skipped: there is no Python 3.99 here",
        "e: started",
        "f: started",
        "[1/2] e: built in 2.0 s: e.whl (1.23 MB)",
        "[2/2] f: failed",
        *(f"  | line {number}" for number in range(70, 100)),
        "  error: it broke",
        "    hint: mend it",
        f"  log: {log}",
    ]


def test_if_all_is_up_to_date_only_the_summary_says_so() -> None:
    stream = io.StringIO()
    with plain_lines(stream) as observer:
        observer.begin([], [up_to_date("a"), no_python("c")])
    assert stream.getvalue().splitlines() == ["1 skipped: there is no Python 3.99 here"]


def test_json_events(tmp_path: Path) -> None:
    stream = io.StringIO()
    log = tmp_path / "f.log"
    with json_events(stream) as observer:
        a_run(observer, log)
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    times = [one.pop("time") for one in events]
    assert times == sorted(times)
    there: dict[str, Any] = {
        "seconds": 0.0,
        "tests": [],
        "error": None,
        "reasons": {},
        "warnings": [],
        "log": None,
        "tool-logs": [],
        "compiler-cache": None,
    }
    lacking = {**there, "state": "no-python", "error": "there is no Python 3.99 here"}

    def said(name: str) -> dict[str, object]:
        return {"job": name, "file": f"{name}.whl", "size": 1_234_567, "sha256": "0" * 64}

    assert events == [
        {"event": "note", "text": "Python 3.12: installing meson-python"},
        {"event": "begin", "shape": 1, "waiting": ["e", "f"], "others": ["a", "b", "c", "d"]},
        *(
            {"event": "end", "build": one, "state": "up-to-date", "wheels": [said(one)], **there}
            for one in "ab"
        ),
        *({"event": "end", "build": one, "wheels": [], **lacking} for one in "cd"),
        {"event": "start", "build": "e", "jobs": ["e"]},
        {"event": "start", "build": "f", "jobs": ["f"]},
        {
            "event": "end",
            "build": "e",
            "state": "built",
            "seconds": 2.04,
            "wheels": [said("e")],
            "tests": [],
            "error": None,
            "reasons": {},
            "warnings": [],
            "log": None,
            "tool-logs": [],
            "compiler-cache": None,
        },
        {
            "event": "end",
            "build": "f",
            "state": "failed",
            "seconds": 1.0,
            "wheels": [],
            "tests": [],
            "error": "it broke\n  hint: mend it",
            "reasons": {},
            "warnings": [],
            "log": str(log),
            "tool-logs": [],
            "compiler-cache": None,
        },
    ]


class Terminal(io.StringIO):
    """What rich takes for a terminal, kept as text."""

    def isatty(self) -> bool:
        return True


@contextmanager
def table(logs: Path, stream: Terminal) -> Iterator[RunObserver]:
    console = Console(file=stream, width=100, height=30, force_terminal=True)
    with live_table(stream, logs, console=console) as observer:
        yield observer


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def test_the_table(tmp_path: Path) -> None:
    stream = Terminal()
    log = tmp_path / "f.log"
    with table(tmp_path, stream) as observer:
        a_run(observer, log)
    shown = shown_text(stream)
    assert "2 up to date" in shown
    assert "2 skipped: there is no Python 3.99 here" in shown
    assert "e: built in 2.0 s: e.whl (1.23 MB)" in shown
    assert "f: failed" in shown
    assert "line 99" in shown
    assert str(log) in shown.replace("\n", "")
    assert COLOUR.search(stream.getvalue())


def test_the_table_while_it_moves(tmp_path: Path) -> None:
    stream = Terminal()
    (tmp_path / "e.log").write_text("compiling\n\x1b[31m[3/9] axpy.c\x1b[0m\n\n", encoding="utf-8")
    with table(tmp_path, stream) as observer:
        observer.begin([build("e"), build("f"), build("g")], [])
        observer.build_started(build("e"))
        observer.build_started(build("f"))
        observer.build_ended(failed("f"))
        stream.truncate(0)
        while "[3/9] axpy.c" not in stream.getvalue() or "1 failed" not in stream.getvalue():
            pass
    shown = shown_text(stream)
    assert re.search(r"e +\d s +\[3/9\] axpy\.c", shown)
    assert "1 running, 1 waiting, 1 failed" in shown
    assert "1/3" in shown


def shown_text(stream: Terminal) -> str:
    return "\n".join(log_line(line) for line in stream.getvalue().splitlines())


def test_no_color_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    with table(tmp_path, stream) as observer:
        a_run(observer, tmp_path / "f.log")
    assert "f: failed" in stream.getvalue()
    assert not COLOUR.search(stream.getvalue())


EVIL = (
    "\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m\x9b5n\u202egnp.exe \x08\x08 [link](x) [bold]b[/bold]"
)


def test_what_a_log_says_does_a_terminal_no_harm(tmp_path: Path) -> None:
    log = tmp_path / "f.log"
    log.write_bytes(EVIL.encode() + b"\xff\n")
    plain, shown = io.StringIO(), Terminal()
    with plain_lines(plain) as observer:
        observer.note(EVIL)
        observer.build_ended(failed("f", log, EVIL))
    with table(tmp_path, shown) as observer:
        observer.begin([build("f")], [])
        observer.note(EVIL)
        observer.build_started(build("f"))
        observer.build_ended(failed("f", log, EVIL))
    for text in (plain.getvalue(), shown.getvalue()):
        assert "title" not in text
        assert "\x1b[2J" not in text
        assert not {"\x07", "\x9b", "\u202e", "\x08"}.intersection(text)
        assert "[bold]b[/bold]" in text, "words of a log are no markup"
    assert "\x1b" not in plain.getvalue()


def test_a_log_that_is_long(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\n" + "x" * 300_000 + "\n" + "short\r\nlast\n \n", encoding="utf-8")
    lines = log_tail(log)
    assert lines[-2:] == ["short", "last"]
    assert lines[0].endswith("…")
    assert len(lines[0]) == 200
    assert LastLine(log).line() == "last"


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    assert log_tail(tmp_path / "none") == []
    assert LastLine(tmp_path / "none").line() == ""
    seen: dict[tuple[str, ...], str] = {}
    assert failure_lines(failed("f", tmp_path / "none", "it broke"), seen) == ["  error: it broke"]
    assert failure_lines(failed("g", tmp_path / "none", "it broke"), seen) == [
        "  the same error as f"
    ]
    assert failure_lines(failed("h", tmp_path / "none", "other"), seen) == ["  error: other"]


def test_the_last_line_of_a_log_that_grows(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LastLine(path)
    assert log.line() == ""
    for text, last in (
        ("one\n", "one"),
        ("\n  \n\x1b[0m\n", "one"),
        ("tw", "tw"),
        ("o\n", "two"),
        ("\n" * 10_000, "two"),
        ("10%\r20%\r", "20%"),
        ("x" * 10_000, "x" * 199 + "…"),
        ("\n\x1b]0;title\x07[3/9] axpy.c\n", "[3/9] axpy.c"),
    ):
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)
        assert log.line() == last
    path.write_text("anew\n", encoding="utf-8")
    assert log.line() == "anew"
    path.unlink()
    assert log.line() == "anew"


def test_the_table_looks_at_no_more_than_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal of 30 lines, 200 builds with long logs that no longer grow."""
    tidied: list[str] = []

    def counted(line: str, *, longest: int | None = None) -> str:
        tidied.append(line)
        return log_line(line, longest=longest)

    view = progress._LiveTable(Console(width=100, height=30), tmp_path)
    for number in range(200):
        (tmp_path / f"{number}.log").write_text("compiling a.c\n" * 10_000, encoding="utf-8")
        view.build_started(build(str(number)))
    monkeypatch.setattr(progress, "log_line", counted)
    (table, *_) = view.__rich__().renderables
    assert isinstance(table, Table)
    assert table.row_count == 27
    assert tidied == ["compiling a.c"] * 27
    view.__rich__()
    assert len(tidied) == 27


def test_threads_do_not_mix_their_lines() -> None:
    stream = io.StringIO()
    with plain_lines(stream) as observer:

        def talk() -> None:
            for _ in range(100):
                observer.note("x" * 50)

        threads = [threading.Thread(target=talk) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(stream.getvalue().splitlines()) == {"polywheel: " + "x" * 50}


class Closed(io.StringIO):
    """A pipe whose reader has had enough."""

    writes = 0

    def write(self, _text: str) -> int:
        self.writes += 1
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("face", [plain_lines, json_events])
def test_a_reader_that_goes_away_does_not_end_the_run(face: object) -> None:
    stream = Closed()
    assert callable(face)
    with face(stream) as observer:
        observer.note("one")
        observer.note("two")
    assert stream.writes == 1


def test_letters_that_the_stream_does_not_have() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    with plain_lines(stream) as observer:
        observer.note("größer")
    assert raw.getvalue() == rb"polywheel: gr\xf6\xdfer" + b"\n"


def test_where_a_table_can_move(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_terminal(Terminal())
    assert not is_terminal(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not is_terminal(Terminal())
