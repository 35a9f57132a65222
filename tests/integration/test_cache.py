"""The cache beside running builds, kills, and full disks."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polywheel.run.cache_content import WHEELS, prune_cache, read_cache
from polywheel.run.wheel_store import WheelStore
from support import build_command
from support.build_command import Builds
from support.commands import polywheel
from support.disks import fill_disk, small_disk
from support.projects import change_backend, demo

USER = """
import hashlib, random, sys
from pathlib import Path
from polywheel.run.wheel_store import WheelStore
chance = random.Random(sys.argv[2])
print("ready", flush=True)
while True:
    store = WheelStore(notify=lambda text: print(text, flush=True))
    for _ in range(3):
        key = hashlib.sha256(bytes([chance.randrange(20)])).hexdigest()
        if store.find(key) is None:
            store.add(key, Path(sys.argv[1]), seconds=1.0, own_files={})
    store.prune()
"""
"""A run after the other, with one store that keeps ten of twenty wheels."""
KIB = 1 << 10


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    path.write_bytes(os.urandom(100 * KIB))
    return path


def test_kills_leave_only_complete_wheels(
    tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes at a time add, use, and remove the same wheels."""
    seed = random.randrange(1 << 32)
    sys.stdout.write(f"seed: {seed}\n")  # shown where the test fails
    chance = random.Random(seed)
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("POLYWHEEL_CACHE_MAX_SIZE", "1M")
    digest = ""
    for number in range(200):  # four, and as many as it takes until there are some wheels
        if number >= 4 and len(read_cache()[WHEELS]) > 5:
            break
        command = [sys.executable, "-c", USER, str(wheel)]
        users = [
            subprocess.Popen(
                [*command, f"{seed} {number} {which}"], stdout=subprocess.PIPE, encoding="utf-8"
            )
            for which in range(2)
        ]
        for user in users:
            assert user.stdout is not None
            assert user.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0, 0.3))
        for user in users:
            user.kill()
            assert user.communicate()[0] == ""
        notes: list[str] = []
        store = WheelStore(notify=notes.append)
        for entry in read_cache()[WHEELS]:
            stored = store.find(entry.path.name)
            assert stored is not None
            digest = digest or stored.sha256
            assert stored.sha256 == digest
        assert notes == []
        del store
    assert digest
    prune_cache()
    cache = tmp_path / "cache"
    assert sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) <= 1 << 20
    assert len(read_cache()[WHEELS]) > 5
    assert list(cache.rglob("*polywheel-tmp-*")) == []


def test_the_cache_is_cleared_beside_a_running_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps what the build uses: the environment, the source, polywheel itself, and work folders."""
    cache = tmp_path / "cache"
    monkeypatch.setattr(build_command, "CACHE", cache)
    source = demo(tmp_path / "demo", "v1", "v2", "v3", "v4")
    wait = f"while not os.path.exists({str(tmp_path / 'cleared')!r}): time.sleep(0.02)"
    change_backend(source, 'time.sleep(float(os.environ.get("DEMO_SECONDS", "0")))', wait)
    builds = Builds(source, tmp_path / "out")
    environment = {"POLYWHEEL_CACHE_DIR": str(cache)}
    with builds.start() as running:
        while len(builds.begun) < 2:
            assert running.poll() is None
            time.sleep(0.01)
        try:
            cleared = polywheel("cache", "clear", cwd=tmp_path, env=environment).stdout
        finally:
            (tmp_path / "cleared").touch()
        builds.ended(running)
    assert "(environments of builds)" in cleared
    assert "(work folders of sources)" in cleared
    assert len(builds.wheels) == 4
    polywheel("cache", "clear", cwd=tmp_path, env=environment)
    assert not [path for path in cache.rglob("*") if path.is_file() and path.name != "uses.lock"]


def test_a_full_disk_is_a_note_and_no_error(
    tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "0" * 64
    with small_disk(tmp_path / "disk", "1m") as disk:
        monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(disk / "cache"))
        for room in (0, 50 * KIB):
            ballast = fill_disk(disk, but=room)
            notes: list[str] = []
            store = WheelStore(notify=notes.append)
            store.add(key, wheel, seconds=1.0, own_files={})
            store.add(key, wheel, seconds=1.0, own_files={})
            store.prune()
            assert len(notes) == 1
            assert "No space left on device" in notes[0]
            ballast.unlink()
            assert store.find(key) is None
        store.add(key, wheel, seconds=1.0, own_files={})
        assert store.find(key) is not None
        assert len(notes) == 1
