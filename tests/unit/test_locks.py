"""Locks on files: what means that somebody else holds one, and what does not."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from polywheel.system import locks
from polywheel.system.locks import try_lock


def test_one_holds_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (tmp_path / "file").open("r+b") as first, (tmp_path / "file").open("r+b") as second:
        assert try_lock(first)
        assert not try_lock(second)
        first.close()
        assert try_lock(second)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EDEADLK])
def test_errors_that_mean_held_on_windows(number: int) -> None:
    assert not locks._try(lambda: _fail(number), locks._HELD_ON_WINDOWS)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF, errno.ENOLCK, errno.EIO])
def test_other_errors_do_not_mean_held(number: int) -> None:
    """Whoever took them for it would wait for ever."""
    with pytest.raises(OSError, match="said by the test") as caught:
        locks._try(lambda: _fail(number), locks._HELD_ON_WINDOWS)
    assert caught.value.errno == number


def _fail(number: int) -> None:
    raise OSError(number, "said by the test")
