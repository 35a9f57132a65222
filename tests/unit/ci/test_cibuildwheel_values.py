"""Generated CIBW_* values, read by cibuildwheel itself."""

from __future__ import annotations

import json
import os
import shlex
import tomllib
from pathlib import Path

import pytest
from cibuildwheel.options import CommandLineArguments, Options, compute_options
from cibuildwheel.platforms import ALL_PLATFORM_MODULES, get_build_identifiers
from cibuildwheel.util import resources

from polywheel.ci.cibuildwheel import CibuildwheelRun, plan_entries
from polywheel.config.project import read_project
from polywheel.matrix.cibuildwheel_platforms import read_pinned, require_platform
from polywheel.matrix.expansion import expand_project
from polywheel.matrix.platforms import known_targets
from support import cibuildwheel_lists
from support.plans import HEAD
from support.projects import ROOT

EVIL = '\'; rm -rf "$HOME" & $(id) `id` | #\\'
PYTHONS = list(read_pinned().platforms["manylinux_x86_64"].pythons[2:])
PROJECT = f"""{HEAD}
[tool.cibuildwheel]
build = "cp39-*"
archs = ["universal2"]
config-settings = {{ mine = "1" }}
environment = {{ MINE = "1" }}
[tool.polywheel.matrix]
python = {json.dumps(PYTHONS)}
targets = {json.dumps([*known_targets()])}
null = true
plain = true
wheel-tag = "python"
[tool.polywheel.matrix.axes.level]
v2 = ["cpu :: level :: v2"]
"""
DIGEST = "0" * 64
COMMANDS = f"""
[tool.polywheel.targets.linux-x86_64]
image = "manylinux_2_34"
[tool.polywheel.targets.musllinux-aarch64]
image = "registry.example/own@sha256:{DIGEST}"
repair-command = {json.dumps(f"repair {EVIL} {{dest_dir}} {{wheel}}")}
test-command = {json.dumps(f"test {EVIL} {{project}}")}
[tool.polywheel.targets.windows-arm64]
repair-command = ""
"""
OWN_NAMES = {
    "linux-x86_64-rocm7.1": "linux-x86_64",
    "linux-aarch64-cu126": "linux-aarch64",
    "windows-2019": "windows-x86_64",
    "win-arm": "windows-arm64",
    "Mac.1": "macos-arm64",
}


def test_the_lists_are_those_of_cibuildwheel() -> None:
    text = (ROOT / cibuildwheel_lists.FILE).read_text(encoding="utf-8")
    assert text == cibuildwheel_lists.content(), f"run {cibuildwheel_lists.__file__}"
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    tests = pyproject["project"]["optional-dependencies"]["test"]
    assert f"cibuildwheel=={read_pinned().version}" in tests


@pytest.fixture(params=["", COMMANDS], ids=["defaults", "commands"])
def runs(request: pytest.FixtureRequest, tmp_path: Path) -> list[CibuildwheelRun]:
    (tmp_path / "pyproject.toml").write_text(PROJECT + request.param, encoding="utf-8")
    project = read_project(tmp_path, variants=True)
    entries = plan_entries(
        project, expand_project(project), source=".", max_jobs=None, notify=print
    )
    runs = [run for entry in entries for run in entry.runs]
    assert len({run.name for run in runs}) == len(runs) == 3 * len(known_targets())
    return runs


def test_targets_with_names_of_their_own(tmp_path: Path) -> None:
    """Their platform decides."""
    text = PROJECT.replace(json.dumps([*known_targets()]), json.dumps([*OWN_NAMES]))
    for name, platform in OWN_NAMES.items():
        text += f"[tool.polywheel.targets.{json.dumps(name)}]\nplatform = '{platform}'\n"
        text += "image = 'own/image'\n" if platform.startswith("linux") else ""
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    project = read_project(tmp_path, variants=True)
    entries = plan_entries(
        project, expand_project(project), source=".", max_jobs=None, notify=print
    )
    runs = [run for entry in entries for run in entry.runs]
    assert len(runs) == 3 * len(OWN_NAMES)
    for run in runs:
        options = read_options(run, tmp_path)
        known = require_platform(OWN_NAMES[run.target])
        assert [*selected(options)] == [known.identifier(python) for python in PYTHONS]
        if options.platform == "linux":
            images = options.build_options(None).manylinux_images
            assert images[known.arch] == "own/image"
            assert "own/image" not in {images[arch] for arch in images if arch != known.arch}


def selected(options: Options) -> list[str]:
    """The builds that cibuildwheel selects."""
    identifiers = get_build_identifiers(
        platform_module=ALL_PLATFORM_MODULES[options.platform],
        build_selector=options.globals.build_selector,
        architectures=options.globals.architectures,
    )
    return [*identifiers]


def read_options(run: CibuildwheelRun, folder: Path) -> Options:
    """The options that cibuildwheel reads on a machine of CI."""
    arguments = CommandLineArguments.defaults()
    arguments.package_dir = folder
    platform = run.variables["CIBW_PLATFORM"]
    environment = {"PATH": os.environ["PATH"], **run.variables}
    return compute_options(platform, arguments, environment)


def test_cibuildwheel_builds_what_a_run_is_for(runs: list[CibuildwheelRun], tmp_path: Path) -> None:
    identifiers = []
    for run in runs:
        options = read_options(run, tmp_path)
        found = selected(options)
        assert found == run.variables["CIBW_BUILD"].split()
        options.check_for_invalid_configuration(found)
        identifiers += found
    assert len(identifiers) == len(PYTHONS) * 3 * len(known_targets())


def test_every_variable_is_an_option(runs: list[CibuildwheelRun]) -> None:
    schema = json.loads(resources.CIBUILDWHEEL_SCHEMA.read_text(encoding="utf-8"))
    known = {f"CIBW_{name.upper().replace('-', '_')}" for name in schema["properties"]}
    assert {name for run in runs for name in run.variables} <= {*known, "CIBW_PLATFORM"}


def test_values_arrive_as_they_were_written(runs: list[CibuildwheelRun], tmp_path: Path) -> None:
    """Next to the settings of the project's own tables."""
    own = "manylinux_2_34" in (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
    for run in runs:
        options = read_options(run, tmp_path)
        default = options.defaults.build_options(None)
        found = options.build_options(run.variables["CIBW_BUILD"].split()[0])
        variant = {"null": ["null-variant=true"], None: []}.get(
            run.label, [f"variant-label={run.label}"]
        )
        assert shlex.split(found.config_settings) == ["mine=1", *variant]
        assert found.environment.as_dictionary({}) == {"MINE": "1"}
        images = {**(found.manylinux_images or {}), **_prefixed(found.musllinux_images)}
        expected = {**(default.manylinux_images or {}), **_prefixed(default.musllinux_images)}
        repair, test = default.repair_command, default.test_command
        if own and run.target == "linux-x86_64":
            expected["x86_64"] = expected["x86_64"].replace("_2_28", "_2_34").partition("@")[0]
            images["x86_64"] = images["x86_64"].partition("@")[0]
        if own and run.target == "musllinux-aarch64":
            expected["musllinux-aarch64"] = f"registry.example/own@sha256:{DIGEST}"
            repair, test = f"repair {EVIL} {{dest_dir}} {{wheel}}", f"test {EVIL} {{package}}"
        if own and run.target == "windows-arm64":
            repair = ""
        assert images == expected
        assert (found.repair_command, found.test_command) == (repair, test)


def _prefixed(images: dict[str, str] | None) -> dict[str, str]:
    return {f"musllinux-{arch}": image for arch, image in (images or {}).items()}
