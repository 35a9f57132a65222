"""Variant features and properties: reading, writing, and errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polywheel.errors import ConfigError
from polywheel.model.variant import VariantFeature, VariantProperty

NAMES = st.text("abcz019_", min_size=1, max_size=8)
VALUES = st.text("abcz019_.", min_size=1, max_size=8)
BLANKS = st.text(" \t", max_size=3)


@pytest.mark.parametrize(
    "text",
    [
        "x86_64::level::v3",
        "x86_64 :: level :: v3",
        "  x86_64  ::level::\tv3 ",
    ],
)
def test_blanks_around_the_separator_are_optional(text: str) -> None:
    prop = VariantProperty.parse(text)
    assert prop == VariantProperty("x86_64", "level", "v3")
    assert str(prop) == "x86_64 :: level :: v3"


@pytest.mark.parametrize("value", ["12.8", ".", "_", "8.3a", "120_real", "0"])
def test_a_value_may_hold_dots(value: str) -> None:
    assert VariantProperty.parse(f"nvidia::cuda::{value}").value == value


@given(NAMES, NAMES, VALUES, st.lists(BLANKS, min_size=6, max_size=6))
def test_what_is_written_is_read_back(
    namespace: str, feature: str, value: str, blanks: list[str]
) -> None:
    prop = VariantProperty(namespace, feature, value)
    assert VariantProperty.parse(str(prop)) == prop
    a, b, c, d, e, f = blanks
    assert VariantProperty.parse(f"{a}{namespace}{b}::{c}{feature}{d}::{e}{value}{f}") == prop
    assert str(VariantFeature.parse(f"{namespace}{b}::{c}{feature}")) == f"{namespace} :: {feature}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "''"),
        ("x86_64", "'x86_64'"),
        ("x86_64 :: level", "'x86_64 :: level'"),
        ("a :: b :: c :: d", "'a :: b :: c :: d'"),
        ("a:b:c", "'a:b:c'"),
        ("X86_64 :: level :: v3", "the namespace 'X86_64'"),
        ("x86-64 :: level :: v3", "the namespace 'x86-64'"),
        ("x86.64 :: level :: v3", "the namespace 'x86.64'"),
        ("x86_64 :: le.vel :: v3", "the feature 'le.vel'"),
        ("x86_64 ::  :: v3", "the feature ''"),
        ("x86_64 :: level :: ", "the value ''"),
        ("x86_64 :: level :: V3", "the value 'V3'"),
        ("x86_64 :: level :: v 3", "the value 'v 3'"),
        ("x86_64 :: level :: v3+1", "the value 'v3+1'"),
        # `$` would let a last newline through, `\d` and `\w` the digits and letters of all scripts.
        ("x86_64 :: level :: v3\n", "the value 'v3\\n'"),
        ("x86_64 :: level\n :: v3", "the feature 'level\\n'"),
        ("x86_64 :: level :: v٣", "the value 'v٣'"),
        ("é :: level :: v3", "the namespace 'é'"),
        ("a ::: b :: c", "the feature ': b'"),
    ],
)
def test_a_malformed_property_is_refused(text: str, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        VariantProperty.parse(text, at="config setting variant")
    (problem,) = caught.value.problems
    assert problem.what.startswith("malformed variant property")
    assert found in problem.what
    assert problem.at == "config setting variant"
    assert problem.hint is not None
    assert "'namespace :: feature :: value'" in problem.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["x86_64", "x86_64 :: level :: v3", "x86_64 :: Level", ":: a"])
def test_a_malformed_feature_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="malformed variant feature") as caught:
        VariantFeature.parse(text)
    assert "'namespace :: feature'" in caught.value.render()


def test_properties_sort_by_namespace_then_feature_then_value() -> None:
    texts = ["b :: a :: a", "a :: b :: a", "a :: a :: b", "a :: a :: a", "a :: a :: 10"]
    ordered = sorted(VariantProperty.parse(text) for text in texts)
    assert [str(prop) for prop in ordered] == [
        "a :: a :: 10",
        "a :: a :: a",
        "a :: a :: b",
        "a :: b :: a",
        "b :: a :: a",
    ]
