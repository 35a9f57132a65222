"""The leftovers of a killed run are removed by the next run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from polywheel.cli import main
from polywheel.system.temporary import remove_abandoned_once, temporary_folder
from support import build_command
from support.build_command import Builds
from support.process_tree import kill_all
from support.projects import demo

WHEEL = "demo-1.0-py3-none-any-v1.whl"
TABLES = """
[variant.default-priorities]
namespace = ["demo"]
[variant.providers.demo.static-properties]
kind = ["v1"]
[variant.variants.v1]
demo.kind = ["v1"]
"""


def left(*folders: Path) -> list[Path]:
    """What has the name of a temporary folder, and copies of sources."""
    return [
        path
        for folder in folders
        for pattern in ("*polywheel-tmp-*", "work/*/*/source", "work/*/*/*/source")
        for depth in ("", "*/", "*/*/")
        for path in folder.glob(f"{depth}{pattern}")
    ]


def abandon(folder: Path) -> Path:
    """What a killed process leaves in a folder: a temporary folder whose lock nobody holds."""
    path = folder / f".polywheel-tmp-{os.urandom(6).hex()}"
    path.mkdir(parents=True)
    (path / "polywheel.lock").touch()
    (path / "part").touch()
    return path


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_nothing_is_left_of_builds_that_were_killed_once_another_one_has_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the folder for temporary files, nor in the output folder, nor in the cache."""
    cache, temporary = tmp_path / "cache", tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(build_command, "CACHE", cache)
    source = demo(tmp_path / "demo", "v1", "v2")
    env = {"TMPDIR": str(temporary), "DEMO_SECONDS": "120"}
    builds = Builds(source, tmp_path / "out", env, patience=240, own_process=True)
    for _ in range(2):
        with builds.start() as process:
            before = len(builds.begun)
            while len(builds.begun) < before + 2:
                assert process.poll() is None
                time.sleep(0.01)
            kill_all(process.pid)
            process.communicate()
    assert left(temporary)
    assert left(builds.out)
    assert left(cache)
    builds.env["DEMO_SECONDS"] = "0"
    (source / "another.txt").touch()  # so that it is another snapshot than theirs
    assert sorted(builds().built) == ["v1", "v2"]
    assert left(temporary, builds.out, cache) == []
    assert builds.leftovers == []
    assert list(temporary.glob("polywheel-*")) == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    Builds(demo(folder / "demo", "v1"), folder / "out")()
    return folder / "out" / WHEEL


@pytest.mark.parametrize(
    "command",
    [
        ["label", "{wheel}", "-o", "{out}", "--force"],
        ["label", "{wheel}", "--force"],
        ["label", "{wheel}", "--in-place", "--force"],
        ["unlabel", "{wheel}", "-o", "{out}"],
        ["unlabel", "{wheel}"],
        ["unlabel", "{wheel}", "--in-place"],
        ["finalize", "{wheel}"],
        ["finalize", "{wheel}", "-o", "{out}"],
        ["index", "{work}"],
        ["index", "{work}", "-o", "{out}"],
    ],
    ids=" ".join,
)
def test_commands_about_wheels_remove_what_a_killed_one_has_left(
    command: list[str], wheel: Path, tmp_path: Path
) -> None:
    """Also where they have nothing to write, as the killed one had written it."""
    work, out = tmp_path / "work", tmp_path / "out"
    work.mkdir()
    copy = work / WHEEL
    tables = tmp_path / "tables.toml"
    tables.write_text(TABLES, encoding="utf-8")
    if command[0] == "label":
        command = [*command, "--label", "v1", "--pyproject", str(tables), "--no-validate"]
    target = out if "{out}" in command else work
    given = [one.format(wheel=copy, out=out, work=work) for one in command]
    for _ in range(2):  # the second time most of it is there already
        copy.write_bytes(wheel.read_bytes())
        for old in [*out.glob("*.whl"), *work.glob("*any.whl")]:
            if command[0] == "unlabel":
                old.unlink()
        abandoned = abandon(target)
        with temporary_folder(target) as used:
            remove_abandoned_once.cache_clear()  # as in a process of its own
            assert main(given) == 0
            assert not abandoned.exists()
            assert used.exists(), "it has an owner"
    assert left(work, out) == []
