"""The Pythons that a project allows in a setup.cfg."""

from __future__ import annotations

from pathlib import Path

import pytest

from polywheel.errors import ConfigError
from polywheel.matrix.expansion import expand_project
from polywheel.matrix.requires_python import RequiresPython, read_requires_python
from polywheel.model.plan import Plan
from support.matrices import AT, document, project_of

SETUPTOOLS = "[build-system]\nbuild-backend = 'setuptools.build_meta'\n"
SETUP_CFG = "[metadata]\nname = demo\n[options]\npython_requires = >=3.12,\n    <3.14\n"
DYNAMIC = "[project]\nname = 'demo'\ndynamic = ['version', 'requires-python']\n"


def plan_of(folder: Path, text: str, setup_cfg: str = SETUP_CFG) -> Plan:
    (folder / "setup.cfg").write_text(setup_cfg, encoding="utf-8")
    axis = "[tool.polywheel.matrix.axes.level]\nv2 = ['cpu::level::v2']\nv3 = ['cpu::level::v3']\n"
    tables = document('python = ["3.11", "3.12"]\n' + axis + text)
    return expand_project(project_of(tables, source=folder))


@pytest.mark.parametrize("metadata", ["", DYNAMIC], ids=["no [project]", "dynamic"])
@pytest.mark.parametrize(
    "setup_cfg", [SETUP_CFG, SETUP_CFG.replace("python_requires", "Python-Requires")]
)
def test_pythons_of_a_matrix_are_checked(metadata: str, setup_cfg: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_of(tmp_path, SETUPTOOLS + metadata, setup_cfg)
    (problem,) = caught.value.problems
    assert problem.what == (
        "Python 3.11 is not in python_requires = '>=3.12,\\n<3.14' (setup.cfg: options.python_requires)"
    )
    assert problem.at == f"{AT}.python[0]"
    assert problem.hint == "remove it from the matrix, or change python_requires"


@pytest.mark.parametrize(
    ("text", "setup_cfg", "at"),
    [
        ("[project]\nrequires-python = '>>3'\n", "", "pyproject.toml: project.requires-python"),
        ("", "[options]\npython_requires = newest\n", "setup.cfg: options.python_requires"),
    ],
)
def test_a_malformed_specifier(text: str, setup_cfg: str, at: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="malformed") as caught:
        plan_of(tmp_path, SETUPTOOLS + text, setup_cfg)
    (problem,) = caught.value.problems
    assert problem.at == at


@pytest.mark.parametrize(
    ("text", "setup_cfg"),
    [
        # setuptools ignores setup.cfg for this key.
        (SETUPTOOLS + "[project]\nname = 'demo'\n", SETUP_CFG),
        (SETUPTOOLS + "[project]\nrequires-python = '>=3.11'\n", SETUP_CFG),
        # Another backend does not read setup.cfg.
        ("[build-system]\nbuild-backend = 'mesonpy'\n", SETUP_CFG),
        # The backend reports it.
        (SETUPTOOLS, SETUP_CFG + "python_requires = >=3.13\n"),
        (SETUPTOOLS, "[metadata]\npython_requires = >=3.12\n"),
        (SETUPTOOLS, "no section\n"),
    ],
)
def test_other_pythons_are_allowed(text: str, setup_cfg: str, tmp_path: Path) -> None:
    assert plan_of(tmp_path, text, setup_cfg).jobs


def test_a_project_without_a_readable_setup_cfg(tmp_path: Path) -> None:
    project = project_of(document(SETUPTOOLS), source=tmp_path)
    assert read_requires_python(project, "setuptools") == RequiresPython()
    (tmp_path / "setup.cfg").write_bytes(b"\xff")
    assert read_requires_python(project, "setuptools") == RequiresPython()
    (tmp_path / "setup.cfg").unlink()
    (tmp_path / "setup.cfg").mkdir()
    assert read_requires_python(project, "setuptools") == RequiresPython()
