"""Locks on files: errors that mean that another process holds the lock."""

from __future__ import annotations

import errno
import sys
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import pytest

from polywheel.system.locks import hold_lock, lock_first_free, try_lock


def test_one_holds_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (tmp_path / "file").open("r+b") as first, (tmp_path / "file").open("r+b") as second:
        assert try_lock(first)
        assert not try_lock(second)
        first.close()
        assert try_lock(second)


def replace_file(path: Path) -> bool:
    """As a process that has removed the file of a lock, and another one that has created it again."""
    if sys.platform == "win32":
        pytest.skip("can't remove open files")
    path.unlink()
    path.touch()
    return True


def test_a_lock_whose_file_was_removed_is_not_held(tmp_path: Path) -> None:
    paths = [tmp_path / "first", tmp_path / "second"]
    with lock_first_free(paths, fits=lambda path: path == paths[1] or replace_file(path)) as (
        path,
        _,
    ):
        assert path == paths[1]


@pytest.mark.parametrize("again", [True, False])
def test_a_waiting_process_locks_the_file_that_exists(again: bool, tmp_path: Path) -> None:
    path, stop = tmp_path / "folder" / "lock", Event()
    with ExitStack() as first:
        first.enter_context(hold_lock(path, stop=stop, waiting=stop.set))

        def waiting() -> None:
            replace_file(path)
            if not again:
                path.unlink()
                path.parent.rmdir()
            first.close()

        with hold_lock(path, stop=stop, waiting=waiting), path.open("r+b") as file:
            assert not try_lock(file)


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK])
def test_errors_that_mean_held(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not _lock_that_fails(number, tmp_path, monkeypatch)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF, errno.ENOLCK, errno.EIO])
def test_other_errors_do_not_mean_held(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever took them for it would wait for ever."""
    with pytest.raises(OSError, match="said by the test") as caught:
        _lock_that_fails(number, tmp_path, monkeypatch)
    assert caught.value.errno == number


def _lock_that_fails(number: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    def fail(*_: object) -> None:
        raise OSError(number, "said by the test")

    module = "msvcrt.locking" if sys.platform == "win32" else "fcntl.flock"
    monkeypatch.setattr(module, fail)
    with (folder / "file").open("a+b") as file:
        return try_lock(file)
