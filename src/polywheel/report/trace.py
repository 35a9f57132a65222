"""A report as a trace: when builds ran on which slot.

The format is the JSON of Chrome's trace events ("Trace Event Format"). https://ui.perfetto.dev and
chrome://tracing show it: a process for each run, and a thread for each of its slots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from polywheel.report.model import ReportBuild, ReportJob, ReportRun, RunReport
from polywheel.system.terminal import json_text

_MICROSECONDS = 1_000_000
Event = Mapping[str, Any]


def trace_text(report: RunReport) -> str:
    """Return the report as JSON of trace events."""
    document = {"displayTimeUnit": "ms", "traceEvents": list(_events(report))}
    return json_text(document) + "\n"


def _events(report: RunReport) -> Iterator[Event]:
    """Yield the names of runs and slots, and then builds with their tests, in the order of the report."""
    offsets = _offsets(report.runs)
    slots = {(build.run, build.slot) for build in report.builds if build.slot is not None}
    for number, run in enumerate(report.runs):
        machine = f" on {run.machine.system}" if run.machine is not None else ""
        yield _name("process_name", f"{report.project or run.path}{machine}", pid=number)
    for number, slot in sorted(slots):
        yield _name("thread_name", f"slot {slot}", pid=number, tid=slot)
    jobs: dict[tuple[int, str], list[ReportJob]] = {}
    for job in report.jobs:
        jobs.setdefault((job.run, job.build), []).append(job)
    for build in report.builds:
        if build.started is not None and build.slot is not None:
            start = offsets[build.run] + build.started
            yield from _build_events(build, jobs.get((build.run, build.id), []), start)


def _build_events(build: ReportBuild, jobs: list[ReportJob], start: float) -> Iterator[Event]:
    """Yield a build, and the tests of its wheels.

    The tests follow each other at the end of the build. Reports do not have their start.
    """
    arguments = {
        "state": str(build.state),
        "python": build.python,
        "target": build.target,
        "backend seconds": build.hook_seconds,
        "error": (build.error or "").partition("\n")[0] or None,
        "wheels": [job.file for job in jobs if job.file is not None],
    }
    end = start + build.seconds
    yield _slice(build, build.id, (start, build.seconds), arguments)
    tests = [(job, job.test) for job in jobs if job.test is not None and job.test.seconds > 0]
    begin = max(start, end - sum(test.seconds for _, test in tests))
    for job, test in tests:
        seconds = min(test.seconds, end - begin)  # a part of its build
        details = {"state": str(test.state), "reason": test.reason, "cpu": test.cpu}
        yield _slice(build, f"test {job.id}", (begin, seconds), details)
        begin += seconds


def _slice(
    build: ReportBuild,
    name: str,
    start_and_duration: tuple[float, float],
    arguments: Mapping[str, Any],
) -> Event:
    """Return a complete event on the slot of a build. Times are in seconds."""
    start, seconds = start_and_duration
    return {
        "ph": "X",
        "name": name,
        "pid": build.run,
        "tid": build.slot,
        "ts": round(start * _MICROSECONDS),
        "dur": round(seconds * _MICROSECONDS),
        "args": arguments,
    }


def _name(kind: str, name: str, *, pid: int, tid: int = 0) -> Event:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": name}}


def _offsets(runs: tuple[ReportRun, ...]) -> list[float]:
    """Return the seconds between the beginning of the first run and that of each run; 0 if it is not known."""
    moments = [datetime.fromisoformat(run.began).timestamp() if run.began else None for run in runs]
    first = min((moment for moment in moments if moment is not None), default=0.0)
    return [0.0 if moment is None else moment - first for moment in moments]
