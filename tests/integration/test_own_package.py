"""The package of the running polywheel in build environments, and projects that require it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import packaging
import pyproject_hooks
import pytest

import polywheel
from polywheel import __version__
from polywheel.errors import BuildError, ConfigError
from polywheel.run import own_package
from polywheel.run.own_package import own_package_folder, requirements_without_polywheel

ROOT = Path(__file__).resolve().parents[2]
PROFILES = (
    "from polywheel.setup.profiles import shipped_profiles; import polywheel, packaging; "
    "from polywheel.matrix.platforms import known_targets; from polywheel.run.worker.steps import "
    "handle_request; known_targets(); print(len(shipped_profiles()), polywheel.__file__)"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def alone(python: str, code: str, path: Path) -> str:
    """What code prints in an interpreter that has nothing but the standard library and a folder."""
    done = subprocess.run(
        [python, "-I", "-S", "-c", f"import sys; sys.path.insert(0, sys.argv[1]); {code}", path],
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    return done.stdout.strip()


def test_it_works_where_nothing_is_installed() -> None:
    place = own_package_folder()
    count, file = alone(sys.executable, PROFILES, place).split()
    assert int(count) == len(list((ROOT / "backends").glob("*.toml")))
    assert Path(file) == place / "polywheel" / "__init__.py"


def test_its_folder_is_named_by_its_content(tmp_path: Path) -> None:
    place = own_package_folder()
    before = (place / "polywheel").stat().st_mtime_ns
    assert own_package_folder() == place
    assert (place / "polywheel").stat().st_mtime_ns == before
    digest = hashlib.sha256()
    contents = {
        path.relative_to(place).as_posix(): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    for name in sorted(contents):
        digest.update(f"{name}\0".encode() + hashlib.sha256(contents[name]).digest())
    assert digest.hexdigest()[:20] == place.name
    copy = shutil.copytree(Path(polywheel.__file__).parent, tmp_path / "other" / "polywheel")
    (copy / "errors.py").write_text(
        (copy / "errors.py").read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8"
    )
    for kind in ("backends", "matrix"):
        shutil.copytree(ROOT / kind, copy / "_data" / kind, dirs_exist_ok=True)
    code = "from polywheel.run.own_package import own_package_folder; print(own_package_folder())"
    environment = {**os.environ, "PYTHONPATH": str(copy.parent)}
    other = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    ).stdout.strip()
    assert Path(other).parent == place.parent
    assert Path(other) != place


def test_from_an_installed_wheel(tmp_path: Path) -> None:
    """No checkout, no editable install: data lies in the package."""
    house = tmp_path / "house"
    command = [sys.executable, "-m", "build", "-w", "-n", "--outdir", str(house), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = house.iterdir()
    venv.create(tmp_path / "env", system_site_packages=False, with_pip=False)
    python = str(tmp_path / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    installed = tmp_path / "installed"
    base = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(installed)]
    subprocess.run([*base, str(wheel)], check=True, capture_output=True)
    for package in (packaging, pyproject_hooks):
        shutil.copytree(Path(package.__file__ or "").parent, installed / package.__name__)
    code = "from polywheel.run.own_package import own_package_folder; print(own_package_folder())"
    place = Path(alone(python, code, installed))
    count, file = alone(python, PROFILES, place).split()
    assert int(count) == len(list((ROOT / "backends").glob("*.toml")))
    assert Path(file).is_relative_to(place)


def test_a_cache_that_can_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="the cache folder can't be used"):
        own_package_folder()


def test_what_is_needed_and_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_package, "_PACKAGES", ("polywheel", "no_such_package"))
    with pytest.raises(BuildError, match="no_such_package was not found"):
        own_package_folder()


@pytest.mark.parametrize(
    "requirement",
    [
        *("polywheel", "Polywheel", f"polywheel=={__version__}", f"polywheel>={__version__}"),
        *("polywheel[cli]>=0.0.0.dev0", "polywheel @ https://example.org/polywheel.zip"),
        "polywheel<99; python_version >= '3'",
    ],
)
def test_it_serves_itself(requirement: str) -> None:
    found = requirements_without_polywheel(("meson-python>=0.18", requirement), at="here")
    assert found == ["meson-python>=0.18"]


@pytest.mark.parametrize("requirement", ["polywheel>=99", "polywheel==0.0.0", "polywheel[cli]<0"])
def test_a_project_that_wants_another_version(requirement: str) -> None:
    with pytest.raises(ConfigError) as caught:
        requirements_without_polywheel((requirement,), at="pyproject.toml: build-system.requires")
    (problem,) = caught.value.problems
    assert (
        problem.what == f"the project requires {requirement}, and this is polywheel {__version__}"
    )
    assert problem.at == "pyproject.toml: build-system.requires"


def test_a_requirement_that_is_none() -> None:
    with pytest.raises(ConfigError, match="malformed requirement 'a b'"):
        requirements_without_polywheel(("a b",), at="here")


@pytest.mark.parametrize("how", ["cut short", "changed", "removed", "a folder", "added"])
def test_what_is_not_as_it_has_to_be_is_repaired(how: str) -> None:
    """It is executed: every file of it is compared."""
    place = own_package_folder()
    path = place / "polywheel" / "errors.py"
    content = path.read_bytes()
    if how == "added":
        (place / "polywheel" / "json.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    elif how == "changed":
        path.write_bytes(content[:-10] + b"#" * 10)
    else:
        path.unlink()
        if how == "cut short":
            path.write_bytes(content[:100])
        elif how == "a folder":
            (path / "inner").mkdir(parents=True)
    assert own_package_folder() == place
    assert path.read_bytes() == content
    assert not (place / "polywheel" / "json.py").exists()
    alone(sys.executable, PROFILES, place)


def test_compiled_files_do_not_outlive_a_run() -> None:
    """Nobody can say whether all of one is there, or that it belongs to its source."""
    place = own_package_folder()
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(place)], check=True)
    (path,) = place.glob("polywheel/__pycache__/errors.*.pyc")
    path.write_bytes(path.read_bytes()[:100])
    own_package_folder()
    assert not list(place.rglob("__pycache__"))
