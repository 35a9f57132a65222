"""The jobs of a workflow with cibuildwheel."""

from __future__ import annotations

import re

from polywheel.ci.cibuildwheel import CibuildwheelRun, group_runs


def run(label: str | None, target: str = "linux-x86_64", **variables: str) -> CibuildwheelRun:
    return CibuildwheelRun(target=target, runner=("r",), label=label, variables=variables)


def test_what_all_runs_of_a_job_are_told_stands_once() -> None:
    (group,) = group_runs(
        [run("a", CIBW_BUILD="x", CIBW_Y="1"), run("b", CIBW_BUILD="x", CIBW_Y="2")]
    )
    assert group.same == {"CIBW_BUILD": "x"}
    assert group.different == ("CIBW_Y",)


def test_a_variable_that_is_not_said_is_not_empty() -> None:
    """Empty is "none" to cibuildwheel: runs that are told of it are a job of their own."""
    found = group_runs([run("a", CIBW_BUILD="x", CIBW_Y="1"), run(None, CIBW_BUILD="x")])
    assert [[one.label for one in group.runs] for group in found] == [["a"], [None]]
    for group in found:
        for one in group.runs:
            assert {*one.variables} == {*group.same, *group.different}


def test_a_job_has_at_most_256_runs_and_a_name_of_its_own() -> None:
    runs = [run(f"v{number}", CIBW_Y=str(number)) for number in range(600)]
    runs += [run("a", target=name) for name in ("a.b", "a-b", "a_b", "A-b")]
    found = group_runs(runs)
    assert [len(group.runs) for group in found[:3]] == [256, 256, 88]
    assert sum(len(group.runs) for group in found) == len(runs)
    names = [group.id for group in found]
    assert len({*names}) == len(names) == 7
    assert all(re.fullmatch("[A-Za-z_][A-Za-z0-9_-]*", name) for name in names)


def test_artifacts_have_names_of_their_own() -> None:
    runs = [run("null"), run(None), run("v1"), run("v1", target="macos-arm64")]
    assert len({one.artifact for one in runs}) == len(runs)
