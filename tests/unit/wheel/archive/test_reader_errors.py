"""Inconsistent archives are refused with a WheelError."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polywheel.errors import WheelError
from support import wheels
from support.archives import LIMIT, opened, read_all, refused
from support.wheels import Part, assembled, deflated, directory_of, extents

VALID = assembled(list(wheels.parts(wheels.wheel_files()).values()))


def test_what_is_no_archive_is_refused() -> None:
    for content in (b"", b"PK", b"PK\x05\x06", b"\x00" * 100, b"#!/bin/sh\n" * 9000):
        refused(content, "not a zip archive")


def test_an_archive_cut_anywhere_is_refused() -> None:
    for length in range(len(VALID)):
        refused(VALID[:length], "broken wheel")


def test_bytes_behind_the_end_are_refused() -> None:
    refused(VALID + b"x", "not a zip archive, or it is cut short")


def test_bytes_in_front_that_offsets_do_not_count_are_refused() -> None:
    refused(b"x" + VALID, "not at the offset in the end record")


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py",
        "demo/../../evil.py",
        "demo/..",
        "./demo.py",
        "demo//x.py",
        "/etc/passwd",
        "/",
        "",
        "C:/evil.py",
        "C:evil.py",
        "demo\\..\\evil.py",
        "\\\\host\\share\\x",
        "demo.py\x00.txt",
        "demo\n.py",
        "demo\x1b[31m.py",
        "demo\x7f.py",
        "demo\x9b31m.py",
        "x" * 5000,
    ],
)
def test_a_name_that_leads_out_or_that_a_terminal_would_obey_is_refused(name: str) -> None:
    refused(assembled([Part(name=name)]), "leads out of the archive, or is malformed")


def test_a_name_that_is_not_utf8_but_says_so_is_refused() -> None:
    refused(assembled([Part(name="", raw_name=b"\xff")]), "not UTF-8")


def test_a_second_name_in_an_extra_field_is_refused() -> None:
    # Info-ZIP's Unicode path: zipfile of Python 3.13 takes it, that of 3.11 does not.
    for name, right in ((b"a.py", True), (b"b.py", False)):
        field = struct.pack("<HHBL", 0x7075, 5 + len(name), 1, zlib.crc32(b"a.py")) + name
        content = assembled([Part(name="a.py", extra=field)])
        if right:
            assert read_all(content) == {"a.py": b""}
        else:
            refused(content, "another name in its extra fields")


def test_members_of_the_same_name_are_refused() -> None:
    refused(assembled([Part(name="a"), Part(name="a")]), "two members named 'a'")


def test_members_of_the_same_name_in_two_encodings_are_refused() -> None:
    one, other = Part(name="é"), Part(name="", raw_name=b"\x82", flags=0)
    refused(assembled([one, other]), "two members named 'é'")


def test_an_encrypted_member_is_refused() -> None:
    refused(assembled([Part(name="a", flags=0x801)]), "'a' is encrypted")


def test_a_message_shows_no_raw_control_characters() -> None:
    with pytest.raises(WheelError) as raised:
        opened(assembled([Part(name="\x1b[2J", flags=0x801)]))
    assert "\x1b" not in str(raised.value)


def test_an_archive_in_several_files_is_refused() -> None:
    refused(assembled([Part(name="a", disk=1)]), "split")
    for field in (4, 6):  # this disk, and the one where the directory starts
        content = bytearray(VALID)
        content[-22 + field] = 1
        refused(bytes(content), "split over several files")
    content = bytearray(VALID)
    content[-22 + 8] += 1  # members on this disk
    refused(bytes(content), "split over several files")


def test_members_that_share_data_are_refused() -> None:
    # The way to make an archive explode: many entries over the same bytes.
    content = b"\x00" * 1000
    refused(
        assembled([Part(name="a", content=content), Part(name="a", content=content, offset=0)]),
        "two members",
    )
    one = Part(name="a", content=content)
    refused(assembled([one, replace(one, name="b", local_name=b"a", offset=0)]), "overlaps")


def test_a_member_inside_of_another_is_refused() -> None:
    inner = assembled([Part(name="b", method=0, content=b"inner")])
    local = inner[: inner.index(b"PK\x01\x02")]
    outer = Part(name="a", method=0, content=local)
    hidden = Part(name="b", method=0, content=b"inner", offset=31)
    refused(assembled([outer, hidden]), "a overlaps what follows it")


def test_data_moved_over_the_next_member_by_extra_fields_are_refused() -> None:
    # Name and sizes would fit, but not behind as many extra bytes as the local header claims.
    content = bytearray(assembled([Part(name="a", content=b"x" * 9), Part(name="b")]))
    struct.pack_into("<H", content, 28, 20)
    with pytest.raises(WheelError, match="a overlaps what follows it"):
        extents(opened(bytes(content)))


def test_a_local_header_elsewhere_is_refused() -> None:
    refused(assembled([Part(name="a", offset=3)]), "no local header|beyond the end")
    refused(assembled([Part(name="a", offset=0x7FFFFFFF)]), "beyond the end of the archive")


def test_a_local_header_of_another_name_is_refused() -> None:
    refused(assembled([Part(name="a", local_name=b"b")]), "another name in its local header")
    refused(assembled([Part(name="a", local_name=b"ab")]), "another name in its local header")


def test_a_local_header_that_contradicts_the_directory_is_refused() -> None:
    for part in (Part(name="a", local_method=0), Part(name="a", local_crc=7)):
        refused(assembled([part]), "another description in its local header")


@pytest.mark.parametrize(
    ("part", "why"),
    [
        (Part(name="a", content=b"abc", size=2), "differs from its entry"),
        (Part(name="a", content=b"abc", size=4), "differs from its entry"),
        (Part(name="a", content=b"abc", crc=1), "differs from its entry"),
        (Part(name="a", data=deflated(bytes(10_000_000)), size=10), "differs from its entry"),
        (Part(name="a", content=b"abc", data=deflated(b"abc")[:-1], size=3), "cut short"),
        (Part(name="a", content=b"abc", data=deflated(b"abc") + b"more", size=3), "before its"),
        (Part(name="a", data=b"\xff\xff", size=3), "can't be inflated"),
        (Part(name="a", size=LIMIT + 1), "over the limit"),
        (Part(name="a", data=bytes(LIMIT + 1), size=1), "over the limit"),
        (Part(name="a", compressed=100_000), "beyond the end of the archive"),
        (Part(name="a", method=0, content=b"abc", size=2), "has two different sizes"),
        (Part(name="a", method=99, content=b"abc"), "unknown method 99"),
        (Part(name="a", size=0xFFFFFFFF, compressed=0xFFFFFFFF), "has no zip64 sizes"),
        (
            Part(name="a", compressed=0xFFFFFFFF, extra=struct.pack("<HHQ", 1, 8, 1 << 63)),
            "beyond the end of the archive",
        ),
        (
            Part(name="a", offset=0xFFFFFFFF, extra=struct.pack("<HHQ", 1, 8, (1 << 64) - 1)),
            "beyond the end of the archive",
        ),
        (Part(name="a", extra=bytes(65530)), "bytes of extra fields"),
    ],
)
def test_a_member_that_lies_about_itself_is_refused(part: Part, why: str) -> None:
    refused(assembled([part]), why)


def test_a_directory_that_is_not_what_the_end_record_says_is_refused() -> None:
    members = [Part(name="a"), Part(name="b")]
    length = len(directory_of(assembled(members))) - 22
    refused(assembled(members, count=1), "has extra bytes")
    refused(assembled(members, count=3), "claims 3 members in a directory of 94 bytes")
    long = [replace(part, extra=struct.pack("<HH50s", 7, 50, b"")) for part in members]
    refused(assembled(long, count=3), "directory is cut short")
    refused(assembled(members, directory_at=5), "not at the offset in the end record")
    refused(assembled(members, directory_size=length - 1), "not at the offset in the end record")
    for at in (0, 28, 30, 32):  # magic; lengths of name, extra fields and comment
        content = bytearray(assembled(members))
        content[content.index(b"PK\x01\x02") + at + 1] = 0xFF
        refused(bytes(content), "directory is malformed|cut short")


@pytest.mark.parametrize(
    ("field", "format_", "value", "why"),
    [
        (0, "<L", 0, "malformed"),
        (4, "<Q", 45, "malformed"),  # bytes that follow
        (4, "<Q", (1 << 64) - 12, "malformed"),
        (16, "<L", 1, "split"),  # this disk
        (20, "<L", 1, "split"),  # the disk of the directory
        (24, "<Q", 2, "split"),  # members on this disk
        (40, "<Q", 1 << 63, "contradict"),  # length of the directory
        (48, "<Q", 1, "contradict"),  # its offset
        (56 + 4, "<L", 1, "not at its offset"),  # locator: disk
        (56 + 8, "<Q", (1 << 64) - 1, "not at its offset"),
        (56 + 8, "<Q", 0, "malformed"),
        (56 + 16, "<L", 2, "not at its offset"),  # number of disks
    ],
)
def test_a_zip64_end_record_that_lies_is_refused(
    field: int, format_: str, value: int, why: str
) -> None:
    content = bytearray(assembled([Part(name="a")], zip64_end=b""))
    struct.pack_into(format_, content, content.index(b"PK\x06\x06") + field, value)
    refused(bytes(content), why)


def test_two_end_records_of_different_directories_are_refused() -> None:
    # One reader would go by the first record, another by the zip64 one.
    content = assembled([Part(name="a")], zip64_end=b"")
    for field in (10, 12, 16):  # count, length and offset of the directory
        changed = bytearray(content)
        changed[-22 + field] ^= 1
        refused(bytes(changed), "two end records contradict each other")


@pytest.mark.parametrize("comment", [assembled([]), assembled([]) + b"x", b"about PK\x05\x06"])
def test_a_comment_that_looks_like_the_end_is_refused(comment: bytes) -> None:
    # zipfile goes by the last record that it finds, whether its comment fits or not.
    refused(assembled([Part(name="a")], comment=comment), "end record")


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_changed_bytes_are_refused_or_do_no_harm(data: st.DataObject) -> None:
    zip64 = data.draw(st.sampled_from([None, b""]))
    content = bytearray(assembled([Part(name="demo/a", content=b"abc" * 20)] * 1, zip64_end=zip64))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        new = data.draw(
            st.sampled_from([b"\xff" * 4, b"\xff" * 8, b"\x00" * 4, b"\x01"])
            | st.binary(min_size=1, max_size=8)
        )
        content[at : at + len(new)] = new
    try:
        files = read_all(bytes(content))
    except WheelError:
        return
    for name, found in files.items():
        # What is read has its checksum from the directory, so the content is what it was.
        assert found == b"abc" * 20, name


def test_every_flipped_byte_is_refused_or_does_no_harm() -> None:
    for at in range(len(VALID)):
        content = bytearray(VALID)
        content[at] ^= 0xFF
        try:
            files = read_all(bytes(content))
        except WheelError:
            continue
        assert set(files.values()) == set(wheels.wheel_files().values())
