"""A setup.py that imports a requirement of its variant: it is installed before the backend has to answer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.build_command import Builds, workplaces
from support.builds import install, read_wheel, run, write_wheel
from support.projects import HERE, write_project

_workplaces = pytest.fixture(autouse=True, scope="module")(workplaces)
PROJECT = f"""
[build-system]
requires = ["polywheel", "setuptools"]
build-backend = "polywheel.backend"
[project]
name = "engine"
version = "1.0"
[tool.polywheel]
build-backend = "setuptools.build_meta"
[variant.default-priorities]
namespace = ["engine"]
[variant.providers.engine.static-properties]
fuel = ["diesel"]
[variant.variants.kit1]
abi_dependency.abikit = ["1"]
[variant.variants.kit2]
abi_dependency.abikit = ["2"]
[tool.polywheel.setup."abi_dependency :: abikit"]
requires = ["abikit=={{value}}.*"]
[tool.polywheel.matrix]
python = ["{HERE}"]
"""
# abikit is for this project what torch is for an extension of torch.
SETUP = """
import abikit
from setuptools import Extension, setup

setup(ext_modules=[Extension("engine", ["engine.c"], include_dirs=[abikit.include()])])
"""
ENGINE = """
#include <Python.h>
#include <abikit.h>
static PyObject *abi(PyObject *self, PyObject *none) { return PyLong_FromLong(ABIKIT); }
static PyMethodDef methods[] = {{"abi", abi, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "engine", 0, -1, methods};
PyMODINIT_FUNC PyInit_engine(void) { return PyModule_Create(&module); }
"""
KIT = """
import pathlib
def include():
    return str(pathlib.Path(__file__).parent)
"""


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two versions of abikit."""
    folder = tmp_path_factory.mktemp("kits")
    for version in ("1.5", "2.0"):
        files = {
            "abikit/__init__.py": KIT,
            "abikit/abikit.h": f"#define ABIKIT {version[0]}\n",
        }
        write_wheel(folder / f"abikit-{version}-py3-none-any.whl", files)
    return folder


@pytest.fixture
def index(kits: Path, isolated: dict[str, str]) -> dict[str, str]:
    """The environment of frontends that find polywheel and both versions of abikit."""
    return {
        "PIP_FIND_LINKS": f"{isolated['PIP_FIND_LINKS']} {kits}",
        "UV_FIND_LINKS": f"{isolated['UV_FIND_LINKS']},{kits}",
    }


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    files = {"pyproject.toml": PROJECT, "setup.py": SETUP, "engine.c": ENGINE}
    return write_project(tmp_path / "engine", files)


def check(wheel: Path, kit: str, scratch: Path) -> None:
    """The wheel has the label of the kit that it was compiled with."""
    assert wheel.name.endswith(f"-kit{kit}.whl")
    metadata = read_wheel(wheel).metadata
    assert metadata.get_all("Variant-Property") == [f"abi_dependency :: abikit :: {kit}"]
    target = scratch / f"installed-{kit}"
    install(target, wheel.rename(wheel.with_name(wheel.name.replace(f"-kit{kit}", ""))))
    code = f"import sys; sys.path.insert(0, {str(target)!r}); import engine; print(engine.abi())"
    assert run([sys.executable, "-c", code], cwd=scratch).stdout.strip() == kit


def test_polywheel_build_installs_them_first(engine: Path, kits: Path, tmp_path: Path) -> None:
    builds = Builds(engine, tmp_path / "out", env={"PIP_FIND_LINKS": str(kits)})
    done = builds()
    assert done.states == {"kit1": "built", "kit2": "built"}
    for kit, wheel in zip("12", sorted(builds.out.glob("*.whl")), strict=True):
        assert "Traceback" not in builds.log(f"kit{kit}")
        # Not one environment for the question and another for the build.
        assert done.err.count(f"installing abikit=={kit}.*, setuptools") == 1
        assert done.err.count(f"abikit=={kit}.*") == 1
        check(wheel, kit, tmp_path)


@pytest.mark.parametrize(
    ("frontend", "kit"),
    [
        ((sys.executable, "-m", "build", "--wheel", "--installer", "uv"), "1"),
        (("uv", "build", "--wheel", "--python", sys.executable), "2"),
    ],
    ids=["build", "uv"],
)
def test_a_frontend_installs_them_and_the_backend_is_asked_again(
    frontend: tuple[str, ...], kit: str, engine: Path, index: dict[str, str]
) -> None:
    done = run([*frontend, f"-Cvariant-label=kit{kit}"], cwd=engine, env=index)
    assert f"not installed yet: abikit=={kit}.*" in done.stdout
    (wheel,) = (engine / "dist").glob("*.whl")
    check(wheel, kit, engine.parent)


def test_a_requirement_that_can_not_be_installed_names_its_rule(
    engine: Path, kits: Path, tmp_path: Path
) -> None:
    pyproject = engine / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    pyproject.write_text(text.replace("abikit=={", "abikit==9{"), encoding="utf-8")
    builds = Builds(engine, tmp_path / "out", env={"PIP_FIND_LINKS": str(kits)})
    done = builds("--select", "kit1", code=1)
    assert 'at: pyproject.toml: tool.polywheel.setup."abi_dependency :: abikit"' in done.err
    assert "abikit==91.*" in done.err


def test_what_the_backend_wants_later_is_named(engine: Path, index: dict[str, str]) -> None:
    setup = engine / "setup.py"
    text = setup.read_text(encoding="utf-8")
    setup.write_text(text.replace("setup(", 'setup(setup_requires=["iniconfig>=99"], '))
    command = [sys.executable, "-m", "build", "--wheel", "--installer", "uv"]
    done = run([*command, "-Cvariant-label=kit1"], cwd=engine, env=index, check=False)
    assert done.returncode
    expected = "error: the real backend 'setuptools.build_meta' requires 'iniconfig>=99', which is not installed"
    assert expected in done.stdout
    assert (
        'requires of pyproject.toml: tool.polywheel.setup."abi_dependency :: abikit"' in done.stdout
    )
