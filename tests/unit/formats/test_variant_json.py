"""Writing variant.json; other tools read it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from variantlib.variant_dist_info import VariantDistInfo

from polywheel.config.reader import Problems, Table
from polywheel.config.variant_table import read_variant_table
from polywheel.errors import ConfigError
from polywheel.formats.variant_json import variant_json
from polywheel.model.variant import Provider, Variant, VariantMetadata, VariantProperty

DATA = Path(__file__).parents[1] / "data"
SCHEMA = jsonschema.Draft202012Validator(
    json.loads((DATA / "variant-schema-0.1.1.json").read_text(encoding="utf-8"))
)

NAME = st.text("ab0_", min_size=1, max_size=3)
VALUE = st.text("ab0_.", min_size=1, max_size=3)
VALUES = st.lists(VALUE, min_size=1, max_size=3, unique=True).map(tuple)
REQUIREMENTS = st.lists(
    st.sampled_from(("a", "A-b.c >= 1", "c[d] ; python_version < '3.12'", "e @ https://e.org/e")),
    min_size=1,
    unique=True,
).map(tuple)


@st.composite
def providers(draw: st.DrawFn, namespace: str) -> Provider:
    optional = draw(st.booleans())
    kind = draw(st.sampled_from(("requires", "static", "builtin")))
    if kind == "requires":
        api = draw(st.none() | st.sampled_from(("a_plugin", "a.plugin:Class", "a:b.c")))
        requires = draw(REQUIREMENTS)
        return Provider(namespace=namespace, requires=requires, plugin_api=api, optional=optional)
    if kind == "builtin":
        return Provider(namespace=namespace, builtin=draw(NAME), optional=optional)
    static = draw(st.dictionaries(NAME, VALUES, min_size=1, max_size=3))
    order = tuple(draw(st.permutations(sorted(static))))
    if len(static) == 1 and draw(st.booleans()):
        order = ()
    return Provider(
        namespace=namespace, static_properties=static, feature_order=order, optional=optional
    )


@st.composite
def wheels(draw: st.DrawFn) -> tuple[Variant, VariantMetadata]:
    """A variant and the declarations of a project that may build it."""
    namespaces = tuple(draw(st.lists(NAME, min_size=1, max_size=4, unique=True)))
    by_namespace = {namespace: draw(providers(namespace)) for namespace in namespaces}
    properties = draw(
        st.sets(st.builds(VariantProperty, st.sampled_from(namespaces), NAME, VALUE), max_size=5)
    )
    label = draw(st.none() | st.from_regex(r"[0-9a-z_.]{1,20}", fullmatch=True))
    if not properties or label == "null":
        label = None
    return Variant.of(properties, label), VariantMetadata(
        namespaces=namespaces, providers=by_namespace
    )


@given(wheels())
def test_the_reference_library_reads_what_is_written(
    wheel: tuple[Variant, VariantMetadata],
) -> None:
    variant, metadata = wheel
    theirs = VariantDistInfo(variant_json(variant, metadata), expected_label=variant.label)
    assert theirs.namespace_priorities == list(metadata.namespaces)
    assert theirs.variant_label == variant.label
    assert theirs.variant_desc.is_null_variant() == variant.is_null
    assert [one.to_str() for one in theirs.variant_desc.properties] == [
        str(one) for one in variant.properties
    ]
    assert set(theirs.providers) == set(metadata.providers)
    for namespace, ours in metadata.providers.items():
        found = theirs.providers[namespace]
        assert found.requires == list(ours.requires)
        assert found.build_requires == []
        assert found.plugin_api == ours.plugin_api
        assert found.builtin == ours.builtin
        assert found.optional == ours.optional
        assert found.static_properties == {
            feature: list(values) for feature, values in ours.static_properties.items()
        }
        assert found.feature_order == list(ours.feature_order)


@given(wheels())
def test_the_schema_of_the_package_format_covers_all_but_the_providers(
    wheel: tuple[Variant, VariantMetadata],
) -> None:
    variant, metadata = wheel
    document = json.loads(variant_json(variant, metadata))
    assert document["$schema"] == "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json"
    assert set(document.pop("providers")) == set(document["default-priorities"]["namespace"])
    SCHEMA.validate(document)
    bare = json.loads(variant_json(variant, VariantMetadata(namespaces=metadata.namespaces)))
    assert bare["$schema"] == "https://variants-schema.wheelnext.dev/peps/825/v0.1.1.json"
    assert bare["$schema"] == SCHEMA.schema["$id"]
    SCHEMA.validate(bare)


@given(wheels(), st.randoms(use_true_random=False))
def test_the_same_input_gives_the_same_bytes(
    wheel: tuple[Variant, VariantMetadata], chance: Any
) -> None:
    variant, metadata = wheel
    shuffled = list(metadata.providers.items())
    chance.shuffle(shuffled)
    again = VariantMetadata(namespaces=metadata.namespaces, providers=dict(shuffled))
    assert variant_json(variant, again) == variant_json(variant, metadata)


def declared(text: str) -> VariantMetadata:
    problems = Problems()
    metadata = read_variant_table(Table(tomllib.loads(text), "pyproject.toml", (), problems))
    problems.raise_all()
    return metadata


DECLARATIONS = """
[default-priorities]
namespace = ["x86_64", "blas", "gpu"]
feature = ["x86_64 :: level"]
[providers.x86_64]
requires = ["provider-variant-x86-64 >= 0.0.1; python_version >= '3.12'"]
plugin-api = "provider_variant_x86_64.plugin:X8664Plugin"
enable-if = "platform_machine == 'x86_64'"
[providers.blas]
static-properties = { threads = ["openmp", "none"], library = ["openblas", "mkl"] }
feature-order = ["threads", "library"]
optional = true
[providers.gpu]
builtin = "gpu"
"""


def test_the_whole_file() -> None:
    listed = ("x86_64::level::v3", "gpu::arch::90", "gpu::arch::120_real", "blas::library::mkl")
    variant = Variant.of(map(VariantProperty.parse, listed), "v3_gpu")
    written = variant_json(variant, declared(DECLARATIONS))
    assert json.loads(written) == {
        "$schema": "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json",
        "default-priorities": {"namespace": ["x86_64", "blas", "gpu"]},
        "providers": {
            "x86_64": {
                "requires": ["provider-variant-x86-64 >= 0.0.1; python_version >= '3.12'"],
                "plugin-api": "provider_variant_x86_64.plugin:X8664Plugin",
            },
            "blas": {
                "static-properties": {
                    "threads": ["openmp", "none"],
                    "library": ["openblas", "mkl"],
                },
                "feature-order": ["threads", "library"],
                "optional": True,
            },
            "gpu": {"builtin": "gpu"},
        },
        "variants": {
            "v3_gpu": {
                "blas": {"library": ["mkl"]},
                "gpu": {"arch": ["120_real", "90"]},
                "x86_64": {"level": ["v3"]},
            }
        },
    }
    assert written.isascii()
    assert written.endswith(b"}\n")


def test_the_null_variant_has_an_entry_without_properties() -> None:
    document = json.loads(variant_json(Variant.of(()), declared(DECLARATIONS)))
    assert document["variants"] == {"null": {}}


def test_the_reserved_namespace_is_written_without_a_provider() -> None:
    # variantlib 0.2.2 refuses such a file: it wants a provider for every namespace.
    variant = Variant.of([VariantProperty.parse("abi_dependency :: torch :: 2.9")], "torch29")
    document = json.loads(variant_json(variant, declared(DECLARATIONS)))
    assert document["variants"] == {"torch29": {"abi_dependency": {"torch": ["2.9"]}}}
    assert "abi_dependency" not in document["default-priorities"]["namespace"]
    assert "abi_dependency" not in document["providers"]


def test_no_namespace_at_all_is_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        variant_json(Variant.of(()), VariantMetadata())
    text = caught.value.render()
    assert "at least one namespace, and none is declared" in text
    assert "  at: pyproject.toml: variant.default-priorities.namespace" in text


@pytest.mark.parametrize(
    "spelling", ["build-requires = ['x']", "requires = ['x']\ninstall-time = false"]
)
def test_a_plugin_that_was_not_asked_does_not_reach_a_wheel(spelling: str) -> None:
    """Only static properties that it answered may be written (draft PEP on building)."""
    text = DECLARATIONS.replace('builtin = "gpu"', spelling)
    with pytest.raises(ConfigError) as caught:
        variant_json(Variant.of(()), declared(text))
    assert "'gpu' have not been asked for" in caught.value.render()
    assert "variant.providers.gpu.build-requires" in caught.value.render()
