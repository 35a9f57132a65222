"""The generated GitHub workflow: all steps of plan, build, and collect, on this machine."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from polywheel.ci.rendering import read_pins
from support.actionlint import complaints
from support.build_command import CACHE
from support.builds import read_wheel, run
from support.projects import HERE, ROOT, example, write_project
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
description = "A demo"
requires-python = ">=3.11"
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
    assert "**2 not built**" in at_work.summary
    assert "### Without a report" in at_work.summary  # the third, as if its machine were lost
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


SETTINGS = """
[tool.polywheel.ci.github]
setup-action = "./ci/setup"
after-build-action = "./ci/after"
artifact-prefix = "demo-"
sdist = true
sdist-check = false
"""
ACTION = """
inputs: { label: {}, labels: {}, axes: {}, python: {}, target: {}, wheels: {} }
runs:
  using: composite
  steps:
    - shell: bash
      env:
        LABEL: ${{ inputs.label }}
        AXES: ${{ inputs.axes }}
        WHEELS: ${{ inputs.wheels }}
      run: echo "extension $LABEL" $AXES && if [ -n "$WHEELS" ]; then ls "$WHEELS"; fi
"""


def test_extensions_of_a_project_run_around_its_builds(temporary: Path, tmp_path: Path) -> None:
    """The actions before and after a build, a selection of wheels, an sdist, and names of artifacts."""
    files = {
        "pyproject.toml": AXES + SETTINGS,
        "demo.py": '"""A demo."""\n',
        "ci/setup/action.yml": ACTION,
        "ci/after/action.yml": ACTION,
    }
    project = write_project(tmp_path / "project", files)
    links, scratch = tmp_path / "links", tmp_path / "scratch"
    scratch.mkdir()
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir"]
    run([sys.executable, *build, links, ROOT], cwd=tmp_path)
    run([sys.executable, "-m", "polywheel", "ci", "github", "-o", "w.yml"], cwd=project)
    jobs = load((project / "w.yml").read_text(encoding="utf-8"))["jobs"]
    at_work = machine(project, scratch, temporary, event="workflow_dispatch")
    result, outputs = at_work.job(jobs["plan"], {"inputs": {"select": "a_* b_x"}})
    assert result == "success", at_work.log
    (entry,) = json.loads(outputs["matrix"])["include"]  # they share a build
    assert {*entry["labels"].split()} == {"a_x", "a_y", "b_x"}
    assert at_work.job(jobs["build"], {"matrix": entry})[0] == "success", at_work.log
    said = [line for line in at_work.log.splitlines() if line.startswith("extension ")]
    axes = " ".join(json.dumps(entry["axes"], indent=2).split())
    assert said == [f"extension {entry['label']} {axes}"] * 2
    assert {name: {*text.split()} for name, text in entry["axes"].items()} == {
        "one": {"a", "b"},
        "two": {"x", "y"},
    }
    assert "demo-1.0-py3-none-any-a_y.whl\n" in at_work.log.rpartition("extension")[2]
    result, _ = at_work.job(jobs["collect"], {"needs": {"build": {"result": "success"}}})
    assert result == "success", at_work.log
    at_work.environment = {"PIP_FIND_LINKS": str(links)}
    assert at_work.job(jobs["sdist"], {})[0] == "success", at_work.log
    assert labels(at_work.artifacts["demo-wheels"]) == ["a_x", "a_y", "b_x"]
    assert [*at_work.artifacts["demo-sdist"]] == ["demo-1.0.tar.gz"]
    assert {name.partition("-")[0] for name in at_work.artifacts} == {"demo"}


def test_a_machine_of_its_own_tests_the_wheels(temporary: Path, tmp_path: Path) -> None:
    """Its runner, the selection of its wheels, and what is published without them."""
    tables = (
        "[tool.polywheel]\ntest-command = 'test $POLYWHEEL_VARIANT_LABEL = a_x'\n"
        "[[tool.polywheel.overrides]]\nselect = 'a_*'\ntest-runner = ['self-hosted', 'gpu']\n"
        "[tool.polywheel.ci.github]\nsdist = true\nrelease-assets = true\n"
    )
    assert "[tool.polywheel]\n" not in AXES
    files = {"pyproject.toml": AXES + tables, "demo.py": '"""A demo."""\n'}
    project = write_project(tmp_path / "project", files)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    run([sys.executable, "-m", "polywheel", "ci", "github", "-o", "w.yml"], cwd=project)
    jobs = load((project / "w.yml").read_text(encoding="utf-8"))["jobs"]
    assert "test" in jobs["release"]["needs"]
    (include,) = jobs["test"]["strategy"]["matrix"]["include"]
    assert include == {"labels": "self-hosted gpu", "runner": ["self-hosted", "gpu"]}
    at_work = machine(project, scratch, temporary)
    result, outputs = at_work.job(jobs["plan"], {})
    assert result == "success", at_work.log
    at_work.environment = {"POLYWHEEL_CACHE_DIR": str(tmp_path / "cache")}
    for entry in json.loads(outputs["matrix"])["include"]:
        at_work.job(jobs["build"], {"matrix": entry})
    context = {"matrix": include, "strategy": {"job-index": 0}}
    result, _ = at_work.job(jobs["test"], context)
    assert result == "failure"
    said = at_work.log.rpartition("polywheel test")[2] or at_work.log
    # Two wheels have this runner. The build has found that the test of one fails, and keeps it.
    assert "tests: 1 passed, 1 failed" in said


def test_a_workflow_by_hand_builds_the_matrix(root: Path, temporary: Path, tmp_path: Path) -> None:
    """The example of the documentation: its referees, and its jobs on this machine."""
    text = (root / "docs" / "ci.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"### In a workflow of your own.*?```yaml\n(.*?)```", text, re.DOTALL)
    project = write_project(
        tmp_path / "project", {"pyproject.toml": AXES, "demo.py": '"""A demo."""'}
    )
    reason = " # zizmor: ignore[unpinned-images]"
    checked = re.sub("(image: .*'job'.*)", rf"\1{reason}", example)
    path = write_project(tmp_path, {"w.yml": checked}) / "w.yml"
    schema = ["-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    run([sys.executable, *schema, path], cwd=tmp_path)
    run([Path(sys.executable).parent / "zizmor", "--offline", "--no-progress", path], cwd=tmp_path)
    assert [*complaints(path)] == []
    pins = read_pins()
    known = {f"{pin.uses} # {pin.version}" for pin in (*pins.actions.values(), pins.polywheel)}
    assert {*re.findall("uses: (.*)", example)} <= known
    jobs = load(example)["jobs"]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    at_work = machine(project, scratch, temporary)
    for entry in matrix_of(at_work, {"jobs": jobs}):
        assert at_work.job(jobs["build"], {"matrix": entry})[0] == "success", at_work.log
    assert "prepare " in at_work.log
    context = {"needs": {"build": {"result": "success"}}}
    assert at_work.job(jobs["collect"], context)[0] == "success", at_work.log
    wheels = [name for name in at_work.artifacts["wheels"] if name.endswith(".whl")]
    assert labels(dict.fromkeys(wheels, b"")) == ["a_x", "a_y", "b_x", "b_y"]
    assert any(name.endswith("-variants.json") for name in at_work.artifacts["wheels"])


def labels(wheels: Mapping[str, bytes]) -> list[str]:
    return sorted(name.removesuffix(".whl").rpartition("-")[2] for name in wheels)
