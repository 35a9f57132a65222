"""Work folders: processes that outlive their build keep theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from polywheel.run.work_folder import (
    WorkFolder,
    group_file,
    open_work_folder,
    remove_abandoned_work,
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="descriptors are inherited on POSIX")


def left_running(work: WorkFolder) -> subprocess.Popen[bytes]:
    """A process that has the lock of a folder too, as one that a build has left running."""
    command = [sys.executable, "-c", "import time; time.sleep(300)"]
    return subprocess.Popen(command, pass_fds=[work.lock], start_new_session=True)


@posix
def test_what_outlives_a_build_has_its_folder_for_itself(tmp_path: Path) -> None:
    with open_work_folder(tmp_path) as first:
        process = left_running(first)
    try:
        with open_work_folder(tmp_path) as second:  # and nobody waits
            assert second.folder == tmp_path / "2"
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    with open_work_folder(tmp_path) as third:
        assert third.folder == tmp_path


@posix
def test_what_is_left_of_the_group_of_a_worker_has_its_folder_for_itself(tmp_path: Path) -> None:
    """A compiler, which does not inherit the lock."""
    with open_work_folder(tmp_path) as work:
        pass
    command = [sys.executable, "-c", "import time; time.sleep(300)"]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        work.source.mkdir()
        group_file(work.scratch).write_text(str(process.pid), encoding="ascii")
        remove_abandoned_work(tmp_path.parent)
        assert work.source.is_dir()
        with open_work_folder(tmp_path) as second:
            assert second.folder == tmp_path / "2"
    finally:
        process.kill()
        process.wait()
    with open_work_folder(tmp_path) as third:
        assert third.folder == tmp_path
        assert not group_file(third.scratch).exists()
