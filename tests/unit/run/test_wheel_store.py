"""The store of wheels: complete entries, in the order of their last use, beside other runs and damage."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from polywheel.errors import ConfigError
from polywheel.run import wheel_store
from polywheel.run.cache_content import WHEELS, prune_cache, read_cache
from polywheel.run.wheel_store import StoredWheel, WheelStore
from polywheel.system.cache_entries import remove_entry

NAME = "demo-1.0-py3-none-any.whl"
KEYS = [hashlib.sha256(bytes([number])).hexdigest() for number in range(4)]


class Clock:
    """The clock of the system, in seconds."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        self.now += 1
        return self.now * 10**9


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time_ns", clock)
    return clock


class Store:
    """The store, as a new run uses it, and the notes of all runs."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def __call__(self) -> WheelStore:
        return WheelStore(notify=self.notes.append)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / NAME
    path.write_bytes(b"content" * 1000)
    return path


def add(store: WheelStore, wheel: Path, key: str = KEYS[0]) -> None:
    store.add(key, wheel, seconds=1.5, own_files={"demo.py": "sha256=1", "\udcff.txt": "2"})


def stored(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob("wheels/??/*"))


def leftovers(cache: Path) -> list[str]:
    return [path.name for path in cache.glob("wheels/**/.polywheel-tmp-*")]


def test_a_wheel_is_returned_as_it_was_added(store: Store, wheel: Path, cache: Path) -> None:
    assert store().find(KEYS[0]) is None
    add(store(), wheel)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    expected = StoredWheel(
        path=cache / "wheels" / KEYS[0][:2] / KEYS[0] / NAME,
        sha256=digest,
        seconds=1.5,
        own_files={"demo.py": "sha256=1", "\udcff.txt": "2"},
    )
    assert store().find(KEYS[0]) == expected
    assert expected.path.read_bytes() == wheel.read_bytes()
    assert store().find(KEYS[1]) is None
    assert leftovers(cache) == []


@pytest.mark.parametrize("key", ["", "0" * 63, "A" * 64, "../" + "0" * 61, "0" * 64 + "\n"])
def test_a_key_is_a_digest(key: str, store: Store, wheel: Path) -> None:
    with pytest.raises(ValueError, match="not a SHA-256"):
        store().find(key)
    with pytest.raises(ValueError, match="not a SHA-256"):
        add(store(), wheel, key)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def link(path: Path) -> None:
    path.rename(path.parents[4] / "elsewhere")
    path.symlink_to(path.parents[4] / "elsewhere")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink, link, folder])
@pytest.mark.parametrize("name", [NAME, "entry.json"])
def test_a_damaged_entry_is_removed_and_can_be_added_again(
    damage: Callable[[Path], None],
    name: str,
    store: Store,
    wheel: Path,
    cache: Path,
) -> None:
    if damage is link and sys.platform == "win32":
        pytest.skip("links need a privilege")
    add(store(), wheel)
    damage(cache / "wheels" / KEYS[0][:2] / KEYS[0] / name)
    run = store()
    assert run.find(KEYS[0]) is None
    assert len(store.notes) == 1
    assert "damaged" in store.notes[0]
    assert stored(cache) == leftovers(cache) == []
    add(run, wheel)
    assert store().find(KEYS[0]) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"wheel": "../../other.whl"},
        {"wheel": "..\\other.whl"},
        {"wheel": ".."},
        {"wheel": None},
        {"own_files": []},
        {"seconds": "x"},
        {"shape": 99},
        {"key": KEYS[1]},
    ],
)
def test_a_note_with_other_values_is_damaged_too(
    change: dict[str, object], store: Store, wheel: Path, cache: Path
) -> None:
    add(store(), wheel)
    path = cache / "wheels" / KEYS[0][:2] / KEYS[0] / "entry.json"
    (path.parent.parent.parent / "other.whl").write_bytes(wheel.read_bytes())
    note = json.loads(path.read_bytes())
    path.write_bytes(wheel_store._note_bytes({**note, **change}))
    assert store().find(KEYS[0]) is None
    assert stored(cache) == []


def test_an_entry_that_can_not_be_read_now_stays(
    store: Store, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store(), wheel)

    def fail(*_: object, **__: object) -> bytes:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(wheel_store, "read_regular", fail)
        assert store().find(KEYS[0]) is None
    assert "Too many open files" in store.notes[0]
    assert store().find(KEYS[0]) is not None


def test_a_wheel_that_another_run_replaces_meanwhile_is_not_damaged(
    store: Store, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store(), wheel)
    run, hashes = store(), [1]

    def replace_first(path: Path, **_: bool) -> str:
        if hashes:
            hashes.clear()
            wheel.write_bytes(b"new")
            add(store(), wheel)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(wheel_store, "sha256_of", replace_first)
    found = run.find(KEYS[0])
    assert found is not None
    assert found.path.read_bytes() == b"new"
    assert store.notes == []


@pytest.fixture
def three(store: Store, wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three wheels, and a limit for two."""
    for key in KEYS[:3]:
        add(store(), wheel, key)
    size = sum(path.stat().st_size for path in cache.glob("wheels/*/*/*"))
    monkeypatch.setenv("POLYWHEEL_CACHE_MAX_SIZE", str(size - 1))


@pytest.mark.usefixtures("clock", "three")
def test_what_was_not_used_for_the_longest_time_goes_first(store: Store, cache: Path) -> None:
    store().find(KEYS[0])
    prune_cache()
    assert stored(cache) == sorted([KEYS[0], KEYS[2]])
    prune_cache()
    assert len(stored(cache)) == 2


@pytest.mark.usefixtures("clock", "three")
def test_a_clock_that_goes_back_does_not_change_the_order(
    store: Store, cache: Path, clock: Clock
) -> None:
    clock.now -= 10_000
    store().find(KEYS[0])
    clock.now -= 10_000
    store().find(KEYS[1])
    prune_cache()
    assert stored(cache) == sorted(KEYS[:2])


@pytest.mark.usefixtures("clock", "three")
def test_what_a_run_uses_that_is_still_running_stays(
    store: Store, cache: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, wheel: Path
) -> None:
    monkeypatch.setenv("POLYWHEEL_CACHE_MAX_SIZE", "1")
    clock.now -= 10_000
    running = store()
    running.find(KEYS[0])
    monkeypatch.delenv("POLYWHEEL_CACHE_MAX_SIZE")
    add(store(), wheel, KEYS[3])
    monkeypatch.setenv("POLYWHEEL_CACHE_MAX_SIZE", "1")
    prune_cache()
    assert stored(cache) == sorted([KEYS[0], KEYS[3]])
    del running
    prune_cache()
    assert stored(cache) == []
    assert leftovers(cache) == []


def test_of_two_runs_that_add_one_key_the_first_counts(
    store: Store, wheel: Path, cache: Path
) -> None:
    one, two = store(), store()
    add(one, wheel)
    wheel.write_bytes(b"another")
    add(two, wheel)
    found = two.find(KEYS[0])
    assert found is not None
    assert found.path.read_bytes() == b"content" * 1000
    add(store(), wheel)  # a later run, whose sources may be others
    found = two.find(KEYS[0])
    assert found is not None
    assert found.path.read_bytes() == b"another"
    assert leftovers(cache) == []


def test_an_entry_that_was_used_since_it_was_listed_stays(store: Store, wheel: Path) -> None:
    add(store(), wheel)
    (entry,) = read_cache()[WHEELS]
    store().find(KEYS[0])
    assert remove_entry(entry) == "it is in use"
    (entry,) = read_cache()[WHEELS]
    assert remove_entry(entry) is None
    assert remove_entry(entry) is None


@pytest.mark.usefixtures("clock", "three")
def test_a_run_that_added_nothing_removes_nothing(store: Store, wheel: Path, cache: Path) -> None:
    """Reading the sizes of all entries takes time."""
    run = store()
    run.find(KEYS[0])
    run.prune()
    assert len(stored(cache)) == 3
    add(run, wheel, KEYS[3])
    run.prune()
    assert stored(cache) == sorted([KEYS[0], KEYS[3]])
    add(run, wheel, KEYS[1])
    del run
    run = store()
    (cache / "builds" / "0").mkdir(parents=True)  # as if it had created an environment
    run.prune()
    assert stored(cache) == sorted([KEYS[1], KEYS[3]])


def test_without_room_a_run_goes_on_with_one_note(
    store: Store, wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path, target: Path) -> str:
        target.write_bytes(b"part")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(wheel_store, "_copy", fail)
    run = store()
    for key in KEYS:
        add(run, wheel, key)
        assert run.find(key) is None
    run.prune()
    assert len(store.notes) == 1
    assert "No space left" in store.notes[0]
    assert stored(cache) == leftovers(cache) == []


def test_a_store_that_can_not_be_written_is_one_note(
    store: Store, wheel: Path, cache: Path
) -> None:
    cache.mkdir(mode=0o700)
    for name in ("wheels", "runs", "uses.lock"):
        (cache / name).write_text("not a folder") if name != "uses.lock" else (cache / name).mkdir()
    run = store()
    assert run.find(KEYS[0]) is None
    add(run, wheel)
    add(run, wheel, KEYS[1])
    run.prune()
    assert len(store.notes) == 1
    assert "not stored" in store.notes[0]


def test_a_wheel_beyond_the_limit_is_not_stored(
    store: Store, wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYWHEEL_CACHE_MAX_SIZE", "1k")
    run = store()
    add(run, wheel)
    assert stored(cache) == []
    assert "larger than POLYWHEEL_CACHE_MAX_SIZE" in store.notes[0]


@pytest.mark.parametrize("text", ["0", "-1", "much", "1 x", "10 GiB of disk"])
def test_a_malformed_limit_is_an_error(
    text: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYWHEEL_CACHE_MAX_SIZE", text)
    with pytest.raises(ConfigError, match="expected a size such as '10G'"):
        store()
