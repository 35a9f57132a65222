"""The processors and the memory that this process may use.

The package psutil is not used: it does not know the limits of a container, and importing it takes longer than
all of this.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
"""The limits of a container, as seen from inside it (cgroup v2)."""


def cpu_count() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0)) or 1
    else:
        count = os.cpu_count() or 1
    quota, _, period = _text(_CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        count = min(count, max(1, math.ceil(int(quota) / int(period))))
    return count


def free_memory() -> int | None:
    """Return the bytes that programs may still allocate; None if the system does not report them."""
    sizes = [size for size in (_system_memory(), _container_memory()) if size is not None]
    return min(sizes, default=None)


def _system_memory() -> int | None:
    for line in _text(Path("/proc/meminfo")).splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            number = rest.split()[0]
            return int(number) * 1024 if number.isdigit() else None
    if sys.platform == "win32":
        return None
    try:
        # Not every system reports free memory. Half of all memory is a safe guess.
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) // 2
    except (AttributeError, OSError, ValueError):
        return None


def _container_memory() -> int | None:
    most, used = _text(_CGROUP / "memory.max"), _text(_CGROUP / "memory.current")
    if not (most.isdigit() and used.isdigit()):
        return None
    # The kernel frees file pages that have not been used for a while as soon as memory is needed.
    reclaimable = 0
    for line in _text(_CGROUP / "memory.stat").splitlines():
        name, _, number = line.partition(" ")
        if name == "inactive_file" and number.isdigit():
            reclaimable = int(number)
    return max(0, int(most) - int(used) + reclaimable)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
