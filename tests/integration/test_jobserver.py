"""Compile slots, shared by real Ninjas."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from polywheel.environments.virtual_environments import Environment
from polywheel.run.worker.jobserver import CompileSlots, compile_slots
from support.setups import profile

SOON = 60.0
posix = pytest.mark.skipif(sys.platform == "win32", reason="the pool is a named pipe of POSIX")
NEW = ("ninja==1.13.0",)
VARIABLES = ("MAKEFLAGS", "CMAKE_BUILD_PARALLEL_LEVEL", "MAX_JOBS", "CARGO_BUILD_JOBS", "NINJA")

# A compiler that writes down how many there are beside it. It takes a while, and until there were
# once three at a time as long as that takes, however busy the machine is.
COMPILER = """#!/bin/sh
: > running/$$
while :; do
  count=$(ls running | wc -l)
  echo $count >> counts
  [ $count -ge 3 ] && : > enough
  [ -e enough ] && break
  sleep 0.02
done
sleep 0.1
ls running | wc -l >> counts
rm running/$$
: > "$1"
"""


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def environment(*resolved: str) -> Environment:
    distributions = dict(text.split("==") for text in resolved)
    return Environment(folder=Path("/env"), python="/env/bin/python", distributions=distributions)


@pytest.fixture
def ninja() -> str:
    """A Ninja that speaks the protocol."""
    beside = Path(sys.executable).with_name("ninja")
    found = str(beside) if beside.exists() else shutil.which("ninja")
    if found is None:
        pytest.skip("there is no Ninja")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    numbers = re.match(r"(\d+)\.(\d+)", said)
    assert numbers
    if (int(numbers[1]), int(numbers[2])) < (1, 13):
        pytest.skip(f"Ninja speaks the jobserver protocol since 1.13, and this is {said.strip()}")
    return found


class Compilation:
    """A folder in which Ninjas compile; all of them count together."""

    def __init__(self, folder: Path, ninja: str, slots: CompileSlots) -> None:
        self.folder = folder
        self.ninja = ninja
        self.slots = slots
        (folder / "running").mkdir()
        (folder / "compiler").write_text(COMPILER)
        (folder / "compiler").chmod(0o755)

    def start(self, name: str, files: int) -> subprocess.Popen[bytes]:
        """A Ninja that is told what a job of meson-python is told."""
        rules = ["rule cc", "  command = ./compiler $out"]
        rules += [f"build {name}{number}.o: cc" for number in range(files)]
        (self.folder / f"{name}.ninja").write_text("\n".join(rules) + "\n")
        told = self.slots.settings_for(profile("meson-python"), environment(*NEW), os.environ)
        assert told.pooled
        return subprocess.Popen(
            [self.ninja, "-f", f"{name}.ninja"],
            cwd=self.folder,
            env={**os.environ, **told.environment},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def job(self, name: str, files: int) -> None:
        with self.slots.take_slot(Event()), self.start(name, files) as running:
            assert running.wait(SOON) == 0

    @property
    def most(self) -> int:
        """The most compilers that ran at once since this was asked the last time."""
        counts = self.folder / "counts"
        found = max(int(line) for line in counts.read_text().split())
        counts.unlink()
        (self.folder / "enough").unlink(missing_ok=True)
        return found


@pytest.fixture
def compilation(tmp_path: Path, ninja: str) -> Iterator[Compilation]:
    with compile_slots(3) as slots:
        yield Compilation(tmp_path, ninja, slots)


@posix
def test_ninjas_at_the_same_time_never_run_more_compilers_than_there_are_slots(
    compilation: Compilation,
) -> None:
    """Five jobs, two at a time, on three slots: as one ends and the next begins too."""
    with ThreadPoolExecutor(2) as pool:
        files = (9, 3, 1, 5, 9)
        list(pool.map(compilation.job, "abcde", files))
    assert compilation.most == 3
    assert len(list(compilation.folder.glob("*.o"))) == sum(files)


@posix
def test_a_ninja_that_is_alone_has_all_slots(compilation: Compilation) -> None:
    compilation.job("a", 9)
    assert compilation.most == 3


@posix
def test_slots_that_were_lost_with_a_job_that_was_killed_are_there_again(
    compilation: Compilation,
) -> None:
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    with compilation.slots.take_slot(Event()), compilation.start("a", 9) as running:
        while not (compilation.folder / "enough").exists():
            time.sleep(0.01)
        os.killpg(running.pid, signal.SIGKILL)
    for left in (compilation.folder / "running").iterdir():
        left.unlink()
    assert compilation.most == 3
    compilation.job("b", 9)
    assert compilation.most == 3


@posix
@pytest.mark.parametrize(
    ("said", "pooled"),
    [
        ("1.13.0", True),
        ("1.13.2.git.kitware.jobserver-pipe-1", True),
        ("1.12.1", False),
        ("1.11.1.git.kitware.jobserver-1", False),
        ("no version", False),
    ],
)
def test_the_ninja_on_path_counts_where_the_environment_has_none(
    said: str, *, pooled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ninja = tmp_path / "ninja"
    ninja.write_text(f"#!/bin/sh\necho '{said}'\n")
    ninja.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with compile_slots(6) as slots:
        assert (
            slots.settings_for(
                profile("scikit-build-core"), environment("cmake==4.0"), os.environ
            ).pooled
            == pooled
        )
