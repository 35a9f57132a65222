"""Virtual environments in the cache: one for each interpreter and set of requirements, shared.

An environment is complete when it has a note, which is written last. It is used while its interpreter
starts and all of its files are unchanged. Otherwise it is created again.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import Distribution, distributions
from itertools import count
from pathlib import Path
from threading import Event, Lock
from types import MappingProxyType

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
from polywheel.system.cache_entries import record_use
from polywheel.system.cache_manifest import (
    read_folder_state,
    record_files,
    record_new_files,
    write_json,
)
from polywheel.system.locks import hold_lock, lock_first_free, try_lock
from polywheel.system.logs import last_lines
from polywheel.system.processes import capture_output, run_child
from polywheel.system.temporary import (
    USERS,
    is_used,
    remove_abandoned,
    remove_tree,
    temporary_folder,
    using,
)

_COMPLETE = "polywheel-environment.json"
_LOCK = ".lock"
_INSTALLING = ".installing"
_COMMANDS = ".commands"
ENVIRONMENT_NAME = re.compile("[0-9a-f]{20}(-[0-9]+)?")
"""The names of folders of environments."""
_BESIDE = frozenset({_LOCK, _INSTALLING, _COMMANDS, USERS})
"""The ends of the names of what lies beside an environment."""
_BYTECODE = ".pyc"
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
_WHERE = (
    "import json, sysconfig; print(json.dumps([sysconfig.get_path(name) for name in "
    "('purelib', 'platlib')]))"
)
_LINES = 25
"""Lines of the output of a failed installer that are shown."""
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
"""Prints the compiled files that an interpreter can load. A full disk can leave incomplete files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """A Python interpreter for builds."""

    python: str
    """``3.12`` or ``3.13t``."""

    executable: str
    """Absolute path."""

    identity: str
    """Version, compiler, platform, and path."""

    @property
    def version(self) -> str:
        """The full version, such as ``3.12.4``."""
        return self.identity.partition(" ")[0].rstrip("+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """A complete environment. Nothing is installed into it later."""

    folder: Path
    python: str
    """Its interpreter."""

    distributions: Mapping[str, str] = field(hash=False)
    """The version of each installed distribution, and a digest of its RECORD: it can change without a new version."""

    @property
    def resolved(self) -> tuple[str, ...]:
        """``name==version`` of all installed distributions, sorted."""
        return tuple(f"{name}=={text.split()[0]}" for name, text in self.distributions.items())

    @property
    def scripts(self) -> Path:
        return Path(self.python).parent


@dataclass(frozen=True, kw_only=True, slots=True)
class _Order:
    """What an environment has, and how it is created."""

    interpreter: Interpreter
    requirements: tuple[str, ...]
    installer: Installer

    def key(self) -> str:
        """A digest of everything that an environment depends on."""
        parts = [self.interpreter.identity, self.requirements, self.installer.identity]
        text = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:20]


class Environments:
    """Creates environments, each once. Threads and processes that need the same one wait for it.

    They are in the folder ``kind`` of the cache, by interpreter, requirements, and package sources.
    """

    def __init__(
        self,
        kind: str = "builds",
        *,
        fresh: bool,
        notify: Callable[[str], None],
        stop: Event | None = None,
        time_limit: float | None = None,
    ) -> None:
        """``time_limit`` is how many seconds to wait for another run that creates the same environment."""
        self._kind = kind
        self._time_limit = time_limit
        self._fresh = fresh
        self._notify = notify
        self._stop = stop or Event()
        self._environments: dict[Path, Environment] = {}
        self._found: set[Path] = set()
        """The folders whose use by :meth:`find` is recorded."""
        self._locks: dict[Path, Lock] = {}
        self._lock = Lock()
        self._installers: dict[tuple[tuple[str, str], ...], Installer] = {}
        """By variables."""
        self._uses = ExitStack()
        """Closed when this run stops using its environments."""
        weakref.finalize(self, self._uses.close)

    def get(
        self,
        interpreter: Interpreter,
        requirements: Iterable[str],
        variables: Mapping[str, str] = NO_VARIABLES,
    ) -> Environment:
        """Return the environment of an interpreter with these requirements; create it if necessary.

        ``variables`` are settings of pip and uv that replace those of this process. Raises BuildError, and
        ConfigError for settings of installers that can't be applied.
        """
        order = self._order(interpreter, requirements, variables)
        folder = self._usual_folder(order)
        with self._lock:
            lock = self._locks.setdefault(folder, Lock())
        with lock:
            environment = self._environments.get(folder)
            # A build of this run may have changed it.
            if environment is None or not (environment.folder / _COMPLETE).exists():
                try:
                    environment = self._find_or_create(folder, order)
                except OSError as error:
                    why = error.strerror or error
                    raise BuildError(
                        f"can't create an environment: {why}", at=str(folder)
                    ) from None
                self._environments[folder] = environment
            return environment

    def find(
        self,
        interpreter: Interpreter,
        requirements: Iterable[str],
        variables: Mapping[str, str] = NO_VARIABLES,
    ) -> Environment | None:
        """Return an environment that exists, without a check of its files; None if there is none."""
        folder = self._usual_folder(self._order(interpreter, requirements, variables))
        if folder in self._environments or self._fresh:
            return self._environments.get(folder)
        environment = _find(folder)
        if environment is not None and environment.folder not in self._found:
            record_use(environment.folder)
            self._found.add(environment.folder)
        return environment

    def _order(
        self,
        interpreter: Interpreter,
        requirements: Iterable[str],
        variables: Mapping[str, str],
    ) -> _Order:
        normalized = tuple(normalized_requirements(requirements))
        key = tuple(sorted(variables.items()))
        with self._lock:
            installer = self._installers.get(key)
            if installer is None:
                installer = find_installer({**os.environ, **variables})
                self._installers[key] = installer
        return _Order(interpreter=interpreter, requirements=normalized, installer=installer)

    def _usual_folder(self, order: _Order) -> Path:
        # Scripts in an environment contain its path: it must not depend on symbolic links.
        return cache_directory().resolve() / self._kind / order.key()

    def _find_or_create(self, folder: Path, order: _Order) -> Environment:
        with hold_lock(
            folder.with_suffix(_LOCK),
            stop=self._stop,
            waiting=lambda: self._notify("waiting for another run that creates an environment"),
            seconds=self._time_limit,
        ):
            environment = None if self._fresh else _find(folder)
            while environment is not None and not _is_sound(environment):
                self._notify(f"creating a damaged environment again: {environment.folder}")
                (environment.folder / _COMPLETE).unlink()
                environment = _find(folder)
            if environment is None:
                environment = self._create_in_free_folder(folder, order)
            self._uses.enter_context(using(environment.folder))
            record_use(environment.folder)
        return environment

    def _create_in_free_folder(self, usual: Path, order: _Order) -> Environment:
        # The installer inherits the lock. If it outlives a killed run, this run takes another folder
        # instead of waiting: the installer may have left a process running.
        locks = (
            folder.with_suffix(_INSTALLING)
            for folder in _possible_folders(usual)
            if not is_used(folder) or (self._fresh and _read_note(folder) is not None)
        )
        with lock_first_free(locks) as (lock, descriptor):
            folder = lock.with_suffix("")
            if self._fresh and is_used(folder) and _read_note(folder) is not None:
                raise BuildError(
                    "another run is using an environment that --fresh would replace",
                    at=str(folder),
                    hint="wait until the other run ends, or do not use --fresh",
                )
            return self._create(folder, order, descriptor)

    def _create(self, folder: Path, order: _Order, lock: int) -> Environment:
        _remove(folder)
        installer, python = order.installer, f"Python {order.interpreter.python}"
        packages = ", ".join(order.requirements)
        action = f"installing {packages}" if packages else "creating an empty environment"
        if installer.note is not None and packages:
            self._notify(installer.note)
        self._notify(f"{python}: {action}")
        try:
            create = installer.create_command(folder, order.interpreter.executable)
            self._run(create, installer, folder, lock, f"{python}: can't be used")
            if order.requirements:
                install = installer.install_command(folder, order.requirements)
                failure = f"{python}: can't install {packages}"
                self._run(install, installer, folder, lock, failure)
            return _finish(folder)
        except BaseException:
            _remove(folder)  # it would take disk space, which may have run out
            raise

    def _run(
        self, command: Sequence[str], installer: Installer, folder: Path, lock: int, failure: str
    ) -> None:
        """Run a command. Raises BuildError if it fails, with its last lines, or if it is stopped."""
        with temporary_folder() as scratch:
            log = scratch / "log"
            child = run_child(
                command,
                folder=working_directory(folder),
                environment=installer.environment,
                log=log,
                stop=self._stop,
                keep_open=(lock,),
            )
            if child.stopped:
                raise BuildError("stopped")
            if child.code != 0:
                code = f"{Path(command[0]).name} ended with exit code {child.code}"
                raise BuildError(failure, output=last_lines(log, _LINES) or [code])


def this_interpreter() -> Interpreter:
    """The interpreter of this process."""
    free = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    path = os.path.realpath(sys.executable)
    return Interpreter(
        python=f"{sys.version_info.major}.{sys.version_info.minor}{free}",
        executable=sys.executable,
        identity=f"{sys.version} {sysconfig.get_platform()} {platform.machine()} {path}",
    )


def _possible_folders(usual: Path) -> Iterator[Path]:
    """Possible folders of an environment. The others are used while the first is being written."""
    yield usual
    for number in count(2):
        yield usual.with_name(f"{usual.name}-{number}")


def _find(usual: Path) -> Environment | None:
    """The first complete environment in the possible folders; None if there is none."""
    for folder in _possible_folders(usual):
        if (environment := _read_note(folder)) is not None:
            return environment
        if not folder.with_suffix(_INSTALLING).exists():
            return None
    return None


def environment_locks(folder: Path) -> tuple[Path, ...]:
    """Return the locks of processes that create the environment in a folder, or are about to use it."""
    usual = folder.with_name(folder.name.partition("-")[0])
    return usual.with_suffix(_LOCK), folder.with_suffix(_INSTALLING)


def remove_lone_locks(folder: Path) -> None:
    """Remove the locks and marks of environments that do not exist from a folder with environments."""
    with suppress(OSError):
        for path in list(folder.iterdir()):
            of_environment = ENVIRONMENT_NAME.fullmatch(path.stem) and path.suffix in _BESIDE
            if not of_environment or path.with_suffix("").exists():
                continue
            with suppress(OSError):
                if path.is_dir():
                    remove_abandoned(path)
                    path.rmdir()
                else:
                    with path.open("r+b") as lock:
                        if try_lock(lock):
                            path.unlink()


def _remove(folder: Path) -> None:
    # First, so that it does not count as complete if this run is killed.
    with suppress(OSError):
        (folder / _COMPLETE).unlink(missing_ok=True)
    remove_tree(folder)


def _read_note(folder: Path) -> Environment | None:
    """Read the note of a complete environment; None if there is none, or if it was moved."""
    python = python_of(folder)
    try:
        note = json.loads((folder / _COMPLETE).read_text(encoding="utf-8"))
        # It was moved, or its interpreter was removed, which leaves a broken link.
        if note["folder"] != str(folder) or not Path(python).exists():
            return None
        distributions = {str(name): str(text) for name, text in note["distributions"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Environment(folder=folder, python=python, distributions=distributions)


def _is_sound(environment: Environment) -> bool:
    """Whether all files of an environment are unchanged since it was completed.

    New compiled Python files are checked: if the interpreter can't load a file, it is removed;
    otherwise it becomes part of the environment. Raises OSError.
    """
    folder = environment.folder
    if _command_was_killed(folder):
        return False
    state = read_folder_state(folder)
    if state is None or not all(name.endswith(_BYTECODE) for name in state.missing):
        return False
    if new := [name for name in state.new if name.endswith(_BYTECODE)]:
        sound = _loadable(environment, new)
        for name in set(new).difference(sound):
            (folder / name).unlink(missing_ok=True)
        record_new_files(folder, state, sound)
    return True


@contextmanager
def refuse_changes(environment: Environment, *, by: str) -> Iterator[None]:
    """Raise BuildError at the end if files of an environment were changed, except compiled Python files.

    Such an environment is created again before its next use, also if the body fails, or this process is killed
    meanwhile. ``by`` is what runs in it.
    """
    commands = commands_folder(environment.folder)
    commands.mkdir(exist_ok=True)
    with temporary_folder(commands):
        before = _changed_files(environment)
        try:
            yield
        finally:
            changed = sorted({name for name, _ in _changed_files(environment) - before})
            if changed:
                with suppress(OSError):
                    (environment.folder / _COMPLETE).unlink(missing_ok=True)
    if changed:
        raise BuildError(
            f"{by} changed the build environment, which serves other builds too: {changed[0]}",
            at=str(environment.folder),
            hint="add packages to build-system.requires, or to requires of a setup rule",
        )


def refuse_changed(environment: Environment) -> None:
    """Raise BuildError if a command of another build has changed an environment (:func:`refuse_changes`)."""
    if not (environment.folder / _COMPLETE).exists():
        raise BuildError(
            "a command of another build changed the build environment while this build ran",
            at=str(environment.folder),
            hint="run the same command again",
        )


def commands_folder(folder: Path) -> Path:
    """The folder with a temporary folder for each command that may change an environment."""
    return folder.with_name(f"{folder.name}{_COMMANDS}")


def _command_was_killed(folder: Path) -> bool:
    """Whether a command in an environment ended together with its run, before its changes were checked."""
    commands = commands_folder(folder)
    if not commands.is_dir():
        return False
    before = {path.name for path in commands.iterdir()}
    remove_abandoned(commands)
    return not before <= {path.name for path in commands.iterdir()}


def _changed_files(environment: Environment) -> set[tuple[str, tuple[int, int] | None]]:
    """The files of an environment that are missing, new, or changed, except compiled Python files.

    Each with its size and time; None if it is missing.
    """
    state = read_folder_state(environment.folder)
    if state is None:
        return set()
    names = {name for name in (*state.missing, *state.new) if not name.endswith(_BYTECODE)}
    return {(name, state.current.get(name)) for name in names}


def _loadable(environment: Environment, names: Sequence[str]) -> list[str]:
    """The compiled files that the interpreter of an environment can load."""
    paths = {str(environment.folder / name): name for name in names}
    try:
        output = subprocess.run(
            [environment.python, "-I", "-S", "-c", _SOUND],
            input=json.dumps([*paths]),
            capture_output=True,
            encoding="ascii",
            check=True,
        ).stdout
        return [paths[path] for path in json.loads(output)]
    except (OSError, ValueError, KeyError, RecursionError, subprocess.SubprocessError):
        return []


def site_folders(python: str) -> list[str]:
    """Return the folders with the packages of a new environment. Raises BuildError if its Python does not run."""
    output = capture_output([python, "-I", "-c", _WHERE])
    if output is None:
        raise BuildError("the new environment's Python does not run", at=python)
    return sorted(set(json.loads(output)))


def _finish(folder: Path) -> Environment:
    """Write the note of an environment, which makes it complete."""
    python = python_of(folder)
    sites = site_folders(python)
    installed: dict[str, list[str]] = {}
    for dist in distributions(path=sites):
        if dist.metadata["Name"]:
            name = canonicalize_name(dist.metadata["Name"])
            installed.setdefault(name, []).append(f"{dist.version} {_digest_of_files(dist)}")
    environment = Environment(
        folder=folder,
        python=python,
        # Two of the same name are possible, in purelib and platlib.
        distributions={name: ", ".join(sorted(installed[name])) for name in sorted(installed)},
    )
    record_files(folder, without=_BYTECODE)
    _is_sound(environment)  # adds the files that pip compiled
    note = {"folder": str(folder), "distributions": environment.distributions}
    write_json(folder / _COMPLETE, note, indent=2)
    return environment


def _digest_of_files(distribution: Distribution) -> str:
    """A digest of the files of a distribution and their hashes; for an editable one, of its location."""
    lines = (distribution.read_text("RECORD") or "").splitlines()
    origin = distribution.read_text("direct_url.json") or ""
    kept = sorted(line for line in lines if ".pyc," not in line and "direct_url.json," not in line)
    return hashlib.sha256("\n".join([*kept, origin]).encode()).hexdigest()[:16]
