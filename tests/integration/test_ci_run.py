"""The generated GitHub workflow: all steps of plan, build, and collect, on this machine."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.build_command import CACHE
from support.builds import read_wheel, run
from support.projects import HERE, example, write_project
from support.workflows import Machine, load

MATRIX = f"""
[tool.polywheel.matrix]
python = ["{HERE}"]
null = true
"""
AXES = """
[build-system]
requires = ["polywheel", "flit-core"]
build-backend = "polywheel.backend"
[project]
name = "demo"
version = "1.0"
[variant.default-priorities]
namespace = ["demo"]
[variant.providers.demo]
feature-order = ["one", "two"]
static-properties = { one = ["a", "b"], two = ["x", "y"] }
[tool.polywheel.matrix]
label = "{one}_{two}"
[tool.polywheel.matrix.axes.one]
a = ["demo :: one :: a"]
b = ["demo :: one :: b"]
[tool.polywheel.matrix.axes.two]
x = ["demo :: two :: x"]
y = ["demo :: two :: y"]
"""

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or not shutil.which("bash"), reason="runs scripts in bash, as on Linux"
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose project lies in a folder with a name that a shell would take apart."""
    root = tmp_path_factory.mktemp("repository")
    project = example("flit-core", root).rename(root / "a project; $(touch broken) 'x'")
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(MATRIX)
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b")
    run([*git, "init", "-q"], cwd=root)
    run([*git, "add", "."], cwd=root)
    run([*git, "commit", "-qm", "all"], cwd=root)
    return root


@pytest.fixture(scope="module")
def workflow(repository: Path) -> dict[str, Any]:
    (project,) = repository.glob("a project*")
    run([sys.executable, "-m", "polywheel", "ci", "github", project, "--pr-subset"], cwd=repository)
    return load((repository / ".github/workflows/wheels.yml").read_text(encoding="utf-8"))


def machine(repository: Path, scratch: Path, temporary: Path, event: str = "push") -> Machine:
    return Machine(
        repository=repository,
        scratch=scratch,
        temporary=temporary,
        event={"event_name": event, "ref": "refs/heads/main"},
        environment={"POLYWHEEL_CACHE_DIR": str(CACHE)},
    )


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all, so that the action installs polywheel once."""
    return tmp_path_factory.mktemp("runner")


def matrix_of(at_work: Machine, workflow: Mapping[str, Any]) -> list[dict[str, str]]:
    result, outputs = at_work.job(workflow["jobs"]["plan"], {})
    assert result == "success", at_work.log
    entries: list[dict[str, str]] = json.loads(outputs["matrix"])["include"]
    return entries


def test_a_run_ends_with_wheels_an_index_and_a_summary(
    repository: Path, workflow: dict[str, Any], temporary: Path, tmp_path: Path
) -> None:
    at_work = machine(repository, tmp_path, temporary)
    jobs = workflow["jobs"]
    entries = matrix_of(at_work, workflow)
    assert sorted(one["label"] for one in entries) == ["mkl", "null", "openblas"]
    for entry in entries:
        assert at_work.job(jobs["build"], {"matrix": entry})[0] == "success", at_work.log
    result, _ = at_work.job(jobs["collect"], {"needs": {"build": {"result": "success"}}})
    assert result == "success", at_work.log
    wheels = at_work.artifacts["wheels"]
    assert labels(wheels) == ["mkl", "null", "openblas"]
    for name, content in wheels.items():
        (tmp_path / name).write_bytes(content)
        assert read_wheel(tmp_path / name).stamped
    index = at_work.artifacts["index"]
    (variants,) = (json.loads(text) for name, text in index.items() if "variants" in name)
    assert sorted(variants["variants"]) == ["mkl", "null", "openblas"]
    report = json.loads(index["report.json"])
    assert {job["state"] for job in report["jobs"]} == {"built"}
    assert "3 wheels" in at_work.summary
    assert "| openblas |" in at_work.summary
    # The name of the folder was taken apart nowhere.
    assert not [*tmp_path.rglob("broken"), *repository.rglob("broken")]
    assert "project" not in "".join(at_work.ran)


def test_a_build_that_fails_is_in_the_summary_and_the_others_are_collected(
    repository: Path, workflow: dict[str, Any], temporary: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(repository, tmp_path / "copy"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    at_work = machine(copy, scratch, temporary)
    by_label = {one["label"]: one for one in matrix_of(at_work, workflow)}
    build, collect = workflow["jobs"]["build"], workflow["jobs"]["collect"]
    (pyproject,) = copy.glob("a project*/pyproject.toml")
    with pyproject.open("a", encoding="utf-8") as file:
        file.write('[tool.polywheel.setup."label:mkl"]\nrequires = ["absent @ file:///absent"]\n')
    # One entry for two builds, as with --max-jobs.
    entry = {**by_label["mkl"], "jobs": f"{by_label['mkl']['jobs']} {by_label['null']['jobs']}"}
    assert at_work.job(build, {"matrix": entry})[0] == "failure"
    assert {f"{kind}-{entry['id']}" for kind in ("wheels", "report", "logs")} <= {
        *at_work.artifacts
    }
    assert at_work.job(collect, {"needs": {"build": {"result": "failure"}}})[0] == "failure"
    assert labels(at_work.artifacts["wheels"]) == ["null"]
    assert any("variants.json" in name for name in at_work.artifacts["index"])
    assert "**1 not built**" in at_work.summary
    assert "**failed**" in at_work.summary


def test_a_pull_request_builds_the_subset(temporary: Path, tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", {"pyproject.toml": AXES})
    command = [sys.executable, "-m", "polywheel", "ci", "github", "--pr-subset", "-o", "w.yml"]
    run(command, cwd=project)
    workflow = load((project / "w.yml").read_text(encoding="utf-8"))
    found = []
    for event in ("push", "pull_request"):
        scratch = tmp_path / event
        scratch.mkdir()
        at_work = machine(project, scratch, temporary, event=event)
        entries = matrix_of(at_work, workflow)
        found.append({label for one in entries for label in one["labels"].split()})
    assert found[0] == {"a_x", "a_y", "b_x", "b_y"}
    assert len(found[1]) == 2


def labels(wheels: Mapping[str, bytes]) -> list[str]:
    return sorted(name.removesuffix(".whl").rpartition("-")[2] for name in wheels)
