"""Variants of plugins with equal builds, which a plan can't know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.build_command import JOURNAL, Builds, workplaces
from support.builds import write_wheel
from support.projects import HERE, fake_backend, write_project

_workplaces = pytest.fixture(autouse=True, scope="module")(workplaces)

PLUGIN = """\
class Config:
    name, values, multi_value = "level", ["one", "two", "three"], False


class Plugin:
    namespace = "season"

    @staticmethod
    def get_all_configs():
        return [Config]

    get_supported_configs = get_all_configs
"""
FLAGS = """
    @staticmethod
    def get_build_setup(properties):
        (level,) = [one.value for one in properties]
        return {"cflags": ["-DTHREE" if level == "three" else "-DFEW"]}
"""
TABLES = f"""\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "demo"
version = "1.0"
[tool.polywheel]
compiled = false
[variant.default-priorities]
namespace = ["season"]
[variant.providers.season]
requires = ["season-plugin"]
plugin-api = "season_plugin:Plugin"
[variant.variants.one]
season.level = ["one"]
[variant.variants.two]
season.level = ["two"]
[variant.variants.three]
season.level = ["three"]
[tool.polywheel.matrix]
python = ["{HERE}"]
wheel-tag = "py3-none-any"
"""
ONE_TWO = (
    "the variants 'one', 'two' ask the same of the build, so their wheels have the same content"
)
HINT = (
    "no build setup distinguishes the values of 'season :: level': add rules; "
    '[tool.polywheel.setup."season :: level"] without fields declares that this is intended'
)
THREE = '[tool.polywheel.setup."season :: level :: three"]\ncflags = ["-DTHREE"]\n'


def project(folder: Path, plugin: str, tables: str) -> Builds:
    """A project with a plugin that is not built with anything else."""
    name = "season_plugin-1.0-py3-none-any.whl"
    write_wheel(folder / "index" / name, {"season_plugin.py": plugin})
    source = folder / "project"
    write_project(source, {"pyproject.toml": tables, "backend.py": fake_backend()})
    links = str(folder / "index")
    env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": links, "UV_FIND_LINKS": links}
    return Builds(source, folder / "out", env=env)


@pytest.mark.parametrize(
    ("plugin", "more"), [(PLUGIN, THREE), (PLUGIN + FLAGS, "")], ids=["silent", "same flags"]
)
def test_variants_of_a_plugin_are_warned_of_in_every_run(
    plugin: str, more: str, tmp_path: Path
) -> None:
    builds = project(tmp_path, plugin, TABLES + more)
    text = f"{ONE_TWO} (pyproject.toml: variant.variants.one); {HINT}"
    for state in ("built", "up-to-date"):
        run = builds()
        assert run.states == dict.fromkeys(("one", "two", "three"), state)
        (warning,) = [one for one in run.report["warnings"] if one["level"] == "warning"]
        assert warning["text"] == text
        assert [job.rpartition("-")[2] for job in warning["jobs"]] == ["one", "two"]
        assert f"warning: {text}" in run.out.splitlines()
    # A journal of an older version does not have what wheels asked.
    entries = [{k: v for k, v in one.items() if k != "setup"} for one in builds.journal]
    (builds.out / JOURNAL).write_text("".join(f"{json.dumps(one)}\n" for one in entries))
    run = builds()
    assert run.states == dict.fromkeys(("one", "two", "three"), "up-to-date")
    assert run.report["warnings"] == []


def test_variants_of_a_plugin_fail_where_strict(tmp_path: Path) -> None:
    tables = TABLES.replace("compiled = false\n", "compiled = false\nstrict = true\n")
    builds = project(tmp_path, PLUGIN + FLAGS, tables)
    for state in ("built", "up-to-date"):
        run = builds(code=1)
        assert run.states == {"one": "failed", "two": "failed", "three": state}
        files = {job["label"]: job["file"] for job in run.report["jobs"]}
        assert files["one"] is files["two"] is None
        assert files["three"].endswith("-three.whl")
        assert run.report["exit-code"] == 1
        lines = run.out.splitlines()
        assert f"failed: 2 builds: {ONE_TWO}" in run.out
        assert any(
            HINT in one and one.endswith("strict = true makes this an error") for one in lines
        )
        assert lines[-1] == (
            "next: fix the errors and run the same command again to build the missing wheels"
        )
    # Both are built, so that the same command says the same at once.
    assert len(builds.begun) == 3
    # A rule without fields declares that this is intended.
    tables += '[tool.polywheel.setup."season :: level"]\n'
    (builds.source / "pyproject.toml").write_text(tables, encoding="utf-8")
    run = builds()
    assert run.states == dict.fromkeys(("one", "two", "three"), "built")
    assert run.report["warnings"] == []


def test_a_dry_run_compares_variants_of_a_plugin(tmp_path: Path) -> None:
    builds = project(tmp_path, PLUGIN + FLAGS, TABLES)
    assert f"polywheel: warning: {ONE_TWO} (" in builds("--dry-run").err
    tables = TABLES.replace("compiled = false\n", "compiled = false\nstrict = true\n")
    (builds.source / "pyproject.toml").write_text(tables, encoding="utf-8")
    assert f"error: {ONE_TWO}" in builds("--dry-run", code=2).err
    assert not builds.out.exists()
