"""The last use of entries of the cache: its order, and disks and processes that do not cooperate."""

from __future__ import annotations

import errno
import os
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from threading import Event

import pytest

from polywheel.system import cache_entries, temporary
from polywheel.system.cache_entries import (
    CacheEntry,
    discard_entry,
    is_in_use,
    keep_used_entries,
    last_use,
    oldest_run,
    record_use,
    remove_entry,
)
from polywheel.system.files import replace
from polywheel.system.locks import hold_lock
from polywheel.system.temporary import using

SECOND = 10**9


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An entry of the cache."""
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir(mode=0o700)
    (tmp_path / "cache" / "kind" / "entry").mkdir(parents=True)
    return tmp_path / "cache" / "kind" / "entry"


def entry(folder: Path) -> CacheEntry:
    return CacheEntry(path=folder, size=1, used=last_use(folder))


def set_clock(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: seconds * SECOND)


def test_later_uses_have_later_times_whatever_the_clock_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uses = []
    for seconds in (4_000_000_000, 1000, 1000, 3_000_000_000, 4_000_000_000, 4_000_000_001, 5):
        set_clock(monkeypatch, seconds)
        assert record_use(folder)
        uses.append(last_use(folder))
    assert all(before < after for before, after in pairwise(uses))
    # Once the clock is ahead again, the times are those of the clock.
    assert uses[5] == 4_000_000_001 * SECOND


def test_an_entry_that_does_not_exist_is_not_used(folder: Path) -> None:
    assert not record_use(folder.with_name("none"))
    gone = CacheEntry(path=folder.with_name("none"), size=1, used=0)
    assert not is_in_use(gone)
    assert remove_entry(gone) is None
    with pytest.raises(FileNotFoundError):
        discard_entry(gone.path)


def test_the_oldest_of_all_runs_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert oldest_run() is None
    with keep_used_entries() as first:
        assert oldest_run() == first
        set_clock(monkeypatch, 1000)
        with keep_used_entries() as second:
            assert second > first
            assert oldest_run() == first
    assert oldest_run() is None
    assert not any((folder.parents[1] / "runs").iterdir())


def test_a_use_does_not_wait_for_a_suspended_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_entries, "_PATIENCE", 0.05)
    record_use(folder)
    lock = folder.parents[1] / "uses.lock"
    with hold_lock(lock, stop=Event(), waiting=Event().set):
        before = last_use(folder)
        assert record_use(folder)
        assert last_use(folder) > before


def no_locks(_: object) -> bool:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def read_only(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.fixture(params=["no locks", "no lock file", "read-only"])
def _disk(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "no locks":
        monkeypatch.setattr(cache_entries, "try_lock", no_locks)
    elif request.param == "no lock file":
        (folder.parents[1] / "uses.lock").mkdir()
    else:
        monkeypatch.setattr(os, "utime", read_only)


@pytest.mark.usefixtures("_disk")
def test_uses_work_on_any_disk(folder: Path) -> None:
    assert record_use(folder)
    assert remove_entry(entry(folder)) is None
    assert not folder.exists()
    assert not record_use(folder)


def test_a_mark_of_a_user_is_not_lost_when_its_folder_is_removed(folder: Path) -> None:
    """Between the creation of the folder for marks and that of the mark."""
    users = folder.with_name("entry.users")
    original = Path.mkdir
    removals = [users]

    def mkdir(path: Path, *arguments: object, **options: object) -> None:
        original(path, *arguments, **options)  # type: ignore[arg-type]
        if path == users and removals:
            removals.pop().rmdir()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "mkdir", mkdir)
        with using(folder):
            assert not removals
            assert remove_entry(entry(folder)) == cache_entries.IN_USE
    assert remove_entry(entry(folder)) is None


def test_an_entry_that_is_marked_while_it_is_moved_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "file").touch()
    with ExitStack() as user:

        def mark_first(source: Path, target: Path) -> None:
            if source == folder:
                user.enter_context(using(folder))
            replace(source, target)

        monkeypatch.setattr(temporary, "replace", mark_first)
        assert remove_entry(entry(folder)) == cache_entries.IN_USE
        assert (folder / "file").exists()
        user.close()
        os.utime(folder, (0, 0))
        temporary.remove_unused(folder.parent)
        assert (folder / "file").exists()
    monkeypatch.setattr(temporary, "replace", replace)
    temporary.remove_unused(folder.parent)
    assert not any(folder.parent.iterdir())
