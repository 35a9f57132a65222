"""Temporary folders of killed processes are removed by a later run."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polywheel.system.temporary import (
    remove_abandoned,
    remove_unused,
    temporary_folder,
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and modes are those of POSIX")

OWNER = """
import sys, time
from pathlib import Path
from polywheel.system.temporary import temporary_folder
with temporary_folder(Path(sys.argv[1])) as folder:
    (folder / "file").write_text("content")
    print(folder, flush=True)
    time.sleep(300)
"""
BUSY = """
import sys
from pathlib import Path
from polywheel.system.temporary import replacing, temporary_folder
folder = Path(sys.argv[1])
print("ready", flush=True)
while True:
    with temporary_folder(folder) as one:
        (one / "inner").mkdir()
        (one / "inner" / "file").touch()
    with replacing(folder / "target") as part:
        part.write_text("content")
"""


def started(code: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, encoding="utf-8"
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_goes_and_what_a_living_one_has_stays(tmp_path: Path) -> None:
    with started(OWNER, tmp_path) as killed, started(OWNER, tmp_path) as alive:
        assert killed.stdout is not None
        assert alive.stdout is not None
        first, second = (Path(one.readline().strip()) for one in (killed.stdout, alive.stdout))
        killed.kill()
        killed.wait()
        assert (first / "file").exists()
        remove_abandoned(tmp_path)
        assert names(tmp_path) == [second.name]
        assert (second / "file").exists()
        alive.kill()
    remove_abandoned(tmp_path)
    assert names(tmp_path) == []


def test_the_next_folder_removes_what_was_left(tmp_path: Path) -> None:
    with started(OWNER, tmp_path) as killed:
        assert killed.stdout is not None
        killed.stdout.readline()
        killed.kill()
    assert len(names(tmp_path)) == 1
    with temporary_folder(tmp_path) as folder:
        assert names(tmp_path) == [folder.name]


@posix
def test_kills_at_random_moments_leave_nothing_behind_for_long(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    sys.stdout.write(f"seed: {seed}\n")
    chance = random.Random(seed)
    left = 0
    for number in range(200):
        if number >= 8 and left:
            break
        with started(BUSY, tmp_path) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0, 0.03))
            process.kill()
            process.wait()
        left += len([name for name in names(tmp_path) if name != "target"])
    assert left, "no kill came in the middle of anything, so nothing has been shown"
    remove_abandoned(tmp_path)
    assert [name for name in names(tmp_path) if name != "target"] == []


USER = """
import sys, time
from pathlib import Path
from polywheel.system.temporary import mark_as_used
mark_as_used(Path(sys.argv[1]))
print("used", flush=True)
sys.stdin.read()
"""


def test_folders_that_nobody_uses_are_removed_where_they_are_many_or_old(tmp_path: Path) -> None:
    now = time.time()
    for number in range(10):
        (tmp_path / f"f{number}" / "inner").mkdir(parents=True)
        os.utime(tmp_path / f"f{number}", (now - 100 * number, now - 100 * number))
    user = subprocess.Popen(
        [sys.executable, "-c", USER, str(tmp_path / "f7")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    with user:
        assert user.stdout is not None
        assert user.stdout.readline() == "used\n"
        remove_unused(tmp_path, most=4, seconds=350)
        # Four of those that were used last; of the fifth and on, none but what is in use.
        assert names(tmp_path) == ["f0", "f1", "f2", "f3", "f7", "f7.users"]
        remove_unused(tmp_path, most=4, seconds=150)
        assert names(tmp_path) == ["f0", "f1", "f7", "f7.users"]
        remove_unused(tmp_path, most=0, seconds=1000)
        assert names(tmp_path) == ["f0", "f7", "f7.users"], "f0 has just been used"
        user.communicate("")
    remove_unused(tmp_path, most=1, seconds=1000)
    assert names(tmp_path) == ["f0"]


@posix
def test_a_user_that_was_killed_is_none(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.utime(tmp_path / "folder", (0, 0))
    with started(USER, tmp_path / "folder") as user:
        assert user.stdout is not None
        user.stdout.readline()
        user.kill()
    remove_unused(tmp_path, most=1, seconds=1000)
    assert names(tmp_path) == []
