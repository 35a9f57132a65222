"""Processes of ``polywheel build``: daemons, workers and compilers that outlive it, and two runs at once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from support.build_command import CACHE, Builds, workplaces
from support.projects import HERE, change_backend, demo, example

_workplaces = pytest.fixture(autouse=True, scope="module")(workplaces)
posix = pytest.mark.skipif(sys.platform == "win32", reason="pipes and sessions are those of POSIX")


def project(folder: Path, *variants: str, hook: str) -> Path:
    """A project whose backend does this first, in ``build_wheel``."""
    source = demo(folder, *variants)
    first = '    does = os.environ.get("DEMO_DOES"'
    indented = "".join(f"    {line}\n" for line in hook.strip().splitlines())
    change_backend(source, first, f"{indented}{first}")
    return source


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Path]:
    """A file with the numbers of processes that builds leave running; they end with the test."""
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    path = tmp_path / "daemons"
    path.touch()
    yield path
    for number in path.read_text(encoding="ascii").split():
        with suppress(ProcessLookupError):
            os.kill(int(number), signal.SIGKILL)


DAEMON = """
import subprocess
code = [sys.executable, "-c", "import time; time.sleep(900)"]
process = subprocess.Popen(code, start_new_session=True, close_fds=False)
with open(os.path.join(os.environ["DEMO_FOLDER"], "daemons"), "a") as file:
    file.write(f"{process.pid} ")
"""


@posix
def test_nobody_waits_for_a_daemon_that_a_build_has_started(tmp_path: Path, daemons: Path) -> None:
    """As the server of sccache. It inherits all that the hook has open."""
    source = project(tmp_path / "demo", "v1", hook=DAEMON)
    builds = Builds(source, tmp_path / "out", patience=800, own_process=True)
    builds()
    (source / "changed.txt").touch()
    began = time.monotonic()
    second = builds("--job-timeout", "600")
    assert time.monotonic() - began < 400
    assert second.built == ["v1"]
    assert second.report["builds"][0]["seconds"] < 400
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
    (place / "still there.part").write_text(str(pathlib.Path("mine").exists()))
    (place / "still there.part").rename(place / "still there")
""",
    )
    builds = Builds(source, tmp_path / "out", patience=240, own_process=True)
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


@posix
def test_a_compiler_that_outlives_run_and_worker_has_its_folder_for_itself(
    tmp_path: Path, daemons: Path
) -> None:
    """It inherits no lock, and could write to what the next run makes there."""
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    source = project(
        tmp_path / "demo",
        "v1",
        hook="""
place = pathlib.Path(os.environ["DEMO_FOLDER"])
with open(place / "places", "a") as file:
    file.write(os.getcwd() + "\\n")
if not (place / "killed").exists():
    import subprocess
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    (place / "daemons").write_text(f"{child.pid} {os.getpid()} {os.getppid()}")
    (place / "begun compiling").touch()
    time.sleep(120)
""",
    )
    builds = Builds(source, tmp_path / "out", patience=240, own_process=True)
    with builds.start() as running:
        while not (tmp_path / "begun compiling").exists():
            assert running.poll() is None
            time.sleep(0.01)
        compiler, *others = map(int, daemons.read_text(encoding="ascii").split())
        for number in (running.pid, *reversed(others)):
            os.kill(number, signal.SIGKILL)
        running.communicate()
    os.kill(compiler, 0)
    (tmp_path / "killed").touch()
    assert builds().built == ["v1"]
    first, second = map(Path, (tmp_path / "places").read_text(encoding="utf-8").splitlines())
    assert second == first.parent / "2" / "source"


@posix
def test_a_pipe_that_has_the_name_of_a_wheel_holds_up_nothing(tmp_path: Path) -> None:
    """It was opened, and no signal and no time limit ended that."""
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    source = demo(tmp_path / "demo", "v1", "v2")
    builds = Builds(source, tmp_path / "out", patience=240, own_process=True)
    builds.out.mkdir()
    name = builds.out / "demo-1.0-py3-none-any-v1.whl"
    os.mkfifo(name)
    said = builds(code=1)
    assert said.states == {"v1": "failed", "v2": "built"}
    assert f"{name.name} already exists" in said.err
    assert "--force" in said.err
    assert name.is_fifo()
    assert builds("--force").states == {"v1": "stamped", "v2": "up-to-date"}
    assert name.is_file()


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds the answer in /proc")
def test_an_answer_of_a_worker_that_is_a_pipe_holds_up_nothing(tmp_path: Path) -> None:
    source = project(
        tmp_path / "demo",
        "v1",
        hook="""
worker = os.getppid()
command = pathlib.Path(f"/proc/{worker}/cmdline").read_bytes().split(b"\\0")
os.mkfifo(next(one for one in command if one.endswith(b"response.json")))
os.kill(worker, 9)
time.sleep(60)
""",
    )
    said = Builds(source, tmp_path / "out", patience=240, own_process=True)(code=1)
    assert said.report["builds"][0]["error"] == "the worker was killed by signal 9"


@posix
@pytest.mark.parametrize(
    "command",
    [
        ["show"],
        ["label", "-p", "a::b::c", "--provider", "a=a", "--no-validate"],
        ["label", "-p", "a::b::c", "--provider", "a=a", "--no-validate", "--in-place"],
        ["unlabel"],
        ["unlabel", "--in-place"],
        ["finalize"],
    ],
    ids=" ".join,
)
def test_commands_about_wheels_refuse_a_pipe(tmp_path: Path, command: list[str]) -> None:
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    wheel = tmp_path / "demo-1.0-py3-none-any-v1.whl"
    os.mkfifo(wheel)
    done = subprocess.run(
        [sys.executable, "-m", "polywheel", *command, str(wheel)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 4
    assert "not a regular file" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@posix
def test_a_folder_with_a_pipe_in_it_is_indexed_and_collected(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    for name in ("demo-1.0-py3-none-any-v1.whl", ".polywheel-index.json", "report.json"):
        os.mkfifo(tmp_path / name)
    os.mkfifo(tmp_path / "pyproject.toml")
    for command in (["index"], ["index", "--simple"], ["ci", "collect"], ["build"], ["matrix"]):
        done = subprocess.run(
            [sys.executable, "-m", "polywheel", *command, str(tmp_path)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in {1, 2, 4}, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a compiler")
@pytest.mark.parametrize(
    ("name", "file", "broken", "logs"),
    [
        ("meson", "meson.build", "dependency('no-such-thing')", ["meson-log.txt"]),
        (
            *("scikit-build-core", "CMakeLists.txt", "try_compile(A ${CMAKE_BINARY_DIR} none.c)"),
            ["CMakeConfigureLog.yaml", "CMakeError.log"],
        ),
    ],
    ids=["meson", "cmake"],
)
def test_the_log_of_a_build_tool_is_kept_and_named_where_a_build_fails(
    tmp_path: Path, name: str, file: str, broken: str, logs: list[str]
) -> None:
    source = example(name, tmp_path)
    with (source / file).open("a", encoding="utf-8") as text:
        text.write(f"\n{broken}\n")
    builds = Builds(source, tmp_path / "out")
    said = builds("--python", HERE, "--select", "x86_64_v3", code=1)
    (build,) = (one for one in said.report["builds"] if one["state"] == "failed")
    kept = Path(build["tool-logs"][0])  # Meson asks CMake too, which has logs of its own
    assert kept.parent == builds.out / "logs"
    assert kept.name in {f"{build['id']}.{one}" for one in logs}
    assert kept.stat().st_size > 0
    assert f"log: {kept}" in said.err
    assert f"log: {kept}" in said.out
    # Nothing else is: the copy of the source is gone.
    assert list((CACHE / "work").glob(f"*/{build['id']}/source")) == []


def test_files_of_a_build_that_failed_are_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    source = demo(tmp_path / "demo", "v1", "v2", does={"v1": "fail"})
    builds = Builds(source, tmp_path / "out")
    said = builds("--keep-work", code=1)
    (line,) = (line for line in said.err.splitlines() if "its files stay in" in line)
    place = Path(line.partition("stay in ")[2].removesuffix(" until the next build"))
    assert "-v1: " in line
    assert (place / "source" / "backend.py").is_file()
    (other,) = place.parent.glob("*-v2")
    assert not (other / "source").exists()
    builds("--select", "v2")  # another run leaves them alone
    assert (place / "source" / "backend.py").is_file()
    builds(code=1)
    assert not (place / "source").exists()
