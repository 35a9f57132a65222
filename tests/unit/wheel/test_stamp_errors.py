"""Wheels that can't be stamped: a WheelError, and no files are left."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polywheel.errors import WheelError
from polywheel.wheel.archive.reader import open_archive
from polywheel.wheel.dist_info import read_dist_info
from polywheel.wheel.stamp import stamp_wheel
from support import wheels
from support.wheels import (
    FIELDS,
    FILES,
    INFO,
    KINDS,
    LABELLED,
    NAME,
    RECORD,
    VARIANT_JSON,
    Part,
    assembled,
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


def refused(content: bytes, why: str, folder: Path) -> None:
    (folder / NAME).write_bytes(content)
    with pytest.raises(WheelError, match=why) as raised:
        stamp_wheel(folder / NAME, folder / LABELLED, stamp(), notify=silent)
    assert NAME in str(raised.value)
    assert names(folder) == [NAME]  # nothing half made is left behind


def changed(**by_name: Callable[[Part], Part]) -> bytes:
    """A wheel with ``METADATA``, ``RECORD`` or another file of dist-info made anew."""
    made = parts(wheel_files())
    for name, change in by_name.items():
        made[f"{INFO}/{name}"] = change(made[f"{INFO}/{name}"])
    return assembled(list(made.values()))


def test_what_is_no_wheel_is_refused(tmp_path: Path) -> None:
    refused(b"", "not a zip archive", tmp_path)
    refused(b"# a text\n" * 100, "not a zip archive", tmp_path)
    refused(zipped({}), "no .dist-info", tmp_path)
    refused(zipped({"demo.py": b""}), "no .dist-info", tmp_path)
    refused(zipped({"demo-1.0.dist-info": b""}), "no .dist-info", tmp_path)
    refused(zipped({"demo/demo-1.0.dist-info/METADATA": b""}), "no .dist-info", tmp_path)


def test_two_dist_infos_are_refused(tmp_path: Path) -> None:
    files = wheel_files({**FILES, "other-1.0.dist-info/METADATA": b""})
    refused(zipped(files), "several .dist-info folders", tmp_path)


def test_the_dist_info_of_another_distribution_is_refused(tmp_path: Path) -> None:
    files = {name.replace("demo-1.0", "other-1.0"): b"" for name in wheel_files()}
    refused(zipped(files), "belongs to another distribution than demo", tmp_path)


def test_names_of_distributions_are_compared_normalized(tmp_path: Path) -> None:
    files = {"My.Demo-1.0.dist-info/METADATA": FIELDS, "My.Demo-1.0.dist-info/RECORD": b""}
    listed = row("My.Demo-1.0.dist-info/METADATA", FIELDS)
    files["My.Demo-1.0.dist-info/RECORD"] = listed.encode()
    source = tmp_path / "my_demo-1.0-py3-none-any.whl"
    source.write_bytes(zipped(files))
    with source.open("rb") as file:
        assert read_dist_info(open_archive(file, source)).folder == "My.Demo-1.0.dist-info"


@pytest.mark.parametrize("missing", ["METADATA", "RECORD"])
def test_a_dist_info_without_its_files_is_refused(missing: str, tmp_path: Path) -> None:
    files = wheel_files()
    del files[f"{INFO}/{missing}"]
    refused(zipped(files), f"{INFO}/{missing} is missing", tmp_path)


def test_a_file_that_is_no_wheel_by_its_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "demo.zip"
    path.write_bytes(KINDS["deflated"])
    with pytest.raises(WheelError, match=r"'demo.zip' is not the name of a wheel"):
        stamp_wheel(path, tmp_path / LABELLED, stamp(), notify=silent)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (row("demo/data.bin", FILES["demo/data.bin"]), "", "does not list 'demo/data.bin'"),
        ("", row("demo/more.py", b""), "lists 'demo/more.py', which is not in the archive"),
        ("", row(f"{INFO}/RECORD.jws", b""), "RECORD.jws', which is not in the archive"),
        ("", "\x1b[2J,,\n", r"lists '\\x1b\[2J', which is not in the archive"),
        (",256\n", ",257\n", "gives 'demo/data.bin' '257' bytes, the archive '256'"),
        (",256\n", ",x\n", "gives 'demo/data.bin' 'x' bytes"),
        ("METADATA,sha256=", "METADATA,sha256=x", "METADATA. the hash .*, its content has"),
        ("METADATA,sha256=", "METADATA,shake_128=", "METADATA. the hash .* not SHA-256 or better"),
        ("METADATA,sha256=", "METADATA,md5=", "METADATA. the hash .* not SHA-256 or better"),
        ("demo/data.bin,", "demo/data.bin,,", "three fields"),
        ("", "demo/data.bin,,\n", "lists 'demo/data.bin' twice"),
        ("", '"\n', "malformed"),
    ],
)
def test_a_record_that_disagrees_is_refused(old: str, new: str, why: str, tmp_path: Path) -> None:
    files = wheel_files()
    record = files[RECORD].decode()
    assert old in record
    files[RECORD] = record.replace(old, new, 1).encode()
    refused(zipped(files), why, tmp_path)


def test_a_record_without_hashes_is_held_against_what_it_says(tmp_path: Path) -> None:
    files = wheel_files()
    files[RECORD] = "".join(f"{name},,\n" for name in files).encode()
    assert files_of(stamped(tmp_path, zipped(files)))[RECORD].count(b"sha256=") == 2


def test_an_old_variant_json_that_is_not_in_record_is_refused(tmp_path: Path) -> None:
    files = {**wheel_files(), VARIANT_JSON: b"{}"}
    refused(zipped(files), "does not list .*variant.json", tmp_path)
    files = {**wheel_files({VARIANT_JSON: b"{}"}), VARIANT_JSON: b"[]"}
    refused(zipped(files), "variant.json. the hash .*, its content has", tmp_path)


def test_a_record_of_endless_rows_is_refused_before_it_is_read(tmp_path: Path) -> None:
    # 20 MB of rows take gigabytes in memory, and 20 kB in the archive.
    files = wheel_files()
    files[RECORD] += b"".join(b"%d,,\n" % number for number in range(2_000_000))
    refused(zipped(files), "has .* bytes, over the limit", tmp_path)


def test_metadata_that_lies_about_itself_is_refused(tmp_path: Path) -> None:
    bomb = wheels.deflated(bytes(50_000_000))
    for change, why in (
        (lambda part: replace(part, data=bomb), "differs from its entry|over the limit"),
        (lambda part: replace(part, size=1 << 31), "over the limit"),
        (lambda part: replace(part, method=99), "unknown method 99"),
        (lambda part: replace(part, flags=1), "encrypted"),
        (lambda part: replace(part, local_name=b"x" * 27), "another name in its local header"),
        (lambda part: replace(part, offset=0), "another name in its local header|overlaps"),
        (lambda part: replace(part, name="../METADATA"), "leads out of the archive"),
    ):
        refused(changed(METADATA=change), why, tmp_path)
        refused(changed(RECORD=change), why, tmp_path)


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    bomb = wheels.deflated(bytes(60_000_000))
    tracemalloc.start()
    refused(
        changed(METADATA=lambda part: replace(part, data=bomb)), "differs from its entry", tmp_path
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    made = parts(wheel_files())
    made["demo/data.bin"] = replace(
        made["demo/data.bin"], offset=0, local_name=None, content=FILES["demo/__init__.py"]
    )
    with pytest.raises(WheelError):
        stamped(tmp_path, assembled(list(made.values())))


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(sorted(KINDS)), st.integers(0, 5000))
def test_a_wheel_cut_anywhere_is_refused(
    tmp_path_factory: pytest.TempPathFactory, kind: str, at: int
) -> None:
    content = KINDS[kind]
    with pytest.raises(WheelError):
        stamped(tmp_path_factory.getbasetemp(), content[: at % len(content)])


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 255)), min_size=1, max_size=3),
)
def test_a_wheel_with_flipped_bytes_is_refused_or_stamped_right(
    tmp_path_factory: pytest.TempPathFactory, kind: str, flips: list[tuple[int, int]]
) -> None:
    content = bytearray(KINDS[kind])
    for at, mask in flips:
        content[at % len(content)] ^= mask
    try:
        # Headers that are odd, and no more, are not kept for unlabel, which is told.
        new = stamped(tmp_path_factory.getbasetemp(), bytes(content), notify=lambda _: None)
    except WheelError:
        return
    archive = open_archive(io.BytesIO(new), Path(NAME))
    found = read_dist_info(archive)
    assert found.metadata == FIELDS + b"Variant-Label: v3\n"
    assert VARIANT_JSON in found.archive.table.position
