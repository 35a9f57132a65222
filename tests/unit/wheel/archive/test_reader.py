"""Reading archives, compared with zipfile."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polywheel.errors import WheelError
from polywheel.wheel.archive.central_directory import extra_fields
from polywheel.wheel.archive.reader import open_archive
from support import wheels
from support.archives import LIMIT, PATH, opened, read_all
from support.wheels import Part, assembled, directory_of, extents, zip64_tail, zipped

# -- what is right


def segment(text: str) -> bool:
    return text not in {".", ".."} and not set(text) & set("/\\:")


SEGMENTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12).filter(
    segment
)
NAMES = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)
ARCHIVES = st.builds(
    zipped,
    st.dictionaries(NAMES | NAMES.map("{}/".format), st.binary(max_size=200), max_size=6).map(
        lambda files: {
            name: b"" if name.endswith("/") else content for name, content in files.items()
        }
    ),
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    streamed=st.booleans(),
    zip64=st.booleans(),
    comment=st.binary(max_size=40).filter(lambda comment: b"PK\x05\x06" not in comment),
)


@settings(deadline=None)
@given(ARCHIVES)
def test_members_are_those_that_zipfile_finds(content: bytes) -> None:
    archive = opened(content)
    with zipfile.ZipFile(io.BytesIO(content)) as referee:
        assert archive.comment == referee.comment
        assert archive.table.end == referee.start_dir
        for member, info in zip(archive.members, referee.infolist(), strict=True):
            assert member.name == info.filename
            assert (member.size, member.compressed) == (info.file_size, info.compress_size)
            assert (member.crc, member.offset) == (info.CRC, info.header_offset)
            assert (member.flags, member.method) == (info.flag_bits, info.compress_type)
            assert member.external == info.external_attr
            assert archive.read(member, limit=LIMIT) == referee.read(info)
    assert [member for member, _ in extents(archive)] == archive.members


def test_a_hand_made_archive_is_read_too() -> None:
    files = wheels.wheel_files()
    assert read_all(assembled(list(wheels.parts(files).values()))) == files


def test_members_need_not_lie_in_the_order_of_the_directory() -> None:
    one, two = Part(name="one", content=b"1"), Part(name="two", content=b"2")
    content = assembled([one, two])
    second = content.index(b"PK\x03\x04", 4)
    first_entry = content.index(b"PK\x01\x02")
    second_entry = content.index(b"PK\x01\x02", first_entry + 4)
    end = content.index(b"PK\x05\x06")
    swapped = content[:first_entry] + content[second_entry:end] + content[first_entry:second_entry]
    archive = opened(swapped + content[end:])
    assert [member.name for member in archive.members] == ["two", "one"]
    assert [(member.name, member.offset) for member, _ in extents(archive)] == [
        ("one", 0),
        ("two", second),
    ]


def test_names_without_the_utf8_flag_are_cp437() -> None:
    part = Part(name="", raw_name=b"caf\x82.py", flags=0)
    assert [member.name for member in opened(assembled([part])).members] == ["café.py"]


def test_a_zip64_end_record_that_was_not_needed_is_read() -> None:
    archive = opened(assembled([Part(name="a", content=b"x")], zip64_end=b""))
    assert archive.zip64
    assert archive.read(archive.members[0], limit=LIMIT) == b"x"


def test_more_members_than_16_bits_count_are_read() -> None:
    count = 0x10000 + 5
    archive = opened(wheels.crowd(count))
    assert [member.name for member in archive.members] == [f"{n:08}" for n in range(count)]


@pytest.mark.skipif(os.name == "nt", reason="a hole in a file takes room on Windows")
def test_a_member_of_5_gib_and_one_that_lies_behind_it_are_read(tmp_path: Path) -> None:
    # A sparse file: the hole in it is the content of the first member.
    full, hole = 0xFFFFFFFF, 5 << 30
    wide = struct.pack("<HHQQ", 1, 16, hole, hole)
    big = Part(name="big", method=0, size=full, compressed=full, extra=wide, local_extra=wide)
    hole_at = len(assembled([big])) - len(directory_of(assembled([big])))
    beyond = struct.pack("<HHQ", 1, 8, hole_at + hole)
    small = Part(name="small", content=b"x", offset=full, extra=beyond)
    content = assembled([big, small])
    length = len(directory_of(content)) - 22
    at = len(content) - 22 - length
    tail = zip64_tail(2, length, at + hole, where=at + hole + length)
    content = assembled([big, small], directory_at=full, zip64_end=tail)
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    with path.open("w+b") as file:
        file.write(content[:hole_at])
        file.seek(hole_at + hole)
        file.write(content[hole_at:])
        archive = open_archive(file, path)
        assert [(member.name, member.size, member.offset) for member in archive.members] == [
            ("big", hole, 0),
            ("small", 1, hole_at + hole),
        ]
        assert [end for _, end in extents(archive)] == [hole_at + hole, at + hole]
        assert archive.read(archive.members[1], limit=LIMIT) == b"x"
        with pytest.raises(WheelError, match="over the limit"):
            archive.read(archive.members[0], limit=LIMIT)


def test_a_size_of_exactly_4_gib_less_one_byte_needs_no_zip64_field() -> None:
    # 0xFFFFFFFF is a sign where there is a zip64 field, and a number where there is none.
    with pytest.raises(WheelError, match="reaches beyond the end"):
        opened(assembled([Part(name="a", size=1, compressed=0xFFFFFFFF)]))


def test_an_offset_that_looks_like_the_end_does_not_mislead(tmp_path: Path) -> None:
    at = int.from_bytes(b"PK\x05\x06", "little")  # 96 MiB, most of them a hole
    content = assembled([Part(name="a")], directory_at=at)
    first = content.index(b"PK\x01\x02")
    path = tmp_path / PATH.name
    with path.open("w+b") as file:
        file.write(content[:first])
        file.seek(at)
        file.write(content[first:])
        assert open_archive(file, path).table.end == at


def test_extra_fields_come_whole_with_what_is_left_over() -> None:
    fields = struct.pack("<HH3s", 0x5455, 3, b"abc") + struct.pack("<HH", 7, 0)
    assert list(extra_fields(fields)) == [(0x5455, fields[:7]), (7, fields[7:])]
    assert list(extra_fields(fields + b"xyz"))[2:] == [(-1, b"xyz")]
    assert b"".join(field for _, field in extra_fields(b"\x01\x00\xff\xffcut")) == (
        b"\x01\x00\xff\xffcut"
    )
