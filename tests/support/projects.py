"""Projects for tests: copies of the examples, and small projects with the fake backend."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from support import fake_backend as _backend

ROOT = Path(__file__).resolve().parents[2]
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The version of the Python that runs the tests."""


def example(name: str, into: Path) -> Path:
    """A fresh copy of an example, as a git checkout would have it."""
    ignored = shutil.ignore_patterns("build", "dist", "target", "*.egg-info", "__pycache__")
    return Path(shutil.copytree(ROOT / "examples" / name, into / name, ignore=ignored))


def write_project(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def fake_backend(code: str = "", *, name: str = "demo") -> str:
    """The text of support/fake_backend.py, and code that changes it. ``name``: of the project."""
    text = Path(_backend.__file__).read_text(encoding="utf-8")
    return f"{text}\n\nNAME = {name!r}\n{code}"


def change_backend(source: Path, old: str, new: str) -> None:
    """Change the text of the fake backend of a project."""
    path = source / "backend.py"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def _toml_items(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {json.dumps(value)}" for name, value in values.items())


def fake_project(
    folder: Path,
    *variants: str,
    name: str = "demo",
    backend: str = "",
    requires: Iterable[str] = (),
    env: Mapping[str, Mapping[str, str]] | None = None,
    more: str = "",
    matrix: str = "",
    pythons: Iterable[str] = (HERE,),
    files: Mapping[str, str] | None = None,
    config: str = "pyproject.toml",
) -> Path:
    """A project with the fake backend, and one static property and variant for each name.

    ``backend`` is the code that is appended to the backend, ``env`` the variables of each variant's build.
    ``more`` are other tables, ``matrix`` goes on in [tool.polywheel.matrix]. ``config`` is the file with all
    tables of polywheel.
    """
    declared = "".join(f'[variant.variants.{one}]\n{name}.kind = ["{one}"]\n' for one in variants)
    rules = "".join(
        f'[tool.polywheel.setup."{name} :: kind :: {one}"]\nenv = {{ {_toml_items(values)} }}\n'
        for one, values in (env or {}).items()
    )
    build_system = f"""
[build-system]
requires = {json.dumps([*requires])}
build-backend = "backend"
backend-path = ["."]
[project]
name = "{name}"
version = "1.0"
"""
    tables = f"""
[variant.default-priorities]
namespace = ["{name}"]
[variant.providers.{name}.static-properties]
kind = {json.dumps(variants)}
{declared}{rules}{more}
[tool.polywheel.matrix]
python = {json.dumps([*pythons])}
{matrix}
"""
    texts = {"pyproject.toml": build_system, "backend.py": fake_backend(backend, name=name)}
    if variants:
        texts[config] = texts.get(config, "") + tables
    return write_project(folder, {**texts, **(files or {})})


def demo(
    folder: Path,
    *variants: str,
    does: Mapping[str, str] | None = None,
    matrix: str = "",
    pythons: Iterable[str] = (HERE,),
) -> Path:
    """A project with one build for each of these variants. ``does``: see support/fake_backend.py."""
    env = {one: {"DEMO_DOES": (does or {}).get(one, one)} for one in variants}
    return fake_project(folder, *variants, env=env, matrix=matrix, pythons=pythons)


_LEVEL_C = """
#include <Python.h>
static PyObject *level(PyObject *self, PyObject *none) { return PyLong_FromLong(LEVEL); }
static PyMethodDef methods[] = {{"level", level, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "demo", 0, -1, methods};
PyMODINIT_FUNC PyInit_demo(void) { return PyModule_Create(&module); }
"""


def compiled_demo(folder: Path, *levels: str) -> Path:
    """A project of setuptools with a variant for each of these levels."""
    variants = "".join(f'[variant.variants.l{one}]\ndemo.level = ["{one}"]\n' for one in levels)
    write_project(
        folder,
        {
            "pyproject.toml": f"""
[build-system]
requires = ["polywheel", "setuptools"]
build-backend = "polywheel.backend"
[project]
name = "demo"
version = "1.0"
[variant.default-priorities]
namespace = ["demo"]
[variant.providers.demo.static-properties]
level = {json.dumps(levels)}
{variants}
[tool.polywheel.setup."demo :: level"]
cflags = ["-DLEVEL={{value}}", "-g0"]
[tool.polywheel.matrix]
python = ["{HERE}"]
""",
            "setup.py": "from setuptools import Extension, setup\n"
            'setup(ext_modules=[Extension("demo", ["demo.c"])])\n',
            "demo.c": _LEVEL_C,
        },
    )
    return folder
