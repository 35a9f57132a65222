"""``[tool.polywheel.ci]``: defaults, and settings that contradict each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from polywheel.config.ci_table import read_ci
from polywheel.config.project import read_project
from polywheel.errors import ConfigError
from polywheel.model.ci import CiSettings
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
        ('[tool.polywheel.ci.gitlab]\ntags = ["a\\nb"]', "gitlab.tags", "without line breaks"),
        ("[tool.polywheel.ci.gitlab]\nimage = ''", "gitlab.image", "without line breaks"),
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
