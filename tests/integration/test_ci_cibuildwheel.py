"""``polywheel ci cibuildwheel``: the runs of the workflow, and matrices that cibuildwheel can't build."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from polywheel.run.executors.cibuildwheel_options import Installation, installed_platform
from polywheel.run.executors.cibuildwheel_platforms import require_platform
from support.builds import run
from support.commands import polywheel
from support.plans import HEAD
from support.projects import write_project
from support.workflows import filled, load

MATRIX = """
[tool.polywheel.matrix]
python = ["3.11", "3.14", "3.14t"]
null = true
wheel-tag = "python"
[tool.polywheel.matrix.axes.level]
v2 = ["cpu :: level :: v2"]
"""


def workflow(folder: Path, text: str, *, code: int = 0) -> str:
    write_project(folder, {"pyproject.toml": HEAD + text})
    (folder / ".git").mkdir(exist_ok=True)
    done = polywheel("ci", "cibuildwheel", "-o", "-", cwd=folder, check=False, apart=True)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout


def test_cibuildwheel_selects_the_builds_of_a_run(tmp_path: Path) -> None:
    """On the command line, as a step of the workflow does, for the platforms of other machines too."""
    targets = ["musllinux-aarch64", "macos-x86_64", "windows-arm64"]
    text = MATRIX.replace("wheel-tag", f"targets = {targets}\nwheel-tag")
    document = load(workflow(tmp_path, text))
    command = [sys.executable, "-m", "cibuildwheel", "--print-build-identifiers", "."]
    for target in targets:
        job = document["jobs"][f"build-{target.replace('_', '-')}"]
        env = filled(job["env"], {"matrix": job["strategy"]["matrix"]["include"][0]}, {})
        assert len(env["CIBW_BUILD"].split()) == 3
        assert run(command, cwd=tmp_path, env=env).stdout.split() == env["CIBW_BUILD"].split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            MATRIX.replace('"3.14t"', '"3.13t"'),
            """\
error: cibuildwheel 4.3.5 does not build Python 3.13t for manylinux_x86_64
  at: pyproject.toml: tool.polywheel.matrix.python[2]
  hint: it builds 3.9, 3.10, """,
        ),
        (
            MATRIX.replace('"python"', '"py3-none-any"').replace("null = true", ""),
            "error: cibuildwheel does not build any-py3-",
        ),
        (
            f"[tool.cibuildwheel]\nskip = '*t-* *musl*'\n{MATRIX}",
            """\
error: the matrix has jobs for cp314t-manylinux_x86_64, and '*t-*' skips them
  at: pyproject.toml: tool.cibuildwheel.skip
""",
        ),
        (
            MATRIX + '[tool.polywheel.targets.linux-x86_64]\nimage = "manylinux_2_29"\n',
            """\
error: cibuildwheel 4.3.5 has no image 'manylinux_2_29' for manylinux_x86_64
  at: pyproject.toml: tool.polywheel.targets.linux-x86_64.image
  hint: did you mean 'manylinux_2_28'?""",
        ),
    ],
    ids=["python", "pure", "skip", "image"],
)
def test_what_cibuildwheel_can_not_build_is_refused(
    text: str, expected: str, tmp_path: Path
) -> None:
    text = text.replace("wheel-tag", 'targets = ["linux-x86_64"]\nwheel-tag')
    message = workflow(tmp_path, text, code=2)
    assert expected in message
    assert message.count("error: ") == 1


@pytest.mark.parametrize("target", ["linux-aarch64", "macos-arm64", "windows-x86_64"])
def test_the_pythons_of_another_cibuildwheel(target: str) -> None:
    """The command line lists them if the version is not the pinned one."""
    platform = require_platform(target)
    command = (sys.executable, "-m", "cibuildwheel")
    other = Installation(command=command, version="9.0")
    assert installed_platform(other, replace(platform, pythons=())) == platform


def test_a_cibuildwheel_that_lists_no_pythons() -> None:
    platform = require_platform("linux-x86_64")
    broken = Installation(command=(sys.executable, "-c", "raise SystemExit(1)"), version="9.0")
    assert installed_platform(broken, platform) == platform
