"""Rewriting archives: unchanged members are copied byte for byte."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polywheel.errors import WheelError
from polywheel.wheel.archive.central_directory import Member, central
from polywheel.wheel.archive.reader import Archive, open_archive
from polywheel.wheel.archive.rewrite import Change, NewMember, rewrite, write_end
from support import wheels
from support.wheels import Part, assembled, extents, zipped

PATH = Path("demo-1.0-py3-none-any.whl")
FILES = {"a.txt": b"aaaa" * 50, "b/": b"", "b/c.txt": b"", "d.bin": bytes(range(256)), "e": b"e"}


def opened(content: bytes) -> Archive:
    return open_archive(io.BytesIO(content), PATH)


def rewritten(
    content: bytes,
    *,
    replaced: Iterable[tuple[str, bytes]] = (),
    added: Iterable[tuple[str, str, bytes]] = (),
    drop: Collection[str] = (),
) -> bytes:
    """``replaced`` as (name, content), ``added`` as (name it stands before, name, content)."""
    archive, target = opened(content), io.BytesIO()
    by_name = {member.name: member for member in archive.members}
    rewrite(
        archive,
        target,
        Change(
            {name: NewMember(name, new, by_name[name]) for name, new in replaced},
            {at: [NewMember(name, new, by_name[at])] for at, name, new in added},
            drop,
        ),
    )
    return target.getvalue()


def raw(content: bytes) -> dict[str, bytes]:
    """The bytes of each member in the file: local header, data, descriptor and what follows."""
    archive = opened(content)
    return {member.name: content[member.offset : end] for member, end in extents(archive)}


def elsewhere(member: Member) -> Member:
    return replace(member, offset=0)


def approved(content: bytes, folder: Path) -> None:
    """Zipfile and, where there is one, unzip find nothing wrong."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
    if unzip := shutil.which("unzip"):
        path = folder / "archive.zip"
        path.write_bytes(content)
        done = subprocess.run([unzip, "-tq", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


KINDS = {
    "deflated": zipped(FILES),
    "stored": zipped(FILES, method=zipfile.ZIP_STORED),
    "bzip2": zipped(FILES, method=zipfile.ZIP_BZIP2),
    "streamed": zipped(FILES, streamed=True),
    "zip64": zipped(FILES, zip64=True),
    "streamed zip64": zipped(FILES, streamed=True, zip64=True),
    "comment": zipped(FILES, comment=b"about this archive"),
    "zip64 end": assembled(list(wheels.parts(FILES).values()), zip64_end=b""),
    "front": assembled(list(wheels.parts(FILES).values()), front=b"#!/usr/bin/python\n"),
    "gaps": assembled([replace(p, behind=b"gap") for p in wheels.parts(FILES).values()]),
    "extra": assembled(
        [
            replace(
                part,
                extra=struct.pack("<HHBL", 0x5455, 5, 1, 7),
                local_extra=struct.pack("<HHBL", 0x5455, 5, 1, 8),
            )
            for part in wheels.parts(FILES).values()
        ]
    ),
}
each_kind = pytest.mark.parametrize("content", KINDS.values(), ids=KINDS)


@each_kind
def test_nothing_changed_is_the_same_archive(content: bytes) -> None:
    assert rewritten(content) == content


@each_kind
@pytest.mark.parametrize("name", FILES)
def test_what_stays_is_copied_as_it_lies(content: bytes, name: str, tmp_path: Path) -> None:
    new = rewritten(content, replaced=[(name, b"new")], added=[(name, "z", b"added")])
    before, after = raw(content), raw(new)
    assert {other: after[other] for other in before if other != name} == {
        other: lying for other, lying in before.items() if other != name
    }
    old_entries = {member.name: elsewhere(member) for member in opened(content).members}
    for member in opened(new).members:
        if member.name not in {name, "z"}:
            assert elsewhere(member) == old_entries[member.name]
    with zipfile.ZipFile(io.BytesIO(new)) as archive:
        assert archive.read(name) == b"new"
        assert archive.read("z") == b"added"
    approved(new, tmp_path)


@each_kind
def test_order_comment_and_what_lies_in_front_are_kept(content: bytes) -> None:
    new = rewritten(
        content, replaced=[("a.txt", b"new")], added=[("e", "z", b"z")], drop=["b/c.txt"]
    )
    archive, old = opened(new), opened(content)
    names = ["a.txt", "b/", "d.bin", "z", "e"]
    assert [member.name for member in archive.members] == names
    assert [member.name for member, _ in extents(archive)] == names
    assert (archive.comment, archive.zip64) == (old.comment, old.zip64)
    assert archive.members[0].offset == old.members[0].offset
    assert new.startswith(content[: old.members[0].offset])


def test_a_directory_in_another_order_than_the_file_keeps_it(tmp_path: Path) -> None:
    one, two, three = (Part(name=name, content=name.encode()) for name in ("one", "two", "three"))
    content = assembled([one, two, three])
    at = [member.offset for member in opened(content).members]
    # The directory says three, one, two; the file holds one, two, three.
    end = content.index(b"PK\x01\x02")
    directory = assembled(
        [replace(three, offset=at[2]), replace(one, offset=at[0]), replace(two, offset=at[1])]
    )[end:]
    new = rewritten(content[:end] + directory, replaced=[("one", b"1")], added=[("two", "x", b"")])
    archive = opened(new)
    assert [member.name for member in archive.members] == ["three", "one", "x", "two"]
    assert [member.name for member, _ in extents(archive)] == ["one", "x", "two", "three"]
    approved(new, tmp_path)


def test_what_cannot_be_inflated_is_copied_all_the_same() -> None:
    # A broken stream, a method that nobody knows, a size of a terabyte: none of it is looked into.
    members = [
        Part(name="broken", data=b"\xff" * 40, size=100, crc=1),
        Part(name="unknown", method=99, content=b"secret"),
        Part(name="bomb", data=b"\x00", size=0xFFFFFFFE, crc=2),
        Part(name="last", content=b"x"),
    ]
    content = assembled(members)
    new = rewritten(content, replaced=[("last", b"y" * 500)], added=[("broken", "z", b"z" * 99)])
    for name in ("broken", "unknown", "bomb"):
        assert raw(new)[name] == raw(content)[name]
    with pytest.raises(WheelError):
        (archive := opened(new)).read(archive.members[1], limit=1000)


def test_a_new_member_takes_mode_and_time_and_is_stored_where_its_model_is() -> None:
    for content, method in ((KINDS["deflated"], 8), (KINDS["stored"], 0)):
        archive = opened(rewritten(content, replaced=[("d.bin", b"x" * 99)]))
        old, new = opened(content).members[3], archive.members[3]
        assert (new.external, new.date, new.time) == (old.external, old.date, old.time)
        assert (new.made_by, new.internal) == (old.made_by, old.internal)
        assert new.method == method


def test_a_new_member_needs_no_descriptor_and_has_no_extra_fields_of_its_model() -> None:
    for kind in ("streamed", "streamed zip64", "extra"):
        member = opened(rewritten(KINDS[kind], replaced=[("a.txt", b"x")])).members[0]
        assert (member.flags & 8, member.extra) == (0, b"")


def test_a_name_in_an_old_encoding_is_written_in_utf8() -> None:
    content = assembled([Part(name="", raw_name=b"caf\x82", flags=0, content=b"old")])
    new = rewritten(content, replaced=[("café", b"new")])
    with zipfile.ZipFile(io.BytesIO(new)) as archive:
        assert archive.read("café") == b"new"
        assert archive.infolist()[0].flag_bits == 0x800


def test_the_same_input_gives_the_same_bytes() -> None:
    def once() -> bytes:
        return rewritten(
            KINDS["deflated"],
            replaced=[("a.txt", b"new" * 100)],
            added=[("e", "z", b"added" * 100)],
        )

    assert once() == once()


def test_overlaps_are_found_before_they_are_copied() -> None:
    one = Part(name="a", content=b"x" * 100)
    content = assembled([one, replace(one, name="b", local_name=b"a", offset=0)])
    with pytest.raises(WheelError, match="overlaps"):
        rewritten(content)


def on_disk(folder: Path, content: bytes) -> bytes:
    """The archive with its last member replaced, copied from file to file."""
    source, target = folder / PATH.name, folder / "target"
    source.write_bytes(content)
    with source.open("rb") as file, target.open("w+b") as output:
        archive = open_archive(file, source)
        new = NewMember("e", b"new", archive.members[-1])
        rewrite(archive, output, Change({"e": new}))
    return target.read_bytes()


@each_kind
def test_files_are_copied_alike_in_the_kernel_and_by_hand(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand = rewritten(content, replaced=[("e", b"new")])  # in memory there is no other way
    assert on_disk(tmp_path, content) == by_hand
    monkeypatch.delattr(os, "copy_file_range", raising=False)  # as on macOS and Windows
    assert on_disk(tmp_path, content) == by_hand


def test_a_kernel_that_gives_up_half_way_is_helped_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform != "linux":
        pytest.skip("Linux copies in the kernel")
    real, calls = os.copy_file_range, 0

    def gives_up(source: int, target: int, count: int, offset: int) -> int:
        nonlocal calls
        calls += 1
        if calls % 2 == 0:
            raise OSError(5, "no more")
        return real(source, target, min(count, 17), offset)

    content = KINDS["deflated"]
    monkeypatch.setattr(os, "copy_file_range", gives_up)
    assert on_disk(tmp_path, content) == rewritten(content, replaced=[("e", b"new")])
    assert calls


def test_an_archive_that_shrinks_while_it_is_copied_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / PATH.name
    path.write_bytes(assembled([Part(name="a", method=0, content=bytes(100_000))]))
    with path.open("rb") as file, (tmp_path / "target").open("w+b") as output:
        archive = open_archive(file, path)
        os.truncate(path, 50_000)
        with pytest.raises(OSError, match="became shorter"):
            rewrite(archive, output, Change({}))


@pytest.mark.skipif(os.name == "nt", reason="a hole in a file takes room on Windows")
def test_members_that_come_to_lie_beyond_4_gib_are_written_in_zip64(tmp_path: Path) -> None:
    # The target begins with a hole of five gigabytes: as if so much had been copied already.
    hole = 5 << 30
    source, target = tmp_path / PATH.name, tmp_path / "target.zip"
    source.write_bytes(KINDS["extra"])
    with source.open("rb") as file, target.open("w+b") as output:
        output.truncate(hole)
        output.seek(hole)
        old = open_archive(file, source)
        new = NewMember("d.bin", b"new", old.members[3])
        rewrite(old, output, Change({"d.bin": new}))
        archive = open_archive(output, target)
        assert archive.zip64
        assert archive.table.end > hole
        assert [member.offset for member in archive.members[:3]] == [
            hole + member.offset for member in old.members[:3]
        ]
        assert {member.needed[0] for member in archive.members} == {45}
        # The zip64 field comes first, the others stay.
        assert archive.members[0].extra.endswith(old.members[0].extra)
        assert [name for name, _ in raw_at(archive)] == list(FILES)
    with zipfile.ZipFile(target) as referee:
        assert referee.testzip() is None
        assert referee.read("a.txt") == FILES["a.txt"]
        assert referee.read("d.bin") == b"new"


def raw_at(archive: Archive) -> list[tuple[str, int]]:
    return [(member.name, end) for member, end in extents(archive)]


def test_a_zip64_field_stays_until_its_member_moves() -> None:
    # Then it is as zipfile would have written it: a field only where it is needed.
    field = struct.pack("<HHQ", 1, 8, 0)
    parts = [Part(name="a", content=b"x", offset=0xFFFFFFFF, extra=field)]
    assert opened(rewritten(assembled(parts))).members[0].extra == field
    moved = opened(rewritten(assembled(parts), added=[("a", "z", b"z")])).members[1]
    assert (moved.offset > 0, moved.extra) == (True, b"")


@pytest.mark.parametrize("count", [0xFFFE, 0xFFFF, 0x10000])
def test_more_members_than_16_bits_count_are_written(count: int) -> None:
    new = rewritten(wheels.crowd(count - 1), added=[("00000001", "added", b"")])
    assert (b"PK\x06\x06" in new) == (count >= 0xFFFF)
    with zipfile.ZipFile(io.BytesIO(new)) as referee:
        names = [f"{number:08}" for number in range(count - 1)]
        assert referee.namelist() == [names[0], "added", *names[1:]]


# As they are, at the edge of 32 bits, and beyond it.
WIDTHS = st.sampled_from([0, 7, 0xFFFFFFFE, 0xFFFFFFFF, 0x100000000, 5 << 30])


@given(WIDTHS, WIDTHS, WIDTHS)
def test_whatever_is_too_wide_stands_in_the_zip64_field(
    size: int, compressed: int, offset: int
) -> None:
    # Only the directory: files of this size would take too long.
    archive = opened(KINDS["extra"])
    member = replace(archive.members[0], size=size, compressed=compressed, offset=offset)
    target = io.BytesIO()
    target.write(central(member))
    write_end(target, archive, count=1, offset=0, length=target.tell())
    with zipfile.ZipFile(target) as referee:
        (info,) = referee.infolist()
    assert (info.file_size, info.compress_size, info.header_offset) == (size, compressed, offset)


NAMES = st.text("abcé/", min_size=1, max_size=5).filter(lambda name: all(name.split("/")))


@settings(deadline=None)
@given(
    st.dictionaries(NAMES, st.binary(max_size=300), min_size=1, max_size=6),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]),
    st.tuples(st.booleans(), st.booleans()),
    st.data(),
)
def test_any_change_of_any_archive_reads_as_it_should(
    files: dict[str, bytes], method: int, kind: tuple[bool, bool], data: st.DataObject
) -> None:
    streamed, zip64 = kind
    content = zipped(files, method=method, streamed=streamed, zip64=zip64)
    names = st.lists(st.sampled_from(list(files)), unique=True)
    replaced = {name: data.draw(st.binary(max_size=300)) for name in data.draw(names)}
    drop = [name for name in data.draw(names) if name not in replaced]
    at = data.draw(st.none() | st.sampled_from(list(files)))
    added = [] if at is None else [(at, "new", b"added")]
    new = rewritten(content, replaced=replaced.items(), added=added, drop=drop)
    expected: dict[str, bytes] = {}
    for name, old in files.items():
        if name == at:
            expected["new"] = b"added"
        if name not in drop:
            expected[name] = replaced.get(name, old)
    with zipfile.ZipFile(io.BytesIO(new)) as referee:
        assert referee.testzip() is None
        assert {name: referee.read(name) for name in referee.namelist()} == expected
        assert referee.namelist() == list(expected)
    before = raw(content)
    for name, lying in raw(new).items():
        if name != "new" and name not in replaced:
            assert lying == before[name]
