"""Collect the wheels of all jobs of a CI run in one folder, and their reports in one report.

Files from jobs are untrusted. Names, sizes, and formats are checked, and links are not followed.
Only wheels that a report lists, with the SHA-256 that it lists, are collected. The Markdown
summary escapes all characters of names and messages that Markdown or HTML could interpret.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polywheel.config.reader import Table
from polywheel.errors import ConfigError, PolywheelError, Problem, WheelError, os_error_as
from polywheel.formats.variants_json import label_conflicts
from polywheel.matrix.plan_json import MAX_SIZE, parse_plan
from polywheel.model.plan import NON_VARIANT, Plan
from polywheel.model.variant import Variant, VariantProperty
from polywheel.model.wheelname import WheelName
from polywheel.report.markdown import escape_markdown
from polywheel.report.read import rank
from polywheel.run.journal import FAILED_WHEELS
from polywheel.run.outcome import PRESENT, State
from polywheel.run.report import SHAPE
from polywheel.system.files import read_regular, sha256_of, walk
from polywheel.system.temporary import replacing
from polywheel.system.terminal import count_others, join_first, quantity

_MAX_ROWS = 400
"""GitHub shows at most one megabyte of the summary of a step."""
_MAX_FAILURES = 50
"""Maximum number of failures, and of warnings, in the summary."""
_MAX_NAMED_JOBS = 3
"""Maximum number of jobs that are named for one warning."""


def summary(reports: MergedReport, *, wheels: int, result: str | None) -> str:
    """Return a Markdown table of all jobs, failed jobs first, and the reasons of failures.

    ``wheels`` is the number of collected wheels. ``result`` is the result of the build jobs in
    CI, if known.
    """
    return "\n".join(_lines(reports, wheels, result)) + "\n"


def _lines(reports: MergedReport, wheels: int, result: str | None) -> Iterator[str]:
    missing = reports.missing
    name = f"Wheels of {escape_markdown(reports.project)}" if reports.project else "Wheels"
    yield from (f"## {name}", "")
    size = sum(job["size"] or 0 for job in reports.jobs)
    counts = [quantity(wheels, "wheel"), f"{size / 1e6:.1f} MB"]
    if reports.refused:
        counts.append(f"**{len(reports.refused)} refused**")
    if missing or reports.unreported:
        counts.append(f"**{len(missing) + len(reports.unreported)} not built**")
    yield ", ".join(counts) + f", {reports.seconds:.0f} s on all machines"
    if result not in {None, "success"}:
        yield from ("", f"The build jobs ended with **{escape_markdown(str(result))}**.")
    yield ""
    if reports.jobs:
        refused = [job for job in reports.made if job["id"] in reports.refused]
        collected = [job for job in reports.made if job["id"] not in reports.refused]
        yield from _table(reports, [*missing, *refused, *collected])
    yield from _section("Without a report", [*map(escape_markdown, reports.unreported)])
    yield from _failures(reports)
    yield from _warnings(reports)


def _table(reports: MergedReport, jobs: list[Mapping[str, Any]]) -> Iterator[str]:
    targets = {build["id"]: build["target"] for build in reports.builds}
    yield from ("| variant | Python | target | state | MB | s |", "|---|---|---|---|--:|--:|")
    for job in jobs[:_MAX_ROWS]:
        refused = job["id"] in reports.refused
        state = "refused" if refused else escape_markdown(job["state"])
        cells = (
            escape_markdown(job["label"] or NON_VARIANT),
            escape_markdown(", ".join(job["pythons"])),
            escape_markdown(targets.get(job["build"]) or ", ".join(job["targets"])),
            state if job["state"] in PRESENT and not refused else f"**{state}**",
            "" if job["size"] is None else f"{job['size'] / 1e6:.2f}",
            "" if job["seconds"] is None else f"{job['seconds']:.1f}",
        )
        yield f"| {' | '.join(cells)} |"
    if len(jobs) > _MAX_ROWS:
        yield from ("", f"and {len(jobs) - _MAX_ROWS} more")


def _failures(reports: MergedReport) -> Iterator[str]:
    lines = [
        f"{escape_markdown(build['id'])}: "
        + escape_markdown(build["error"].strip().partition("\n")[0])
        for build in reports.builds
        if build["error"]
    ]
    yield from _section("Failed builds", lines)


def _warnings(reports: MergedReport) -> Iterator[str]:
    lines = []
    for warning in reports.warnings:
        jobs = escape_markdown(join_first(warning["jobs"], _MAX_NAMED_JOBS))
        text = f"{escape_markdown(warning['text'])} ({jobs})"
        lines.append(f"{warning['level']}: {text}")
    yield from _section("Warnings and notes", lines)


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    """A heading and a list of the first lines; nothing without lines."""
    if lines:
        yield from ("", f"### {title}", "")
    yield from (f"- {line}" for line in lines[:_MAX_FAILURES])
    yield from (f"- {line}" for line in count_others(lines, _MAX_FAILURES, ""))


_STATES = frozenset(State)
_LEVELS = frozenset({"warning", "note"})
_REPORTS = "report*.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_WHEEL_SIZE = 1 << 50
"""Maximum size of a wheel in a report, in bytes."""
_WHEEL = ".whl"
_REFUSED = {"state": State.FAILED.value, "file": None, "size": None, "sha256": None}
"""The entry of a job whose wheel was not collected, besides its other keys."""
_BUILD = ("id", "python", "target", "state", "error", "log")
_JOB = ("id", "label", "build", "state", "file", "sha256")


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectedFiles:
    """The wheels and reports of a folder."""

    wheels: tuple[Path, ...]
    reports: tuple[Path, ...]
    problems: tuple[Problem, ...] = ()
    """Paths with the name of a wheel or a report that are not regular files, such as links or
    pipes.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class MergedReport:
    """Several reports, merged into one."""

    project: str | None
    seconds: float
    """The total of all reports."""

    builds: tuple[Mapping[str, Any], ...]
    jobs: tuple[Mapping[str, Any], ...]
    """In the format of docs/report.md."""

    claims: tuple[Mapping[str, Any], ...] = ()
    """Every job that a report lists as built, including several entries with the same id."""

    warnings: tuple[Mapping[str, Any], ...] = ()
    """Each warning once, with the jobs of all reports that contain it."""

    refused: frozenset[str] = frozenset()
    """The ids of jobs whose wheel was built, but not collected."""

    unreported: tuple[str, ...] = ()
    """The ids of planned jobs that are in no report, because their job in CI was lost."""

    @property
    def missing(self) -> list[Mapping[str, Any]]:
        """Jobs whose wheel was not built."""
        return [job for job in self.jobs if job["state"] not in PRESENT]

    @property
    def made(self) -> list[Mapping[str, Any]]:
        """Jobs whose wheel was built."""
        return [job for job in self.jobs if job["state"] in PRESENT]

    def document(self, out: Path) -> dict[str, Any]:
        """Return the report of all jobs, as JSON. ``out`` is the folder of the wheels."""
        return {
            "shape": SHAPE,
            "project": self.project,
            "out": str(out),
            "seconds": round(self.seconds, 3),
            "interrupted": False,
            "exit-code": 1 if self.missing or self.unreported or self.refused else 0,
            "warnings": [dict(entry) for entry in self.warnings],
            "stale": [],
            "builds": [dict(entry) for entry in self.builds],
            "jobs": [
                {**entry, **(_REFUSED if entry["id"] in self.refused else {})}
                for entry in self.jobs
            ],
        }


def find_files(folder: Path) -> CollectedFiles:
    """Find wheels and reports below a folder, sorted by path. Links are not followed.

    Raises WheelError if a folder can't be listed.
    """
    try:
        paths = sorted(_find_named(folder))
    except OSError as error:
        at = str(error.filename or folder)
        raise WheelError(f"can't be listed: {error.strerror or error}", at=at) from None
    regular = {path: path.is_file() and not path.is_symlink() for path in paths}
    return CollectedFiles(
        wheels=tuple(path for path in paths if regular[path] and path.suffix == _WHEEL),
        reports=tuple(path for path in paths if regular[path] and path.suffix != _WHEEL),
        problems=tuple(
            Problem(f"{path.name} is not a regular file", at=str(path))
            for path in paths
            if not regular[path]
        ),
    )


def _find_named(folder: Path) -> Iterator[Path]:
    """Find paths with the name of a wheel or a report, without the wheels that a build has refused."""
    for base, folders, names in walk(folder):
        refused = Path(base) != folder and Path(base).name == FAILED_WHEELS
        links = [name for name in folders if Path(base, name).is_symlink()]
        for path in (Path(base, name) for name in (*names, *links)):
            if (path.suffix == _WHEEL and not refused) or path.match(_REPORTS):
                yield path


def merge_reports(tables: Iterable[Table]) -> MergedReport:
    """Merge reports. Malformed entries are skipped, and noted in the problems of their table.

    If several reports list a job, the report that built it is used, else the one that knows most about it.
    """
    builds: dict[str, Mapping[str, Any]] = {}
    jobs: dict[str, Mapping[str, Any]] = {}
    claims: list[Mapping[str, Any]] = []
    warnings: dict[tuple[str, str], dict[str, None]] = {}
    project: str | None = None
    seconds = 0.0
    for table in tables:
        name = table.string("project")
        project = project or name
        seconds += table.number("seconds") or 0.0
        for warning in table.tables("warnings"):
            _add_warning(warning, warnings)
        for key, entries, read in (("builds", builds, _read_build), ("jobs", jobs, _read_job)):
            for entry in filter(None, map(read, table.tables(key))):
                if entries is jobs and entry["state"] in PRESENT:
                    claims.append(entry)
                previous = entries.get(entry["id"])
                if previous is None or _replaces(entry, previous):
                    entries[entry["id"]] = entry
    return MergedReport(
        project=project,
        seconds=seconds,
        builds=tuple(builds[name] for name in sorted(builds)),
        jobs=tuple(jobs[name] for name in sorted(jobs)),
        claims=tuple(claims),
        warnings=tuple(
            {"level": level, "text": text, "jobs": list(names)}
            for (level, text), names in sorted(
                warnings.items(), key=lambda item: item[0][0] != "warning"
            )
        ),
    )


def _replaces(entry: Mapping[str, Any], previous: Mapping[str, Any]) -> bool:
    """Whether an entry replaces one of an earlier report: what failed there may be for elsewhere here."""
    is_missing = previous["state"] not in PRESENT
    return is_missing and rank(State(entry["state"])) >= rank(State(previous["state"]))


def unreported_jobs(reports: MergedReport, plan: Path) -> tuple[str, ...]:
    """Return the ids of planned jobs that are in no report. Raises ConfigError.

    ``plan`` is the output of ``polywheel matrix --json`` or ``--format github``.
    """
    planned = read_planned(plan)
    ids = [job.id for job in planned.jobs] if isinstance(planned, Plan) else planned
    known = {job["id"] for job in reports.jobs}
    return tuple(name for name in ids if name not in known)


def read_planned(path: Path) -> Plan | tuple[str, ...]:
    """Read the output of ``polywheel matrix --json``, or the ids of jobs in that of ``--format github``.

    Raises ConfigError.
    """
    with os_error_as(ConfigError, f"{path} can't be read"):
        content = read_regular(path, limit=MAX_SIZE)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise ConfigError("the plan is not JSON", at=str(path)) from None
    if not isinstance(document, dict) or "include" not in document:
        return parse_plan(content)
    try:
        return tuple(name for entry in document["include"] for name in entry["jobs"].split())
    except (AttributeError, KeyError, TypeError):
        raise ConfigError("expected a plan of polywheel matrix", at=str(path)) from None


def _add_warning(table: Table, warnings: dict[tuple[str, str], dict[str, None]]) -> None:
    level, text, jobs = table.string("level"), table.string("text"), table.strings("jobs")
    if level not in _LEVELS or text is None:
        table.wrong("level", "expected a warning of a report")
    else:
        warnings.setdefault((level, text), {}).update(dict.fromkeys(jobs or ()))


def _read_build(table: Table) -> dict[str, Any] | None:
    texts = {key: table.string(key) for key in _BUILD}
    times = {key: table.number(key) or 0.0 for key in ("seconds", "hook-seconds")}
    return _check_entry(table, {**texts, **times, "jobs": list(table.strings("jobs") or ())})


def _read_job(table: Table) -> dict[str, Any] | None:
    texts: dict[str, Any] = {key: table.string(key) for key in _JOB}
    size = table.number("size")
    if size is not None and not 0 <= size <= _MAX_WHEEL_SIZE:
        table.wrong("size", f"expected the size of a wheel in bytes, got {size:g}")
        size = None
    lists = {key: list(table.strings(key) or ()) for key in ("properties", "pythons", "targets")}
    numbers = {"size": None if size is None else int(size), "seconds": table.number("seconds")}
    test = _read_test(table.table("test")) if table.data.get("test") is not None else None
    return _check_entry(table, {**texts, **lists, **numbers, "test": test})


def _read_test(table: Table) -> dict[str, Any]:
    texts = {key: table.string(key) for key in ("state", "reason", "cpu", "log", "wheel")}
    return {**texts, "seconds": table.number("seconds")}


def _check_entry(table: Table, entry: dict[str, Any]) -> dict[str, Any] | None:
    """Return the entry; None, and a problem is noted, if its id or state is invalid."""
    if entry["id"] is None or entry["state"] not in _STATES:
        key = "id" if entry["id"] is None else "state"
        table.wrong(key, f"expected {'an id' if key == 'id' else 'a state of a report'}")
        return None
    return entry


def collect_wheels(
    files: CollectedFiles, reports: MergedReport, out: Path
) -> tuple[list[Path], list[Problem]]:
    """Copy wheels into a folder. Return the copies and the problems.

    A wheel must be listed in a report of its job, with its SHA-256. Two wheels with the same
    name must be the same file. A copy is complete or does not exist. Raises WheelError if the
    folder can't be written.
    """
    problems = list(files.problems)
    expected, contradicted = expected_wheels(reports, problems)
    by_name: dict[str, list[Path]] = {}
    for path in files.wheels:
        try:
            WheelName.parse(path.name)
        except PolywheelError as error:
            problems += error.problems
            continue
        by_name.setdefault(path.name, []).append(path)
    problems += [
        Problem(f"the report lists {name}, but no job uploaded it", at=job["id"])
        for name, job in expected.items()
        if name not in by_name
    ]
    problems += _label_conflicts(reports)
    copies = []
    for name, paths in by_name.items():
        digests = {sha256_of(path, follow_links=False) for path in paths}
        if name in contradicted:
            continue
        listed = ", ".join(map(str, paths))
        if name not in expected:
            what = f"no report lists {name} as built; it is not collected"
            hint = "upload the report of each job (polywheel build --report) with its wheels"
            problems.append(Problem(what, listed, hint))
        elif len(digests) > 1:
            what = f"several jobs built {name} with different content"
            hint = "targets with the same platform tag need different variants"
            problems.append(Problem(what, listed, hint))
        elif digests != {expected[name]["sha256"]} or not _copy_wheel(paths[0], out, *digests):
            what = f"{name} has another SHA-256 than in the report"
            problems.append(Problem(what, at=str(paths[0])))
        else:
            copies.append(out / name)
    return copies, problems


def expected_wheels(
    reports: MergedReport, problems: list[Problem]
) -> tuple[dict[str, Mapping[str, Any]], set[str]]:
    """Return the jobs that reports list as built, by filename, and the contradicted filenames.

    A filename is contradicted if reports disagree about it. Problems are added to ``problems``.
    """
    expected: dict[str, Mapping[str, Any]] = {}
    by_job: dict[str, Mapping[str, Any]] = {}
    contradicted: set[str] = set()
    for job in reports.claims:
        name, sha256, at = job["file"], job["sha256"], job["id"]
        try:
            WheelName.parse(name or "")
        except PolywheelError:
            problems.append(
                Problem(f"expected the filename of a wheel in the report, got {name!r}", at=at)
            )
            continue
        if not _SHA256.fullmatch(sha256 or ""):
            problems.append(Problem(f"the report has no SHA-256 of {name}", at=at))
            contradicted.add(name)
            continue
        same_name, same_job = expected.setdefault(name, job), by_job.setdefault(at, job)
        for other in (same_name,) if same_name is same_job else (same_name, same_job):
            if (other["file"], other["sha256"]) != (name, sha256):
                what = (
                    f"reports contradict each other: {name} ({sha256[:8]}…) and "
                    f"{other['file']} ({other['sha256'][:8]}…)"
                )
                problems.append(Problem(what, at=at))
                contradicted |= {name, other["file"]}
    return expected, contradicted


def _label_conflicts(reports: MergedReport) -> Iterator[Problem]:
    """Yield the contradictions between the variants: ``polywheel index`` refuses such a release."""
    variants: list[tuple[str, Variant]] = []
    for job in reports.made:
        if job["label"] is not None and job["properties"]:
            try:
                properties = [
                    VariantProperty.parse(text, at=job["id"]) for text in job["properties"]
                ]
                variants.append((job["id"], Variant.of(properties, job["label"], at=job["id"])))
            except ConfigError as error:
                yield from error.problems
    yield from (problem for problem, _ in label_conflicts(variants))


def _copy_wheel(path: Path, out: Path, sha256: str) -> bool:
    """Copy a wheel. Return False, without a copy, if its SHA-256 has changed."""
    target = out / path.name
    try:
        with os_error_as(WheelError, "can't be written", at=target):
            out.mkdir(parents=True, exist_ok=True)
            with replacing(target) as part:
                shutil.copyfile(path, part)
                if sha256_of(part, follow_links=False) != sha256:
                    raise _ChangedError
    except _ChangedError:
        return False
    return True


class _ChangedError(Exception):
    """A file has changed since its hash was computed."""
