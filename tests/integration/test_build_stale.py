"""Wheels that are no longer planned are named at the end of a run, and removed with --prune."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from support.build_command import Builds, workplaces
from support.builds import run
from support.projects import HERE, change_backend, demo

_workplaces = pytest.fixture(autouse=True, scope="module")(workplaces)
OLD, KEPT = "demo-1.0-py3-none-any-old.whl", "demo-1.0-py3-none-any-kept.whl"


def renamed(source: Path, *, old: str = "old", new: str = "new") -> None:
    """Another label for one variant."""
    tables = source / "pyproject.toml"
    text = tables.read_text("utf-8")
    assert f"[variant.variants.{old}]" in text
    tables.write_text(text.replace(f"variants.{old}]", f"variants.{new}]"), encoding="utf-8")


@pytest.fixture
def builds(tmp_path: Path) -> Builds:
    """An output directory with a wheel of a variant that has another label now."""
    source = demo(tmp_path / "demo", "old", "kept")
    builds = Builds(source, tmp_path / "out")
    assert builds().report["stale"] == []
    renamed(source)
    return builds


def test_a_variant_that_was_renamed(builds: Builds) -> None:
    done = builds()
    stale = {"file": OLD, "why": "no variant 'old' is planned", "own": True, "removed": False}
    assert done.report["stale"] == [stale]
    assert f"stale: {OLD}: no variant 'old' is planned" in done.out.splitlines()
    assert "--prune" in done.out.splitlines()[-1]
    assert builds.labels == ["kept", "new", "old"]
    done = builds("--prune", "--json")
    assert done.report["stale"] == done.events[-1]["stale"] == [{**stale, "removed": True}]
    assert builds.labels == ["kept", "new"]
    assert builds().report["stale"] == []


def test_an_index_of_what_the_run_made(builds: Builds) -> None:
    builds()
    command = [sys.executable, "-m", "polywheel", "index", str(builds.out)]
    done = run([*command, "--release", builds.report], cwd=builds.source)
    assert f"left out {OLD}: it is in no report" in done.stdout
    index = json.loads((builds.out / "demo-1.0-variants.json").read_text("utf-8"))
    assert sorted(index["variants"]) == ["kept", "new"]
    matrix = [sys.executable, "-m", "polywheel", "matrix", str(builds.source), "--json"]
    plan = builds.source.with_name("plan.json")
    plan.write_text(run(matrix, cwd=builds.source).stdout, encoding="utf-8")
    done = run([*command, "--release", plan], cwd=builds.source)
    assert f"left out {OLD}: no variant 'old' is planned" in done.stdout


def test_what_is_planned_and_not_chosen_is_not_stale(builds: Builds) -> None:
    done = builds("--select", "new", "--prune")
    assert [one["file"] for one in done.report["stale"]] == [OLD]
    assert builds.labels == ["kept", "new"]
    assert "removed" in done.out


def test_nothing_is_removed_before_all_else_is_there(builds: Builds) -> None:
    tables = builds.source / "pyproject.toml"
    text = tables.read_text("utf-8").replace('DEMO_DOES = "old"', 'DEMO_DOES = "fail"')
    tables.write_text(text, encoding="utf-8")
    done = builds("--prune", code=1)
    assert [one["removed"] for one in done.report["stale"]] == [False]
    assert "--prune removes stale wheels after all builds have succeeded" in done.out
    assert builds.labels == ["kept", "old"]


def test_prune_removes_only_what_polywheel_made(builds: Builds) -> None:
    """Neither a wheel that was changed, nor one that somebody put there, nor other versions."""
    with (builds.out / OLD).open("ab") as file:
        file.write(b"changed")
    foreign, newer = "demo-1.0-py3-none-any-foreign.whl", "demo-2.0-py3-none-any-old.whl"
    for name in (foreign, newer, "other-1.0-py3-none-any-old.whl", "demo-1.0-py3-none-any.whl"):
        shutil.copy(builds.out / KEPT, builds.out / name)
    before = list(builds.wheels)
    done = builds("--prune")
    assert [(one["file"], one["own"]) for one in done.report["stale"]] == [
        (foreign, False),
        (OLD, False),
    ]
    assert f"stale: {OLD}: no variant 'old' is planned; polywheel did not build it here" in done.out
    assert set(before) <= set(builds.wheels)


def test_a_python_that_is_no_longer_named(tmp_path: Path, second_python: str) -> None:
    """Only a matrix that names its Pythons and targets says that there are no others."""
    from polywheel.matrix.platforms import this_target

    source = demo(tmp_path / "demo", "a", matrix=f'targets = ["{this_target()}"]')
    call = "write_wheel(wheel_directory, files"
    change_backend(source, f"{call})", f'{call}, tag=f"cp3{{sys.version_info[1]}}-none-any")')
    tables = source / "pyproject.toml"
    one, both = tables.read_text("utf-8"), f'python = ["{HERE}", "{second_python}"]'
    line = re.search(r"python = \[.*\]", one)
    assert line is not None
    builds = Builds(source, tmp_path / "out")
    tables.write_text(one.replace(line[0], both), encoding="utf-8")
    builds()
    assert len(builds.wheels) == 2
    assert builds("--python", HERE).report["stale"] == []
    tables.write_text(one, encoding="utf-8")
    tag = second_python.replace(".", "")
    done = builds()
    assert [(item["file"], item["why"]) for item in done.report["stale"]] == [
        (f"demo-1.0-cp{tag}-none-any-a.whl", f"no job {this_target()}-cp{tag}-a is planned")
    ]
    # Read where it is: other machines may have other Pythons.
    tables.write_text(one.replace(line[0], ""), encoding="utf-8")
    assert builds().report["stale"] == []


def test_a_dry_run_removes_nothing(builds: Builds) -> None:
    assert "a dry run removes nothing" in builds("--prune", "--dry-run", code=2).err


def test_wheels_of_another_configuration_are_not_removed(builds: Builds) -> None:
    tables = (builds.source / "pyproject.toml").read_text("utf-8")
    start = tables.index("[variant")
    other = builds.source / "other.toml"
    other.write_text(tables[start:].replace("variants.kept]", "variants.third]"), encoding="utf-8")
    done = builds("--config", str(other), "--prune")
    assert {one["file"]: one["removed"] for one in done.report["stale"]} == {
        OLD: False,
        KEPT: False,
    }
    assert all(one["why"] == "made with the project's own tables" for one in done.report["stale"])
    assert builds.labels == ["kept", "new", "old", "third"]
