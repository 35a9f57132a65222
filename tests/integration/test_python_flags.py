"""Variants get Python's own optimization flags if setuptools compiles behind another backend."""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.builds import extension, read_wheel, run
from support.projects import write_project

CFLAGS = sysconfig.get_config_var("CFLAGS") or ""
V3 = {"variant": "cpu::level::v3"}

EXTENSION = """
#include <Python.h>
#ifdef __OPTIMIZE__
#define OPTIMIZED "optimized"
#else
#define OPTIMIZED "not optimized"
#endif
#ifdef NDEBUG
#define ASSERTIONS "off"
#else
#define ASSERTIONS "on"
#endif
#ifdef LEVEL_v3
#define LEVEL "v3"
#else
#define LEVEL "no level"
#endif
static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_small", "BUILT: " OPTIMIZED ", assertions " ASSERTIONS ", " LEVEL, -1
};
PyMODINIT_FUNC PyInit__small(void) { return PyModule_Create(&module); }
"""
TABLES = """
[project]
name = "small"
version = "1.0"
readme = "README.md"
[tool.polywheel.setup."cpu :: level"]
cflags = ["-DLEVEL_{value}"]
[variant.default-priorities]
namespace = ["cpu"]
[variant.providers.cpu.static-properties]
level = ["v3"]
"""
SCRIPT = """
from setuptools import Extension
EXTENSIONS = [Extension("small._small", ["small.c"])]
def build(arguments):  # poetry-core
    arguments["ext_modules"] = EXTENSIONS
def pdm_build_update_setup_kwargs(context, arguments):  # pdm-backend
    arguments["ext_modules"] = EXTENSIONS
"""
HATCH_HOOK = """
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
class Hook(BuildHookInterface):
    def initialize(self, version, build_data):
        from setuptools import Distribution
        from script import EXTENSIONS
        command = Distribution({"ext_modules": EXTENSIONS}).get_command_obj("build_ext")
        command.inplace = True
        command.ensure_finalized()
        command.run()
        build_data.update(pure_python=False, infer_tag=True, artifacts=["small/*.so"])
"""
FILES = {"README.md": "", "small/__init__.py": "", "small.c": EXTENSION, "script.py": SCRIPT}
SETUP = "from script import EXTENSIONS; from setuptools import setup; setup(ext_modules=EXTENSIONS)"
PROJECTS = {
    "own": (
        '"own"\nbackend-path = ["."]\n[tool.setuptools]\npackages = ["small"]\n',
        {"own.py": "from setuptools.build_meta import *", "setup.py": SETUP},
    ),
    "poetry.core.masonry.api": (
        """
        [tool.poetry]
        packages = [{ include = "small" }]
        build = { script = "script.py", generate-setup-file = true }
        """,
        {},
    ),
    "pdm.backend": ('[tool.pdm.build]\nrun-setuptools = true\ncustom-hook = "script.py"\n', {}),
    "hatchling.build": (
        "[tool.hatch.build.hooks.custom]\n",
        {"hatch_build.py": f"import sys; sys.path.insert(0, '.')\n{HATCH_HOOK}"},
    ),
}


def project(folder: Path, backend: str) -> Path:
    tables, files = PROJECTS[backend]
    own, _, more = tables.rpartition('backend-path = ["."]\n')
    named = own.strip('"\n') or backend
    path = 'backend-path = ["."]\n' if own else ""
    head = '[build-system]\nrequires = []\nbuild-backend = "polywheel.backend"\n'
    head += f'[tool.polywheel]\nbuild-backend = "{named}"\n{path}'
    return write_project(folder, {**FILES, **files, "pyproject.toml": head + TABLES + more})


def built(source: Path, out: Path, settings: Mapping[str, str], **env: str) -> tuple[str, str]:
    """How the extension of a wheel was compiled, by its own account; and what the build printed."""
    code = "import sys; from polywheel.backend import build_wheel; build_wheel(sys.argv[1], "
    log = run([sys.executable, "-c", f"{code}{settings})", out], cwd=source, env=env).stdout
    (wheel,) = out.iterdir()
    content = extension(read_wheel(wheel), out.with_name(f"{out.name}-unpacked")).read_bytes()
    found = re.search(rb"BUILT: ([\w ,]+)", content)
    assert found is not None, log
    return found[1].decode(), log


@pytest.mark.skipif("-DNDEBUG" not in CFLAGS, reason="this Python's own flags have no -DNDEBUG")
@pytest.mark.skipif("-O" not in CFLAGS, reason="this Python's own flags do not optimize")
@pytest.mark.parametrize("backend", PROJECTS)
def test_a_variant_keeps_pythons_flags_and_takes_no_object_of_another_build(
    backend: str, tmp_path: Path
) -> None:
    """Two builds of one tree: the first leaves objects there, or the extension itself."""
    source = project(tmp_path / "source", backend)
    how, _ = built(source, tmp_path / "plain", {})
    assert how == "optimized, assertions off, no level"
    how, _ = built(source, tmp_path / "v3", V3)
    assert how == "optimized, assertions off, v3"


def test_what_the_user_has_in_cflags_stands_for_pythons_flags(tmp_path: Path) -> None:
    """As without polywheel: whoever sets CFLAGS gets those flags alone (since setuptools 75.8)."""
    source = project(tmp_path / "source", "own")
    how, log = built(source, tmp_path / "out", V3, CFLAGS="-DMINE")
    assert how == "not optimized, assertions on, v3"
    assert "-DMINE -DLEVEL_v3" in log
