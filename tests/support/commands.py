"""Commands of polywheel, run in the process of the tests, because starting takes most of the time.

What only a process of its own shows (signals, exit codes, streams that are closed) has tests that start
one, as have those of ``polywheel build``.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from polywheel.cli import main


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
    both: list[bytes] = []
    out, err = _Stream(both), _Stream(both)
    given = [str(one) for one in arguments]
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, env or {}),
        Path(os.devnull).open(encoding="utf-8") as nothing,
        mock.patch("sys.stdin", nothing),
        contextlib.redirect_stdout(io.TextIOWrapper(out, "utf-8", write_through=True)),
        contextlib.redirect_stderr(io.TextIOWrapper(err, "utf-8", write_through=True)),
    ):
        code = main(given)
        said = b"".join(both).decode()
        done = subprocess.CompletedProcess(given, code, said, "")
        if apart:
            done.stdout, done.stderr = out.getvalue().decode(), err.getvalue().decode()
    assert "Traceback" not in said, said
    if check and code:
        raise AssertionError(f"polywheel {given} ended with {code}:\n{said}")
    return done
