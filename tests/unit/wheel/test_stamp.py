"""Stamping a wheel: the changed files, and the unchanged ones."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from polywheel.wheel.archive.reader import open_archive
from polywheel.wheel.stamp import Stamp, stamp_wheel
from support.wheels import (
    FIELDS,
    FILES,
    INFO,
    KINDS,
    LABELLED,
    METADATA,
    NAME,
    NEW_JSON,
    RECORD,
    VARIANT_JSON,
    assembled,
    check_record,
    extents,
    files_of,
    names,
    parts,
    row,
    silent,
    stamp,
    stamped,
    wheel_files,
    zipped,
)

each_kind = pytest.mark.parametrize("content", KINDS.values(), ids=KINDS)


def raw(content: bytes) -> dict[str, bytes]:
    archive = open_archive(io.BytesIO(content), Path(NAME))
    return {member.name: content[member.offset : end] for member, end in extents(archive)}


# -- what is in a stamped wheel


@each_kind
def test_a_stamped_wheel_has_new_metadata_variant_json_and_a_record_that_is_right(
    content: bytes, tmp_path: Path
) -> None:
    new = stamped(tmp_path, content)
    check_record(new)
    before, after = files_of(content), files_of(new)
    assert after[METADATA] == FIELDS + b"Variant-Label: v3\n"
    assert after[VARIANT_JSON] == NEW_JSON
    assert after.keys() == {*before, VARIANT_JSON}
    for name in before.keys() - {METADATA, RECORD}:
        assert after[name] == before[name]


@each_kind
def test_members_that_do_not_change_are_copied_as_they_lie(content: bytes, tmp_path: Path) -> None:
    new = stamped(tmp_path, content)
    before, after = raw(content), raw(new)
    for name in before.keys() - {METADATA, RECORD}:
        assert after[name] == before[name]
    assert (tmp_path / NAME).read_bytes() == content


@each_kind
def test_the_order_is_kept_and_variant_json_comes_in_front_of_record(
    content: bytes, tmp_path: Path
) -> None:
    new = stamped(tmp_path, content)
    expected = list(files_of(content))
    expected.insert(expected.index(RECORD), VARIANT_JSON)
    assert list(files_of(new)) == expected  # in the directory
    assert list(raw(new)) == expected  # in the file


@each_kind
def test_referees_find_nothing_wrong(content: bytes, tmp_path: Path) -> None:
    stamped(tmp_path, content)
    with zipfile.ZipFile(tmp_path / LABELLED) as archive:
        assert archive.testzip() is None
        assert archive.comment == (b"about this wheel" if content == KINDS["comment"] else b"")
    if unzip := shutil.which("unzip"):
        subprocess.run([unzip, "-tq", tmp_path / LABELLED], check=True, capture_output=True)


def test_modes_and_times_are_kept(tmp_path: Path) -> None:
    content = KINDS["deflated"]
    new = stamped(tmp_path, content)
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(io.BytesIO(new)) as after:
        for name in before.namelist():
            old = before.getinfo(name)
            assert after.getinfo(name).external_attr == old.external_attr
            assert after.getinfo(name).date_time == old.date_time
        model, added = before.getinfo(METADATA), after.getinfo(VARIANT_JSON)
    assert (added.external_attr, added.date_time) == (model.external_attr, model.date_time)


def test_files_that_cannot_be_inflated_are_no_hindrance(tmp_path: Path) -> None:
    files = wheel_files({**FILES, "demo/odd.bin": b"x" * 50})
    made = parts(files)
    made["demo/__init__.py"] = replace(made["demo/__init__.py"], data=b"\xff" * 30)
    made["demo/odd.bin"] = replace(made["demo/odd.bin"], method=99)
    new = stamped(tmp_path, assembled(list(made.values())))
    for name in ("demo/__init__.py", "demo/odd.bin"):
        assert raw(new)[name] == raw(assembled(list(made.values())))[name]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for content in KINDS.values():
        assert stamped(tmp_path, content) == stamped(tmp_path, content)


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (1_700_000_000, (2023, 11, 14, 22, 13, 20)),
        (1_700_000_001, (2023, 11, 14, 22, 13, 20)),  # an entry counts in steps of two seconds
        (0, (1980, 1, 1, 0, 0, 0)),
        (-5, (1980, 1, 1, 0, 0, 0)),
        (315532800, (1980, 1, 1, 0, 0, 0)),
        (4354819199, (2107, 12, 31, 23, 59, 58)),
        (10**30, (2107, 12, 31, 23, 59, 58)),
    ],
)
def test_source_date_epoch_is_the_time_of_what_is_new(
    epoch: int, expected: tuple[int, ...], tmp_path: Path
) -> None:
    content = KINDS["deflated"]
    new = stamped(tmp_path, content, stamp(epoch=epoch))
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(io.BytesIO(new)) as after:
        assert after.getinfo(VARIANT_JSON).date_time == expected
        for name in before.namelist():
            assert after.getinfo(name).date_time == before.getinfo(name).date_time


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_the_wheel_has_the_mode_of_its_source(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(KINDS["deflated"])
    for mode in (0o644, 0o600, 0o664):
        (tmp_path / NAME).chmod(mode)
        stamp_wheel(tmp_path / NAME, tmp_path / LABELLED, stamp(), notify=silent)
        assert stat.S_IMODE((tmp_path / LABELLED).stat().st_mode) == mode


def test_metadata_is_given_to_the_stamp_as_it_is(tmp_path: Path) -> None:
    seen = []

    def metadata(old: bytes) -> bytes:
        seen.append(old)
        return b""

    odd = b"Name: demo\r\n\r\n\xff\xfe"
    content = zipped(wheel_files(metadata=odd))
    said: list[str] = []
    what = Stamp(metadata=metadata, variant_json=b"{}")
    new = stamped(tmp_path, content, what, notify=said.append)
    assert ["can't restore the original" in message for message in said] == [True]
    assert seen == [odd]
    assert files_of(new)[METADATA] == b""
    check_record(new)


# -- restamping, signatures


@each_kind
def test_a_restamp_replaces_the_stamp_in_its_place(content: bytes, tmp_path: Path) -> None:
    once = stamped(tmp_path, content)

    again = stamped(tmp_path, once, stamp(label="v4", variant_json=b"{}"))
    check_record(again)
    assert list(files_of(again)) == list(files_of(once))
    assert files_of(again)[VARIANT_JSON] == b"{}"
    assert files_of(again)[METADATA] == FIELDS + b"Variant-Label: v4\n"


def test_a_restamp_with_the_same_is_the_same_wheel(tmp_path: Path) -> None:
    once = stamped(tmp_path, KINDS["deflated"])
    assert stamped(tmp_path, once) == once


def test_a_labelled_wheel_is_stamped_over_itself(tmp_path: Path) -> None:
    path = tmp_path / LABELLED
    path.write_bytes(KINDS["deflated"])
    stamp_wheel(path, path, stamp(), notify=silent)
    check_record(path.read_bytes())
    assert files_of(path.read_bytes())[VARIANT_JSON] == NEW_JSON
    assert names(tmp_path) == [LABELLED]


def test_signatures_of_record_are_left_out_with_a_warning(tmp_path: Path) -> None:
    files = wheel_files()
    # One that RECORD lists, as it need not be, and one that it does not.
    files[RECORD] = row(f"{INFO}/RECORD.jws", b"{}").encode() + files[RECORD]
    files |= {f"{INFO}/RECORD.jws": b"{}", f"{INFO}/RECORD.p7s": b"signed"}
    (tmp_path / NAME).write_bytes(zipped(files))
    said: list[str] = []
    stamp_wheel(tmp_path / NAME, tmp_path / LABELLED, stamp(), notify=said.append)
    assert [message.split()[:2] for message in said] == [
        ["warning:", f"{INFO}/RECORD.jws"],
        ["warning:", f"{INFO}/RECORD.p7s"],
    ]
    assert all(LABELLED in message for message in said)
    new = (tmp_path / LABELLED).read_bytes()
    check_record(new)
    assert not [name for name in files_of(new) if "RECORD." in name]


def test_a_signature_of_something_else_stays(tmp_path: Path) -> None:
    content = zipped(wheel_files({"demo/RECORD.jws": b"{}"}))
    assert "demo/RECORD.jws" in files_of(stamped(tmp_path, content))
