"""What this machine has, as far as this process may use it."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
"""Where a container sees its own limits (cgroup v2)."""


def cpu_count() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0)) or 1
    else:
        count = os.cpu_count() or 1
    quota, _, period = _text(_CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        count = min(count, max(1, math.ceil(int(quota) / int(period))))
    return count


def free_memory() -> int | None:
    """Bytes that programs may still take; None where the system does not say."""
    known = [one for one in (_of_the_system(), _of_the_container()) if one is not None]
    return min(known) if known else None


def _of_the_system() -> int | None:
    for line in _text(Path("/proc/meminfo")).splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            number = rest.split()[0]
            return int(number) * 1024 if number.isdigit() else None
    if sys.platform == "win32":
        return None
    try:
        # What is free is not told everywhere; half of all is a guess on the safe side.
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) // 2
    except (AttributeError, OSError, ValueError):
        return None


def _of_the_container() -> int | None:
    most, used = _text(_CGROUP / "memory.max"), _text(_CGROUP / "memory.current")
    if not (most.isdigit() and used.isdigit()):
        return None
    # Pages of files that nobody has touched for a while are given back at once.
    given_back = 0
    for line in _text(_CGROUP / "memory.stat").splitlines():
        name, _, number = line.partition(" ")
        if name == "inactive_file" and number.isdigit():
            given_back = int(number)
    return max(0, int(most) - int(used) + given_back)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
