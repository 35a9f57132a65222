"""Find the Python interpreters of a plan: on PATH, from pyenv, from uv, or from the py launcher.

``uv python find`` is only one of the sources. It does not search the folders of pyenv, and it stops at a shim of
a version that is not active. The package python-discovery does not search them either, and starts slowly.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from polywheel.environments.installers import find_uv
from polywheel.environments.virtual_environments import Interpreter
from polywheel.errors import BuildError
from polywheel.system.processes import capture_output

_PROBE = """
import json, platform, struct, sys, sysconfig
free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
info = sys.version_info
print(json.dumps({
    "executable": sys.executable,
    "python": "%d.%d%s" % (info[0], info[1], "t" if free else ""),
    "implementation": sys.implementation.name,
    "version": sys.version,
    "platform": sysconfig.get_platform(),
    "bits": 8 * struct.calcsize("P"),
    "machine": platform.machine(),
}))
"""
_SECONDS = 30
"""How long an interpreter may take to describe itself."""


def find_interpreters(
    pythons: Iterable[str], *, install: bool, notify: Callable[[str], None]
) -> tuple[dict[str, Interpreter], dict[str, str]]:
    """Return the interpreters by version, and why each missing version is not available.

    ``install``: whether missing versions are installed.
    """
    versions = sorted(set(pythons))
    interpreters: dict[str, Interpreter] = {}
    missing: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=8) as pool:
        found = list(pool.map(find_interpreter, versions))
    for python, interpreter in zip(versions, found, strict=True):
        if interpreter is not None:
            interpreters[python] = interpreter
        elif not install:
            missing[python] = f"no Python {python} was found; use --install-python to install it"
        else:
            try:
                interpreters[python] = install_interpreter(python, notify=notify)
            except BuildError as error:
                missing[python] = error.problems[0].what
    return interpreters, missing


def find_interpreter(python: str) -> Interpreter | None:
    """Return the first CPython of a version that works; None if there is none."""
    failed = set()
    for candidate in _candidates(python):
        if candidate not in failed:
            interpreter = probe(candidate)
            if interpreter is not None and interpreter.python == python:
                return interpreter
            failed.add(candidate)
    return None


def install_interpreter(python: str, *, notify: Callable[[str], None]) -> Interpreter:
    """Install a Python version with uv. Raises BuildError if that fails."""
    uv = find_uv()
    if uv is None:
        raise BuildError(
            f"can't install Python {python}: uv was not found", hint="install polywheel[cli]"
        )
    notify(f"installing Python {python} with uv")
    done = subprocess.run(
        [uv, "python", "install", python],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    interpreter = find_interpreter(python) if done.returncode == 0 else None
    if interpreter is None:
        lines = done.stderr.strip().splitlines()
        why = lines[-1] if lines else "no reason given"
        raise BuildError(f"uv can't install Python {python}: {why}")
    return interpreter


def probe(executable: str) -> Interpreter | None:
    """Describe an interpreter; None if it does not run, or is no CPython for this machine."""
    expected = {
        "implementation": "cpython",
        "bits": 8 * struct.calcsize("P"),  # wheels of another kind would be for another machine
        "machine": platform.machine(),
    }
    output = capture_output([executable, "-I", "-c", _PROBE], seconds=_SECONDS)
    try:
        answer = json.loads(output or b"")
        if not answer["executable"] or any(answer[key] != expected[key] for key in expected):
            return None
        path = str(answer["executable"])
        identity = f"{answer['version']} {answer['platform']} {os.path.realpath(path)}"
        return Interpreter(python=str(answer["python"]), executable=path, identity=identity)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None  # another program of this name


def _candidates(python: str) -> Iterator[str]:
    """Paths of interpreters that may have this version, the most likely first."""
    if python.removesuffix("t") == f"{sys.version_info.major}.{sys.version_info.minor}":
        yield sys.executable
    # Before PATH: the shims of pyenv on PATH are slow if a version is not installed.
    yield from _pyenv_interpreters(python)
    for name in (f"python{python}", "python3", "python"):
        for folder in os.get_exec_path():
            if executable := shutil.which(name, path=folder):
                yield executable
    uv = find_uv()
    if uv is not None:
        yield from _output_line(
            [uv, "python", "find", "--no-project", "--no-python-downloads", python]
        )
    if sys.platform == "win32" and shutil.which("py"):
        yield from _output_line(["py", f"-{python}", "-c", "import sys; print(sys.executable)"])


def _pyenv_interpreters(python: str) -> Iterator[str]:
    """The interpreters of a version that pyenv installed, the newest first."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"

    def number(path: Path) -> tuple[int, ...]:
        parts = path.name.removesuffix("t").split(".")
        return tuple(int(part) if part.isdigit() else -1 for part in parts)

    for version in sorted(root.glob(f"{python.removesuffix('t')}.*"), key=number, reverse=True):
        for executable in (f"bin/python{python}", "python.exe"):  # pyenv, pyenv-win
            if (version / executable).is_file():
                yield str(version / executable)


def _output_line(command: list[str]) -> list[str]:
    """The line that a command prints, as a list; empty if it fails."""
    output = capture_output(command, seconds=_SECONDS) or b""
    return [line] if (line := output.decode("utf-8", "replace").strip()) else []
