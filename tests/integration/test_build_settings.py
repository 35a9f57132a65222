"""The settings of builds in ``polywheel build``: ``environment``, ``before-all``, ``before-build``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from polywheel.matrix.platforms import this_target
from support.build_command import Builds, workplaces
from support.projects import demo, fake_project, write_project
from support.wheels import installable

places = pytest.fixture(autouse=True)(workplaces)
posix = pytest.mark.skipif(sys.platform == "win32", reason="the commands are for sh")


def with_tables(source: Path, tables: str) -> Path:
    path = source / "pyproject.toml"
    path.write_text(f"{path.read_text('utf-8')}\n{tables}\n", encoding="utf-8")
    return source


def override(select: str, settings: str) -> str:
    return f"[[tool.polywheel.overrides]]\nselect = {select}\n{settings}\n"


def changed(source: Path, before: str, after: str) -> None:
    path = source / "pyproject.toml"
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")


def test_a_target_with_a_name_of_its_own_is_built_on_its_platform(tmp_path: Path) -> None:
    here = this_target()
    other = "macos-arm64" if here != "macos-arm64" else "linux-x86_64"
    source = demo(tmp_path / "demo", "one")
    changed(
        source, "[tool.polywheel.matrix]", '[tool.polywheel.matrix]\ntargets = ["mine", "theirs"]'
    )
    with_tables(
        source,
        f'[tool.polywheel.targets.mine]\nplatform = "{here}"\n'
        f'[tool.polywheel.targets.theirs]\nplatform = "{other}"\n',
    )
    changed(source, "[tool.polywheel.matrix]", '[tool.polywheel.matrix]\nwheel-tag = "py3-none"')
    builds = Builds(source, tmp_path / "out")
    states = {job["id"]: job["state"] for job in builds().report["jobs"]}
    assert states == {"mine-py3-one": "built", "theirs-py3-one": "elsewhere"}


@posix
def test_environment_variables_of_a_build(tmp_path: Path) -> None:
    source = demo(tmp_path / "demo", "one", "two")
    with_tables(
        source, override('"one"', 'environment = { CFLAGS = "-g", X = "$CFLAGS:{label}:$NO" }')
    )
    command = 'echo "X is [$X]"; touch "$FILE"; rm made.h'
    with_tables(
        source,
        override(
            '"*"', f"before-build = '{command}'\nenvironment = {{ FILE = '{{package}}/made.h' }}"
        ),
    )
    builds = Builds(source, tmp_path / "out", {"CFLAGS": "-O1"})
    builds()
    assert "X is [-g:one:]" in builds.log("one")
    assert "X is []" in builds.log("two")
    assert set(builds().states.values()) == {"up-to-date"}
    changed(source, 'X = "$CFLAGS', 'X = "new $CFLAGS')
    builds()
    assert "X is [new -g:one:]" in builds.log("one")


_SHOW_SETTINGS = """
build_without_a_word = build_wheel
def build_wheel(folder, config_settings=None, metadata=None):
    print("settings:", sorted((config_settings or {}).items()), os.environ["MAX_JOBS"])
    return build_without_a_word(folder)
"""


def test_config_settings_of_a_build(tmp_path: Path) -> None:
    """Also of the non-variant wheel, which no setup rule is for. MAX_JOBS is not that of polywheel."""
    source = fake_project(tmp_path / "demo", "one", backend=_SHOW_SETTINGS, matrix="plain = true")
    with_tables(
        source,
        override('"*"', 'config-settings = { a = ["{label}", "2"], b = "3" }')
        + override('"one"', 'config-settings = { a = "4" }\nenvironment.MAX_JOBS = "7"'),
    )
    builds = Builds(source, tmp_path / "out")
    builds()
    assert "settings: [('a', ['non-variant', '2']), ('b', '3')]" in builds.log("non-variant")
    assert "settings: [('a', '4'), ('b', '3')] 7" in builds.log("one")
    assert set(builds().states.values()) == {"up-to-date"}
    builds("-Cb=5")
    assert "settings: [('a', '4'), ('b', '5')]" in builds.log("one")


def test_settings_of_pip_select_the_packages_of_a_build(tmp_path: Path) -> None:
    """Such as the index of PyTorch for one CUDA version."""
    for folder, version in (("old", "1.0"), ("new", "2.0")):
        (tmp_path / folder).mkdir()
        wheel = tmp_path / folder / f"demo-{version}-py3-none-any.whl"
        wheel.write_bytes(installable(version))
    source = fake_project(
        *(tmp_path / "app", "one", "two"),
        name="app",
        requires=["demo"],
        files={"constraints.txt": "demo<2\n"},
    )
    version = "python -c \"from importlib.metadata import version as v; print('demo', v('demo'))\""
    with_tables(
        source,
        override('"*"', f"before-build = '''{version}'''\nenvironment.PIP_NO_INDEX = '1'")
        + override(
            '"one"',
            "environment.PIP_FIND_LINKS = '$LINKS/old $LINKS/new'\n"
            "environment.PIP_CONSTRAINT = '{project}/constraints.txt'",
        )
        + override('"two"', "environment.PIP_FIND_LINKS = '$LINKS/new'"),
    )
    builds = Builds(source, tmp_path / "out", {"LINKS": str(tmp_path)})
    builds()
    assert "demo 1.0" in builds.log("one")
    assert "demo 2.0" in builds.log("two")
    assert set(builds().states.values()) == {"up-to-date"}


@posix
def test_before_all_runs_once_and_before_build_in_each_build(tmp_path: Path) -> None:
    source = demo(tmp_path / "demo", "one", "two", "three")
    # A process that starts a shell imports it, but must not import the one of the project.
    write_project(source, {"signal.py": "raise SystemExit('not the standard library')"})
    trace = shlex.quote(str(tmp_path / "trace"))
    lock = shlex.quote(str(tmp_path / "lock"))

    def alone(word: str) -> str:
        """A command that fails while another one runs."""
        return f"mkdir {lock} && echo {word} >> {trace} && sleep 0.3 && rmdir {lock} && ls"

    with_tables(
        source,
        override(
            '"*"',
            f"before-all = '''{alone('all')}'''\nbefore-build = 'touch made.h; ls {{package}}'",
        )
        + override('"three"', f"before-all = '''{alone('three')}'''"),
    )
    builds = Builds(source, tmp_path / "out")
    builds()
    assert sorted((tmp_path / "trace").read_text("utf-8").split()) == ["all", "three"]
    assert "pyproject.toml" in (builds.out / "logs" / "before-all.log").read_text("utf-8")
    for label in ("one", "two", "three"):
        assert "made.h" in builds.log(label)
    assert not (source / "made.h").exists()
    assert set(builds().states.values()) == {"up-to-date"}
    assert len((tmp_path / "trace").read_text("utf-8").split()) == 2


@posix
@pytest.mark.parametrize(
    ("setting", "what", "failed"),
    [
        (
            "before-all = 'echo no disk; exit 3'",
            "before-all ended with exit code 3: echo no disk",
            "out",
        ),
        ("before-build = 'nonsense-command'", "before-build ended with exit code 127", "one"),
    ],
)
def test_a_command_that_fails(setting: str, what: str, failed: str, tmp_path: Path) -> None:
    source = with_tables(demo(tmp_path / "demo", "one", "two"), override('"one"', setting))
    run = Builds(source, tmp_path / "out")(code=1)
    assert run.states == {"one": "failed", "two": "built"}
    (error,) = [one["error"] for one in run.report["builds"] if one["state"] == "failed"]
    assert what in error
    assert f"{failed if failed == 'one' else 'before-all'}" in error


@posix
@pytest.mark.parametrize(
    ("end", "error"),
    [("", "before-build changed the build environment"), ("; exit 3", "exit code 3")],
)
def test_a_command_must_not_change_the_environment_of_other_builds(
    end: str, error: str, tmp_path: Path
) -> None:
    """The next build of the same run has an environment without the change."""
    source = with_tables(
        demo(tmp_path / "demo", "one", "two"),
        override('"one"', f"before-build = 'echo > $VIRTUAL_ENV/lib/more.py{end}'")
        + override('"two"', "before-build = 'test ! -e $VIRTUAL_ENV/lib/more.py'"),
    )
    run = Builds(source, tmp_path / "out")("-j", "1", code=1)
    assert run.states == {"one": "failed", "two": "built"}
    assert error in run.report["builds"][0]["error"]
