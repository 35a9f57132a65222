"""RECORD: reading it line by line, and rewriting only the lines that change."""

from __future__ import annotations

import base64
import csv
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polywheel.errors import WheelError
from polywheel.wheel.record import Row, digest, parse_record, row_matches, updated_record


def parsed(content: bytes) -> tuple[Row, ...]:
    return tuple(parse_record(content, at="demo.whl"))


def updated(content: bytes, changed: dict[str, bytes], dropped: tuple[str, ...] = ()) -> bytes:
    return updated_record(
        parse_record(content, at="demo.whl"), own="d/RECORD", changed=changed, dropped=dropped
    )


def test_a_row_is_path_hash_and_size_and_keeps_its_line() -> None:
    rows = parsed(b'a.py,sha256=abc,3\n"b, c.py",sha256=def,4\nd/RECORD,,\n')
    assert rows == (
        Row("a.py,sha256=abc,3", "a.py", "sha256=abc", "3"),
        Row('"b, c.py",sha256=def,4', "b, c.py", "sha256=def", "4"),
        Row("d/RECORD,,", "d/RECORD", "", ""),
    )


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_either_newline_is_read_and_empty_lines_are_no_rows(newline: bytes) -> None:
    rows = parsed(newline.join([b"a,,1", b"", b"b,,2"]))
    assert [(row.path, row.size) for row in rows] == [("a", "1"), ("b", "2")]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff,,\n", "not UTF-8"),
        (b"a.py,sha256=abc\n", "three fields"),
        (b"a.py,sha256=abc,3,4\n", "three fields"),
        (b"a,b.py,sha256=abc,3\n", "three fields"),
        (b'"a.py,sha256=abc,3\n', "malformed"),
        (b'"a"b.py,sha256=abc,3\n', "malformed"),
        (b"a\rb.py,sha256=abc,3\n", "malformed"),
        (b"a.py,,\na.py,,\n", "twice"),
        (b'a.py,,\n"a.py",,\n', "twice"),
    ],
)
def test_what_is_malformed_is_refused_with_the_file_named(content: bytes, why: str) -> None:
    with pytest.raises(WheelError, match=why) as raised:
        parsed(content)
    assert "demo.whl" in str(raised.value)


@given(st.binary(max_size=60) | st.text('a,"\r\n\x00é', max_size=30).map(str.encode))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        rows = parsed(content)
    except WheelError:
        return
    assert len({row.path for row in rows}) == len(rows)


def test_a_digest_is_sha256_in_url_safe_base64_without_padding() -> None:
    # The hash of nothing, known from anywhere.
    assert digest(b"") == "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512", "sha3_256", "blake2b"])
@pytest.mark.parametrize("padding", ["", "="])
def test_a_hash_of_any_good_algorithm_is_compared(algorithm: str, padding: str) -> None:
    encoded = base64.urlsafe_b64encode(hashlib.new(algorithm, b"x").digest()).decode().rstrip("=")
    row = Row("", "a", f"{algorithm}={encoded}{padding}", "1")
    assert row_matches(row, b"x")
    assert not row_matches(row, b"y")


@pytest.mark.parametrize(
    "value",
    ["md5=nUQm_EATMiM1rBGHXk-YDw", "shake_128=abc", "shake_256=", "sha256", "=", "none=", "é=é"],
)
def test_a_hash_that_says_nothing_agrees_with_nothing(value: str) -> None:
    # md5 and sha1 are not permitted (PEP 427); shake needs a length that RECORD does not give.
    assert not row_matches(Row("", "a", value, ""), b"x")


def test_a_size_is_compared_and_what_is_not_given_is_not() -> None:
    assert row_matches(Row("", "a", "", "3"), b"abc")
    assert not row_matches(Row("", "a", "", "4"), b"abc")
    assert not row_matches(Row("", "a", "", "03"), b"abc")
    assert row_matches(Row("", "a", "", ""), b"abc")


def test_a_changed_file_keeps_its_place_and_the_other_lines_their_letters() -> None:
    old = b'"a.py", odd ,  7\nd/METADATA,sha256=old,1\nd/RECORD,,\nb.py,sha256=x,\n'
    assert updated(old, {"d/METADATA": b"new"}) == (
        f'"a.py", odd ,  7\nd/METADATA,{digest(b"new")},3\nd/RECORD,,\nb.py,sha256=x,\n'.encode()
    )


def test_a_new_file_comes_in_front_of_record() -> None:
    new = updated(b"a,,1\nd/RECORD,,\nz,,2\n", {"d/variant.json": b"{}"})
    assert new == f"a,,1\nd/variant.json,{digest(b'{}')},2\nd/RECORD,,\nz,,2\n".encode()


def test_a_new_file_comes_last_where_record_does_not_list_itself() -> None:
    new = updated(b"a,,1", {"d/variant.json": b"{}"})
    assert new == f"a,,1\nd/variant.json,{digest(b'{}')},2\n".encode()


def test_a_dropped_file_loses_its_line() -> None:
    assert updated(b"a,,1\nd/RECORD.jws,,\nd/RECORD,,\n", {}, ("d/RECORD.jws",)) == (
        b"a,,1\nd/RECORD,,\n"
    )


def test_newlines_stay_what_they_are() -> None:
    new = updated(b"a,,1\r\nd/RECORD,,\r\n", {"d/x": b""})
    assert new == f"a,,1\r\nd/x,{digest(b'')},0\r\nd/RECORD,,\r\n".encode()


# Names that an archive may have: no control characters, nothing that UTF-8 can't hold.
PATHS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1)


@given(PATHS, st.binary())
def test_a_csv_reader_finds_every_path_that_was_written(path: str, content: bytes) -> None:
    new = updated_record(
        parse_record(b"", at=""), own="d/RECORD", changed={path: content}, dropped=()
    )
    text = new.decode()
    assert list(csv.reader([text.removesuffix("\n")], strict=True)) == [
        [path, digest(content), str(len(content))]
    ]
    (row,) = parsed(new)
    assert row.path == path
    assert row_matches(row, content)
