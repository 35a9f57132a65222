"""``polywheel build --frontend cibuildwheel`` without running it: errors and messages."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import pytest

import polywheel
from support.build_command import Builds, workplaces
from support.builds import run
from support.projects import demo, example

places = pytest.fixture(autouse=True)(workplaces)
FRONTEND = ("--frontend", "cibuildwheel")


@pytest.mark.skipif(sys.platform == "win32", reason="links need privileges there")
def test_without_cibuildwheel(tmp_path: Path) -> None:
    """An environment with everything but cibuildwheel, which is not on PATH either."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith("cibuildwheel"):
            (packages / path.name).symlink_to(path)
    # An editable install is elsewhere; any other is among the packages.
    own = Path(polywheel.__file__).parents[1]
    paths = [packages, *([own] if own != Path(sysconfig.get_path("purelib")) else [])]
    source = example("setuptools", tmp_path)
    command = [sys.executable, "-S", "-m", "polywheel", "build", str(source), *FRONTEND]
    done = run(
        [*command, "-o", str(tmp_path / "out")],
        cwd=tmp_path,
        env={"PYTHONPATH": os.pathsep.join(map(str, paths)), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 2, done.stdout
    assert "error: cibuildwheel was not found" in done.stdout
    assert "hint: python -m pip install cibuildwheel" in done.stdout


def test_a_python_that_cibuildwheel_does_not_build(tmp_path: Path) -> None:
    """Before the first build, with all of them."""
    source = example("cibuildwheel", tmp_path)
    path = source / "pyproject.toml"
    matrix = '[tool.polywheel.matrix]\npython = ["3.12", "3.13t"]\n'
    path.write_text(path.read_text("utf-8") + matrix, encoding="utf-8")
    said = Builds(source, tmp_path / "out")(*FRONTEND, code=2)
    assert "does not build Python 3.13t for " in said.err
    assert said.err.count("error: ") == 1


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
