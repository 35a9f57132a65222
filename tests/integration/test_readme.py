"""The first example of the README with its own commands: built, indexed, and installed by uv."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from support.builds import levels_of_this_machine, read_wheel, run
from support.projects import write_project

MODULE = """
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "example", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_example(void) { return PyModule_Create(&module); }
"""


def blocks(readme: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("x86_64_gcc")
def test_the_first_example(root: Path, tmp_path: Path, isolated: dict[str, str]) -> None:
    if "v3" not in levels_of_this_machine():
        pytest.skip("uv takes the v3 wheel only on a processor that has this level")
    readme = (root / "README.md").read_text(encoding="utf-8")
    tables = blocks(readme, "toml")[0]
    console = next(one for one in blocks(readme, "console") if "-Cvariant-label" in one)
    source = write_project(
        tmp_path / "example",
        {
            "pyproject.toml": f'{tables}\n[project]\nname = "example"\nversion = "1.0"\n',
            "meson.build": "project('example', 'c')\npy = import('python').find_installation()\n"
            "py.extension_module('example', 'example.c', install: true)\n",
            "example.c": MODULE,
        },
    )
    run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], cwd=tmp_path)
    where = str(tmp_path / "env")
    environment = {**isolated, "VIRTUAL_ENV": where, "UV_PYTHON": where}  # which nox sets
    said = []
    for line in console.splitlines():
        if line.startswith("$ "):
            words = shlex.split(line[2:], comments=True)
            if words[0] == "python":
                words[0] = sys.executable
            said.append(run(words, cwd=source, env=environment).stdout)
        else:
            tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
            assert line.replace("cp312", tag).strip() in said[-1], line
    wheels = {path.name: path for path in (source / "dist").glob("*.whl")}
    (labelled,) = (path for name, path in wheels.items() if name.endswith("-x86_64_v3.whl"))
    metadata = next((tmp_path / "env").glob("lib*/python*/site-packages/example-1.0.dist-info"))
    installed = (metadata / "METADATA").read_bytes()
    assert installed == read_wheel(labelled).members["example-1.0.dist-info/METADATA"]
