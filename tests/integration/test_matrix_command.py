"""``polywheel matrix``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from polywheel import expand
from polywheel.matrix.plan_json import read_plan
from polywheel.matrix.platforms import this_target
from support.commands import polywheel
from support.gitlab_jobs import plan_jobs
from support.projects import example, write_project

HEAD = """
[build-system]
requires = ["polywheel", "meson-python"]
build-backend = "polywheel.backend"
[project]
name = "demo"
version = "1.0"
"""
PROVIDERS = """
[variant.default-priorities]
namespace = ["x86_64", "blas_lapack"]
[variant.providers.x86_64]
requires = ["provider-variant-x86-64"]
plugin-api = "provider_variant_x86_64.plugin:X8664Plugin"
[variant.providers.blas_lapack.static-properties]
library = ["openblas", "mkl"]
"""
MATRIX = """
[tool.polywheel.setup."x86_64 :: level"]
cflags = ["-march=x86-64-{value}"]
[tool.polywheel.setup."blas_lapack :: library"]
[tool.polywheel.matrix]
python = ["3.11", "3.12", "3.13"]
targets = ["linux-x86_64", "windows-x86_64"]
plain = true
label = "{level}_{blas}"
[tool.polywheel.matrix.axes.level]
v2 = ["x86_64 :: level :: v2"]
v3 = ["x86_64 :: level :: v3"]
[tool.polywheel.matrix.axes.blas]
openblas = ["blas_lapack :: library :: openblas"]
mkl = ["blas_lapack :: library :: mkl"]
[[tool.polywheel.matrix.exclude]]
level = "v2"
blas = "mkl"
"""
JOBS = 24


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_project(tmp_path / "source", {"pyproject.toml": HEAD + PROVIDERS + MATRIX})


def matrix(
    *arguments: str | Path,
    code: int = 0,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> tuple[str, str]:
    """What the command says on standard output, and on standard error."""
    where = cwd or Path.cwd()
    if env is None:
        size = {"COLUMNS": "100"}
        done = polywheel("matrix", *arguments, cwd=where, env=size, check=False, apart=True)
    else:
        done = subprocess.run(
            [sys.executable, "-m", "polywheel", "matrix", *map(str, arguments)],
            cwd=where,
            env={**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8", **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def as_json(*arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(matrix(*arguments)[0])
    return found


def ids(document: dict[str, Any]) -> set[str]:
    return {one["id"] for one in document["jobs"]}


def test_the_table_shows_variants_places_and_what_builds_here(source: Path) -> None:
    text = (source / "pyproject.toml").read_text(encoding="utf-8")
    text = text.replace('"windows-x86_64"]', f'"{this_target()}"]')
    if this_target() == "linux-x86_64":
        text = text.replace('"linux-x86_64", ', '"windows-x86_64", ')
    (source / "pyproject.toml").write_text(text, encoding="utf-8")
    out, _ = matrix(source)
    lines = out.splitlines()
    assert f"{this_target()} (here)" in lines[0]
    assert lines[0].count("(here)") == 1
    assert lines[1].split() == ["variant", "properties", *["3.11", "3.12", "3.13"] * 2]
    by_label = {line.split()[0]: line for line in lines[2:] if line.strip()}
    assert by_label["non-variant"].count("●") == 6
    assert by_label["v3_mkl"].count("●") == 6
    assert by_label["v3_openblas"].count("○") == 6
    assert "blas_lapack :: library :: openblas" in by_label["v3_openblas"]
    assert "cells removed by rules: 6; --why LABEL shows the rule" in lines
    assert lines[-1] == f"builds: 18, wheels: {JOBS}"
    assert "\x1b" not in out


def test_a_source_that_reads_its_variant_is_named(source: Path) -> None:
    (source / "build.rs").write_text('env!("POLYWHEEL_VARIANT_LABEL")', encoding="utf-8")
    why = "build.rs mentions POLYWHEEL_VARIANT_, so a build may read its variant"
    assert matrix(source)[0].splitlines()[-2:] == [
        f"builds: {JOBS}, wheels: {JOBS}",
        f"identical builds are not shared: {why}",
    ]
    assert as_json(source, "--json")["unshared"] == why


def test_colours_are_for_terminals_that_want_them(source: Path) -> None:
    assert "\x1b[" in matrix(source, env={"FORCE_COLOR": "1", "TERM": "xterm"})[0]
    both = {"FORCE_COLOR": "1", "TERM": "xterm", "NO_COLOR": "1"}
    assert "\x1b[32m" not in matrix(source, env=both)[0]
    out, _ = matrix(source, env={"PYTHONIOENCODING": "ascii"})
    assert out.isascii()
    assert f"builds: 18, wheels: {JOBS}" in out


def test_targets_that_have_no_room_go_into_a_table_below(source: Path) -> None:
    out, _ = matrix(source, env={"COLUMNS": "60"})
    heads = [line.split() for line in out.splitlines() if line.startswith("variant")]
    assert heads == [
        ["variant", "properties", "3.11", "3.12", "3.13"],
        ["variant", "3.11", "3.12", "3.13"],
    ]


def test_a_wheel_for_several_pythons_is_one_build(source: Path) -> None:
    path = source / "pyproject.toml"
    text = path.read_text(encoding="utf-8").replace('label = "', 'wheel-tag = "abi3"\nlabel = "')
    path.write_text(text, encoding="utf-8")
    out, _ = matrix(source)
    assert "· served by a wheel of another column" in out
    assert out.splitlines()[-1] == "builds: 6, wheels: 8"


def test_without_matrix_and_variants_it_says_what_to_do(tmp_path: Path) -> None:
    write_project(tmp_path, {"pyproject.toml": HEAD})
    for arguments in ([], ["--format", "table"], ["--json"], ["--format", "github"]):
        out, said = matrix(tmp_path, *arguments, code=2)
        assert out == ""
        assert "polywheel init" in said


def test_declared_variants_alone_are_a_matrix_for_here(tmp_path: Path) -> None:
    out, _ = matrix(example("meson", tmp_path), "--format", "labels")
    assert out.split() == ["x86_64_v1", "x86_64_v3"]


def test_json_is_the_plan_that_the_python_api_gives(source: Path, tmp_path: Path) -> None:
    out, said = matrix(source, "--json")
    assert said == ""
    assert matrix(source, "--format", "json")[0] == out
    (tmp_path / "plan.json").write_text(out, encoding="utf-8")
    assert read_plan(tmp_path / "plan.json") == expand(source)


def test_the_source_is_the_current_folder_where_none_is_named(source: Path) -> None:
    assert matrix("--format", "labels", cwd=source) == matrix(source, "--format", "labels")


def test_selections_are_taken_together(source: Path) -> None:
    found = ids(
        as_json(source, "--json", "--select", "v3*", "--python", "3.12", "--target", "linux-x86_64")
    )
    assert found == {"linux-x86_64-cp312-v3_mkl", "linux-x86_64-cp312-v3_openblas"}
    assert len(ids(as_json(source, "--json", "--select", "v2*", "--select", "non-variant"))) == 12
    only = ["linux-x86_64-cp312-v3_mkl", "linux-x86_64-cp311-non-variant"]
    for arguments in (
        ["--only", *only],
        ["--only", " ".join(only)],
        [f"--only={one}" for one in only],
    ):
        assert ids(as_json(source, "--json", *arguments)) == {*only}


def test_shards_together_are_everything(source: Path, tmp_path: Path) -> None:
    whole = as_json(source, "--json")
    report = {"shape": 1, "jobs": [{"id": one["id"], "seconds": 60.0} for one in whole["jobs"]]}
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    for more in ([], ["--durations", str(tmp_path / "report.json")]):
        found = [ids(as_json(source, "--json", "--shard", f"{n}/4", *more)) for n in range(1, 5)]
        assert sum(map(len, found)) == JOBS
        assert set().union(*found) == ids(whole)
    out, said = matrix(source, "--shard", "30/40")
    assert out.splitlines()[-1] == "builds: 0, wheels: 0"
    assert "shard 30/40 is empty" in said


def test_a_report_that_knows_no_job_is_told(source: Path, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"shape": 1, "jobs": []}', encoding="utf-8")
    _, said = matrix(source, "--json", "--shard", "1/2", "--durations", tmp_path / "report.json")
    assert "has none of these jobs" in said


def test_the_subset_for_pull_requests_has_every_value(source: Path) -> None:
    jobs = as_json(source, "--json", "--pr-subset")["jobs"]
    assert len(jobs) == 3
    assert {one["label"] for one in jobs if not one["axes"]} == {None}
    assert {python for one in jobs for python in one["pythons"]} == {"3.11", "3.12", "3.13"}
    for key, count in (("level", 2), ("blas", 2)):
        assert len({one["axes"][key] for one in jobs if one["axes"]}) == count


def test_github_gets_an_entry_a_build_in_one_line(source: Path) -> None:
    out, _ = matrix(source, "--format", "github")
    assert out.count("\n") == 1
    entries = json.loads(out)["include"]
    assert len(entries) == 18
    jobs = " ".join(one["jobs"] for one in entries)
    assert {*jobs.split()} == ids(as_json(source, "--json", "--only", jobs))


def test_github_never_gets_more_than_256(source: Path) -> None:
    path = source / "pyproject.toml"
    pythons = json.dumps([f"3.{minor}" for minor in range(100, 150)])
    text = path.read_text(encoding="utf-8").replace('["3.11", "3.12", "3.13"]', pythons)
    path.write_text(text, encoding="utf-8")
    for arguments, most in (([], 256), (["--max-jobs", "7"], 7)):
        out, said = matrix(source, "--format", "github", *arguments)
        entries = json.loads(out)["include"]
        assert len(entries) == most
        assert f"300 builds are combined into {most} CI jobs" in said
        jobs = [name for one in entries for name in one["jobs"].split()]
        assert len(jobs) == len(set(jobs)) == 400
        for one in entries:
            assert all(name.startswith(one["target"]) for name in one["jobs"].split())
    _, said = matrix(source, "--format", "github", "--max-jobs", "257", code=2)
    assert "expected at most 256, the largest matrix on GitHub, found 257" in said
    assert len(plan_jobs(matrix(source, "--format", "gitlab")[0])) == 300


def test_gitlab_gets_a_pipeline_that_is_yaml_too(source: Path) -> None:
    document = plan_jobs(matrix(source, "--format", "gitlab", "--max-jobs", "5")[0])
    assert len(document) == 5
    assert {one["extends"] for one in document.values()} == {".polywheel"}


def test_a_difference_to_an_older_plan(source: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(matrix(source, "--json")[0], encoding="utf-8")
    out, _ = matrix(source, "--diff", plan)
    assert out == f"added 0, removed 0, changed 0; jobs {JOBS} → {JOBS}; builds 18 → 18\n"
    path = source / "pyproject.toml"
    text = path.read_text(encoding="utf-8").replace('["3.11", ', "[") + "python = '3.12'\n"
    path.write_text(text, encoding="utf-8")
    document = json.loads(matrix(source, "--diff", plan, "--json", code=5)[0])
    assert {one["id"] for one in document["added"]} == {
        *("linux-x86_64-cp313-v2_mkl", "windows-x86_64-cp313-v2_mkl"),
    }
    assert {one["pythons"][0] for one in document["removed"]} == {"3.11"}
    out, _ = matrix(source, "--diff", plan, code=5, env={"PYTHONIOENCODING": "ascii"})
    assert "+ linux-x86_64-cp313-v2_mkl" in out


def test_a_plan_of_an_earlier_version_has_no_setups(source: Path, tmp_path: Path) -> None:
    document = as_json(source, "--json")
    for build in document["builds"]:
        del build["setup"]
    (tmp_path / "plan.json").write_text(json.dumps(document), encoding="utf-8")
    _, said = matrix(source, "--diff", tmp_path / "plan.json")
    assert "plan.json has no build setups, so changed setup rules are not shown" in said


def test_why_names_the_rule_with_file_and_key_path(source: Path) -> None:
    out, _ = matrix(source, "--why", "v2_mkl")
    assert "removed by exclude, pyproject.toml: tool.polywheel.matrix.exclude[0]" in out
    assert "level = v2  pyproject.toml: tool.polywheel.matrix.axes.level.v2" in out
    (cell,) = as_json(source, "--why", "linux-x86_64-cp311-v3_mkl", "--json")["cells"]
    assert cell["by"] == "made"
    _, said = matrix(source, "--why", "v3_mlk", code=2)
    assert "did you mean 'v3_mkl'?" in said


def test_another_file_stands_in_for_the_tables_of_the_project(tmp_path: Path) -> None:
    source = write_project(tmp_path / "source", {"pyproject.toml": HEAD})
    other = tmp_path / "wheels.toml"
    other.write_text(PROVIDERS + MATRIX, encoding="utf-8")
    labels, _ = matrix(source, "--config", other, "--format", "labels")
    assert labels.split() == ["v2_openblas", "v3_mkl", "v3_openblas"]
    environment = {"POLYWHEEL_CONFIG": str(other)}
    assert matrix(source, "--format", "labels", env=environment)[0] == labels
    out, _ = matrix(source, "--why", "v2_mkl", "--config", other)
    assert "wheels.toml: tool.polywheel.matrix.exclude[0]" in out
    _, said = matrix(source, "--config", tmp_path / "absent.toml", code=2)
    assert "there is no absent.toml" in said
    jobs = expand(source, config=other).jobs
    assert {one.label for one in jobs} - {None} == {*labels.split()}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--select", "v9*"], "no job has a label or an id that matches 'v9*'"),
        (["--only", "linux-x86_64-cp312-v3_mlk"], "did you mean 'linux-x86_64-cp312-v3_mkl'?"),
        (["--only", " "], "expected at least one job id"),
        (["--python", "3.1"], "did you mean '3.1"),
        (["--target", "linux-x86-64"], "did you mean 'linux-x86_64'?"),
        (["--shard", "5/4"], "expected I/N"),
        (["--shard", "four"], "expected I/N"),
        (["--format", "xml"], "unknown value for --format: 'xml'"),
        (["--format", "github", "--json"], "not allowed with argument"),
        (
            ["--format", "github", "--max-jobs", "0"],
            "expected a number from 1 to 999999, found '0'",
        ),
        (["--format", "github", "--max-jobs", "many"], "found 'many'"),
        (["--format", "github", "--max-jobs", "1"], "2 targets and images do not fit into 1 jobs"),
        (["--max-jobs", "5"], "add --format github"),
        (
            ["--json", "--durations", "report.json"],
            "--durations has no effect without shards or CI jobs",
        ),
        (["--shard", "1/2", "--durations", "report.json"], "the report report.json does not exist"),
        (["--diff", "absent.json"], "polywheel matrix --json writes one"),
        (["--diff", "pyproject.toml"], "invalid JSON"),
        (["--diff", "plan.json", "--select", "v3*"], "--diff works on the whole matrix"),
        (["--why", "v3_mkl", "--pr-subset"], "--why works on the whole matrix"),
        (["--why", "v3_mkl", "--format", "labels"], "--why does not support --format labels"),
        (["--why", "v3_mkl", "--diff", "plan.json"], "not allowed with argument"),
        (["nowhere"], "there is no pyproject.toml in "),
        (["pyproject.toml"], "pyproject.toml is not a folder"),
    ],
)
def test_wrong_input_is_exit_code_2_in_words(arguments: list[str], said: str, source: Path) -> None:
    out, errors = matrix(*arguments, code=2, cwd=source)
    assert out == ""
    assert said in errors


def test_the_words_of_a_plan_can_do_a_terminal_no_harm(source: Path, tmp_path: Path) -> None:
    document = as_json(source, "--json")
    document["targets"]["linux-x86_64"]["image"] = "old \x1b[31m\nred"
    (tmp_path / "plan.json").write_text(json.dumps(document), encoding="utf-8")
    out, _ = matrix(source, "--diff", tmp_path / "plan.json", code=5)
    assert "\x1b" not in out
    assert r"image: old \x1b[31m\nred → quay.io/" in out


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"POLYWHEEL_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}


def checked(
    folder: Path, change: tuple[str, str], cache: dict[str, str], *, code: int
) -> tuple[str, str]:
    """The labels of the matrix with a change, its values checked."""
    text = (HEAD + PROVIDERS + MATRIX).replace(*change)
    write_project(folder, {"pyproject.toml": text})
    return matrix(folder, "--check-providers", "--format", "labels", code=code, env=cache)


def test_the_plugins_are_asked_whether_they_know_every_value(
    tmp_path: Path, cache: dict[str, str]
) -> None:
    out, said = checked(tmp_path, ("", ""), cache, code=0)
    assert out.split() == ["v2_openblas", "v3_mkl", "v3_openblas"]
    assert "polywheel: all properties are valid; checked with: x86_64" in said


def test_values_that_no_provider_knows_are_told_together(
    tmp_path: Path, cache: dict[str, str]
) -> None:
    change = (
        'v3 = ["x86_64 :: level :: v3"]\n',
        (
            'v3 = ["x86_64 :: level :: v33"]\nv4 = ["x86_64 :: level :: v4", "x86_64 :: avx99 :: on"]\n'
            '[tool.polywheel.providers.x86_64]\nquery = "plugin"\n'
        ),
    )
    out, said = checked(tmp_path, change, cache, code=3)
    assert out == ""
    found = re.findall(r"error: (.*)\n  at: (.*)", said)
    assert {at for _, at in found} == {
        *("pyproject.toml: tool.polywheel.matrix.axes.level.v3",),
        *("pyproject.toml: tool.polywheel.matrix.axes.level.v4",),
    }
    assert {re.findall(r"'(x86_64 :: .*)'", what)[0] for what, _ in found} == {
        *("x86_64 :: level :: v33", "x86_64 :: avx99 :: on"),
    }


def test_two_values_of_a_feature_that_has_one_are_told_with_the_cell(
    tmp_path: Path, cache: dict[str, str]
) -> None:
    change = (
        'v3 = ["x86_64 :: level :: v3"]',
        'v3 = ["x86_64 :: level :: v3", "x86_64 :: level :: v4"]',
    )
    _, said = checked(tmp_path, change, cache, code=3)
    assert "'x86_64 :: level' allows one value in a variant, not 2: v3, v4" in said
    assert "tool.polywheel.matrix.axes (v3_mkl)" in said


@pytest.mark.parametrize("value", ["v3", "v33"])
def test_a_preset_judges_where_it_stands_for_the_plugin(value: str, tmp_path: Path) -> None:
    text = (HEAD + PROVIDERS + MATRIX).replace(':: v3"]', f':: {value}"]')
    text += '[tool.polywheel.providers.x86_64]\nquery = "preset"\n'
    write_project(tmp_path, {"pyproject.toml": text})
    code = 0 if value == "v3" else 2
    environment = {"POLYWHEEL_CACHE_DIR": str(tmp_path / "cache")}
    _, said = matrix(tmp_path, "--check-providers", "--json", code=code, env=environment)
    assert not (tmp_path / "cache").exists()
    assert code == 0 or "at: pyproject.toml: tool.polywheel.matrix.axes.level.v3" in said


def test_a_plugin_that_no_index_has_is_exit_code_3(tmp_path: Path, cache: dict[str, str]) -> None:
    change = ('["provider-variant-x86-64"]', '["variant-that-no-index-has"]')
    _, said = checked(tmp_path, change, cache, code=3)
    assert "the provider plugins can't be installed" in said
    assert 'query = "preset"' in said


def test_providers_takes_another_file_too(tmp_path: Path) -> None:
    source = write_project(tmp_path / "source", {"pyproject.toml": HEAD})
    other = tmp_path / "wheels.toml"
    static = PROVIDERS.replace('["x86_64", "blas_lapack"]', '["blas_lapack"]')
    other.write_text(
        static[: static.index("[variant.providers.x86_64]")]
        + static[static.index("[variant.providers.blas_lapack") :],
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "polywheel", "providers", str(source), "--json"]
    for more, environment in (
        (["--config", str(other)], {}),
        ([], {"POLYWHEEL_CONFIG": str(other)}),
    ):
        done = subprocess.run(
            [*command, *more],
            env={**os.environ, **environment},
            check=True,
            capture_output=True,
            text=True,
        )
        assert [one["namespace"] for one in json.loads(done.stdout)["providers"]] == ["blas_lapack"]


def test_importing_polywheel_imports_nothing_of_it() -> None:
    """Every isolated build imports the package before its backend."""
    code = "import sys, polywheel; print([n for n in sys.modules if n.startswith('polywheel.')])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


FORGOTTEN = MATRIX.replace('[tool.polywheel.setup."blas_lapack :: library"]\n', "")


def test_variants_with_the_same_content_are_warned_of(tmp_path: Path) -> None:
    source = write_project(tmp_path / "source", {"pyproject.toml": HEAD + PROVIDERS + FORGOTTEN})
    out, said = matrix(source, "--json")
    assert "warning: the variants 'v3_mkl', 'v3_openblas' ask the same of the build" in said
    assert 'presets = ["blas_lapack"]' in said
    assert '[tool.polywheel.setup."blas_lapack :: library"] without fields' in said
    assert json.loads(out)["warnings"] == [said.removeprefix("polywheel: warning: ").strip()]
    for command in (
        ["build", "--dry-run"],
        ["ci", "github", "--action=owner/repository", "-o", "-"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "polywheel", *command, str(source)],
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert "ask the same of the build" in done.stderr, command


def test_variants_with_the_same_content_are_an_error_where_strict(tmp_path: Path) -> None:
    text = HEAD + PROVIDERS + "[tool.polywheel]\nstrict = true\n" + FORGOTTEN
    source = write_project(tmp_path / "source", {"pyproject.toml": text})
    _, said = matrix(source, "--json", code=2)
    assert "error: the variants 'v3_mkl', 'v3_openblas' ask the same of the build" in said
    assert "at: pyproject.toml: tool.polywheel.matrix.axes" in said
    (source / "pyproject.toml").write_text(text.replace(FORGOTTEN, MATRIX), encoding="utf-8")
    assert matrix(source, "--json")[1] == ""
