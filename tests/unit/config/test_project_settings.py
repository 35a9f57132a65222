"""``[tool.polywheel]``: the settings of a build."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polywheel.config.project import Settings, read_settings
from polywheel.config.reader import Problems, Table
from polywheel.errors import ConfigError, Problem


def read_table(polywheel: object) -> Settings:
    problems = Problems()
    root = Table({"tool": {"polywheel": polywheel}}, "pyproject.toml", (), problems)
    settings = read_settings(root.table("tool").table("polywheel"))
    problems.raise_all()
    return settings


def read(text: str) -> Settings:
    return read_table(tomllib.loads(text))


def problems_of(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return caught.value.problems


def test_nothing_need_be_said() -> None:
    assert read("") == Settings(build_backend=None, backend_path=None, metadata_fields=True)


def test_everything_that_is_read() -> None:
    assert read(
        'build-backend = "mesonpy"\nbackend-path = [".", "_build"]\nmetadata-fields = false'
    ) == Settings(build_backend="mesonpy", backend_path=(".", "_build"), metadata_fields=False)


@pytest.mark.parametrize(
    "backend", ["mesonpy", "hatchling.build", "setuptools.build_meta:__legacy__", "_own:a.b.c"]
)
def test_backends_as_build_system_names_them(backend: str) -> None:
    assert read(f'build-backend = "{backend}"').build_backend == backend


def test_tables_of_other_commands_are_left_alone() -> None:
    settings = read("matrix = 'whatever'\n[targets.linux-x86_64]\nrunner = 3")
    assert settings == Settings(has_matrix=True)


@pytest.mark.parametrize(
    ("text", "at", "what", "hint"),
    [
        ("build-backend = 7", "build-backend", "expected a string, found 7", ""),
        ("build-backend = ''", "build-backend", "malformed object reference ''", "'module'"),
        ("build-backend = 'a-b'", "build-backend", "malformed object reference 'a-b'", "'module'"),
        (
            "build-backend = 'a:b:c'",
            "build-backend",
            "malformed object reference",
            "'module:object'",
        ),
        ('build-backend = "a\\n"', "build-backend", "malformed object reference 'a\\n'", ""),
        (
            "build-backend = 'a'\nbackend-path = '.'",
            "backend-path",
            "expected a list of strings, found a string",
            "",
        ),
        (
            "build-backend = 'a'\nbackend-path = ['.', 1]",
            "backend-path[1]",
            "expected a string, found 1",
            "",
        ),
        (
            "backend-path = ['.']",
            "backend-path",
            "backend-path needs build-backend",
            "add build-backend",
        ),
        (
            "metadata-fields = 'no'",
            "metadata-fields",
            "expected true or false, found a string",
            "",
        ),
        ("metadata-fields = 0", "metadata-fields", "expected true or false, found 0", ""),
        (
            "metadata_fields = true",
            "metadata_fields",
            "unknown key 'metadata_fields'",
            "did you mean 'metadata-fields'?",
        ),
        ("matrx = {}", "matrx", "unknown key 'matrx'", "did you mean 'matrix'?"),
        ('"a b" = 1', '"a b"', "unknown key 'a b'", ""),
        ('"a\\nb" = 1', '"a\\nb"', "unknown key 'a\\nb'", ""),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, at: str, what: str, hint: str) -> None:
    (problem,) = problems_of(text)
    assert problem.at == f"pyproject.toml: tool.polywheel.{at}"
    assert what in problem.what
    assert hint in (problem.hint or "")
    assert problem.render().count("\n") <= 2


def test_a_value_that_is_no_table_is_said() -> None:
    with pytest.raises(ConfigError) as caught:
        read_table([])
    assert caught.value.render() == (
        "error: expected a table, found a list\n  at: pyproject.toml: tool.polywheel"
    )


def test_everything_wrong_is_said_at_once() -> None:
    assert len(problems_of("build-backend = 7\nmetadata-fields = 7\nfoo = 7")) == 3


KEYS = st.sampled_from(
    (
        *("build-backend", "backend-path", "metadata-fields", "matrix", "targets", "setup"),
        *("strict", "presets", "providers", "provider-timeout", "backend", "unknown", "a\nb"),
    )
)
ANY = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.datetimes()
    | st.text(max_size=5)
    | st.just("mesonpy"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(KEYS, ANY, max_size=4) | ANY)
@example({"metadata-fields": 10**5000})
def test_any_table_is_settings_or_a_config_error(polywheel: Any) -> None:
    try:
        settings = read_table(polywheel)
    except ConfigError as error:
        problems = error.problems
    else:
        problems = ()
        assert isinstance(settings, Settings)
    for problem in problems:
        assert str(problem.at).startswith("pyproject.toml: tool.polywheel")
        assert problem.render().count("\n") <= 2
