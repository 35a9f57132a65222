"""``polywheel build`` killed at random moments: no wheel is lost, and no build runs twice."""

from __future__ import annotations

import random
import signal
import sys
import time
from pathlib import Path

import pytest

from support.build_command import Builds, workplaces
from support.process_tree import kill_all
from support.projects import demo

_workplaces = pytest.fixture(autouse=True, scope="module")(workplaces)
in_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(),
    reason="finds the processes of a run in /proc, which this system has not",
)
KILLS = 20
VARIANTS = 40

pytestmark = pytest.mark.slow


@pytest.fixture
def whole(tmp_path: Path) -> Builds:
    """A run that nobody disturbed: what all others have to come to."""
    names = [f"kind{number}" for number in range(VARIANTS)]
    builds = Builds(demo(tmp_path / "demo", *names), tmp_path / "whole")
    builds()
    assert len(builds.wheels) == VARIANTS
    builds.source.with_name("begun").unlink()
    return builds


def begin_and_kill(builds: Builds, calls: int, seconds: float, *, alone: bool) -> None:
    """Kill a run so many seconds after its backend has been called so often."""
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    before = len(builds.begun)
    # Nobody reads what it prints, which is no more than a pipe holds.
    with builds.start() as running:
        while len(builds.begun) < before + calls:
            assert running.poll() is None, "it ended before it was to be killed"
            time.sleep(0.005)
        time.sleep(seconds)
        if alone:
            running.kill()
        else:
            kill_all(running.pid)
        running.wait()
        for stream in (running.stdout, running.stderr):
            assert stream is not None
            stream.close()
    assert running.returncode == -signal.SIGKILL, "it ended before it was killed"


@in_proc
def test_20_kills_lose_nothing_and_nothing_is_built_twice(whole: Builds) -> None:
    """Most of them kill the whole tree of processes, some the parent alone: then its workers go on,
    and the next run meets them.
    """
    seed = random.randrange(1 << 32)
    sys.stdout.write(f"seed: {seed}\n")  # shown where the test fails
    chance = random.Random(seed)
    builds = Builds(whole.source, whole.out.with_name("out"))
    expected = whole.wheels
    finished: list[tuple[int, set[str]]] = []
    for number in range(KILLS):
        # From the start of the interpreter to some wheels later.
        calls = chance.choice([0, 1, 1, 2])
        seconds = chance.uniform(0, 0.2 if calls else 0.6)
        begin_and_kill(builds, calls, seconds, alone=number % 5 == 4)
        wheels = builds.wheels if builds.out.exists() else {}
        # Whatever has its name is whole, and is in the journal.
        assert wheels.items() <= expected.items()
        lines = (builds.out / ".polywheel-journal.jsonl").read_bytes() if wheels else b""
        for name, digest in wheels.items():
            assert f'"{name}"'.encode() in lines
            assert digest.encode() in lines
        kinds = {name.removesuffix(".whl").rpartition("-")[2] for name in wheels}
        finished.append((len(builds.begun), kinds))
    assert builds().report["exit-code"] == 0
    assert builds.wheels == expected
    assert builds.leftovers == []
    begun = builds.begun
    for count, kinds in finished:
        twice = kinds.intersection(begun[count:])
        assert not twice, f"was finished, and built again: {twice}"
    counts = [len(kinds) for _, kinds in finished]
    assert counts == sorted(counts)
    # It would all mean nothing if every kill had come before the first wheel.
    assert len(set(counts)) > 3


@in_proc
def test_a_build_that_is_not_reproducible_is_taken_up_all_the_same(tmp_path: Path) -> None:
    """Killed between the name of a wheel and what comes next, it is not taken for a stranger's."""
    source = demo(tmp_path / "demo", *(f"kind{number}" for number in range(14)))
    builds = Builds(source, tmp_path / "out", {"DEMO_RANDOM": "1"})
    builds("--select", "kind0")
    seen = builds.wheels
    for _ in range(4):
        begin_and_kill(builds, 1, random.uniform(0.05, 0.2), alone=False)
        wheels = builds.wheels
        assert seen.items() <= wheels.items()
        seen = wheels
    builds()
    assert seen.items() <= builds.wheels.items()
    assert len(builds.wheels) == 14
