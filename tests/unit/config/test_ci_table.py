"""``[tool.polywheel.ci]``: defaults, and settings that contradict each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from polywheel.config.ci_table import read_ci, read_github, read_gitlab
from polywheel.config.project import read_project
from polywheel.errors import ConfigError
from polywheel.model.ci import CiSettings, GitHubSettings
from support.projects import ROOT


def read(folder: Path, text: str) -> CiSettings:
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return read_ci(read_project(folder, variants=True))


def test_a_project_without_the_table_has_the_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, "").gitlab == CiSettings().gitlab
    settings = read(tmp_path, "[tool.polywheel.ci.gitlab]\nsdist = true\n").gitlab
    assert settings.sdist
    assert settings.cache


@pytest.mark.parametrize(
    ("text", "at", "what"),
    [
        ("[tool.polywheel.ci.gitlb]", "ci.gitlb", "unknown key 'gitlb'"),
        ("[tool.polywheel.ci.gitlab]\nsdit = true", "gitlab.sdit", "unknown key 'sdit'"),
        (
            "[tool.polywheel.ci.gitlab]\npassword-variable = 'TOKEN'",
            "gitlab.password-variable",
            "password-variable needs repository-url",
        ),
        (
            "[tool.polywheel.ci.gitlab]\nrepository-url = 'https://a.example'",
            "gitlab.repository-url",
            "repository-url needs password-variable",
        ),
        ("[tool.polywheel.ci.gitlab]\nextends = '.x'", "gitlab.extends", "extends needs include"),
        ("[tool.polywheel.ci.gitlab]\nusername = 'x'", "gitlab.username", "needs repository-url"),
        (
            "[tool.polywheel.ci.gitlab]\ncache = false\ncache-size = '1G'",
            "gitlab.cache-size",
            "no effect",
        ),
        (
            "[tool.polywheel.ci.gitlab]\ninclude = ['x']\nextends = 'wheels'",
            "gitlab.extends",
            "'wheels' is not the name of a hidden job",
        ),
        ('[tool.polywheel.ci.gitlab]\ntags = ["a\\nb"]', "gitlab.tags[0]", "without line breaks"),
        ("[tool.polywheel.ci.gitlab]\nrules = [' ']", "gitlab.rules[0]", "found an empty one"),
        (
            f"[tool.polywheel.ci.gitlab]\nenvironment = '{'x' * 256}'",
            "gitlab.environment",
            "expected at most 255 characters, found 256",
        ),
        ("[tool.polywheel.ci.gitlab]\nsdist-check = true", "gitlab.sdist-check", "without sdist"),
        *(
            (f"[tool.polywheel.ci.gitlab]\n{setting}", f"gitlab.{key}", what)
            for setting, key, what in (
                (
                    "requirement = 'numpy'",
                    "requirement",
                    "'numpy' is not a requirement of polywheel",
                ),
                ("requirement = 'polywheel[cli]=>1'", "requirement", "malformed requirement"),
                ("expire-in = '1 wek'", "expire-in", "malformed duration '1 wek'"),
                ("expire-in = 'week'", "expire-in", "malformed duration 'week'"),
                ("cache-size = '1'", "cache-size", "expected a size of at least 1M, found '1'"),
                (
                    "include = ['x']\nextends = '.polywheel'",
                    "extends",
                    "'.polywheel' is a name of the generated file",
                ),
            )
        ),
        ("[tool.polywheel.ci.gitlab]\nmax-jobs = 0", "gitlab.max-jobs", "from 1 to 10000"),
        ("[tool.polywheel.ci.gitlab]\nimage = ''", "gitlab.image", "found an empty one"),
        ("[tool.polywheel.ci.gitlab]\nimage = 'a b'", "gitlab.image", "malformed image 'a b'"),
        (
            "[tool.polywheel.ci.gitlab]\npassword-variable = '$TOKEN'\nrepository-url = 'https://x'",
            "gitlab.password-variable",
            "'$TOKEN' is not the name of a variable",
        ),
    ],
)
def test_what_gitlab_could_not_use_is_an_error(
    text: str, at: str, what: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    (problem,) = caught.value.problems
    assert what in problem.what
    assert problem.at == f"pyproject.toml: tool.polywheel.ci.{at.removeprefix('ci.')}"


def test_the_examples_of_the_docs_are_valid(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert any("[tool.polywheel.ci.gitlab]" in example for example in examples)
    for example in examples:
        read(tmp_path, example)


def github(folder: Path, text: str, **options: object) -> GitHubSettings:
    content = f"[tool.polywheel.ci.github]\n{text}"
    (folder / "pyproject.toml").write_text(content, encoding="utf-8")
    given = {name.replace("_", "-"): value for name, value in options.items()}
    return read_github(read_project(folder, variants=True), given)


def test_options_replace_settings_for_github(tmp_path: Path) -> None:
    settings = github(tmp_path, 'runner = "a"\npython = "3.12"', runner="b", tags=["x*"])
    assert (settings.runner, settings.python, settings.tags) == ("b", "3.12", ("x*",))
    assert settings.branches == ("main", "master")
    # One of them may be what the other needs.
    settings = github(tmp_path, 'environment = "release"', publish=True)
    assert settings.publish


def test_options_replace_settings_for_gitlab(tmp_path: Path) -> None:
    condition = "$CI_COMMIT_TAG || " * 20
    text = f"[tool.polywheel.ci.gitlab]\nmax-jobs = 5\npr-subset = true\nrules = ['{condition}']"
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    project = read_project(tmp_path, variants=True)
    settings = read_gitlab(project, {"max-jobs": 9, "image": "a:1"})
    assert (settings.max_jobs, settings.image, settings.pr_subset) == (9, "a:1", True)
    assert settings.rules == (condition,), "longer than a name"
    with pytest.raises(ConfigError, match="found an empty one") as caught:
        read_gitlab(project, {"image": ""})
    assert [problem.at for problem in caught.value.problems] == ["--image"]


@pytest.mark.parametrize(
    ("text", "at", "what"),
    [
        ("environment = 'x'", "github.environment", "no effect without publish"),
        ("publish = true\nusername = 'x'", "github.username", "without password-secret"),
        ("cache = false\ncache-size = '1G'", "github.cache-size", "no effect without cache"),
        (
            "cache = false\ncompiler-cache-size = '1G'",
            "github.compiler-cache-size",
            "no effect without cache",
        ),
        ("sdist-check = false", "github.sdist-check", "no effect without sdist"),
        ("reusable = true\npaths = ['a']", "github.paths", "no effect on a reusable workflow"),
        ("reusable = true\npublish = true", "github.publish", "trusted publishing"),
        ("timeout-minutes = 10", "github.timeout-minutes", "from 20 to 7200"),
        ("timeout-minutes = 30.5", "github.timeout-minutes", "whole number"),
        ("timeout = 300", "github.timeout", "unknown key"),
        ("schedule = ['daily']", "github.schedule", "malformed time 'daily'"),
        ("schedule = ['0 3 * * 1\\n']", "github.schedule", "malformed day of the week"),
        ("setup-action = 'actions/x@v1'", "github.setup-action", "is not the folder of an action"),
        ("setup-action = './a/../../b'", "github.setup-action", "is not the folder of an action"),
        ("artifact-prefix = 'a/b'", "github.artifact-prefix", "malformed prefix 'a/b'"),
        ("branches = ['${{ x }}']", "github.branches", "malformed pattern"),
        ("password-secret = 'a b'", "github.password-secret", "not the name of a secret"),
        ("cache-size = '900k'", "github.cache-size", "at least 1M"),
        (
            "schedule = ['0 3 * * 8']",
            "github.schedule[0]",
            "malformed day of the week '8' in the time",
        ),
        ("schedule = ['61 3 * * 1']", "github.schedule[0]", "malformed minute '61' in the time"),
        ("schedule = ['0 5-3 * * 1']", "github.schedule[0]", "malformed hour '5-3' in the time"),
        ("schedule = ['0 3 0 * 1']", "github.schedule[0]", "malformed day of the month '0' in"),
        ("schedule = ['0 3 1 FOO 1']", "github.schedule[0]", "malformed month 'FOO' in the time"),
        (
            "schedule = ['0 3 * * MON-']",
            "github.schedule[0]",
            "malformed day of the week 'MON-' in",
        ),
        ("schedule = ['0 3 * *']", "github.schedule[0]", "malformed time '0 3 * *'"),
        ("runner = ''", "github.runner", "found an empty one"),
        ("cache-sice = '1G'", "github.cache-sice", "unknown key"),
    ],
)
def test_settings_that_github_does_not_accept(
    text: str, at: str, what: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        github(tmp_path, text)
    problem = caught.value.problems[0]
    assert at in (problem.at or "")
    assert what in problem.what


def test_an_option_without_effect_is_named_as_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        github(tmp_path, "", environment="x", tags=["a b"])
    assert [problem.at for problem in caught.value.problems] == ["--tag"]
    with pytest.raises(ConfigError) as caught:
        github(tmp_path, "", environment="x")
    assert [problem.at for problem in caught.value.problems] == ["--environment"]


@pytest.mark.parametrize(
    "line",
    [
        *(
            f'[tool.polywheel.ci.github]\nschedule = ["{time}"]'
            for time in ("*/15 0-6,12 1 JAN,mar MON-FRI", "0 3 * * 0", "59 23 31 12 6/2")
        ),
        *(
            f'[tool.polywheel.ci.gitlab]\nexpire-in = "{duration}"'
            for duration in (
                "42",
                "3 mins 4 sec",
                "2h20min",
                "47 yrs 6 mos and 4d",
                "never",
                "1.5 days",
            )
        ),
        '[tool.polywheel.ci.gitlab]\nrequirement = "PolyWheel[cli] @ https://a.example/p.whl"',
        '[tool.polywheel.ci.gitlab]\ncache-size = "1M"',
        '[tool.polywheel.ci.gitlab]\nimage = "${CI_REGISTRY_IMAGE}/tools:$TAG"',
    ],
)
def test_values_that_ci_systems_accept(line: str, tmp_path: Path) -> None:
    assert read(tmp_path, f"{line}\n") != CiSettings()
