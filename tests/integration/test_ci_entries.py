"""Entries of generated workflows, from the plan to collected wheels: the CUDA example with nvcc, on this machine, and
in containers with auditwheel.

Opt-in: ``nox -s ci-entries``.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.builds import read_wheel, run
from support.commands import polywheel
from support.containers import IMAGE, PYTHONS, made_image
from support.cuda import architectures
from support.job_containers import engine
from support.projects import example
from support.workflows import Machine, load

pytestmark = pytest.mark.ci_entries

PACKAGE = "polywheel_example_cuda"
PATH = "/opt/python/cp311-cp311/bin:/opt/python/cp312-cp312/bin:/usr/local/bin:/usr/bin:/bin"
OLD_IMAGE = "localhost/manylinux2014_x86_64:polywheel"
"""Another name of the image. GitHub's actions can't run in an image of this name."""

MARK = f"echo $MARK > {{project}}/src/{PACKAGE}/mark.txt"
"""A command that adds the value of a variable to the wheel."""

AXIS = """
label = "{arch}"

[tool.polywheel.matrix.axes.arch]
sm80 = ["nvidia :: sm_arch :: 80_real"]
sm90 = ["nvidia :: sm_arch :: 90_real"]
sm120 = ["nvidia :: sm_arch :: 120_real"]
"""


@pytest.fixture(scope="module")
def toolkit() -> Path:
    """The folder of CUDA, which containers get from this machine."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("needs nvcc")
    for folder in (Path("/usr/local/cuda"), *Path(nvcc).resolve().parents):
        if Path(folder, "bin", "nvcc").exists():
            return folder.resolve()
    pytest.skip(f"found no CUDA toolkit for {nvcc}")


@pytest.fixture(scope="module", autouse=True)
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """``docker`` and its images."""
    folder = tmp_path_factory.mktemp("bin")
    with pytest.MonkeyPatch.context() as patch:
        for name, text in engine(folder, made_image()).items():
            patch.setenv(name, text)
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        run(["docker", "tag", IMAGE, OLD_IMAGE], cwd=folder)
        yield


def committed(root: Path, tables: str) -> Path:
    """A repository with the CUDA example, and more tables, in a folder."""
    project = example("cuda", root)
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(tables)
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b")
    run([*git, "init", "-q"], cwd=root)
    run([*git, "add", "."], cwd=root)
    run([*git, "commit", "-qm", "all"], cwd=root)
    return root


def runner(repository: Path, folder: Path) -> Machine:
    for name in ("scratch", "temporary", "cache"):
        (folder / name).mkdir(parents=True, mode=0o700)
    return Machine(
        repository=repository,
        scratch=folder / "scratch",
        temporary=folder / "temporary",
        event={"event_name": "push", "ref": "refs/heads/main"},
        docker=True,
        environment={"POLYWHEEL_CACHE_DIR": str(folder / "cache")},
    )


def examine(
    wheels: Mapping[str, bytes], folder: Path
) -> dict[tuple[str, str], tuple[str, set[str], str]]:
    """By label and Python: the platform, the architectures, and the mark of each wheel."""
    found = {}
    for name, content in wheels.items():
        path = folder / name
        path.write_bytes(content)
        wheel = read_wheel(path)
        *_, python, _, platform, label = path.stem.split("-")
        (variant,) = wheel.variant_json["variants"].items()
        assert variant == (label, {"nvidia": {"sm_arch": [f"{label.removeprefix('sm')}_real"]}})
        assert wheel.metadata["Variant-Label"] == label
        kinds = architectures(wheel)
        mark = wheel.members[f"{PACKAGE}/mark.txt"].decode().strip()
        found[label, python] = (platform.partition("_")[0], kinds, mark)
    return found


def test_github_builds_on_the_machine_and_in_containers_of_jobs_and_steps(
    toolkit: Path, tmp_path: Path
) -> None:
    tables = f"""
[tool.polywheel.matrix]
python = {list(PYTHONS)}
targets = ["machine-cuda", "image-cuda", "old-image-cuda"]
{AXIS}
# The wheels of both images have the same platform.
[[tool.polywheel.matrix.exclude]]
target = "image-cuda"
arch = "sm120"
[[tool.polywheel.matrix.exclude]]
target = "old-image-cuda"
arch = "sm80"
[[tool.polywheel.matrix.exclude]]
target = "old-image-cuda"
arch = "sm90"
[[tool.polywheel.matrix.exclude]]
target = "machine-cuda"
arch = "sm120"

[tool.polywheel.targets.machine-cuda]
platform = "linux-x86_64"
platform-tags = ["linux_x86_64"]
image = ""
runner = ["self-hosted", "{{target}}"]
environment = {{ MARK = "{{target}} {{python_tag}}" }}
before-all = 'nvcc --version > "$RUNNER_TEMP/{{label}}-{{python_tag}}.txt"'
before-build = "{MARK}"

[tool.polywheel.targets.image-cuda]
platform = "linux-x86_64"
platform-tags = ["manylinux_*_x86_64"]
image = "{IMAGE}"
container-options = "--volume={toolkit}:/usr/local/{{arch}}:ro --env=PATH={PATH}"
environment = {{ MARK = "any", PATH = "/usr/local/{{arch}}/bin:$PATH" }}
before-build = "{MARK}"
repair-command = "auditwheel repair --exclude libcuda.so.1 --exclude 'libcudart.so.*' -w {{dest_dir}} {{wheel}}"
job-timeout = 1800

[tool.polywheel.targets.old-image-cuda]
platform = "linux-x86_64"
platform-tags = ["manylinux_*_x86_64"]
image = "{OLD_IMAGE}"
container-options = "--volume={toolkit}:/opt/cuda:ro --env 'PATH={PATH}:/opt/cuda/bin'"
environment = {{ MARK = "old" }}
before-build = "{MARK}"
repair-command = "auditwheel repair -w {{dest_dir}} {{wheel}}"

[[tool.polywheel.overrides]]
select = {{ target = "image-cuda", arch = "sm90" }}
environment = {{ MARK = "{{label}} of {{target}}" }}

[[tool.polywheel.overrides]]
select = "machine-cuda-*-sm90"
job-timeout = 0.5
"""
    repository = committed(tmp_path / "repository", tables)
    polywheel("ci", "github", "cuda", "--max-jobs=5", cwd=repository)
    jobs = load((repository / ".github/workflows/wheels.yml").read_text(encoding="utf-8"))["jobs"]
    machine = runner(repository, tmp_path / "runner")
    result, outputs = machine.job(jobs["plan"], {})
    assert result == "success", machine.log
    entries = {one["id"]: one for one in json.loads(outputs["matrix"])["include"]}
    assert {entry["python"] for entry in entries.values()} == {"3.11 3.12"}
    kinds = {name: entry["container"] for name, entry in entries.items()}
    assert kinds == {
        "machine-cuda-cp311-sm80": "",
        "machine-cuda-cp311-sm90": "",
        "image-cuda-cp311-sm80": "job",
        "image-cuda-cp311-sm90": "job",
        "old-image-cuda-cp311-sm120": "step",
    }

    def build(identifier: str) -> str:
        return machine.job(jobs["build"], {"matrix": entries[identifier]})[0]

    assert build("machine-cuda-cp311-sm80") == "success", machine.log
    assert build("image-cuda-cp311-sm90") == "success", machine.log
    assert build("old-image-cuda-cp311-sm120") == "success", machine.log
    # Two entries of the plan have not run: the job that collects names their wheels, and fails.
    result, _ = machine.job(jobs["collect"], {"needs": {"build": {"result": "success"}}})
    assert result == "failure"
    assert "missing: 4 wheels" in machine.log
    assert "6 wheels" in machine.summary
    assert examine(machine.artifacts["wheels"], tmp_path) == {
        ("sm80", "cp311"): ("linux", {"80_real"}, "machine-cuda cp311"),
        ("sm80", "cp312"): ("linux", {"80_real"}, "machine-cuda cp312"),
        ("sm90", "cp311"): ("manylinux", {"90_real"}, "sm90 of image-cuda"),
        ("sm90", "cp312"): ("manylinux", {"90_real"}, "sm90 of image-cuda"),
        ("sm120", "cp311"): ("manylinux", {"120_real"}, "old"),
        ("sm120", "cp312"): ("manylinux", {"120_real"}, "old"),
    }
    index = machine.artifacts["index"]
    (variants,) = (json.loads(text) for name, text in index.items() if "variants" in name)
    assert {*variants["variants"]} == {"sm80", "sm90", "sm120"}
    for python in ("cp311", "cp312"):
        path = machine.temporary / f"sm80-{python}.txt"
        assert "Cuda compilation tools" in path.read_text(encoding="utf-8")
    # A build that is too slow.
    assert build("machine-cuda-cp311-sm90") == "failure"
    (report,) = machine.artifacts["report-machine-cuda-cp311-sm90"].values()
    assert {job["state"] for job in json.loads(report)["jobs"]} == {"failed"}
    assert machine.log.count("0.5") >= 2
    assert "logs-machine-cuda-cp311-sm90" in machine.artifacts


def test_cibuildwheel_builds_repairs_and_tests_in_its_container(
    toolkit: Path, wheelhouse: Path, tmp_path: Path
) -> None:
    tables = f"""
[tool.polywheel.matrix]
python = {list(PYTHONS)}
targets = ["cuda"]
{AXIS}
[tool.polywheel.targets.cuda]
platform = "linux-x86_64"
image = "{IMAGE}"
container-options = "--volume={toolkit}:/usr/local/{{arch}}:ro"
environment = {{ MARK = "{{target}} {{python_tag}}", PATH = "/usr/local/{{arch}}/bin:$PATH" }}
before-all = "nvcc --version"
before-build = "{MARK}"
repair-command = "auditwheel repair --exclude libcuda.so.1 -w {{dest_dir}} {{wheel}}"
test-command = "python -c \\"import {PACKAGE} as m; assert 'sm%d' % m.architectures()[0] == '{{arch}}'\\""
job-timeout = 1800

[[tool.polywheel.overrides]]
select = {{ arch = "sm90", python = "3.12" }}
environment = {{ MARK = "overridden" }}

[tool.cibuildwheel]
container-engine = "podman; create_args: --network=host"
environment = {{ PIP_FIND_LINKS = "/host{wheelhouse}" }}
"""
    repository = committed(tmp_path / "repository", tables)
    polywheel("ci", "cibuildwheel", "cuda", cwd=repository)
    jobs = load((repository / ".github/workflows/wheels.yml").read_text(encoding="utf-8"))["jobs"]
    build = jobs["build-cuda"]
    entries = {one["artifact"]: one for one in build["strategy"]["matrix"]["include"]}
    assert {*entries} == {
        f"wheels-cuda-{one}-sm{two}" for one in ("cp311", "cp312") for two in (80, 90, 120)
    }
    machine = runner(repository, tmp_path / "runner")
    # Each of the other runs, which do not run here, would be an error of the job that collects.
    selected = ("wheels-cuda-cp311-sm80", "wheels-cuda-cp312-sm90")
    for name in selected:
        assert machine.job(build, {"matrix": entries[name]})[0] == "success", machine.log
    assert not [name for name in machine.artifacts.values() if "sm" in name]
    result, _ = machine.job(jobs["collect"], {"needs": {"build": {"result": "success"}}})
    assert result == "failure"
    assert machine.log.count("error: ") == len(entries) - len(selected)
    assert examine(machine.artifacts["wheels"], tmp_path) == {
        ("sm80", "cp311"): ("manylinux", {"80_real"}, "cuda cp311"),
        ("sm90", "cp312"): ("manylinux", {"90_real"}, "overridden"),
    }
