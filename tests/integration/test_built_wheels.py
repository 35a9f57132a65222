"""Wheels that a build must not make: without compiled code, or of another project or version."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.build_command import Builds, workplaces
from support.builds import build, read_wheel
from support.projects import HERE, demo, write_project

_workplaces = pytest.fixture(autouse=True, scope="module")(workplaces)
VARIANTS = """
[variant.default-priorities]
namespace = ["cpu"]
[variant.providers.cpu.static-properties]
level = ["v3", "v2"]
[variant.variants.v2]
cpu.level = ["v2"]
[variant.variants.v3]
cpu.level = ["v3"]
"""
TABLES = f"""{VARIANTS}
[tool.polywheel.setup."cpu :: level"]
cflags = ["-DLEVEL={{value}}"]
[tool.polywheel.matrix]
python = ["{HERE}"]
"""
C = "#include <Python.h>\nPyMODINIT_FUNC PyInit__fast(void) { return 0; }\n"
OPTIONAL = {
    "pyproject.toml": """
[build-system]
requires = ["polywheel", "setuptools"]
build-backend = "polywheel.backend"
[project]
name = "quiet"
version = "1.0"
[tool.setuptools]
packages = ["quiet"]
[tool.polywheel]
""",
    "setup.py": """
from setuptools import Extension, setup
setup(ext_modules=[Extension("quiet._fast", ["fast.c"], optional=True)])
""",
    "quiet/__init__.py": "",
    "fast.c": C,
}
SCRIPT = {
    "pyproject.toml": """
[build-system]
requires = ["polywheel", "poetry-core", "setuptools"]
build-backend = "polywheel.backend"
[project]
name = "quiet"
version = "1.0"
[tool.poetry]
packages = [{ include = "quiet" }]
include = [{ path = "quiet/*.so", format = "wheel" }]
[tool.poetry.build]
script = "compile_fast.py"
[tool.polywheel]
build-backend = "poetry.core.masonry.api"
""",
    "compile_fast.py": """
import os, subprocess
try:
    subprocess.run([*os.environ.get("CC", "cc").split(), "-shared", "-o", "quiet/_fast.so",
                    "-xc", os.devnull], check=True)
except (OSError, subprocess.CalledProcessError) as error:
    print("the extension was not built:", error)
""",
    "quiet/__init__.py": "",
}
NO_COMPILER = {"CC": "/no/such/compiler", "CXX": "/no/such/compiler"}
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a compiler")


def project(folder: Path, files: dict[str, str], *, compiled: str = "") -> Path:
    text = files["pyproject.toml"]
    assert "[tool.polywheel]\n" in text
    text = text.replace("[tool.polywheel]\n", f"[tool.polywheel]\n{compiled}") + TABLES
    return write_project(folder, {**files, "pyproject.toml": text})


@needs_compiler
@pytest.mark.parametrize("files", [OPTIONAL, SCRIPT], ids=["optional extension", "build script"])
def test_nothing_compiled_by_a_frontend(files: dict[str, str], tmp_path: Path) -> None:
    """The backend swallows the error of the compiler, and its tags are for one platform."""
    source = project(tmp_path / "quiet", files)
    done = build(source, "--wheel", "-Cvariant-label=v3", env=NO_COMPILER, check=False)
    assert done.returncode != 0
    assert "error: quiet-1.0-cp" in done.stdout
    assert "has no compiled file, but it is for the platform" in done.stdout
    assert "[tool.polywheel] compiled = false" in done.stdout
    assert not list((source / "dist").glob("*.whl"))
    build(source, "--wheel", "-Cvariant-label=v3")
    (wheel,) = (source / "dist").iterdir()
    assert any(name.endswith(".so") for name in read_wheel(wheel).members)
    pure = project(tmp_path / "pure", files, compiled="compiled = false\n")
    build(pure, "--wheel", "-Cvariant-label=v3", env=NO_COMPILER)
    assert len(list((pure / "dist").glob("*-v3.whl"))) == 1


@needs_compiler
def test_nothing_compiled_by_polywheel_build(tmp_path: Path) -> None:
    source = project(tmp_path / "quiet", OPTIONAL)
    builds = Builds(source, tmp_path / "out", env=NO_COMPILER)
    said = builds("--select", "v3", code=1)
    assert said.states == {"v3": "failed"}
    assert "has no compiled file, but it is for the platform" in said.err
    assert builds.wheels == {}
    builds.env = {}
    assert builds("--select", "v3").states == {"v3": "built"}


def test_flags_that_nothing_was_compiled_with(tmp_path: Path) -> None:
    """A wheel for any platform, of a variant that asks for flags."""
    source = demo(tmp_path / "demo", "a", "b")
    tables = source / "pyproject.toml"
    text = tables.read_text("utf-8")
    rule = '[tool.polywheel.setup."label:b"]\ncflags = ["-DFAST"]\n'
    tables.write_text(text.replace("[tool.polywheel.matrix]", f"{rule}[tool.polywheel.matrix]"))
    builds = Builds(source, tmp_path / "out")
    said = builds(code=1)
    assert said.states == {"a": "built", "b": "failed"}
    assert "but its variant asks for the compiler flag '-DFAST'" in said.err


RIGHT = "demo-1.0/demo-1.0/demo-1.0"


def foreign(folder: Path, *, dynamic: bool = False, **does: str) -> Path:
    """A project whose backend makes these wheels, by variant: filename, dist-info, METADATA."""
    source = demo(folder, *does, does={label: f"wheel {names}" for label, names in does.items()})
    tables = source / "pyproject.toml"
    text = tables.read_text("utf-8").replace("requires = []", 'requires = ["polywheel"]')
    text = text.replace('"backend"\nbackend-path = ["."]', '"polywheel.backend"')
    own = '[tool.polywheel]\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    if dynamic:
        text = text.replace('version = "1.0"', 'dynamic = ["version"]')
    tables.write_text(text + own, encoding="utf-8")
    return source


def test_wheels_of_another_project_or_version(tmp_path: Path) -> None:
    wrong = {
        "b1": ("other-1.0/other-1.0/other-1.0", "built a wheel of 'other', the project is 'demo'"),
        "b2": ("demo-1.1/demo-1.1/demo-1.1", "built version '1.1', pyproject.toml has '1.0'"),
        "b3": ("demo-1.0/demo-1.0/other-1.0", "METADATA names 'other', the filename 'demo'"),
        "b4": ("demo-1.0/demo-1.0/demo-1.1", "METADATA has the version '1.1', the filename '1.0'"),
        "b5": (
            "demo-1.0/demo-1.1/demo-1.0",
            "the folder 'demo-1.1.dist-info' has the version '1.1'",
        ),
    }
    does = {label: names for label, (names, _) in wrong.items()}
    source = foreign(tmp_path / "demo", dynamic=False, a=RIGHT, **does)
    builds = Builds(source, tmp_path / "out", env={"COLUMNS": "200"})
    run = builds(code=1)
    assert run.states == {"a": "built", **dict.fromkeys(wrong, "failed")}
    assert list(builds.wheels) == ["demo-1.0-py3-none-any-a.whl"]
    for label, (_, said) in wrong.items():
        assert said in run.err
        done = build(source, "--wheel", f"-Cvariant-label={label}", check=False)
        assert done.returncode != 0
        assert said in done.stdout
        assert not list((source / "dist").glob("*.whl"))
    build(source, "--wheel", "-Cvariant-label=a")


@pytest.mark.parametrize("dynamic", [True, False])
def test_another_version_for_each_variant(dynamic: bool, tmp_path: Path) -> None:
    """Also where the backend may add such a part to the version that the project has."""
    source = foreign(
        tmp_path / "demo", dynamic=dynamic, a=RIGHT, b="/".join(["demo-1.0.post1"] * 3)
    )
    builds = Builds(source, tmp_path / "out")
    run = builds("-j", "1", code=1)
    assert sorted(run.states.values()) == ["built", "failed"]
    assert "another version than demo-1.0" in run.err
    assert len(builds.wheels) == 1
    # Neither does a wheel that an earlier run made hide it.
    assert sorted(builds(code=1).states.values()) == ["failed", "up-to-date"]
    assert builds("--select", "a").states == {"a": "up-to-date"}


def test_a_local_version_of_poetry_core(tmp_path: Path) -> None:
    pyproject = (
        SCRIPT["pyproject.toml"]
        .partition("[tool.poetry.build]")[0]
        .replace(
            "[tool.poetry]",
            '[tool.polywheel]\nbuild-backend = "poetry.core.masonry.api"\n[tool.poetry]',
        )
    )
    source = write_project(
        tmp_path / "quiet",
        {"pyproject.toml": pyproject + VARIANTS, "quiet/__init__.py": ""},
    )
    build(source, "--wheel", "-Cvariant-label=v3", "-Clocal-version=cu126")
    (wheel,) = (source / "dist").iterdir()
    assert wheel.name == "quiet-1.0+cu126-py2.py3-none-any-v3.whl"


@needs_compiler
def test_a_tag_that_setuptools_adds_to_the_version(tmp_path: Path) -> None:
    source = project(
        tmp_path / "quiet", {**OPTIONAL, "setup.cfg": "[egg_info]\ntag_build = .dev7\n"}
    )
    build(source, "--wheel", "-Cvariant-label=v3")
    (wheel,) = (source / "dist").iterdir()
    assert wheel.name.startswith("quiet-1.0.dev7-")
