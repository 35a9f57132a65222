"""A build runs again if something that its wheel depends on has changed, and only then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from polywheel.matrix.platforms import this_target
from support.build_command import CACHE, Builds, workplaces
from support.projects import HERE, demo, fake_project, write_project

places = pytest.fixture(autouse=True)(workplaces)
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")

BACKEND = """
import subprocess

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    content = pathlib.Path("content.txt").read_text()
    if "FAILS" in content:
        raise SystemExit("it fails")
    try:
        from dependency import text
    except ImportError:
        text = ""
    compiler = os.environ.get("CC", "cc")
    if compiler.endswith("compiler"):
        text += subprocess.run([compiler], check=True, capture_output=True, text=True).stdout
    return write_wheel(wheel_directory, {"again.txt": content + text + os.environ.get("ANY_NAME", "")})
"""


def project(folder: Path, *, requires: Sequence[str] = (), matrix: str = "") -> Path:
    """A project whose wheel holds content.txt, and what a dependency, a compiler, and ANY_NAME say."""
    return fake_project(
        folder,
        "one",
        name="again",
        backend=BACKEND,
        requires=requires,
        matrix=matrix,
        files={"content.txt": "content 1\n"},
    )


def content_of(builds: Builds) -> str:
    (name,) = builds.wheels
    with zipfile.ZipFile(builds.out / name) as wheel:
        return wheel.read("again.txt").decode()


def test_nothing_of_a_build_that_failed_is_in_the_next_one(tmp_path: Path) -> None:
    """Size and time of a file are the same, as in an sdist, and its content is not."""
    source = project(tmp_path / "project")
    path = source / "content.txt"
    path.write_text("FAILS  12\n", encoding="utf-8")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    builds = Builds(source, tmp_path / "out")
    builds(code=1)
    path.write_text("content 2\n", encoding="utf-8")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    builds()
    assert content_of(builds) == "content 2\n"


def test_a_variable_of_any_name(tmp_path: Path) -> None:
    builds = Builds(project(tmp_path / "project"), tmp_path / "out", {"ANY_NAME": "a"})
    builds()
    assert set(builds().states.values()) == {"up-to-date"}
    builds.env["TERM_SESSION_ID"] = builds.env["GITHUB_RUN_ID"] = "another"
    assert set(builds().states.values()) == {"up-to-date"}
    builds.env["ANY_NAME"] = "b"
    assert set(builds().states.values()) == {"built"}
    assert content_of(builds) == "content 1\nb"


@posix
def test_a_compiler_that_environment_names(tmp_path: Path) -> None:
    """For rules, see test_fingerprint.py."""
    compiler = tmp_path / "compiler"
    compiler.write_text("#!/bin/sh\necho 1\n", encoding="utf-8")
    compiler.chmod(0o755)
    table = f'[[tool.polywheel.overrides]]\nselect = "*"\nenvironment.CC = "{compiler}"\n'
    builds = Builds(project(tmp_path / "project", matrix=table), tmp_path / "out")
    builds()
    assert set(builds().states.values()) == {"up-to-date"}
    compiler.write_text("#!/bin/sh\necho 2\n", encoding="utf-8")
    assert set(builds().states.values()) == {"built"}
    assert content_of(builds) == "content 1\n2\n"


def test_a_requirement_that_changed_behind_its_version(tmp_path: Path) -> None:
    """A folder, say; --fresh installs it anew, and what is built of it is built again."""
    setup = '[build-system]\nrequires = ["flit-core>=3.12"]\nbuild-backend = "flit_core.buildapi"\n'
    dependency = write_project(
        tmp_path / "dependency",
        {
            "pyproject.toml": f'{setup}[project]\nname = "dependency"\nversion = "1"\n'
            'description = ""\n',
            "dependency.py": "text = 'one'\n",
        },
    )
    requires = [f"dependency @ {dependency.as_uri()}"]
    builds = Builds(project(tmp_path / "project", requires=requires), tmp_path / "out")
    builds()
    assert content_of(builds) == "content 1\none"
    assert set(builds("--fresh").states.values()) == {"up-to-date"}, "nothing came out otherwise"
    (dependency / "dependency.py").write_text("text = 'two'\n", encoding="utf-8")
    builds("--fresh")
    assert content_of(builds) == "content 1\ntwo"


def test_a_report_in_the_project_is_no_part_of_it(tmp_path: Path) -> None:
    source = project(tmp_path / "project")
    builds = Builds(source, source / "out")
    reported = ("--report", str(source / "told" / "report.json"))

    def states() -> set[str]:
        builds.ended(builds.start(*reported))
        report = json.loads((source / "told" / "report.json").read_text("utf-8"))
        return {one["state"] for one in report["builds"]}

    assert states() == {"built"}
    assert states() == {"up-to-date"}


def test_a_cache_that_is_named_relatively(tmp_path: Path) -> None:
    builds = Builds(project(tmp_path / "project"), tmp_path / "out")
    builds.env["POLYWHEEL_CACHE_DIR"] = os.path.relpath(CACHE, tmp_path)
    builds()
    assert len(builds.wheels) == 1


def test_a_folder_whose_name_backends_take_for_a_variable(tmp_path: Path) -> None:
    source = project(tmp_path / "$x {label} 100%")
    done = Builds(source, tmp_path / "out")()
    assert set(done.states.values()) == {"built"}
    assert not list((CACHE / "work").glob("*$x*"))


def test_packages_from_nowhere_but_a_folder(tmp_path: Path) -> None:
    """PIP_NO_INDEX is said to uv by an option: it has no variable for it."""
    source = project(tmp_path / "project", requires=["flit-core"])
    env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    said = Builds(source, tmp_path / "out", env)(code=1)
    assert "can't install flit-core" in said.err


def test_a_plan_of_another_project(tmp_path: Path) -> None:
    other = demo(tmp_path / "demo", "a")
    command = [sys.executable, "-m", "polywheel", "matrix", str(other), "--json"]
    plan = subprocess.run(command, check=True, capture_output=True).stdout
    (tmp_path / "plan.json").write_bytes(plan)
    builds = Builds(project(tmp_path / "project"), tmp_path / "out")
    said = builds("--plan", str(tmp_path / "plan.json"), code=2)
    assert "the plan is for the project 'demo', but the source is 'again'" in said.err
    assert builds.wheels == {}


def test_a_dry_run_shows_the_rules_of_the_python_that_builds(
    tmp_path: Path, second_python: str
) -> None:
    rule = (
        '[tool.polywheel.setup."again :: kind"]\n'
        f'when = "python_version >= \'{second_python}\'"\ncflags = ["-DNEW"]\n'
    )
    source = project(tmp_path / "project", matrix=rule)
    path = source / "pyproject.toml"
    both = f'python = ["{HERE}", "{second_python}"]'
    path.write_text(path.read_text("utf-8").replace(f'python = ["{HERE}"]', both), encoding="utf-8")
    command = [sys.executable, "-m", "polywheel", "build", str(source), "--dry-run", "--json"]
    command += ["-o", str(tmp_path / "out")]
    done = subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    flags = {
        one["python"]: "-DNEW" in json.dumps(one["setup"])
        for one in json.loads(done.stdout)["builds"]
    }
    assert flags == {HERE: False, second_python: True}


def test_a_wheel_of_nothing_compiled_is_told_of(tmp_path: Path) -> None:
    said = Builds(project(tmp_path / "project"), tmp_path / "out")()
    assert "it has no compiled code" in said.err
    assert f"{this_target()}-cp" in said.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_answer_that_nobody_takes(tmp_path: Path) -> None:
    """The report is there all the same, and there is no traceback."""
    builds = Builds(project(tmp_path / "project"), tmp_path / "out")
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            builds.command(),
            cwd=tmp_path,
            env={**os.environ, "POLYWHEEL_CACHE_DIR": str(CACHE)},
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            check=False,
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr
    assert json.loads(builds.report.read_text("utf-8"))["exit-code"] == 0


def test_what_no_preset_knows_is_said_before_anything_is_built(tmp_path: Path) -> None:
    more = (
        '[tool.polywheel.providers.x86_64]\nquery = "preset"\n'
        '[variant.providers.x86_64]\nrequires = ["some-provider"]\n'
        '[variant.variants.odd]\nx86_64.level = ["v9"]\n'
    )
    source = project(tmp_path / "project", matrix=more)
    path = source / "pyproject.toml"
    priorities = 'namespace = ["again", "x86_64"]'
    text = path.read_text("utf-8").replace('namespace = ["again"]', priorities)
    path.write_text(text, encoding="utf-8")
    builds = Builds(source, tmp_path / "out")
    said = builds(code=2)
    assert "v9" in said.err
    assert "started" not in said.err
    assert builds.wheels == {}
