"""``polywheel build --dry-run``: show the builds, their Pythons, and their flags and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from polywheel.backend.hook_call import HookCall
from polywheel.backend.setup_report import setup_report, setup_report_lines
from polywheel.cli import say
from polywheel.config.project import Project
from polywheel.config.reader import local_marker_environment
from polywheel.config.selection import Selection
from polywheel.environments.interpreters import find_interpreter
from polywheel.errors import ConfigError
from polywheel.matrix.expansion import equal_when_built
from polywheel.model.plan import Build, Plan
from polywheel.model.setup import BackendChoice
from polywheel.model.variant import Variant
from polywheel.providers.plugins import PluginEnvironments
from polywheel.run.equal_setups import group_by_setup
from polywheel.setup.digest import NO_SETUP
from polywheel.system.limits import cpu_count
from polywheel.system.terminal import print_json, print_lines

_Question = tuple[Variant, str | None]
"""A variant and the Python of its setup; None if the setup does not depend on the Python."""

SHAPE = 1
"""The version of the output of ``--dry-run --json``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DryRun:
    """A plan, and everything that is needed to find the setups of its builds on this machine."""

    plan: Plan
    project: Project
    choice: BackendChoice
    settings: Mapping[str, str | Sequence[str]]
    here: frozenset[str]
    """The ids of the builds that would run on this machine."""

    machine: str
    """The target of this machine."""

    plugins: PluginEnvironments

    def document(self) -> dict[str, Any]:
        """The output of ``--json``. Asks plugins, in their own environment."""
        local_builds = [build for build in self.plan.builds if build.id in self.here]
        pythons = sorted({build.python for build in local_builds})
        by_python = any(rule.when is not None for rule in self.project.settings.setup)
        questions = {build.id: self._question(build, by_python=by_python) for build in local_builds}
        distinct = list(dict.fromkeys(filter(None, questions.values())))
        with ThreadPoolExecutor(max_workers=cpu_count()) as pool:
            interpreters = dict(zip(pythons, pool.map(find_interpreter, pythons), strict=True))
            # The first question creates the plugin environment. The other questions use it.
            setups = {question: self._setup(question) for question in distinct[:1]}
            setups |= zip(distinct[1:], pool.map(self._setup, distinct[1:]), strict=True)
        return {
            "shape": SHAPE,
            "here": self.machine,
            "pythons": {
                python: interpreter.executable if interpreter is not None else None
                for python, interpreter in interpreters.items()
            },
            "builds": [
                {
                    "id": build.id,
                    "python": build.python,
                    "target": build.target,
                    "here": build.id in questions,
                    "jobs": [self._job(job) for job in build.jobs],
                    "setup": setups[question] if (question := questions.get(build.id)) else None,
                }
                for build in self.plan.builds
            ],
        }

    def _job(self, identifier: str) -> dict[str, Any]:
        job = self.plan.job(identifier)
        return {
            "id": identifier,
            "label": job.label if job is not None else None,
            "properties": [str(prop) for prop in job.properties] if job is not None else [],
        }

    def _question(self, build: Build, *, by_python: bool) -> _Question | None:
        """The variant whose setup the build needs; None for a build of the non-variant wheel."""
        jobs = [job for identifier in build.jobs if (job := self.plan.job(identifier)) is not None]
        if any(job.label is None for job in jobs):
            return None
        variant = Variant(jobs[0].properties, jobs[0].label or "")
        return variant, build.python if by_python else None

    def _setup(self, question: _Question) -> dict[str, Any]:
        variant, python = question
        call = HookCall(
            project=self.project,
            choice=self.choice,
            selection=Selection(),
            settings=self.settings,
            variant=variant,
            notify=say,
        )
        markers = _markers(python) if python else None
        return setup_report(call, self.plugins, notify=say, environment=markers)


def _markers(python: str) -> dict[str, str]:
    """The marker variables (PEP 508) of a Python on this machine."""
    version = python.removesuffix("t")
    here = local_marker_environment()
    return here if version == here["python_version"] else local_marker_environment(f"{version}.0")


def print_dry_run(dry_run: DryRun, *, as_json: bool) -> None:
    """Print the builds with their flags and settings, and the origin of each.

    Raises ConfigError, at the end, if variants have the same build setup and the project is strict.
    """
    document = dry_run.document()
    if as_json:
        print_json(document)
    else:
        print_lines(_lines(document))
    plan = dry_run.plan
    findings = equal_when_built(
        dry_run.project, plan.jobs, group_by_setup(plan, _digests(document))
    )
    for finding in findings:
        if not finding.is_error:
            say(f"warning: {finding}")
    if errors := [finding.problem for finding in findings if finding.is_error]:
        raise ConfigError.collected(errors)


def _digests(document: Mapping[str, Any]) -> dict[str, str]:
    """The digest of the build setup by job, for the builds that run on this machine."""
    return {
        job["id"]: build["setup"]["setup-digest"] if build["setup"] is not None else NO_SETUP
        for build in document["builds"]
        if build["here"]
        for job in build["jobs"]
    }


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    for python, executable in document["pythons"].items():
        missing = "not found; use --install-python to install it with uv"
        yield f"Python {python}: {executable or missing}"
    for build in document["builds"]:
        yield ""
        yield f"{build['id']}" + ("" if build["here"] else f"  (on {build['target']})")
        for job in build["jobs"]:
            if len(build["jobs"]) > 1 or job["id"] != build["id"]:
                properties = ", ".join(job["properties"]) or "no properties"
                yield f"  wheel {job['id']}: {properties}"
        if build["setup"] is not None:
            yield from (f"  {line}" for line in setup_report_lines(build["setup"]))
        elif build["here"]:
            yield "  no variant settings for the real backend"
    yield ""
    wheels = sum(len(build["jobs"]) for build in document["builds"])
    yield f"builds: {len(document['builds'])}, wheels: {wheels}"
