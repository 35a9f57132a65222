"""Selecting jobs: matching jobs, errors, and consistent builds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polywheel.errors import ConfigError
from polywheel.matrix.plan_json import plan_as_json, read_plan
from polywheel.matrix.selection import Selection, keep_jobs, labels, select
from polywheel.model.plan import Plan
from support.plans import expanded, job, plan_of, plans


def ids(plan: Plan) -> list[str]:
    return [one.id for one in plan.jobs]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(globs=("v3*",), pythons=("3.12",), targets=("linux-x86_64",)), 2),
        (Selection(globs=("v3*", "v4")), 8),
        (Selection(globs=("non-variant",)), 4),
        (Selection(globs=("windows-*",)), 9),
        (Selection(globs=("linux-x86_64-cp311-nul[l]",)), 1),
        (Selection(jobs=("linux-x86_64-cp311-null", "windows-x86_64-cp312-v4")), 2),
        (Selection(pythons=("3.11", "3.12")), 21),
        (Selection(), 21),
    ],
)
def test_a_job_fits_one_of_each_kind(selection: Selection, expected: int, tmp_path: Path) -> None:
    plan = expanded(tmp_path)
    found = select(plan, selection)
    assert len(found.jobs) == expected
    assert {one.id for one in found.jobs} == {one.id for one in plan.jobs if selection.matches(one)}


def test_a_wheel_for_several_pythons_is_selected_by_each_of_them() -> None:
    plan = plan_of([job("v1", "3.11", also=["3.12", "3.13"])], [job("v1", "3.13t")])
    for python in ("3.11", "3.12", "3.13"):
        assert ids(select(plan, Selection(pythons=(python,)))) == ["linux-x86_64-abi3-v1"]


@pytest.mark.parametrize(
    ("selection", "at", "hint"),
    [
        (Selection(globs=("v3*", "v3_mlk")), "--select", "did you mean 'v3_mkl'?"),
        (
            Selection(jobs=("linux-x86_64-cp311-nul",)),
            "--only",
            "did you mean 'linux-x86_64-cp311-null'?",
        ),
        (Selection(globs=("v2,v3*",)), "--select", "repeat the option: --select v2 --select 'v3*'"),
        (Selection(pythons=("3.12", "3.1")), "--python", "did you mean '3.12'?"),
        (
            Selection(pythons=("3.11,3.12",)),
            "--python",
            "repeat the option: --python 3.11 --python 3.12",
        ),
        (Selection(targets=("linux-x86-64",)), "--target", "did you mean 'linux-x86_64'?"),
    ],
)
def test_what_fits_nothing_is_an_error_with_the_nearest_name(
    selection: Selection, at: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        select(expanded(tmp_path), selection)
    (problem,) = caught.value.problems
    assert problem.at == at
    assert problem.hint == hint


def test_everything_without_effect_is_told_at_once(tmp_path: Path) -> None:
    selection = Selection(globs=("x*",), jobs=("y",), pythons=("3.9",), targets=("z",))
    with pytest.raises(ConfigError) as caught:
        select(expanded(tmp_path), selection)
    assert [one.at for one in caught.value.problems] == [
        "--select",
        "--only",
        "--python",
        "--target",
    ]


def test_options_that_exclude_each_other_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no job matches the selection"):
        select(expanded(tmp_path), Selection(globs=("v4",), pythons=("3.11",)))


def test_the_id_of_a_build_is_that_of_its_first_job_that_is_left() -> None:
    plan = plan_of([job("null"), job("v1"), job("v2")], [job("v3")])
    found = keep_jobs(plan, {"linux-x86_64-cp312-v1", "linux-x86_64-cp312-v2"})
    (build,) = found.builds
    assert build.id == "linux-x86_64-cp312-v1"
    assert build.jobs == ("linux-x86_64-cp312-v1", "linux-x86_64-cp312-v2")
    assert {one.build for one in found.jobs} == {build.id}


@given(plans(), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_left_is_a_plan_of_its_own(tmp_path: Path, plan: Plan, data: st.DataObject) -> None:
    kept = data.draw(st.sets(st.sampled_from(ids(plan)), min_size=1))
    found = keep_jobs(plan, kept)
    assert ids(found) == [one for one in ids(plan) if one in kept]
    old = {one.id: one for one in plan.jobs}
    for one in found.jobs:
        assert replace(one, build="") == replace(old[one.id], build="")
    # Jobs share a build exactly where they did before.
    builds = {one.id: one.build for one in found.jobs}
    for name in kept:
        for other in kept:
            assert (builds[name] == builds[other]) == (old[name].build == old[other].build)
    assert [one.id for one in found.builds] == [one.id for one in found.jobs if one.build == one.id]
    assert {*found.targets} == {name for one in found.jobs for name in one.targets}
    # The strict reader holds builds against jobs.
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan_as_json(found)), encoding="utf-8")
    assert read_plan(path) == found
    assert keep_jobs(plan, {*ids(plan)}) == plan


def test_labels_are_each_there_once_and_the_non_variant_wheel_has_none(tmp_path: Path) -> None:
    assert labels(expanded(tmp_path).jobs) == [
        *("null", "v2_openblas", "v3_mkl", "v3_openblas", "v2_mkl", "v4"),
    ]


@pytest.mark.parametrize(
    ("arguments", "at", "hint"),
    [
        ({"globs": ["v3_mlk"]}, "globs", "did you mean 'v3_mkl'?"),
        ({"globs": ["v2,v3*"]}, "globs", "pass several texts: 'v2', 'v3*'"),
        ({"pythons": ["3.1"]}, "pythons", ""),
        ({"globs": ["v4"], "pythons": ["3.11"]}, None, "every given argument of globs, jobs,"),
    ],
)
def test_messages_of_the_api_name_its_arguments(
    arguments: dict[str, Any], at: str | None, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        expanded(tmp_path).select(*arguments.pop("globs", []), **arguments)
    [problem] = caught.value.problems
    assert problem.at == at
    assert hint in str(problem.hint)
    assert "--select" not in str(problem.hint)
