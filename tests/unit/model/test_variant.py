"""Variants: hash, label, and properties that agree with them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from variantlib.models.variant import VariantDescription
from variantlib.models.variant import VariantProperty as TheirProperty

from polywheel.errors import ConfigError
from polywheel.model.variant import Variant, VariantProperty, check_label, variant_hash

KNOWN = json.loads((Path(__file__).parents[1] / "data/known_labels.json").read_text())

# Few names, so that features and namespaces repeat; `_` and `.` sort apart from letters.
NAMES = st.text("az0_", min_size=1, max_size=3)
PROPERTIES = st.builds(VariantProperty, NAMES, NAMES, st.text("az0_.", min_size=1, max_size=3))
LABELS = st.from_regex(r"[0-9a-z_.]+", fullmatch=True).filter(lambda label: label != "null")


def parsed(*texts: str) -> list[VariantProperty]:
    return [VariantProperty.parse(text) for text in texts]


@pytest.mark.parametrize("answer", KNOWN["answers"], ids=lambda answer: answer["hash"])
def test_the_hash_is_the_known_answer(answer: dict[str, Any]) -> None:
    variant = Variant.of(parsed(*answer["properties"]))
    assert variant.hash == answer["hash"]
    assert variant.label == answer["hash"]


@given(st.sets(PROPERTIES, min_size=1, max_size=8))
def test_the_hash_is_the_reference_librarys(properties: set[VariantProperty]) -> None:
    theirs = VariantDescription(
        [TheirProperty(one.namespace, one.feature, one.value) for one in properties]
    )
    ours = Variant.of(properties)
    assert ours.hash == theirs.hexdigest
    assert ours.label == theirs.label
    assert [str(one) for one in ours.properties] == [one.to_str() for one in theirs.properties]
    assert ours.by_namespace() == theirs.to_dict()


@given(st.lists(PROPERTIES, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_order_and_repeats_do_not_matter(
    properties: list[VariantProperty], chance: random.Random
) -> None:
    shuffled = properties * 2
    chance.shuffle(shuffled)
    assert Variant.of(shuffled) == Variant.of(properties)
    assert variant_hash(shuffled) == variant_hash(properties)


def test_adjacent_properties_are_kept_apart_in_the_hash() -> None:
    one = variant_hash(parsed("a :: b :: cx", "d :: e :: f"))
    assert one != variant_hash(parsed("a :: b :: c", "xd :: e :: f"))


def test_no_properties_are_the_null_variant() -> None:
    null = Variant.of(())
    assert null.label == "null"
    assert null.is_null
    assert null == Variant.of((), "null")
    assert null.by_namespace() == {}
    assert null.namespaces == frozenset()


@given(st.sets(PROPERTIES, min_size=1), LABELS)
def test_a_label_of_ones_own_leaves_the_hash_as_it_is(
    properties: set[VariantProperty], label: str
) -> None:
    variant = Variant.of(properties, label)
    assert variant.label == label
    assert variant.hash == variant_hash(properties)
    assert not variant.is_null


def test_values_of_one_feature_are_sorted_together() -> None:
    variant = Variant.of(
        parsed("n :: sm :: 90", "n :: sm :: 100", "a :: b :: c", "n :: cuda :: 12")
    )
    assert variant.by_namespace() == {
        "a": {"b": ["c"]},
        "n": {"cuda": ["12"], "sm": ["100", "90"]},
    }
    assert variant.namespaces == {"a", "n"}


@pytest.mark.parametrize("label", ["cu12.8", "_", ".", "0", "x" * 200, "nulls"])
def test_labels_of_any_length_with_dots_are_good(label: str) -> None:
    check_label(label)


@pytest.mark.parametrize("label", ["", "V3", "a-b", "a b", "a/b", "a+b", "v3\n", "é", "٣"])
def test_a_malformed_label_is_refused(label: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Variant.of(parsed("a :: b :: c"), label, at="here")
    (problem,) = caught.value.problems
    assert problem.what == f"malformed variant label {label!r}"
    assert problem.at == "here"
    assert problem.hint is not None
    assert "a-z, 0-9, _ and ." in problem.hint


def test_null_is_reserved_for_no_properties() -> None:
    with pytest.raises(ConfigError, match="reserved for the variant without properties"):
        Variant.of(parsed("a :: b :: c"), "null", at="here")
    with pytest.raises(ConfigError, match="'fast' has no properties"):
        Variant.of((), "fast", at="here")
