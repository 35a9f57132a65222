"""Virtual environments made and filled: by uv where it is there, else by virtualenv and pip."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Event

from polywheel.errors import BuildError
from polywheel.run.interpreters import Interpreter, find_uv
from polywheel.run.logs import last_lines
from polywheel.run.process import run_child
from polywheel.system.temporary import temporary_folder

_AS_UV_HAS_IT = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CONSTRAINT": "UV_CONSTRAINT",
}
"""pip's variables that say where packages come from; uv does not look at them."""
_OTHERS = (
    *(
        "PIP_NO_INDEX",
        "PIP_CONFIG_FILE",
        "PIP_PRE",
        "PIP_NO_BINARY",
        "PIP_ONLY_BINARY",
        "PIP_PREFER_BINARY",
    ),
    *("UV_INDEX", "UV_INDEX_URL", "UV_CONFIG_FILE", "UV_NO_CONFIG", "UV_OVERRIDE", "UV_PRERELEASE"),
    *("UV_RESOLUTION", "UV_INDEX_STRATEGY", "UV_EXCLUDE_NEWER", "UV_BUILD_CONSTRAINT"),
    *("UV_NO_BINARY", "UV_NO_BINARY_PACKAGE", "UV_NO_BUILD", "UV_NO_BUILD_PACKAGE"),
)
_FILES = ("PIP_CONSTRAINT", "UV_CONSTRAINT", "UV_OVERRIDE", "UV_BUILD_CONSTRAINT")
"""Variables that name files, the content of which counts."""
_LEFT_OUT = {"VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT"}
"""What is active here has no say in an environment of its own."""
_LINES = 25
"""How much of an installer's last words are told."""


def index_settings() -> dict[str, str]:
    """Variables by which a requirement resolves to one package or another."""
    found = {}
    for name in (*_AS_UV_HAS_IT, *_AS_UV_HAS_IT.values(), *_OTHERS):
        if name in os.environ:
            found[name] = os.environ[name]
    for name in _FILES:
        for path in os.environ.get(name, "").split():
            if Path(path).is_file():
                found[path] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return {**found, "by": "uv" if find_uv() else "pip"}


def install_into(
    place: Path,
    interpreter: Interpreter,
    wanted: Sequence[str],
    *,
    stop: Event,
    keep_open: Sequence[int] = (),
) -> None:
    """Make a virtual environment in ``place`` with these requirements.

    Raises BuildError where that does not work, with the last words of whoever could not do it.
    """
    python = str(place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))
    uv = find_uv()
    if uv is not None:
        make = [uv, "venv", "--quiet", "--no-project", "--python", interpreter.executable]
        install = [uv, "pip", "install", "--quiet", "--python", python]
        install += [*(["--no-index"] if _no_index() else []), "--", *wanted]
    else:
        make = _venv_command(interpreter)
        install = [python, "-I", "-m", "pip", "install", "--quiet", "--no-input"]
        install += ["--no-warn-script-location", "--disable-pip-version-check", "--", *wanted]
    for command in ([*make, str(place)], install) if wanted else ([*make, str(place)],):
        said = _run(command, place.parent, stop, keep_open)
        if said is not None:
            what = f"can't install {', '.join(wanted)}" if command is install else "can't be used"
            raise BuildError(f"Python {interpreter.python}: {what}", output=said)


def _venv_command(interpreter: Interpreter) -> list[str]:
    if find_spec("virtualenv") is None:
        return [interpreter.executable, "-I", "-m", "venv"]
    command = [sys.executable, "-m", "virtualenv", "--quiet", "--no-periodic-update"]
    return [*command, "--no-setuptools", "--python", interpreter.executable]


def _no_index() -> bool:
    """Whether pip would ask no index; uv has an option for it, and no variable."""
    return os.environ.get("PIP_NO_INDEX", "").lower() in {"1", "true", "yes", "on", "y", "t"}


def _environment() -> Mapping[str, str]:
    found = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    if not any(name in found for name in (*_AS_UV_HAS_IT.values(), "UV_INDEX", "UV_INDEX_URL")):
        for ours, theirs in _AS_UV_HAS_IT.items():
            if ours in found:
                separator = "," if theirs == "UV_FIND_LINKS" else " "
                found[theirs] = separator.join(found[ours].split())
    return found


def _run(
    command: Sequence[str], folder: Path, stop: Event, keep_open: Sequence[int]
) -> list[str] | None:
    """The last lines of a command that failed; None for one that did not. Raises BuildError if stopped."""
    with temporary_folder() as scratch:
        log = scratch / "log"
        ended = run_child(
            command,
            folder=folder,
            environment=_environment(),
            log=log,
            stop=stop,
            keep_open=keep_open,
        )
        if ended.stopped:
            raise BuildError("it was stopped")
        if ended.code == 0:
            return None
        lines = last_lines(log, _LINES)
    return lines or [f"{Path(command[0]).name} ended with {ended.code}"]
