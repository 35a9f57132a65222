"""Collect the wheels of all jobs of a CI run in one folder, and their reports in one document.

Files that jobs hand over are treated as a stranger's. Names, sizes, and formats are checked, links are not
followed, and only wheels that a report lists, with the hash that it lists, are collected. The Markdown
summary escapes every letter of names and messages that Markdown or HTML could interpret.
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
from polywheel.errors import PolywheelError, Problem, WheelError
from polywheel.model.plan import NON_VARIANT
from polywheel.model.wheelname import WheelName
from polywheel.run.outcome import PRESENT, State
from polywheel.run.report import SHAPE
from polywheel.system.files import sha256_of, walk
from polywheel.system.temporary import replacing
from polywheel.system.terminal import without_passwords

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,-/")
_ROWS = 400
"""GitHub shows a megabyte of a step's summary, and no more of it."""
_LONGEST = 300
_FAILURES = 50
"""Failures, and warnings, that are shown."""
_NAMED = 3
"""Jobs with one warning that are shown."""


def summary(reports: MergedReport, *, wheels: int, result: str | None) -> str:
    """A table of all jobs, those that went wrong first, and why they did.

    ``wheels`` is how many are there in the end, ``result`` what CI says of the jobs, where it does.
    """
    return "\n".join(_lines(reports, wheels, result)) + "\n"


def _lines(reports: MergedReport, wheels: int, result: str | None) -> Iterator[str]:
    missing = reports.missing
    name = f"Wheels of {escape_markdown(reports.project)}" if reports.project else "Wheels"
    yield f"## {name}"
    yield ""
    size = sum(job["size"] or 0 for job in reports.jobs)
    counts = [counted(wheels, "wheel"), f"{size / 1e6:.1f} MB"]
    if missing:
        counts.append(f"**{len(missing)} not made**")
    yield ", ".join(counts) + f", {reports.seconds:.0f} s on all machines together"
    if result not in {None, "success"}:
        yield ""
        yield f"The build jobs ended with **{escape_markdown(str(result))}**."
    yield ""
    if reports.jobs:
        yield from _table(reports, [*missing, *reports.made])
    yield from _failures(reports)
    yield from _warnings(reports)


def _table(reports: MergedReport, jobs: list[Mapping[str, Any]]) -> Iterator[str]:
    targets = {build["id"]: build["target"] for build in reports.builds}
    yield "| variant | Python | target | state | MB | s |"
    yield "|---|---|---|---|--:|--:|"
    for job in jobs[:_ROWS]:
        state = escape_markdown(job["state"])
        cells = (
            escape_markdown(job["label"] or NON_VARIANT),
            escape_markdown(", ".join(job["pythons"])),
            escape_markdown(targets.get(job["build"]) or ", ".join(job["targets"])),
            state if job["state"] in PRESENT else f"**{state}**",
            "" if job["size"] is None else f"{job['size'] / 1e6:.2f}",
            "" if job["seconds"] is None else f"{job['seconds']:.1f}",
        )
        yield f"| {' | '.join(cells)} |"
    if len(jobs) > _ROWS:
        yield ""
        yield f"and {len(jobs) - _ROWS} more"


def _failures(reports: MergedReport) -> Iterator[str]:
    failed = [build for build in reports.builds if build["error"]]
    if failed:
        yield ""
        yield "### What went wrong"
        yield ""
    for build in failed[:_FAILURES]:
        yield f"- {escape_markdown(build['id'])}: {escape_markdown(build['error'].strip().partition(chr(10))[0])}"
    if len(failed) > _FAILURES:
        yield f"- and {len(failed) - _FAILURES} more"


def _warnings(reports: MergedReport) -> Iterator[str]:
    if reports.warnings:
        yield ""
        yield "### Warnings and notes"
        yield ""
    for one in reports.warnings[:_FAILURES]:
        jobs = ", ".join(one["jobs"][:_NAMED])
        more = f" and {len(one['jobs']) - _NAMED} more" if len(one["jobs"]) > _NAMED else ""
        yield f"- {one['level']}: {escape_markdown(one['text'])} ({escape_markdown(jobs)}{more})"
    if len(reports.warnings) > _FAILURES:
        yield f"- and {len(reports.warnings) - _FAILURES} more"


def escape_markdown(text: str) -> str:
    """A text in which Markdown finds nothing but the text; of a long one, the beginning."""
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return "".join(letter if letter in _SAFE else _reference(letter) for letter in cut)


def _reference(letter: str) -> str:
    # Control characters, halves of pairs and what turns the direction of a line have no picture.
    return f"&#{ord(letter)};" if letter.isprintable() else "&#65533;"


def counted(number: int, what: str) -> str:
    """``1 wheel``, ``2 wheels``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


_STATES = frozenset(State)
_LEVELS = frozenset({"warning", "note"})
_REPORTS = "report*.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LARGEST = 1 << 50
"""Bytes of a wheel that a report may tell of."""
_WHEEL = ".whl"
_BUILD = ("id", "python", "target", "state", "error", "log")
_JOB = ("id", "label", "build", "state", "file", "sha256")


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectedFiles:
    """The files of a folder that are of use."""

    wheels: tuple[Path, ...]
    reports: tuple[Path, ...]
    problems: tuple[Problem, ...] = ()
    """What has the name of one, and is no file: a link or a pipe, say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MergedReport:
    """Several reports as one."""

    project: str | None
    seconds: float
    """Of all of them together."""

    builds: tuple[Mapping[str, Any], ...]
    jobs: tuple[Mapping[str, Any], ...]
    """As docs/report.md has them."""

    claims: tuple[Mapping[str, Any], ...] = ()
    """Every job that one of the reports says was made; of ``jobs`` with one id, all of them."""

    warnings: tuple[Mapping[str, Any], ...] = ()
    """Each text once, with the jobs of all reports that have it."""

    @property
    def missing(self) -> list[Mapping[str, Any]]:
        """Jobs whose wheel was not made."""
        return [job for job in self.jobs if job["state"] not in PRESENT]

    @property
    def made(self) -> list[Mapping[str, Any]]:
        """The others."""
        return [job for job in self.jobs if job["state"] in PRESENT]

    def document(self, out: Path) -> dict[str, Any]:
        """The report of all jobs, for wheels that now lie in ``out``."""
        return {
            "shape": SHAPE,
            "project": self.project,
            "out": str(out),
            "seconds": round(self.seconds, 3),
            "interrupted": False,
            "exit-code": 1 if self.missing else 0,
            "warnings": [dict(one) for one in self.warnings],
            "stale": [],
            "builds": [dict(one) for one in self.builds],
            "jobs": [dict(one) for one in self.jobs],
        }


def find_files(folder: Path) -> CollectedFiles:
    """The wheels and reports below a folder, by name. No link is followed. Raises WheelError."""
    try:
        paths = sorted(_find_named(folder))
    except OSError as error:
        why = f"it can't be listed: {error.strerror or error}"
        raise WheelError(why, at=str(error.filename or folder)) from None
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
    """What has the name of a wheel or of a report."""
    for base, folders, names in walk(folder):
        links = [name for name in folders if Path(base, name).is_symlink()]
        for path in (Path(base, name) for name in (*names, *links)):
            if path.suffix == _WHEEL or path.match(_REPORTS):
                yield path


def merge_reports(tables: Iterable[Table]) -> MergedReport:
    """The reports of jobs as one; what is malformed is noted in their problems, and left out.

    A job that several tell of is told by the one that made it.
    """
    builds: dict[str, Mapping[str, Any]] = {}
    jobs: dict[str, Mapping[str, Any]] = {}
    claims: list[Mapping[str, Any]] = []
    warnings: dict[tuple[str, str], dict[str, None]] = {}
    project: str | None = None
    seconds = 0.0
    for table in tables:
        said = table.string("project")
        project = project or said
        seconds += table.number("seconds") or 0.0
        for one in table.array("warnings"):
            if isinstance(one, dict):
                _add_warning(Table(one, table.file, ("warnings",), table.problems), warnings)
        for key, into, read in (("builds", builds, _read_build), ("jobs", jobs, _read_job)):
            for index, value in enumerate(table.array(key)):
                name = f"{key}[{index}]"
                if not isinstance(value, dict):
                    table.problems.add("expected a table", at=table.at(name))
                    continue
                one = read(Table(value, table.file, (*table.path, name), table.problems))
                if one is not None:
                    if into is jobs and one["state"] in PRESENT:
                        claims.append(one)
                    before = into.get(one["id"])
                    if before is None or before["state"] not in PRESENT:
                        into[one["id"]] = one
    return MergedReport(
        project=project,
        seconds=seconds,
        builds=tuple(builds[name] for name in sorted(builds)),
        jobs=tuple(jobs[name] for name in sorted(jobs)),
        claims=tuple(claims),
        warnings=tuple(
            {"level": level, "text": text, "jobs": list(names)}
            for (level, text), names in sorted(
                warnings.items(), key=lambda one: one[0][0] != "warning"
            )
        ),
    )


def _add_warning(table: Table, found: dict[tuple[str, str], dict[str, None]]) -> None:
    level, text, jobs = table.string("level"), table.string("text"), table.strings("jobs")
    if level not in _LEVELS or text is None:
        table.wrong("level", "expected a warning of a report")
    else:
        found.setdefault((level, text), {}).update(dict.fromkeys(jobs or ()))


def _read_build(table: Table) -> dict[str, Any] | None:
    said = {key: table.string(key) for key in _BUILD}
    times = {key: table.number(key) or 0.0 for key in ("seconds", "hook-seconds")}
    return _check_entry(table, {**said, **times, "jobs": list(table.strings("jobs") or ())})


def _read_job(table: Table) -> dict[str, Any] | None:
    said: dict[str, Any] = {key: table.string(key) for key in _JOB}
    size = table.number("size")
    if size is not None and not 0 <= size <= _LARGEST:
        table.wrong("size", f"expected bytes of a wheel, found {size:g}")
        size = None
    lists = {key: list(table.strings(key) or ()) for key in ("properties", "pythons", "targets")}
    numbers = {"size": None if size is None else int(size), "seconds": table.number("seconds")}
    return _check_entry(table, {**said, **lists, **numbers})


def _check_entry(table: Table, said: dict[str, Any]) -> dict[str, Any] | None:
    if said["id"] is None or said["state"] not in _STATES:
        key = "id" if said["id"] is None else "state"
        table.wrong(key, f"expected {'an id' if key == 'id' else 'a state of a report'}")
        return None
    return said


def collect_wheels(
    found: CollectedFiles, reports: MergedReport, out: Path
) -> tuple[list[Path], list[Problem]]:
    """Copy the wheels into a folder, each whole or not at all; what is there, and what is wrong.

    A wheel must be one that the report of a job names, with its hash. Two wheels of one name must be
    the same file. Raises WheelError where the folder can't be written.
    """
    problems = list(found.problems)
    expected, contradicted = expected_wheels(reports, problems)
    by_name: dict[str, list[Path]] = {}
    for path in found.wheels:
        try:
            WheelName.parse(path.name)
        except PolywheelError as error:
            problems += error.problems
            continue
        by_name.setdefault(path.name, []).append(path)
    problems += [
        Problem(f"the report tells of {name}, and no job handed it over", at=job["id"])
        for name, job in expected.items()
        if name not in by_name
    ]
    problems += _label_conflicts(reports)
    done = []
    for name, paths in by_name.items():
        said = {sha256_of(path, follow_links=False) for path in paths}
        if name in contradicted:
            continue
        if name not in expected:
            problems.append(_unlisted_wheel(name, paths))
        elif len(said) > 1:
            problems.append(_different_wheels(name, paths))
        elif said != {expected[name]["sha256"]} or not _copy_wheel(paths[0], out, *said):
            problems.append(
                Problem(f"{name} is not the wheel that the report tells of", at=str(paths[0]))
            )
        else:
            done.append(out / name)
    return done, problems


def expected_wheels(
    reports: MergedReport, problems: list[Problem]
) -> tuple[dict[str, Mapping[str, Any]], set[str]]:
    """The jobs that the reports say were made, by the names of their wheels; and the names about
    which reports contradict each other. What is wrong is noted.
    """
    expected: dict[str, Mapping[str, Any]] = {}
    by_job: dict[str, Mapping[str, Any]] = {}
    contradicted: set[str] = set()
    for job in reports.claims:
        name, sha256, at = job["file"], job["sha256"], job["id"]
        try:
            WheelName.parse(name or "")
        except PolywheelError:
            problems.append(Problem(f"the report names no wheel, but {name!r}", at=at))
            continue
        if not _SHA256.fullmatch(sha256 or ""):
            problems.append(Problem(f"the report has no SHA-256 of {name}", at=at))
            contradicted.add(name)
            continue
        same_name, same_job = expected.setdefault(name, job), by_job.setdefault(at, job)
        for before in (same_name,) if same_name is same_job else (same_name, same_job):
            if (before["file"], before["sha256"]) != (name, sha256):
                other = f"{before['file']} ({before['sha256'][:8]}…)"
                what = f"reports contradict each other: {name} ({sha256[:8]}…), and {other}"
                problems.append(Problem(what, at=at))
                contradicted |= {name, before["file"]}
    return expected, contradicted


def _unlisted_wheel(name: str, paths: Sequence[Path]) -> Problem:
    return Problem(
        f"no report says that {name} was made: it is not collected",
        at=", ".join(map(str, paths)),
        hint="a job hands over its report (polywheel build --report) with its wheels",
    )


def _label_conflicts(reports: MergedReport) -> Iterator[Problem]:
    """One set of properties has one label in a release, whichever job made its wheels."""
    labels: dict[frozenset[str], dict[str, str]] = {}
    for job in reports.made:
        if job["label"] is not None and job["properties"]:
            known = labels.setdefault(frozenset(job["properties"]), {})
            known.setdefault(job["label"], job["id"])
    for properties, jobs in labels.items():
        if len(jobs) > 1:
            said = ", ".join(f"{label!r} in {name}" for label, name in sorted(jobs.items()))
            yield Problem(
                f"the same properties have {len(jobs)} labels: {said}",
                at=", ".join(sorted(properties)),
                hint="build all of them from one matrix; polywheel index refuses such a release",
            )


def _different_wheels(name: str, paths: Sequence[Path]) -> Problem:
    return Problem(
        f"several jobs made a {name}, and not the same one",
        at=", ".join(map(str, paths)),
        hint="two targets whose wheels have one platform tag need variants that tell them apart",
    )


def _copy_wheel(path: Path, out: Path, sha256: str) -> bool:
    """Copy a wheel; False, and nothing is there, where it has changed since its hash was taken."""
    target = out / path.name
    try:
        out.mkdir(parents=True, exist_ok=True)
        with replacing(target) as part:
            shutil.copyfile(path, part)
            if sha256_of(part, follow_links=False) != sha256:
                raise _ChangedError
    except _ChangedError:
        return False
    except OSError as error:
        raise WheelError(
            f"it can't be written: {error.strerror or error}", at=str(target)
        ) from None
    return True


class _ChangedError(Exception):
    """A file is no longer what it was."""


def write_report(reports: MergedReport, path: Path, out: Path) -> None:
    """Write the report of all jobs, whole or not at all. Raises WheelError."""
    text = without_passwords(json.dumps(reports.document(out), indent=2)) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise WheelError(f"it can't be written: {error.strerror or error}", at=str(path)) from None
