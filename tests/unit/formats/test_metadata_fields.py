"""``Variant-*`` fields in METADATA, compared with the email package."""

from __future__ import annotations

from email.message import Message
from email.parser import BytesParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polywheel.formats.metadata import with_variant_fields

FIELDS = [("Variant-Label", "v3"), ("Variant-Property", "x86_64 :: level :: v3")]
LINES = b"Variant-Label: v3\nVariant-Property: x86_64 :: level :: v3\n"
HEAD = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"


def test_fields_come_at_the_end_of_the_headers() -> None:
    new = with_variant_fields(HEAD + b"\nA description.\n", FIELDS)
    assert new == HEAD + LINES + b"\nA description.\n"


def test_metadata_without_a_body_gets_none() -> None:
    assert with_variant_fields(HEAD, FIELDS) == HEAD + LINES


def test_an_empty_body_stays_empty() -> None:
    assert with_variant_fields(HEAD + b"\n", FIELDS) == HEAD + LINES + b"\n"


def test_a_last_header_without_newline_gets_one() -> None:
    assert with_variant_fields(HEAD.rstrip(), FIELDS) == HEAD + LINES


def test_a_body_without_newline_stays_without() -> None:
    assert with_variant_fields(HEAD + b"\nend", FIELDS) == HEAD + LINES + b"\nend"


def test_crlf_is_kept_and_written() -> None:
    old = (HEAD + b"\nOne\nTwo\n").replace(b"\n", b"\r\n")
    new = (HEAD + LINES + b"\nOne\nTwo\n").replace(b"\n", b"\r\n")
    assert with_variant_fields(old, FIELDS) == new


def test_older_fields_go_wherever_and_however_they_are_written() -> None:
    old = (
        b"Metadata-Version: 2.1\n"
        b"Variant-Label: old\n"
        b"VARIANT-PROPERTY: a :: b :: c,\n"
        b"   continued: here\n"
        b"\tand there\n"
        b"Name: demo\n"
        b"variant-unknown-to-us:x\n"
        b"Version: 1.0\n"
        b" Variant-Label: this continues Version\n"
    )
    assert with_variant_fields(old, FIELDS) == (
        b"Metadata-Version: 2.1\n"
        b"Name: demo\n"
        b"Version: 1.0\n"
        b" Variant-Label: this continues Version\n" + LINES
    )


def test_names_that_only_look_like_ours_stay() -> None:
    old = HEAD + b"X-Variant-Label: a\nVariants-Label: b\nVariants: c\n"
    assert with_variant_fields(old, FIELDS) == old + LINES


def test_the_description_may_hold_lines_that_look_like_fields() -> None:
    body = b"\nVariant-Label: old\n\nVariant-Property: a :: b :: c\n"
    assert with_variant_fields(HEAD + body, FIELDS) == HEAD + LINES + body


def test_no_fields_leave_nothing_of_older_ones() -> None:
    assert with_variant_fields(HEAD + LINES + b"\nbody", []) == HEAD + b"\nbody"


def test_older_fields_go_from_behind_a_line_that_is_no_header() -> None:
    """The license of old wheels often goes on without a blank in front."""
    old = HEAD + b"License: MIT\nCopyright\nVariant-Property: a :: b :: c\n  more\nX: y\n"
    body = b"\nVariant-Label: in the description\n"
    assert with_variant_fields(old + body, FIELDS) == (
        HEAD + b"License: MIT\n" + LINES + b"Copyright\nX: y\n" + body
    )


@pytest.mark.parametrize("content", [HEAD, HEAD.rstrip(), HEAD + b"\nbody", b""])
def test_a_restamp_is_the_same_as_a_stamp(content: bytes) -> None:
    other = with_variant_fields(content, [("Variant-Label", "other"), ("Variant-Hash", "1")])
    assert with_variant_fields(other, FIELDS) == with_variant_fields(content, FIELDS)


WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12)
CONTINUED = st.lists(
    st.tuples(st.sampled_from([" ", "\t", "        |"]), WORDS.filter(str.strip)), max_size=2
)
NAMES = st.sampled_from(
    ["Name", "Summary", "X-Variant-Label", "Variant-Label", "VARIANT-hash", "variant-x"]
)
BODIES = st.none() | st.binary(max_size=40) | st.just(b"Variant-Label: old\n\nName: y")


def is_ours(name: str) -> bool:
    return name.lower().startswith("variant-")


def read(content: bytes) -> Message:
    return BytesParser().parsebytes(content)


@given(
    headers=st.lists(st.tuples(NAMES, WORDS, CONTINUED)),
    body=BODIES,
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_a_mail_parser_reads_old_headers_new_fields_and_the_same_body(
    headers: list[tuple[str, str, list[tuple[str, str]]]], body: bytes | None, newline: str
) -> None:
    text = "".join(
        f"{name}: {value}{newline}" + "".join(f"{blank}{more}{newline}" for blank, more in rest)
        for name, value, rest in headers
    )
    tail = b"" if body is None else newline.encode() + body
    old = text.encode() + tail
    new = with_variant_fields(old, FIELDS)
    before, after = read(old), read(new)
    assert [str(value) for value in after.values()] == [
        *(str(value) for name, value in before.items() if not is_ours(name)),
        *(value for _, value in FIELDS),
    ]
    assert after.keys() == [
        *(name for name in before.keys() if not is_ours(name)),  # noqa: SIM118  # repeats count
        *(name for name, _ in FIELDS),
    ]
    assert after.get_payload() == before.get_payload()
    assert new.endswith(tail)
    assert not after.defects
