"""Reports as traces."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import Any

from polywheel.report.model import ReportTest, RunReport
from polywheel.report.read import merge
from polywheel.report.trace import trace_text
from polywheel.run.outcome import WheelTestState
from support.reports import make_report


def events_of(report: RunReport) -> list[dict[str, Any]]:
    document = json.loads(trace_text(report))
    events: list[dict[str, Any]] = document["traceEvents"]
    for event in events:
        assert event["ph"] in {"M", "X"}
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        if event["ph"] == "X":
            assert isinstance(event["ts"], int)
            assert isinstance(event["dur"], int)
    return events


def test_builds_lie_on_the_rows_of_their_slots() -> None:
    report = make_report(builds=100, failed=(3,))
    events = events_of(report)
    names = {
        event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"
    }
    assert names == {build.slot: f"slot {build.slot}" for build in report.builds}
    slices = {event["name"]: event for event in events if event["ph"] == "X"}
    for build in report.builds:
        event = slices[build.id]
        assert event["tid"] == build.slot
        assert event["ts"] == round((build.started or 0) * 1e6)
        assert event["dur"] == round(build.seconds * 1e6)
    by_row = defaultdict(list)
    for build in report.builds:
        by_row[build.slot].append(slices[build.id])
    for row in by_row.values():  # one after the other
        ordered = sorted(row, key=lambda event: event["ts"])
        for first, second in pairwise(ordered):
            assert first["ts"] + first["dur"] <= second["ts"]


def test_tests_lie_at_the_end_of_their_builds() -> None:
    report = make_report(builds=2)
    test = ReportTest(state=WheelTestState.PASSED, seconds=1.5)
    long = replace(test, seconds=1e6)
    jobs = (replace(report.jobs[0], test=test), replace(report.jobs[1], test=long))
    slices = {event["name"]: event for event in events_of(replace(report, jobs=jobs))}
    for job in jobs:
        build, inner = slices[job.build], slices[f"test {job.id}"]
        assert inner["tid"] == build["tid"]
        assert build["ts"] <= inner["ts"]
        assert abs(inner["ts"] + inner["dur"] - build["ts"] - build["dur"]) <= 1
    assert slices[f"test {jobs[0].id}"]["dur"] == 1_500_000


def test_builds_that_did_not_start_are_left_out() -> None:
    report = make_report(builds=2)
    builds = (replace(report.builds[0], started=None, slot=None), report.builds[1])
    slices = [event["name"] for event in events_of(replace(report, builds=builds))]
    assert report.builds[0].id not in slices
    assert report.builds[1].id in slices


def test_runs_of_several_machines_lie_at_their_times() -> None:
    first, second = make_report(builds=1), make_report(builds=1)
    first = replace(first, runs=(replace(first.runs[0], began="2026-11-29T12:00:10+00:00"),))
    # One minute earlier, in another time zone.
    second = replace(
        second,
        runs=(replace(second.runs[0], began="2026-11-29T13:59:10+02:00"),),
        builds=(replace(second.builds[0], id="other"),),
        jobs=(),
    )
    slices = {event["name"]: event for event in events_of(merge([first, second]))}
    assert slices["other"]["pid"] == 1
    assert slices[first.builds[0].id]["ts"] - slices["other"]["ts"] == 60_000_000


def test_hostile_texts() -> None:
    report = make_report(builds=1)
    name = "\ud800\u202e##[error]</script>"
    builds = (replace(report.builds[0], id=name),)
    text = trace_text(replace(report, builds=builds, jobs=()))
    text.encode("ascii")
    assert "##" not in text
    assert name in {event["name"] for event in json.loads(text)["traceEvents"]}
