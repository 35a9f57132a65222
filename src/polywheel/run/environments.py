"""Build environments: one for each interpreter and set of requirements, kept and shared."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from threading import Lock

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from polywheel.errors import BuildError
from polywheel.providers.environment import cache_directory
from polywheel.run.interpreters import Interpreter

_COMPLETE = "polywheel-environment.json"
_INDEX_SETTINGS = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CONSTRAINT"),
    *("UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_FIND_LINKS"),
    *("UV_NO_INDEX", "UV_CONSTRAINT", "PIP_CONFIG_FILE", "UV_CONFIG_FILE"),
)
"""Variables that say where packages come from, and so what a requirement resolves to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """An environment that is complete; nobody writes into it any more."""

    folder: Path
    python: str
    """Its interpreter."""

    resolved: tuple[str, ...]
    """``name==version`` of all that is installed, sorted."""

    @property
    def scripts(self) -> Path:
        return Path(self.python).parent


class Environments:
    """Makes environments, each once: threads and other processes that want the same one wait."""

    def __init__(self, *, fresh: bool, notify: Callable[[str], None]) -> None:
        self._fresh = fresh
        self._notify = notify
        self._made: dict[str, Environment] = {}
        self._locks: dict[str, Lock] = {}
        self._lock = Lock()

    def get(self, interpreter: Interpreter, requirements: Iterable[str]) -> Environment:
        """The environment of an interpreter with these requirements. Raises BuildError."""
        wanted = normalized(requirements)
        key = _key(interpreter, wanted)
        with self._lock:
            lock = self._locks.setdefault(key, Lock())
        with lock:
            if key not in self._made:
                self._made[key] = self._found_or_made(key, interpreter, wanted)
            return self._made[key]

    def kept(self, interpreter: Interpreter, requirements: Iterable[str]) -> Environment | None:
        """The environment if it is there; nothing is made."""
        key = _key(interpreter, normalized(requirements))
        if key in self._made or self._fresh:
            return self._made.get(key)
        return _complete(cache_directory() / "builds" / key)

    def _found_or_made(
        self, key: str, interpreter: Interpreter, wanted: Sequence[str]
    ) -> Environment:
        place = cache_directory() / "builds" / key
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with _held(place.with_suffix(".lock")):
                found = None if self._fresh else _complete(place)
                if found is None:
                    shutil.rmtree(place, ignore_errors=True)
                    named = ", ".join(wanted) or "nothing"
                    self._notify(f"Python {interpreter.python}: installing {named}")
                    _make(place, interpreter, wanted)
                    found = _finish(place)
        except OSError as error:
            raise BuildError(
                f"no build environment can be made: {error.strerror or error}",
                at=str(place.parent),
            ) from None
        return found


def normalized(requirements: Iterable[str]) -> tuple[str, ...]:
    """Requirements in one spelling, each once, sorted."""
    found = set()
    for text in requirements:
        requirement = Requirement(text)
        requirement.name = canonicalize_name(requirement.name)
        found.add(str(requirement))
    return tuple(sorted(found))


def _key(interpreter: Interpreter, wanted: Sequence[str]) -> str:
    settings = {name: os.environ[name] for name in _INDEX_SETTINGS if name in os.environ}
    text = json.dumps([interpreter.identity, wanted, settings], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:20]


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """A lock between processes; it goes with the process that holds it."""
    with path.open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _complete(place: Path) -> Environment | None:
    """An environment that was finished; None where there is none, or it is not one any more."""
    try:
        said = json.loads((place / _COMPLETE).read_text(encoding="utf-8"))
        python, resolved = said["python"], tuple(said["resolved"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not Path(python).exists():  # the interpreter that it was made of is gone
        return None
    return Environment(folder=place, python=python, resolved=resolved)


def _finish(place: Path) -> Environment:
    python = _python_of(place)
    site = subprocess.run(
        [python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout.strip()
    resolved = tuple(
        sorted(
            f"{canonicalize_name(one.metadata['Name'])}=={one.version}"
            for one in distributions(path=[site])
        )
    )
    text = json.dumps({"python": python, "resolved": resolved}, indent=2)
    part = place / f"{_COMPLETE}.part"
    part.write_text(text, encoding="utf-8")
    part.replace(place / _COMPLETE)
    return Environment(folder=place, python=python, resolved=resolved)


def _make(place: Path, interpreter: Interpreter, wanted: Sequence[str]) -> None:
    uv = shutil.which("uv")
    if uv:
        _run(
            [uv, "venv", "--quiet", "--no-project", "--python", interpreter.executable, str(place)]
        )
        install = [uv, "pip", "install", "--quiet", "--python", _python_of(place)]
    else:
        command = [sys.executable, "-m", "virtualenv", "--quiet", "--no-periodic-update"]
        _run([*command, "--python", interpreter.executable, str(place)])
        install = [_python_of(place), "-m", "pip", "install", "--quiet", "--no-input"]
        install += ["--disable-pip-version-check"]
    if wanted:
        _run([*install, "--", *wanted] if uv else [*install, *wanted])


def _python_of(place: Path) -> str:
    if sys.platform == "win32":
        return str(place / "Scripts" / "python.exe")
    return str(place / "bin" / "python")


def _run(command: list[str]) -> None:
    # What is active here has no say in an environment of its own.
    left_out = {"VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT"}
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(
            f"a build environment can't be made: {done.stdout.strip()[-2000:]}",
            hint="--fresh makes kept environments anew",
        )
