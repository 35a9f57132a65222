"""``polywheel index --release``: the files of a release, according to a plan or to reports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from polywheel.ci.collect import MergedReport, expected_wheels, merge_reports
from polywheel.cli import say
from polywheel.config.reader import Table
from polywheel.errors import ConfigError, Problem
from polywheel.index.wheel_file import DistributionFile, FileName, parse_filename
from polywheel.index.write.releases import ExpectedRelease, Release
from polywheel.matrix.plan_json import SHAPE, raise_problems, read_document, read_plan
from polywheel.matrix.shards import REPORT_SHAPE
from polywheel.model.plan import Job, Plan
from polywheel.model.wheelname import WheelName
from polywheel.run.outcome import State
from polywheel.run.worker.checks import tag_problems
from polywheel.system.files import sha256_of
from polywheel.system.terminal import count_others, join_first

_HINT = "polywheel matrix --json writes a plan, polywheel build --report writes a report"
_MOST_JOBS = 20
"""How many jobs without a wheel are listed."""


def expected_release(paths: Sequence[Path]) -> ExpectedRelease:
    """The release that a plan or the reports of several machines describe. Raises ConfigError."""
    tables = [
        read_document(
            path, SHAPE, what="plan or report", hint=_HINT, closed=False, oldest=REPORT_SHAPE
        )
        for path in paths
    ]
    if all("exit-code" in table for table in tables):
        return _read_reports(tables)
    if len(paths) > 1:
        raise ConfigError(
            "only reports can be combined",
            at="--release",
            hint="pass one plan, or the reports of all machines",
        )
    plan = read_plan(paths[0])
    if plan.project is None:
        raise ConfigError(
            "the plan has no project name",
            at=str(paths[0]),
            hint="use the report of polywheel build, or give the project a name",
        )
    return PlannedRelease(plan=plan, at=str(paths[0]))


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRelease:
    """The newest version of a project in a folder: the wheels for the jobs of a plan."""

    plan: Plan
    at: str

    def left_out(self, names: Sequence[FileName]) -> Mapping[str, str]:
        """The reason by filename, for files of other projects and versions or without a job."""
        reasons = {name.filename: self._mismatch(name) for name in names}
        newest = max(
            (name.version for name in names if name.wheel and not reasons[name.filename]),
            default=None,
        )
        for name in names:
            if not reasons[name.filename] and name.version != newest:
                newer = f"; the newest is {newest}" if newest is not None else ""
                reasons[name.filename] = f"version {name.version}{newer}"
        return {file: reason for file, reason in reasons.items() if reason}

    def _mismatch(self, name: FileName) -> str:
        """Why a file does not belong to the plan; empty if it may belong to it."""
        if name.project != self.plan.project:
            return f"it is not of the project {self.plan.project}"
        if name.wheel is None:
            return ""
        jobs = [job for job in self.plan.jobs if job.label == name.label]
        if not jobs:
            kind = "non-variant wheel" if name.label is None else f"variant {name.label!r}"
            return f"no {kind} is planned"
        matches = any(self._matches(name.wheel, job) for job in jobs)
        return "" if matches else "no job of the plan has its tags"

    def _matches(self, wheel: WheelName, job: Job) -> bool:
        targets = [self.plan.targets[name] for name in job.targets]
        return wheel.label == job.label and not tag_problems(wheel, job, targets)

    def problems(self, releases: Sequence[Release]) -> Sequence[Problem]:
        """Jobs without a wheel, and variants whose properties differ from the plan."""
        wheels = [
            file.name.wheel for release in releases for file in release.files if file.name.wheel
        ]
        hint = "build it, or use a plan without it (polywheel matrix --select … --json)"
        missing = [
            Problem(f"the wheel of {job.id} is missing", self.at, hint)
            for job in self.plan.jobs
            if not any(self._matches(wheel, job) for wheel in wheels)
        ]
        return [
            *_first_problems(missing, " jobs of the plan without a wheel"),
            *self._other_properties(releases),
        ]

    def _other_properties(self, releases: Sequence[Release]) -> Iterator[Problem]:
        planned = {job.label: frozenset(job.properties) for job in self.plan.jobs}
        for release in releases:
            variants = release.metadata.variants if release.metadata is not None else {}
            for label, variant in variants.items():
                if label in planned and planned[label] != frozenset(variant.properties):
                    yield Problem(
                        f"{label} has {_list_properties(planned[label])} in the plan, but "
                        f"{_list_properties(variant.properties)} in its wheels",
                        self.at,
                        "build the wheels again",
                    )


def _read_reports(tables: Sequence[Table]) -> ReportedRelease:
    """Raises ConfigError for a malformed report, and for reports that contradict each other."""
    reports = merge_reports(tables)
    for table in tables:
        raise_problems(table.problems)
    problems: list[Problem] = []
    wheels, _ = expected_wheels(reports, problems)
    if problems:
        raise ConfigError.collected(problems)
    elsewhere = [str(job["id"]) for job in reports.missing if job["state"] == State.ELSEWHERE]
    if elsewhere:
        say(
            "note: left out, because the reports of other machines are missing: "
            + join_first(elsewhere, _MOST_JOBS)
        )
    return ReportedRelease(
        wheels={name: str(job["sha256"]) for name, job in wheels.items()},
        reports=reports,
        at=", ".join(table.file for table in tables),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedRelease:
    """The wheels in reports."""

    wheels: Mapping[str, str]
    """SHA-256 by filename, hexadecimal."""

    reports: MergedReport
    at: str

    def left_out(self, names: Sequence[FileName]) -> Mapping[str, str]:
        """The reason by filename, for wheels in no report and sdists of other releases."""
        names_in_reports = map(parse_filename, self.wheels)
        releases = {(name.project, name.version) for name in names_in_reports if name is not None}
        return {
            name.filename: "it is in no report"
            for name in names
            if name.filename not in self.wheels
            and (name.wheel is not None or (name.project, name.version) not in releases)
        }

    def problems(self, releases: Sequence[Release]) -> Sequence[Problem]:
        """Missing wheels, wheels that have changed since the report, and failed jobs."""
        files = {file.name.filename: file for release in releases for file in release.files}
        missing = [
            Problem(f"{name} is in the report, but it does not exist", self.at)
            for name in self.wheels
            if name not in files
        ]
        changed = [
            Problem(
                f"{name} has changed since the report was written",
                str(files[name].path),
                "build it again and use the new report",
            )
            for name, sha256 in self.wheels.items()
            if name in files and _sha256(files[name]) != sha256
        ]
        failed = [
            Problem(
                f"the wheel of {job['id']} is missing: {job['state'].replace('-', ' ')}",
                self.at,
                "build it and use the new report",
            )
            for job in self.reports.missing
            if job["state"] != State.ELSEWHERE
        ]
        if not self.wheels and not failed:
            failed = [Problem("the report has no wheels", self.at)]
        return [
            *_first_problems(missing, " missing wheels"),
            *changed,
            *_first_problems(failed, " jobs without a wheel"),
        ]


def _sha256(file: DistributionFile) -> str | None:
    """The hash of a file; None if it can't be read, which is a problem of its release."""
    if file.sha256 is not None or file.problems:
        return file.sha256
    return sha256_of(file.path)


def _first_problems(problems: Sequence[Problem], noun: str) -> list[Problem]:
    return [*problems[:_MOST_JOBS], *map(Problem, count_others(problems, _MOST_JOBS, noun))]


def _list_properties(properties: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, properties))) or "no properties"
