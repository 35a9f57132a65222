"""Locks on files: errors that mean that another process holds the lock."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from polywheel.system.locks import try_lock


def test_one_holds_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (tmp_path / "file").open("r+b") as first, (tmp_path / "file").open("r+b") as second:
        assert try_lock(first)
        assert not try_lock(second)
        first.close()
        assert try_lock(second)


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
