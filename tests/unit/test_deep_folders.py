"""Folders nested a thousand levels deep: an error or success, and never a traceback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from polywheel.cli import main
from polywheel.errors import BuildError, WheelError
from polywheel.run.source.snapshot import read_source
from polywheel.setup.build_directory import own_build_directory
from polywheel.setup.profiles import shipped_profiles
from polywheel.system.files import MAX_DEPTH, walk
from polywheel.system.temporary import remove_tree
from support.setups import project, variant

PROJECT = """\
[build-system]
requires = ["flit_core"]
build-backend = "polywheel.backend"
[project]
name = "demo"
version = "1.0"
[tool.polywheel]
build-backend = "flit_core.buildapi"
[tool.polywheel.matrix]
targets = ["linux-x86_64"]
plain = true
"""


def deep_project(root: Path) -> Path:
    """A project with 1,100 folders in one another; pytest could not remove it."""
    root.mkdir()
    (root / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    here = os.open(root, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=here)  # pathlib has no dir_fd
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    return root


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For tests that change nothing in it."""
    root = deep_project(tmp_path_factory.mktemp("deep") / "project")
    yield root
    remove_tree(root)


def test_they_are_removed(tmp_path: Path) -> None:
    """As a work folder is emptied before the next build."""
    root = deep_project(tmp_path / "deep")
    (root / "d" / "other" / "gone-1").mkdir(parents=True)
    (root / "d" / "link").symlink_to(tmp_path)
    (root / "d" / "d").chmod(0o500)
    (tmp_path / "file").touch()
    remove_tree(root)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="makes paths longer than one may be")
def test_paths_longer_than_one_may_be_are_removed(tmp_path: Path) -> None:
    before = Path.cwd()
    try:
        (tmp_path / "deep").mkdir()
        os.chdir(tmp_path / "deep")
        for _ in range(30):
            name = "d" * 200
            os.mkdir(name)  # noqa: PTH102
            os.chdir(name)
        Path("file").touch()
    finally:
        os.chdir(before)
    remove_tree(tmp_path / "deep")
    assert not (tmp_path / "deep").exists()


def test_a_walk_through_them_ends(deep: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nested more than"):
        list(walk(deep))
    (tmp_path / "/".join("d" * MAX_DEPTH)).mkdir(parents=True)
    assert len(list(walk(tmp_path))) == MAX_DEPTH + 1


def test_no_source_has_them(deep: Path) -> None:
    for whole in (True, False):
        with pytest.raises(BuildError, match="nested more than"):
            read_source(deep, whole=whole)


def test_a_copy_for_a_build_script_is_refused(deep: Path, tmp_path: Path) -> None:
    (pdm,) = (one for one in shipped_profiles() if one.name == "pdm-backend")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    document = {"tool": {"pdm": {"build": {"run-setuptools": True, "custom-hook": "x.py"}}}}
    try:
        with pytest.raises(BuildError, match="nested too deeply"):
            own_build_directory(
                pdm,
                project(source=deep, document=document),
                variant("cpu::level::v3", label="v3"),
                {},
                environment={},
                scratch=scratch,
                editable=False,
            )
    finally:
        remove_tree(scratch)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["build", "DEEP", "-o", "OUT"], 1),
        (["init", "DEEP", "--dry-run", "-o", "OUT/x.toml"], 1),
        (["matrix", "DEEP"], 0),
        (["label", "DEEP", "--null"], 2),
        (["show", "DEEP/**/*.whl"], 2),
        (["unlabel", "DEEP"], 2),
        (["finalize", "DEEP"], 2),
        (["index", "DEEP"], 2),
        (["index", "DEEP", "--simple"], 2),
        (["explain", "DEEP"], 2),
        (["ci", "collect", "DEEP"], 4),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_no_command_ends_in_a_traceback(
    arguments: list[str], code: int, deep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [one.replace("DEEP", str(deep)).replace("OUT", str(tmp_path)) for one in arguments]
    assert main(given) == code
    assert "Traceback" not in capsys.readouterr().err


def test_collect(deep: Path) -> None:
    from polywheel.ci.collect import find_files

    with pytest.raises(WheelError, match="nested more than"):
        find_files(deep)
