"""``polywheel build --frontend cibuildwheel`` without running it: errors and messages."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from support.build_command import Builds, workplaces
from support.projects import demo, example

places = pytest.fixture(autouse=True)(workplaces)
FRONTEND = ("--frontend", "cibuildwheel")


@pytest.fixture
def bare() -> dict[str, str]:
    """A PATH without a cibuildwheel and without container engines."""
    if [*distributions(name="cibuildwheel")]:
        pytest.skip("cibuildwheel is installed beside polywheel")
    names = ("cibuildwheel", "docker", "podman")
    folders = [
        folder
        for folder in os.get_exec_path()
        if not any(shutil.which(name, path=folder) for name in names)
    ]
    return {"PATH": os.pathsep.join([*folders, str(Path(sys.executable).parent)])}


def test_without_cibuildwheel(tmp_path: Path, bare: dict[str, str]) -> None:
    said = Builds(example("setuptools", tmp_path), tmp_path / "out", bare)(*FRONTEND, code=2)
    assert "error: cibuildwheel was not found" in said.err
    assert "hint: python -m pip install cibuildwheel" in said.err


def test_a_project_that_names_another_backend(tmp_path: Path) -> None:
    said = Builds(demo(tmp_path / "demo", "a"), tmp_path / "out")(*FRONTEND, code=2)
    assert "cibuildwheel needs the build backend polywheel.backend" in said.err
    assert 'build-backend = "polywheel.backend"' in said.err


def test_a_config_that_no_container_sees(tmp_path: Path) -> None:
    source = example("setuptools", tmp_path)
    config = tmp_path / "variants.toml"
    _, table, text = (source / "pyproject.toml").read_text("utf-8").partition("[tool.polywheel]")
    config.write_text(table + text, encoding="utf-8")
    builds = Builds(source, tmp_path / "out")
    said = builds(*FRONTEND, "--config", str(config), code=2)
    assert "variants.toml is not part of it" in said.err


def test_options_for_nobody(tmp_path: Path) -> None:
    said = Builds(demo(tmp_path / "demo", "a"), tmp_path / "out")("--", "--only", "x", code=2)
    assert "unexpected argument '--only'" in said.err
    assert "add --frontend cibuildwheel" in said.err
