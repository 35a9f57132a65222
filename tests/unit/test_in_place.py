"""Changing a wheel where it lies: the same wheel as by copying, and whole whatever happens."""

from __future__ import annotations

import io
import os
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wheels import (
    FILES,
    INFO,
    LABELLED,
    NAME,
    stamp,
    stamped,
    wheel_files,
    with_record,
    zipped,
)

from polywheel.errors import WheelError
from polywheel.system.locks import try_lock
from polywheel.wheel import in_place
from polywheel.wheel.archive import open_archive
from polywheel.wheel.dist_info import read_dist_info
from polywheel.wheel.in_place import change_in_place
from polywheel.wheel.stamp import MakeChange, stamp_wheel
from polywheel.wheel.stamping_change import stamping

LARGE = {"demo/noise.bin": random.Random(1).randbytes(400_000)}
KINDS = {
    "zipfile": zipped(wheel_files({**FILES, **LARGE})),
    "streamed": zipped(wheel_files({**FILES, **LARGE}), streamed=True),
    "comment": zipped(wheel_files({**FILES, **LARGE}), comment=b"hello"),
    "zip64": zipped(wheel_files({**FILES, **LARGE}), zip64=True),
    "more than 64 KiB of RECORD and directory": zipped(
        wheel_files({**LARGE, **{f"demo/{n:05}.py": b"" for n in range(2000)}})
    ),
}
each_kind = pytest.mark.parametrize("content", KINDS.values(), ids=KINDS)


def making() -> MakeChange:
    return lambda found: stamping(found, stamp(), name=LABELLED, notify=print)


def stamp_in_place(path: Path) -> None:
    change_in_place(path, path.with_name(LABELLED), making(), overwrite=False)


def readable(content: bytes) -> bool:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.testzip() is None


@each_kind
def test_the_wheel_is_what_copying_makes_of_it(content: bytes, tmp_path: Path) -> None:
    copied = stamped(tmp_path, content)
    (tmp_path / LABELLED).unlink()
    inode = (tmp_path / NAME).stat().st_ino
    stamp_in_place(tmp_path / NAME)
    assert [path.name for path in tmp_path.iterdir()] == [LABELLED]
    assert (tmp_path / LABELLED).read_bytes() == copied
    assert (tmp_path / LABELLED).stat().st_ino == inode


class Killed(BaseException):
    """No clean-up comes after it: the file is looked at as it was then."""


def states(content: bytes, folder: Path) -> Iterator[bytes]:
    """The file after every write that is cut short at some byte, and between the writes."""
    path = folder / NAME
    written: list[bytes] = []
    real_put = in_place._put

    def put(file: Any, at: int, new: bytes) -> None:
        before = path.read_bytes()
        for cut in sorted({0, 1, 20, len(new) // 3, len(new) // 2, len(new) - 1}):
            end = at + cut
            written.append(before[:at] + new[:cut] + before[end:])
        real_put(file, at, new)
        written.append(path.read_bytes())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_place, "_put", put)
        patch.setattr(in_place, "_shielded", lambda write: write())
        path.write_bytes(content)
        stamp_in_place(path)
    (folder / LABELLED).unlink()
    yield from written


@each_kind
def test_cut_short_anywhere_it_is_the_old_wheel_or_the_new_one(
    content: bytes, tmp_path: Path
) -> None:
    new = stamped(tmp_path, content)
    old_names, new_names = (zipfile.ZipFile(io.BytesIO(one)).namelist() for one in (content, new))
    (tmp_path / LABELLED).unlink()
    cut = list(states(content, tmp_path))
    assert len(cut) == 14
    for number, state in enumerate(cut):
        path = tmp_path / NAME
        path.write_bytes(state)
        with path.open("rb") as file:
            archive = open_archive(file, path)
            assert archive.table.names in (old_names, new_names)
            read_dist_info(archive)
            [archive.read(member, limit=10**9) for member, _ in archive.extents()]
        if number >= 6 or len(state) - len(content) < 60_000:
            assert readable(state)
        # The next run finishes, copying or in place.
        stamp_wheel(path, tmp_path / LABELLED, stamp(), notify=print)
        assert (tmp_path / LABELLED).read_bytes() == new
        (tmp_path / LABELLED).unlink()
        stamp_in_place(path)
        assert (tmp_path / LABELLED).read_bytes() == new
        (tmp_path / LABELLED).unlink()


def test_what_an_error_interrupts_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / NAME
    path.write_bytes(KINDS["zipfile"])

    def full(file: Any, at: int, new: bytes) -> None:
        file.seek(at)
        file.write(new[:100])
        file.flush()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(in_place, "_put", full)
    with pytest.raises(WheelError, match="No space left"):
        stamp_in_place(path)
    assert path.read_bytes() == KINDS["zipfile"]


def test_a_file_with_two_names_is_copied(tmp_path: Path) -> None:
    path, cached = tmp_path / NAME, tmp_path / "in-some-cache"
    path.write_bytes(KINDS["zipfile"])
    os.link(path, cached)
    stamp_in_place(path)
    assert cached.read_bytes() == KINDS["zipfile"]
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([LABELLED, cached.name])


def test_a_wheel_whose_dist_info_is_not_its_end_is_copied(tmp_path: Path) -> None:
    files = wheel_files()
    order = [f"{INFO}/METADATA", f"{INFO}/WHEEL", *FILES, *LARGE]
    listed = with_record({name: {**files, **LARGE}[name] for name in order})
    content = zipped(listed)
    new = stamped(tmp_path, content)
    (tmp_path / LABELLED).unlink()
    stamp_in_place(tmp_path / NAME)
    assert [path.name for path in tmp_path.iterdir()] == [LABELLED]
    assert (tmp_path / LABELLED).read_bytes() == new


def test_a_run_killed_between_the_two_names_is_ended_by_the_next(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(KINDS["zipfile"])
    stamp_in_place(tmp_path / NAME)
    os.link(tmp_path / LABELLED, tmp_path / NAME)
    new = (tmp_path / LABELLED).read_bytes()
    stamp_in_place(tmp_path / NAME)
    assert [path.name for path in tmp_path.iterdir()] == [LABELLED]
    assert (tmp_path / LABELLED).read_bytes() == new


def test_a_name_that_is_taken_stays(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(KINDS["zipfile"])
    (tmp_path / LABELLED).write_bytes(b"another")
    with pytest.raises(WheelError, match="is there already"):
        stamp_in_place(tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == KINDS["zipfile"]
    assert (tmp_path / LABELLED).read_bytes() == b"another"


def test_two_runs_at_once_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(KINDS["zipfile"])
    with (tmp_path / NAME).open("r+b") as other:
        assert try_lock(other)
        with pytest.raises(WheelError, match="another run"):
            stamp_in_place(tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == KINDS["zipfile"]


def test_a_gap_over_members_is_refused(tmp_path: Path) -> None:
    from polywheel.wheel.interrupted import gap_mark

    path = tmp_path / NAME
    path.write_bytes(zipped(wheel_files(), comment=gap_mark(1, 500)))
    with pytest.raises(WheelError, match="a gap that is not there"):
        stamp_wheel(path, tmp_path / LABELLED, stamp(), notify=print)
