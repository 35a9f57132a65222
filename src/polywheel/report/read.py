"""Read reports, and merge those of several machines.

Reports may be of other machines and other versions: unknown keys are ignored, and keys that an earlier
version did not write have defaults. Every other deviation from docs/report.md is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from polywheel.config.reader import Problems, Table
from polywheel.errors import ConfigError
from polywheel.matrix.plan_json import raise_problems, read_document
from polywheel.report.model import (
    Machine,
    ReportBuild,
    ReportCacheUse,
    ReportFinding,
    ReportJob,
    ReportRun,
    ReportSetup,
    ReportStaleWheel,
    ReportTest,
    ReportWarning,
    RunReport,
)
from polywheel.run.outcome import PRESENT, State, WheelTestState
from polywheel.run.report import SHAPE

_HINT = "polywheel build --report FILE writes one; see docs/report.md"
_LEVELS = ("warning", "note")
_SEVERITIES = ("error", "warning", "note")
_MOST_SECONDS = 1e9
_MOST = 1 << 50
"""The largest size of a wheel in bytes, and the largest count."""

_E = TypeVar("_E", bound=StrEnum)
_Entry = TypeVar("_Entry", ReportBuild, ReportJob)


def read_reports(paths: Sequence[Path]) -> RunReport:
    """Read reports and merge them. Raises ConfigError.

    If several reports list a build or a job, the one that knows most about it counts: built or tested, failed,
    stopped, not built; of equals the later one, except that a wheel that was built stays. A report of ``polywheel
    test`` adds the test.
    """
    tables = (read_document(path, SHAPE, what="report", hint=_HINT, closed=False) for path in paths)
    return merge(_read(table, path=str(path)) for path, table in zip(paths, tables, strict=True))


def report_of(document: Mapping[str, Any], *, path: str) -> RunReport:
    """Return the document of a run that has just ended. ``path`` stands for it in messages."""
    return _read(Table(document, path, (), Problems(closed=False)), path=path)


def merge(reports: Iterable[RunReport]) -> RunReport:
    """Merge reports. Raises ConfigError if they are of different projects."""
    project: str | None = None
    runs: list[ReportRun] = []
    builds: dict[str, ReportBuild] = {}
    jobs: dict[str, ReportJob] = {}
    warnings: dict[tuple[str, str], dict[str, None]] = {}
    stale: dict[str, ReportStaleWheel] = {}
    for report in reports:
        if None not in {project, report.project} and project != report.project:
            raise ConfigError(
                f"this is a report of {report.project!r}, and {runs[0].path} is one of {project!r}",
                at=report.runs[0].path,
                hint="pass reports of one project",
            )
        project = project or report.project
        for build in report.builds:
            _add(builds, build, len(runs))
        for job in report.jobs:
            _add(jobs, job, len(runs))
        for warning in report.warnings:
            names = warnings.setdefault((warning.level, warning.text), {})
            names.update(dict.fromkeys(warning.jobs))
        stale |= {wheel.file: wheel for wheel in report.stale}
        runs += report.runs
    ordered = sorted(warnings.items(), key=lambda item: _LEVELS.index(item[0][0]))
    return RunReport(
        project=project,
        runs=tuple(runs),
        builds=tuple(builds.values()),
        jobs=tuple(jobs.values()),
        warnings=tuple(
            ReportWarning(level=level, text=text, jobs=tuple(names))
            for (level, text), names in ordered
        ),
        stale=tuple(stale.values()),
    )


def _add(entries: dict[str, _Entry], entry: _Entry, first_run: int) -> None:
    """Add an entry unless a better one with its id is there. ``first_run`` is the number of earlier runs."""
    previous = entries.get(entry.id)
    if previous is not None and (
        rank(entry.state) < rank(previous.state) or {entry.state, previous.state} <= PRESENT
    ):
        if isinstance(entry, ReportJob) and isinstance(previous, ReportJob):
            entries[entry.id] = replace(previous, test=previous.test or entry.test)
        return
    entries[entry.id] = replace(entry, run=first_run + entry.run)


def rank(state: State) -> int:
    """Return how much is known about a build in a state."""
    groups: tuple[Iterable[State], ...] = (
        {State.ELSEWHERE},
        {State.NOT_STARTED, State.NO_PYTHON},
        {State.STOPPED},
        {State.FAILED},
        {*PRESENT, State.TEST_FAILED},
    )
    return next(number for number, states in enumerate(groups) if state in states)


def _read(table: Table, *, path: str) -> RunReport:
    """Return the report in a table. Raises ConfigError with all problems."""
    run = ReportRun(
        path=path,
        source=table.string("source"),
        out=table.string("out"),
        began=_moment(table, "began"),
        seconds=_seconds(table, "seconds") or 0.0,
        interrupted=table.boolean("interrupted") or False,
        exit_code=_integer(table, "exit-code") or 0,
        slots=_integer(table, "slots"),
        machine=_optional(table, "machine", _read_machine),
    )
    builds = [build for entry in table.tables("builds") for build in _read_build(entry)]
    known = {build.id for build in builds}
    report = RunReport(
        project=table.string("project"),
        runs=(run,),
        builds=tuple(builds),
        jobs=tuple(job for entry in table.tables("jobs") for job in _read_job(entry, known)),
        warnings=tuple(
            ReportWarning(
                level=_choice(entry, "level", _LEVELS),
                text=_required(entry, "text"),
                jobs=entry.strings("jobs") or (),
            )
            for entry in table.tables("warnings")
        ),
        stale=tuple(
            ReportStaleWheel(
                file=_required(entry, "file"),
                why=_required(entry, "why"),
                own=entry.boolean("own") or False,
                removed=entry.boolean("removed") or False,
            )
            for entry in table.tables("stale")
        ),
    )
    _refuse_duplicates(table, "builds", builds)
    _refuse_duplicates(table, "jobs", report.jobs)
    raise_problems(table.problems)
    return report


def _read_machine(table: Table) -> Machine:
    return Machine(system=_required(table, "system"), processors=_integer(table, "processors") or 0)


def _read_build(table: Table) -> Iterator[ReportBuild]:
    """Yield the build; nothing, and a problem is noted, if its state is invalid."""
    state = _state(table, State)
    if state is None:
        return
    yield ReportBuild(
        id=_required(table, "id"),
        run=0,
        python=table.string("python"),
        target=table.string("target"),
        jobs=table.strings("jobs") or (),
        state=state,
        seconds=_seconds(table, "seconds") or 0.0,
        hook_seconds=_seconds(table, "hook-seconds") or 0.0,
        started=_seconds(table, "started"),
        slot=_integer(table, "slot"),
        setup=tuple(
            ReportSetup(
                name=_required(entry, "name"),
                values=entry.strings("values") or (),
                origin=_required(entry, "origin"),
            )
            for entry in table.tables("setup")
        ),
        compiler_cache=_optional(table, "compiler-cache", _read_cache_use),
        error=table.string("error"),
        log=table.string("log"),
        tool_logs=table.strings("tool-logs") or (),
    )


def _read_cache_use(table: Table) -> ReportCacheUse:
    return ReportCacheUse(hits=_integer(table, "hits") or 0, misses=_integer(table, "misses") or 0)


def _read_job(table: Table, builds: Iterable[str]) -> Iterator[ReportJob]:
    """Yield the job; nothing, and a problem is noted, if its state is invalid."""
    state = _state(table, State)
    if state is None:
        return
    build = _required(table, "build")
    if build not in builds:
        table.wrong("build", f"this report has no build {build!r}")
    audit = None
    if table.data.get("audit") is not None:
        audit = tuple(map(_read_finding, table.tables("audit")))
    yield ReportJob(
        id=_required(table, "id"),
        run=0,
        label=table.string("label"),
        properties=table.strings("properties") or (),
        pythons=table.strings("pythons") or (),
        targets=table.strings("targets") or (),
        build=build,
        state=state,
        file=table.string("file"),
        size=_integer(table, "size"),
        sha256=table.string("sha256"),
        seconds=_seconds(table, "seconds"),
        reasons=table.strings("reasons") or (),
        test=_optional(table, "test", _read_test),
        audit=audit,
        reproduce=table.string("reproduce"),
    )


def _read_test(table: Table) -> ReportTest | None:
    state = _state(table, WheelTestState)
    if state is None:
        return None
    return ReportTest(
        state=state,
        reason=table.string("reason"),
        seconds=_seconds(table, "seconds") or 0.0,
        cpu=table.string("cpu"),
        log=table.string("log"),
        wheel=table.string("wheel"),
    )


def _read_finding(table: Table) -> ReportFinding:
    return ReportFinding(
        severity=_choice(table, "severity", _SEVERITIES),
        check=_required(table, "check"),
        what=_required(table, "what"),
        file=table.string("file"),
        symbol=table.string("symbol"),
        offset=_integer(table, "offset", most=1 << 64),
        instruction=table.string("instruction"),
        count=_integer(table, "count") or 1,
        hint=table.string("hint"),
    )


_T = TypeVar("_T")


def _optional(table: Table, key: str, read: Callable[[Table], _T]) -> _T | None:
    """Return the value of a table that may be null or missing. A problem is noted if it is neither."""
    value = table.table(key)
    return read(value) if isinstance(table.data.get(key), dict) else None


def _required(table: Table, key: str) -> str:
    """Return a text. A problem is noted if there is none."""
    text = table.string(key)
    if table.data.get(key) is None:
        table.wrong(key, "expected a string, found nothing")
    return text or ""


def _choice(table: Table, key: str, choices: Sequence[str]) -> str:
    text = table.string(key)
    if text in choices:
        return str(text)
    table.wrong(key, f"expected one of {', '.join(choices)}, found {table.data.get(key)!r:.100}")
    return choices[-1]


def _state(table: Table, states: type[_E]) -> _E | None:
    """Return the state of an entry. A problem is noted if it is invalid."""
    text = table.string("state")
    if text in list(states):
        return states(text)
    found = table.data.get("state")
    table.wrong("state", f"expected one of {', '.join(states)}, found {found!r:.100}")
    return None


def _seconds(table: Table, key: str) -> float | None:
    value = table.number(key)
    if value is not None and not 0 <= value <= _MOST_SECONDS:
        table.wrong(key, f"expected seconds, from 0 to {_MOST_SECONDS:.0e}, found {value:g}")
        return None
    return value


def _integer(table: Table, key: str, *, most: int = _MOST) -> int | None:
    value = table.number(key)
    if value is not None and not (0 <= value <= most and value.is_integer()):
        table.wrong(key, f"expected a whole number, 0 or more, found {value:g}")
        return None
    return None if value is None else int(value)


def _moment(table: Table, key: str) -> str | None:
    """Return an ISO 8601 date and time with a time zone. A problem is noted if it is none."""
    text = table.string(key)
    if text is None:
        return None
    try:
        if datetime.fromisoformat(text).tzinfo is not None:
            return text
    except ValueError:
        pass
    table.wrong(key, f"expected a date and time with a time zone, found {text!r:.100}")
    return None


def _refuse_duplicates(table: Table, key: str, entries: Iterable[ReportBuild | ReportJob]) -> None:
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        if entry.id in seen:
            table.wrong(f"{key}[{index}]", f"{entry.id!r:.100} is listed twice")
        seen.add(entry.id)
