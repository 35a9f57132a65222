"""Changing a wheel in place: the same result as a copy, and never half a wheel."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from polywheel.errors import WheelError
from polywheel.system.files import rename
from polywheel.system.locks import try_lock
from polywheel.wheel import in_place
from polywheel.wheel.archive.reader import gap_mark, open_archive, unfinished_mark
from polywheel.wheel.dist_info import read_dist_info
from polywheel.wheel.in_place import change_in_place
from polywheel.wheel.stamp import MakeChange, stamp_change, stamp_wheel
from support.wheels import (
    FILES,
    INFO,
    LABELLED,
    NAME,
    extents,
    names,
    stamp,
    stamped,
    wheel_files,
    with_record,
    zipped,
)

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
    return lambda found: stamp_change(found, stamp(), name=LABELLED, notify=print)


def beside(folder: Path) -> Path:
    """Another folder, for what is to be compared."""
    other = folder.parent / f"{folder.name}-expected"
    other.mkdir(exist_ok=True)
    return other


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
    real_put = in_place._write_at

    def put(file: Any, at: int, new: bytes) -> None:
        before = path.read_bytes()
        for cut in sorted({0, 1, 20, len(new) // 3, len(new) // 2, len(new) - 1}):
            end = at + cut
            written.append(before[:at] + new[:cut] + before[end:])
        real_put(file, at, new)
        written.append(path.read_bytes())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_place, "_write_at", put)
        patch.setattr(in_place, "_run_shielded", lambda write: write())
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
            [archive.read(member, limit=10**9) for member, _ in extents(archive)]
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

    monkeypatch.setattr(in_place, "_write_at", full)
    with pytest.raises(WheelError, match="No space left"):
        stamp_in_place(path)
    assert path.read_bytes() == KINDS["zipfile"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows writes without a child")
@pytest.mark.parametrize("error", [ValueError, MemoryError, SystemExit, KeyboardInterrupt])
def test_a_child_that_fails_in_any_way_has_failed(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Success is what the child says at its end, and what then stands in the file."""
    path = tmp_path / NAME
    path.write_bytes(KINDS["zipfile"])

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(in_place, "_write_at", fails)
    with pytest.raises(WheelError, match="can't be changed"):
        stamp_in_place(path)
    assert names(tmp_path) == [NAME]
    assert path.read_bytes() == KINDS["zipfile"]


@pytest.mark.parametrize("done", [0, 1])
def test_what_was_written_is_read_back(
    done: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / NAME
    path.write_bytes(KINDS["zipfile"])
    real_put, real_shielded = in_place._write_at, in_place._run_shielded

    def shielded(write: Callable[[], None]) -> None:
        left = [done]

        def put(file: Any, at: int, new: bytes) -> None:
            if left.pop() if left else 0:
                real_put(file, at, new)
            left.append(0)

        monkeypatch.setattr(in_place, "_write_at", put)
        real_shielded(write)
        monkeypatch.setattr(in_place, "_write_at", real_put)

    monkeypatch.setattr(in_place, "_run_shielded", shielded)
    with pytest.raises(WheelError, match="does not have the written content"):
        stamp_in_place(path)
    assert names(tmp_path) == [NAME]
    assert path.read_bytes() == KINDS["zipfile"]


@pytest.mark.skipif(sys.platform == "win32", reason="only POSIX can limit the size of files")
@pytest.mark.parametrize("behind", [b"", b"left by an interrupted change"])
def test_a_full_disk_leaves_every_byte_as_it_was(behind: bytes, tmp_path: Path) -> None:
    """The limit lets a write begin and stops it after some bytes, as a full disk does."""
    content = KINDS["zipfile"]
    if behind:
        content += unfinished_mark(len(content)) + behind
    (tmp_path / NAME).write_bytes(content)
    script = """
        import resource, sys
        from pathlib import Path
        from support import wheels
        from polywheel.errors import WheelError
        from polywheel.wheel.in_place import change_in_place
        from polywheel.wheel.stamp import stamp_change
        path = Path(sys.argv[1])
        old, target = path.read_bytes(), path.with_name(wheels.LABELLED)
        make = lambda found: stamp_change(found, wheels.stamp(), name=target.name, notify=wheels.silent)
        for more in (0, 1, 40, 300, 1000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(old) + more, resource.RLIM_INFINITY))
            try:
                change_in_place(path, target, make, overwrite=False)
            except WheelError as error:
                print(str(error).splitlines()[0], path.read_bytes() == old, target.exists())
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / NAME)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (
        done.stdout.splitlines()
        == [f"error: {NAME} can't be changed: File too large True False"] * 5
    ), done.stderr
    assert (tmp_path / NAME).read_bytes() == content


def test_a_name_that_can_not_be_given_leaves_every_byte_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / NAME
    path.write_bytes(KINDS["zipfile"])

    def taken_meanwhile(source: Path, target: Path, *, overwrite: bool) -> None:
        target.write_bytes(b"of another run")
        rename(source, target, overwrite=overwrite)

    monkeypatch.setattr(in_place, "rename", taken_meanwhile)
    with pytest.raises(WheelError, match="already exists"):
        stamp_in_place(path)
    assert path.read_bytes() == KINDS["zipfile"]
    assert (tmp_path / LABELLED).read_bytes() == b"of another run"


@pytest.mark.parametrize("kind", ["in place", "copied"])
def test_a_wheel_that_is_not_right_is_seen_before_anything_is_written(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / NAME
    path.write_bytes(KINDS["zipfile"])
    if kind == "copied":
        os.link(path, tmp_path / "in-some-cache")
    expected = stamped(beside(tmp_path), KINDS["zipfile"])

    def check(file: BinaryIO, target: Path) -> None:
        assert target == tmp_path / LABELLED
        file.seek(0)
        assert file.read() == expected
        file.seek(-30, os.SEEK_END)
        assert file.read(8) == expected[-30:-22]
        assert file.tell() == len(expected) - 22
        raise WheelError("not right")

    with pytest.raises(WheelError, match="not right"):
        change_in_place(path, tmp_path / LABELLED, making(), overwrite=False, check=check)
    assert path.read_bytes() == KINDS["zipfile"]
    assert not (tmp_path / LABELLED).exists()


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
    with pytest.raises(WheelError, match="already exists"):
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


def test_the_lock_is_held_until_the_wheel_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another run stamps the wheel between the change and the name of the first."""
    path = tmp_path / NAME
    path.write_bytes(KINDS["zipfile"])

    def with_another_run(source: Path, target: Path, *, overwrite: bool) -> None:
        with pytest.raises(WheelError, match="another run"):
            change_in_place(
                path, tmp_path / "demo-1.0-py3-none-any-v4.whl", making(), overwrite=False
            )
        rename(source, target, overwrite=overwrite)

    monkeypatch.setattr(in_place, "rename", with_another_run)
    stamp_in_place(path)
    assert names(tmp_path) == [LABELLED]
    assert (tmp_path / LABELLED).read_bytes() == stamped(beside(tmp_path), KINDS["zipfile"])


@pytest.mark.skipif(sys.platform == "win32", reason="an open file keeps its name there")
@pytest.mark.parametrize("replaced", [False, True])
def test_a_wheel_that_got_another_name_meanwhile_is_left_alone(
    replaced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening it and the lock, another run may come to its end."""
    path, other = tmp_path / NAME, tmp_path / "demo-1.0-py3-none-any-v4.whl"
    path.write_bytes(KINDS["zipfile"])

    def lock(file: BinaryIO) -> bool:
        path.rename(other)
        if replaced:
            path.write_bytes(KINDS["comment"])
        return try_lock(file)

    monkeypatch.setattr(in_place, "try_lock", lock)
    with pytest.raises(WheelError, match="another run"):
        stamp_in_place(path)
    assert other.read_bytes() == KINDS["zipfile"]
    assert not (tmp_path / LABELLED).exists()


def test_a_gap_over_members_is_refused(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(zipped(wheel_files(), comment=gap_mark(1, 500)))
    with pytest.raises(WheelError, match="a gap that does not exist"):
        stamp_wheel(path, tmp_path / LABELLED, stamp(), notify=print)
