"""The jobs of a workflow with cibuildwheel."""

from __future__ import annotations

import re
from dataclasses import replace

from polywheel.ci.cibuildwheel import CibuildwheelRun, Entry, workflow_jobs
from polywheel.ci.time_limits import too_long_jobs
from polywheel.model.plan import NON_VARIANT


def run(
    label: str | None, target: str = "linux-x86_64", runner: str = "r", **variables: str
) -> CibuildwheelRun:
    name = f"wheels-{target}-{label or NON_VARIANT}"
    return CibuildwheelRun(
        name=name, target=target, runner=(runner,), label=label, variables=variables
    )


def entries(*runs: CibuildwheelRun) -> list[Entry]:
    return [Entry(runs=(one,)) for one in runs]


def test_what_all_runs_of_a_job_are_told_stands_once() -> None:
    """A variable that one run lacks differs from an empty one, which is "none" to cibuildwheel."""
    runs = [run("a", CIBW_BUILD="x", CIBW_Y="1", CIBW_Z="")]
    runs += [run("b", CIBW_BUILD="x", CIBW_Y="2", CIBW_Z=""), run(None, CIBW_BUILD="x", CIBW_Y="1")]
    (job,) = workflow_jobs([Entry(runs=(runs[0], runs[1])), Entry(runs=(runs[2],))], minutes=350)
    assert job.same == {"CIBW_BUILD": "x"}


def test_a_job_has_at_most_256_entries_and_a_name_of_its_own() -> None:
    runs = [run(f"v{number}", CIBW_Y=str(number)) for number in range(600)]
    runs += [run("a", target=name) for name in ("a.b", "a-b", "a_b", "A-b")]
    found = workflow_jobs(entries(*runs), minutes=350)
    assert [len(job.entries) for job in found[:3]] == [256, 256, 88]
    assert sum(len(job.entries) for job in found) == len(runs)
    names = [job.id for job in found]
    assert len({*names}) == len(names) == 7
    assert all(re.fullmatch("[A-Za-z_][A-Za-z0-9_-]*", name) for name in names)


def test_a_job_has_one_runner() -> None:
    found = workflow_jobs(entries(run("a"), run("b", runner="s"), run("c")), minutes=350)
    assert [(job.runner, len(job.entries)) for job in found] == [("r", 2), ("s", 1)]


def test_artifacts_have_names_of_their_own() -> None:
    runs = [run("null"), run(None), run("v1"), run("v1", target="macos-arm64")]
    packs = [*entries(*runs), Entry(runs=(run("v2"), run("v3"), run("v4")))]
    assert len({entry.artifact for entry in packs}) == len(packs)
    assert packs[-1].artifact == "wheels-linux-x86_64-v2-and-2-more"


def test_a_job_has_time_for_all_runs() -> None:
    runs = [replace(run(label), seconds=seconds) for label, seconds in (("a", 30), ("b", 35_970))]
    packs = [*entries(run("c")), Entry(runs=(runs[0],)), Entry(runs=tuple(runs))]
    (job,) = workflow_jobs(packs, minutes=60)
    assert (job.minutes, job.build_minutes) == (610, 600)
    (job,) = workflow_jobs(entries(runs[0], run("c")), minutes=60)
    assert (job.minutes, job.build_minutes) == (60, 50)
    assert not [*too_long_jobs(entry.build_job for entry in packs)]
    hosted = [replace(run, runner=("ubuntu-24.04",)) for run in runs]
    (job,) = workflow_jobs([Entry(runs=tuple(hosted))], minutes=60)
    assert (job.minutes, job.build_minutes) == (360, 350)
    (warning,) = too_long_jobs([Entry(runs=tuple(hosted)).build_job])
    assert "the 2 builds of the CI job wheels-linux-x86_64-a-and-1-more may take 600 min" in warning
