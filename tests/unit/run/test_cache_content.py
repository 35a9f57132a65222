"""The content of the cache: what is an entry, what is in use, and what goes first."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from polywheel.errors import ConfigError
from polywheel.run import work_folder
from polywheel.run.cache_content import (
    KINDS,
    clear_cache,
    kind_of,
    max_cache_size,
    prune_cache,
    read_cache,
)
from polywheel.run.work_folder import group_file, open_work_folder
from polywheel.system.cache_entries import IN_USE, is_in_use, keep_used_entries, record_use
from polywheel.system.locks import lock_first_free
from polywheel.system.temporary import using

D20, D32, D64 = "0123456789abcdef0123", "0123456789abcdef" * 2, "0123456789abcdef" * 4
ENTRIES = (
    f"wheels/01/{D64}",
    f"builds/{D20}",
    f"builds/{D20}-2",
    f"providers/{D20}",
    f"snapshots/{D32}",
    f"sdists/{D32}",
    "work/my_demo-1.0-0123456789",
    f"requires/{D32}",
    f"parts/{D32}.json",
    f"unanswered/{D32}",
    f"served/{D20}",
)
"""From the most recently used to the least recently used."""
FOREIGN = (
    "file",
    "wheels/demo.whl",
    "wheels/01/other",
    "wheels/other.users/mine",
    "builds/mine",
    "builds/package.lock",
    "builds/other.installing",
    "sdists/demo-1.0",
    "work/notes",
    "requires/list.json",
    "served/0123",
)
"""Files that polywheel does not make: the folder may be any folder of the user."""
DAY = 24 * 3600


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with an entry of 100 bytes of each kind, and other files."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(folder))
    now = time.time()
    for number, name in enumerate(ENTRIES):
        path = folder / name if name.endswith(".json") else folder / name / "inner" / "file"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * 100)
        os.utime(folder / name, (now - number - 1, now - number - 1))
    for name in FOREIGN:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    folder.chmod(0o700)
    return folder


def entries(cache: Path) -> list[str]:
    return [name for name in ENTRIES if (cache / name).exists()]


def assert_complete(cache: Path) -> None:
    """Foreign files are there, and nothing else beside entries."""
    assert all((cache / name).exists() for name in FOREIGN)
    others = [
        name
        for path in cache.rglob("*")
        if path.is_file() and (name := path.relative_to(cache).as_posix()) != "uses.lock"
    ]
    files = [name if name.endswith(".json") else f"{name}/inner/file" for name in entries(cache)]
    assert sorted(others) == sorted([*FOREIGN, *files])


def test_the_entries_of_each_kind_are_read(cache: Path) -> None:
    content = read_cache()
    assert tuple(content) == KINDS
    paths = [entry.path for entries in content.values() for entry in entries]
    assert sorted(paths) == sorted(cache / name for name in ENTRIES)
    assert {entry.size for entries in content.values() for entry in entries} == {100}
    assert [len(entries) for entries in content.values()] == [1, 2, 1, 1, 1, 1, 1, 1, 1, 1]
    assert all(kind_of(entry) is kind for kind in KINDS for entry in content[kind])


def test_the_least_recently_used_entries_of_all_kinds_go_first(cache: Path) -> None:
    record_use(cache / ENTRIES[-1])
    removal = prune_cache(750)
    assert entries(cache) == [*ENTRIES[:6], ENTRIES[-1]]
    assert [entry.path for entry in removal.removed] == [
        cache / name for name in reversed(ENTRIES[6:-1])
    ]
    assert removal.left == 700
    assert removal.kept == ()
    assert_complete(cache)
    assert prune_cache(700).removed == ()


def test_the_limit_is_that_of_the_user(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert max_cache_size() == 10 << 30
    monkeypatch.setenv("POLYWHEEL_CACHE_MAX_SIZE", "250")
    prune_cache()
    assert entries(cache) == list(ENTRIES[:2])
    monkeypatch.setenv("POLYWHEEL_CACHE_MAX_SIZE", "x")
    with pytest.raises(ConfigError, match="found 'x'"):
        prune_cache()


def test_everything_that_no_process_uses_is_removed(cache: Path) -> None:
    with keep_used_entries():
        used = [ENTRIES[0], ENTRIES[7]]
        for name in used:
            record_use(cache / name)
        with using(cache / ENTRIES[5]):
            used.append(ENTRIES[5])
            removal = clear_cache()
    kept = [entry for entry, why in removal.kept if why == IN_USE]
    assert sorted(entry.path for entry in kept) == sorted(cache / name for name in used)
    assert sorted(entries(cache)) == sorted(used)
    assert removal.left == 300
    clear_cache()
    assert entries(cache) == []
    assert_complete(cache)


def test_what_a_run_uses_stays_even_beyond_the_limit(cache: Path) -> None:
    with keep_used_entries():
        record_use(cache / ENTRIES[-1])
        removal = prune_cache(1)
        assert entries(cache) == [ENTRIES[-1]]
        assert [entry.path for entry, _ in removal.kept] == [cache / ENTRIES[-1]]
    prune_cache(1)
    assert entries(cache) == []


@pytest.mark.parametrize(
    ("name", "used"),
    [
        (f"{D20}.lock", [D20, f"{D20}-2"]),
        (f"{D20}.installing", [D20]),
        (f"{D20}-2.installing", [f"{D20}-2"]),
    ],
)
def test_an_environment_that_a_process_creates_is_in_use(
    name: str, used: list[str], cache: Path
) -> None:
    lock = cache / "builds" / name
    with lock_first_free([lock]):
        clear_cache()
        assert entries(cache) == [f"builds/{environment}" for environment in used]
        assert lock.exists()
    clear_cache()
    assert_complete(cache)


def test_nothing_is_left_of_an_environment(cache: Path) -> None:
    folder = cache / "builds"
    for name in (D20, f"{D20}-2", "f" * 20):
        (folder / f"{name.partition('-')[0]}.lock").touch()
        (folder / f"{name}.installing").touch()
        for suffix in (".users", ".commands"):
            # A killed process leaves its mark.
            (folder / f"{name}{suffix}" / ".polywheel-tmp-0123456789ab").mkdir(parents=True)
    prune_cache(10_000)
    assert {path.name for path in folder.glob("f*")} == set(), "it does not exist"
    assert (folder / f"{D20}.lock").exists()
    clear_cache()
    assert sorted(path.name for path in folder.iterdir()) == [
        *("mine", "other.installing", "package.lock"),
    ]


def test_an_environment_whose_locks_are_in_use_keeps_them(cache: Path) -> None:
    """It does not exist yet."""
    lock = cache / "builds" / f"{'f' * 20}.lock"
    with lock_first_free([lock]):
        clear_cache()
        assert lock.exists()


def test_a_work_folder_in_use_stays(cache: Path) -> None:
    source = cache / ENTRIES[6]
    with open_work_folder(source / "build") as work:
        work.source.mkdir()
        clear_cache()
        assert work.source.is_dir()
    with open_work_folder(source / "cibuildwheel" / "build") as work:
        clear_cache()
        assert work.folder.is_dir()
    clear_cache()
    assert not source.exists()


def test_a_build_uses_the_work_folder_of_its_source(cache: Path) -> None:
    builds = ("build", "cibuildwheel/build")
    for build in builds:  # whose folders exist already
        with open_work_folder(cache / ENTRIES[6] / build):
            pass
    with keep_used_entries():
        for build in builds:
            os.utime(cache / ENTRIES[6], (0, 0))
            with open_work_folder(cache / ENTRIES[6] / build):
                pass
            prune_cache(10_000)
            assert (cache / ENTRIES[6]).is_dir()


def test_a_work_folder_whose_compiler_is_still_running_stays(cache: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("has no process groups")
    source = cache / ENTRIES[6]
    with open_work_folder(source / "build") as work:
        pass
    group_file(work.scratch).write_text(str(os.getpgrp()), encoding="ascii")
    clear_cache()
    assert source.is_dir()
    group_file(work.scratch).unlink()
    clear_cache()
    assert not source.exists()


def test_a_work_folder_that_is_removed_while_it_is_locked_is_not_used(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = cache / ENTRIES[6]
    times = iter(range(1))

    def remove_first(folder: Path) -> bool:
        if list(times):
            # As of another process, which has read the entry before it was locked.
            folder.rename(cache / "elsewhere")
        return record_use(folder)

    monkeypatch.setattr(work_folder, "record_use", remove_first)
    with open_work_folder(source / "build") as work:
        assert (work.folder / "lock").exists()
        work.source.mkdir()


def test_work_folders_are_removed_after_a_month(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns()
    for days, stays in ((29, True), (-400, True), (31, False)):
        monkeypatch.setattr(time, "time_ns", lambda days=days: now + days * DAY * 10**9)
        prune_cache(10_000)
        assert (cache / ENTRIES[6]).exists() == stays
    assert len(entries(cache)) == len(ENTRIES) - 1


def test_the_files_of_killed_processes_are_removed(cache: Path) -> None:
    for folder in ("wheels", "runs", "builds", f"sdists/{D32}.users"):
        (cache / folder / ".polywheel-tmp-0123456789ab").mkdir(parents=True)
    prune_cache(10_000)
    assert list(cache.rglob(".polywheel-tmp-*")) == []
    assert len(entries(cache)) == len(ENTRIES)


@pytest.mark.usefixtures("cache")
def test_an_entry_is_in_use_as_long_as_its_run() -> None:
    (entry,) = read_cache()[KINDS[0]]
    assert not is_in_use(entry)
    with keep_used_entries():
        assert not is_in_use(entry)
        record_use(entry.path)
        (entry,) = read_cache()[KINDS[0]]
        assert is_in_use(entry)
    assert not is_in_use(entry)


def test_an_empty_cache_has_no_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "none"))
    assert not any(read_cache().values())
    assert clear_cache().left == 0
