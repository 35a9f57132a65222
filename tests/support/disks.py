"""Small file systems, which tests fill."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.builds import run


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system of this size (``512k``), or skip the test."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs Linux, and root, who may mount a file system")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "polywheel-test", str(folder)]
    if run(mount, cwd=folder.parent, check=False).returncode != 0:
        pytest.skip("mounting a file system is not allowed here, not even to root")
    try:
        yield folder
    finally:
        run(["umount", "-l", folder], cwd=folder.parent)


def fill_disk(disk: Path, *, but: int) -> Path:
    """Write a file that leaves so many bytes free; return its path."""
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    ballast = disk / "ballast"
    status = os.statvfs(disk)
    ballast.write_bytes(b"x" * max(0, status.f_bavail * status.f_frsize - but))
    return ballast
