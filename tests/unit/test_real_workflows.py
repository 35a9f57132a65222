"""Real workflows of large projects, compared with the matrices of ``examples/matrices``.

``real-jobs.json`` of an example lists the jobs of a workflow, as they were on a date. Each job is either planned, with
the same settings, or it is listed as missing, with the reason.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from polywheel.ci.plan_formats import GITHUB_MOST, entries
from polywheel.errors import PolywheelError
from polywheel.matrix.expansion import expand
from polywheel.matrix.platforms import known_targets
from polywheel.matrix.shards import pack
from polywheel.model.plan import Build, Plan
from polywheel.run.executors.create import plan_for_executor
from support.example_matrices import MATRICES, changed

NAMES = sorted(path.parent.name for path in MATRICES.glob("*/real-jobs.json"))
# https://docs.github.com/en/actions/reference/runners/github-hosted-runners
HOSTED = {
    "ubuntu-latest": "linux-x86_64",
    "ubuntu-22.04": "linux-x86_64",
    "ubuntu-22.04-arm": "linux-aarch64",
    "ubuntu-24.04-arm": "linux-aarch64",
    "macos-14": "macos-arm64",
    "macos-15-intel": "macos-x86_64",
    "windows-latest": "windows-x86_64",
    "windows-2022": "windows-x86_64",
    "windows-11-arm": "windows-arm64",
}


def real(name: str) -> dict[str, Any]:
    """The workflow of an example."""
    document: dict[str, Any] = json.loads((MATRICES / name / "real-jobs.json").read_text("utf-8"))
    return document


@cache
def plan_of(name: str) -> Plan:
    """The plan of an example."""
    return expand(MATRICES / name)


def minor(python: str) -> int:
    """12 of "3.12t"."""
    return int(python.removesuffix("t").partition(".")[2])


def planned(plan: Plan) -> dict[tuple[str | None, str, str], Build]:
    """The builds of a plan by label, Python, and target of their jobs."""
    builds = {build.id: build for build in plan.builds}
    return {(job.label, job.python, job.target): builds[job.build] for job in plan.jobs}


def key(job: dict[str, Any]) -> tuple[str | None, str, str]:
    return (job["label"], job["python"], job["target"])


def settings(build: Build) -> dict[str, Any]:
    """The settings of a build, as ``real-jobs.json`` has them."""
    found = build.settings
    timeout = found.job_timeout
    return {
        "runner": " ".join(found.runner or ()),
        "image": found.image or "",
        "environment": {
            name: value
            for name, value in found.environment.items()
            if name != "PIP_EXTRA_INDEX_URL"
        },
        "torch": found.environment.get("PIP_EXTRA_INDEX_URL", "").rpartition("/")[2],
        "container-options": found.container_options or "",
        "timeout-minutes": timeout and timeout / 60,
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_job_is_planned_with_its_settings_or_missing_for_a_reason(name: str) -> None:
    workflow, builds = real(name), planned(plan_of(name))
    expected = {}
    for job in workflow["jobs"]:
        if "missing" in job:
            assert job["missing"] in workflow["missing"]
            continue
        defaults: dict[str, Any] = {
            "environment": {},
            "torch": "",
            "container-options": "",
            "timeout-minutes": None,
        }
        identity = ("name", "python", "target", "label")
        expected[key(job)] = defaults | {k: v for k, v in job.items() if k not in identity}
    found = {k: settings(build) for k, build in builds.items() if k in expected}
    assert found == expected
    assert len(expected) == len([job for job in workflow["jobs"] if "missing" not in job])
    # No build is planned that the workflow does not have.
    assert {builds[k].id for k in expected} == {build.id for build in builds.values()}


@pytest.mark.parametrize("name", NAMES)
def test_jobs_are_missing_only_for_these_reasons(name: str) -> None:
    missing = [job for job in real(name)["jobs"] if "missing" in job]
    for job in missing:
        old = minor(job["python"]) < 11
        assert job["missing"] == ("Python 3.10" if old else "Pyodide")
        assert old or "pyodide" in job["name"]


def why_not(plan: Plan, entry: dict[str, Any], machines: dict[str, str]) -> str | None:
    """Why a CI job of a plan can't build its wheels on the machine that it names; None if it can."""
    machine = machines.get(entry["runner"], "")
    if entry["image"].startswith("quay.io/pypa/musllinux"):
        machine = machine.replace("linux", "musllinux")
    selected = plan.select(jobs=entry["jobs"].split())
    try:
        builds = plan_for_executor(selected, machine, cibuildwheel=False)[1]
    except PolywheelError as error:
        return str(error)
    # GitHub's JavaScript actions run in an Alpine container on x86-64 only.
    without_actions = machine.startswith("musllinux") and not machine.endswith("x86_64")
    problems = {
        "not all of its builds are for this machine": [*builds] != [*selected.builds],
        "the Python is too old": any(minor(build.python) < 11 for build in builds),
        "it has an image": bool(entry["image"]) and "linux" not in machine,
        "actions do not run": without_actions and entry["container"] != "step",
    }
    return next((problem for problem, found in problems.items() if found), None)


def machines_of(name: str) -> dict[str, str]:
    """The platforms of the runners of a workflow."""
    own: dict[str, str] = real(name).get("machines", {})
    return HOSTED | own


def refusals(plan: Plan, machines: dict[str, str]) -> list[str]:
    """The CI jobs of a plan that can't build their wheels, with reasons."""
    return [
        f"{entry['id']}: {why}"
        for entry in entries(plan, pack(plan, GITHUB_MOST, {}))
        if (why := why_not(plan, entry, machines)) is not None
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_planned_job_would_run(name: str) -> None:
    assert set(machines_of(name).values()) <= set(known_targets())
    assert refusals(plan_of(name), machines_of(name)) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "why"),
    [
        ("numpy", 'platform = "macos-arm64"', 'platform = "macos-x86_64"', "it is macos-arm64"),
        ("numpy", 'runner = "windows-2022"', 'runner = "windows-11-arm"', "it is windows-arm64"),
        ("scikit-learn", 'runner = "macos-14"', 'runner = "macos-13-arm"', "it is "),
        (
            "rapids",
            'runner = "linux-arm64-cpu16"',
            'runner = "linux-amd64-cpu16"',
            "it is linux-x86_64",
        ),
    ],
)
def test_a_job_on_the_wrong_machine_would_not_run(
    tmp_path: Path, name: str, old: str, new: str, why: str
) -> None:
    """The check can fail."""
    plan = expand(changed(tmp_path, name, (old, new)))
    reasons = refusals(plan, machines_of(name))
    assert reasons
    assert all(why in reason for reason in reasons)


def test_the_readme_has_the_counts_of_each_workflow() -> None:
    text = (MATRICES / "README.md").read_text(encoding="utf-8")
    row = r"^\| `([a-z-]+)` \| \[[^]]*\]\(([^)]*)\)[^|]*\| ([0-9]+) \| ([0-9]+) \| ([0-9]+) \| ([^|]*) \|$"
    rows = {match[1]: match.groups()[1:] for match in re.finditer(row, text, re.MULTILINE)}
    expected = {}
    for name in NAMES:
        workflow, plan = real(name), plan_of(name)
        missing = Counter(job["missing"] for job in workflow["jobs"] if "missing" in job)
        expected[name] = (
            workflow["source"],
            str(len(workflow["jobs"])),
            str(len(workflow["jobs"]) - missing.total()),
            str(len(plan.builds) - len(refusals(plan, machines_of(name)))),
            ", ".join(f"{count}: {reason}" for reason, count in missing.items()) or "0",
        )
    assert rows == expected
