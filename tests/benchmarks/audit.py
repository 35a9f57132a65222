"""`polywheel audit` on two copies of lief's extension module: seconds for 10 MB of machine code."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path
from threading import Event

sys.path.insert(0, str(Path(__file__).parent))
from run import report

from polywheel.audit.audit import AuditOptions, audit_wheel

BOUNDS = {1: 6.0, 2: 3.5}
"""Seconds for 10 MB, by the number of processes."""


def library() -> Path:
    """The largest file with machine code of lief."""
    found = find_spec("lief")
    assert found is not None
    assert found.origin is not None
    files = Path(found.origin).parent.glob("*.so")
    return max(files, key=lambda path: path.stat().st_size)


def processor_seconds() -> float:
    """Of the processes that have ended."""
    if sys.platform == "win32":
        sys.exit("it has no getrusage")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="polywheel-bench-") as name:
        wheel = Path(name) / "demo-1.0-cp311-cp311-linux_x86_64.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for copy in ("demo/_a.so", "demo/_b.so"):
                archive.write(library(), copy)
            archive.writestr("demo-1.0.dist-info/METADATA", "Name: demo\nVersion: 1.0\n")
            archive.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
            archive.writestr("demo-1.0.dist-info/RECORD", "")
        for processes, bound in BOUNDS.items():
            start, before = time.perf_counter(), processor_seconds()
            audit = audit_wheel(wheel, AuditOptions(processes=processes), stop=Event()).audit
            seconds = time.perf_counter() - start
            assert audit.files == 2
            parts = audit.code_bytes / 1e7
            what = f"audit: 10 MB of code, {processes} process" + ("es" if processes > 1 else "")
            taken = seconds / parts
            report(what, f"{taken:.1f} s", f"{bound:g} s", holds=taken < bound)
            used = (processor_seconds() - before) / parts
            print(f"      {'(processor time)':<58} {used:>10.1f} s")


if __name__ == "__main__":
    main()
