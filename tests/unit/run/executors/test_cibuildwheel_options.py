"""Options for cibuildwheel: targets, variants, settings, and variables."""

from __future__ import annotations

import os
import shlex

import pytest

from polywheel.errors import ConfigError
from polywheel.model.matrix import BuildSettings
from polywheel.model.plan import Job
from polywheel.run.executors.cibuildwheel_options import (
    by_variant,
    cibuildwheel_tables,
    cibuildwheel_variables,
    container_engine,
)
from polywheel.run.executors.cibuildwheel_platforms import require_platform
from support.plans import job, plan_of

LINUX = BuildSettings(image="an/image")
PLACE = require_platform("linux-x86_64")


@pytest.fixture(autouse=True)
def nobody_says_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("CIBW_"):
            monkeypatch.delenv(name)


def told(
    *jobs: Job,
    target: BuildSettings = LINUX,
    at: str = "pyproject.toml",
    settings: dict[str, str | list[str]] | None = None,
    environment: dict[str, str] | None = None,
    tables: dict[str, object] | None = None,
) -> dict[str, str]:
    return cibuildwheel_variables(
        jobs or (job("v3", "3.12"),),
        target,
        PLACE,
        at=at,
        settings=settings or {},
        environment=environment or {},
        tables=tables or {},
    )


def test_a_build_for_each_variant_and_target() -> None:
    jobs = [
        job(label, python, target)
        for target in ("linux-x86_64", "linux-aarch64")
        for python in ("3.11", "3.12")
        for label in ("v3", None)
    ]
    found = by_variant(plan_of(*([one] for one in jobs)))
    assert [(build.id, build.python, build.target, build.jobs) for build in found.builds] == [
        (
            f"{target}-cp311-{label}",
            "3.11",
            target,
            (f"{target}-cp311-{label}", f"{target}-cp312-{label}"),
        )
        for target in ("linux-aarch64", "linux-x86_64")
        for label in ("non-variant", "v3")
    ]
    assert {one.build for one in found.jobs} == {build.id for build in found.builds}
    for one in found.jobs:
        (build,) = [build for build in found.builds if one.id in build.jobs]
        assert one.build == build.id


@pytest.mark.parametrize(
    ("label", "settings"),
    [("v3", "variant-label=v3"), ("null", "null-variant=true"), (None, None)],
)
def test_how_a_variant_is_asked_for(label: str | None, settings: str | None) -> None:
    assert told(job(label, "3.12")).get("CIBW_CONFIG_SETTINGS") == settings


def test_one_wheel_that_serves_several_pythons_is_built_and_tested_on_all() -> None:
    found = told(job("v3", "3.11", also=["3.12"]), job("v3", "3.13t"))
    expected = "cp311-manylinux_x86_64 cp312-manylinux_x86_64 cp313t-manylinux_x86_64"
    assert found["CIBW_BUILD"] == expected


def test_a_wheel_that_also_serves_older_pythons_is_built_by_a_newer_one() -> None:
    found = told(job("v3", "3.9", also=["3.10", "3.11", "3.12"]))
    assert found["CIBW_BUILD"] == "cp311-manylinux_x86_64 cp312-manylinux_x86_64"


def test_settings_and_variables_survive_the_shell_like_reader() -> None:
    """Both are taken apart there as a shell would."""
    nasty = 'a b\'; rm -rf "$HOME" #\\'
    found = told(
        settings={"setup-args": [f"-Dx={nasty}", "-Dy"], "k": "v"}, environment={"X": nasty}
    )
    assert shlex.split(found["CIBW_CONFIG_SETTINGS"]) == [
        "variant-label=v3",
        f"setup-args=-Dx={nasty}",
        "setup-args=-Dy",
        "k=v",
    ]
    assert shlex.split(found["CIBW_ENVIRONMENT"]) == [f"X={nasty}"]


def test_what_the_project_says_is_added_to() -> None:
    found = told(environment={"A": "1"})
    assert found["CIBW_INHERIT"] == "config-settings: append; environment: append"


def test_what_variables_say_already_is_added_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIBW_CONFIG_SETTINGS", "mine=1")
    monkeypatch.setenv("CIBW_ENVIRONMENT", "NOT=THIS")
    monkeypatch.setenv("CIBW_ENVIRONMENT_LINUX", "B=2")
    monkeypatch.setenv("CIBW_INHERIT", "test-requires: append")
    monkeypatch.setenv("CIBW_TEST_COMMAND", "mine")
    target = BuildSettings(test_command="its", repair_command="")
    found = told(environment={"A": "1"}, target=target)
    assert found["CIBW_CONFIG_SETTINGS"] == "mine=1 variant-label=v3"
    assert found["CIBW_ENVIRONMENT_LINUX"] == "B=2 A=1"
    assert not found.keys() & {"CIBW_ENVIRONMENT", "CIBW_INHERIT", "CIBW_TEST_COMMAND"}
    assert found["CIBW_REPAIR_WHEEL_COMMAND"] == "", "said to be none"


@pytest.mark.parametrize(
    ("tables", "image"),
    [
        ({}, "own/image"),
        ({"manylinux-x86_64-image": "theirs"}, None),
        ({"linux": {"manylinux-x86_64-image": "theirs"}}, None),
        ({"linux": "broken"}, "own/image"),
    ],
)
def test_the_image_of_a_target_gives_way_to_the_projects_tables(
    tables: dict[str, object], image: str | None
) -> None:
    target = BuildSettings(image="own/image")
    assert told(target=target, tables=tables).get("CIBW_MANYLINUX_X86_64_IMAGE") == image
    assert "CIBW_MANYLINUX_X86_64_IMAGE" not in told(at="targets.toml: linux-x86_64"), (
        "cibuildwheel has its own"
    )
    without = BuildSettings(image="")
    assert "CIBW_MANYLINUX_X86_64_IMAGE" not in told(target=without, tables=tables)


@pytest.mark.parametrize("document", [{}, {"tool": 1}, {"tool": {"cibuildwheel": 1}}])
def test_tables_that_are_none(document: dict[str, object]) -> None:
    assert cibuildwheel_tables(document) == {}


def test_a_container_engine_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="no container engine was found: no-such-engine"):
        container_engine({"linux": {"container-engine": "no-such-engine; create_args: -x"}})
    with pytest.raises(ConfigError, match="no container engine was found: no-such-engine"):
        container_engine({"container-engine": {"name": "no-such-engine"}})
