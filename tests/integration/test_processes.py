"""Starting and ending child processes."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event

import pytest

from polywheel.system.processes import ChildResult, run_child

SOON = 60.0
posix = pytest.mark.skipif(sys.platform == "win32", reason="process groups are those of POSIX")

# A grandchild in the background that says who it is, and would stay for minutes.
LEAVES_A_CHILD = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
pathlib.Path("grandchild.part").write_text(str(child.pid))
pathlib.Path("grandchild.part").rename("grandchild")
"""


class Run:
    """A folder with the log of children that are run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "child.log"
        self.stop = Event()

    def __call__(
        self,
        code: str,
        *,
        seconds: float | None = None,
        grace: float = SOON,
        more: Mapping[str, str] | None = None,
    ) -> ChildResult:
        return run_child(
            [sys.executable, "-u", "-c", code],
            folder=self.folder,
            environment={**os.environ, **(more or {})},
            log=self.log,
            stop=self.stop,
            seconds=seconds,
            grace=grace,
        )

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def stop_when(self, name: str) -> None:
        """Set the event as soon as the child has made a file of this name."""
        self.when(name, self.stop.set)

    def when(self, name: str, act: Callable[[], object]) -> threading.Thread:
        """Do something as soon as the child has made a file of this name."""

        def watch() -> None:
            for _ in range(int(SOON * 100)):
                if (self.folder / name).exists():
                    break
                time.sleep(0.01)
            act()

        thread = threading.Thread(target=watch)
        thread.start()
        return thread


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    yield Run(tmp_path)
    number = tmp_path / "grandchild"
    if number.exists() and is_there(int(number.read_text())):
        with suppress(ProcessLookupError):
            os.kill(int(number.read_text()), signal.SIGTERM)
        pytest.fail("a grandchild outlived its run")


def is_there(process: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent (init) does not."""
    until = time.monotonic() + SOON
    while time.monotonic() < until:  # the system may take a moment to end it, and init to reap it
        try:
            status = Path(f"/proc/{process}/stat").read_text(encoding="ascii")
            if status.rpartition(")")[2].split()[0] == "Z":
                return False
        except FileNotFoundError:
            if Path("/proc/self").exists():
                return False
            try:
                os.kill(process, 0)
            except ProcessLookupError:
                return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("code", [0, 1, 77])
def test_the_exit_code_is_that_of_the_child(run: Run, code: int) -> None:
    assert run(f"raise SystemExit({code})") == ChildResult(code=code)


@posix
def test_a_signal_that_ends_the_child_is_its_negative_exit_code(run: Run) -> None:
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    found = run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert found == ChildResult(code=-signal.SIGKILL)


def test_both_streams_are_in_the_log_behind_what_is_there(run: Run) -> None:
    run("import sys; print('one'); print('two', file=sys.stderr)")
    run("print('three')")
    assert run.said.split() == ["one", "two", "three"]


def test_it_has_no_input(run: Run) -> None:
    """Though this process has some."""
    theirs, ours = os.pipe()
    os.write(ours, b"yes\n")
    os.close(ours)
    kept = os.dup(0)
    try:
        os.dup2(theirs, 0)
        assert run("import sys; print(repr(sys.stdin.read()))").code == 0
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(theirs)
    assert run.said.strip() == "''"


def test_it_has_the_folder_and_the_environment_that_are_given(run: Run) -> None:
    run("import os; print(os.getcwd()); print(os.environ['FLAVOUR'])", more={"FLAVOUR": "sour"})
    folder, flavour = run.said.split("\n")[:2]
    assert Path(folder).samefile(run.folder)
    assert flavour.strip() == "sour"


@posix
def test_it_is_the_leader_of_a_group_and_a_session_of_its_own(run: Run) -> None:
    """So that Ctrl-C in a terminal reaches polywheel, and polywheel alone."""
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    run("import os; print(os.getpid(), os.getpgid(0), os.getsid(0))")
    process, group, session = run.said.split()
    assert process == group == session
    assert int(group) != os.getpgid(0)


@posix
def test_it_inherits_the_descriptors_that_it_is_to_keep_and_no_others(run: Run) -> None:
    kept, other = os.open(run.folder, os.O_RDONLY), os.open(run.folder, os.O_RDONLY)
    os.set_inheritable(other, True)
    code = f"""
import os
for number in ({kept}, {other}):
    try:
        os.fstat(number)
        print("open")
    except OSError:
        print("closed")
"""
    try:
        run_child(
            [sys.executable, "-c", code],
            folder=run.folder,
            environment=os.environ,
            log=run.log,
            stop=run.stop,
            keep_open=[kept],
        )
    finally:
        os.close(kept)
        os.close(other)
    assert run.said.split() == ["open", "closed"]


def test_a_command_that_is_not_there_is_an_os_error(run: Run) -> None:
    with pytest.raises(OSError, match="no-such-command"):
        run_child(
            ["no-such-command"], folder=run.folder, environment={}, log=run.log, stop=run.stop
        )


def test_it_is_ended_when_its_time_is_over(run: Run) -> None:
    found = run("import time; print('here'); time.sleep(300)", seconds=1)
    assert found.late
    assert not found.stopped
    assert found.code != 0


def test_it_is_ended_when_the_run_is_stopped(run: Run) -> None:
    run.stop_when("here")
    found = run("import pathlib, time; pathlib.Path('here').touch(); time.sleep(300)")
    assert found.stopped
    assert not found.late
    assert found.code != 0


def test_one_that_ended_by_itself_was_not_stopped(run: Run) -> None:
    """A result that is there counts, though the run was stopped at about that time."""
    assert run("print('done')", seconds=300) == ChildResult(code=0)


@posix
def test_it_has_time_to_end_by_itself(run: Run) -> None:
    run.stop_when("here")
    found = run(
        """
import pathlib, signal, sys, time
def end(*_):
    time.sleep(0.3)
    print("cleaned up")
    sys.exit(3)
signal.signal(signal.SIGTERM, end)
pathlib.Path("here").touch()
time.sleep(300)
"""
    )
    assert found == ChildResult(code=3, stopped=True)
    assert "cleaned up" in run.said


@posix
def test_its_children_have_time_to_end_too_when_it_ends_first(run: Run) -> None:
    """As Ninja does, which gives back its compile slots."""
    run.stop_when("here")
    found = run(
        """
import pathlib, subprocess, sys, time
subprocess.Popen([sys.executable, "-uc", '''
import pathlib, signal, sys, time
def end(*_):
    time.sleep(0.3)
    print("given back")
    sys.exit()
signal.signal(signal.SIGTERM, end)
pathlib.Path("here").touch()
time.sleep(300)
'''])
time.sleep(300)
"""
    )
    assert found == ChildResult(code=-signal.SIGTERM, stopped=True)
    assert "given back" in run.said


@posix
def test_one_that_does_not_end_is_killed(run: Run) -> None:
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    run.stop_when("here")
    found = run(
        """
import pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path("here").touch()
time.sleep(300)
""",
        grace=0.3,
    )
    assert found == ChildResult(code=-signal.SIGKILL, stopped=True)


@posix
@pytest.mark.parametrize("ends", ["by itself", "badly", "late", "stopped"])
def test_what_it_started_ends_with_it(run: Run, ends: str) -> None:
    """The fixture looks for it."""
    last = {"by itself": "", "badly": "sys.exit(1)"}.get(ends, "time.sleep(300)")
    if ends == "stopped":
        run.stop_when("grandchild")
    for seconds in (1, 5, 60) if ends == "late" else (None,):
        run(LEAVES_A_CHILD + last, seconds=seconds)
        if (run.folder / "grandchild").exists():
            return
    pytest.fail("it was never reached")


@posix
def test_a_grandchild_that_ignores_signals_is_killed(run: Run) -> None:
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    run.stop_when("grandchild")
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + LEAVES_A_CHILD
    assert run(code + "time.sleep(300)", grace=0.3).code == -signal.SIGKILL


@posix
def test_an_exception_while_it_runs_ends_it(run: Run) -> None:
    """Ctrl-C while the main thread waits for a child."""
    interrupt = run.when("grandchild", lambda: signal.raise_signal(signal.SIGINT))
    gc.disable()  # hypothesis has a callback, and an exception in it is lost
    try:
        with pytest.raises(KeyboardInterrupt):
            run(LEAVES_A_CHILD + "time.sleep(300)")
    finally:
        gc.enable()
    interrupt.join()
    assert (run.folder / "grandchild").exists()


@posix
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="is how it is without this call anyway")
def test_it_is_the_same_where_the_system_has_no_descriptors_of_processes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "pidfd_open", refused)
    assert run("raise SystemExit(7)") == ChildResult(code=7)
    assert run("import time; time.sleep(300)", seconds=0.5).late
    run(LEAVES_A_CHILD)
    run.stop_when("grandchild")
    assert run("import time; time.sleep(300)").stopped


@posix
def test_one_that_can_not_be_asked_is_killed_at_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a console, Windows sends no signal."""
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    real = os.killpg

    def killpg(group: int, number: int) -> None:
        if number == signal.SIGTERM:
            raise OSError(6, "the handle is invalid")
        real(group, number)

    monkeypatch.setattr(os, "killpg", killpg)
    run.stop_when("here")
    began = time.monotonic()
    found = run("import pathlib, time; pathlib.Path('here').touch(); time.sleep(300)", grace=200)
    assert found == ChildResult(code=-signal.SIGKILL, stopped=True)
    assert time.monotonic() - began < 150
