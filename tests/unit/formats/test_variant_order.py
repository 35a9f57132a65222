"""The order of variants: the text of PEP 825, its pseudocode, and the reference library."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from variantlib.models.variant import VariantDescription
from variantlib.models.variant import VariantProperty as TheirProperty
from variantlib.resolver.lib import sort_and_filter_supported_variants

from polywheel.formats.variant_order import (
    SupportedValues,
    rank_properties,
    rank_variant,
    sort_variants,
)
from polywheel.model.variant import Variant, VariantProperty

NAMESPACES = ("gpu", "cpu", "blas")
FEATURES = ("level", "arch", "flag")
VALUES = ("v1", "v2", "v3", "4.0")
SUPPORTED: SupportedValues = {
    "gpu": {"arch": ["v2", "v1"], "level": ["4.0"]},
    "cpu": {"level": ["v3", "v2", "v1"], "flag": ["v1"]},
    "blas": {"arch": ["v1", "v2", "v3"]},
}


def variant(label: str, *properties: str) -> Variant:
    return Variant.of([VariantProperty.parse(text) for text in properties], label)


def order(variants: Iterable[Variant], supported: SupportedValues = SUPPORTED) -> list[str]:
    fitting, _ = sort_variants(variants, rank_properties(NAMESPACES, supported))
    return [one.variant.label for one in fitting]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        pytest.param(["gpu::level::4.0"], ["cpu::level::v3"], id="namespace first"),
        pytest.param(["gpu::arch::v1"], ["gpu::level::4.0"], id="then feature"),
        pytest.param(["cpu::level::v3"], ["cpu::level::v2"], id="then value"),
        pytest.param(["cpu::level::v2", "cpu::flag::v1"], ["cpu::level::v2"], id="longer first"),
        pytest.param(["cpu::level::v2"], [], id="null last"),
        pytest.param(["cpu::level::v3", "cpu::level::v9"], ["cpu::level::v2"], id="best value"),
        pytest.param(
            ["cpu::level::v3", "blas::arch::v3"], ["cpu::level::v2", "blas::arch::v1"], id="in turn"
        ),
    ],
)
def test_which_of_two_goes_first(better: list[str], worse: list[str]) -> None:
    # The labels would have it the other way round.
    first = variant("z", *better)
    second = variant("a" if worse else "null", *worse)
    assert order([second, first]) == ["z", second.label]
    assert order([first, second]) == ["z", second.label]


def test_the_label_decides_between_equals() -> None:
    equal = [variant(label, "cpu::level::v2") for label in ("b", "_", "a1", "a.", "0")]
    # Of values that are not the best one nothing depends.
    equal.append(variant("aa", "cpu::level::v2", "cpu::level::v1", "cpu::level::v9"))
    assert order(equal) == ["0", "_", "a.", "a1", "aa", "b"]


def test_every_feature_of_which_no_value_is_supported_is_named() -> None:
    one = rank_variant(
        variant("x", "cpu::level::v9", "cpu::level::v8", "cpu::flag::v1", "spice::hot::on"),
        rank_properties(NAMESPACES, SUPPORTED),
    )
    assert not one.fits
    assert [[str(prop) for prop in feature] for feature in one.unsupported] == [
        ["cpu :: level :: v8", "cpu :: level :: v9"],
        ["spice :: hot :: on"],
    ]


def test_a_namespace_that_is_not_in_the_list_is_not_supported() -> None:
    known = rank_properties(["cpu"], SUPPORTED)
    assert not rank_variant(variant("x", "gpu::arch::v1"), known).fits
    assert rank_variant(variant("x", "cpu::level::v1"), known).fits


def test_the_reserved_namespace_comes_last_and_need_not_be_listed() -> None:
    supported = {**SUPPORTED, "abi_dependency": {"torch": ["2", "2.9"]}}
    variants = [
        variant("a", "abi_dependency::torch::2"),
        variant("b", "blas::arch::v3"),
        variant("c", "abi_dependency::torch::2.9"),
    ]
    assert order(variants, supported) == ["b", "a", "c"]


def test_nothing_supported_leaves_the_null_variant() -> None:
    variants = [variant("null"), variant("a", "cpu::level::v1")]
    fitting, others = sort_variants(variants, rank_properties(NAMESPACES, {}))
    assert [one.variant.label for one in fitting] == ["null"]
    assert [one.variant.label for one in others] == ["a"]


properties = st.builds(
    VariantProperty, st.sampled_from(NAMESPACES), st.sampled_from(FEATURES), st.sampled_from(VALUES)
)
sets_of_properties = st.lists(st.frozensets(properties, max_size=6), unique=True, max_size=12)
lists_of_values = st.lists(st.sampled_from(VALUES), unique=True, min_size=1)
systems = st.dictionaries(
    st.sampled_from(NAMESPACES),
    st.lists(
        st.tuples(st.sampled_from(FEATURES), lists_of_values), unique_by=lambda one: one[0]
    ).map(dict),
)


def labelled(sets: Iterable[frozenset[VariantProperty]]) -> list[Variant]:
    return [Variant.of(one, f"l{number}" if one else "null") for number, one in enumerate(sets)]


@given(sets_of_properties, systems, st.permutations(NAMESPACES), st.randoms())
def test_as_the_pseudocode_of_the_pep(
    sets: list[frozenset[VariantProperty]],
    supported: dict[str, dict[str, list[str]]],
    namespaces: list[str],
    mixed: random.Random,
) -> None:
    variants = labelled(sets)
    mixed.shuffle(variants)
    fitting, others = sort_variants(variants, rank_properties(namespaces, supported))
    expected = sorted(
        _Wheel(one, namespaces, supported) for one in variants if _compatible(one, supported)
    )
    assert [one.variant.label for one in fitting] == [one.variant.label for one in expected]
    assert {one.variant.label for one in (*fitting, *others)} == {one.label for one in variants}


def _compatible(one: Variant, supported: Mapping[str, Mapping[str, list[str]]]) -> bool:
    return all(
        set(values) & set(supported.get(namespace, {}).get(feature, ()))
        for namespace, features in one.by_namespace().items()
        for feature, values in features.items()
    )


class _Wheel:
    """``VariantWheel`` of PEP 825, "Variant ordering"."""

    def __init__(
        self,
        variant: Variant,
        namespaces: list[str],
        supported: Mapping[str, Mapping[str, list[str]]],
    ) -> None:
        self.variant = variant
        self.namespaces = namespaces
        self.supported = supported

    def keys(self) -> list[tuple[int, int, int]]:
        found = []
        for namespace, features in self.variant.by_namespace().items():
            for feature, values in features.items():
                order = self.supported[namespace][feature]
                best = next(value for value in order if value in values)
                place = list(self.supported[namespace]).index(feature)
                found.append((self.namespaces.index(namespace), place, order.index(best)))
        return sorted(found)

    def __lt__(self, other: _Wheel) -> bool:
        ours, theirs = self.keys(), other.keys()
        for mine, its in zip(ours, theirs, strict=False):
            if mine != its:
                return mine < its
        if len(ours) != len(theirs):
            return len(ours) > len(theirs)
        return self.variant.label < other.variant.label


@settings(max_examples=40)  # variantlib takes long
@given(sets_of_properties, systems, st.permutations(NAMESPACES))
def test_as_variantlib(
    sets: list[frozenset[VariantProperty]],
    supported: dict[str, dict[str, list[str]]],
    namespaces: list[str],
) -> None:
    variants = labelled(one for one in sets if one)
    theirs = sort_and_filter_supported_variants(
        [
            VariantDescription(
                label=one.label,
                properties=[TheirProperty(p.namespace, p.feature, p.value) for p in one.properties],
            )
            for one in variants
        ],
        [
            TheirProperty(namespace, feature, value)
            for namespace, features in supported.items()
            for feature, values in features.items()
            for value in values
        ],
        namespace_priorities=list(namespaces),
    )
    fitting, _ = sort_variants(variants, rank_properties(namespaces, supported))
    # variantlib adds a null variant of its own.
    assert [one.variant.label for one in fitting] == [
        one.label for one in theirs if not one.is_null_variant()
    ]
