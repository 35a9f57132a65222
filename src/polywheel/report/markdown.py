"""A report in Markdown, for the job summary of GitHub and comments.

All characters of names and messages that Markdown or HTML could interpret are escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from polywheel.model.plan import NON_VARIANT
from polywheel.report.causes import cause_of, is_problem
from polywheel.report.log_ends import read_log_end
from polywheel.report.model import ReportBuild, ReportJob, RunReport
from polywheel.run.outcome import PRESENT, State, WheelTestState
from polywheel.system.terminal import count_others, format_size, join_first, log_line, quantity

_SAFE_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,-/")
_MAX_LENGTH = 300
_MAX_SIZE = 300_000
"""The most characters of one table or list. GitHub shows no summary of more than 1 MiB, and there are three."""
_MAX_IDS = 5
"""Maximum number of builds or jobs that are named for one error or warning."""
_MAX_OPEN = 20
"""Longer tables of wheels are collapsed."""
_MAX_LOGS = 400
"""Maximum number of logs that are read for the causes of failures."""


def escape_markdown(text: str) -> str:
    """Escape a text for Markdown. Long texts are cut."""
    cut = text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}…"
    # Control characters, surrogates, and bidirectional controls are replaced.
    return "".join(
        letter
        if letter in _SAFE_CHARACTERS
        else f"&#{ord(letter) if letter.isprintable() else 0xFFFD};"
        for letter in cut
    )


def markdown_text(report: RunReport) -> str:
    """Return the report as Markdown: counts, failures by their cause, the wheels, and the warnings."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: RunReport) -> Iterator[str]:
    name = f"Wheels of {escape_markdown(report.project)}" if report.project else "Wheels"
    yield from (f"## {name}", "", _counts(report))
    yield from _failures(report)
    yield from _wheels(report)
    warnings = [
        f"- {one.level}: {escape_markdown(one.text)} ({_join(one.jobs)})" for one in report.warnings
    ]
    if warnings:
        yield from ("", "### Warnings and notes", "", *_bounded(warnings))


def _counts(report: RunReport) -> str:
    """Return a line with the numbers of wheels and tests, and the size and time of all."""
    counts = [
        f"{count} {state.replace('-', ' ')}"
        if state in PRESENT or state is State.ELSEWHERE
        else f"**{count} {state.replace('-', ' ')}**"
        for state, count in report.count_states().items()
    ]
    tests = [
        f"**{count} {state}**" if state is WheelTestState.FAILED else f"{count} {state}"
        for state, count in report.count_tests().items()
    ]
    size = format_size(sum(job.size or 0 for job in report.jobs))
    parts = [f"wheels: {', '.join(counts) or 'none'} ({size})"]
    parts += [f"tests: {', '.join(tests)}"] if tests else []
    parts += [f"{report.seconds:.0f} s"]
    parts += ["**interrupted**"] if report.interrupted else []
    return "; ".join(parts)


def _failures(report: RunReport) -> Iterator[str]:
    """A table of the causes of failures, those of most builds first."""
    by_cause: dict[str, list[ReportBuild]] = {}
    jobs = {job.id: job for job in report.jobs}
    for number, build in enumerate(filter(is_problem, report.builds)):
        logs = _logs(build, jobs, report) if number < _MAX_LOGS else ()
        by_cause.setdefault(cause_of(build, logs), []).append(build)
    if not by_cause:
        return
    rows = [
        f"| {escape_markdown(cause)} | {len(builds)} | {_join(build.id for build in builds)} |"
        for cause, builds in sorted(by_cause.items(), key=lambda item: -len(item[1]))
    ]
    yield from ("", "### Failures", "", "| error | builds | ids |", "|---|--:|---|")
    yield from _bounded(rows)


def _logs(
    build: ReportBuild, jobs: dict[str, ReportJob], report: RunReport
) -> Iterator[str | None]:
    """Yield the ends of the logs of a build's failed tests, and that of the build."""
    tests = (jobs[name].test for name in build.jobs if name in jobs)
    failed = [test for test in tests if test is not None and test.state == WheelTestState.FAILED]
    for log in (*(test.log for test in failed), build.log):
        end = read_log_end(log, report.run_of(build))
        yield None if end is None else "\n".join(map(log_line, end.split("\n")))


def _wheels(report: RunReport) -> Iterator[str]:
    """A table of all jobs: those without a wheel first. A long one is collapsed."""
    jobs = sorted(report.jobs, key=lambda job: job.state in PRESENT)
    if not jobs:
        return
    collapsed = len(jobs) > _MAX_OPEN
    made = sum(job.state in PRESENT for job in jobs)
    if collapsed:
        yield from ("", f"<details><summary>{made} of {quantity(len(jobs), 'wheel')}</summary>")
    else:
        yield from ("", "### Wheels")
    yield ""
    yield from (
        "| variant | Python | target | state | test | size | s |",
        "|---|---|---|---|---|--:|--:|",
    )
    builds = report.builds_by_id()
    yield from _bounded([_row(job, builds[job.build]) for job in jobs])
    if collapsed:
        yield from ("", "</details>")


def _row(job: ReportJob, build: ReportBuild) -> str:
    state, test = job.state.replace("-", " "), job.test
    cells = (
        escape_markdown(job.label or NON_VARIANT),
        escape_markdown(", ".join(job.pythons)),
        escape_markdown(build.target or ", ".join(job.targets)),
        state if job.state in PRESENT else f"**{state}**",
        "" if test is None else str(test.state),
        "" if job.size is None else format_size(job.size),
        "" if job.seconds is None else f"{job.seconds:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def _join(names: Iterable[str]) -> str:
    return escape_markdown(join_first(names, _MAX_IDS))


def _bounded(lines: Sequence[str]) -> Iterator[str]:
    """Yield the first lines, within the limit, and how many others there are."""
    size = 0
    for number, line in enumerate(lines):
        size += len(line) + 1
        if size > _MAX_SIZE:
            yield from ("", *count_others(lines, number, ""))
            return
        yield line
