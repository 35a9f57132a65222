"""Checks that a wheel is the planned wheel: its stamp, its tags, and its metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.tags import Tag, compatible_tags, cpython_tags

from polywheel.errors import Problem, WheelError
from polywheel.matrix.platforms import known_targets
from polywheel.model.matrix import Target
from polywheel.model.plan import Job
from polywheel.model.variant import VariantProperty
from polywheel.model.wheelname import WheelName
from polywheel.run.worker.checks import check_planned_wheel, tag_problems
from support.wheels import FIELDS, FILES, INFO, METADATA, VARIANT_JSON, with_record, zipped

LINUX = Target(name="linux-x86_64", platform_tags=("manylinux*_x86_64", "linux_x86_64"))
MACOS = Target(name="macos-arm64", platform_tags=("macosx*_arm64",))
V3 = VariantProperty("cpu", "level", "v3")
DOCUMENT = {
    "$schema": "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json",
    "default-priorities": {"namespace": ["cpu"]},
    "providers": {"cpu": {"static-properties": {"level": ["v3", "v2"]}}},
}


def job(label: str | None, *, pythons: tuple[str, ...] = ("3.12",)) -> Job:
    return Job(
        id=f"linux-x86_64-cp312-{label or 'non-variant'}",
        label=label,
        properties=(V3,) if label not in {None, "null"} else (),
        pythons=pythons,
        targets=("linux-x86_64",),
        build="",
        at="",
    )


def wheel(folder: Path, label: str | None, tag: str = "cp312-cp312-linux_x86_64") -> Path:
    """A wheel of ``cpu :: level :: v3`` with this label; without one, not of a variant."""
    files = {**FILES, METADATA: FIELDS}
    name = f"demo-1.0-{tag}"
    files[f"{INFO}/WHEEL"] = f"Wheel-Version: 1.0\nTag: {tag}\n".encode()
    if label is not None:
        name += f"-{label}"
        variant = {} if label == "null" else {"cpu": {"level": ["v3"]}}
        files[VARIANT_JSON] = json.dumps({**DOCUMENT, "variants": {label: variant}}).encode()
    path = folder / f"{name}.whl"
    path.write_bytes(zipped(with_record(files)))
    return path


def wrong(path: Path, planned: Job, targets: tuple[Target, ...] = (LINUX,)) -> tuple[Problem, ...]:
    with pytest.raises(WheelError) as caught:
        check_planned_wheel(path, planned, targets)
    return caught.value.problems


@pytest.mark.parametrize("label", [None, "null", "v3"])
def test_what_was_planned_is_right(tmp_path: Path, label: str | None) -> None:
    check_planned_wheel(wheel(tmp_path, label), job(label), [LINUX])


@pytest.mark.parametrize(
    ("stamped", "planned", "said"),
    [
        ("v3", "v4", "planned as v4 (cpu :: level :: v3), stamped as v3 (cpu :: level :: v3)"),
        ("null", "v3", "planned as v3 (cpu :: level :: v3), stamped as null (no properties)"),
        ("v3", None, "planned as non-variant (no properties), stamped as v3 (cpu :: level :: v3)"),
        (None, "null", "planned as null (no properties), stamped as non-variant (no properties)"),
    ],
)
def test_another_variant_than_planned(
    tmp_path: Path, stamped: str | None, planned: str | None, said: str
) -> None:
    (problem,) = wrong(wheel(tmp_path, stamped), job(planned))
    assert problem.what == said
    assert problem.at == job(planned).id


def test_another_set_of_properties_under_the_right_label(tmp_path: Path) -> None:
    planned = replace(job("v3"), properties=(V3, VariantProperty("cpu", "aes", "on")))
    (problem,) = wrong(wheel(tmp_path, "v3"), planned)
    assert "cpu :: aes :: on" in problem.what


def test_a_python_that_the_tags_do_not_serve(tmp_path: Path) -> None:
    (problem,) = wrong(wheel(tmp_path, "v3"), job("v3", pythons=("3.12", "3.13", "3.13t")))
    assert (
        "planned for Python 3.13, 3.13t, which its tags cp312-cp312 do not support" in problem.what
    )
    assert problem.hint
    assert "wheel-tag" in problem.hint


def test_a_platform_that_is_not_the_target(tmp_path: Path) -> None:
    path = wheel(tmp_path, "v3", "cp312-cp312-musllinux_1_2_x86_64")
    (problem,) = wrong(path, job("v3"))
    assert "planned for linux-x86_64" in problem.what
    assert "musllinux_1_2_x86_64" in problem.what
    assert problem.hint
    assert "platform-tags" in problem.hint


def test_a_wheel_for_all_platforms_serves_every_target(tmp_path: Path) -> None:
    path = wheel(tmp_path, "v3", "py3-none-any")
    planned = job("v3", pythons=("3.9", "3.13t"))
    check_planned_wheel(path, planned, [LINUX, MACOS])


def test_one_of_several_platform_tags_is_enough() -> None:
    name = WheelName.parse("demo-1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl")
    assert tag_problems(name, job(None), [LINUX]) == []
    (problem,) = tag_problems(name, job(None), [MACOS])
    assert "macos-arm64" in problem.what


@pytest.mark.parametrize("target", ["macos-arm64", "macos-x86_64"])
def test_a_wheel_for_both_processors_of_macos_serves_either_target(target: str) -> None:
    name = WheelName.parse("demo-1.0-cp312-cp312-macosx_11_0_universal2.whl")
    assert tag_problems(name, job(None), [known_targets()[target]]) == []
    assert tag_problems(name, job(None), [known_targets()["linux-x86_64"]])


def test_a_target_that_says_nothing_of_platforms_takes_any() -> None:
    name = WheelName.parse("demo-1.0-cp312-cp312-freebsd_14_amd64.whl")
    assert tag_problems(name, job(None), [Target(name="freebsd")]) == []


def test_all_that_is_wrong_is_said_together(tmp_path: Path) -> None:
    """What `polywheel show` would say of the wheel, too."""
    path = wheel(tmp_path, "v3", "cp311-cp311-win_amd64")
    renamed = path.rename(path.with_name("demo-2.0-cp311-cp311-win_amd64-v3.whl"))
    found = [problem.what for problem in wrong(renamed, job("v4"))]
    for words in ("version '1.0'", "planned as v4", "Python 3.12", "planned for linux-x86_64"):
        assert any(words in what for what in found), found


def test_what_is_no_wheel(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    path.write_bytes(b"this is no archive")
    with pytest.raises(WheelError):
        check_planned_wheel(path, job(None), [LINUX])


def supported(python: str) -> Iterator[Tag]:
    """What packaging says that a CPython takes, platforms aside."""
    minor = int(python.removeprefix("3.").removesuffix("t"))
    abi = f"cp3{minor}{'t' if python.endswith('t') else ''}"
    yield from cpython_tags((3, minor), [abi], ["any"])
    yield from compatible_tags((3, minor), f"cp3{minor}", ["any"])


@pytest.mark.parametrize("python", ["3.9", "3.11", "3.12", "3.13", "3.13t", "3.14t"])
def test_the_tags_that_serve_a_python_are_those_of_packaging(python: str) -> None:
    taken = {(tag.interpreter, tag.abi) for tag in supported(python)}
    versions = ("3", "38", "39", "310", "311", "312", "313", "314")
    interpreters = [f"{kind}{version}" for kind in ("cp", "py", "pp") for version in versions[1:]]
    abis = ["none", "abi3", "pypy311_pp73", *(f"cp{version}" for version in versions[1:])]
    abis += ["cp313t", "cp314t"]
    for interpreter in [*interpreters, "py3", "py2"]:
        for abi in abis:
            name = WheelName.parse(f"demo-1.0-{interpreter}-{abi}-any.whl")
            serves = not tag_problems(name, job(None, pythons=(python,)), [])
            assert serves == ((interpreter, abi) in taken), f"{python}: {interpreter}-{abi}"


def test_one_of_several_python_tags_is_enough() -> None:
    name = WheelName.parse("demo-1.0-py2.py3-none-any.whl")
    assert tag_problems(name, job(None, pythons=("3.9", "3.14t")), []) == []
