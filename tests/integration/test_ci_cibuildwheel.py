"""``polywheel ci cibuildwheel``: the runs of the workflow, and matrices that cibuildwheel can't build."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polywheel.matrix.cibuildwheel_platforms import require_platform
from polywheel.run.executors.cibuildwheel_installation import Installation, installed_platform
from support.actionlint import complaints
from support.builds import run
from support.commands import polywheel
from support.plans import HEAD
from support.projects import write_project
from support.referees import holds_to, zizmor
from support.workflows import filled, load

MATRIX = """
[tool.polywheel.matrix]
python = ["3.11", "3.14", "3.14t"]
null = true
wheel-tag = "python"
label = "{level}"
[tool.polywheel.matrix.axes.level]
v2 = ["cpu :: level :: v2"]
"""


def workflow(folder: Path, text: str, *options: str, code: int = 0) -> str:
    write_project(folder, {"pyproject.toml": HEAD + text})
    if not (folder.parent / ".git").exists():
        (folder / ".git").mkdir(exist_ok=True)
    command = ["ci", "cibuildwheel", "-o", "-", *options]
    done = polywheel(*command, cwd=folder, check=False, apart=True)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout


def test_cibuildwheel_selects_the_builds_of_a_run(tmp_path: Path) -> None:
    """On the command line, as a step of the workflow does, for the platforms of other machines too."""
    targets = ["musllinux-aarch64", "macos-x86_64", "windows-arm64"]
    text = MATRIX.replace("wheel-tag", f"targets = {targets}\nwheel-tag")
    document = load(workflow(tmp_path, text))
    command = [sys.executable, "-m", "cibuildwheel", "--print-build-identifiers", "."]
    for target in targets:
        job = document["jobs"][f"build-{target.replace('_', '-')}"]
        env = {**job["env"], **job["strategy"]["matrix"]["include"][0]["runs"][0]}
        assert len(env["CIBW_BUILD"].split()) == 3
        assert run(command, cwd=tmp_path, env=env).stdout.split() == env["CIBW_BUILD"].split()


SETTINGS = """
[tool.polywheel.targets.cuda]
platform = "linux-x86_64"
runner = ["self-hosted", "gpu"]
image = "registry.example/cuda:{level}-{python_tag}"
container-options = "--gpus all"
container-credentials = { username = "me", password-secret = "TOKEN" }
environment = { PATH = "/opt/cuda/bin:$PATH" }
before-all = "dnf install -y x"
before-build = "pip install y"
job-timeout = 3600
[[tool.polywheel.overrides]]
select = { python = "3.14t" }
image = "other/image:1"
runner = "own"
repair-command = "auditwheel repair --exclude 'libcuda*' -w {dest_dir} {wheel}"
environment = { MAX_JOBS = "2" }
"""


def test_runs_have_the_settings_of_their_builds(tmp_path: Path) -> None:
    """A variant has one run for each group of builds with equal settings."""
    text = MATRIX.replace("wheel-tag", 'targets = ["cuda"]\nwheel-tag').replace("null = true", "")
    text = f"[tool.cibuildwheel]\nmanylinux-x86_64-image = 'table'\n{text}{SETTINGS}"
    path = tmp_path / "workflow.yml"
    path.write_text(workflow(tmp_path, text), encoding="utf-8")
    holds_to("vendor.github-workflows", path)
    zizmor(path)
    assert [*complaints(path)] == []
    jobs = load(path.read_text(encoding="utf-8"))["jobs"]
    finalize = jobs["collect"]["steps"][1]["with"]["args"].split("\n")
    own = {}
    registries = {"build-cuda": "registry.example", "build-cuda-2": "docker.io"}
    for name, registry in registries.items():
        for entry in jobs[name]["strategy"]["matrix"]["include"]:
            (told,) = entry["runs"]
            assert f"collected/{told['folder']}" in finalize
            own[told["folder"]] = {**jobs[name]["env"], **told}
        (login,) = [step for step in jobs[name]["steps"] if "docker login" in step.get("run", "")]
        assert login["env"]["PASSWORD"] == "${{ secrets.TOKEN }}"
        assert login["env"]["REGISTRY"] == registry
    assert jobs["build-cuda"]["runs-on"] == ["self-hosted", "gpu"]
    assert jobs["build-cuda-2"]["runs-on"] == "own"
    first, second, third = (own[f"wheels-cuda-cp3{python}-v2"] for python in (11, 14, "14t"))
    assert first["CIBW_MANYLINUX_X86_64_IMAGE"] == "registry.example/cuda:v2-cp311"
    assert second["CIBW_MANYLINUX_X86_64_IMAGE"] == "registry.example/cuda:v2-cp314"
    assert third["CIBW_MANYLINUX_X86_64_IMAGE"] == "other/image:1"
    for env in own.values():
        assert env["seconds"] == 3600
        assert env["CIBW_CONFIG_SETTINGS"] == "variant-label=v2"
        assert env["CIBW_BEFORE_ALL"] == "dnf install -y x"
        assert env["CIBW_BEFORE_BUILD"] == "pip install y"
        assert env["CIBW_CONTAINER_ENGINE"] == "docker; create_args: --gpus all"
        assert env["CIBW_ENVIRONMENT"].startswith('PATH="/opt/cuda/bin:${PATH}"')
    assert third["CIBW_ENVIRONMENT"].endswith('MAX_JOBS="2"')
    assert "--exclude 'libcuda*'" in third["CIBW_REPAIR_WHEEL_COMMAND"]
    assert "CIBW_REPAIR_WHEEL_COMMAND" not in first


def test_the_path_of_a_project_in_a_folder_of_its_repository(tmp_path: Path) -> None:
    """The root of the repository is the working directory of cibuildwheel."""
    (tmp_path / ".git").mkdir()
    text = MATRIX.replace("wheel-tag", 'targets = ["linux-x86_64", "macos-arm64"]\nwheel-tag')
    for target in ("linux-x86_64", "macos-arm64"):
        text += f"[tool.polywheel.targets.{target}]\nenvironment = {{ HERE = '{{project}}/x' }}\n"
        text += "before-build = 'sh {project}/x.sh'\n"
    jobs = load(workflow(tmp_path / "inner $HOME", text))["jobs"]
    for name, place in {"linux-x86-64": "/project", "macos-arm64": "${GITHUB_WORKSPACE}"}.items():
        env = filled(jobs[f"build-{name}"]["env"], {}, {})
        assert env["CIBW_ENVIRONMENT"] == f'HERE="{place}/inner \\$HOME/x"'
        assert env["CIBW_BEFORE_BUILD"] == "cd './inner $HOME' && sh {package}/x.sh"


def run_step(
    job: dict[str, Any], entry: dict[str, Any], folder: Path, *, first: str = "", **env: str
) -> str:
    """Run the step that runs cibuildwheel, after some lines of Python. Return its output."""
    (step,) = [step for step in job["steps"] if step.get("shell") == "python"]
    functions = {"toJSON": lambda value: json.dumps(value, indent=2)}
    values = filled(step["env"], {"matrix": entry}, functions)
    env = {**job["env"], **values, "RUNNER_TEMP": str(folder / "temporary"), **env}
    done = run([sys.executable, "-c", first + step["run"]], cwd=folder, env=env, check=False)
    assert done.returncode == 1
    return done.stdout


def test_runs_that_share_a_job(tmp_path: Path) -> None:
    """The step of the workflow starts all runs of its job, whatever happens to the first."""
    text = MATRIX.replace("wheel-tag", 'targets = ["linux-x86_64", "macos-arm64"]\nwheel-tag')
    text = f"[tool.cibuildwheel]\nskip = 'cp31{{1,2}}-*'\n{text}"
    document = load(workflow(tmp_path, text, "--max-jobs=2"))
    assert document["jobs"]["collect"]["needs"] == ["build-linux-x86-64", "build-macos-arm64"]
    job = document["jobs"]["build-linux-x86-64"]
    (entry,) = job["strategy"]["matrix"]["include"]
    assert entry["artifact"] == "wheels-linux-x86_64-null-and-1-more"
    output = run_step(job, entry, tmp_path)
    assert output.count("::error::cibuildwheel would not build cp311-manylinux_x86_64\n") == 2
    one_job = workflow(tmp_path, text, "--max-jobs=1", code=2)
    assert "builds for 2 targets and images do not fit into 1 jobs" in one_job


def test_a_run_with_wrong_options_does_not_stop_the_next(tmp_path: Path) -> None:
    text = MATRIX.replace("wheel-tag", 'targets = ["linux-x86_64"]\nwheel-tag')
    text = f"[tool.cibuildwheel]\nskip = 'cp31{{1,2}}-*'\n{text}"
    job = load(workflow(tmp_path, text, "--max-jobs=1"))["jobs"]["build-linux-x86-64"]
    (entry,) = job["strategy"]["matrix"]["include"]
    entry["runs"][0]["CIBW_BUILD_FRONTEND"] = "none"
    output = run_step(job, entry, tmp_path)
    assert output.count("::error::cibuildwheel would not build cp311-manylinux_x86_64\n") == 2


@pytest.mark.skipif(sys.platform == "win32", reason="the container engine is a shell script")
@pytest.mark.parametrize("interrupts", ["obeyed", "ignored"])
def test_a_run_that_takes_too_long(interrupts: str, tmp_path: Path) -> None:
    """Because of a container engine that hangs. The next run starts."""
    write_project(tmp_path / "bin", {"docker": "#!/bin/sh\nexec sleep 900\n"})
    (tmp_path / "bin" / "docker").chmod(0o755)
    text = MATRIX.replace("wheel-tag", 'targets = ["linux-x86_64"]\nwheel-tag')
    text += "[tool.polywheel.targets.linux-x86_64]\njob-timeout = 1.5\n"
    job = load(workflow(tmp_path, text, "--max-jobs=1"))["jobs"]["build-linux-x86-64"]
    (entry,) = job["strategy"]["matrix"]["include"]
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    ignore = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    first = ignore if interrupts == "ignored" else ""
    began = time.monotonic()
    output = run_step(job, entry, tmp_path, first=first, PATH=path)
    assert time.monotonic() - began < 400, "the engine was not killed"
    assert output.count("::error::a run took longer than 2 seconds\n") == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            MATRIX.replace('"3.14t"', '"3.13t"'),
            """\
error: cibuildwheel 4.3.5 does not build Python 3.13t for manylinux_x86_64
  at: pyproject.toml: tool.polywheel.matrix.python[2]
  hint: it builds 3.9, 3.10, """,
        ),
        (
            MATRIX.replace('"python"', '"py3-none-any"').replace("null = true", ""),
            "error: cibuildwheel does not build any-py3-",
        ),
        (
            f"[tool.cibuildwheel]\nskip = '*t-* *musl*'\n{MATRIX}",
            """\
error: the matrix has jobs for cp314t-manylinux_x86_64, and '*t-*' skips them
  at: pyproject.toml: tool.cibuildwheel.skip
""",
        ),
        (
            MATRIX + '[tool.polywheel.targets.linux-x86_64]\nimage = "manylinux_2_29"\n',
            """\
error: cibuildwheel 4.3.5 has no image 'manylinux_2_29' for manylinux_x86_64
  at: pyproject.toml: tool.polywheel.targets.linux-x86_64.image
  hint: did you mean 'manylinux_2_28'?""",
        ),
    ],
    ids=["python", "pure", "skip", "image"],
)
def test_what_cibuildwheel_can_not_build_is_refused(
    text: str, expected: str, tmp_path: Path
) -> None:
    text = text.replace("wheel-tag", 'targets = ["linux-x86_64"]\nwheel-tag')
    message = workflow(tmp_path, text, code=2)
    assert expected in message
    assert message.count("error: ") == 1


@pytest.mark.parametrize("target", ["linux-aarch64", "macos-arm64", "windows-x86_64"])
def test_the_pythons_of_another_cibuildwheel(target: str) -> None:
    """The command line lists them if the version is not the pinned one."""
    platform = require_platform(target)
    command = (sys.executable, "-m", "cibuildwheel")
    other = Installation(command=command, version="9.0")
    assert installed_platform(other, replace(platform, pythons=())) == platform


def test_a_cibuildwheel_that_lists_no_pythons() -> None:
    platform = require_platform("linux-x86_64")
    broken = Installation(command=(sys.executable, "-c", "raise SystemExit(1)"), version="9.0")
    assert installed_platform(broken, platform) == platform
