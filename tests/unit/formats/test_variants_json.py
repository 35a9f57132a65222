"""``*-variants.json``: merging the metadata of the wheels of a release, and conflicts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from variantlib.commands.generate_index_json import generate_index_json
from variantlib.variants_json import VariantsJson

from polywheel.errors import WheelError
from polywheel.formats.variant_json import SCHEMA, SCHEMA_WITHOUT_PROVIDERS, read_variant_json
from polywheel.formats.variants_json import merge_metadata, variants_json
from polywheel.index.write.index import write_index
from polywheel.model.variant import (
    Provider,
    Variant,
    VariantFeature,
    VariantMetadata,
    VariantProperty,
)
from support.index_wheels import MKL, PROVIDERS, V1, V2, declared, variant, write_wheel

ONE = declared(variants=[variant("one", V1)])
TWO = declared(variants=[variant("two", V2, MKL)])


def silent(message: str) -> None:
    raise AssertionError(f"nothing was to be said, but: {message}")


def conflict(**wheels: VariantMetadata) -> str:
    with pytest.raises(WheelError) as raised:
        merge_metadata(wheels, at="demo 1.0")
    assert raised.value.exit_code == 4
    return str(raised.value)


def test_the_union_of_two_wheels() -> None:
    assert merge_metadata({"a": ONE, "b": TWO}, at="") == declared(
        variants=[variant("one", V1), variant("two", V2, MKL)]
    )


def test_the_longer_list_of_namespaces_is_taken() -> None:
    null = declared("x86_64", variants=[variant("null")])
    assert merge_metadata({"a": null, "b": TWO}, at="").namespaces == ("x86_64", "blas")
    assert set(merge_metadata({"a": null, "b": TWO}, at="").providers) == {"x86_64", "blas"}


def test_neither_list_of_namespaces_begins_with_the_other() -> None:
    other = declared("blas", "x86_64", variants=[variant("other", V1)])
    said = conflict(a=ONE, b=other)
    assert "x86_64, blas in a; blas, x86_64 in b" in said
    assert "at: demo 1.0" in said


def test_a_label_with_two_meanings_names_the_wheels() -> None:
    said = conflict(a=ONE, b=declared(variants=[variant("one", V2)]), c=ONE)
    assert (
        f"the label 'one' stands for different properties: '{V1}' in a and c; '{V2}' in b" in said
    )


def test_providers_that_differ_name_the_wheels() -> None:
    other = PROVIDERS | {"x86_64": Provider(namespace="x86_64", requires=("other",))}
    said = conflict(a=ONE, b=declared(providers=other, variants=[variant("two", V2)]))
    assert "the providers of 'x86_64' are not equal" in said
    assert "'x86-64-variant-provider' in a; requires 'other' in b" in said


@pytest.mark.parametrize(
    "changed",
    [
        replace(PROVIDERS["x86_64"], plugin_api="a:b"),
        replace(PROVIDERS["x86_64"], optional=True),
        replace(PROVIDERS["x86_64"], requires=("x86-64-variant-provider", "more")),
    ],
    ids=["plugin-api", "optional", "requires"],
)
def test_every_part_of_a_provider_counts(changed: Provider) -> None:
    other = declared(providers=PROVIDERS | {"x86_64": changed}, variants=[variant("two", V2)])
    assert "the providers of 'x86_64' are not equal" in conflict(a=ONE, b=other)


def test_a_marker_of_2025_makes_no_difference_as_it_is_not_written() -> None:
    marked = replace(PROVIDERS["x86_64"], enable_if="platform_machine == 'x86_64'")
    older = declared(providers=PROVIDERS | {"x86_64": marked}, variants=[variant("two", V2)])
    assert merge_metadata({"a": ONE, "b": older}, at="").providers == PROVIDERS


def test_everything_wrong_is_told_together() -> None:
    other = declared(
        "blas",
        providers={"blas": Provider(namespace="blas", builtin="other")},
        variants=[variant("one", V2)],
    )
    assert conflict(a=ONE, b=other).count("error:") == 3


def test_of_many_wheels_a_few_are_named() -> None:
    wheels = {f"w{number}": ONE for number in range(9)}
    said = conflict(**wheels, z=declared(variants=[variant("one", V2)]))
    assert "in w0 and w1 and w2 and 6 more; " in said


def test_what_no_wheel_says_is_missed() -> None:
    lonely = declared(providers={"x86_64": PROVIDERS["x86_64"]}, variants=[variant("one", V1)])
    assert "no wheel has a provider for 'blas'" in conflict(a=lonely)
    nameless = VariantMetadata(variants=MappingProxyType({"one": variant("one", V1)}))
    assert "no wheel has a list of namespaces" in conflict(a=nameless)
    unknown = declared("x86_64", variants=[variant("one", MKL)])
    for found in (conflict(a=unknown), conflict(a=unknown, b=TWO)):
        assert "a does not list the namespace 'blas', which its label 'one' uses" in found
    unbuilt = Provider(namespace="x86_64", build_requires=("a",))
    unasked = declared("x86_64", providers={"x86_64": unbuilt}, variants=[variant("one", V1)])
    assert "the provider of 'x86_64' can't be written" in conflict(a=unasked)


def test_a_value_that_no_provider_knows_is_listed_all_the_same(tmp_path: Path) -> None:
    """PEP 825, "Index-level metadata": every variant of the release. It fits nowhere."""
    atlas = "blas :: library :: atlas"
    free = declared(providers={}, variants=[variant("free", atlas)])
    assert set(merge_metadata({"a": ONE, "b": free}, at="").variants) == {"one", "free"}
    write_wheel(tmp_path, variant("free", atlas))
    write_wheel(tmp_path, variant("mkl", MKL))
    for simple in (False, True):
        done = write_index(tmp_path, tmp_path, simple=simple, notify=silent)
        (release,) = done.published
        assert release.metadata is not None
        assert set(release.metadata.variants) == {"free", "mkl"}


def test_abi_dependencies_need_no_provider() -> None:
    torch = declared(variants=[variant("torch", V1, "abi_dependency :: torch :: 2.9")])
    assert set(merge_metadata({"a": ONE, "b": torch}, at="").variants) == {"one", "torch"}


def test_the_schema_is_that_of_what_is_there() -> None:
    assert json.loads(variants_json(ONE))["$schema"] == SCHEMA
    bare = declared(providers={}, variants=[variant("one", V1)])
    assert json.loads(variants_json(bare))["$schema"] == SCHEMA_WITHOUT_PROVIDERS


def test_priorities_of_features_have_no_place() -> None:
    ordered = replace(
        ONE,
        feature_priorities=(VariantFeature("x86_64", "level"),),
        property_priorities=(VariantProperty.parse(V1),),
    )
    assert merge_metadata({"a": ordered, "b": TWO}, at="") == merge_metadata(
        {"a": ONE, "b": TWO}, at=""
    )


NAMESPACES = ("a", "b", "c", "d")


@st.composite
def releases(draw: st.DrawFn) -> dict[str, VariantMetadata]:
    """The wheels of one project: consistent, unless one of a few twists makes it otherwise."""
    order = draw(st.permutations(NAMESPACES))
    providers = {
        name: Provider(
            namespace=name,
            static_properties=MappingProxyType({"f": tuple(draw(st.permutations("xyz")))}),
        )
        for name in NAMESPACES
    }
    labels: dict[str, Variant] = {}
    wheels = {}
    for number in range(draw(st.integers(1, 6))):
        namespaces = tuple(order[: draw(st.integers(1, 4))])
        used = draw(st.sets(st.sampled_from(namespaces), min_size=1))
        properties = [f"{name} :: f :: {draw(st.sampled_from('xyz'))}" for name in sorted(used)]
        made = variant(None, *properties)
        labels[made.label] = made
        if draw(st.booleans()) and draw(st.booleans()):
            namespaces = tuple(reversed(namespaces))
        if draw(st.booleans()) and draw(st.booleans()):
            made = replace(made, label=draw(st.sampled_from(sorted(labels))))
        known = {name: providers[name] for name in namespaces}
        if draw(st.booleans()) and draw(st.booleans()):
            known[namespaces[0]] = replace(known[namespaces[0]], optional=True)
        wheels[f"w{number}"] = declared(*namespaces, providers=known, variants=[made])
    return wheels


@given(releases(), st.randoms(use_true_random=False))
def test_the_order_of_the_wheels_does_not_matter(
    wheels: dict[str, VariantMetadata], random: Random
) -> None:
    shuffled = list(wheels.items())
    random.shuffle(shuffled)

    def outcome(found: dict[str, VariantMetadata]) -> bytes | str:
        try:
            return variants_json(merge_metadata(found, at="demo 1.0"))
        except WheelError as error:
            return str(error)

    first = outcome(wheels)
    assert outcome(dict(shuffled)) == first
    if isinstance(first, bytes):
        united = read_variant_json(first, at="")
        assert variants_json(united) == first
        for one in wheels.values():
            assert united.namespaces[: len(one.namespaces)] == one.namespaces
            assert one.variants.items() <= united.variants.items()
            assert one.providers.items() <= united.providers.items()
        assert set(united.variants) == {label for one in wheels.values() for label in one.variants}


def test_variantlib_reads_it_and_writes_the_same(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        for tag in ("cp311-cp311-linux_x86_64", "cp312-cp312-linux_x86_64"):
            write_wheel(folder, variant("one", V1), tag=tag)
            write_wheel(folder, variant("two", V2, MKL), tag=tag)
            write_wheel(folder, variant("null"), tag=tag, metadata=declared("x86_64"))
            write_wheel(folder, tag=tag)
        write_wheel(folder, variant(None, MKL), name="other", version="2.0.post1+cpu")
    done = write_index(ours, ours, simple=False, notify=silent)
    assert [str(one) for one in done.published] == ["demo 1.0", "other 2.0.post1+cpu"]
    generate_index_json(["-d", str(theirs)])
    names = ["demo-1.0-variants.json", "other-2.0.post1+cpu-variants.json"]
    assert sorted(path.name for path in theirs.glob("*.json")) == names
    for name in names:
        mine = json.loads((ours / name).read_bytes())
        yours = json.loads((theirs / name).read_bytes())
        assert mine.pop("$schema") == SCHEMA
        assert yours.pop("$schema") != SCHEMA  # one from before the PEPs had numbers
        assert mine == yours
        document = json.loads((ours / name).read_bytes())
        assert set(VariantsJson(document).variants) == set(mine["variants"])
