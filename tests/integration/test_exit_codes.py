"""Exit codes of commands whose output is lost, that run out of memory, or that meet a bug."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from polywheel import backend, errors
from polywheel.cli import main
from polywheel.cli import matrix as matrix_command

posix = pytest.mark.skipif(os.name == "nt", reason="closes descriptors as a POSIX shell does")
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full, and limits memory")

PROJECT = """\
[build-system]
requires = ["flit_core"]
build-backend = "flit_core.buildapi"
[project]
name = "demo"
version = "1.0"
[tool.polywheel.matrix]
targets = ["linux-x86_64"]
plain = true
"""
COMMANDS = ("--help", "--version", "matrix --help", "matrix", "matrix --json", "build --dry-run")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    return tmp_path


def shell(
    project: Path, command: str, streams: str, *, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command by a shell, with redirections; its last line of output is the exit code."""
    script = f'{before} "$0" -m polywheel {command} {streams}; echo "exit code $?" >&9'
    return subprocess.run(
        ["sh", "-c", f"exec 9>code; {script}", sys.executable],
        cwd=project,
        # With a buffer, as it is where nobody has set that.
        env={name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"},
        capture_output=True,
        text=True,
        check=False,
    )


def exit_code(project: Path) -> int:
    return int((project / "code").read_text().split()[-1])


@posix
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("streams", [">&-", "<&- >&- 2>&-"])
def test_a_closed_standard_output_is_no_success(command: str, streams: str, project: Path) -> None:
    done = shell(project, command, streams)
    assert exit_code(project) in {1, 141}
    assert done.stderr == ""


@posix
@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_that_nobody_reads_is_no_success(command: str, project: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "polywheel", *command.split()],
        cwd=project,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert done.returncode in {1, 141}
    assert done.stderr == b""


@linux
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_an_error(command: str, project: Path) -> None:
    done = shell(project, command, ">/dev/full")
    assert exit_code(project) == 1
    assert done.stderr == "error: No space left on device\n"


@posix
@pytest.mark.parametrize("streams", ["2>&-", "<&- 2>&-", pytest.param("2>/dev/full", marks=linux)])
def test_messages_that_nobody_reads_change_no_exit_code(streams: str, project: Path) -> None:
    done = shell(project, "matrix --json", streams)
    assert exit_code(project) == 0
    assert json.loads(done.stdout)["project"] == "demo"
    shell(project, "matrix nowhere", streams)
    assert exit_code(project) == 2


@posix
def test_a_closed_standard_output_is_the_number_of_no_other_file(project: Path) -> None:
    """What a child prints would end up in a file that got the number of standard output."""
    code = (
        "import os, subprocess, sys\n"
        "from polywheel.errors import exit_code_of\n"
        "def command():\n"
        "    with open('file', 'w') as file:\n"
        "        assert file.fileno() > 2\n"
        "        os.set_inheritable(file.fileno(), True)\n"
        "        subprocess.run([sys.executable, '-c', 'print(1)'], close_fds=False)\n"
        "    return 0\n"
        "sys.exit(exit_code_of(command))\n"
    )
    (project / "code.py").write_text(code, encoding="utf-8")
    command = ["sh", "-c", '"$0" code.py <&- >&- 2>&-', sys.executable]
    assert subprocess.run(command, cwd=project, check=False).returncode == 0
    assert (project / "file").read_bytes() == b""


@linux
@pytest.mark.parametrize("kilobytes", [19_000, 24_000, 40_000])
def test_little_memory_is_an_error(kilobytes: int, project: Path) -> None:
    """Whatever is enough for this machine's Python: it works, or there is one message."""
    done = shell(project, "build --dry-run", "", before=f"ulimit -v {kilobytes};")
    if (
        "/polywheel/" not in done.stderr
        and not done.stderr.startswith("error: ")
        and not done.stdout
    ):
        pytest.skip("Python itself does not start")
    assert "Traceback" not in done.stderr
    assert exit_code(project) in {0, 1}
    if exit_code(project):
        assert done.stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (MemoryError(), 1, "error: out of memory"),
        (OSError(28, "No space left on device", "file"), 1, "error: file: No space left on device"),
        (RuntimeError("can't start new thread"), 1, "error: can't start a thread"),
        (ImportError("x.so: failed to map segment from shared object"), 1, "error: out of memory"),
        (SyntaxError("x", (__file__, 1, 1, "x")), 1, f"error: {__file__} can't be compiled"),
        (SystemError("error return without exception set"), 1, "error: Python failed: error ret"),
        (KeyboardInterrupt(), errors.INTERRUPTED, ""),
        (BrokenPipeError(), errors.OUTPUT_LOST, ""),
    ],
)
def test_what_needs_no_traceback(
    raised: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ends_with(raised, monkeypatch) == code
    err = capsys.readouterr().err
    assert err.startswith(message)
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "raised",
    [
        ValueError("odd\n::error::x \x1b[2J"),
        RecursionError(),
        AssertionError(),
        SyntaxError("x", ("<unknown>", 1, 1, "x")),
    ],
)
def test_a_mistake_in_polywheel_is_shown_with_its_traceback(
    raised: BaseException,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ends_with(raised, monkeypatch) == errors.INTERNAL == 70
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-2].startswith(f"error: internal error: {type(raised).__name__}")
    assert "please report it" in lines[-1]
    assert all(line.isprintable() and not line.lstrip().startswith("::") for line in lines)


def ends_with(raised: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def run(_: object) -> int:
        raise raised

    monkeypatch.setattr(matrix_command, "run", run)
    return main(["matrix"])


@pytest.mark.parametrize("raised", [MemoryError(), OSError(28, "No space left on device")])
def test_a_hook_ends_with_a_message_too(
    raised: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, backend._exit_on_error():
        raise raised
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("error: ")
    with pytest.raises(ZeroDivisionError), backend._exit_on_error():
        raise ZeroDivisionError
