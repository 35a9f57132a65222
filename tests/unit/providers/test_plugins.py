"""The plugins that a build asks, and answers of any content."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from polywheel.errors import ConfigError, PolywheelError, Problem, ProviderError
from polywheel.model.variant import Variant, VariantProperty
from polywheel.providers.client import answer_of as read_answer
from polywheel.providers.plugins import (
    BuildProvider,
    build_providers,
    plugin_requirements,
    queries,
    with_static_properties,
)
from support.plugins import (
    AUTUMN,
    HERBS,
    LEVEL,
    WINTER,
    project_with_plugins,
    query,
)
from support.setups import variant

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
LISTED = st.lists(st.lists(JSON | st.lists(st.text()), min_size=3, max_size=3))
KEYS: dict[Any, st.SearchStrategy[Any]] = {
    "namespace": JSON | st.text(),
    "generation": st.just("2026") | JSON,
    "version": st.none() | JSON,
    "all": st.none() | JSON | LISTED,
    "valid": st.just([True]) | JSON,
    "supported": st.none() | JSON | LISTED,
    "compatible": st.booleans() | JSON,
    "setup": st.dictionaries(st.text(), JSON | st.lists(st.text())) | JSON,
    "setup_each": st.just([]) | st.just([{}]) | JSON,
}


@given(st.fixed_dictionaries({}, optional=KEYS) | st.fixed_dictionaries(KEYS), st.booleans())
def test_whatever_the_file_holds_it_is_an_answer_or_an_error(
    said: dict[str, Any], named: bool
) -> None:
    asked = query("a.plugin", LEVEL)
    try:
        answer = read_answer(asked if named else replace(asked, namespace=None), said)
    except ProviderError as error:
        (problem,) = error.problems
    else:
        texts = [text for name, values in answer.setup.items() for text in (name, *values)]
        problem = Problem(f"no problem for 'a.plugin': {''.join(texts)}")
        assert answer.namespace == "odd" or not named
    assert "'a.plugin'" in problem.what
    assert problem.what.isprintable()


def override(namespace: str, *lines: str) -> str:
    return "\n".join([f"[tool.polywheel.providers.{namespace}]", *lines, ""])


def used(folder: Path, settings: str, *properties: str) -> tuple[BuildProvider, ...]:
    return build_providers(project_with_plugins(folder, settings), variant(*properties))


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ([], [HERBS]),
        (["winter::level::v1"], [WINTER, HERBS]),
        (["winter::level::v1", "winter::arch::80", "autumn::level::v1"], [WINTER, AUTUMN, HERBS]),
        (["herbs::leaf::mint"], [HERBS]),
        (["abi_dependency::torch::2.9"], [HERBS]),
    ],
)
def test_namespaces_in_use_are_asked_and_those_that_fill_static_properties(
    properties: list[str], expected: list[BuildProvider], tmp_path: Path
) -> None:
    assert list(used(tmp_path, "", *properties)) == expected


def test_static_properties_have_nobody_to_ask(tmp_path: Path) -> None:
    found = used(tmp_path, "", "rest::day::sunday")[-1]
    assert (found.namespace, found.query, found.requires) == ("rest", "never", ())
    assert plugin_requirements([found]) == []
    assert queries([found], variant("rest::day::sunday")) == []


AT_OVERRIDE = "pyproject.toml: tool.polywheel.providers.winter"
LEFT = replace(WINTER, at=AT_OVERRIDE)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # another plugin: what was said of the declared one says nothing of it
        (
            ['requires = ["snow>=2", "ice"]'],
            replace(LEFT, reference="snow", requires=("snow>=2", "ice")),
        ),
        (
            ['requires = ["snow"]', 'plugin-api = "snow.plugin:Flake"'],
            replace(LEFT, reference="snow.plugin:Flake", requires=("snow",)),
        ),
        (['plugin-api = "winter:Cold"'], replace(LEFT, reference="winter:Cold")),
        (['query = "plugin"'], LEFT),
        (['query = "preset"'], replace(LEFT, query="preset", reference="", requires=())),
        (['query = "never"'], replace(LEFT, query="never", reference="", requires=())),
        ([], LEFT),
    ],
)
def test_the_project_says_who_is_asked_while_building(
    lines: list[str], expected: BuildProvider, tmp_path: Path
) -> None:
    assert used(tmp_path, override("winter", *lines), "winter::level::v1")[0] == expected


def test_another_version_of_the_same_plugin_is_the_same_object(tmp_path: Path) -> None:
    settings = override("autumn", 'requires = ["Provider_of.Autumn == 7"]')
    found = used(tmp_path, settings, "autumn::level::v1")[0]
    assert found.requires == ("Provider_of.Autumn == 7",)
    assert found.reference == "autumn.plugin:Plugin"


def test_the_default_plugin_api_is_of_the_first_requirement_that_holds_here(tmp_path: Path) -> None:
    """The one before it is not installed here: its module could not be imported."""
    first, second = "snow; sys_platform == 'nowhere'", "ice-and.more; sys_platform != 'nowhere'"
    found = used(
        tmp_path, override("winter", f'requires = ["{first}", "{second}"]'), "winter::level::v1"
    )[0]
    assert (found.reference, found.requires) == ("ice_and_more", (second,))


def test_a_plugin_may_stand_in_for_static_properties(tmp_path: Path) -> None:
    settings = override("rest", 'requires = ["holiday"]')
    found = used(tmp_path, settings, "rest::day::sunday")[-1]
    assert (found.query, found.reference, found.fills_static) == ("plugin", "holiday", False)


@pytest.mark.parametrize(
    ("settings", "error", "message", "at", "hint"),
    [
        (
            override("rest", 'query = "plugin"'),
            ConfigError,
            "the namespace 'rest' has no plugin: query = \"plugin\" is set, but there is no requires",
            "tool.polywheel.providers.rest",
            'add requires with the package of the plugin, or remove query = "plugin"',
        ),
        (
            override("rest", 'plugin-api = "a:b"'),
            ConfigError,
            "the namespace 'rest' has no plugin: plugin-api is set, but there is no requires",
            "tool.polywheel.providers.rest",
            "add requires with the package of the plugin, or remove plugin-api",
        ),
        (
            override("rest", "requires = [\"a; python_version < '3'\"]"),
            ProviderError,
            "no requirement of the provider of 'rest' applies to this environment: a; python",
            "tool.polywheel.providers.rest",
            '[tool.polywheel.providers.rest] query = "preset" or "never" builds without the plugin',
        ),
        (
            override("rest", "requires = [\"a; os_name ~= 'abc'\"]"),
            ConfigError,
            "a marker of the provider of 'rest' can't be evaluated: ",
            "tool.polywheel.providers.rest",
            None,
        ),
        (
            override("rest", "requires = [\"a; 'x' in extras\"]"),
            ConfigError,
            "a marker of the provider of 'rest' can't be evaluated: ",
            "tool.polywheel.providers.rest",
            None,
        ),
        (
            override("wintre", 'query = "never"'),
            ConfigError,
            "the namespace 'wintre' has no provider",
            "tool.polywheel.providers.wintre",
            "did you mean 'winter'?",
        ),
    ],
)
def test_a_provider_that_can_not_be_asked_is_an_error(  # noqa: PLR0917 - a row of the table
    settings: str,
    error: type[PolywheelError],
    message: str,
    at: str,
    hint: str | None,
    tmp_path: Path,
) -> None:
    with pytest.raises(error) as caught:
        used(tmp_path, settings, "rest::day::sunday")
    (problem,) = caught.value.problems
    assert problem.what.startswith(message)
    assert problem.at == f"pyproject.toml: {at}"
    assert problem.hint == hint


def test_requirements_are_returned_once_and_without_markers() -> None:
    found = [
        WINTER,
        AUTUMN,
        replace(
            HERBS, requires=("Provider.Of_Winter >= 1", "x[a] @ https://e.org/x ; os_name > ''")
        ),
        replace(WINTER, query="never"),
    ]
    assert plugin_requirements(found) == [
        "Provider.Of_Winter>=1",
        "provider-of-autumn",
        str(Requirement("x[a]@https://e.org/x")),
    ]


def test_a_plugin_is_asked_about_its_own_properties() -> None:
    asked = queries(
        [WINTER, HERBS, replace(AUTUMN, query="preset")],
        variant("winter::level::v1", "winter::arch::80", "autumn::level::v1"),
    )
    own = variant("winter::level::v1", "winter::arch::80").properties
    assert [(one.namespace, one.properties, one.setup, one.supported) for one in asked] == [
        ("winter", own, own, False),
        ("herbs", (), (), True),
    ]
    assert [one.reference for one in asked] == ["provider_of_winter", "provider_of_herbs"]


def test_queries_for_many_properties_take_little_time() -> None:
    """``polywheel matrix --check-providers`` asks about all properties of a matrix at once."""
    properties = tuple(VariantProperty("winter", "level", f"v{n}") for n in range(60_000))
    start = time.process_time()
    (asked,) = queries([WINTER], Variant(properties, "all"))
    assert time.process_time() - start < 10
    assert asked.properties == properties


def test_static_properties_can_not_come_from_nobody(tmp_path: Path) -> None:
    providers = used(tmp_path, override("herbs", 'query = "never"'))
    with pytest.raises(ProviderError, match="come from its plugin, which is not asked"):
        with_static_properties(project_with_plugins(tmp_path).metadata, providers, {})
