"""The size of build logs is bounded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

from polywheel.system import logs
from polywheel.system.logs import keep_tool_logs, last_lines, open_log, remove_logs, tool_logs
from polywheel.system.processes import run_child


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_LOG_SIZE", 100_000)
    monkeypatch.setattr(logs, "_FRONT", 20_000)
    monkeypatch.setattr(logs, "_END", 5_000)


def run(code: str, log: Path, *, seconds: float | None = None) -> None:
    run_child(
        [sys.executable, "-c", code],
        folder=log.parent,
        environment=os.environ,
        log=log,
        stop=Event(),
        seconds=seconds,
        grace=0.5,
    )


def test_a_log_that_is_small_stays_as_it_is(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run("print('x' * 90_000)", log)
    assert log.read_text(encoding="ascii") == "x" * 90_000 + "\n"


def test_the_front_and_the_end_of_a_large_log_stay(tmp_path: Path) -> None:
    """Those who write to it do not have to wait, and notice nothing."""
    log = tmp_path / "log"
    code = (
        "import os, subprocess, sys\n"
        "for number in range(200_000): print('line', number)\n"
        "sys.stdout.flush()\n"
        "subprocess.run([sys.executable, '-c', 'print(\"of a child\")'])\n"
        "print('the last one')\n"
    )
    run(code, log)
    text = log.read_text(encoding="utf-8")
    assert len(text) < 100_000
    assert text.startswith("line 0\nline 1\n")
    assert text.endswith("\nline 199999\nof a child\nthe last one\n")
    assert "polywheel: this log had more than 100000 bytes, and a part of it was removed" in text
    assert "\0" not in text
    assert last_lines(log, 2) == ["of a child", "the last one"]
    run("print('of the next step')", log)
    assert last_lines(log, 2) == ["the last one", "of the next step"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="makes a pipe")
@pytest.mark.parametrize("replacement", ["pass", "os.mkfifo(log)", "os.mkdir(log)"])
def test_a_log_that_the_command_replaces_is_still_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replacement: str
) -> None:
    """A pipe in its place is not opened: nobody may write to it, so the time limit would not count."""
    log = tmp_path / "log"
    sizes = []
    real = logs.Log.shorten

    def shorten(self: logs.Log) -> None:
        real(self)
        sizes.append(os.fstat(self.file.fileno()).st_size)

    monkeypatch.setattr(logs.Log, "shorten", shorten)
    code = f"import os; log = {str(log)!r}; os.unlink(log); {replacement}; print('x' * 300_000)"
    run(code, log, seconds=30)
    assert sizes[-1] < 100_000


def test_it_is_bounded_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by one that does not stop when it is asked to."""
    log, stop = tmp_path / "log", Event()
    code = """
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for file in ("running", "asked to stop"):
    for _ in range(3):
        while os.fstat(1).st_size < 150_000:
            print("x" * 999, flush=True)
        while os.fstat(1).st_size > 100_000:
            time.sleep(0.01)
    pathlib.Path(file).touch()
    while file == "running" and not pathlib.Path("stopped").exists():
        time.sleep(0.01)
"""
    real = logs.Log.shorten

    def shorten(self: logs.Log) -> None:
        if (tmp_path / "running").exists():
            stop.set()
            (tmp_path / "stopped").touch()
        real(self)

    monkeypatch.setattr(logs.Log, "shorten", shorten)
    if sys.platform == "win32":
        code = code.replace("signal.SIG_IGN", "signal.SIG_DFL")
    result = run_child(
        [sys.executable, "-c", code],
        folder=tmp_path,
        environment=os.environ,
        log=log,
        stop=stop,
        seconds=120,
        grace=120,
    )
    assert result.stopped
    assert (tmp_path / "running").exists()
    assert (tmp_path / "asked to stop").exists() or sys.platform == "win32"
    assert log.stat().st_size < 110_000


def test_a_process_that_outlives_the_step_can_still_write(tmp_path: Path) -> None:
    """The log is a file, and no pipe that would break."""
    log = tmp_path / "log"
    code = "import sys, time; sys.stdin.read(); print('later', flush=True)"
    with open_log(log) as opened:
        child = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=opened.file.fileno()
        )
    child.communicate()
    assert child.returncode == 0
    assert log.read_text(encoding="ascii").strip() == "later"


def test_logs_of_build_tools_are_kept_beside_the_log_of_a_build(tmp_path: Path) -> None:
    """A name with a dot in it is no obstacle, and another build's logs are not touched."""
    logs_folder, work = tmp_path / "logs", tmp_path / "work"
    logs_folder.mkdir()
    for name in ("linux-v3.1", "linux-v3"):
        (logs_folder / f"{name}.log").touch()
    for place, text in (("old/meson-logs", "old"), ("new/meson-logs", "new")):
        (work / place).mkdir(parents=True)
        (work / place / "meson-log.txt").write_text(text, encoding="utf-8")
    os.utime(work / "old" / "meson-logs" / "meson-log.txt", (1, 1))
    (work / "CMakeFiles").mkdir()
    (work / "CMakeFiles" / "CMakeError.log").write_text("cmake", encoding="utf-8")
    (work / "CMakeFiles" / "other.log").touch()
    log = logs_folder / "linux-v3.log"
    keep_tool_logs(log, [work, tmp_path / "none"])
    kept = [logs_folder / "linux-v3.meson-log.txt", logs_folder / "linux-v3.CMakeError.log"]
    assert tool_logs(log) == kept
    assert [path.read_text(encoding="utf-8") for path in kept] == ["new", "cmake"]
    assert tool_logs(logs_folder / "linux-v3.1.log") == []
    remove_logs(logs_folder / "linux-v3.1.log")
    assert tool_logs(log) == kept
    remove_logs(log)
    assert list(logs_folder.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_only_has_the_name_of_such_a_log_is_left_out(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    work = tmp_path / "work"
    work.mkdir()
    os.mkfifo(work / "meson-log.txt")
    (tmp_path / "secret").touch()
    (work / "CMakeError.log").symlink_to(tmp_path / "secret")
    keep_tool_logs(tmp_path / "a.log", [work])
    assert tool_logs(tmp_path / "a.log") == []
