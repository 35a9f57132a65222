"""Work folders of builds: none is used twice at the same time, and no build waits."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from polywheel.errors import BuildError
from polywheel.run.work_folder import (
    group_file,
    open_work_folder,
    remove_abandoned_work,
)
from polywheel.system.locks import hold_lock


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "cache"))


def test_it_is_empty_before_and_after(tmp_path: Path) -> None:
    place = tmp_path / "build"
    with open_work_folder(place) as work:
        assert work.folder == place
        assert not work.source.exists()
        work.source.mkdir()
        (work.source / "file").touch()
        work.scratch.mkdir()
    assert [path.name for path in place.iterdir()] == ["lock"]
    (place / "source").mkdir()
    (place / "source" / "of a killed run").touch()
    with open_work_folder(place) as work:
        assert not work.source.exists()


def test_two_at_a_time_have_folders_of_their_own(tmp_path: Path) -> None:
    with (
        open_work_folder(tmp_path) as first,
        open_work_folder(tmp_path) as second,
        open_work_folder(tmp_path) as third,
    ):
        folders = [one.folder for one in (first, second, third)]
        assert folders == [tmp_path, tmp_path / "2", tmp_path / "3"]
    with open_work_folder(tmp_path) as work:
        assert work.folder == tmp_path


def test_kept_files_stay_until_the_next_build(tmp_path: Path) -> None:
    place = tmp_path / "build"
    with open_work_folder(place) as work:
        work.source.mkdir()
        work.keep()
    assert work.source.is_dir()
    remove_abandoned_work(tmp_path)
    assert work.source.is_dir()
    with open_work_folder(place) as work:
        assert not work.source.exists()
    assert [path.name for path in place.iterdir()] == ["lock"]


def test_what_killed_runs_left_is_removed_and_what_is_in_use_stays(tmp_path: Path) -> None:
    left = []
    for place in ("one", "one/2", "two", "cibuildwheel/one", "cibuildwheel/one/3"):
        with open_work_folder(tmp_path / place) as work:
            pass
        work.source.mkdir()
        work.scratch.mkdir()
        left.append(work)
    with open_work_folder(tmp_path / "used") as used:
        used.source.mkdir()
        remove_abandoned_work(tmp_path)
        assert used.source.is_dir()
    assert not [work for work in left if work.source.exists() or work.scratch.exists()]
    assert all((work.folder / "lock").exists() for work in left)


def test_waiting_for_a_lock_ends_with_the_run_and_with_its_time(tmp_path: Path) -> None:
    path, said, stop = tmp_path / "lock", [], Event()
    with hold_lock(path, stop=stop, waiting=lambda: None):
        waits = hold_lock(path, stop=stop, waiting=lambda: said.append("waiting"), seconds=0.2)
        with pytest.raises(BuildError, match="seconds for another run"), waits:
            pass
        assert said == ["waiting"]
        stop.set()
        with (
            pytest.raises(BuildError, match="stopped"),
            hold_lock(path, stop=stop, waiting=lambda: None),
        ):
            pass


@pytest.mark.parametrize("content", [b"", b"-1", b"0", b"1", b"x", b"9" * 19, b"9" * 30, b"\xff"])
def test_a_group_that_can_not_be_is_none(tmp_path: Path, content: bytes) -> None:
    group_file(tmp_path / "scratch").write_bytes(content)
    with open_work_folder(tmp_path) as work:
        assert work.folder == tmp_path
