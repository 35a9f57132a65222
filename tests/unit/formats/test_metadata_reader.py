"""Reading the variant fields of METADATA, from polywheel and from other tools."""

from __future__ import annotations

from email.parser import BytesParser
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polywheel.errors import WheelError
from polywheel.formats.metadata import (
    MAX_HEADERS,
    MAX_LINES,
    VariantFields,
    parse_metadata,
    read_variant_fields,
    variant_fields,
    with_variant_fields,
)
from polywheel.model.variant import (
    Provider,
    Variant,
    VariantFeature,
    VariantMetadata,
    VariantProperty,
)

AT = "demo.whl: METADATA"
HEAD = "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"


def fields(*lines: str, head: str = HEAD, end: str = "\n\ntext\n") -> VariantFields | None:
    content = (head + "\n".join(lines) + end).encode("utf-8", "surrogateescape")
    return read_variant_fields(parse_metadata(content), at=AT)


def found(*lines: str) -> VariantFields:
    read = fields(*lines)
    assert read is not None
    return read


def said(*lines: str) -> list[str]:
    problems = found(*lines).problems
    assert all(problem.at and problem.at.startswith(AT) for problem in problems)
    return [problem.what for problem in problems]


def test_metadata_without_variant_fields() -> None:
    assert fields("Summary: of variants", "Variants: 3", "Variant-Of: another") is None
    assert fields("", "Variant-Label: in the description") is None


def test_the_first_fields_of_all() -> None:
    """A property had the name ``Variant``, and the variant no label but its hash."""
    read = found("Variant: x86_64 :: level :: v3", "Variant-hash: fa7c1393")
    assert (read.label, read.hash, read.problems) == (None, "fa7c1393", ())
    assert list(read.metadata.variants) == ["fa7c1393"]


def test_names_in_any_case_and_values_with_line_breaks() -> None:
    read = found("VARIANT-LABEL:  v3  ", "variant-property: x86_64 ::\n\tlevel  :: v3")
    assert read.label == "v3"
    assert [str(one) for one in read.metadata.variants["v3"].properties] == [
        "x86_64 :: level :: v3"
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_breaks_of_every_system(newline: str) -> None:
    text = (HEAD + "Variant-Label: null\n\nVariant-Label: v3\n").replace("\n", newline)
    read = read_variant_fields(parse_metadata(text.encode()), at=AT)
    assert read is not None
    assert read.label == "null"


def test_bytes_above_ascii_are_no_obstacle() -> None:
    read = fields("Author: Jos\udce9 \u00e9", "Variant-Label: \u00e9", "Variant-Property: \udcff")
    assert read is not None
    assert [problem.what.partition(" '")[0] for problem in read.problems] == [
        "malformed variant property",
        "malformed variant label",
    ]


def test_priorities_alone_describe_no_variant() -> None:
    read = found("Variant-Default-Namespace-Priorities: x86_64, abi_dependency")
    assert read.metadata.variants == {}
    assert read.metadata.namespaces == ("x86_64",)
    assert read.problems == ()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Variant-Hash: 00000000"], []),
        (["Variant-Label: null"], []),
        (["Variant-Label: null", "Variant-Hash: 00000000"], []),
        (["Variant-Label: null", "Variant-Hash: 12345678"], ["and there are no properties"]),
        (["Variant-Hash: 12345678"], ["and there are no properties", "has no properties"]),
        (["Variant-Label: v3"], ["has no properties"]),
    ],
)
def test_the_null_variant(lines: list[str], expected: list[str]) -> None:
    told = said(*lines)
    assert len(told) == len(expected), told
    for words, text in zip(expected, told, strict=True):
        assert words in text
    if not expected:
        assert list(found(*lines).metadata.variants) == ["null"]


@pytest.mark.parametrize(
    "line",
    [
        "Variant-Property: x86_64 :: level",
        "Variant-Default-Namespace-Priorities: X",
        "Variant-Default-Feature-Priorities: x",
        "Variant-Default-Property-Priorities: x :: y",
        "Variant-Requires: x86_64",
        "Variant-Requires: : some",
        "Variant-Requires: x86_64:",
        "Variant-Requires: X: some",
        "Variant-Requires: x86_64: two words",
        "Variant-Requires: x86_64: some; " + "(" * 5000,
        "Variant-Plugin-API: x86_64: 1:2:3",
        "Variant-Enable-If: x86_64: nonsense",
        "Variant-Label: Not This",
    ],
)
def test_fields_that_can_not_be_read_are_told(line: str) -> None:
    """The rest is read all the same."""
    (what, *more) = said(line, "Variant-Property: a :: b :: c")
    assert "malformed" in what
    assert not more
    assert VariantProperty("a", "b", "c") in found(line, "Variant-Property: a :: b :: c").properties


def test_headers_without_end_are_refused() -> None:
    for content in (b"a:\n" * (MAX_LINES + 1), b"a: " + b"b" * MAX_HEADERS):
        with pytest.raises(WheelError, match="over the limit") as raised:
            parse_metadata(content, at=AT)
        assert AT in str(raised.value)
    assert parse_metadata(b"a: b\n\n" + b"c:\n" * (MAX_LINES + 1))["a"] == "b"


words = st.from_regex(r"[a-z0-9_]{1,6}", fullmatch=True)
namespaces = words.filter(lambda name: name != "abi_dependency")


@given(st.data())
def test_what_is_written_is_read_back(data: st.DataObject) -> None:
    declared = data.draw(st.lists(namespaces, min_size=1, max_size=4, unique=True))
    one_of = st.sampled_from(declared)
    properties = data.draw(st.lists(st.builds(VariantProperty, one_of, words, words), max_size=5))
    variant = Variant.of(properties, "some.label" if properties else None)
    metadata = VariantMetadata(
        namespaces=tuple(declared),
        feature_priorities=tuple(
            data.draw(st.lists(st.builds(VariantFeature, one_of, words), max_size=3, unique=True))
        ),
        property_priorities=tuple(dict.fromkeys(properties)),
        providers=MappingProxyType(
            {
                name: Provider(
                    namespace=name,
                    requires=("some >=1", "other"),
                    plugin_api="some.module:Plugin",
                    enable_if=data.draw(st.sampled_from([None, "os_name == 'nt'"])),
                )
                for name in declared
            }
        ),
        variants=MappingProxyType({variant.label: variant}),
    )
    content = with_variant_fields(HEAD.encode(), variant_fields(variant, metadata))
    read = read_variant_fields(parse_metadata(content), at=AT)
    assert read is not None
    assert read.problems == ()
    assert read.label == variant.label
    assert read.hash == (None if variant.is_null else variant.hash)
    assert read.metadata == metadata


@given(
    st.lists(
        st.sampled_from([b"a", b"Variant-Label", b":", b" ", b"\t", b"\r", b"\n", b"\xe9", b""])
    )
)
def test_the_headers_are_those_of_the_whole(pieces: list[bytes]) -> None:
    """What follows them is not parsed, and they are what they would be if it was."""
    content = b"".join(pieces)
    whole = BytesParser().parsebytes(content, headersonly=True)
    headers = parse_metadata(content)
    assert list(map(str, headers.keys())) == list(map(str, whole.keys()))
    assert list(map(str, headers.values())) == list(map(str, whole.values()))
