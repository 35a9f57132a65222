"""Stamping with a full disk, or killed: the target is whole or absent."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from polywheel.system.temporary import remove_abandoned
from polywheel.wheel.stamp import stamp_wheel
from support.wheels import (
    LABELLED,
    NAME,
    big_wheel,
    silent,
    stamp,
)


def child(source: str, *arguments: Path) -> subprocess.Popen[str]:
    """A Python process of its own that can import what this one can."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(os.name == "nt", reason="only POSIX can limit the size of files")
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_disk_that_is_full_leaves_no_trace(old: bytes | None, tmp_path: Path) -> None:
    source = big_wheel(tmp_path, 3)
    target = tmp_path / LABELLED
    if old is not None:
        target.write_bytes(old)
    stamp_wheel(source, tmp_path / "other.whl", stamp(), notify=silent)
    (tmp_path / "other.whl").rename(tmp_path / "other")
    script = """
        import resource, sys
        from pathlib import Path
        from support import wheels
        from polywheel.errors import WheelError
        from polywheel.wheel.stamp import stamp_wheel
        source, target = map(Path, sys.argv[1:])
        full = (source.parent / "other").stat().st_size
        # In the copy, in what is written anew, in the directory, in the end record.
        for limit in (0, 1, 40, 4096, full // 2, full - 900, full - 300, full - 1):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                stamp_wheel(source, target, wheels.stamp(), notify=wheels.silent)
            except WheelError as error:
                print(str(error).splitlines()[0], *wheels.names(source.parent))
        """
    with child(script, source, target) as process:
        lines = process.communicate(timeout=120)[0].splitlines()
    assert process.returncode == 0
    left = ["other", NAME] if old is None else [LABELLED, NAME, "other"]
    message = f"error: {LABELLED} can't be written: File too large"
    assert lines == [" ".join([message, *sorted(left)])] * 8
    assert (target.read_bytes() if target.exists() else None) == old


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_process_leaves_the_target_whole_or_absent(tmp_path: Path) -> None:
    source = big_wheel(tmp_path, 30)
    folder = tmp_path / "out"
    folder.mkdir()
    target = folder / LABELLED
    whole = set()
    for label in ("v3", "v4"):
        stamp_wheel(source, target, stamp(label=label), notify=silent)
        whole.add(fingerprint(target))
    script = """
        import sys
        from pathlib import Path
        from support import wheels
        from polywheel.wheel.stamp import stamp_wheel
        source, target = map(Path, sys.argv[1:])
        print("ready", flush=True)
        while True:
            for label in ("v3", "v4"):
                stamp_wheel(source, target, wheels.stamp(label=label), notify=wheels.silent)
        """
    moments = random.Random(2026)
    interrupted = 0
    for number in range(200):
        if number >= 9 and interrupted:
            break
        if number % 3 == 0:
            target.unlink(missing_ok=True)
        with child(script, source, target) as process:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            time.sleep(moments.uniform(0, 0.06))
            process.kill()
        assert not target.exists() or fingerprint(target) in whole
        left = [path for path in folder.iterdir() if path != target]
        assert not [path for path in left if path.suffix == ".whl"]
        interrupted += len(left)
        remove_abandoned(folder)
        assert not [path for path in folder.iterdir() if path != target]
    # Otherwise, the moments were not in the middle of anything, and nothing has been shown.
    assert interrupted


def fingerprint(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
