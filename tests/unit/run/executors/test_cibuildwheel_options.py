"""Options for cibuildwheel: targets, variants, settings, and variables."""

from __future__ import annotations

import os
import shlex
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from string import Template

import pytest
from cibuildwheel.environment import parse_environment
from cibuildwheel.oci_container import OCIContainerEngineConfig
from hypothesis import assume, given
from hypothesis import strategies as st

from polywheel.errors import ConfigError
from polywheel.matrix.cibuildwheel_platforms import require_platform
from polywheel.model.matrix import BuildSettings
from polywheel.model.plan import Job
from polywheel.run.executors.cibuildwheel_options import (
    by_variant,
    check_settings,
    cibuildwheel_tables,
    cibuildwheel_variables,
    unused_settings,
)
from support.matrices import plan_of as plan_of_matrix
from support.plans import HEAD, MATRIX, expanded, job, plan_of

PLACE = require_platform("linux-x86_64")
LINUX = BuildSettings(image=PLACE.default_image)


@pytest.fixture(autouse=True)
def nobody_says_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("CIBW_"):
            monkeypatch.delenv(name)


def told(
    *jobs: Job,
    target: BuildSettings = LINUX,
    settings: dict[str, str | list[str]] | None = None,
    environment: dict[str, str] | None = None,
    epoch: int | None = None,
    tables: Mapping[str, object] | None = None,
    engine: str = "docker",
    compiler_cache: str = "off",
) -> dict[str, str]:
    return cibuildwheel_variables(
        jobs or (job("v3", "3.12"),),
        target,
        PLACE,
        config_settings=settings or {},
        environment=environment or {},
        epoch=epoch,
        project="/a $$ b",
        tables=tables or {},
        engine=engine,
        compiler_cache=compiler_cache,
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


def test_config_settings_survive_the_shell_like_reader() -> None:
    nasty = 'a b\'; rm -rf "$HOME" #\\'
    found = told(settings={"setup-args": [f"-Dx={nasty}", "-Dy"], "k": "v"})
    assert shlex.split(found["CIBW_CONFIG_SETTINGS"]) == [
        "variant-label=v3",
        f"setup-args=-Dx={nasty}",
        "setup-args=-Dy",
        "k=v",
    ]


def read(variables: dict[str, str], environment: dict[str, str]) -> dict[str, str]:
    """The environment of a build, as cibuildwheel computes it."""
    return dict(parse_environment(variables["CIBW_ENVIRONMENT"]).as_dictionary(environment))


_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.text(
    "'\"\\$`(){}<>&|;#~*?! \n\tab={}[]", max_size=12
)


@given(_TEXTS)
def test_environment_variables_arrive_as_they_are(text: str) -> None:
    """Cibuildwheel has its own idea of quotes in a shell."""
    assume("<(" not in text and ">(" not in text)
    assert read(told(environment={"A": text, "B": "1"}), {}) == {"A": text, "B": "1"}


@given(st.text("'\"\\$`()&|;#~*?! \n\tHOME_1=[]", max_size=16))
def test_the_environment_of_builds_has_variables(text: str) -> None:
    """As in builds without cibuildwheel."""
    expected = {"HOME": "/root", "H": "value of H"}
    own = {"X": text, "Y": f"${{H}}{text}$H"}
    for name, value in own.items():
        expected[name] = Template(value).safe_substitute(defaultdict(str, expected))
    found = told(target=BuildSettings(environment=own), environment={"A": "$H"})
    assert read(found, {"HOME": "/root", "H": "value of H"}) == {**expected, "A": "$H"}


def test_settings_override_the_time_of_the_source_and_rules_override_both() -> None:
    """As in builds without cibuildwheel."""
    name = "SOURCE_DATE_EPOCH"
    settings = BuildSettings(environment={name: "2", "LATER": f"${name}"})
    assert read(told(epoch=1), {}) == {name: "1"}
    assert read(told(target=settings, epoch=1), {}) == {name: "2", "LATER": "2"}
    assert read(told(target=settings, epoch=1, environment={name: "3"}), {})[name] == "3"


def test_the_environment_of_builds_has_the_path_of_the_project() -> None:
    found = told(
        target=BuildSettings(
            environment={"A": "{project}/b:$HOME", "B": "{wheel}", "C": "{package}"}
        )
    )
    assert read(found, {"HOME": "/root"}) == {
        "HOME": "/root",
        "A": "/a $ b/b:/root",
        "B": "{wheel}",
        "C": "/a $ b",
    }


@pytest.mark.parametrize("text", ["cat <(x)", "$HOME >(x)"])
def test_environment_variables_that_cibuildwheel_can_not_read(text: str) -> None:
    plan = plan_of([job("v3", "3.12")])
    at = "pyproject.toml: tool.polywheel.overrides[0]"
    settings = BuildSettings(environment={"A": text}, image="a:$TAG")
    build = replace(plan.builds[0], settings=settings, set_by={"environment.A": at, "image": at})
    image, variable = check_settings(plan, build, PLACE)
    assert image.at == f"{at}.image"
    assert "nothing replaces the variable $TAG" in image.what
    assert variable.at == f"{at}.environment.A"
    with pytest.raises(ConfigError, match="can't read a variable"):
        told(environment={"A": text})


def test_config_settings_of_a_build() -> None:
    build = BuildSettings(config_settings={"a": ("1", "2 3"), "b": "4"})
    found = told(target=build, settings={"b": "5"})["CIBW_CONFIG_SETTINGS"]
    assert found == "variant-label=v3 a=1 'a=2 3' b=5"


def test_commands_of_a_build() -> None:
    """The source is {package} to cibuildwheel."""
    build = BuildSettings(before_all="a {project}", before_build="b", repair_command="c {wheel}")
    found = told(target=build)
    assert found["CIBW_BEFORE_ALL"] == "a {package}"
    assert found["CIBW_BEFORE_BUILD"] == "b"
    assert found["CIBW_REPAIR_WHEEL_COMMAND"] == "c {wheel}"
    assert "CIBW_TEST_COMMAND" not in found


@pytest.mark.parametrize(
    ("tables", "variable", "expected"),
    [
        ({}, None, ("podman", ["--gpus", "all it's"], False)),
        ({"container-engine": "docker"}, None, ("docker", ["--gpus", "all it's"], False)),
        (
            {
                "container-engine": "no",
                "linux": {
                    "container-engine": {
                        "create-args": ["-x", "a b"],
                        "name": "docker",
                        "disable-host-mount": True,
                    }
                },
            },
            None,
            ("docker", ["-x", "a b", "--gpus", "all it's"], True),
        ),
        (
            {"container-engine": "no"},
            "podman; create_args: --network=host",
            ("podman", ["--network=host", "--gpus", "all it's"], False),
        ),
    ],
)
def test_container_options_are_added_to_the_engine(
    tables: dict[str, object],
    variable: str | None,
    expected: tuple[str, list[str], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if variable is not None:
        monkeypatch.setenv("CIBW_CONTAINER_ENGINE", variable)
    build = BuildSettings(container_options='--gpus "all it\'s"')
    found = told(target=build, tables=tables, engine="podman")
    engine = OCIContainerEngineConfig.from_config_string(found["CIBW_CONTAINER_ENGINE"])
    assert (engine.name, [*engine.create_args], engine.disable_host_mount) == expected
    assert "CIBW_CONTAINER_ENGINE" not in told(tables=tables), "no options"


@pytest.mark.parametrize(
    ("target", "start"),
    [("linux-x86_64", "cd './a $b' && "), ("windows-x86_64", r'cd ".\a $b" && ')],
)
def test_commands_run_in_the_folder_of_the_project(target: str, start: str) -> None:
    """Not in the root of the repository, where cibuildwheel starts them. Tests start in an empty folder."""
    settings = BuildSettings(
        before_all="a",
        before_build="b {project} {package}",
        repair_command="",
        test_command="d {project}",
    )
    found = cibuildwheel_variables(
        [job("v3", "3.12", target)],
        settings,
        require_platform(target),
        config_settings={},
        environment={},
        project="",
        folder="./a $b",
        tables={},
    )
    assert found["CIBW_BEFORE_ALL"] == f"{start}a"
    assert found["CIBW_BEFORE_BUILD"] == f"{start}b {{package}} {{package}}"
    assert found["CIBW_REPAIR_WHEEL_COMMAND"] == ""
    assert found["CIBW_TEST_COMMAND"] == "d {package}"


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
    assert found["CIBW_ENVIRONMENT_LINUX"] == 'B=2 A="1"'
    assert not found.keys() & {"CIBW_ENVIRONMENT", "CIBW_INHERIT", "CIBW_TEST_COMMAND"}
    assert found["CIBW_REPAIR_WHEEL_COMMAND"] == "", "said to be none"


@pytest.mark.parametrize(
    ("image", "expected"),
    [("own/image", "own/image"), ("", None), (None, None), (PLACE.default_image, None)],
)
def test_the_image_of_a_build(
    image: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default, cibuildwheel has its own. It ignores an empty one."""
    build, tables = BuildSettings(image=image), {"manylinux-x86_64-image": "theirs"}
    assert told(target=build, tables=tables).get("CIBW_MANYLINUX_X86_64_IMAGE") == expected
    monkeypatch.setenv("CIBW_MANYLINUX_X86_64_IMAGE", "mine")
    assert "CIBW_MANYLINUX_X86_64_IMAGE" not in told(target=build, tables=tables)


def test_settings_about_containers_without_effect_are_named_once(tmp_path: Path) -> None:
    text = """
    [[tool.polywheel.overrides]]
    select = { level = "v3" }
    image = ""
    [[tool.polywheel.overrides]]
    select = { target = "windows-x86_64" }
    container-options = "--gpus all"
    """
    plan = expanded(tmp_path, HEAD + MATRIX + text)
    no_container, no_options = unused_settings(plan, plan.builds)
    at = "pyproject.toml: tool.polywheel.overrides"
    start = (
        f'note: image = "" ({at}[0].image): no effect, because cibuildwheel builds wheels for Linux'
    )
    assert no_container.startswith(start)
    assert no_options.startswith(f"note: container-options ({at}[1].container-options): no effect")
    plan = expanded(tmp_path, HEAD + MATRIX)
    assert not [*unused_settings(plan, plan.builds)]


def test_settings_of_tests_that_cibuildwheel_does_not_have() -> None:
    tests = "[tool.polywheel]\ntest-command = 'x'\nemulate = true\ntest-timeout = 5\n"
    plan = plan_of_matrix(f"targets = ['linux-x86_64']\nplain = true\n{tests}")
    assert [*unused_settings(plan, plan.builds)] == [
        "note: emulate, test-timeout: no effect, because cibuildwheel runs the tests"
    ]


def test_all_settings_of_tests() -> None:
    tests = """
[tool.polywheel]
test-command = ["a", "b {project}"]
before-test = "c"
test-requires = ["pytest", "iniconfig"]
test-extras = ["x", "y"]
test-groups = "g h"
test-sources = ["tests", "conftest.py"]
test-environment = { X = "1" }
test-skip = ["*non-variant"]
"""
    plan = plan_of_matrix(f"python = ['3.12']\ntargets = ['linux-x86_64']\nplain = true\n{tests}")
    (job,) = plan.jobs
    variables = cibuildwheel_variables(
        [job],
        plan.settings_of(job),
        require_platform("linux-x86_64"),
        config_settings={},
        environment={},
        project="/project",
        tables={},
        environ={},
    )
    assert {k: v for k, v in variables.items() if "TEST" in k} == {
        "CIBW_TEST_COMMAND": "a && b {package}",
        "CIBW_BEFORE_TEST": "c",
        "CIBW_TEST_REQUIRES": "pytest iniconfig",
        "CIBW_TEST_EXTRAS": "x,y",
        "CIBW_TEST_GROUPS": "g h",
        "CIBW_TEST_SOURCES": "tests conftest.py",
        "CIBW_TEST_ENVIRONMENT": 'X="1"',
        "CIBW_TEST_SKIP": "cp312-manylinux_x86_64",
    }


@pytest.mark.parametrize("document", [{}, {"tool": 1}, {"tool": {"cibuildwheel": 1}}])
def test_tables_that_are_none(document: dict[str, object]) -> None:
    assert cibuildwheel_tables(document) == {}


def test_a_job_alone_does_not_know_the_platform_of_its_target() -> None:
    assert job("v3", "3.12").cibuildwheel_environment["CIBW_ARCHS"] == "x86_64"
    with pytest.raises(ConfigError) as caught:
        _ = job("v3", "3.12", "windows-2019").cibuildwheel_environment
    assert "polywheel ci cibuildwheel" in str(caught.value)
    with pytest.raises(ConfigError, match="does not build Python"):
        _ = job("v3", "3.13t").cibuildwheel_environment


def test_containers_get_the_compiler_cache_and_its_folder_from_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "CIBW_ENVIRONMENT_PASS" not in told()
    given = told(compiler_cache="ccache")
    assert read(given, {}) == {"POLYWHEEL_COMPILER_CACHE": "ccache"}
    assert {"CCACHE_DIR", "CCACHE_MAXSIZE"} <= {*given["CIBW_ENVIRONMENT_PASS"].split()}
    assert "environment-pass: append" in given["CIBW_INHERIT"]
    monkeypatch.setenv("CIBW_ENVIRONMENT_PASS_LINUX", "MINE")
    passed = told(compiler_cache="ccache")["CIBW_ENVIRONMENT_PASS_LINUX"]
    assert passed.startswith("MINE CCACHE_DIR")
