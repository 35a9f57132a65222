"""Platforms of cibuildwheel, and the jobs that it can't build."""

from __future__ import annotations

from dataclasses import replace

import pytest

from polywheel.errors import Problem
from polywheel.matrix.cibuildwheel_platforms import (
    build_platform,
    check_image,
    check_jobs,
    check_skip,
    require_platform,
    serves,
)
from polywheel.matrix.platforms import known_targets
from support.plans import job

LINUX = require_platform("linux-x86_64")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("linux-x86_64", ("linux", "x86_64", "manylinux_x86_64")),
        ("linux-aarch64", ("linux", "aarch64", "manylinux_aarch64")),
        ("musllinux-x86_64", ("linux", "x86_64", "musllinux_x86_64")),
        ("macos-arm64", ("macos", "arm64", "macosx_arm64")),
        ("windows-x86_64", ("windows", "AMD64", "win_amd64")),
        ("windows-arm64", ("windows", "ARM64", "win_arm64")),
        ("windows-x86", ("windows", "x86", "win32")),
        ("linux-ppc64le", ("linux", "ppc64le", "manylinux_ppc64le")),
        ("wasm-x", None),
        ("linux", None),
        ("windows-2019", None),
        ("linux-aarch64-cu126", None),
        ("linux-x86_64-rocm7.1", None),
        ("None-x86_64", None),
    ],
)
def test_platforms(target: str, expected: tuple[str, str, str] | None) -> None:
    platform = build_platform(target)
    assert (platform and (platform.platform, platform.arch, platform.suffix)) == expected


def test_every_known_target_has_a_platform() -> None:
    assert all(map(build_platform, known_targets()))


@pytest.mark.parametrize(
    ("here", "target", "yes"),
    [
        ("linux-x86_64", "linux-x86_64", True),
        ("linux-x86_64", "musllinux-x86_64", True),
        ("linux-x86_64", "linux-aarch64", False),
        ("macos-arm64", "macos-x86_64", True),
        ("macos-arm64", "linux-aarch64", False),
        ("windows-x86_64", "windows-arm64", False),
        ("my-box", "my-box", False),
    ],
)
def test_targets_of_a_machine(here: str, target: str, yes: bool) -> None:
    assert serves(here, target) is yes


def test_pythons_that_cibuildwheel_does_not_build() -> None:
    jobs = [job("v3", "3.13t"), job("v3", "3.14t"), job("v3", "3.11", also=["3.99"])]
    at = {"3.13t": "pyproject.toml: tool.polywheel.matrix.python[0]"}
    first, second = check_jobs(jobs, LINUX, python_at=at)
    assert first == Problem(
        "cibuildwheel 4.3.5 does not build Python 3.13t for manylinux_x86_64",
        at=at["3.13t"],
        hint="it builds 3.9, 3.10, 3.11, 3.12, 3.13, 3.14, 3.14t, 3.15, 3.15t; remove 3.13t from the "
        "matrix, or exclude it: [[tool.polywheel.matrix.exclude]] "
        'python = "3.13t", target = "linux-x86_64"',
    )
    assert "does not build Python 3.99" in second.what
    assert second.at == "tool.polywheel.matrix.python"
    newer = replace(LINUX, pythons=("3.99", *LINUX.pythons))
    (left,) = check_jobs(jobs, newer, version="9.0")
    assert "cibuildwheel 9.0 does not build Python 3.13t" in left.what


def test_a_wheel_for_any_platform() -> None:
    pure = replace(job("v3", "3.12"), id="any-py3-v3")
    (problem,) = check_jobs([pure], LINUX)
    assert "does not build any-py3-v3, because its wheel is for any platform" in problem.what


@pytest.mark.parametrize(
    ("skip", "patterns"),
    [
        ("*musllinux* cp312-*", ["cp312-*"]),
        (["cp3?2-*", "cp311-*"], ["cp3?2-*"]),
        ("*", ["*"]),
        ("cp31{1,2}-*", []),
        (3, []),
        (None, []),
        ([3], []),
    ],
)
def test_jobs_that_the_project_skips(skip: object, patterns: list[str]) -> None:
    problems = [*check_skip([job("v3", "3.12")], LINUX, {"skip": skip}, at="here")]
    assert [(problem.what, problem.at) for problem in problems] == [
        (f"the matrix has jobs for cp312-manylinux_x86_64, and {pattern!r} skips them", "here")
        for pattern in patterns
    ]


@pytest.mark.parametrize(
    ("image", "hint"),
    [
        ("manylinux_2_29", "did you mean 'manylinux_2_28'? its images are manylinux2014, "),
        ("manylinux1", "its images are manylinux2014, "),
        ("musllinux_1_2", "its images are manylinux2014, "),
        ("manylinux_2_28", None),
        ("manylinux:latest", None),
        ("quay.io/pypa/manylinux1_x86_64", None),
        ("", None),
        (None, None),
    ],
)
def test_short_names_of_images(image: str | None, hint: str | None) -> None:
    problems = [*check_image(image, LINUX, at="x.image")]
    assert [problem.at for problem in problems] == (["x.image"] if hint else [])
    assert all((hint or "") in (problem.hint or "") for problem in problems)
    assert not [*check_image(image, require_platform("macos-arm64"), at="x")]
