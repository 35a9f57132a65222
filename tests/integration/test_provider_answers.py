"""Checks of the answers of plugins."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from polywheel.errors import ProviderError
from polywheel.formats.variant_json import variant_json
from polywheel.model.variant import VariantFeature, VariantMetadata
from polywheel.providers.plugins import (
    check_answer,
    with_static_properties,
)
from support.plugins import (
    HERBS,
    LEVEL,
    WINTER,
    answer_of,
    does,
    problem_of,
    project_with_plugins,
    shown,
    watched,
)
from support.setups import variant


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield from watched(monkeypatch)


CONFIGS = {
    "none": "returned None, not a list of feature configs",
    "an int": "returned 5, not a list",
    "a string": "returned 'level', not a list",
    "bytes": "returned b'level', not a list",
    "a set": r"returned \{.*\}, not a list",
    "dicts": r"returned \{'name': 'level', .*\}, which has no name",
    "strings": "returned 'level', which has no name",
    "nested": r"returned \[Config\(.*\], which has no name",
    "a silent one": "returned an object of Silent, which has no name",
    "a class": "'type' object is not iterable|not a list",
    "endless configs": "returned too many values",
    "endless empty configs": "returned too many values",
    "raises later": "ZeroDivisionError",
    "exits later": "SystemExit|NameError",
    "a feature twice": "the feature 'level' twice",
    "a value twice": "a value of 'level' twice",
    "no values": "no values of the feature 'level'",
    "values none": "returned None for 'level', not strings",
    "values int": "returned 5 for 'level', not strings",
    "values bytes": "returned b'v1' for 'level', not strings",
    "values dict": r"returned \{'v1': 1\} for 'level', not strings",
    "values set": r"returned \{.*\} for 'level', not strings",
    "values of ints": "returned 1 as a value of 'level', not a string",
    "values of bytes": "returned b'v1' as a value of 'level', not a string",
    "values nested": r"returned \['v1'\] as a value of 'level', not a string",
    "values endless": "returned too many values",
    "values ten million": "returned too many values",
    "values long": "a string of 100000000 characters as a value of 'level'",
    "values many and long": "returned too many values",
    "values lazy": "LookupError: not at home",
    "values pretending": "TypeError",
    "value escape": r"the malformed value 'v\\x1b\[31m1' of 'level'",
    "value surrogate": r"the malformed value '\\ud800' of 'level'",
    "value newline": r"the malformed value 'v1\\n' of 'level'",
    "value capital": "the malformed value 'V1' of 'level'",
    "value empty": "the malformed value '' of 'level'",
    "name none": "returned None as the name of a feature, not a string",
    "name escape": r"the malformed feature name 'le\\x1bvel'",
    "name not ascii": r"the malformed feature name 'l\\xe9vel'",
    "name surrogate": r"the malformed feature name '\\udcff'",
    "name empty": "the malformed feature name ''",
    "name with dot": "the malformed feature name 'a.b'",
    "name of a long word": "a string of 5000 characters as the name of a feature",
    "multi_value text": "multi_value of 'level' is 'no', not true or false",
}
FLAGS = {
    "none": "get_build_setup returned None, not a dict",
    "an int": "get_build_setup returned 5, not a dict",
    "a string": "get_build_setup returned 'level', not a dict",
    "no configs": r"get_build_setup returned \[\], not a dict",
    "key int": "returned 5 as a key, not a string",
    "key escape": r"characters that can't be printed from get_build_setup: 'cfl\\x1bags'",
    "flags none": "returned None for 'cflags', not strings",
    "flags of ints": "returned 1 as a value of 'cflags', not a string",
    "flags nested": r"returned \['-O2'\] as a value of 'cflags', not a string",
    "flags with nul": r"characters that can't be printed from get_build_setup: '-O2\\x00'",
    "flags with newline": r"that can't be printed from get_build_setup: '-O2\\n-O3'",
    "flags surrogate": r"that can't be printed from get_build_setup: '\\ud800'",
    "flags escape": r"that can't be printed from get_build_setup: '\\x1b\]0;title\\x07'",
    "flags endless": "returned too many values",
    "keys endless": "returned too many values",
}
JUDGEMENTS = {
    "none": "validate_property returned None, not true or false",
    "yes": "validate_property returned 'yes', not true or false",
    "one": "validate_property returned 1, not true or false",
    "a silent one": "returned .*an object of list.*, not true or false",
}
NAMESPACES = {
    "another": "it has the namespace 'even', not 'odd'",
    "an int": "its namespace is 5, not a string",
    "bytes": "its namespace is b'level', not a string",
    "a silent one": "its namespace is an object of list, not a string",
    "value escape": "its namespace is .*, not a string",
}
RETURNED = [
    *(("get_all_configs", *case) for case in CONFIGS.items()),
    *(("get_supported_configs", *case) for case in CONFIGS.items()),
    *(("get_build_setup", *case) for case in FLAGS.items()),
    *(("validate_property", *case) for case in JUDGEMENTS.items()),
    *(("namespace", *case) for case in NAMESPACES.items()),
]


@pytest.mark.parametrize(("call", "what", "message"), RETURNED)
def test_a_wrong_answer_is_one_error(
    call: str, what: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYWHEEL_TEST_RETURNS", f"{call}: {what}")
    asked = ["odd :: extra :: on"] if call == "validate_property" else [LEVEL]
    problem = problem_of("hostile.returns:Plugin", *asked)
    assert re.search(message, problem.what)
    assert call in problem.what


@pytest.mark.parametrize(
    "what", ["words", "an enumeration", "tuples and generators", "a single string"]
)
def test_what_is_as_good_as_strings_is_taken(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYWHEEL_TEST_RETURNS", f"get_all_configs: {what}")
    answer = answer_of("hostile.returns:Plugin", LEVEL)
    values = ("v2",) if what == "a single string" else ("v1", "v2", "v3")
    assert shown(answer.all_configs) == {"level": values}
    assert set(answer.valid.values()) == {True}


def test_no_configs_are_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYWHEEL_TEST_RETURNS", "get_all_configs: no configs")
    answer = answer_of("hostile.returns:Plugin", LEVEL)
    assert answer.all_configs == ()
    assert set(answer.valid.values()) == {False}


@pytest.mark.parametrize(
    ("what", "flags"),
    [
        ("flags string", {"cflags": ("-O2",)}),
        ("flags with blanks", {"cflags": ("-I", "a folder é"), "other": ("x",)}),
    ],
)
def test_flags_come_as_they_are(
    what: str, flags: dict[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYWHEEL_TEST_RETURNS", f"get_build_setup: {what}")
    assert answer_of("hostile.returns:Plugin", LEVEL).setup == flags


def test_each_question_is_put_once() -> None:
    """A plugin that says something else each time is judged by one list."""
    answer = answer_of("hostile.world:Changing", LEVEL)
    assert answer.all_configs is not None
    assert len(answer.all_configs[0].values) == 2
    assert set(answer.valid.values()) == {True}


def test_a_hint_that_can_not_be_had_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYWHEEL_TEST_RETURNS", "get_supported_configs: exits later")
    monkeypatch.setattr("sys.argv", ["x"])
    answer = answer_of("hostile.judges:Plugin", LEVEL)
    assert answer.supported is None
    assert set(answer.valid.values()) == {False}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not JSON",
        "[" * 100_000,
        "5",
        '{"answers": 5}',
        '{"answers": []}',
        '{"answers": [5]}',
        '{"answers": [{}, {}]}',
        '{"answers": [{}]}',
        '{"answers": [{"error": ["\\u001b"], "call": 5, "missing": 1}]}',
        '{"answers": [{"error": "\\ud800", "call": "\\u001b[1m"}]}',
    ],
)
def test_a_forged_answer_is_not_believed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    does("forges an answer", monkeypatch)
    monkeypatch.setenv("POLYWHEEL_TEST_ANSWER", text)
    problem_of("hostile.does:Plugin")


@pytest.mark.parametrize(
    ("reference", "properties", "multi_value"),
    [
        ("api_2026", ["autumn::level::v1", "autumn::arch::80", "autumn::arch::90"], []),
        ("api_pep_817", ["winter::arch::90"], []),
        # those of 2025 do not say which features take several values: somebody else has to
        ("api_2025_06", ["summer::level::v1", "summer::level::v2"], ["level"]),
        ("api_2025_04", ["spring::level::v1", "spring::level::v2"], ["level"]),
    ],
)
def test_properties_that_a_plugin_knows_are_good(
    reference: str, properties: list[str], multi_value: list[str]
) -> None:
    check_answer(answer_of(reference, *properties), at="here", multi_value=multi_value)


@pytest.mark.parametrize(
    ("reference", "namespace"),
    [
        ("api_2026", "autumn"),
        ("api_pep_817", "winter"),
        ("api_2025_06", "summer"),
        ("api_2025_04", "spring"),
    ],
)
def test_several_values_of_a_feature_that_has_one_are_an_error(
    reference: str, namespace: str
) -> None:
    answer = answer_of(reference, f"{namespace}::level::v2", f"{namespace}::level::v1")
    # What a plugin says of it outweighs what others do.
    others = ["level"] if answer.generation in {"2026", "PEP 817"} else ["arch"]
    with pytest.raises(ProviderError, match="allows one value in a variant, not 2: v2, v1"):
        check_answer(answer, at="here", multi_value=others)


@pytest.mark.parametrize(
    ("reference", "properties", "expected"),
    [
        (
            "api_2026",
            ["autumn::level::v1", "autumn::level::v2"],
            [("'autumn :: level' allows one value in a variant, not 2: v1, v2", None)],
        ),
        (
            "api_2026",
            ["autumn::level::v9", "autumn::arhc::80"],
            [
                ("the value of 'autumn :: level :: v9'", "known: v1, v2, v3"),
                ("the feature of 'autumn :: arhc :: 80'", "did you mean 'arch'?"),
            ],
        ),
        (
            "api_2025_06",
            ["summer::level::v9"],
            [("the feature or value of 'summer :: level :: v9'", "this machine supports: v2, v1")],
        ),
        (
            "api_2025_06",
            ["summer::levle::v1"],
            [("the feature or value of 'summer :: levle :: v1'", "did you mean 'level'?")],
        ),
        (
            "provider_variant_x86_64.plugin:X8664Plugin",
            ["x86_64::level::v99"],
            [("the feature or value of 'x86_64 :: level :: v99'", "this machine supports")],
        ),
        # … which supports what it does not call valid
        (
            "hostile.judges:Plugin",
            [LEVEL],
            [("the feature or value of", "this machine supports: v1")],
        ),
    ],
)
def test_what_a_plugin_does_not_know_shows_the_nearest(
    reference: str, properties: list[str], expected: list[tuple[str, str | None]]
) -> None:
    answer = answer_of(reference, *properties)
    with pytest.raises(ProviderError) as caught:
        check_answer(answer, at="here")
    for problem, (what, hint) in zip(caught.value.problems, expected, strict=True):
        assert what in problem.what
        assert problem.at == "here"
        assert problem.hint == hint or (hint and problem.hint and problem.hint.startswith(hint))


def filled(reference: str, folder: Path) -> VariantMetadata:
    """The metadata of the project after the plugin of ``herbs`` was asked."""
    answer = answer_of(reference, namespace="herbs", supported=True)
    metadata = project_with_plugins(folder).metadata
    return with_static_properties(metadata, [WINTER, HERBS], {"herbs": answer})


def test_build_requires_fill_static_properties_in_the_order_of_the_plugin(tmp_path: Path) -> None:
    metadata = filled("api_2026:Plugin", tmp_path)
    document = json.loads(variant_json(variant(), metadata))
    assert document["providers"]["herbs"] == {
        "static-properties": {"arch": ["90"], "level": ["v2", "v1"]},
        "feature-order": ["arch", "level"],
    }
    assert document["providers"]["winter"]["requires"] == [
        "Provider.Of_Winter >= 1",
        "winter-data; python_version < '3'",
    ]
    assert (
        project_with_plugins(tmp_path).metadata.providers["herbs"].build_requires
    )  # the source is as it was


def test_the_order_that_the_project_gives_to_features_comes_first(tmp_path: Path) -> None:
    first = project_with_plugins(tmp_path).metadata
    priorities = (VariantFeature("winter", "arch"), VariantFeature("herbs", "level"))
    answer = answer_of("api_2026:Plugin", namespace="herbs", supported=True)
    metadata = with_static_properties(
        replace(first, feature_priorities=priorities), [HERBS], {"herbs": answer}
    )
    assert metadata.providers["herbs"].feature_order == ("level", "arch")


def test_one_feature_needs_no_order(tmp_path: Path) -> None:
    answer = answer_of("api_2026:Plugin", namespace="herbs", supported=True)
    one = replace(answer, supported=answer.supported and answer.supported[:1])
    metadata = with_static_properties(
        project_with_plugins(tmp_path).metadata, [HERBS], {"herbs": one}
    )
    document = json.loads(variant_json(variant(), metadata))
    assert document["providers"]["herbs"] == {"static-properties": {"arch": ["90"]}}


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("api_2026:Derived", "does not declare that all its properties are compatible"),
        (
            "provider_variant_aarch64.plugin:AArch64Plugin",
            "come from its plugin, which returned none",
        ),
    ],
)
def test_a_plugin_that_can_not_fill_static_properties_is_an_error(
    reference: str, message: str, tmp_path: Path
) -> None:
    answer = replace(answer_of(reference, supported=True), namespace="herbs")
    if answer.supported and "aarch64" in reference:
        pytest.skip("on such a machine the plugin has an answer")
    with pytest.raises(ProviderError, match=message) as caught:
        with_static_properties(project_with_plugins(tmp_path).metadata, [HERBS], {"herbs": answer})
    assert caught.value.problems[0].at == "pyproject.toml: variant.providers.herbs"
