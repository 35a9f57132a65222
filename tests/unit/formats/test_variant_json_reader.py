"""Reading variant.json and variants.json of every version, and hostile documents."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polywheel.errors import WheelError
from polywheel.formats.variant_json import (
    MAX_PROBLEMS,
    MAX_SIZE,
    read_faulty_variant_json,
    read_variant_json,
    variant_json,
)
from polywheel.model.variant import Provider, Variant, VariantMetadata, VariantProperty

AT = "demo.whl: variant.json"
GOOD: dict[str, Any] = {
    "$schema": "https://variants-schema.wheelnext.dev/peps/825/v0.1.1.json",
    "default-priorities": {"namespace": ["x86_64"]},
    "variants": {"v3": {"x86_64": {"level": ["v3"]}}},
}


def read(document: object) -> VariantMetadata:
    return read_variant_json(json.dumps(document).encode(), at=AT)


def refused(content: bytes) -> list[str]:
    """What is wrong, each with where it stands behind the name of the file."""
    with pytest.raises(WheelError) as raised:
        read_variant_json(content, at=AT)
    assert all(one.at and one.at.startswith(AT) for one in raised.value.problems)
    return [f"{one.what} [{(one.at or '')[len(AT) + 2 :]}]" for one in raised.value.problems]


def test_the_form_of_pep_825_has_no_providers() -> None:
    found = read(GOOD)
    assert found.namespaces == ("x86_64",)
    assert found.providers == {}
    assert [str(prop) for prop in found.variants["v3"].properties] == ["x86_64 :: level :: v3"]


def test_the_form_of_2025_has_more_tables() -> None:
    found = read(
        {
            "$schema": "https://variants-schema.wheelnext.dev/v0.0.3.json",
            "default-priorities": {
                "namespace": ["x86_64", "blas"],
                "feature": {"x86_64": ["level"]},
                "property": {"x86_64": {"level": ["v3", "v2"]}},
            },
            "providers": {
                "x86_64": {
                    "requires": ["x86-provider >=1; python_version >= '3.9'"],
                    "plugin-api": None,
                    "enable-if": "platform_machine == 'x86_64'",
                    "optional": True,
                },
                "blas": {"install-time": False},
            },
            "static-properties": {"blas": {"library": ["mkl"]}},
            "variants": GOOD["variants"],
        }
    )
    assert [str(one) for one in found.feature_priorities] == ["x86_64 :: level"]
    assert [one.value for one in found.property_priorities] == ["v3", "v2"]
    assert found.providers["x86_64"].object_reference == "x86_provider"
    assert found.providers["x86_64"].optional
    assert found.providers["blas"].static_properties == {"library": ("mkl",)}


def test_keys_and_versions_that_are_newer_are_left_alone() -> None:
    schema = "https://packaging.python.org/variants/v1.7.0.json"
    found = read({**GOOD, "$schema": schema, "more": None, "variants-of-tomorrow": [1]})
    assert list(found.variants) == ["v3"]
    with pytest.raises(WheelError, match="major version 2"):
        read({**GOOD, "$schema": schema.replace("v1", "v2")})


names = st.from_regex(r"[a-z0-9_]{1,5}", fullmatch=True)


@given(
    st.lists(st.tuples(names, names, names), min_size=1, max_size=6),
    st.sampled_from([None, "some_label"]),
)
def test_what_is_written_is_read_back(
    triples: list[tuple[str, str, str]], label: str | None
) -> None:
    properties = [VariantProperty(f"n{one}", two, three) for one, two, three in triples]
    variant = Variant.of(properties, label)
    providers = {
        name: Provider(namespace=name, requires=("some >1",), plugin_api="a.b:C")
        for name in sorted(variant.namespaces)
    }
    metadata = VariantMetadata(
        namespaces=tuple(providers), providers=providers, variants={variant.label: variant}
    )
    assert read_variant_json(variant_json(variant, metadata), at=AT) == metadata


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not JSON"),
        (b"\x00", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"variants": {}', "not JSON"),
        (b"{} {}", "not JSON"),
        (b"[]", "found a list"),
        (b"null", "found nothing"),
        (b"1" * 5000, "not JSON"),
        (b'"text"', "found a string"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a": NaN}', "NaN is not a JSON value"),
        (b'{"a": 1, "a": 2}', "the same key twice"),
        (b'{"' + b"k" * 1001 + b'": 1}', "more than 1000 letters"),
        (b" " * (MAX_SIZE + 1), "over the limit"),
    ],
)
def test_what_is_no_table_of_json(content: bytes, expected: str) -> None:
    (what,) = refused(content)
    assert expected in what


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"variants": None},
            ["table of variants [variants]", "null is not allowed here [variants]"],
        ),
        ({"variants": []}, ["table of variants [variants]", "a table, found a list [variants]"]),
        ({"variants": {}}, ["table of variants [variants]"]),
        ({"variants": {"v3": None}}, ["null is not allowed here [variants.v3]", "no properties"]),
        ({"variants": {"null": None}}, ["null is not allowed here [variants.null]"]),
        ({"variants": {"v3": {"x86_64": None}}}, ["null is not allowed here [variants.v3.x86_64]"]),
        (
            {"variants": {"v3": {"x86_64": {"level": None}}}},
            ["null is not allowed here [variants.v3.x86_64.level]"],
        ),
        ({"variants": {"v3": {"x86_64": {"level": [None]}}}}, ["found nothing"]),
        ({"variants": {"v3": {"x86_64": {"level": []}}}}, ["[variants.v3.x86_64.level]"]),
        ({"variants": {"v3": {"x86_64": {"level": "v3"}}}}, ["a list of strings, found a string"]),
        ({"variants": {"v3": {"x86_64": {"level": ["V3"]}}}}, ["malformed name 'V3'"]),
        ({"variants": {"v3": {"x86_64": {}}}}, ["has no features"]),
        ({"variants": {"v3": {}}}, ["no properties"]),
        ({"variants": {"V 3": GOOD["variants"]["v3"]}}, ["malformed variant label 'V 3'"]),
        ({"variants": {"null": GOOD["variants"]["v3"]}}, ["'null' is reserved"]),
        ({"variants": {"\ud800": GOOD["variants"]["v3"]}}, ["malformed variant label"]),
        ({"default-priorities": None}, ["missing or empty", "null"]),
        ({"default-priorities": []}, ["missing or empty", "a table, found a list"]),
        ({"default-priorities": {}}, ["missing or empty [default-priorities.namespace]"]),
        ({"default-priorities": {"namespace": []}}, ["missing or empty"]),
        ({"default-priorities": {"namespace": "x86_64"}}, ["a list of strings, found a string"]),
        ({"default-priorities": {"namespace": [1]}}, ["a string, found 1"]),
        ({"default-priorities": {"namespace": ["x86_64"] * 2}}, ["listed twice"]),
        ({"default-priorities": {"namespace": ["x86_64"], "feature": 7}}, ["found 7"]),
        (
            {"default-priorities": {"namespace": ["x86_64"], "feature": {"other": ["level"]}}},
            ["unknown namespace 'other'"],
        ),
        (
            {"default-priorities": {"namespace": ["x86_64"], "property": {"other": {"a": ["b"]}}}},
            ["unknown namespace 'other'"],
        ),
        ({"$schema": 1}, ['expected a string, found 1 ["$schema"]']),
        ({"$schema": "https://x/v2.0.json"}, ["major version 2"]),
        ({"providers": []}, ["found a list [providers]"]),
        ({"providers": {"x86_64": None}}, ["null", "has no source"]),
        ({"providers": {"x86_64": {}}}, ["has no source"]),
        ({"providers": {"x86_64": {"requires": ["?"]}}}, ["malformed requirement '?'"]),
        (
            {"providers": {"x86_64": {"requires": ["a"], "builtin": "b"}}},
            ["has requires and builtin"],
        ),
        (
            {"providers": {"x86_64": {"static-properties": {"level": None}}}},
            ["null is not allowed here [providers.x86_64.static-properties.level]"],
        ),
        ({"providers": {"other": {"requires": ["a"]}}}, ["'x86_64' has no provider", "'other'"]),
    ],
)
def test_other_shapes(changes: dict[str, Any], expected: list[str]) -> None:
    changed = {**GOOD, **changes}
    found = refused(json.dumps(changed).encode())
    for words in expected:
        assert any(words in what for what in found), found


def test_all_that_is_wrong_is_told_together() -> None:
    found = refused(b'{"default-priorities": {"namespace": 1}, "variants": {"A": {}, "B": {}}}')
    assert len(found) == 3


def test_a_faulty_document_is_read_as_far_as_its_variants_are_whole() -> None:
    faulty = {**GOOD, "default-priorities": {"namespace": []}}
    metadata, problems = read_faulty_variant_json(json.dumps(faulty).encode(), at=AT)
    assert [problem.what for problem in problems] == ["the list of namespaces is missing or empty"]
    assert metadata is not None
    assert list(metadata.variants) == ["v3"]
    half = {**GOOD, "variants": {**GOOD["variants"], "v4": {"x86_64": {"level": "v4"}}}}
    metadata, problems = read_faulty_variant_json(json.dumps(half).encode(), at=AT)
    assert metadata is None
    assert len(problems) == 1


def test_many_faults_take_neither_time_nor_memory() -> None:
    """Each looks for the nearest of the known names: told in full they would take hours."""
    known = [f"v{number}" for number in range(20_000)]
    unknown = {f"w{number}": {"level": ["v3"]} for number in range(40_000)}
    document = {
        "default-priorities": {"namespace": known},
        "providers": {name: {"builtin": "x"} for name in known},
        "variants": {"v3": unknown},
    }
    content = json.dumps(document).encode()
    metadata, problems = read_faulty_variant_json(content, at=AT)
    assert metadata is None
    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1].what == "more is wrong than is listed here"


def test_the_time_for_many_namespaces_grows_with_their_number_only() -> None:
    names = [f"n{number}" for number in range(20_000)]
    document = {
        "default-priorities": {"namespace": names, "feature": {name: ["a"] for name in names}},
        "providers": {name: {"requires": ["a"]} for name in names},
        "variants": {"v": {"n1": {"a": ["b"]}}},
    }
    start = time.process_time()
    metadata, problems = read_faulty_variant_json(json.dumps(document).encode(), at=AT)
    assert metadata is not None
    assert not problems
    # Comparing each namespace with all others would take minutes.
    assert time.process_time() - start < 10


def test_the_largest_documents_are_read_in_bounded_memory() -> None:
    size = 1024 * 1024  # what a wheel may have
    contents = [
        b'{"variants":{"v":{"n":{"f":["'
        + b'","'.join([b"%d" % i for i in range(10**5)])
        + b'"]}}}}',
        b'{"variants":[' + b"[]," * (size // 3 - 9) + b"1]}",
        b'{"variants":{' + b",".join([b'"%x":{}' % i for i in range(10**5)]) + b"}}",
        b'{"default-priorities":{"namespace":[' + b'"",' * (size // 3 - 20) + b'""]}}',
    ]
    for content in contents:
        assert len(content) <= size * 1.1
        tracemalloc.start()
        read_faulty_variant_json(content, at=AT)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100 * size


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "namespace",
                    "feature",
                    "property",
                    "x86_64",
                    "level",
                    "requires",
                    "null",
                    "v3",
                    "static-properties",
                    "feature-order",
                    "plugin-api",
                    "builtin",
                    "optional",
                ]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
tables = st.fixed_dictionaries(
    {},
    optional={
        "$schema": values,
        "default-priorities": values,
        "providers": values,
        "static-properties": values,
        "variants": values,
    },
)


@settings(deadline=None, max_examples=150)
@given(st.one_of(tables, values))
def test_any_json_is_read_or_refused_by_a_wheel_error(document: object) -> None:
    content = json.dumps(document).encode()
    try:
        found = read_variant_json(content, at=AT)
    except WheelError:
        return
    assert found.namespaces
    assert isinstance(document, dict)
    assert found.variants.keys() == document["variants"].keys()


@pytest.mark.parametrize("static", [{"level": ["v1"]}, {"a": ["v1"]}])
def test_a_value_that_its_provider_does_not_know_is_no_fault_of_the_document(
    static: dict[str, list[str]],
) -> None:
    """The variant fits nowhere; PEP 825 has an index list every variant, and installers skip it."""
    changed = {**GOOD, "providers": {"x86_64": {"static-properties": static}}}
    assert list(read_variant_json(json.dumps(changed).encode(), at="").variants) == ["v3"]
