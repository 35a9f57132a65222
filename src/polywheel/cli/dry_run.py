"""``polywheel build --dry-run``: what would be built, with which Python, and what it would be told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from packaging.markers import default_environment

from polywheel.backend.hook_call import HookCall as BuildCall
from polywheel.backend.setup_report import setup_report, setup_report_lines
from polywheel.cli import say
from polywheel.config.project import Project
from polywheel.config.selection import Selection
from polywheel.environments.interpreters import find_interpreter
from polywheel.errors import ConfigError
from polywheel.matrix.expansion import equal_when_built
from polywheel.model.plan import Build, Plan
from polywheel.model.setup import BackendChoice
from polywheel.model.variant import Variant
from polywheel.providers.plugins import PluginEnvironments
from polywheel.run.equal_setups import group_by_setup
from polywheel.setup.comparison import NO_SETUP
from polywheel.system.limits import cpu_count
from polywheel.system.terminal import print_json, print_lines

_Asked = tuple[Variant, str | None]
"""A variant, and the Python that it is explained for; None where that makes no difference."""

SHAPE = 1
"""The version of what ``--dry-run --json`` prints."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DryRun:
    """A plan, and what its builds on this machine would be told."""

    plan: Plan
    project: Project
    choice: BackendChoice
    settings: Mapping[str, str | Sequence[str]]
    here: frozenset[str]
    """The builds that would run on this machine, by id."""

    machine: str
    """The target that this machine is."""

    plugins: PluginEnvironments

    def document(self) -> dict[str, Any]:
        """Everything, as JSON has it. Plugins are asked, in an environment of their own."""
        ours = [build for build in self.plan.builds if build.id in self.here]
        pythons = sorted({build.python for build in ours})
        by_python = any(rule.when is not None for rule in self.project.settings.setup)
        variants = {build.id: self._asked(build, by_python=by_python) for build in ours}
        distinct = list(dict.fromkeys(one for one in variants.values() if one is not None))
        with ThreadPoolExecutor(max_workers=cpu_count()) as pool:
            found = dict(zip(pythons, pool.map(find_interpreter, pythons), strict=True))
            # The first alone: it makes the environment of the plugins that all others ask.
            setups = {one: self._explained(one) for one in distinct[:1]}
            setups |= zip(distinct[1:], pool.map(self._explained, distinct[1:]), strict=True)
        return {
            "shape": SHAPE,
            "here": self.machine,
            "pythons": {
                python: one.executable if one is not None else None for python, one in found.items()
            },
            "builds": [
                {
                    "id": build.id,
                    "python": build.python,
                    "target": build.target,
                    "here": build.id in variants,
                    "jobs": [self._job(identifier) for identifier in build.jobs],
                    "setup": setups[variant] if (variant := variants.get(build.id)) else None,
                }
                for build in self.plan.builds
            ],
        }

    def _job(self, identifier: str) -> dict[str, Any]:
        job = self.plan.job(identifier)
        properties = [str(one) for one in job.properties] if job is not None else []
        return {
            "id": identifier,
            "label": job.label if job is not None else None,
            "properties": properties,
        }

    def _asked(self, build: Build, *, by_python: bool) -> _Asked | None:
        """The variant that the real backend would be told of; None where it is told of none."""
        jobs = [job for one in build.jobs if (job := self.plan.job(one)) is not None]
        if any(job.label is None for job in jobs):
            return None
        variant = Variant(jobs[0].properties, jobs[0].label or "")
        return variant, build.python if by_python else None

    def _explained(self, asked: _Asked) -> dict[str, Any]:
        variant, python = asked
        call = BuildCall(
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
    here = {name: str(value) for name, value in default_environment().items()}
    if version == here["python_version"]:
        return here
    full = f"{version}.0"
    return here | {
        "python_version": version,
        "python_full_version": full,
        "implementation_version": full,
    }


def print_dry_run(dry_run: DryRun, *, as_json: bool) -> None:
    """Print what would be built, and what each build would be told, with origins.

    Raises ConfigError, at the end, where variants ask the same of the build and the project is strict.
    """
    document = dry_run.document()
    if as_json:
        print_json(document)
    else:
        print_lines(_lines(document))
    plan = dry_run.plan
    equal = equal_when_built(dry_run.project, plan.jobs, group_by_setup(plan, _digests(document)))
    for one in equal:
        if not one.is_error:
            say(f"warning: {one}")
    if errors := [one.problem for one in equal if one.is_error]:
        raise ConfigError.collected(errors)


def _digests(document: Mapping[str, Any]) -> dict[str, str]:
    """By job, the digest of what it asks of its build, as far as that runs on this machine."""
    return {
        job["id"]: build["setup"]["setup-digest"] if build["setup"] is not None else NO_SETUP
        for build in document["builds"]
        if build["here"]
        for job in build["jobs"]
    }


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    for python, executable in document["pythons"].items():
        missing = "is not here; --install-python gets it through uv"
        yield f"Python {python}: {executable or missing}"
    for build in document["builds"]:
        yield ""
        yield f"{build['id']}" + ("" if build["here"] else f"  (for {build['target']})")
        for job in build["jobs"]:
            if len(build["jobs"]) > 1 or job["id"] != build["id"]:
                properties = ", ".join(job["properties"]) or "no properties"
                yield f"  wheel {job['id']}: {properties}"
        if build["setup"] is not None:
            yield from (f"  {line}" for line in setup_report_lines(build["setup"]))
        elif build["here"]:
            yield "  the real backend is told of no variant"
    yield ""
    wheels = sum(len(build["jobs"]) for build in document["builds"])
    yield f"builds: {len(document['builds'])}, wheels: {wheels}"
