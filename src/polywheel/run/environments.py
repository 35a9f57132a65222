"""Build environments: one for each interpreter and set of requirements, kept and shared."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from itertools import count
from pathlib import Path
from threading import Event, Lock

from packaging.utils import canonicalize_name

from polywheel.errors import BuildError
from polywheel.run.installers import index_settings, install_into
from polywheel.run.interpreters import Interpreter
from polywheel.run.locked import first_free, held
from polywheel.run.wanted import normalized
from polywheel.system.cache import cache_directory
from polywheel.system.temporary import remove_abandoned, replacing, temporary_folder

_COMPLETE = "polywheel-environment.json"
_WHAT = (
    "import json, sysconfig; print(json.dumps([sysconfig.get_path(one) for one in "
    "('purelib', 'platlib')]))"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """An environment that is complete; nothing is installed into it any more."""

    folder: Path
    python: str
    """Its interpreter."""

    resolved: tuple[str, ...]
    """``name==version`` of all that is installed, sorted."""

    content: str
    """A digest of what RECORD says of it: a version may be built anew, or lie in a folder."""

    @property
    def scripts(self) -> Path:
        return Path(self.python).parent


class Environments:
    """Makes environments, each once: threads and other processes that want the same one wait.

    They lie in the cache, by interpreter, requirements, and where packages come from.
    """

    def __init__(
        self, *, fresh: bool, notify: Callable[[str], None], stop: Event | None = None
    ) -> None:
        self._fresh = fresh
        self._notify = notify
        self._stop = stop or Event()
        self._made: dict[str, Environment] = {}
        self._locks: dict[str, Lock] = {}
        self._lock = Lock()
        self._uses = ExitStack()
        """Closed when this run can't use any more what it got."""
        weakref.finalize(self, self._uses.close)

    def get(self, interpreter: Interpreter, requirements: Iterable[str]) -> Environment:
        """The environment of an interpreter with these requirements. Raises BuildError."""
        wanted = normalized(requirements)
        key = _key(interpreter, wanted)
        with self._lock:
            lock = self._locks.setdefault(key, Lock())
        with lock:
            if key not in self._made:
                try:
                    self._made[key] = self._found_or_made(key, interpreter, wanted)
                except (OSError, subprocess.SubprocessError) as error:
                    why = error.strerror if isinstance(error, OSError) else None
                    raise BuildError(
                        f"no build environment can be made: {why or error}", at=str(_place(key))
                    ) from None
            return self._made[key]

    def kept(self, interpreter: Interpreter, requirements: Iterable[str]) -> Environment | None:
        """The environment if it is there; nothing is made."""
        key = _key(interpreter, normalized(requirements))
        if key in self._made or self._fresh:
            return self._made.get(key)
        return _kept(key)

    def _found_or_made(
        self, key: str, interpreter: Interpreter, wanted: Sequence[str]
    ) -> Environment:
        with held(
            _place(key).with_suffix(".lock"),
            stop=self._stop,
            waiting=lambda: self._notify("waiting for another run that makes an environment"),
        ):
            found = None if self._fresh else _kept(key)
            if found is None:
                found = self._made_anew(key, interpreter, wanted)
            _use(found.folder, self._uses)
        return found

    def _made_anew(self, key: str, interpreter: Interpreter, wanted: Sequence[str]) -> Environment:
        # The installer inherits the lock. One that outlives a killed run is not disturbed, and
        # nobody waits for it either: it may have left a process running.
        with first_free(place.with_suffix(".installing") for place in _places(key)) as (
            lock,
            handle,
        ):
            place = lock.with_suffix("")
            _refuse_in_use(place)
            # First of all it is none any more: it may be gone in part, if this run is killed.
            (place / _COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(place, ignore_errors=True)
            what = f"installing {', '.join(wanted)}" if wanted else "an empty environment"
            self._notify(f"Python {interpreter.python}: {what}")
            install_into(place, interpreter, wanted, stop=self._stop, keep_open=(handle,))
            return _finish(place)


def _place(key: str) -> Path:
    # Scripts of an environment hold its path: it is the same by whatever links it is reached.
    return cache_directory().resolve() / "builds" / key


def _places(key: str) -> Iterator[Path]:
    """Where an environment may lie: the others serve where the first is being written to."""
    place = _place(key)
    yield place
    for number in count(2):
        yield place.with_name(f"{key}-{number}")


def _kept(key: str) -> Environment | None:
    """The environment, wherever it lies; None where there is none that is complete."""
    for place in _places(key):
        if (found := _complete(place)) is not None:
            return found
        if not place.with_suffix(".installing").exists():
            return None
    return None


def _key(interpreter: Interpreter, wanted: Sequence[str]) -> str:
    text = json.dumps([interpreter.identity, wanted, index_settings()], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:20]


def _use(place: Path, uses: ExitStack) -> None:
    """Have a temporary folder beside an environment for as long as it is in use."""
    users = place.with_suffix(".users")
    users.mkdir(exist_ok=True)
    uses.enter_context(temporary_folder(users))


def _refuse_in_use(place: Path) -> None:
    """Raise BuildError where another run may be using an environment that is to be made anew."""
    users = place.with_suffix(".users")
    remove_abandoned(users)
    if users.is_dir() and any(users.iterdir()) and _complete(place) is not None:
        raise BuildError(
            "another run is using a build environment that is to be made anew",
            at=str(place),
            hint="wait until it has ended, or drop --fresh",
        )


def _complete(place: Path) -> Environment | None:
    """An environment that was finished; None where there is none, or it is not one any more."""
    try:
        said = json.loads((place / _COMPLETE).read_text(encoding="utf-8"))
        folder, resolved = said["folder"], tuple(map(str, said["resolved"]))
        content = str(said["content"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # Moved; or a link that leads nowhere, as the interpreter that it was made of is gone.
    if folder != str(place) or not Path(python_of(place)).exists():
        return None
    return Environment(folder=place, python=python_of(place), resolved=resolved, content=content)


def _finish(place: Path) -> Environment:
    """Note what is in an environment; from then on it counts as complete."""
    python = python_of(place)
    said = subprocess.run(
        [python, "-I", "-c", _WHAT],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout
    sites = sorted(set(json.loads(said)))
    found = [one for one in distributions(path=sites) if one.metadata["Name"]]
    resolved = sorted(
        {f"{canonicalize_name(one.metadata['Name'])}=={one.version}" for one in found}
    )
    content = hashlib.sha256("".join(sorted(map(_installed, found))).encode()).hexdigest()
    with replacing(place / _COMPLETE) as part:
        part.write_text(
            json.dumps({"folder": str(place), "resolved": resolved, "content": content}, indent=2),
            encoding="utf-8",
        )
    return Environment(folder=place, python=python, resolved=tuple(resolved), content=content)


def _installed(distribution: Distribution) -> str:
    """The files of a distribution with their hashes; of an editable one, where it lies."""
    lines = (distribution.read_text("RECORD") or "").splitlines()
    origin = distribution.read_text("direct_url.json") or ""
    kept = sorted(line for line in lines if ".pyc," not in line and "direct_url.json," not in line)
    return "\n".join([distribution.metadata["Name"], *kept, origin, ""])


def python_of(place: Path) -> str:
    """The interpreter of the virtual environment in a folder."""
    if sys.platform == "win32":
        return str(place / "Scripts" / "python.exe")
    return str(place / "bin" / "python")
