"""Commands of polywheel, run in the process of the tests, because starting takes most of the time.

What only a process of its own shows (signals, exit codes, streams that are closed) has tests that start
one.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from polywheel.cli import main
from polywheel.system import temporary


class _Stream(io.BytesIO):
    """What is written to a standard stream, also into a list that holds both of them in order."""

    def __init__(self, both: list[bytes]) -> None:
        super().__init__()
        self._both = both

    def write(self, content: bytes, /) -> int:  # type: ignore[override]
        self._both.append(bytes(content))
        return super().write(content)


def polywheel(
    *arguments: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    apart: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command; messages stand in its ``stdout`` too, or in ``stderr`` alone if ``apart``.

    What it prints is shown when it should have worked and did not.
    """
    given = [str(one) for one in arguments]
    code, out, err, said = call_main(given, cwd=cwd, env=env or {})
    done = subprocess.CompletedProcess(given, code, said, "")
    if apart:
        done.stdout, done.stderr = out, err
    assert "Traceback" not in said, said
    if check and code:
        raise AssertionError(f"polywheel {given} ended with {code}:\n{said}")
    return done


def call_main(
    arguments: list[str], *, cwd: Path, env: Mapping[str, str]
) -> tuple[int, str, str, str]:
    """Call the function that runs a command: its exit code, output, messages, and both in order."""
    both: list[bytes] = []
    out, err = _Stream(both), _Stream(both)
    with (
        _process_state(),
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, env),
        Path(os.devnull).open(encoding="utf-8") as nothing,
        mock.patch("sys.stdin", nothing),
        contextlib.redirect_stdout(io.TextIOWrapper(out, "utf-8", write_through=True)),
        contextlib.redirect_stderr(io.TextIOWrapper(err, "utf-8", write_through=True)),
    ):
        code = main(arguments)
        return code, out.getvalue().decode(), err.getvalue().decode(), b"".join(both).decode()


@contextlib.contextmanager
def _process_state() -> Iterator[None]:
    """What polywheel does once in a process, it does in each call; and what ends with a process ends."""
    once = (temporary.remove_abandoned_once, temporary.mark_as_used)
    with contextlib.ExitStack() as at_exit:
        at_exit.enter_context(
            mock.patch.object(temporary, "atexit", SimpleNamespace(register=at_exit.callback))
        )
        for function in once:
            function.cache_clear()
        yield
    for function in once:
        function.cache_clear()
