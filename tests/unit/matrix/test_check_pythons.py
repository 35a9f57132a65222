"""The Pythons of a matrix: polywheel builds with them, and the project allows them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from polywheel.matrix.platforms import running_python
from polywheel.model.matrix import LOWEST_PYTHON
from polywheel.model.plan import Job
from support.matrices import AT, one_problem, plan_of, problems_of

ROOT = Path(__file__).resolve().parents[3]
AXIS = "[tool.polywheel.matrix.axes.level]\nv2 = ['cpu::level::v2']\nv3 = ['cpu::level::v3']\n"
OLD = 'python = ["3.10", "3.12"]\n'
REQUIRES = '[project]\nrequires-python = "{}"\n'
BACKENDS = {
    "scikit_build_core.build": "[tool.scikit-build]\nwheel.py-api = 'cp39'\n",
    "setuptools.build_meta": "[tool.distutils.bdist_wheel]\npy-limited-api = 'cp39'\n",
    "maturin": "[tool.maturin]\nfeatures = ['pyo3/abi3-py39']\n",
}


def test_it_is_requires_python_of_polywheel() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert document["project"]["requires-python"] == f">={LOWEST_PYTHON}"


def test_a_python_that_polywheel_does_not_run_with() -> None:
    problem = one_problem(OLD + AXIS)
    assert problem.what == (
        "nothing can be built with Python 3.10: polywheel and its build backend need Python 3.11 or newer"
    )
    assert problem.at == f"{AT}.python[0]"
    assert problem.hint == "remove it from the matrix"


def test_a_target_that_cibuildwheel_builds_is_no_exception() -> None:
    problem = one_problem('targets = ["musllinux-aarch64"]\n' + OLD + AXIS)
    assert "Python 3.10" in problem.what


def test_removed_cells_need_no_python() -> None:
    text = OLD + "exclude = [{ python = '3.10', level = 'v2' }]\n" + AXIS
    text = text.replace(
        "['cpu::level::v3']",
        """{ properties = ['cpu::level::v3'], when = "python_version > '3.10'" }""",
    )
    # A Python without cells is another mistake.
    assert one_problem(text).what == "no cell is left with the python '3.10'"


def test_a_free_threaded_python_that_does_not_exist() -> None:
    problem = one_problem('python = ["3.12t", "3.13t"]\n' + AXIS)
    assert problem.what == "there is no free-threaded Python 3.12"
    assert problem.hint == "the first one is 3.13t"


# --- requires-python ---


def test_pythons_that_the_project_does_not_allow() -> None:
    text = 'python = ["3.10", "3.11", "3.12", "3.14t"]\n' + AXIS + REQUIRES.format("~=3.12, <3.14")
    problems = problems_of(text)
    assert [problem.at for problem in problems] == [f"{AT}.python[{n}]" for n in (0, 1, 3)]
    for problem, python in zip(problems, ("3.10", "3.11", "3.14t"), strict=True):
        assert problem.what == (
            f"Python {python} is not in requires-python = '~=3.12, <3.14' "
            "(pyproject.toml: project.requires-python)"
        )
        assert problem.hint == "remove it from the matrix, or change requires-python"


@pytest.mark.parametrize("requires", [">=3.12", ">=3.12.4", "!=3.12.0", "<3.13", "<3.12.99"])
def test_pythons_of_which_a_release_is_allowed(requires: str) -> None:
    assert plan_of(AXIS + REQUIRES.format(requires)).jobs


def test_a_wheel_for_several_pythons_is_for_allowed_ones_too() -> None:
    text = 'python = ["3.11", "3.12"]\nwheel-tag = "py3-none-any"\n' + AXIS
    problem = one_problem(text + REQUIRES.format(">=3.12"))
    assert problem.what.startswith("Python 3.11 is not in requires-python")


def test_the_running_python_of_a_matrix_without_pythons() -> None:
    here = '\n[tool.polywheel.matrix]\ntargets = ["linux-x86_64"]\n'
    problem = one_problem(AXIS + REQUIRES.format("<3.11"), here=here)
    assert problem.what.startswith(
        f"the matrix names no Python, and Python {running_python()}, which runs polywheel, is not in "
    )
    assert (problem.at, problem.hint) == (AT, "set python in the matrix")


# --- wheels for several Pythons ---


def v3(text: str) -> Job:
    plan = plan_of('label = "{level}"\n' + text)
    (job,) = (job for job in plan.jobs if job.label == "v3")
    (build,) = (build for build in plan.builds if build.id == job.build)
    assert build.python == job.python  # also for --frontend cibuildwheel
    return job


@pytest.mark.parametrize("tag", ["py3-none-any", "py3-none"])
def test_a_wheel_for_several_pythons_is_built_by_the_lowest_that_can(tag: str) -> None:
    job = v3(f'python = ["3.13", "3.12", "3.9", "3.8"]\nwheel-tag = "{tag}"\n{AXIS}')
    assert job.pythons == ("3.8", "3.9", "3.12", "3.13")
    assert job.python == "3.12"


def test_a_wheel_for_old_pythons_only() -> None:
    problems = problems_of('python = ["3.8", "3.9"]\nwheel-tag = "py3-none"\n' + AXIS)
    assert [problem.at for problem in problems] == [f"{AT}.python[0]", f"{AT}.python[1]"]


@pytest.mark.parametrize("setting", ["", 'wheel-tag = "abi3"\n'])
@pytest.mark.parametrize("backend", [*BACKENDS])
def test_the_lowest_python_of_the_stable_abi_is_a_setting_of_the_backend(
    backend: str, setting: str
) -> None:
    text = f'python = ["3.9", "3.10", "3.12", "3.13"]\n{setting}{AXIS}'
    text += f"[build-system]\nbuild-backend = '{backend}'\n{BACKENDS[backend]}"
    job = v3(text)
    assert job.id == "linux-x86_64-abi3-v3"
    assert job.pythons == ("3.9", "3.10", "3.12", "3.13")
    assert job.python == "3.12"


def test_otherwise_it_is_the_python_that_builds() -> None:
    problem = one_problem('python = ["3.9", "3.12", "3.13"]\nwheel-tag = "abi3"\n' + AXIS)
    assert "nothing can be built with Python 3.9" in problem.what
    assert problem.hint == (
        "remove it, or set the lowest Python in the settings of the backend, so that a newer one builds "
        'its wheel: py-api = "cp39" (scikit-build-core), py-limited-api = "cp39" (setuptools), '
        "the feature abi3-py39 (maturin)"
    )
    only_old = problems_of('python = ["3.9"]\nwheel-tag = "abi3"\n' + AXIS)
    assert [problem.hint for problem in only_old] == ["remove it from the matrix"]
