"""``polywheel index --release``: what belongs to a release, by a plan or by reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from polywheel.ci.collection import MergedReport, expected_wheels, merge_reports
from polywheel.cli import say
from polywheel.config.reader import Table
from polywheel.errors import ConfigError, Problem
from polywheel.index.wheel_file import DistributionFile, FileName, parse_filename
from polywheel.index.write.releases import ExpectedRelease, Release
from polywheel.matrix.plan_json import read_document, read_plan, settle
from polywheel.model.plan import Job, Plan
from polywheel.model.wheelname import WheelName
from polywheel.run.outcome import State
from polywheel.run.worker.checks import misfits
from polywheel.system.files import sha256_of

_SHAPE = 1
"""The version of plans, and of reports."""
_HINT = "polywheel matrix --json writes a plan, polywheel build --report a report"
_NAMED = 20
"""How many jobs without a wheel are named."""


def expected_release(paths: Sequence[Path]) -> ExpectedRelease:
    """The release that a plan, or the reports of several machines, describe. Raises ConfigError."""
    tables = [
        read_document(path, _SHAPE, what="plan or report", hint=_HINT, closed=False)
        for path in paths
    ]
    if all("exit-code" in table for table in tables):
        return _reported(tables)
    if len(paths) > 1:
        raise ConfigError(
            "only reports can be given together",
            at="--release",
            hint="name one plan, or the reports of all machines",
        )
    plan = read_plan(paths[0])
    if plan.project is None:
        raise ConfigError(
            "the plan does not name its project",
            at=str(paths[0]),
            hint="use the report of polywheel build, or give the project a name",
        )
    return PlannedRelease(plan=plan, at=str(paths[0]))


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRelease:
    """The newest version of a project in a folder, as far as a plan has jobs for its wheels."""

    plan: Plan
    at: str

    def left_out(self, names: Sequence[FileName]) -> Mapping[str, str]:
        """The files of other projects and versions, and those that no job is for."""
        found = {name.filename: self._why_not(name) for name in names}
        newest = max(
            (name.version for name in names if name.wheel and not found[name.filename]),
            default=None,
        )
        for name in names:
            if not found[name.filename] and name.version != newest:
                newer = f", the newest is {newest}" if newest is not None else ""
                found[name.filename] = f"of version {name.version}{newer}"
        return {file: why for file, why in found.items() if why}

    def _why_not(self, name: FileName) -> str:
        """Why a file is no part of the plan; empty where it is, or may be."""
        if name.project != self.plan.project:
            return f"of another project than {self.plan.project}"
        if name.wheel is None:
            return ""
        jobs = [job for job in self.plan.jobs if job.label == name.label]
        if not jobs:
            what = "non-variant wheel" if name.label is None else f"variant {name.label!r}"
            return f"no {what} is planned"
        fits = any(self._is_for(name.wheel, job) for job in jobs)
        return "" if fits else "its tags are for no job of the plan"

    def _is_for(self, wheel: WheelName, job: Job) -> bool:
        targets = [self.plan.targets[name] for name in job.targets]
        return wheel.label == job.label and not misfits(wheel, job, targets)

    def problems(self, releases: Sequence[Release]) -> Sequence[Problem]:
        """Jobs without a wheel, and variants with other properties than planned."""
        wheels = [
            file.name.wheel for one in releases for file in one.files if file.name.wheel is not None
        ]
        missing = [
            Problem(
                f"there is no wheel of {job.id}",
                at=self.at,
                hint="build it, or name a plan without it (polywheel matrix --select … --json)",
            )
            for job in self.plan.jobs
            if not any(self._is_for(wheel, job) for wheel in wheels)
        ]
        return [
            *_few(missing, "jobs of the plan without a wheel"),
            *self._other_properties(releases),
        ]

    def _other_properties(self, releases: Sequence[Release]) -> Iterator[Problem]:
        planned = {job.label: frozenset(job.properties) for job in self.plan.jobs}
        for release in releases:
            variants = release.metadata.variants if release.metadata is not None else {}
            for label, variant in variants.items():
                if label in planned and planned[label] != frozenset(variant.properties):
                    yield Problem(
                        f"{label} is planned as {_listed(planned[label])}, "
                        f"its wheels are of {_listed(variant.properties)}",
                        at=self.at,
                        hint="build them again",
                    )


def _reported(tables: Sequence[Table]) -> ReportedRelease:
    """Raises ConfigError for a malformed report, and for reports that contradict each other."""
    reports = merge_reports(tables)
    for table in tables:
        settle(table.problems)
    problems: list[Problem] = []
    wheels, _ = expected_wheels(reports, problems)
    if problems:
        raise ConfigError.collected(problems)
    elsewhere = [str(job["id"]) for job in reports.missing if job["state"] == State.ELSEWHERE]
    if elsewhere:
        more = f" and {len(elsewhere) - _NAMED} more" if len(elsewhere) > _NAMED else ""
        say(
            f"note: for other machines, whose reports are not given: "
            f"{', '.join(elsewhere[:_NAMED])}{more}"
        )
    return ReportedRelease(
        wheels={name: str(job["sha256"]) for name, job in wheels.items()},
        reports=reports,
        at=", ".join(table.file for table in tables),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedRelease:
    """The wheels that reports name."""

    wheels: Mapping[str, str]
    """SHA-256 by filename, hexadecimal."""

    reports: MergedReport
    at: str

    def left_out(self, names: Sequence[FileName]) -> Mapping[str, str]:
        """Wheels that no report names, and sdists of another project or version."""
        named = [parse_filename(file) for file in self.wheels]
        releases = {(one.project, one.version) for one in named if one is not None}
        return {
            name.filename: "no report names it"
            for name in names
            if name.filename not in self.wheels
            and (name.wheel is not None or (name.project, name.version) not in releases)
        }

    def problems(self, releases: Sequence[Release]) -> Sequence[Problem]:
        """Wheels that are missing or other than reported, and jobs that failed."""
        there = {file.name.filename: file for one in releases for file in one.files}
        missing = [
            Problem(f"the report names {name}, which is not there", at=self.at)
            for name in self.wheels
            if name not in there
        ]
        other = [
            Problem(
                f"{name} is not the wheel that the report names: it has changed since",
                at=str(there[name].path),
                hint="build it again, and use the new report",
            )
            for name, sha256 in self.wheels.items()
            if name in there and _sha256(there[name]) != sha256
        ]
        failed = [
            Problem(
                f"there is no wheel of {job['id']}: {job['state'].replace('-', ' ')}",
                at=self.at,
                hint="build it, and use the new report",
            )
            for job in self.reports.missing
            if job["state"] != "elsewhere"
        ]
        if not self.wheels and not failed:
            failed = [Problem("the report names no wheel", at=self.at)]
        return [*_few(missing, "missing wheels"), *other, *_few(failed, "jobs without a wheel")]


def _sha256(file: DistributionFile) -> str | None:
    """The hash of a file; None where it can't be read, which is a problem of its release."""
    if file.sha256 is not None or file.problems:
        return file.sha256
    return sha256_of(file.path)


def _few(problems: Sequence[Problem], what: str) -> list[Problem]:
    more = len(problems) - _NAMED
    return [*problems[:_NAMED], *([Problem(f"and {more} more {what}")] if more > 0 else [])]


def _listed(properties: Sequence[object] | frozenset[object]) -> str:
    return ", ".join(sorted(map(str, properties))) or "no properties"
