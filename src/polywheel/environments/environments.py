"""Virtual environments in the cache: one for each interpreter and set of requirements, shared.

An environment is complete when it has a note, which is written last. It is used while its interpreter
starts and all of its files are unchanged. Otherwise it is created again.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import sysconfig
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import Distribution, distributions
from itertools import count
from pathlib import Path
from threading import Event, Lock

from packaging.utils import canonicalize_name

from polywheel.config.reader import normalized_requirements
from polywheel.environments.installers import (
    Installer,
    find_installer,
    python_of,
    working_directory,
)
from polywheel.errors import BuildError
from polywheel.system.cache import cache_directory
from polywheel.system.locks import hold_lock, lock_first_free
from polywheel.system.logs import last_lines
from polywheel.system.manifest import (
    read_folder_state,
    record_files,
    record_new_files,
    write_synced,
)
from polywheel.system.processes import run_child
from polywheel.system.temporary import remove_abandoned, remove_tree, replacing, temporary_folder

_COMPLETE = "polywheel-environment.json"
_BYTECODE = ".pyc"
_WHERE = (
    "import json, sysconfig; print(json.dumps([sysconfig.get_path(one) for one in "
    "('purelib', 'platlib')]))"
)
_LINES = 25
"""How much of an installer's last words is shown."""
_SOUND = """
import importlib.util, json, marshal, sys
sound = []
for name in json.load(sys.stdin):
    try:
        with open(name, "rb") as file:
            content = file.read()
        if content[:4] == importlib.util.MAGIC_NUMBER:
            marshal.loads(content[16:])
            sound.append(name)
    except Exception:
        pass
json.dump(sound, sys.stdout)
"""
"""Which compiled files an interpreter can load: those that a full disk cut short it can not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """One Python that can build."""

    python: str
    """``3.12`` or ``3.13t``."""

    executable: str
    """Absolute path."""

    identity: str
    """What sets it apart: version, compiler, platform and path."""


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

    They lie in the folder ``kind`` of the cache, by interpreter, requirements, and where packages
    come from.
    """

    def __init__(
        self,
        kind: str = "builds",
        *,
        fresh: bool,
        notify: Callable[[str], None],
        stop: Event | None = None,
        patience: float | None = None,
    ) -> None:
        """``patience``: seconds that another run, which makes the same one, is waited for."""
        self._kind = kind
        self._patience = patience
        self._fresh = fresh
        self._notify = notify
        self._stop = stop or Event()
        self._made: dict[str, Environment] = {}
        self._locks: dict[str, Lock] = {}
        self._lock = Lock()
        self._uses = ExitStack()
        """Closed when this run can't use any more what it got."""
        weakref.finalize(self, self._uses.close)

    @cached_property
    def _installer(self) -> Installer:
        return find_installer()

    def get(self, interpreter: Interpreter, requirements: Iterable[str]) -> Environment:
        """The environment of an interpreter with these requirements.

        Raises BuildError, and ConfigError where the settings for installers can't be followed.
        """
        wanted = normalized_requirements(requirements)
        key = self._key(interpreter, wanted)
        with self._lock:
            lock = self._locks.setdefault(key, Lock())
        with lock:
            if key not in self._made:
                place = self._place(key)
                try:
                    self._made[key] = self._found_or_made(place, interpreter, wanted)
                except (OSError, subprocess.SubprocessError) as error:
                    why = error.strerror if isinstance(error, OSError) else None
                    raise BuildError(
                        f"no environment can be made: {why or error}", at=str(place)
                    ) from None
            return self._made[key]

    def kept(self, interpreter: Interpreter, requirements: Iterable[str]) -> Environment | None:
        """The environment if it is there; nothing is made, and its files are not looked at."""
        key = self._key(interpreter, normalized_requirements(requirements))
        if key in self._made or self._fresh:
            return self._made.get(key)
        return _kept(self._place(key))

    def _key(self, interpreter: Interpreter, wanted: Sequence[str]) -> str:
        parts = [interpreter.identity, wanted, self._installer.identity]
        text = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:20]

    def _place(self, key: str) -> Path:
        # Scripts of an environment hold its path: it is the same by whatever links it is reached.
        return cache_directory().resolve() / self._kind / key

    def _found_or_made(
        self, place: Path, interpreter: Interpreter, wanted: Sequence[str]
    ) -> Environment:
        with hold_lock(
            place.with_suffix(".lock"),
            stop=self._stop,
            waiting=lambda: self._notify("waiting for another run that makes an environment"),
            seconds=self._patience,
        ):
            found = None if self._fresh else _kept(place)
            while found is not None and not _is_sound(found):
                self._notify(f"an environment is damaged, and made anew: {found.folder}")
                (found.folder / _COMPLETE).unlink()
                found = _kept(place)
            if found is None:
                found = self._made_anew(place, interpreter, wanted)
            _use(found.folder, self._uses)
        return found

    def _made_anew(
        self, usual: Path, interpreter: Interpreter, wanted: Sequence[str]
    ) -> Environment:
        # The installer inherits the lock. One that outlives a killed run is not disturbed, and
        # nobody waits for it either: it may have left a process running.
        places = (one for one in _places(usual) if self._fresh or not _is_in_use(one))
        with lock_first_free(place.with_suffix(".installing") for place in places) as (
            lock,
            handle,
        ):
            place = lock.with_suffix("")
            if self._fresh:
                _refuse_in_use(place)
            return self._make(place, interpreter, wanted, handle)

    def _make(
        self, place: Path, interpreter: Interpreter, wanted: Sequence[str], lock: int
    ) -> Environment:
        _remove(place)
        what = f"installing {', '.join(wanted)}" if wanted else "an empty environment"
        if self._installer.note is not None and wanted:
            self._notify(self._installer.note)
        self._notify(f"Python {interpreter.python}: {what}")
        try:
            for number, command in enumerate(
                self._installer.commands(place, interpreter.executable, wanted)
            ):
                said = self._run(command, place, lock)
                if said is not None:
                    failed = f"can't install {', '.join(wanted)}" if number else "can't be used"
                    raise BuildError(f"Python {interpreter.python}: {failed}", output=said)
            return _finish(place)
        except BaseException:
            _remove(place)  # a part of it would only take room, which may be what is missing
            raise

    def _run(self, command: Sequence[str], place: Path, lock: int) -> list[str] | None:
        """The last lines of a command that failed; None for one that did not. Raises BuildError."""
        with temporary_folder() as scratch:
            log = scratch / "log"
            ended = run_child(
                command,
                folder=working_directory(place),
                environment=self._installer.environment,
                log=log,
                stop=self._stop,
                keep_open=(lock,),
            )
            if ended.stopped:
                raise BuildError("stopped")
            if ended.code == 0:
                return None
            lines = last_lines(log, _LINES)
        return lines or [f"{Path(command[0]).name} ended with {ended.code}"]


def this_interpreter() -> Interpreter:
    """The Python that runs this."""
    free = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    path = os.path.realpath(sys.executable)
    return Interpreter(
        python=f"{sys.version_info.major}.{sys.version_info.minor}{free}",
        executable=sys.executable,
        identity=f"{sys.version} {sysconfig.get_platform()} {platform.machine()} {path}",
    )


def _places(usual: Path) -> Iterator[Path]:
    """Where an environment may lie: the others serve where the first is being written to."""
    yield usual
    for number in count(2):
        yield usual.with_name(f"{usual.name}-{number}")


def _kept(usual: Path) -> Environment | None:
    """The environment, wherever it lies; None where there is none that is complete."""
    for place in _places(usual):
        if (found := _complete(place)) is not None:
            return found
        if not place.with_suffix(".installing").exists():
            return None
    return None


def _remove(place: Path) -> None:
    # First of all it is none any more: it may be gone in part, if this run is killed.
    with suppress(OSError):
        (place / _COMPLETE).unlink(missing_ok=True)
    remove_tree(place)


def _use(place: Path, uses: ExitStack) -> None:
    """Have a temporary folder beside an environment for as long as it is in use."""
    users = place.with_suffix(".users")
    users.mkdir(exist_ok=True)
    uses.enter_context(temporary_folder(users))


def _is_in_use(place: Path) -> bool:
    """Whether another run may be using the environment in a folder."""
    users = place.with_suffix(".users")
    remove_abandoned(users)
    return users.is_dir() and any(users.iterdir())


def _refuse_in_use(place: Path) -> None:
    """Raise BuildError where another run may be using an environment that is to be made anew."""
    if _is_in_use(place) and _complete(place) is not None:
        raise BuildError(
            "another run is using an environment that is to be made anew",
            at=str(place),
            hint="wait until it has ended, or drop --fresh",
        )


def _complete(place: Path) -> Environment | None:
    """An environment that was finished; None where there is none, or it is not one any more."""
    try:
        said = json.loads((place / _COMPLETE).read_text(encoding="utf-8"))
        folder, resolved = said["folder"], tuple(map(str, said["resolved"]))
        content = str(said["content"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    # Moved; or a link that leads nowhere, as the interpreter that it was made of is gone.
    if folder != str(place) or not Path(python_of(place)).exists():
        return None
    return Environment(folder=place, python=python_of(place), resolved=resolved, content=content)


def _is_sound(environment: Environment) -> bool:
    """Whether all files of an environment are as they were when it was finished.

    Compiled Python files that came since are looked at: those that can't be loaded are removed, the
    others belong to it from now on. Raises OSError.
    """
    place = environment.folder
    condition = read_folder_state(place)
    if condition is None or not all(name.endswith(_BYTECODE) for name in condition.missing):
        return False
    if new := [name for name in condition.new if name.endswith(_BYTECODE)]:
        sound = _loadable(environment, new)
        for name in set(new).difference(sound):
            (place / name).unlink(missing_ok=True)
        record_new_files(place, condition, sound)
    return True


def _loadable(environment: Environment, names: Sequence[str]) -> list[str]:
    """Those of these compiled files that the environment's interpreter can load."""
    try:
        done = subprocess.run(
            [environment.python, "-I", "-S", "-c", _SOUND],
            input=json.dumps([str(environment.folder / name) for name in names]),
            capture_output=True,
            encoding="ascii",
            check=True,
        )
        sound = set(json.loads(done.stdout))
    except (OSError, ValueError, RecursionError, subprocess.SubprocessError):
        return []
    return [name for name in names if str(environment.folder / name) in sound]


def _finish(place: Path) -> Environment:
    """Note what is in an environment; from then on it counts as complete."""
    python = python_of(place)
    said = subprocess.run(
        [python, "-I", "-c", _WHERE],
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
    environment = Environment(
        folder=place, python=python, resolved=tuple(resolved), content=content
    )
    record_files(place, without=_BYTECODE)
    _is_sound(environment)  # what pip has compiled, as far as there was room for it
    note = {"folder": str(place), "resolved": resolved, "content": content}
    with replacing(place / _COMPLETE) as part:
        write_synced(part, json.dumps(note, indent=2))
    return environment


def _installed(distribution: Distribution) -> str:
    """The files of a distribution with their hashes; of an editable one, where it lies."""
    lines = (distribution.read_text("RECORD") or "").splitlines()
    origin = distribution.read_text("direct_url.json") or ""
    kept = sorted(line for line in lines if ".pyc," not in line and "direct_url.json," not in line)
    return "\n".join([distribution.metadata["Name"], *kept, origin, ""])
