"""Finding the Pythons of a plan: on PATH, from pyenv, from uv, from the py launcher."""

from __future__ import annotations

import json
import os
import platform
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from polywheel.environments.environments import Interpreter
from polywheel.environments.installers import find_uv
from polywheel.errors import BuildError

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
"""How long an interpreter may take to say what it is."""


def find_interpreter(python: str) -> Interpreter | None:
    """The first CPython of a version that runs; None where there is none."""
    seen = set()
    for candidate in _candidates(python):
        if candidate in seen:
            continue
        seen.add(candidate)
        found = probe(candidate)
        if found is not None and found.python == python:
            return found
    return None


def install_interpreter(python: str, *, notify: Callable[[str], None]) -> Interpreter:
    """Install a version through uv. Raises BuildError where that does not work."""
    uv = find_uv()
    if uv is None:
        raise BuildError(
            f"Python {python} can't be installed: there is no uv", hint="install polywheel[cli]"
        )
    notify(f"installing Python {python} through uv")
    done = subprocess.run(
        [uv, "python", "install", python],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    found = find_interpreter(python) if done.returncode == 0 else None
    if found is None:
        lines = done.stderr.strip().splitlines()
        raise BuildError(
            f"uv can't install Python {python}: {lines[-1] if lines else 'it does not say why'}"
        )
    return found


def probe(executable: str) -> Interpreter | None:
    """What an executable is; None where it does not run, or is no CPython."""
    try:
        done = subprocess.run(
            [executable, "-I", "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
        said: Mapping[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    except (OSError, ValueError, RecursionError, subprocess.TimeoutExpired):
        return None  # a shim of a version that is not there, or something else of this name
    if not isinstance(said, dict):
        return None
    if said.get("implementation") != "cpython" or not said.get("executable"):
        return None
    if (said.get("bits"), said.get("machine")) != (8 * struct.calcsize("P"), platform.machine()):
        return None  # its wheels would be for another target
    path = str(said["executable"])
    identity = f"{said['version']} {said['platform']} {os.path.realpath(path)}"
    return Interpreter(python=str(said["python"]), executable=path, identity=identity)


def _candidates(python: str) -> Iterator[str]:
    """Paths that may be a Python of this version, the likeliest first."""
    if python.removesuffix("t") == f"{sys.version_info.major}.{sys.version_info.minor}":
        yield sys.executable
    # Before PATH: there pyenv has shims, which take long to say that a version is not there.
    yield from _of_pyenv(python)
    for name in (f"python{python}", "python3", "python"):
        for folder in os.get_exec_path():
            found = shutil.which(name, path=folder)
            if found:
                yield found
    uv = find_uv()
    if uv is not None:
        yield from _said([uv, "python", "find", "--no-project", "--no-python-downloads", python])
    if sys.platform == "win32" and shutil.which("py"):
        yield from _said(["py", f"-{python}", "-c", "import sys; print(sys.executable)"])


def _of_pyenv(python: str) -> Iterator[str]:
    """The Pythons of a version that pyenv has installed, the newest first."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"

    def number(path: Path) -> tuple[int, ...]:
        parts = path.name.removesuffix("t").split(".")
        return tuple(int(part) if part.isdigit() else -1 for part in parts)

    for version in sorted(root.glob(f"{python.removesuffix('t')}.*"), key=number, reverse=True):
        for place in (f"bin/python{python}", "python.exe"):  # pyenv, pyenv-win
            if (version / place).is_file():
                yield str(version / place)


def _said(command: list[str]) -> list[str]:
    """The one line that a command prints; nothing where it fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    line = done.stdout.strip()
    return [line] if done.returncode == 0 and line else []
