"""The pipelines of ``polywheel ci gitlab``, run by gitlab-ci-local: parent, child, artifacts, caches, and all."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.builds import read_wheel, run
from support.gitlab_jobs import load_pipeline, plan_jobs, resolved
from support.projects import HERE, ROOT, example, write_project
from support.referees import holds_to
from support.uploads import Upload, package_index

pytestmark = [
    pytest.mark.gitlab,
    pytest.mark.skipif(sys.platform == "win32", reason="runs scripts in sh, as on Linux"),
]
MATRICES = ROOT / "examples" / "matrices"
TABLES = f"""
[tool.polywheel]
build-backend = "setuptools.build_meta"
metadata-fields = false
[variant.default-priorities]
namespace = ["demo"]
[variant.providers.demo.static-properties]
level = ["v1", "v3", "broken"]
[tool.polywheel.setup."demo :: level :: v3"]
cflags = ["-DLEVEL=3"]
[tool.polywheel.setup."demo :: level :: broken"]
cflags = ["-fno-compiler-has-this-option"]
[tool.polywheel.matrix]
python = ["{HERE}"]
label = "{{level}}"
[tool.polywheel.matrix.axes.level]
v1 = ["demo :: level :: v1"]
v3 = ["demo :: level :: v3"]
broken = ["demo :: level :: broken"]
[[tool.polywheel.overrides]]
select = "v1"
test-command = "python -c 'import polywheel_example_setuptools'"
test-runner = "other"
[tool.polywheel.ci.gitlab]
install = false
sdist = true
publish = true
include = ["ci/wheels.yml"]
extends = ".wheels"
before-script = ["export SEEN=\\"$GREETING $POLYWHEEL_AXIS_level\\""]
after-build-script = ['echo "$SEEN" > "$POLYWHEEL_OUT/seen.txt"']
"""
FILES = {
    ".gitlab-ci.yml": "include: { local: /.gitlab/polywheel.yml }\n",
    "ci/wheels.yml": ".wheels:\n  variables: { GREETING: hello }\n",
    ".gitignore": ".gitlab-ci-local*\n",
}


@pytest.fixture
def gitlab_ci_local() -> str:
    command = os.environ.get("GITLAB_CI_LOCAL") or shutil.which("gitlab-ci-local")
    if command is None:
        pytest.skip("gitlab-ci-local is not installed: run `nox -s gitlab`")
    if not shutil.which("rsync"):
        pytest.skip("gitlab-ci-local needs rsync")
    return command


@pytest.fixture
def repository(tmp_path: Path, git_user: None) -> Path:  # noqa: ARG001
    """A repository whose project is in a folder, with all that GitLab reads from it."""
    folder = write_project(tmp_path / "repository", FILES)
    project = example("setuptools", folder).rename(folder / "py thon")
    toml = project / "pyproject.toml"
    head = toml.read_text(encoding="utf-8").partition("[tool.polywheel]")[0]
    toml.write_text(head + TABLES, encoding="utf-8")
    run(["git", "init", "-q"], cwd=folder)
    run([sys.executable, "-m", "polywheel", "ci", "gitlab", project], cwd=folder)
    run(["git", "add", "-A"], cwd=folder)
    run(["git", "commit", "-qm", "all"], cwd=folder)
    run(["git", "remote", "add", "origin", "https://gitlab.example/a/b.git"], cwd=folder)
    return folder


@pytest.fixture
def index() -> Iterator[tuple[str, list[Upload]]]:
    with package_index() as (address, uploads):
        yield address, uploads


def test_pipelines_end_with_wheels_and_those_for_tags_publish_them(
    gitlab_ci_local: str,
    repository: Path,
    index: tuple[str, list[Upload]],
    isolated: dict[str, str],
    tmp_path: Path,
) -> None:
    address, uploads = index
    scripts = Path(sys.executable).parent
    artifacts = repository / ".gitlab-ci-local" / "artifacts"

    def pipeline(**variables: str) -> dict[str, str]:
        """The result of each job. gitlab-ci-local does not fail if the child pipeline does."""
        # Variables of the command line are not those of the child pipeline.
        given = {"CI_API_V4_URL": address, "CI_PROJECT_ID": "7", "CI_JOB_TOKEN": "s3cret"}
        text = json.dumps({**given, **variables})
        (repository / ".gitlab-ci-local-variables.yml").write_text(text, encoding="utf-8")
        command = [gitlab_ci_local, "--force-shell-executor", "--shell-isolation", "--no-color"]
        done = subprocess.run(
            [*command, "--no-artifacts-to-source"],
            cwd=repository,
            env={
                **{key: text for key, text in os.environ.items() if "POLYWHEEL" not in key},
                "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(tmp_path / "home"),
                **isolated,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stdout
        found = re.findall(r"^ (PASS|FAIL) +(?:\[.*\] -> )?(\S+)", done.stdout, re.MULTILINE)
        return {name: result for result, name in found}

    def wheels() -> list[str]:
        dist = artifacts / "polywheel-collect" / "dist"
        assert all(read_wheel(path).stamped for path in dist.glob("*.whl"))
        return sorted(path.stem.rpartition("-")[2] for path in dist.glob("*.whl"))

    (tmp_path / "home").mkdir()
    name = f"-cp{HERE.replace('.', '')}-"
    results = pipeline()
    failed = {key.rpartition(name)[2] for key, value in results.items() if value == "FAIL"}
    assert failed == {"broken", "polywheel-collect"}
    assert results["polywheel-test-1"] == "PASS", "tests run for the wheels that were built"
    assert wheels() == ["v1", "v3"], "a failure loses no other wheel"
    (cache,) = (repository / ".gitlab-ci-local" / "cache").glob("*/.polywheel-cache/*.tar")
    assert cache.stat().st_size > 1_000_000, "an environment"
    assert uploads == []
    # Like GitLab, it evaluates rules: variables; but it does not give them to the child pipeline.
    results = pipeline(CI_COMMIT_TAG="v1.0", POLYWHEEL_SELECT="v1 v3", POLYWHEEL_UPLOAD="yes")
    assert {*results.values()} == {"PASS"}
    assert {key.rpartition(name)[2] for key in results} == {
        *("v1", "v3", "polywheel-plan", "polywheel-wheels", "polywheel-sdist"),
        *("polywheel-test-1", "polywheel-collect", "polywheel-publish"),
    }
    assert wheels() == ["v1", "v3"]
    names = [upload.file for upload in uploads]
    assert {name.rpartition("-")[2] for name in names if name.endswith(".whl")} == {
        *("v1.whl", "v3.whl")
    }
    assert [name for name in names if not name.endswith(".whl")] == [
        "polywheel_example_setuptools-1.0.0.tar.gz",
        "polywheel_example_setuptools-1.0.0-variants.json",
    ]
    assert {upload.path for upload in uploads} == {"/projects/7/packages/pypi"}
    seen = [path.read_text(encoding="utf-8").strip() for path in artifacts.glob("*/*/*/seen.txt")]
    assert sorted({*seen}) == ["hello v1", "hello v3"]


@pytest.mark.parametrize("name", sorted(path.name for path in MATRICES.iterdir() if path.is_dir()))
def test_the_child_pipelines_of_big_projects_are_valid(
    name: str,
    gitlab_ci_local: str,
    tmp_path: Path,
    git_user: None,  # noqa: ARG001
) -> None:
    """By the schema of GitLab, and by the parser of gitlab-ci-local, which applies rules, too."""
    project = Path(shutil.copytree(MATRICES / name, tmp_path / name))
    run(["git", "init", "-q"], cwd=tmp_path)
    run(["git", "commit", "-qm", "all", "--allow-empty"], cwd=tmp_path)
    run(["git", "remote", "add", "origin", "https://gitlab.example/a/b.git"], cwd=tmp_path)
    run([sys.executable, "-m", "polywheel", "ci", "gitlab", project], cwd=tmp_path)
    include = load_pipeline((tmp_path / ".gitlab" / "polywheel.yml").read_text(encoding="utf-8"))
    command = [sys.executable, "-m", "polywheel", "matrix", str(project), "--format=gitlab"]
    plan = subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout
    child = {**include, **json.loads(plan)}
    file = tmp_path / "child.yml"
    file.write_text(json.dumps(resolved(child, child)), encoding="utf-8")
    holds_to("vendor.gitlab-ci", file)
    command = [gitlab_ci_local, "--no-color", "--list-csv", f"--file={file.name}"]
    command.append("--variable=CI_PIPELINE_SOURCE=parent_pipeline")
    rows = run(command, cwd=tmp_path).stdout.splitlines()
    listed = {row.partition(";")[0] for row in rows if ";build;" in row or ";deploy;" in row}
    assert listed == {*plan_jobs(plan), "polywheel-collect"}
