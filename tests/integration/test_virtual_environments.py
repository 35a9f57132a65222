"""Build environments: made once by real installers, complete, and reused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from polywheel.config.reader import normalized_requirements
from polywheel.environments import installers
from polywheel.environments.installers import find_uv
from polywheel.environments.interpreters import find_interpreter
from polywheel.environments.virtual_environments import (
    Environment,
    Environments,
    Interpreter,
)
from polywheel.errors import BuildError, ConfigError
from polywheel.providers.plugins import PluginEnvironments
from polywheel.system.locks import hold_lock
from support.wheels import installable

THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
MAKE = """
import sys
from polywheel.config.reader import normalized_requirements
from polywheel.environments.virtual_environments import Environments
from polywheel.environments.interpreters import probe
made = Environments(fresh="--fresh" in sys.argv, notify=print)
print("folder", made.get(probe(sys.argv[1]), sys.argv[2].split()).folder, flush=True)
if "--stay" in sys.argv:
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and no index but a folder with one wheel."""
    house = tmp_path / "house"
    house.mkdir()
    for version in ("1.0", "2.0"):
        (house / f"demo-{version}-py3-none-any.whl").write_bytes(installable(version))
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")) and not name.endswith("_CACHE_DIR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(house))
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def here() -> Interpreter:
    found = find_interpreter(THIS)
    assert found is not None
    return found


@pytest.fixture
def without_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installers, "find_uv", lambda: None)


def environments(said: list[str] | None = None, *, fresh: bool = False) -> Environments:
    return Environments(fresh=fresh, notify=(said if said is not None else []).append)


def imports(environment: Environment, name: str) -> bool:
    command = [environment.python, "-c", f"import {name}"]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.returncode == 0


def age(environment: Environment) -> int:
    return (environment.folder / "polywheel-environment.json").stat().st_mtime_ns


def test_made_with_uv(here: Interpreter) -> None:
    """What pip's variables say counts for uv too, which does not read them."""
    made = environments().get(here, ["demo<2"])
    assert made.resolved == ("demo==1.0",)
    assert imports(made, "demo")
    assert not imports(made, "pip")
    assert (made.scripts / Path(made.python).name).exists()


@pytest.mark.usefixtures("without_uv")
def test_made_with_virtualenv_and_pip(here: Interpreter) -> None:
    made = environments().get(here, ["demo"])
    assert "demo==2.0" in made.resolved
    assert not any(one.startswith("setuptools") for one in made.resolved), "nobody asked for it"
    assert imports(made, "demo")


@pytest.mark.slow
@pytest.mark.usefixtures("without_uv")
def test_made_with_venv_where_there_is_no_virtualenv(
    here: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installers, "find_spec", lambda _: None)
    assert imports(environments().get(here, ["demo"]), "demo")


def test_nothing_is_required(here: Interpreter) -> None:
    made = environments().get(here, [])
    assert made.resolved == ()


def test_one_spelling() -> None:
    assert normalized_requirements(["De_Mo >= 1", "de.mo>=1", "a"]) == ("a", "de-mo>=1")


def test_used_again_by_another_run(here: Interpreter) -> None:
    said: list[str] = []
    first = environments(said).get(here, ["demo", "Demo"])
    second = environments(said).get(here, ["DEMO"])
    assert first == second
    assert said == [f"Python {THIS}: installing demo"]
    assert environments().find(here, ["demo"]) == first
    assert environments().find(here, ["demo<2"]) is None
    assert environments(fresh=True).find(here, ["demo"]) is None


def test_threads_make_it_once(here: Interpreter) -> None:
    said: list[str] = []
    made = environments(said)
    found: list[Environment] = []
    threads = [
        threading.Thread(target=lambda: found.append(made.get(here, ["demo"]))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    assert len(said) == 1


def make(*arguments: str, stay: bool = False) -> subprocess.Popen[str]:
    """Another process that wants an environment."""
    command = [sys.executable, "-c", MAKE, sys.executable, *arguments]
    return subprocess.Popen(
        [*command, "--stay"] if stay else command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )


def test_processes_make_it_once() -> None:
    running = [make("demo") for _ in range(3)]
    outputs = [one.communicate()[0].splitlines() for one in running]
    assert len({lines[-1] for lines in outputs}) == 1
    told = [line for lines in outputs for line in lines if "installing" in line]
    assert len(told) == 1, outputs


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_killed_half_way_it_is_made_anew(
    here: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The installer outlives its run for a while; it is not disturbed, and not waited for."""
    slow = tmp_path / "bin" / "uv"
    slow.parent.mkdir()
    real = find_uv()
    slow.write_text(
        f"""#!/bin/sh
if [ "$1" = pip ]; then
  touch {tmp_path}/begun
  number=0
  while [ ! -e {tmp_path}/end ] && [ $number -lt 600 ]; do number=$((number + 1)); sleep 0.1; done
fi
exec {real} "$@"
""",
        encoding="utf-8",
    )
    slow.chmod(0o755)
    before = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{slow.parent}{os.pathsep}{before}")
    running = make("demo")
    while not (tmp_path / "begun").exists():
        assert running.poll() is None
        time.sleep(0.02)
    running.kill()
    running.communicate()
    (left,) = [one for one in (tmp_path / "cache" / "builds").iterdir() if one.is_dir()]
    assert not (left / "polywheel-environment.json").exists()
    monkeypatch.setenv("PATH", before)
    said: list[str] = []
    made = environments(said).get(here, ["demo"])
    (line,) = said
    assert "installing demo" in line
    assert made.folder == left.with_name(f"{left.name}-2")
    assert imports(made, "demo")
    assert environments().find(here, ["demo"]) == made
    assert environments().get(here, ["demo"]) == made
    (tmp_path / "end").touch()


def test_another_run_is_waited_for_no_longer_than_a_build_may_take(here: Interpreter) -> None:
    said: list[str] = []
    made = environments().get(here, [])
    other = Environments(fresh=True, notify=said.append, time_limit=0.2)
    lock = made.folder.with_suffix(".lock")
    with (
        hold_lock(lock, stop=Event(), waiting=lambda: None),
        pytest.raises(BuildError, match="seconds for another run"),
    ):
        other.get(here, [])
    assert said == ["waiting for another run that creates an environment"]


def test_fresh_makes_it_anew_once(here: Interpreter) -> None:
    first = environments().get(here, ["demo"])
    before = age(first)
    (first.folder / "left-over").touch()
    run = environments(fresh=True)
    again = run.get(here, ["demo"])
    assert age(again) > before
    assert not (again.folder / "left-over").exists()
    assert age(run.get(here, ["demo"])) == age(again)


def test_fresh_spares_what_another_run_uses(here: Interpreter) -> None:
    other = make("demo", stay=True)
    assert other.stdout is not None
    while not other.stdout.readline().startswith("folder"):
        pass
    with pytest.raises(BuildError, match="another run is using"):
        environments(fresh=True).get(here, ["demo"])
    other.communicate()
    assert imports(environments(fresh=True).get(here, ["demo"]), "demo")


def test_its_interpreter_is_gone(here: Interpreter) -> None:
    made = environments().get(here, ["demo"])
    Path(made.python).unlink()
    assert environments().find(here, ["demo"]) is None
    said: list[str] = []
    again = environments(said).get(here, ["demo"])
    assert len(said) == 1
    assert imports(again, "demo")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"folder": 3}', '{"folder": "x", "resolved": []}']
)
def test_a_note_that_is_broken(content: str, here: Interpreter) -> None:
    made = environments().get(here, [])
    (made.folder / "polywheel-environment.json").write_text(content, encoding="utf-8")
    assert environments().find(here, []) is None
    assert environments().get(here, []) == made


def test_where_packages_come_from_is_part_of_it(
    here: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = environments().get(here, ["demo"])
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("demo<2\n", encoding="utf-8")
    monkeypatch.setenv("PIP_CONSTRAINT", str(constraints))
    second = environments().get(here, ["demo"])
    constraints.write_text("demo<3\n", encoding="utf-8")
    third = environments().get(here, ["demo"])
    assert [one.resolved for one in (first, second, third)] == [
        ("demo==2.0",),
        ("demo==1.0",),
        ("demo==2.0",),
    ]
    assert len({one.folder for one in (first, second, third)}) == 3


@pytest.fixture(params=["uv", "pip"])
def installer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pip":
        monkeypatch.setattr(installers, "find_uv", lambda: None)
    return str(request.param)


def test_what_can_not_be_installed(here: Interpreter, installer: str) -> None:
    with pytest.raises(BuildError) as caught:
        environments().get(here, ["demo>=99"])
    said = str(caught.value)
    assert said.startswith(f"error: Python {THIS}: can't install demo>=99\n"), installer
    assert "demo" in said.partition("\n")[2], "the installer's own words"
    assert environments().find(here, ["demo>=99"]) is None


def test_a_cache_that_can_not_be_written(
    here: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="the cache folder can't be used"):
        environments().get(here, [])


@pytest.fixture
def stopped() -> Iterator[Event]:
    stop = Event()
    timer = threading.Timer(0.4, stop.set)
    timer.start()
    yield stop
    timer.cancel()


@pytest.mark.skipif(sys.platform == "win32", reason="a script that stands for uv")
def test_an_installation_is_stopped(
    here: Interpreter, stopped: Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\nsleep 60\n", encoding="utf-8")
    uv.chmod(0o755)
    monkeypatch.setattr(installers, "find_uv", lambda: str(uv))
    with pytest.raises(BuildError, match="stopped"):
        Environments(fresh=False, notify=print, stop=stopped).get(here, ["demo"])


def test_the_note(here: Interpreter) -> None:
    made = environments().get(here, ["demo"])
    note = json.loads((made.folder / "polywheel-environment.json").read_text(encoding="utf-8"))
    assert note == {"folder": str(made.folder), "distributions": dict(made.distributions)}
    assert made.resolved == ("demo==2.0",)
    (again,) = [Environments(fresh=True, notify=print).get(here, ["demo"])]
    assert again.distributions == made.distributions, "the same files"


def test_a_cache_that_was_moved(
    here: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an environment's scripts start lies where it was made."""
    made = environments().get(here, ["demo"])
    (tmp_path / "cache").rename(tmp_path / "moved")
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "moved"))
    assert environments().find(here, ["demo"]) is None
    again = environments().get(here, ["demo"])
    assert again.folder != made.folder
    assert imports(again, "demo")


@pytest.mark.skipif(sys.platform == "win32", reason="makes a link")
def test_a_cache_behind_a_link(
    here: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = environments().get(here, ["demo"])
    (tmp_path / "link").symlink_to(tmp_path / "cache")
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "link"))
    assert environments().find(here, ["demo"]) == made


def site(environment: Environment) -> Path:
    (found,) = environment.folder.glob("[Ll]ib/**/site-packages/demo")
    return found


def cut(path: Path) -> None:
    """As a full disk leaves a file; in a copy, for it may be linked to the installer's cache."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("how", ["cut", "removed"])
def test_one_that_lost_something_is_made_anew(how: str, here: Interpreter) -> None:
    made = environments().get(here, ["demo"])
    path = site(made) / "__init__.py"
    content = path.read_bytes()
    cut(path) if how == "cut" else path.unlink()
    said: list[str] = []
    again = environments(said).get(here, ["demo"])
    assert said[0] == f"creating a damaged environment again: {made.folder}"
    assert again == made
    assert path.read_bytes() == content
    said.clear()
    environments(said).get(here, ["demo"])
    assert not said


def test_one_whose_list_of_files_is_damaged_is_made_anew(here: Interpreter) -> None:
    made = environments().get(here, ["demo"])
    cut(made.folder / "polywheel-files.json")
    said: list[str] = []
    environments(said).get(here, ["demo"])
    assert "damaged" in said[0]


def test_compiled_files_that_are_cut_short_are_removed(here: Interpreter) -> None:
    """Others that came since it was made belong to it from now on."""
    made = environments().get(here, ["demo"])
    whole = (made.folder / "polywheel-files.json").read_text("ascii")
    compiled = [made.python, "-m", "compileall", "-q", str(site(made))]
    subprocess.run(compiled, check=True)
    (path,) = site(made).glob("__pycache__/__init__*.pyc")
    environments().get(here, ["demo"])
    listed = (made.folder / "polywheel-files.json").read_text("ascii")
    assert path.name in listed
    assert path.name not in whole
    cut(path)
    said: list[str] = []
    environments(said).get(here, ["demo"])
    assert not said, "nothing has to be installed for that"
    assert not path.exists()
    subprocess.run([made.python, "-c", "import demo"], check=True)


def test_one_that_is_damaged_and_in_use_is_left_to_who_uses_it(here: Interpreter) -> None:
    other = make("demo", stay=True)
    assert other.stdout is not None
    while not other.stdout.readline().startswith("folder"):
        pass
    made = environments().find(here, ["demo"])
    assert made is not None
    (site(made) / "__init__.py").unlink()
    again = environments().get(here, ["demo"])
    assert again.folder != made.folder
    assert made.folder.exists()
    assert environments().get(here, ["demo"]) == again
    other.communicate()


def test_what_can_not_be_installed_leaves_nothing(here: Interpreter, tmp_path: Path) -> None:
    """It would only take room, which may be what is missing."""
    with pytest.raises(BuildError):
        environments().get(here, ["demo>=99"])
    assert not [path for path in (tmp_path / "cache" / "builds").iterdir() if path.is_dir()]


def test_plugins_have_environments_of_the_same_kind(tmp_path: Path) -> None:
    said: list[str] = []
    python = PluginEnvironments(notify=said.append).python(["demo"])
    (path,) = (tmp_path / "cache" / "providers").glob("*/**/site-packages/demo/__init__.py")
    cut(path)
    assert PluginEnvironments(notify=said.append).python(["demo"]) == python
    assert "damaged" in said[1]
    subprocess.run([python, "-c", "import demo"], check=True)
