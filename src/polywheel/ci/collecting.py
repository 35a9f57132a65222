"""The end of a CI run: the wheels of all jobs in one folder, their reports in one document.

What jobs hand over is looked at as a stranger's: names, sizes and shapes are checked, links are not
followed, and a wheel is the one that its report names.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polywheel.config.reader import Table
from polywheel.errors import PolywheelError, Problem, WheelError
from polywheel.model.wheelname import WheelName
from polywheel.system.files import open_regular
from polywheel.system.temporary import replacing

SHAPE = 1
"""The version of reports (docs/report.md)."""
THERE = frozenset({"built", "up-to-date"})
"""States of a wheel that was made."""
_STATES = THERE | {"failed", "stopped", "not-started", "no-python", "elsewhere"}
_REPORTS = "report*.json"
_BUILD = ("id", "python", "target", "state", "error", "log")
_JOB = ("id", "label", "build", "state", "file", "sha256")


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The files of a folder that are of use."""

    wheels: tuple[Path, ...]
    reports: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reports:
    """Several reports as one."""

    project: str | None
    seconds: float
    """Of all of them together."""

    builds: tuple[Mapping[str, Any], ...]
    jobs: tuple[Mapping[str, Any], ...]
    """As docs/report.md has them."""

    @property
    def lacking(self) -> list[Mapping[str, Any]]:
        """Jobs whose wheel was not made."""
        return [job for job in self.jobs if job["state"] not in THERE]

    @property
    def made(self) -> list[Mapping[str, Any]]:
        """The others."""
        return [job for job in self.jobs if job["state"] in THERE]

    def document(self, out: Path) -> dict[str, Any]:
        """The report of all jobs, for wheels that now lie in ``out``."""
        return {
            "shape": SHAPE,
            "project": self.project,
            "out": str(out),
            "seconds": round(self.seconds, 3),
            "interrupted": False,
            "exit-code": 1 if self.lacking else 0,
            "builds": [dict(one) for one in self.builds],
            "jobs": [dict(one) for one in self.jobs],
        }


def find(folder: Path) -> Found:
    """The wheels and reports below a folder, by name. No link is followed."""
    paths = sorted(_files(folder))
    return Found(
        wheels=tuple(path for path in paths if path.suffix == ".whl"),
        reports=tuple(path for path in paths if path.match(_REPORTS)),
    )


def _files(folder: Path) -> Iterator[Path]:
    for base, _, names in os.walk(folder, followlinks=False):
        for name in names:
            path = Path(base, name)
            if path.is_file() and not path.is_symlink():
                yield path


def merged(tables: Iterable[Table]) -> Reports:
    """The reports of jobs as one; what is malformed is noted in their problems, and left out.

    A job that several tell of is told by the one that made it.
    """
    builds: dict[str, Mapping[str, Any]] = {}
    jobs: dict[str, Mapping[str, Any]] = {}
    project: str | None = None
    seconds = 0.0
    for table in tables:
        said = table.string("project")
        project = project or said
        seconds += table.number("seconds") or 0.0
        for key, into, read in (("builds", builds, _build), ("jobs", jobs, _job)):
            for index, value in enumerate(table.array(key)):
                name = f"{key}[{index}]"
                if not isinstance(value, dict):
                    table.problems.add("expected a table", at=table.at(name))
                    continue
                one = read(Table(value, table.file, (*table.path, name), table.problems))
                if one is not None:
                    before = into.get(one["id"])
                    if before is None or before["state"] not in THERE:
                        into[one["id"]] = one
    return Reports(
        project=project,
        seconds=seconds,
        builds=tuple(builds[name] for name in sorted(builds)),
        jobs=tuple(jobs[name] for name in sorted(jobs)),
    )


def _build(table: Table) -> dict[str, Any] | None:
    said = {key: table.string(key) for key in _BUILD}
    times = {key: table.number(key) or 0.0 for key in ("seconds", "hook-seconds")}
    return _known(table, {**said, **times, "jobs": list(table.strings("jobs") or ())})


def _job(table: Table) -> dict[str, Any] | None:
    said: dict[str, Any] = {key: table.string(key) for key in _JOB}
    size = table.number("size")
    lists = {key: list(table.strings(key) or ()) for key in ("properties", "pythons", "targets")}
    numbers = {"size": None if size is None else int(size), "seconds": table.number("seconds")}
    return _known(table, {**said, **lists, **numbers})


def _known(table: Table, said: dict[str, Any]) -> dict[str, Any] | None:
    if said["id"] is None or said["state"] not in _STATES:
        key = "id" if said["id"] is None else "state"
        table.wrong(key, f"expected {'an id' if key == 'id' else 'a state of a report'}")
        return None
    return said


def gather(found: Found, reports: Reports, out: Path) -> tuple[list[Path], list[Problem]]:
    """Copy the wheels into a folder, each whole or not at all; what is there, and what is wrong.

    Two wheels of one name must be the same file, and a wheel must be the one that the report of its job
    names. Raises WheelError where the folder can't be written.
    """
    problems: list[Problem] = []
    by_name: dict[str, list[Path]] = {}
    for path in found.wheels:
        try:
            WheelName.parse(path.name)
        except PolywheelError as error:
            problems += error.problems
            continue
        by_name.setdefault(path.name, []).append(path)
    hashes = {path: _sha256(path) for paths in by_name.values() for path in paths}
    expected = {job["file"]: job["sha256"] for job in reports.jobs if job["state"] in THERE}
    problems += [
        Problem(f"the report tells of {name}, and no job handed it over", at=job["id"])
        for job in reports.jobs
        if job["state"] in THERE and (name := job["file"]) not in by_name
    ]
    problems += _two_labels(reports)
    done = []
    for name, paths in by_name.items():
        said = {hashes[path] for path in paths}
        if len(said) > 1:
            problems.append(_two_of_a_name(name, paths))
        elif expected.get(name, hashes[paths[0]]) not in said:
            problems.append(
                Problem(f"{name} is not the wheel that the report tells of", at=str(paths[0]))
            )
        else:
            done.append(_copied(paths[0], out))
    return done, problems


def _two_labels(reports: Reports) -> Iterator[Problem]:
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


def _two_of_a_name(name: str, paths: Sequence[Path]) -> Problem:
    return Problem(
        f"several jobs made a {name}, and not the same one",
        at=", ".join(map(str, paths)),
        hint="two targets whose wheels have one platform tag need variants that tell them apart",
    )


def _copied(path: Path, out: Path) -> Path:
    target = out / path.name
    try:
        out.mkdir(parents=True, exist_ok=True)
        with replacing(target) as part:
            shutil.copyfile(path, part)
    except OSError as error:
        raise WheelError(
            f"it can't be written: {error.strerror or error}", at=str(target)
        ) from None
    return target


def _sha256(path: Path) -> str:
    with open_regular(path, follow_links=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_report(reports: Reports, path: Path, out: Path) -> None:
    """Write the report of all jobs, whole or not at all. Raises WheelError."""
    text = json.dumps(reports.document(out), indent=2) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise WheelError(f"it can't be written: {error.strerror or error}", at=str(path)) from None
