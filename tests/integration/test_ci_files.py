"""Generated CI files: independent validators, hostile names, and when a file is written."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from polywheel.ci.rendering import read_pins
from support.actionlint import complaints
from support.builds import run
from support.commands import polywheel
from support.gitlab_jobs import load_pipeline, plan_jobs, resolved
from support.projects import write_project
from support.referees import holds_to, zizmor
from support.workflows import filled, load

PROJECT = """
[build-system]
requires = ["polywheel", "setuptools"]
build-backend = "polywheel.backend"
[project]
name = "demo"
version = "1.0"
[tool.polywheel]
build-backend = "setuptools.build_meta"
metadata-fields = false
[variant.default-priorities]
namespace = ["demo"]
[variant.providers.demo.static-properties]
level = ["v1", "v2"]
[tool.polywheel.setup."demo :: level"]
cflags = ["-O{value}"]
[tool.polywheel.matrix]
python = ["3.11", "3.13"]
targets = ["linux-x86_64", "musllinux-aarch64", "macos-arm64", "windows-x86_64"]
null = true
plain = true
wheel-tag = "python"
label = "{level}"
[tool.polywheel.matrix.axes.level]
v1 = ["demo :: level :: v1"]
v2 = ["demo :: level :: v2"]
"""
EVIL = '\'; rm -rf "$HOME" & ${{ secrets.TOKEN }} $(id) `id` | #'
LOGIN = """
[tool.polywheel.targets.linux-x86_64]
container-credentials = { username = "me", password-secret = "REGISTRY" }
"""
SETTINGS = """
[tool.polywheel.ci.github]
paths = ["src/**", "it's"]
schedule = ["0 3 * * 1", "30 4 1,15 * *"]
setup-action = "./ci/setup"
after-build-action = "./ci/after"
artifact-prefix = "cuda-"
cache-size = "500M"
compiler-cache-size = "200M"
timeout-minutes = 120
sdist = true
publish = true
release-assets = true
"""
WITH_COMPILER_CACHE = ("[tool.polywheel]", '[tool.polywheel]\ncompiler-cache = "auto"')
REUSABLE = """
[tool.polywheel.ci.github]
reusable = true
cache = false
sdist = true
sdist-check = false
publish = true
repository-url = "https://i.example/up"
password-secret = "INDEX_TOKEN"
"""
OWN_INDEX = ("--publish", "--repository-url=https://i.example/up", "--password-secret=INDEX_TOKEN")
KINDS = {
    "github": "vendor.github-workflows",
    "cibuildwheel": "vendor.github-workflows",
    "gitlab": "vendor.gitlab-ci",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = write_project(tmp_path / "repository", {"pyproject.toml": PROJECT})
    (folder / ".git").mkdir()
    return folder


def ci(cwd: Path, *arguments: str | Path, code: int = 0) -> str:
    """What ``polywheel ci`` prints to standard output; it ends with this code and no traceback."""
    done = polywheel("ci", *arguments, cwd=cwd, check=False, apart=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code in {0, 1} else done.stderr


def texts(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a document, with the keys that lead to it."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from texts(one, f"{at}.{key}")
    elif isinstance(value, list):
        for one in value:
            yield from texts(one, at)
    elif isinstance(value, str):
        yield at, value


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("github", []),
        ("github", ["--pr-subset", "--max-jobs=9", "--publish", "--tag=v*", "--tag=release-*"]),
        ("github", ["--action=$/x/y", "--publish", "--repository-url=https://i.example/up"]),
        ("github", [*OWN_INDEX, "--username=me", "--release-assets"]),
        ("github", ["--config=login.toml"]),
        ("github", ["--config=settings.toml"]),
        ("github", ["--config=reusable.toml", "--max-jobs=3"]),
        ("gitlab", []),
        ("gitlab", ["--pr-subset", "--max-jobs=9", "--image=registry.example/a:1"]),
        ("cibuildwheel", []),
        ("cibuildwheel", ["--publish", "--environment=release", "--action=$/x"]),
        ("cibuildwheel", [*OWN_INDEX, "--release-assets"]),
    ],
)
def test_referees_have_nothing_to_say(kind: str, options: list[str], project: Path) -> None:
    path = project / "file.yml"
    tables = PROJECT[PROJECT.index("[tool.polywheel]") :]
    tables = tables.replace(', "musllinux-aarch64"', "").replace("build-backend", "# ")
    files = {
        "login.toml": tables + LOGIN,
        "settings.toml": tables.replace(*WITH_COMPILER_CACHE) + SETTINGS,
        "reusable.toml": tables + LOGIN + REUSABLE,
        "ci/setup/action.yml": "",
        "ci/after/action.yaml": "",
    }
    write_project(project, files)
    ci(project, kind, *options, "-o", path)
    holds_to(KINDS[kind], path)
    read = load_pipeline if kind == "gitlab" else load
    assert read(path.read_text(encoding="utf-8"))
    if kind != "gitlab":
        zizmor(path)
        assert [*complaints(path)] == []


@pytest.mark.parametrize("kind", ["github", "cibuildwheel"])
def test_the_token_of_a_job_reads_images(kind: str, project: Path) -> None:
    text = PROJECT.replace(', "musllinux-aarch64"', "") + LOGIN.replace("REGISTRY", "GITHUB_TOKEN")
    text += "[tool.polywheel.ci.github]\nreusable = true\n"
    (project / "pyproject.toml").write_text(text, encoding="utf-8")
    path = project / "file.yml"
    ci(project, kind, "-o", path)
    document = load(path.read_text(encoding="utf-8"))
    assert "secrets" not in (document["on"]["workflow_call"] or {}), "the name is reserved"
    permissions = {name: job["permissions"] for name, job in document["jobs"].items()}
    job = "build" if kind == "github" else "build-linux-x86-64"
    assert permissions.pop(job) == {"contents": "read", "packages": "read"}
    assert all(given == {"contents": "read"} for given in permissions.values())
    zizmor(path)
    assert [*complaints(path)] == []


def test_actionlint_finds_what_the_schema_does_not(project: Path) -> None:
    """So that a referee that reads nothing would be noticed."""
    path = project / "file.yml"
    text = ci(project, "github", "-o", "-").replace("steps.plan.outputs.output", "steps.plans.x")
    path.write_text(text, encoding="utf-8")
    holds_to(KINDS["github"], path)
    (found,) = complaints(path)
    assert 'property "plans" is not defined' in found


@pytest.mark.parametrize("kind", ["github", "cibuildwheel"])
def test_submodules_are_checked_out_where_wheels_are_built(kind: str, project: Path) -> None:
    inner = write_project(project / "inner", {"pyproject.toml": PROJECT})
    document = load(ci(inner, kind, "-o", "-"))
    assert "submodules" not in json.dumps(document)
    (project / ".gitmodules").write_text('[submodule "a"]\n', encoding="utf-8")
    document = load(ci(inner, kind, "-o", "-"))
    checkouts = {
        name: step["with"].get("submodules")
        for name, job in document["jobs"].items()
        for step in job["steps"]
        if step.get("uses", "").startswith("actions/checkout@")
    }
    builds = {name for name in document["jobs"] if name.startswith("build")}
    assert {name for name, value in checkouts.items() if value == "recursive"} == builds


def test_an_action_of_the_checkout_is_there_before_it_is_used(project: Path) -> None:
    write_project(project, {"actions/x/action.yml": ""})
    document = load(ci(project, "github", "--action=./actions/x", "-o", "-"))
    for job in document["jobs"].values():
        first = job["steps"][0]["uses"]
        assert first.startswith("actions/checkout@"), "no job without one"


def test_referees_have_nothing_to_say_of_our_own(root: Path) -> None:
    workflows = [*(root / ".github" / "workflows").iterdir()]
    for path in workflows:
        holds_to("vendor.github-workflows", path)
    assert [*complaints(*workflows)] == []
    holds_to("vendor.github-actions", root / ".github" / "actions" / "polywheel" / "action.yml")
    zizmor(root / ".github")


def test_our_own_example_is_what_would_be_written(root: Path) -> None:
    path = root / ".github" / "workflows" / "example.yml"
    line = path.read_text(encoding="utf-8").splitlines()[1]
    assert line.startswith("#     polywheel ci github ./examples/flit-core ")
    arguments = [*_words(line.removeprefix("#     polywheel ci ")), "--check"]
    assert ci(root, *arguments) == ""


def _words(line: str) -> list[str]:
    return shlex.split(line)


def test_every_action_is_pinned_in_one_file(root: Path, project: Path) -> None:
    """By a full commit, with the version behind it; those of the checkout have none."""
    for kind in ("github", "cibuildwheel"):
        ci(project, kind, "--publish", "-o", project / f"{kind}.yml")
    known = {
        one.uses: one.version for one in (*read_pins().actions.values(), read_pins().polywheel)
    }
    for uses in known:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", uses)
    ours = [*(root / ".github").rglob("*.yml")]
    used = set()
    for path in [*ours, project / "github.yml", project / "cibuildwheel.yml"]:
        for line in path.read_text(encoding="utf-8").splitlines():
            found = re.match(r"\s*(?:- )?uses: (\S+)(?: # (\S+))?$", line)
            assert found or "uses:" not in line
            if found and not found[1].startswith("$/"):
                assert known[found[1]] == found[2]
                used.add(found[1])
    assert used == {*known}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_hostile_paths_come_out_as_they_went_in(kind: str, project: Path) -> None:
    name = EVIL.replace("/", "_")
    inner = write_project(project / name, {"pyproject.toml": PROJECT})
    tables = PROJECT[PROJECT.index("[variant.default") :]
    config = write_project(project, {f"{name} tables.toml": tables}) / f"{name} tables.toml"
    ci(inner, kind, ".", "--config", config, "-o", project / "file.yml")
    text = (project / "file.yml").read_text(encoding="utf-8")
    document = load_pipeline(text) if kind == "gitlab" else load(text)
    holds_to(KINDS[kind], project / "file.yml")
    found = dict(texts(document))
    where = {at for at, one in found.items() if 'rm -rf "$HOME"' in one}
    if kind == "gitlab":
        told = document[".polywheel-tools"]["variables"]
        assert told["POLYWHEEL_SOURCE"] == {"value": f"./{name}", "expand": False}
        assert told["POLYWHEEL_TABLES"] == {"value": f"./{name} tables.toml", "expand": False}
        assert {at.rsplit(".", 2)[1] for at in where} == {"POLYWHEEL_SOURCE", "POLYWHEEL_TABLES"}
        return
    zizmor(project / "file.yml")
    context = {"matrix": {"jobs": "a b", "id": "a"}}
    for step in (document["jobs"]["plan"]["steps"][1], document["jobs"]["build"]["steps"][2]):
        functions = {"format": lambda text, *values: text.format(*values)}
        arguments = filled(step["with"]["args"], context, functions).split("\n")
        assert arguments[:2] == [f"./{name}", f"--config=./{name} tables.toml"]
    assert {at.rpartition(".")[2] for at in where} == {"args", "name"}


def test_hostile_names_and_commands_come_out_as_they_went_in(project: Path) -> None:
    commands = {
        "repair-command": f"auditwheel {EVIL}\n{{dest_dir}} {{wheel}}",
        "test-command": f"{EVIL}\u2028",
    }
    extra = "[tool.polywheel.targets.linux-x86_64]\n"
    extra += "".join(f"{key} = {json.dumps(text)}\n" for key, text in commands.items())
    evil = json.dumps(EVIL.replace("{", "{{").replace("}", "}}"))  # they may have placeholders
    extra += f"[tool.polywheel.targets.macos-arm64]\nrunner = {evil}\n"
    (project / "pyproject.toml").write_text(PROJECT + extra, encoding="utf-8")
    options: list[str | Path] = [
        "--publish",
        f"--environment={EVIL}",
        f"--runner={EVIL}",
        "-o",
        project / "f.yml",
    ]
    ci(project, "cibuildwheel", *options)
    document = load((project / "f.yml").read_text(encoding="utf-8"))
    holds_to(KINDS["cibuildwheel"], project / "f.yml")
    jobs = document["jobs"]
    linux = jobs["build-linux-x86-64"]["env"]
    said = filled({key: text for key, text in linux.items() if "matrix." not in text}, {}, {})
    assert said["CIBW_REPAIR_WHEEL_COMMAND"] == commands["repair-command"]
    assert said["CIBW_TEST_COMMAND"] == commands["test-command"]
    assert filled(jobs["build-macos-arm64"]["runs-on"], {}, {}) == EVIL
    assert filled(jobs["publish"]["environment"], {}, {}) == EVIL
    assert filled(jobs["collect"]["runs-on"], {}, {}) == EVIL
    for at, text in texts(document):
        if at.endswith(".run"):
            assert 'rm -rf "$HOME"' not in text
            assert "${{" not in text


@pytest.mark.parametrize(
    ("options", "at"),
    [
        (["--environment=a\nb", "--publish"], "--environment"),
        (["--runner=a\x1b[31m"], "--runner"),
        (["--runner= "], "--runner"),
        (["--branch=a b"], "--branch"),
        (["--tag=${{ x }}"], "--tag"),
        (["--python=3.10"], "--python"),
        (["--action=nobody"], "--action"),
        (["--publish", "--repository-url=http://x"], "--repository-url"),
        (["--environment=x"], "--environment"),
        (["--password-secret=x"], "--password-secret"),
        (["--publish", "--password-secret=${{ x }}"], "--password-secret"),
        (["--publish", "--password-secret=github_token"], "--password-secret"),
        (["--publish", "--username=me"], "--username"),
        ([*OWN_INDEX, "--username=a\nb"], "--username"),
        (["--max-jobs=257"], "--max-jobs"),
        (["--config=/etc/passwd"], "passwd"),
        (["--check", "--force"], "--check"),
        (["--check", "-o", "-"], "--check"),
    ],
)
def test_what_github_would_not_take_is_an_error_here(
    options: list[str], at: str, project: Path
) -> None:
    assert at in ci(project, "github", *options, code=2)
    assert not (project / ".github").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_path_with_a_line_break_is_refused(project: Path) -> None:
    inner = write_project(project / "a\nb", {"pyproject.toml": PROJECT})
    for kind in KINDS:
        assert "contains unprintable characters" in ci(inner, kind, "-o", "-", code=2)


def test_a_config_file_outside_of_the_repository_is_refused(project: Path) -> None:
    tables = PROJECT[PROJECT.index("[variant.default") :]
    config = write_project(project.parent, {"tables.toml": tables}) / "tables.toml"
    assert "outside of the repository" in ci(project, "github", "--config", config, code=2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_written_compared_and_written_again(kind: str, project: Path) -> None:
    assert "+jobs:" in ci(project, kind, "--check", code=1) or kind == "gitlab"
    ci(project, kind)
    (path,) = (*project.rglob("wheels.yml"), *project.rglob("polywheel.yml"))
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Generated by polywheel ci")
    assert ci(project, kind, "-o", "-") == text
    assert ci(project, kind, "--check") == ""
    path.write_bytes(text.replace("\n", "\r\n").encode())
    assert ci(project, kind, "--check") == ""  # as git for Windows checks it out
    path.write_text(text.replace("stage: test", "stage: x").replace("fetch-depth: 0", "x: 1"))
    changes = ci(project, kind, "--check", code=1)
    assert re.search(r"^-.*(stage: x|x: 1)", changes, re.MULTILINE)
    ci(project, kind)
    assert path.read_text(encoding="utf-8") == text


def test_a_file_of_somebody_else_stays(project: Path) -> None:
    path = project / ".github" / "workflows" / "wheels.yml"
    write_project(project, {".github/workflows/wheels.yml": "name: mine\n"})
    assert "was not generated by polywheel" in ci(project, "github", code=2)
    assert path.read_text(encoding="utf-8") == "name: mine\n"
    ci(project, "github", "--force")
    assert path.read_text(encoding="utf-8").startswith("# Generated by polywheel ci")
    assert [one.name for one in path.parent.iterdir()] == ["wheels.yml"]


def test_the_header_makes_the_same_file_again_from_the_root(project: Path) -> None:
    inner = write_project(project / "python" / "demo", {"pyproject.toml": PROJECT})
    ci(inner, "github", "--pr-subset", "--publish", "--environment=my env", "-o", "../../x.yml")
    text = (project / "x.yml").read_text(encoding="utf-8")
    line = text.splitlines()[1]
    assert "./python/demo" in line
    words = _words(line.removeprefix("#     polywheel ci "))
    assert ci(project, *words, "--check") == ""
    # Without a place of its own a file stands at the root, where GitHub looks.
    ci(inner, "github")
    assert (project / ".github" / "workflows" / "wheels.yml").exists()


def test_a_change_of_the_matrix_needs_no_other_workflow(project: Path) -> None:
    before = [ci(project, kind, "-o", "-") for kind in ("github", "gitlab")]
    text = PROJECT.replace('python = ["3.11", "3.13"]', 'python = ["3.12"]')
    (project / "pyproject.toml").write_text(text.replace("plain = true\n", ""), encoding="utf-8")
    assert [ci(project, kind, "-o", "-") for kind in ("github", "gitlab")] == before


def test_a_matrix_that_ci_can_not_build_is_known_before(project: Path) -> None:
    extra = '[tool.polywheel.targets.linux-x86_64]\nrunner = ""\n'
    (project / "pyproject.toml").write_text(PROJECT + extra, encoding="utf-8")
    for kind in KINDS:
        assert "has no runner" in ci(project, kind, code=2)


def test_each_run_of_cibuildwheel_is_told_one_variant(project: Path) -> None:
    document = load(ci(project, "cibuildwheel", "-o", "-"))
    runs = {}
    for job in document["jobs"].values():
        for entry in job.get("strategy", {}).get("matrix", {}).get("include", []):
            assert entry["artifact"] == entry["runs"][0]["folder"]
            (told,) = entry["runs"]
            runs[told["folder"]] = filled({**job["env"], **told}, {}, {})
    assert len(runs) == 16
    v1, null = runs["wheels-windows-x86_64-v1"], runs["wheels-windows-x86_64-null"]
    assert v1["CIBW_BUILD"] == "cp311-win_amd64 cp313-win_amd64"
    assert v1["CIBW_CONFIG_SETTINGS"] == "variant-label=v1"
    assert null["CIBW_CONFIG_SETTINGS"] == "null-variant=true"
    # What is not said leaves the project's own [tool.cibuildwheel] in force; empty would be "none".
    plain = runs["wheels-windows-x86_64-non-variant"]
    assert {*plain} == {"folder", "CIBW_BUILD", "CIBW_PLATFORM", "CIBW_ARCHS"}
    assert {env["CIBW_BUILD"].split()[0] for env in runs.values()} == {
        "cp311-manylinux_x86_64",
        "cp311-musllinux_aarch64",
        "cp311-macosx_arm64",
        "cp311-win_amd64",
    }
    collect = document["jobs"]["collect"]
    (finalize,) = [
        one for one in collect["steps"] if one.get("with", {}).get("command") == "finalize"
    ]
    arguments = finalize["with"]["args"].split("\n")
    assert len([one for one in arguments if one.startswith("collected/wheels-")]) == 16
    assert {"--output=dist", "--plain"} <= {*arguments}
    builds = [name for name in document["jobs"] if name.startswith("build-")]
    assert collect["needs"] == builds
    for name in builds:
        (script,) = [
            one["run"] for one in document["jobs"][name]["steps"] if one.get("shell") == "python"
        ]
        compile(script, name, "exec")


def test_a_failed_run_of_cibuildwheel_keeps_the_wheels_of_the_others(project: Path) -> None:
    jobs = load(ci(project, "cibuildwheel", "--publish", "-o", "-"))["jobs"]
    functions = {"cancelled": lambda: False, "contains": lambda items, item: item in items}

    def applies(part: Mapping[str, Any], results: Mapping[str, str]) -> bool:
        needs = {name: {"result": result} for name, result in results.items()}
        return bool(filled(part["if"], {"needs": needs}, functions))

    upload = jobs["build-linux-x86-64"]["steps"][-1]
    assert upload["with"]["if-no-files-found"] == "ignore"
    collect = jobs["collect"]
    assert "--keep-going" in collect["steps"][1]["with"]["args"]
    (fail,) = [step for step in collect["steps"] if "exit 1" in step.get("run", "")]
    assert jobs["publish"]["needs"] == ["collect"]
    for result in ("success", "failure", "cancelled"):
        results = {"build-linux-x86-64": "success", "build-macos-arm64": result}
        assert applies(upload, results)
        assert applies(collect, results)
        assert applies(fail, results) is (result != "success")


def test_settings_of_the_project_are_in_its_workflow(project: Path) -> None:
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(SETTINGS)
    assert "ci/setup/action.yml" in ci(project, "github", code=2)
    write_project(project, {"ci/setup/action.yml": "", "ci/after/action.yaml": ""})
    document = load(ci(project, "github", "--tag=x*", "-o", "-"))
    on, jobs = document["on"], document["jobs"]
    assert on["push"] == {
        "branches": ["main", "master"],
        "tags": ["x*"],
        "paths": ["src/**", "it's"],
    }
    assert on["schedule"] == [{"cron": "0 3 * * 1"}, {"cron": "30 4 1,15 * *"}]
    assert {*on["workflow_dispatch"]["inputs"]} == {"select", "publish"}
    build = jobs["build"]
    assert build["timeout-minutes"] == "${{ matrix.timeout }}"
    printed = polywheel("matrix", "--format=github", cwd=project, apart=True).stdout
    entries = json.loads(printed)["include"]
    assert {entry["timeout"] for entry in entries} == {120}
    local = [step for step in build["steps"] if step.get("uses", "").startswith("$/")]
    assert [step["uses"] for step in local] == ["$/ci/setup", "$/ci/after"]
    assert {*local[1]["with"]} - {*local[0]["with"]} == {"wheels"}
    names = [
        step["with"]["name"]
        for job in jobs.values()
        for step in job["steps"]
        if "upload-artifact" in step.get("uses", "")
    ]
    assert all(name.startswith("cuda-") for name in names)
    assert jobs["publish"]["needs"] == jobs["release"]["needs"] == ["collect", "sdist"]
    assert jobs["publish"]["steps"][0]["with"]["pattern"] == "cuda-{wheels,sdist}"


def test_settings_without_effect_on_cibuildwheel_are_named(project: Path) -> None:
    write_project(project, {"ci/setup/action.yml": "", "ci/after/action.yaml": ""})
    text = PROJECT.replace(*WITH_COMPILER_CACHE) + SETTINGS
    write_project(project, {"pyproject.toml": text})
    done = polywheel("ci", "cibuildwheel", "-o", "-", cwd=project, apart=True)
    assert "note: setup-action, after-build-action, cache-size (" in done.stderr
    assert "/host{os.environ[name]}" in done.stdout
    path = write_project(project, {"w.yml": done.stdout}) / "w.yml"
    holds_to(KINDS["cibuildwheel"], path)
    zizmor(path)
    assert [*complaints(path)] == []
    document = load(done.stdout)
    assert document["jobs"]["sdist"]
    builds = [job for name, job in document["jobs"].items() if name.startswith("build-")]
    for job in builds:
        assert job["timeout-minutes"] == 120
        assert job["steps"][-1]["with"]["name"].startswith("cuda-")
    reusable = "[tool.polywheel.ci.github]\nreusable = true\n" + LOGIN
    (project / "pyproject.toml").write_text(PROJECT + reusable, encoding="utf-8")
    path.write_text(ci(project, "cibuildwheel", "-o", "-"), encoding="utf-8")
    holds_to(KINDS["cibuildwheel"], path)
    called = load(path.read_text(encoding="utf-8"))["on"]["workflow_call"]
    assert called == {"secrets": {"REGISTRY": {"required": False}}}


def test_who_asks_for_a_publication_gets_one(project: Path) -> None:
    """A tag, or a person; in a reusable workflow only the caller."""
    options = ["--publish", "--release-assets", "-o", "-"]
    jobs = load(ci(project, "github", *options))["jobs"]
    functions = {"startsWith": lambda text, start: text.startswith(start)}

    def published(event: str, ref: str, inputs: Mapping[str, Any]) -> set[str]:
        context = {"github": {"event_name": event, "ref": ref}, "inputs": inputs}
        names = ("publish", "release")
        return {name for name in names if filled(jobs[name]["if"], context, functions)}

    asked = {"publish": True}
    assert published("push", "refs/tags/v1", {}) == {"publish", "release"}
    assert published("push", "refs/heads/main", {}) == set()
    assert published("pull_request", "refs/pull/1/merge", {}) == set()
    assert published("workflow_dispatch", "refs/tags/v1", {"publish": False}) == set()
    assert published("workflow_dispatch", "refs/heads/main", asked) == {"publish"}
    assert published("workflow_dispatch", "refs/tags/v1", asked) == {"publish", "release"}
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(REUSABLE)
    document = load(ci(project, "github", "--release-assets", "-o", "-"))
    jobs = document["jobs"]
    assert {*document["on"]} == {"workflow_call"}
    assert {*document["on"]["workflow_call"]["secrets"]} == {"INDEX_TOKEN"}
    assert "concurrency" not in document
    assert published("push", "refs/tags/v1", {"publish": False}) == set()
    assert published("push", "refs/tags/v1", asked) == {"publish", "release"}


@pytest.mark.skipif(sys.platform == "win32", reason="runs a script in bash, as on Linux")
@pytest.mark.parametrize(("most", "kept"), [("100", True), ("4", False)])
def test_a_cache_that_is_too_large_is_emptied(
    most: str, kept: bool, project: Path, tmp_path: Path
) -> None:
    build = load(ci(project, "github", "-o", "-"))["jobs"]["build"]
    (step,) = [step for step in build["steps"] if "CACHE" in step.get("env", {})]
    assert step["env"]["CACHE_KILOBYTES"] == 2 * 1024 * 1024
    assert build["env"] == {"POLYWHEEL_CACHE_MAX_SIZE": f"{3 * 512 * 1024}k"}
    cache = write_project(tmp_path / ".cache" / "polywheel", {"file": "x" * 20_000})
    env = {"HOME": str(tmp_path), "CACHE": "", "CACHE_KILOBYTES": most}
    run(["bash", "-eo", "pipefail", "-c", step["run"]], cwd=tmp_path, env=env)
    assert cache.exists() is kept


def test_wheels_that_no_index_accepts_are_not_published(project: Path) -> None:
    """Labels on PyPI, and fields that twine refuses: both would fail at the end of a release."""
    path = project / "pyproject.toml"
    path.write_text(PROJECT.replace("metadata-fields = false\n", ""), encoding="utf-8")
    for kind in ("github", "cibuildwheel"):
        message = ci(project, kind, *OWN_INDEX, code=2)
        assert "pyproject.toml: tool.polywheel.metadata-fields" in message
        ci(project, kind, "--publish", "-o", "-")
        ci(project, kind, "--release-assets", "-o", "-")
    path.write_text(PROJECT.replace("plain = true\n", ""), encoding="utf-8")
    for kind in ("github", "cibuildwheel"):
        assert "PyPI does not accept wheels with a label" in ci(project, kind, "--publish", code=2)
        ci(project, kind, *OWN_INDEX, "-o", "-")


def test_pypi_gets_the_wheels_without_a_label(project: Path, tmp_path: Path) -> None:
    publish = load(ci(project, "github", "--publish", "-o", "-"))["jobs"]["publish"]
    (step,) = [step for step in publish["steps"] if step.get("shell") == "python"]
    kept = ("demo-1.0-py3-none-any.whl", "demo-1.0-1-cp312-cp312-linux_x86_64.whl")
    labelled = ("demo-1.0-py3-none-any-v1.whl", "demo-1.0-1-cp312-cp312-linux_x86_64-v1.whl")
    write_project(tmp_path / "dist", dict.fromkeys((*kept, *labelled), ""))
    run([sys.executable, "-c", step["run"]], cwd=tmp_path)
    assert sorted(path.name for path in (tmp_path / "dist").iterdir()) == sorted(kept)
    own = load(ci(project, "github", *OWN_INDEX, "-o", "-"))["jobs"]["publish"]
    assert not any("run" in step for step in own["steps"])
    assert own["permissions"] == {}
    upload = own["steps"][-1]["with"]
    assert (upload["user"], upload["password"]) == ("__token__", "${{ secrets.INDEX_TOKEN }}")


@pytest.mark.skipif(sys.platform == "win32", reason="runs a script in bash, as on Linux")
def test_a_release_gets_all_wheels_and_the_index(project: Path, tmp_path: Path) -> None:
    release = load(ci(project, "github", "--release-assets", "-o", "-"))["jobs"]["release"]
    assert release["permissions"] == {"contents": "write"}
    step = release["steps"][-1]
    folder = tmp_path / "job"
    files = ("dist/a-v1.whl", "dist/b.whl", "dist/report.json", "dist/dist/a-variants.json")
    write_project(folder, dict.fromkeys(files, ""))
    record = '#!/bin/sh\necho "$@" >> calls\ntest "$2" != view\n'
    write_project(tmp_path / "bin", {"gh": record})
    (tmp_path / "bin" / "gh").chmod(0o755)
    tag = "v1; $(touch broken)"
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    run(["bash", "-eo", "pipefail", "-c", step["run"]], cwd=folder, env={"TAG": tag, "PATH": path})
    assert (folder / "calls").read_text(encoding="utf-8").splitlines() == [
        f"release view {tag}",
        f"release create {tag} --verify-tag --title {tag} --notes ",
        f"release upload {tag} --clobber -- dist/a-v1.whl dist/b.whl dist/dist/a-variants.json",
    ]
    assert not [*folder.rglob("broken")]


def test_what_holds_for_cibuildwheel_here_has_no_place_in_a_file(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ci(project, "cibuildwheel", "-o", "-")
    monkeypatch.setenv("CIBW_CONFIG_SETTINGS", "a=b")
    monkeypatch.setenv("CIBW_TEST_COMMAND", "x")
    assert ci(project, "cibuildwheel", "-o", "-") == before


def test_cibuildwheel_needs_our_backend(project: Path) -> None:
    text = PROJECT.replace('build-backend = "polywheel.backend"', "")
    (project / "pyproject.toml").write_text(text, encoding="utf-8")
    assert "build-system.build-backend" in ci(project, "cibuildwheel", code=2)


def test_the_pins_are_complete(root: Path) -> None:
    document = tomllib.loads((root / "matrix" / "actions.toml").read_text(encoding="utf-8"))
    for said in document["actions"].values():
        assert re.fullmatch("[0-9a-f]{40}", said["commit"])
        assert re.fullmatch(r"v[0-9]+\.[0-9]+\.[0-9]+", said["version"])


EVERY_SETTING = """
[tool.polywheel.ci.gitlab]
image = "python:3.14"
tags = ["docker"]
before-script = [". ci/setup.sh", "echo two\\necho lines"]
after-build-script = ['ls "$POLYWHEEL_WHEELS"']
include = ["a.yml"]
extends = ".wheels"
rules = ["$CI_COMMIT_TAG"]
changes = ["src/**/*"]
sdist = true
timeout = 7200
publish = true
environment = "release"
[tool.polywheel.targets.linux-x86_64]
runner = ["a", "b"]
job-timeout = 600
"""


@pytest.mark.parametrize("more", ["", EVERY_SETTING])
def test_the_child_pipeline_of_gitlab_is_whole(more: str, project: Path) -> None:
    """The include and the jobs of the plan, put together as GitLab does."""
    (project / "pyproject.toml").write_text(PROJECT + more, encoding="utf-8")
    (project / "a.yml").write_text(".wheels: {}\n", encoding="utf-8")
    include = load_pipeline(ci(project, "gitlab", "-o", "-"))
    plan = polywheel("matrix", "--format", "gitlab", cwd=project)
    text = plan.stdout[plan.stdout.index("{") :]
    jobs = plan_jobs(text)
    assert not {*jobs} & {*include}
    merged = {**include, **json.loads(text)}
    child = resolved(merged, merged)
    assert "polywheel-planned.json" in child["polywheel-collect"]["script"][0][0]
    path = project / "child.yml"
    path.write_text(json.dumps(child), encoding="utf-8")
    holds_to(KINDS["gitlab"], path)
    for one in jobs.values():
        assert one["extends"] in child
    assert child["polywheel-wheels"]["trigger"]["include"][0]["local"] == "/.gitlab/polywheel.yml"
    for at, text in texts(include):
        if at.endswith(("script", "before_script")) and shutil.which("sh"):
            subprocess.run(["sh", "-n"], input=text, text=True, check=True)
