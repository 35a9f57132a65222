"""The sdist that ``polywheel build`` makes first, and the cached answers of backends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Iterable
from pathlib import Path
from threading import Event

import pytest

from polywheel.config.project import Settings
from polywheel.environments.interpreters import probe
from polywheel.environments.virtual_environments import Environments, Interpreter
from polywheel.errors import BuildError
from polywheel.model.matrix import BuildSettings
from polywheel.model.plan import Job
from polywheel.model.setup import BackendChoice
from polywheel.run.build_requirements import BuildRequirements
from polywheel.run.source.sdist import SdistMaker, SdistVariables
from polywheel.run.source.snapshot import read_source
from polywheel.run.worker.requests import WorkerContext
from polywheel.setup.profiles import choose_backend
from support.build_command import Builds
from support.builds import read_wheel
from support.checkouts import git
from support.keys import key_maker
from support.projects import fake_project, write_project
from support.setups import project

# Its sdist holds the text of the source, and a VERSION beside the source where there is one.
BACKEND = """
def build_sdist(sdist_directory, config_settings=None):
    note("calls", "sdist")
{sdist}
    files = {{path.name: path.read_bytes() for path in pathlib.Path().iterdir() if path.is_file()}}
    if pathlib.Path("../VERSION").exists():
        files["VERSION"] = pathlib.Path("../VERSION").read_bytes()
    files["PKG-INFO"] = b"Metadata-Version: 2.1\\nName: told\\nVersion: 1.0\\n"
    return write_sdist(sdist_directory, files)

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
{wheel}
    members = [pathlib.Path(name) for name in ("text", "VERSION", "PKG-INFO")]
    return write_wheel(wheel_directory, {{path.name: path.read_bytes() for path in members if path.exists()}})

{more}
"""


def told(
    folder: Path,
    *,
    sdist: str = "",
    wheel: str = "",
    more: str = "",
    requires: Iterable[str] = (),
) -> Path:
    """A project; ``sdist`` and ``wheel`` are what its hooks do first."""
    backend = BACKEND.format(
        sdist=textwrap.indent(sdist, "    "), wheel=textwrap.indent(wheel, "    "), more=more
    )
    return fake_project(
        *(folder, "one"),
        name="told",
        backend=backend,
        requires=requires,
        env={"one": {"TOLD": "one"}},
        files={"text": "old\n"},
    )


def package(folder: Path, *, does: str = "") -> str:
    """A package that does something when it is built; the requirement that asks for it."""
    backend = (
        "def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):\n"
        f"    {does}\n"
        f"    return write_wheel(wheel_directory, {{'{folder.name}.py': ''}})\n"
    )
    fake_project(folder, name=folder.name, backend=backend)
    return f"{folder.name} @ {folder.as_uri()}"


def built(builds: Builds) -> dict[str, str]:
    """What of the source is in the one wheel."""
    (path,) = builds.out.glob("*.whl")
    members = read_wheel(path).members
    return {
        name: members[name].decode().strip()
        for name in ("text", "VERSION", "PKG-INFO")
        if name in members
    }


def calls(builds: Builds) -> list[str]:
    """The hooks that were called, and what they noted."""
    path = builds.source.with_name("calls")
    return path.read_text(encoding="utf-8").split() if path.exists() else []


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, in which nothing is known."""
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def on(cache: Path) -> dict[str, str]:
    return {"POLYWHEEL_CACHE_DIR": str(cache)}


# Edits during a run -------------------------------------------------------------------------------


@pytest.mark.usefixtures("git_user")
@pytest.mark.parametrize("inside", ["", "python"])
def test_what_is_edited_while_the_environment_is_made_has_no_effect(
    inside: str, tmp_path: Path
) -> None:
    """Neither on that run nor on any later one."""
    top = tmp_path / "top"
    edited = [top / inside / "text", *([top / "VERSION"] if inside else [])]
    # The environment's one requirement does the editing when it is installed.
    does = f"[pathlib.Path(one).write_text('new\\n') for one in {[str(one) for one in edited]!r}]"
    requires = [package(tmp_path / "editor", does=does)]
    source = told(top / inside if inside else top, requires=requires)
    for path in edited:
        path.write_text("old\n", encoding="utf-8")
    git(top, "init", "-q")
    git(top, "add", "-A")
    git(top, "commit", "-q", "-m", "one")
    builds = Builds(source, tmp_path / "out", env=on(tmp_path / "cache"))
    builds()
    assert [path.read_text(encoding="utf-8") for path in edited] == ["new\n"] * len(edited)
    found = built(builds)
    assert {found["text"], found.get("VERSION", "old")} == {"old"}
    assert "PKG-INFO" in found, "it was made of an sdist"
    git(top, "checkout", "-q", ".")
    assert set(builds().states.values()) == {"up-to-date"}
    assert built(builds) == found
    edited[-1].write_text("new\n", encoding="utf-8")
    builds()
    assert "new" in built(builds).values()


@pytest.mark.usefixtures("git_user", "cache")
def test_a_part_of_a_checkout_that_changed_since_it_was_read(tmp_path: Path) -> None:
    source = told(tmp_path / "top" / "python")
    git(source.parent, "init", "-q")
    git(source.parent, "add", "-A")
    git(source.parent, "commit", "-q", "-m", "one")
    tree = read_source(source)
    tree.freeze()  # an earlier run's
    (source / "text").write_text("new\n", encoding="utf-8")
    maker = SdistMaker(
        context=workshop(),
        interpreter=interpreter(),
        environments=Environments(fresh=False, notify=print),
        installer_settings={},
        variables=SdistVariables(),
        requires=[],
        choice=BackendChoice(build_backend="backend", backend_path=(".",), profile=None),
        project=source,
        folder=tmp_path / "place",
        log=tmp_path / "sdist.log",
        notify=print,
    )
    with pytest.raises(BuildError, match="the source changed while it was read"):
        maker.unpacked_sdist(tree)


def test_what_is_new_around_a_part_of_a_checkout_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An sdist may hold a file that git does not know yet."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    source = told(tmp_path / "top" / "python")
    write_project(source.parent, {"data/table": "1"})
    if sys.platform != "win32":  # links that lead out of the part, and not out of the checkout
        (source / "data").symlink_to("../data", target_is_directory=True)
        (source / "table").symlink_to("../data/table")
    git(source.parent, "init", "-q")
    git(source.parent, "add", "-A")
    builds = Builds(source, source.parent / "out", env=on(tmp_path / "cache"))
    builds()
    (source.parent / "VERSION").write_text("1", encoding="utf-8")
    builds()
    assert built(builds)["VERSION"] == "1"


# Backends that make none --------------------------------------------------------------------------


def test_a_failure_is_told_and_tried_again(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.touch()
    sdist = f"if os.path.exists({str(full)!r}):\n    raise OSError(28, 'No space left on device')"
    builds = Builds(told(tmp_path / "told", sdist=sdist), tmp_path / "out", on(tmp_path / "cache"))
    done = builds()
    assert "making the sdist failed, so the source is built without an sdist" in done.err
    assert "failed in build_sdist" in done.err
    assert f"see {builds.out / 'logs' / 'sdist.log'}" in done.err
    assert "No space left" in (builds.out / "logs" / "sdist.log").read_text(encoding="utf-8")
    assert "PKG-INFO" not in built(builds)
    full.unlink()
    done = builds()
    assert "sdist failed" not in done.err
    assert "PKG-INFO" in built(builds)
    builds()
    assert calls(builds) == ["sdist", "sdist"], "what was made is kept"


UNSUPPORTED = """
class UnsupportedOperation(Exception):
    pass
"""
WITHOUT_HOOK = """
del build_sdist

def __getattr__(name):
    if name == "build_sdist":
        note("calls", "asked")
    raise AttributeError(name)
"""
ASKED = """
def get_requires_for_build_sdist(config_settings=None):
    note("calls", "asked")
    return []
"""


@pytest.mark.parametrize(
    ("sdist", "more", "why"),
    [
        (
            'raise UnsupportedOperation("not here")',
            UNSUPPORTED + ASKED,
            "the real backend 'backend' can't do build_sdist here: .*not here",
        ),
        ("", WITHOUT_HOOK, "the real backend 'backend' has no hook build_sdist"),
    ],
    ids=["unsupported", "no hook"],
)
def test_a_backend_that_makes_none_is_asked_once(
    sdist: str, more: str, why: str, tmp_path: Path
) -> None:
    source = told(tmp_path / "told", sdist=sdist, more=more)
    builds = Builds(source, tmp_path / "out", on(tmp_path / "cache"))
    for _ in range(2):
        done = builds()
        assert "the source is built without an sdist" in done.err
        assert re.search(why, done.err)
    assert calls(builds).count("asked") == 1
    assert "PKG-INFO" not in built(builds)
    assert set(done.states.values()) == {"up-to-date"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("['not a requirement!']", "the backend requires 'not a requirement!'"),
        ("['a >= what']", "the backend requires 'a >= what'"),
    ],
)
def test_requirements_of_sdists_that_are_none(answer: str, said: str, tmp_path: Path) -> None:
    more = f"def get_requires_for_build_sdist(config_settings=None):\n    return {answer}\n"
    builds = Builds(told(tmp_path / "told", more=more), tmp_path / "out", on(tmp_path / "cache"))
    done = builds(code=1)
    assert f"error: making the sdist: {said}, which is not a valid requirement: " in done.err
    assert f"at: {tmp_path / 'out' / 'logs' / 'sdist.log'}" in done.err


def test_an_answer_that_is_no_list_of_requirements(tmp_path: Path) -> None:
    more = "def get_requires_for_build_sdist(config_settings=None):\n    return [1]\n"
    builds = Builds(told(tmp_path / "told", more=more), tmp_path / "out", on(tmp_path / "cache"))
    assert "returned [1], not requirements" in builds().err


@pytest.mark.parametrize("answer", ["None", "7", "'../told-1.0.tar.gz'", "'x' * 1_000_000"])
def test_an_answer_that_is_no_name_of_an_sdist(answer: str, tmp_path: Path) -> None:
    source = told(tmp_path / "told", sdist=f"return {answer}")
    done = Builds(source, tmp_path / "out", on(tmp_path / "cache"))()
    assert "making the sdist failed, so the source is built without an sdist" in done.err
    assert "not a name" in done.err
    assert len(done.err) < 10_000


# Runs that were killed ----------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="locks are not inherited there")
def test_what_is_left_of_a_killed_run_does_not_disturb_the_next(tmp_path: Path) -> None:
    go = tmp_path / "go"
    sdist = f"""\
until = time.monotonic() + 240
while not os.path.exists({str(go)!r}) and time.monotonic() < until:
    time.sleep(0.05)
note("calls", "whole" if os.path.exists("text") else "disturbed")
"""
    builds = Builds(told(tmp_path / "told", sdist=sdist), tmp_path / "out", on(tmp_path / "cache"))
    with builds.start() as first:
        while not calls(builds):
            assert first.poll() is None
            time.sleep(0.02)
        first.kill()
        first.wait()
        for stream in (first.stdout, first.stderr):
            assert stream is not None
            stream.close()
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    assert first.returncode == -signal.SIGKILL
    (place,) = (tmp_path / "cache" / "work").iterdir()
    assert (place / "sdist" / "source" / "text").exists()
    second = builds.start()
    try:
        while calls(builds).count("sdist") < 2:
            assert second.poll() is None
            time.sleep(0.02)
    finally:
        go.touch()
    builds.ended(second)
    until = time.monotonic() + 240
    while len(calls(builds)) < 4 and time.monotonic() < until:
        time.sleep(0.02)
    assert sorted(calls(builds)) == ["sdist", "sdist", "whole", "whole"]


# What backends ask for ----------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="the tool is a script")
@pytest.mark.parametrize("name", ["ninja", "samu"])
def test_a_tool_that_is_gone_is_asked_for(name: str, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tool = write_project(tools, {name: "#!/bin/sh\necho 1.11\n"}) / name
    tool.chmod(0o755)
    requirement = package(tmp_path / "ours")
    there = f"(__import__('shutil').which({name!r}) == {str(tool)!r})"
    source = told(
        tmp_path / "told",
        wheel=f"if not {there}:\n    import ours",
        more=f"def get_requires_for_build_wheel(config_settings=None):\n"
        f"    note('calls', 'asked')\n    return [] if {there} else [{requirement!r}]\n",
    )
    path = os.pathsep.join([str(tools), os.environ["PATH"]])
    builds = Builds(source, tmp_path / "out", {**on(tmp_path / "cache"), "PATH": path})
    builds()
    builds()
    assert calls(builds).count("asked") == 1, "it is remembered"
    shutil.rmtree(tools)
    shutil.rmtree(builds.out)
    builds()
    assert built(builds)["text"] == "old"
    assert "asked" in calls(builds)[2:]


def interpreter() -> Interpreter:
    found = probe(sys.executable)
    assert found is not None
    return found


def workshop() -> WorkerContext:
    return WorkerContext(
        polywheel=Path("served"), config=None, settings={}, epoch=1, time_limit=None, stop=Event()
    )


def test_an_sdist_is_made_again_for_a_new_value_of_a_variable_and_with_fresh(
    tmp_path: Path,
) -> None:
    """It has the variables that all builds have in common."""
    sdist = "pathlib.Path('VERSION').write_text(os.environ['TOLD_VERSION'])"
    source = told(tmp_path / "told", sdist=sdist)
    with (source / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("[[tool.polywheel.overrides]]\nselect = '*'\n")
        file.write("environment.TOLD_VERSION = '$CI_COMMIT_TAG'\n")
    env = {**on(tmp_path / "cache"), "CI_COMMIT_TAG": "1"}
    builds = Builds(source, tmp_path / "out", env)
    builds()
    assert built(builds)["VERSION"] == "1"
    builds.env["CI_COMMIT_TAG"] = "2"
    builds()
    assert built(builds)["VERSION"] == "2"
    builds.env["CI_COMMIT_TAG"] = "1"
    builds()
    assert calls(builds).count("sdist") == 2
    builds("--fresh")
    assert calls(builds).count("sdist") == 3


@pytest.mark.usefixtures("cache")
def test_with_fresh_backends_are_asked_again() -> None:
    jobs = [Job(id="a", label="a", properties=(), axes={}, pythons=(), targets=(), build="", at="")]

    found = project(Settings(build_backend="backend"))

    def needs(*, fresh: bool) -> BuildRequirements:
        return BuildRequirements(
            project=found,
            choice=choose_backend(found),
            requires=[],
            plugins={},
            source=Path("served"),
            keys=key_maker(found, workshop()),
            context=workshop(),
            environments=Environments(fresh=fresh, notify=print),
            settings={"": BuildSettings()},
            fresh=fresh,
        )

    here = interpreter()
    first = needs(fresh=False)
    guess = first.prepare_environment(here, jobs)
    assert not guess.certain
    assert first.remember(here, jobs, guess.environment, []).certain
    del first, guess
    again = needs(fresh=False)
    assert again.prepare_environment(here, jobs).certain
    assert again.find_environment(here, jobs) is not None
    del again
    anew = needs(fresh=True)
    assert not anew.prepare_environment(here, jobs).certain
    assert anew.find_environment(here, jobs) is None
