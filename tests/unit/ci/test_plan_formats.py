"""Plans for CI systems: every value is a string, every name is safe, every job occurs once."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polywheel.ci.plan_formats import github, github_container, gitlab
from polywheel.errors import ConfigError
from polywheel.matrix.shards import pack
from polywheel.model.plan import Plan
from support.plans import HEAD, MATRIX, expanded, job, plan_of, plans

KEYS = {
    *("id", "runner", "image", "container", "options"),
    *("python", "target", "label", "labels", "jobs"),
}


def included(plan: Plan, most: int = 256) -> list[dict[str, Any]]:
    text = github(plan, pack(plan, most, {}))
    assert "\n" not in text
    found: list[dict[str, Any]] = json.loads(text)["include"]
    return found


@given(plans(), st.integers(3, 12))
@settings(deadline=None)
def test_every_job_is_in_one_entry_and_every_value_a_string(plan: Plan, most: int) -> None:
    entries = included(plan, most)
    for one in entries:
        assert {*one} == KEYS
        assert {type(value) for value in one.values()} == {str}
    jobs = [name for one in entries for name in one["jobs"].split()]
    assert sorted(jobs) == sorted(one.id for one in plan.jobs)
    assert len({one["id"] for one in entries}) == len(entries)
    document = json.loads(gitlab(plan, pack(plan, most, {})))
    jobs = [
        name for one in document.values() for name in one["variables"]["POLYWHEEL_JOBS"].split()
    ]
    assert sorted(jobs) == sorted(one.id for one in plan.jobs)


def test_an_entry_says_what_a_job_of_ci_needs(tmp_path: Path) -> None:
    plan = expanded(tmp_path)
    by_id = {one["id"]: one for one in included(plan)}
    assert len(by_id) == len(plan.builds)
    assert by_id["linux-x86_64-cp311-non-variant"] == {
        "id": "linux-x86_64-cp311-non-variant",
        "runner": "ubuntu-24.04",
        "image": "quay.io/pypa/manylinux_2_28_x86_64",
        "container": "job",
        "options": "",
        "python": "3.11",
        "target": "linux-x86_64",
        "label": "non-variant",
        "labels": "non-variant null",
        "jobs": "linux-x86_64-cp311-non-variant linux-x86_64-cp311-null",
    }
    windows = by_id["windows-x86_64-cp312-v4"]
    assert windows["image"] == windows["container"] == ""


@pytest.mark.parametrize(
    ("platform", "image", "container"),
    [
        ("linux-x86_64", "quay.io/pypa/manylinux_2_28_x86_64", "job"),
        ("linux-x86_64", "quay.io/pypa/manylinux2014_x86_64:2026.1", "step"),
        ("linux-i686", "quay.io/pypa/manylinux_2_24_i686", "step"),
        ("linux-aarch64", "quay.io/pypa/manylinux_2_34_aarch64", "job"),
        ("musllinux-x86_64", "quay.io/pypa/musllinux_1_2_x86_64", "job"),
        ("musllinux-aarch64", "quay.io/pypa/musllinux_1_2_aarch64", "step"),
        ("musllinux-aarch64", "registry.example/own", "step"),
        ("macos-arm64", "", ""),
    ],
)
def test_actions_of_github_run_only_in_images_with_a_nodejs_for_them(
    platform: str, image: str, container: str
) -> None:
    assert github_container(platform, image) == container


def test_a_pack_of_several_pythons_names_them_all() -> None:
    plan = plan_of(*([job("v1", python)] for python in ("3.9", "3.13", "3.10")))
    (one,) = included(plan, 1)
    assert one["python"] == "3.9 3.10 3.13"
    assert one["labels"] == "v1"


def test_a_gitlab_job_extends_the_template_of_the_project(tmp_path: Path) -> None:
    plan = expanded(tmp_path)
    document = json.loads(gitlab(plan, pack(plan, 256, {})))
    assert document["linux-x86_64-cp312-v4"] == {
        "extends": ".polywheel",
        "tags": ["ubuntu-24.04"],
        "image": "quay.io/pypa/manylinux_2_28_x86_64",
        "variables": {
            "POLYWHEEL_JOBS": "linux-x86_64-cp312-v4",
            "POLYWHEEL_PYTHON": "3.12",
            "POLYWHEEL_TARGET": "linux-x86_64",
            "POLYWHEEL_LABEL": "v4",
        },
    }
    assert "image" not in document["windows-x86_64-cp312-v4"]


def test_names_of_gitlab_jobs_are_neither_hidden_nor_too_long_nor_equal() -> None:
    long = "v" * 300
    plan = plan_of([job("v1", target=".x")], [job(long + "a")], [job(long + "b")], [job("v1")])
    names = [*json.loads(gitlab(plan, pack(plan, 256, {})))]
    assert len(names) == len(set(names)) == 4
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}", name)


def test_a_matrix_that_is_no_output_of_a_github_job_is_an_error() -> None:
    # 256 entries with many jobs each, and the same labels twice
    plan = plan_of(*([job(f"v{number}" + "x" * 60)] for number in range(4_000)))
    with pytest.raises(ConfigError) as caught:
        github(plan, pack(plan, 256, {}))
    (problem,) = caught.value.problems
    assert problem.what.startswith("the matrix of 4000 wheels has ")
    assert problem.what.endswith(" characters, and a job output on GitHub has at most 524288")
    assert "--config" in (problem.hint or "")
    half = plan_of(*([job(f"v{number}" + "x" * 60)] for number in range(2_000)))
    assert len(github(half, pack(half, 256, {}))) > 300_000


@pytest.mark.parametrize("make", [github, gitlab])
def test_a_target_without_a_runner_is_an_error(make: Any, tmp_path: Path) -> None:
    text = HEAD + MATRIX.replace('"windows-x86_64"]', '"freebsd-x86_64"]').replace(
        '"mkl"]', '"mkl"]'
    )
    text += (
        "[tool.polywheel.targets.freebsd-x86_64]\nenvironment = { sys_platform = 'freebsd14' }\n"
    )
    plan = expanded(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        make(plan, pack(plan, 256, {}))
    (problem,) = caught.value.problems
    assert problem.what.startswith("the target 'freebsd-x86_64' has no runner")
    assert problem.at == "pyproject.toml: tool.polywheel.targets.freebsd-x86_64"


def test_characters_that_yaml_can_not_hold_are_refused(tmp_path: Path) -> None:
    plan = expanded(tmp_path)
    settings = replace(plan.builds[0].settings, runner=("big\x1b[31m",))
    plan = replace(plan, builds=tuple(replace(build, settings=settings) for build in plan.builds))
    with pytest.raises(ConfigError, match="unprintable"):
        gitlab(plan, pack(plan, 256, {}))
