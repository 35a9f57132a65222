"""Temporary folders, and the removal of abandoned ones."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from polywheel.system.locks import try_lock
from polywheel.system.temporary import (
    remove_abandoned,
    remove_tree,
    replacing,
    temporary_folder,
    write_output,
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and modes are those of POSIX")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_there_and_gone_at_the_end(tmp_path: Path) -> None:
    with temporary_folder(tmp_path) as folder:
        assert folder.parent == tmp_path
        assert folder.name.startswith(".polywheel-tmp-")
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "a" / "b" / "file").touch()
    assert names(tmp_path) == []
    with pytest.raises(KeyboardInterrupt), temporary_folder(tmp_path):
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_without_a_parent_it_lies_among_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_folder() as folder:
        assert folder.parent == tmp_path
        assert folder.name.startswith("polywheel-tmp-")


@posix
def test_a_folder_for_temporary_files_is_not_tried_with_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As :mod:`tempfile` does, once in each process: a kill may leave the file."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    usual = tmp_path / "usual"
    usual.mkdir()
    monkeypatch.setenv("TMPDIR", str(usual))
    with temporary_folder() as folder:
        assert folder.parent == usual
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    with temporary_folder() as folder:
        assert folder.parent == tmp_path


def test_nobody_else_can_look_into_it(tmp_path: Path) -> None:
    with temporary_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("old")
    with suppress(ValueError), replacing(target) as part:
        part.write_text("ne")
        raise ValueError
    assert target.read_text() == "old"
    with replacing(target) as part:
        part.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert names(tmp_path) == ["target"]


def test_the_folder_of_this_process_stays(tmp_path: Path) -> None:
    with temporary_folder(tmp_path) as folder:
        remove_abandoned(tmp_path)
        assert folder.is_dir()


def test_one_that_was_killed_before_it_had_a_lock_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".polywheel-tmp-0123456789ab").mkdir()
    (tmp_path / "polywheel-tmp-0123456789ab").mkdir()
    remove_abandoned(tmp_path)
    assert names(tmp_path) == []


def test_what_only_looks_like_one_stays(tmp_path: Path) -> None:
    mine = ["polywheel-tmp-mine", "polywheel-tmp-0123456789AB", "polywheel-1.0", "other"]
    for name in mine:
        (tmp_path / name).mkdir()
    full = tmp_path / "polywheel-tmp-0123456789ab"
    full.mkdir()
    (full / "mine.txt").touch()
    (tmp_path / "polywheel-tmp-ba9876543210").touch()
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "polywheel.lock").touch()
    (tmp_path / "polywheel-tmp-aaaaaaaaaaaa").symlink_to(outside, target_is_directory=True)
    before = names(tmp_path)
    remove_abandoned(tmp_path)
    assert names(tmp_path) == before
    assert (full / "mine.txt").exists()
    assert (outside / "inner").exists()


@posix
def test_links_in_it_are_not_followed_and_modes_are_no_obstacle(tmp_path: Path) -> None:
    outside, parent = tmp_path / "outside", tmp_path / "parent"
    outside.mkdir()
    (outside / "file").touch()
    outside.chmod(0o755)
    left = parent / "polywheel-tmp-0123456789ab"
    (left / "locked" / "inner").mkdir(parents=True)
    (left / "locked" / "inner" / "file").touch()
    (left / "locked" / "link").symlink_to(outside, target_is_directory=True)
    (left / "link").symlink_to(outside, target_is_directory=True)
    (left / "polywheel.lock").touch()
    (left / "locked" / "inner").chmod(0o500)
    (left / "locked").chmod(0o500)
    remove_abandoned(parent)
    assert names(parent) == []
    assert names(outside) == ["file"]
    assert outside.stat().st_mode & 0o777 == 0o755


@posix
@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
def test_a_lock_that_is_no_file_is_left_alone(tmp_path: Path, kind: str) -> None:
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    left = tmp_path / "polywheel-tmp-0123456789ab"
    left.mkdir()
    if kind == "fifo":
        os.mkfifo(left / "polywheel.lock")
    elif kind == "link":
        (tmp_path / "file").touch()
        (left / "polywheel.lock").symlink_to(tmp_path / "file")
    else:
        (left / "polywheel.lock").mkdir()
    remove_abandoned(tmp_path)
    assert left.is_dir()


@posix
def test_folders_of_other_users_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "polywheel-tmp-0123456789ab").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    remove_abandoned(tmp_path)
    assert len(names(tmp_path)) == 1


def test_one_who_cleans_up_between_the_folder_and_its_lock_does_no_harm(tmp_path: Path) -> None:
    """Both at once, all the time: no owner loses what it has."""
    stop = threading.Event()

    def clean() -> None:
        while not stop.is_set():
            remove_abandoned(tmp_path)

    cleaners = [threading.Thread(target=clean) for _ in range(2)]
    for one in cleaners:
        one.start()
    try:
        until = time.monotonic() + 1
        while time.monotonic() < until:
            with temporary_folder(tmp_path) as folder:
                (folder / "file").write_text("content")
                assert (folder / "file").read_text() == "content"
    finally:
        stop.set()
        for one in cleaners:
            one.join()
    assert names(tmp_path) == []


@posix
def test_an_owner_that_has_no_lock_yet_gets_none_while_its_folder_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "polywheel-tmp-0123456789ab"
    folder.mkdir()
    got_it: list[bool] = []
    with (folder / "polywheel.lock").open("x+b") as owner:
        listdir = os.listdir

        def while_it_is_removed(path: Path) -> list[str]:
            got_it.append(try_lock(owner))
            return listdir(path)

        monkeypatch.setattr(os, "listdir", while_it_is_removed)
        remove_abandoned(tmp_path)
    assert got_it == [False]
    assert not folder.exists()


def test_remove_tree_takes_files_folders_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    for name in ("file", "folder", "nothing"):
        remove_tree(tmp_path / name)
    assert names(tmp_path) == []


@posix
def test_remove_tree_takes_folders_of_any_depth(tmp_path: Path) -> None:
    """Deeper than Python recurses, and with paths that are too long for the system."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").touch()
    (tmp_path / "deep").mkdir()
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(tmp_path / "deep")
        for _ in range(1500):
            Path("file").touch()
            Path("link").symlink_to(tmp_path / "outside", target_is_directory=True)
            Path("folder").mkdir()
            os.chdir("folder")
    finally:
        os.chdir(before)
        os.close(before)
    remove_tree(tmp_path / "deep")
    assert names(tmp_path) == ["outside"]
    assert names(tmp_path / "outside") == ["file"]


@posix
def test_the_file_of_a_standard_stream_is_not_replaced(tmp_path: Path) -> None:
    """As in ``polywheel build --report /dev/stdout > file``."""
    path, link = tmp_path / "file", tmp_path / "stdout"
    link.symlink_to(path)
    saved = os.dup(1)
    with path.open("wb") as file:
        os.dup2(file.fileno(), 1)
        try:
            os.write(1, b"before ")
            write_output(link, b"content")
            os.write(1, b" after")
        finally:
            os.dup2(saved, 1)
            os.close(saved)
    assert path.read_bytes() == b"before content after"
