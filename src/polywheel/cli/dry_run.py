"""``polywheel build --dry-run``: show the builds, their Pythons, and their flags and settings."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from polywheel.backend.hook_call import HookCall
from polywheel.backend.setup_report import setup_report, setup_report_lines
from polywheel.cli import print_result, say
from polywheel.config.reader import local_marker_environment
from polywheel.config.selection import Selection
from polywheel.environments.interpreters import find_interpreter
from polywheel.errors import ConfigError
from polywheel.matrix.expansion import equal_when_built
from polywheel.matrix.platforms import this_target
from polywheel.model.plan import Build, Plan
from polywheel.model.variant import Variant
from polywheel.providers.plugins import PluginEnvironments
from polywheel.run.compiler_cache import choose_compiler_cache, needs_compiler_cache
from polywheel.run.context import PreparedRun
from polywheel.run.executors.create import plan_for_executor
from polywheel.run.options import RunObserver, RunOptions
from polywheel.run.orchestrator import explain_plan
from polywheel.run.outcome import group_by_setup
from polywheel.setup.digest import NO_SETUP
from polywheel.system.limits import cpu_count

_Question = tuple[Variant, str | None]
"""A variant and the Python of its setup; None if the setup does not depend on the Python."""


def print_dry_run(
    prepared: PreparedRun, plan: Plan, options: argparse.Namespace, run_options: RunOptions
) -> None:
    """Print the builds with their flags and settings, the origin of each, and why they run.

    Plugins run in their own environment. Raises ConfigError, at the end, if variants have the same
    build setup and the project is strict.
    """
    here, cibuildwheel = this_target(), options.cibuildwheel is not None
    plan, local_builds = plan_for_executor(plan, here, cibuildwheel=cibuildwheel)
    compiler_cache = choose_compiler_cache(
        prepared.project,
        options.compiler_cache,
        here=needs_compiler_cache(local_builds, cibuildwheel=cibuildwheel),
    )
    pythons = sorted({build.python for build in local_builds})
    with ThreadPoolExecutor(max_workers=cpu_count()) as pool:
        interpreters = list(pool.map(find_interpreter, pythons))
        setups = _find_setups(prepared, plan, local_builds, options, pool)
    reasons = explain_plan(prepared, plan, run_options, RunObserver(note=say))
    document = {
        "here": here,
        "pythons": {
            python: interpreter.executable if interpreter is not None else None
            for python, interpreter in zip(pythons, interpreters, strict=True)
        },
        "compiler-cache": compiler_cache,
        "builds": [
            {
                "id": build.id,
                "python": build.python,
                "target": build.target,
                "here": build.id in setups,
                "jobs": [_job(plan, identifier, reasons) for identifier in build.jobs],
                "setup": setups.get(build.id),
            }
            for build in plan.builds
        ],
    }
    print_result(_lines(document), document, as_json=options.json)
    digests = {
        job: setup["setup-digest"] if (setup := setups[build.id]) is not None else NO_SETUP
        for build in local_builds
        for job in build.jobs
    }
    findings = equal_when_built(prepared.project, plan.jobs, group_by_setup(plan, digests))
    for finding in findings:
        if not finding.is_error:
            say(f"warning: {finding}")
    if errors := [finding.problem for finding in findings if finding.is_error]:
        raise ConfigError.collected(errors)


def _job(plan: Plan, identifier: str, reasons: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    job = plan.job(identifier)
    return {
        "id": identifier,
        "label": job.label if job is not None else None,
        "properties": [str(prop) for prop in job.properties] if job is not None else [],
        "reasons": list(reasons[identifier]) if identifier in reasons else None,
    }


def _find_setups(
    prepared: PreparedRun,
    plan: Plan,
    builds: Sequence[Build],
    options: argparse.Namespace,
    pool: ThreadPoolExecutor,
) -> dict[str, dict[str, Any] | None]:
    """The build setups by the id of the build; None for a build of the non-variant wheel."""
    plugins = PluginEnvironments(fresh=options.fresh, notify=say)
    by_python = any(rule.when is not None for rule in prepared.project.settings.setup)

    def find_setup(question: _Question) -> dict[str, Any]:
        variant, python = question
        call = HookCall(
            project=prepared.project,
            choice=prepared.choice,
            selection=Selection(),
            settings=options.settings,
            variant=variant,
            notify=say,
        )
        markers = _markers(python) if python else None
        return setup_report(call, plugins, environment=markers)

    questions: dict[str, _Question | None] = {}
    for build in builds:
        jobs = plan.jobs_of(build)
        if any(job.label is None for job in jobs):
            questions[build.id] = None
        else:
            variant = Variant(jobs[0].properties, jobs[0].label or "")
            questions[build.id] = variant, build.python if by_python else None
    distinct = list(dict.fromkeys(filter(None, questions.values())))
    # The first question creates the plugin environment. The other questions use it.
    setups = {question: find_setup(question) for question in distinct[:1]}
    setups |= zip(distinct[1:], pool.map(find_setup, distinct[1:]), strict=True)
    return {
        build: None if question is None else setups[question]
        for build, question in questions.items()
    }


def _markers(python: str) -> dict[str, str]:
    """The marker variables (PEP 508) of a Python on this machine."""
    version = python.removesuffix("t")
    here = local_marker_environment()
    return here if version == here["python_version"] else local_marker_environment(f"{version}.0")


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    for python, executable in document["pythons"].items():
        missing = "not found; use --install-python to install it with uv"
        yield f"Python {python}: {executable or missing}"
    if document["compiler-cache"] != "off":
        yield f"compiler cache: {document['compiler-cache']}"
    for build in document["builds"]:
        yield ""
        yield f"{build['id']}" + ("" if build["here"] else f"  (on {build['target']})")
        for job in build["jobs"]:
            if len(build["jobs"]) > 1 or job["id"] != build["id"]:
                properties = ", ".join(job["properties"]) or "no properties"
                yield f"  wheel {job['id']}: {properties}"
            yield from _why(build["jobs"], job)
        if build["setup"] is not None:
            yield from (f"  {line}" for line in setup_report_lines(build["setup"]))
        elif build["here"]:
            yield "  no variant settings for the real backend"
    yield ""
    wheels = sum(len(build["jobs"]) for build in document["builds"])
    yield f"builds: {len(document['builds'])}, wheels: {wheels}"


def _why(jobs: Sequence[Mapping[str, Any]], job: Mapping[str, Any]) -> Iterator[str]:
    """Why the wheel of a job is built, unless the job before has the same reasons."""
    before = jobs[jobs.index(job) - 1] if job is not jobs[0] else None
    if job["reasons"] is None or (before is not None and before["reasons"] == job["reasons"]):
        return
    yield f"  why: {'; '.join(job['reasons']) or 'its wheel is up to date'}"
