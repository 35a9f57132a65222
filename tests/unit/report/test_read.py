"""Reading reports: the documents of the docs, of earlier versions, hostile ones, and merging."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from polywheel.errors import ConfigError
from polywheel.report.model import RunReport
from polywheel.report.read import read_reports
from polywheel.run.outcome import State, WheelTestState

DOCS = Path(__file__).resolve().parents[3] / "docs" / "report.md"


def example() -> dict[str, Any]:
    match = re.search(r"```json\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert match is not None
    document: dict[str, Any] = json.loads(match[1])
    return document


def read(folder: Path, *documents: dict[str, Any]) -> RunReport:
    paths = [folder / f"{number}.json" for number, _ in enumerate(documents)]
    for path, document in zip(paths, documents, strict=True):
        path.write_text(json.dumps(document), encoding="utf-8")
    return read_reports(paths)


def test_the_report_of_the_docs(tmp_path: Path) -> None:
    report = read(tmp_path, example())
    assert report.project == "demo"
    assert [build.state for build in report.builds] == [State.BUILT, State.FAILED, State.ELSEWHERE]
    built, failed, _ = report.jobs
    assert built.test is not None
    assert (built.test.state, built.test.cpu) == (WheelTestState.PASSED, "Haswell")
    assert (built.size, failed.size) == (5230, None)
    assert report.builds_by_id()[failed.build].error == "timed out after 2 seconds"
    assert report.run_of(built).seconds == 8.125


def test_reports_of_earlier_and_later_versions(tmp_path: Path) -> None:
    """Keys that are missing have defaults, and unknown keys are ignored."""
    document = example()
    document["later"] = [1]
    document["builds"][0]["later"] = {"x": 1}
    new = {"setup", "started", "slot", "audit", "reproduce"}
    for entry in (*document["builds"], *document["jobs"]):
        for key in new & entry.keys():
            del entry[key]
    for key in {"source", "began", "slots", "machine"} & document.keys():
        del document[key]
    report = read(tmp_path, document)
    assert (report.builds[0].started, report.builds[0].slot, report.builds[0].setup) == (
        None,
        None,
        (),
    )
    assert report.jobs[0].audit is None
    assert (report.runs[0].began, report.runs[0].machine) == (None, None)


@pytest.mark.parametrize(
    ("place", "key", "value", "message"),
    [
        ("jobs", "state", "excellent", "jobs[0].state: expected one of built,"),
        ("jobs", "state", None, "jobs[0].state: expected one of built,"),
        ("jobs", "size", -1, "jobs[0].size: expected a whole number, 0 or more, found -1"),
        ("jobs", "size", 1.5, "jobs[0].size: expected a whole number, 0 or more, found 1.5"),
        ("jobs", "id", 7, "jobs[0].id: expected a string, found 7"),
        ("jobs", "build", "x", "jobs[0].build: this report has no build 'x'"),
        ("jobs", "test", [], "jobs[0].test: expected a table, found a list"),
        ("jobs", "test", {"state": "x"}, "jobs[0].test.state: expected one of passed, failed,"),
        ("jobs", "audit", {}, "jobs[0].audit: expected a list, found a table"),
        (
            "jobs",
            "audit",
            [{"severity": "x", "check": "file", "what": "x"}],
            "jobs[0].audit[0].severity: expected one of error,",
        ),
        ("builds", "seconds", -2, "builds[0].seconds: expected seconds, from 0 to"),
        ("builds", "seconds", 1e300, "builds[0].seconds: expected seconds, from 0 to"),
        ("builds", "slot", 1e30, "builds[0].slot: expected a whole number"),
        ("builds", "log", ["x"], "builds[0].log: expected a string, found a list"),
        ("builds", "compiler-cache", 1, "builds[0].compiler-cache: expected a table, found 1"),
        (None, "began", "yesterday", "began: expected a date and time with a time zone"),
        (None, "began", "2026-01-01T00:00:00", "began: expected a date and time with a time zone"),
        (None, "jobs", "x", "jobs: expected a list, found a string"),
    ],
)
def test_hostile_values_are_errors_with_their_place(
    place: str | None, key: str, value: object, message: str, tmp_path: Path
) -> None:
    document = example()
    (document if place is None else document[place][0])[key] = value
    with pytest.raises(ConfigError) as error:
        read(tmp_path, document)
    (problem,) = error.value.problems
    file, _, at = str(problem.at).partition(": ")
    assert file == str(tmp_path / "0.json")
    assert f"{at}: {problem.what}".startswith(message)


def test_an_id_may_be_listed_once(tmp_path: Path) -> None:
    document = example()
    document["jobs"].append(document["jobs"][0])
    with pytest.raises(ConfigError, match="is listed twice"):
        read(tmp_path, document)


def test_of_several_machines(tmp_path: Path) -> None:
    """A failure is not replaced by the report of another machine, where the build is for elsewhere."""
    linux, macos = example(), example()
    for entry in (*macos["builds"], *macos["jobs"]):
        here = entry["id"].startswith("macos")
        entry.update(state="built" if here else "elsewhere", error=None)
    macos["warnings"].append({"level": "warning", "text": "x", "jobs": ["a"]})
    linux["warnings"].append({"level": "warning", "text": "x", "jobs": ["b", "a"]})
    linux["warnings"].append({"level": "note", "text": "n", "jobs": []})
    for order in ((linux, macos), (macos, linux)):
        report = read(tmp_path, *order)
        assert [job.state for job in report.jobs] == [State.BUILT, State.FAILED, State.BUILT]
        assert report.jobs[1].run == order.index(linux)
        assert report.run_of(report.builds[2]).path.endswith(f"{order.index(macos)}.json")
        assert report.seconds == 16.25
        texts = {one.text: sorted(one.jobs) for one in report.warnings}
        assert texts["x"] == ["a", "b"]
        assert report.warnings[-1].level == "note"


def test_a_later_run_replaces_a_failure_but_not_a_wheel(tmp_path: Path) -> None:
    first, second = example(), example()
    for entry in (*second["builds"], *second["jobs"]):
        entry["state"] = "built" if entry["state"] == "failed" else "failed"
    report = read(tmp_path, first, second)
    assert [(job.state, job.run) for job in report.jobs] == [
        (State.BUILT, 0),
        (State.BUILT, 1),
        (State.FAILED, 1),
    ]


def test_reports_of_different_projects(tmp_path: Path) -> None:
    other = {**example(), "project": "other"}
    with pytest.raises(ConfigError, match=r"this is a report of 'other', and .* is one of 'demo'"):
        read(tmp_path, example(), other)


@pytest.mark.parametrize("state", ["passed", "failed"])
def test_a_report_of_polywheel_test_adds_the_test(state: str, tmp_path: Path) -> None:
    built, tested = example(), example()
    built["jobs"][0]["test"] = None
    tested["jobs"][0]["test"]["state"] = state
    after = "up-to-date" if state == "passed" else "test-failed"
    tested["builds"][0]["state"] = tested["jobs"][0]["state"] = after
    job = read(tmp_path, built, tested).jobs[0]
    assert job.state == (State.BUILT if state == "passed" else State.TEST_FAILED)
    assert job.test is not None
    assert job.test.state == state
    # A later run with a wheel whose test passes replaces the failure.
    assert read(tmp_path, built, tested, example()).jobs[0].state == State.BUILT
