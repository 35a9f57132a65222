"""The requirements of builds: what is known, and the cached answers of backends."""

from __future__ import annotations

from pathlib import Path

import pytest

from polywheel.config.project import read_project
from polywheel.environments.virtual_environments import Environment, Environments, Interpreter
from polywheel.model.matrix import BuildSettings
from polywheel.model.plan import Job
from polywheel.model.variant import VariantProperty
from polywheel.run import build_requirements
from polywheel.run.build_requirements import BuildRequirements, known_plugin_requirements
from polywheel.setup.profiles import choose_backend
from polywheel.system import temporary
from polywheel.system.temporary import MOST_KEPT
from support.keys import interpreter, key_maker
from support.projects import write_project
from support.setups import worker_context


def test_answers_for_old_sources_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporary, "_JUST_USED", -1.0)
    for number in range(3 * MOST_KEPT):
        for job in ("v3", "v4"):
            build_requirements._write_answer(tmp_path / f"{number}" / f"{job}.json", ["ninja"])
    assert len(list(tmp_path.iterdir())) == MOST_KEPT
    newest = tmp_path / str(3 * MOST_KEPT - 1)
    assert sorted(path.name for path in newest.iterdir()) == ["v3.json", "v4.json"]


RULES = """
[tool.polywheel.setup."abi_dependency :: torch"]
requires = ["torch=={value}.*"]
[tool.polywheel.setup."label:a"]
requires = ["ninja"]
[tool.polywheel.setup."*"]
when = "python_full_version == '3.12.4'"
requires = ["setuptools<80"]
"""
PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "polywheel.backend"
[project]
name = "demo"
version = "1.0"
[variant.default-priorities]
namespace = ["cpu"]
[variant.providers.cpu]
requires = ["cpu-plugin"]
[variant.variants.a]
abi_dependency.torch = ["2.6"]
"""


def build_requirements_of(source: Path, settings: BuildSettings) -> BuildRequirements:
    write_project(source, {"pyproject.toml": PYPROJECT + RULES})
    project = read_project(source, variants=True)
    context = worker_context(source)
    return BuildRequirements(
        project=project,
        choice=choose_backend(project),
        requires=["setuptools"],
        plugins=known_plugin_requirements(project),
        settings={"": settings},
        source=source,
        keys=key_maker(project, context),
        context=context,
        environments=Environments(fresh=False, notify=print),
    )


def job_of(label: str | None, *properties: str) -> Job:
    return Job(
        id="job",
        label=label,
        properties=tuple(map(VariantProperty.parse, properties)),
        axes={},
        pythons=(),
        targets=(),
        build="",
        at="",
    )


@pytest.mark.parametrize(
    ("label", "properties", "version", "expected"),
    [
        (None, [], "3.12.4", []),
        ("null", [], "3.12.4", ["setuptools<80"]),
        ("a", ["abi_dependency::torch::2.6"], "3.12.3", ["torch==2.6.*", "ninja"]),
        ("b", ["abi_dependency::torch::2.7"], "3.12.4", ["setuptools<80", "torch==2.7.*"]),
        ("b", ["cpu::level::v3"], "3.13.0", ["cpu-plugin"]),
    ],
)
def test_the_requirements_of_the_setup_are_known_before_the_backend_is_asked(
    label: str | None, properties: list[str], version: str, expected: list[str], tmp_path: Path
) -> None:
    requirements = build_requirements_of(tmp_path, BuildSettings())
    job = job_of(label, *properties)
    # The Python of the build, not of the tests.
    python = Interpreter(python="3.12", executable="python", identity=f"{version} (main) linux")
    assert requirements._guess(python, [job, job]) == ["setuptools", *expected]


def test_an_answer_of_a_backend_is_for_the_settings_of_its_build(tmp_path: Path) -> None:
    """Commands and variables may write the files that a backend reads for its answer."""
    environment = Environment(folder=tmp_path, python="", distributions={})
    settings = [
        BuildSettings(),
        BuildSettings(before_build="echo ninja > requirements"),
        BuildSettings(before_build="echo cmake > requirements"),
        BuildSettings(before_all="echo cmake > requirements"),
        BuildSettings(environment={"NINJA": "1"}),
        BuildSettings(config_settings={"ninja": "1"}),
    ]
    files = {
        build_requirements_of(tmp_path, each)._answer_file(
            interpreter(), environment, [job_of("a", "abi_dependency::torch::2.6")]
        )
        for each in settings
    }
    assert len(files) == len(settings)
