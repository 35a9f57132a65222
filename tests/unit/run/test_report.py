"""The report of a run: every state, the exit code, and the document in docs/report.md."""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from polywheel.errors import WheelError
from polywheel.matrix.shards import read_durations
from polywheel.model.setup import SetupValues
from polywheel.run.executors.cibuildwheel import logged_messages
from polywheel.run.options import RunOptions
from polywheel.run.outcome import (
    PRESENT,
    CacheUse,
    Outcome,
    State,
    Wheel,
)
from polywheel.run.report import SHAPE, Report, RunStart, check_report_path, warnings_as_json
from polywheel.run.stale_wheels import StaleWheel
from polywheel.run.worker.protocol import Message
from support.plans import job, plan_of

PLAN = plan_of(
    [job(None), job("null")],
    [job("v2")],
    [job("v3")],
    [job("v3", target="macos-arm64")],
)
NULL, V2, V3 = (f"linux-x86_64-cp312-{label}" for label in ("null", "v2", "v3"))
PLAIN, MACOS = "linux-x86_64-cp312-non-variant", "macos-arm64-cp312-v3"
DOCS = Path(__file__).resolve().parents[3] / "docs" / "report.md"


def wheel(name: str, state: State = State.BUILT, seconds: float = 1.5) -> Wheel:
    return Wheel(
        job=name, file=f"{name}.whl", size=100, sha256="ab" * 32, seconds=seconds, state=state
    )


def report(*outcomes: Outcome, **what: Any) -> Report:
    return Report(
        plan=PLAN,
        out=Path("/out"),
        outcomes=outcomes,
        elsewhere=tuple(what.pop("elsewhere", (MACOS,))),
        seconds=9.87654321,
        **what,
    )


START = RunStart(
    source=Path("/demo"),
    began=datetime(2026, 11, 29, 12, tzinfo=UTC),
    clock=100.0,
    slots=2,
    system="Plan 9",
    processors=3,
    command=("polywheel", "build", "."),
)


def done(build: str, state: State = State.BUILT) -> Outcome:
    return Outcome(build=build, state=state)


def examples() -> list[dict[str, Any]]:
    return [
        json.loads(text) for text in re.findall(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)
    ]


def test_every_build_and_job_of_the_plan_is_in_it() -> None:
    document = report(
        Outcome(
            build=PLAIN,
            state=State.FAILED,
            wheels=(wheel(PLAIN, State.UP_TO_DATE, 4.0),),
            seconds=2.00049,
            hook_seconds=1.0,
            compiler_cache=CacheUse(hits=3, misses=1),
            error="it failed",
            setup=(SetupValues(name="cflags", values=("-O3", "-g"), origin="pyproject.toml"),),
            started=103.50049,
            slot=1,
            log=Path("/logs/x.log"),
            tool_logs=(Path("/logs/x.meson-log.txt"),),
        ),
        Outcome(build=V2, state=State.BUILT, wheels=(wheel(V2),), findings={V2: ({"what": "x"},)}),
        done(V3, State.NOT_STARTED),
        start=START,
    ).document()
    assert (document["source"], document["slots"]) == (str(START.source), 2)
    assert document["began"] == "2026-11-29T12:00:00+00:00"
    assert document["machine"] == {"system": "Plan 9", "processors": 3}
    assert document["shape"] == SHAPE
    assert (document["seconds"], document["exit-code"]) == (9.877, 1)
    assert [one["id"] for one in document["builds"]] == [build.id for build in PLAN.builds]
    assert [one["id"] for one in document["jobs"]] == [one.id for one in PLAN.jobs]
    builds = {one["id"]: one for one in document["builds"]}
    assert builds[PLAIN] == {
        "id": PLAIN,
        "python": "3.12",
        "target": "linux-x86_64",
        "jobs": [PLAIN, NULL],
        "state": "failed",
        "started": 3.5,
        "slot": 1,
        "seconds": 2.0,
        "hook-seconds": 1.0,
        "setup": [{"name": "cflags", "values": ["-O3", "-g"], "origin": "pyproject.toml"}],
        "compiler-cache": {"hits": 3, "misses": 1},
        "error": "it failed",
        "log": "/logs/x.log",
        "tool-logs": ["/logs/x.meson-log.txt"],
    }
    assert builds[MACOS]["state"] == "elsewhere"
    jobs = {one["id"]: one for one in document["jobs"]}
    assert {name: one["state"] for name, one in jobs.items()} == {
        PLAIN: "up-to-date",  # its build failed, it is there all the same
        NULL: "failed",
        V2: "built",
        V3: "not-started",
        MACOS: "elsewhere",
    }
    assert jobs[V2] == {
        "id": V2,
        "label": "v2",
        "properties": ["test :: label :: v2"],
        "pythons": ["3.12"],
        "targets": ["linux-x86_64"],
        "build": V2,
        "state": "built",
        "file": f"{V2}.whl",
        "size": 100,
        "sha256": "ab" * 32,
        "seconds": 1.5,
        "reasons": [],
        "test": None,
        "audit": [{"what": "x"}],
        "reproduce": f"polywheel build . --only {V2} --rebuild",
    }
    assert jobs[NULL]["audit"] is None
    assert (builds[V2]["started"], builds[V2]["slot"], builds[V2]["setup"]) == (None, None, [])
    assert {jobs[NULL][key] for key in ("file", "size", "sha256", "seconds")} == {None}


def test_the_command_that_builds_a_wheel_again() -> None:
    options = RunOptions(
        out=Path("dist"), command=("polywheel", "build", "a b"), cibuildwheel=("--debug", "$x")
    )
    here = RunStart.now(Path("a b"), options)
    assert here.source == Path("a b").resolve()
    line = here.reproduce("j-cp312-x")
    if os.name == "nt":
        assert line == 'polywheel build "a b" --only j-cp312-x --rebuild -- --debug $x'
    else:
        assert line == "polywheel build 'a b' --only j-cp312-x --rebuild -- --debug '$x'"
    assert RunStart.now(Path(), RunOptions(out=Path("dist"))).reproduce("j") is None


def test_warnings_of_several_builds() -> None:
    lost, note = (
        "warning: x does not support defines 'a' for 'b'",
        "note: nothing was compiled: py3",
    )
    found = report(
        Outcome(
            build=PLAIN,
            state=State.BUILT,
            messages=(Message(note, (PLAIN, NULL)), Message(lost, (NULL,))),
        ),
        Outcome(build=V2, state=State.FAILED, messages=(Message(lost, (V2, NULL)),)),
        done(V3, State.UP_TO_DATE),
    )
    assert found.document()["warnings"] == [
        {"level": "warning", "text": "x does not support defines 'a' for 'b'", "jobs": [NULL, V2]},
        {"level": "note", "text": "nothing was compiled: py3", "jobs": [PLAIN, NULL]},
    ]
    assert report().document()["warnings"] == []


def test_warnings_in_the_log_of_another_tool(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(
        b"Building cp312\n  polywheel: warning: x does not support cflags\r\n"
        b"polywheel: told x: CFLAGS\npolywheel: note: \xff\n" + b"x" * 200_000 + b"\n"
        b"not polywheel: warning: no\npolywheel: note: last"
    )
    assert list(logged_messages(log)) == [
        "warning: x does not support cflags",
        "note: \ufffd",
        "note: last",
    ]
    assert list(logged_messages(tmp_path / "none")) == []


def test_the_document_is_the_one_that_is_documented() -> None:
    (example,) = examples()
    document = report(done(PLAIN), done(V2), done(V3)).document()
    assert list(document) == list(example)
    for part in ("builds", "jobs"):
        for one in (*document[part], *example[part]):
            assert list(one) == list(example[part][0])
    (warning,) = warnings_as_json([Message("note: a", ("b",))])
    assert [list(one) for one in example["warnings"]] == [list(warning)]
    wheel = StaleWheel(file="a.whl", why="gone", own=True, removed=True)
    (stale,) = report(stale=(wheel,)).document()["stale"]
    assert [list(one) for one in example["stale"]] == [list(stale)]
    text = DOCS.read_text(encoding="utf-8")
    assert {one["state"] for one in example["builds"]} < {str(state) for state in State}
    states = text.partition("## States")[2].partition("##")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", states, re.MULTILINE) == [
        str(state) for state in State
    ]


@pytest.mark.parametrize("state", [one for one in State if one is not State.ELSEWHERE])
def test_the_exit_code_is_0_only_where_all_of_it_is_there(state: State) -> None:
    found = report(done(PLAIN), done(V2, State.UP_TO_DATE), done(V3, state)).exit_code
    assert found == (0 if state in PRESENT else 1)


def test_what_is_elsewhere_counts_where_it_was_asked_for() -> None:
    there = done(PLAIN), done(V2), done(V3)
    assert report(*there).exit_code == 0
    assert report(*there, elsewhere_fails=True).exit_code == 1
    assert report(*there, elsewhere_fails=True, elsewhere=()).exit_code == 0


def test_after_an_interrupt_the_exit_code_is_130() -> None:
    assert report(done(PLAIN), interrupted=True).exit_code == 130
    assert report(done(PLAIN, State.FAILED), interrupted=True).exit_code == 130


def test_a_run_without_builds_is_done() -> None:
    """That of a shard which has none."""
    assert report(elsewhere=()).exit_code == 0


def test_it_is_written_and_its_durations_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.json"
    whole = report(
        Outcome(build=PLAIN, state=State.BUILT, wheels=(wheel(PLAIN), wheel(NULL, seconds=2.5))),
        Outcome(build=V2, state=State.UP_TO_DATE, wheels=(wheel(V2, State.UP_TO_DATE, 7.0),)),
        done(V3, State.FAILED),
    )
    whole.write(path)
    whole.write(path)  # over an older one
    assert json.loads(path.read_text(encoding="utf-8")) == whole.document()
    assert [one.name for one in path.parent.iterdir()] == ["report.json"]
    # A job that is up to date has the time that it took, not that of looking at it.
    assert read_durations(path) == {PLAIN: 1.5, NULL: 2.5, V2: 7.0}


def test_where_it_can_not_be_written_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    for path in (tmp_path / "report.json", tmp_path / "file" / "report.json"):
        (tmp_path / "file").touch()
        with pytest.raises(WheelError, match="the report can't be written") as caught:
            report().write(path)
        assert caught.value.problems[0].at == str(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "report.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")
def test_links_and_pipes_stay(tmp_path: Path) -> None:
    target, link, pipe = (tmp_path / name for name in ("new/target.json", "link", "pipe"))
    link.symlink_to("new/target.json")
    check_report_path(link)
    report().write(link)
    assert link.is_symlink()
    assert json.loads(target.read_text(encoding="utf-8")) == report().document()
    if sys.platform != "win32":
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            check_report_path(pipe)
            report().write(pipe)
            assert json.loads(os.read(reader, 1 << 16)) == report().document()
        finally:
            os.close(reader)
        assert pipe.is_fifo()


def test_a_path_for_a_report_is_checked_without_traces(tmp_path: Path) -> None:
    earlier = tmp_path / "report.json"
    earlier.write_text("{}")
    check_report_path(earlier)
    check_report_path(tmp_path / "a" / "b" / "report.json")
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert earlier.read_text() == "{}"


@pytest.mark.parametrize("name", ["folder", "file/report.json", "/proc/report.json"])
def test_a_path_that_no_report_can_be_written_to(name: str, tmp_path: Path) -> None:
    if name.startswith("/proc") and not Path("/proc").is_dir():
        pytest.skip("there is no /proc")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(WheelError, match="the report can't be written"):
        check_report_path(tmp_path / name)
