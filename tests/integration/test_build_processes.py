"""``polywheel build``, and what its processes do to each other and to what they leave behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from running import Builds, demo, workplaces

_workplaces = pytest.fixture(autouse=True, scope="module")(workplaces)
posix = pytest.mark.skipif(sys.platform == "win32", reason="pipes and sessions are those of POSIX")


def project(folder: Path, *variants: str, hook: str) -> Path:
    """A project whose backend does this first, in ``build_wheel``."""
    source = demo(folder, *variants)
    backend = source / "backend.py"
    text = backend.read_text(encoding="utf-8")
    first = '    does = os.environ.get("DEMO_DOES"'
    indented = "".join(f"    {line}\n" for line in hook.strip().splitlines())
    backend.write_text(text.replace(first, f"{indented}{first}", 1), encoding="utf-8")
    return source


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Path]:
    """A file with the numbers of processes that builds leave running; they end with the test."""
    path = tmp_path / "daemons"
    path.touch()
    yield path
    for number in path.read_text(encoding="ascii").split():
        with suppress(ProcessLookupError):
            os.kill(int(number), signal.SIGKILL)


DAEMON = """
import subprocess
code = [sys.executable, "-c", "import time; time.sleep(120)"]
process = subprocess.Popen(code, start_new_session=True, close_fds=False)
with open(os.path.join(os.environ["DEMO_FOLDER"], "daemons"), "a") as file:
    file.write(f"{process.pid} ")
"""


@posix
def test_nobody_waits_for_a_daemon_that_a_build_has_started(tmp_path: Path, daemons: Path) -> None:
    """As the server of sccache. It inherits all that the hook has open (issue 12, item 19)."""
    source = project(tmp_path / "demo", "v1", hook=DAEMON)
    builds = Builds(source, tmp_path / "out", patience=60)
    builds()
    (source / "changed.txt").touch()
    began = time.monotonic()
    second = builds("--job-timeout", "30")
    assert time.monotonic() - began < 20
    assert second.built == ["v1"]
    assert second.report["builds"][0]["seconds"] < 20
    assert "waiting" not in second.err
    running = [int(number) for number in daemons.read_text(encoding="ascii").split()]
    assert len(running) == 2
    for number in running:
        os.kill(number, 0)  # nor is it killed: it serves later builds


@posix
@pytest.mark.usefixtures("daemons")
def test_a_worker_that_outlives_its_run_has_its_folder_for_itself(tmp_path: Path) -> None:
    source = project(
        tmp_path / "demo",
        "v1",
        hook="""
place = pathlib.Path(os.environ["DEMO_FOLDER"])
with open(place / "daemons", "a") as file:
    file.write(f"{os.getpid()} {os.getppid()} ")
with open(place / "places", "a") as file:
    file.write(os.getcwd() + "\\n")
if not (place / "go on").exists():
    pathlib.Path("mine").touch()
    while not (place / "go on").exists():
        time.sleep(0.02)
    (place / "still there").write_text(str(pathlib.Path("mine").exists()))
""",
    )
    builds = Builds(source, tmp_path / "out", patience=60)
    with builds.start() as running:
        while not (tmp_path / "places").exists():
            assert running.poll() is None
            time.sleep(0.01)
        running.kill()
        running.communicate()
    places = tmp_path / "places"
    with builds.start() as second:
        while len(places.read_text(encoding="utf-8").splitlines()) < 2:
            assert second.poll() is None
            time.sleep(0.01)
        (tmp_path / "go on").touch()
        assert builds.ended(second).built == ["v1"]
    first_place, second_place = map(Path, places.read_text(encoding="utf-8").splitlines())
    assert second_place == first_place.parent / "2" / "source"
    while not (tmp_path / "still there").exists():
        time.sleep(0.02)
    assert (tmp_path / "still there").read_text(encoding="utf-8") == "True"
