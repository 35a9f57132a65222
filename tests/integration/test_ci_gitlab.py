"""The scripts of the GitLab include: plan, two jobs of the child pipeline, sdist, collect, and publish."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.build_command import CACHE
from support.builds import read_wheel, run
from support.gitlab_jobs import PLANNED, load_pipeline, plan_jobs, script_of, variables_of
from support.index_wheels import V1, V2, variant, write_wheel
from support.projects import HERE, demo, example
from support.uploads import package_index

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="runs scripts in sh, as on Linux")
EVIL = "g;p$(touch broken)"
SETTINGS = f"""
[tool.polywheel.matrix]
python = ["{HERE}"]
[tool.polywheel.ci.gitlab]
sdist = true
before-script = ['export SEEN="$POLYWHEEL_LABELS, $POLYWHEEL_PYTHON, $POLYWHEEL_TARGET"']
after-build-script = ['echo "$SEEN" >> hooks.txt', 'ls "$POLYWHEEL_WHEELS" >> hooks.txt']
cache = false
"""


def job(
    name: str,
    pipeline: Mapping[str, Any],
    checkout: Path,
    given: Mapping[str, str] | None = None,
    *,
    code: int = 0,
) -> str:
    """Run the scripts of a job, in one shell as GitLab does, with its variables and nothing else."""
    env = {
        **{key: text for key, text in os.environ.items() if "POLYWHEEL" not in key},
        "POLYWHEEL_CACHE_DIR": str(CACHE),
        "TMPDIR": str(checkout.parent),
        "PIP_NO_COMPILE": "1",
        **variables_of(name, pipeline),
        **(given or {}),
    }
    done = subprocess.run(
        ["sh", "-e", "-c", script_of(name, pipeline)],
        cwd=checkout,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


@pytest.fixture
def with_polywheel() -> dict[str, str]:
    """An image that has polywheel, and twine beside it."""
    scripts = Path(sys.executable).parent
    return {"POLYWHEEL_INSTALL": "no", "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}


def generated(project: Path, *options: str) -> dict[str, Any]:
    """The include file of a repository."""
    run(["git", "init", "-q"], cwd=project.parent)
    command: list[str | Path] = [sys.executable, "-m", "polywheel", "ci", "gitlab", project]
    run([*command, *options], cwd=project.parent)
    text = (project.parent / ".gitlab" / "polywheel.yml").read_text(encoding="utf-8")
    return load_pipeline(text)


def test_the_scripts_end_with_wheels_and_an_index(
    wheelhouse: Path, isolated: dict[str, str], with_polywheel: dict[str, str], tmp_path: Path
) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    name = "it's; $(touch broken) * x"
    project = example("flit-core", checkout).rename(checkout / name)
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(SETTINGS)
    (wheel,) = wheelhouse.glob("*.whl")
    # Not the polywheel of this environment: the requirement is a file.
    requirement = f"polywheel @ {wheel.as_uri()}"
    pipeline = generated(project, "--max-jobs=1", f"--requirement={requirement}")
    job("polywheel-plan", pipeline, checkout)
    text = (checkout / "polywheel-jobs.yml").read_text(encoding="utf-8")
    child = {**pipeline, **json.loads(text)}
    jobs = plan_jobs(text)
    assert len(jobs) == 1, "both builds in one job"
    (checkout / "polywheel-jobs.yml").unlink()
    here = {**with_polywheel, "POLYWHEEL_REQUIREMENT": "polywheel>=0.1"}
    for number, identifier in enumerate(jobs):
        job(identifier, child, checkout, {**here, "CI_JOB_ID": str(number)})
    out = checkout / "polywheel-out"
    assert sorted(one.name for one in (out / "0").iterdir()) == ["logs", "report.json", "wheels"]
    seen = (checkout / "hooks.txt").read_text(encoding="utf-8").splitlines()
    (values,) = [one["variables"] for one in jobs.values()]
    assert seen[0] == f"mkl openblas, {HERE}, {values['POLYWHEEL_TARGET']}"
    assert [one.rpartition("-")[2] for one in seen[1:]] == ["mkl.whl", "openblas.whl"]
    job("polywheel-sdist", child, checkout, {**here, **isolated})
    shutil.rmtree(project)  # the job that collects needs no more than artifacts
    job("polywheel-collect", child, checkout, here)
    dist = checkout / "dist"
    wheels = sorted(dist.glob("*.whl"))
    assert [one.stem.rpartition("-")[2] for one in wheels] == ["mkl", "openblas"]
    assert all(read_wheel(one).stamped for one in wheels)
    assert len([*dist.glob("*-variants.json"), *dist.glob("*.tar.gz")]) == 2
    assert "2 wheels" in (checkout / "summary.md").read_text(encoding="utf-8")
    artifacts = pipeline["polywheel-collect"]["artifacts"]
    tests = ET.parse(checkout / artifacts["reports"]["junit"]).getroot().iter("testcase")
    assert [one.attrib["name"].rpartition("-")[2] for one in tests] == ["mkl", "openblas"]
    assert "report.html" in artifacts["paths"]
    assert (checkout / "report.html").is_file()
    assert not [*tmp_path.rglob("broken")]


def test_pipelines_select_wheels_by_variables(
    with_polywheel: dict[str, str], tmp_path: Path
) -> None:
    project = example("flit-core", tmp_path)
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(SETTINGS)
    pipeline = generated(project, "--pr-subset")
    merge_request = "merge_request_event"
    for said, labels in (
        ({}, {"mkl", "openblas"}),
        ({"POLYWHEEL_SELECT": "m* *mkl"}, {"mkl"}),
        ({"POLYWHEEL_SELECT": "*-mkl op*"}, {"mkl", "openblas"}),
        ({"CI_PIPELINE_SOURCE": merge_request, "POLYWHEEL_SELECT": "o*"}, {"openblas"}),
    ):
        job("polywheel-plan", pipeline, tmp_path, {**with_polywheel, **said})
        jobs = plan_jobs((tmp_path / "polywheel-jobs.yml").read_text(encoding="utf-8"))
        assert {one["variables"]["POLYWHEEL_LABEL"] for one in jobs.values()} == labels


def test_a_job_that_is_lost_with_its_machine_fails_the_job_that_collects(
    with_polywheel: dict[str, str], tmp_path: Path
) -> None:
    """So the job that publishes, which needs it, does not run."""
    project = example("flit-core", tmp_path)
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(SETTINGS)
    pipeline = generated(project)
    job("polywheel-plan", pipeline, tmp_path, with_polywheel)
    text = (tmp_path / "polywheel-jobs.yml").read_text(encoding="utf-8")
    child = {**pipeline, **json.loads(text)}
    lost, built = sorted(plan_jobs(text))
    assert "missing: 2 wheels" in job("polywheel-collect", child, tmp_path, with_polywheel, code=1)
    job(built, child, tmp_path, {**with_polywheel, "CI_JOB_ID": "1"})
    printed = job("polywheel-collect", child, tmp_path, with_polywheel, code=1)
    assert "missing: 1 wheel" in printed
    assert "Without a report" in printed
    assert lost.rpartition("-")[2] in printed.partition("Without a report")[2]
    assert [*(tmp_path / "dist").glob("*.whl")], "the others are collected"
    # A plan without the hidden job is no plan of this polywheel.
    del child[PLANNED]
    (tmp_path / "polywheel-planned.json").unlink()
    child = {**child, PLANNED: pipeline[PLANNED]}
    job("polywheel-collect", child, tmp_path, with_polywheel, code=2)


def test_wheels_are_tested_on_the_machine_of_their_test_runner(
    with_polywheel: dict[str, str], tmp_path: Path
) -> None:
    project = demo(tmp_path / "demo", "one", "two")
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(f"""
[[tool.polywheel.overrides]]
select = "one"
test-command = 'test "$BREAK" != $POLYWHEEL_VARIANT_LABEL'
test-runner = ["self-hosted", "{EVIL}"]
[tool.polywheel.ci.gitlab]
cache = false
""")
    pipeline = generated(project)
    job("polywheel-plan", pipeline, tmp_path, with_polywheel)
    text = (tmp_path / "polywheel-jobs.yml").read_text(encoding="utf-8")
    child = {**pipeline, **json.loads(text)}
    assert child["polywheel-test-1"]["tags"] == ["self-hosted", EVIL]
    assert "polywheel-test-2" not in child
    for number, identifier in enumerate(plan_jobs(text)):
        job(identifier, child, tmp_path, {**with_polywheel, "CI_JOB_ID": str(number)})
    built = shutil.copytree(tmp_path / "polywheel-out", tmp_path / "built")
    printed = job("polywheel-test-1", child, tmp_path, with_polywheel)
    assert "tests: 1 passed" in printed
    shutil.copytree(built, tmp_path / "polywheel-out")
    job("polywheel-test-1", child, tmp_path, {**with_polywheel, "BREAK": "one"}, code=1)
    report = json.loads((tmp_path / "polywheel-tests" / "report.json").read_text(encoding="utf-8"))
    assert [one["state"] for one in report["jobs"]] == ["test-failed"]


def test_an_image_without_the_right_polywheel_is_an_error(
    with_polywheel: dict[str, str], tmp_path: Path
) -> None:
    project = example("flit-core", tmp_path)
    pipeline = generated(project)
    without = {**with_polywheel, "PATH": "/usr/bin:/bin"}
    for env in (
        {**without},
        {**with_polywheel, "POLYWHEEL_REQUIREMENT": "polywheel==0.0.1"},
        {**with_polywheel, "POLYWHEEL_REQUIREMENT": "polywheel @ file:///x"},
    ):
        printed = job("polywheel-plan", pipeline, tmp_path, env, code=2)
        assert "this image has no polywheel on PATH that meets the requirement polywheel" in printed


def test_wheels_and_variants_json_are_published_to_gitlab(
    with_polywheel: dict[str, str], tmp_path: Path
) -> None:
    project = example("flit-core", tmp_path)
    toml = project / "pyproject.toml"
    text = toml.read_text(encoding="utf-8")
    command: list[str | Path] = [sys.executable, "-m", "polywheel", "ci", "gitlab", project]
    done = run([*command, "--publish"], cwd=tmp_path, check=False)
    assert "add metadata-fields = false" in done.stdout
    toml.write_text(
        text.replace("[tool.polywheel]\n", "[tool.polywheel]\nmetadata-fields = false\n"),
        encoding="utf-8",
    )
    pipeline = generated(project, "--publish")
    dist = tmp_path / "dist"
    for label, properties in {"v1": V1, "v2": V2}.items():
        write_wheel(dist, variant(label, properties), fields=False)
    run([sys.executable, "-m", "polywheel", "index", dist], cwd=tmp_path)
    url = variables_of("polywheel-publish", pipeline)["TWINE_REPOSITORY_URL"]
    assert url == "$CI_API_V4_URL/projects/$CI_PROJECT_ID/packages/pypi"
    with package_index() as (address, uploads):
        env = {**with_polywheel, "TWINE_REPOSITORY_URL": f"{address}/projects/7/packages/pypi"}
        printed = job("polywheel-publish", pipeline, tmp_path, env, code=2)
        assert "the CI/CD variable CI_JOB_TOKEN is not set" in printed
        job("polywheel-publish", pipeline, tmp_path, {**env, "CI_JOB_TOKEN": "s3cret"})
    token = "Basic Z2l0bGFiLWNpLXRva2VuOnMzY3JldA=="
    assert {(one.path, one.authorization) for one in uploads} == {
        ("/projects/7/packages/pypi", token)
    }
    names = [one.file for one in uploads]
    assert sorted(names[:-1]) == ["demo-1.0-py3-none-any-v1.whl", "demo-1.0-py3-none-any-v2.whl"]
    assert names[-1] == "demo-1.0-variants.json"
    # A project without variants has no such file.
    plain = tmp_path / "plain"
    write_wheel(plain / "dist")
    with package_index() as (address, uploads):
        env |= {"TWINE_REPOSITORY_URL": f"{address}/projects/7/packages/pypi"}
        job("polywheel-publish", pipeline, plain, {**env, "CI_JOB_TOKEN": "s3cret"})
    assert [one.file for one in uploads] == ["demo-1.0-py3-none-any.whl"]
    # PyPI: no filenames with a label, and no other files than wheels.
    with toml.open("a", encoding="utf-8") as file:
        file.write("[tool.polywheel.matrix]\nplain = true\n[tool.polywheel.ci.gitlab]\n")
        file.write(
            'repository-url = "https://upload.pypi.org/legacy/"\npassword-variable = "TOKEN"\n'
        )
    write_wheel(dist, tag="1-py3-none-any")
    pipeline = generated(project, "--publish")
    with package_index() as (address, uploads):
        env = {**with_polywheel, "TWINE_REPOSITORY_URL": address, "TOKEN": "s3cret"}
        job("polywheel-publish", pipeline, tmp_path, env)
    assert [one.file for one in uploads] == ["demo-1.0-1-py3-none-any.whl"]


def test_the_cache_is_restored_exactly_bounded_and_not_used_for_releases(tmp_path: Path) -> None:
    """The parts of the script around the build, on a machine that is new for each job."""
    project = example("flit-core", tmp_path)
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("[tool.polywheel.ci.gitlab]\ncache-size = '2M'\n")
    script = generated(project)[".polywheel"]["script"]
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    saved = checkout / ".polywheel-cache" / "environments.tar"

    def build(machine: str, tens_of_kilobytes: int, **given: str) -> str:
        home = tmp_path / machine
        home.mkdir(exist_ok=True)
        fake = f'mkdir -p "$POLYWHEEL_CACHE_DIR"; head -c {tens_of_kilobytes}0000 /dev/zero > "$POLYWHEEL_CACHE_DIR/{machine}"'
        env = {"HOME": str(home), "PATH": os.environ["PATH"], **given}
        limit = 'echo "limit: ${POLYWHEEL_CACHE_MAX_SIZE:-none}"'
        lines = "\n".join(["set -e", script[0], "ls -a", limit, fake, script[-1]])
        command = ["sh", "-c", lines]
        return subprocess.run(
            command, cwd=checkout, env=env, capture_output=True, text=True, check=True
        ).stdout

    def files(machine: str) -> dict[str, int]:
        folder = tmp_path / machine / ".cache" / "polywheel"
        return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}

    assert "limit: 1536k" in build("first", 50)
    assert saved.stat().st_size > 50_000
    assert ".polywheel-cache" not in build("second", 50), "the source has no such folder"
    assert files("second")["first"] == files("first")["first"], "to the nanosecond"
    # A machine whose cache stays is left alone, and so is the cache of a release.
    assert "limit: none" in build("second", 60)
    assert not saved.parent.exists()
    build("third", 50)
    build("release", 50, CI_COMMIT_TAG="v1")
    assert {*files("release")} == {"release"}
    assert not saved.parent.exists()
    # One that is too large is emptied.
    assert "the next build starts with an empty one" in build("large", 300)
    assert saved.stat().st_size == 0
    build("after", 50)
    assert {*files("after")} == {"after"}
    # A damaged one is ignored.
    saved.write_bytes(b"no archive")
    build("damaged", 50)
    assert {*files("damaged")} == {"damaged"}


def test_the_compiler_cache_is_restored_and_not_used_for_releases(tmp_path: Path) -> None:
    project = example("flit-core", tmp_path)
    path = project / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    sizes = "[tool.polywheel.ci.gitlab]\ncompiler-cache-size = '1G'\n"
    text = text.replace("[tool.polywheel]", '[tool.polywheel]\ncompiler-cache = "auto"')
    path.write_text(text + sizes, encoding="utf-8")
    script = generated(project)[".polywheel"]["script"]
    checkout = tmp_path / "checkout"
    checkout.mkdir()

    def build(name: str, **given: str) -> str:
        fake = f'ls -a; mkdir -p "$CCACHE_DIR"; ls "$CCACHE_DIR"; touch "$CCACHE_DIR/{name}"; env'
        lines = "\n".join(["set -e", script[1], fake, script[-1]])
        env = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), **given}
        command = ["sh", "-c", lines]
        return subprocess.run(
            command, cwd=checkout, env=env, capture_output=True, text=True, check=True
        ).stdout

    saved = checkout / ".polywheel-compiler-cache" / "ccache"
    first = build("first")
    assert "CCACHE_MAXSIZE=1024M" in first
    assert "SCCACHE_CACHE_SIZE=1024M" in first
    second = build("second")
    assert ".polywheel-compiler-cache\n" not in second, "the source has no such folder"
    assert {path.name for path in saved.iterdir()} == {"first", "second"}
    assert "first" not in build("release", CI_COMMIT_TAG="v1")
    # Nothing is kept for a folder of the user's own.
    own = tmp_path / "own"
    build("own", CCACHE_DIR=str(own), CCACHE_MAXSIZE="3G")
    assert [path.name for path in own.iterdir()] == ["own"]
    assert not saved.parent.exists()
