"""Plans for CI systems: every value is a string, every name is safe, every job occurs once."""

from __future__ import annotations

import json
import math
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polywheel.ci.collect import merge_reports, unreported_jobs
from polywheel.ci.plan_formats import github, github_container, gitlab, ruby_size
from polywheel.errors import ConfigError
from polywheel.matrix.shards import pack
from polywheel.model.plan import Plan
from support.gitlab_jobs import PLANNED, plan_jobs
from support.plans import HEAD, MATRIX, expanded, job, plan_of, plans

KEYS = {
    *("id", "runner", "image", "container", "options"),
    *("python", "target", "label", "labels", "jobs", "axes", "timeout", "build_timeout"),
}
_NO_STRINGS = {"axes", "timeout", "build_timeout"}


def included(plan: Plan, most: int = 256) -> list[dict[str, Any]]:
    text = github(plan, pack(plan, most, {}), minutes=350)
    assert "\n" not in text
    found: list[dict[str, Any]] = json.loads(text)["include"]
    return found


@given(plans(), st.integers(3, 12))
@settings(deadline=None)
def test_every_job_is_in_one_entry_and_every_value_a_string(plan: Plan, most: int) -> None:
    entries = included(plan, most)
    for one in entries:
        assert {*one} == KEYS
        assert {type(value) for key, value in one.items() if key not in _NO_STRINGS} == {str}
        assert (one["timeout"], one["build_timeout"]) == (350, 340)
        assert {type(value) for value in one["axes"].values()} <= {str}
    jobs = [name for one in entries for name in one["jobs"].split()]
    assert sorted(jobs) == sorted(one.id for one in plan.jobs)
    assert len({one["id"] for one in entries}) == len(entries)
    document = plan_jobs(gitlab(plan, pack(plan, most, {})))
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
        "axes": {},
        "timeout": 350,
        "build_timeout": 340,
    }
    assert by_id["linux-x86_64-cp311-v2_openblas"]["axes"] == {
        "level": "v2",
        "blas": "openblas",
    }
    windows = by_id["windows-x86_64-cp312-v4"]
    assert windows["image"] == windows["container"] == ""


@pytest.mark.parametrize(
    ("platform", "image", "container"),
    [
        ("linux-x86_64", "quay.io/pypa/manylinux_2_28_x86_64", "job"),
        ("linux-x86_64", "quay.io/pypa/manylinux2014_x86_64:2026.1", "step"),
        ("linux-i686", "quay.io/pypa/manylinux_2_24_i686", "step"),
        ("linux-x86_64", "pytorch/manylinux2014-builder", "step"),
        ("linux-x86_64", "registry.example/manylinux1", "step"),
        ("linux-x86_64", "pytorch/manylinux2_28-builder:cpu", "job"),
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
    document = plan_jobs(gitlab(plan, pack(plan, 256, {})))
    assert document["linux-x86_64-cp312-v4"] == {
        "extends": ".polywheel",
        "tags": ["ubuntu-24.04"],
        "image": "quay.io/pypa/manylinux_2_28_x86_64",
        "variables": {
            "POLYWHEEL_JOBS": "linux-x86_64-cp312-v4",
            "POLYWHEEL_PYTHON": "3.12",
            "POLYWHEEL_TARGET": "linux-x86_64",
            "POLYWHEEL_LABEL": "v4",
            "POLYWHEEL_LABELS": "v4",
        },
    }
    assert "image" not in document["windows-x86_64-cp312-v4"]


def test_a_gitlab_pipeline_has_a_script_with_the_ids_of_all_wheels(tmp_path: Path) -> None:
    plan = expanded(tmp_path)
    (line,) = json.loads(gitlab(plan, pack(plan, 5, {})))[PLANNED]["script"]
    head, text, *rest = line.split("\n")
    assert (head, rest) == ("cat > polywheel-planned.json <<'END'", ["END", ""])
    path = tmp_path / "plan.json"
    path.write_text(text, encoding="utf-8")
    missing = unreported_jobs(merge_reports([]), path)
    assert sorted(missing) == sorted(job.id for job in plan.jobs)


def test_a_gitlab_job_has_the_values_of_its_axes(tmp_path: Path) -> None:
    plan = expanded(tmp_path)
    document = plan_jobs(gitlab(plan, pack(plan, 256, {})))
    variables = document["linux-x86_64-cp312-v2_mkl"]["variables"]
    assert variables["POLYWHEEL_AXIS_level"] == "v2"
    assert variables["POLYWHEEL_AXIS_blas"] == "mkl openblas", "wheels of one build"
    # As many jobs as targets: each has several values.
    document = plan_jobs(gitlab(plan, pack(plan, 2, {})))
    for one in document.values():
        assert {*one["variables"]["POLYWHEEL_AXIS_level"].split()} == {"v2", "v3"}
        assert {*one["variables"]["POLYWHEEL_PYTHON"].split()} == {"3.11", "3.12"}


def test_a_gitlab_job_has_the_time_of_all_its_builds_and_half_an_hour(tmp_path: Path) -> None:
    name = "linux-x86_64"
    text = f"[tool.polywheel.targets.{name}]\njob-timeout = 601\nrunner = ['a', 'b']\n"
    text += "[[tool.polywheel.overrides]]\nselect = '*-cp312-v4'\njob-timeout = 60\nimage = 'x'\n"
    plan = expanded(tmp_path, HEAD + MATRIX + text)
    document = plan_jobs(gitlab(plan, pack(plan, 256, {})))
    job = document["linux-x86_64-cp312-v2_mkl"]
    assert (job["timeout"], job["tags"]) == ("41 minutes", ["a", "b"])
    job = document["linux-x86_64-cp312-v4"]
    assert (job["timeout"], job["image"]) == ("31 minutes", "x")
    assert "timeout" not in document["windows-x86_64-cp311-non-variant"], "the limit of the project"
    seconds = {
        build.id: build.settings.job_timeout or 0 for build in plan.builds if build.target == name
    }
    together = pack(plan, 4, {})
    for number, one in enumerate(plan_jobs(gitlab(plan, together)).values()):
        builds = [build.id for build in together[number].builds]
        if together[number].target == name:
            assert (
                one["timeout"]
                == f"{30 + math.ceil(sum(seconds[one] for one in builds) / 60)} minutes"
            )


def measured_jobs(number: int) -> dict[str, Any]:
    """Jobs as in the file that was measured: with ids of one length."""
    return {
        (name := f"linux-x86_64-cp312-v{index:04}"): {
            "extends": ".polywheel",
            "tags": ["ubuntu-24.04"],
            "image": "quay.io/pypa/manylinux_2_28_x86_64",
            "variables": {
                "POLYWHEEL_JOBS": name,
                "POLYWHEEL_PYTHON": "3.12",
                "POLYWHEEL_TARGET": "linux-x86_64",
                "POLYWHEEL_LABEL": f"v{index:04}",
            },
        }
        for index in range(number)
    }


@pytest.mark.parametrize(
    ("value", "measured"),
    [
        (measured_jobs(1000), 1_129_768),
        ({str(index): index for index in range(9)}, 928 + 9 * 40),
        ({str(index): index for index in range(300)}, 14_432 + 300 * 40),
        (["x"], 80),
        (["x"] * 20, 200 + 20 * 40),
        ("a" * 500, 541),
    ],
)
def test_sizes_are_those_of_ruby_or_a_little_more(value: Any, measured: int) -> None:
    """Measured by Ruby 3.1 as GitLab does; numbers take no space there."""
    numbers = 40 * len(value) if isinstance(value, dict) and 0 in value.values() else 0
    assert measured <= ruby_size(value) <= 1.1 * (measured + numbers)


def test_a_child_pipeline_that_gitlab_would_refuse_is_an_error() -> None:
    """GitLab counts about 1.3 kB for a job, whose text has 0.4 kB."""
    plan = plan_of(*([job(f"v{index}")] for index in range(2000)))
    with pytest.raises(ConfigError) as caught:
        gitlab(plan, pack(plan, 2000, {}))
    (problem,) = caught.value.problems
    assert problem.what.startswith("a child pipeline with 2000 jobs has ")
    found = re.search(r"--max-jobs=(\d+)", str(problem.hint))
    assert found, "advice"
    assert len(plan_jobs(gitlab(plan, pack(plan, int(found[1]), {})))) == int(found[1])


def test_names_of_gitlab_jobs_are_neither_too_long_nor_equal() -> None:
    long = "v" * 300
    plan = plan_of([job(long + "a")], [job(long + "b")], [job("v1")])
    names = [*plan_jobs(gitlab(plan, pack(plan, 256, {})))]
    assert len(names) == len(set(names)) == 3
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}", name)


def test_a_matrix_that_is_no_output_of_a_github_job_is_an_error() -> None:
    # 256 entries with many jobs each, and the same labels twice
    plan = plan_of(*([job(f"v{number}" + "x" * 60)] for number in range(4_000)))
    with pytest.raises(ConfigError) as caught:
        github(plan, pack(plan, 256, {}), minutes=350)
    (problem,) = caught.value.problems
    assert problem.what.startswith("the matrix of 4000 wheels has ")
    assert problem.what.endswith(" characters, and a job output on GitHub has at most 524288")
    assert "--config" in (problem.hint or "")
    half = plan_of(*([job(f"v{number}" + "x" * 60)] for number in range(2_000)))
    assert len(github(half, pack(half, 256, {}), minutes=350)) > 300_000


@pytest.mark.parametrize("make", [partial(github, minutes=350), gitlab])
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
    assert problem.at == "pyproject.toml: tool.polywheel.targets.freebsd-x86_64.runner"


@pytest.mark.parametrize("make", [partial(github, minutes=350), gitlab])
def test_an_override_that_removes_the_runner_is_named(make: Any, tmp_path: Path) -> None:
    text = HEAD + MATRIX + '[[tool.polywheel.overrides]]\nselect = "*mkl"\nrunner = ""\n'
    plan = expanded(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        make(plan, pack(plan, 256, {}))
    (problem,) = caught.value.problems
    assert "an override leaves builds for 'linux-x86_64' without a runner" in problem.what
    assert problem.at == "pyproject.toml: tool.polywheel.overrides[0].runner"
