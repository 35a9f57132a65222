"""The test of one wheel: a new environment with the wheel, and commands that run outside of the source."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name

from polywheel.environments.installers import find_installer, python_of, working_directory
from polywheel.environments.virtual_environments import Environment, Interpreter, site_folders
from polywheel.errors import BuildError
from polywheel.formats.metadata import parse_metadata
from polywheel.model.matrix import BuildSettings
from polywheel.model.plan import Job
from polywheel.model.setup import CpuModel, with_source_path
from polywheel.model.variant import variant_variables
from polywheel.model.wheelname import WheelName
from polywheel.run.build_commands import SHELL
from polywheel.run.testing.emulation import EMULATOR, EmulatedPython, emulate_python
from polywheel.run.worker.requests import WorkerContext, installer_variables, variables_of_build
from polywheel.system.files import open_regular
from polywheel.system.logs import remove_logs
from polywheel.system.processes import run_child
from polywheel.system.temporary import temporary_folder
from polywheel.wheel.archive.reader import open_archive
from polywheel.wheel.dist_info import find_dist_info

_SIGNALS = 128
"""A shell adds this to the number of the signal that killed a command."""
_MEANINGS = {
    "SIGILL": ": an instruction that this CPU does not have",
    "SIGSEGV": ": invalid access to memory",
}
DEFAULT_TIMEOUT = 3600.0
"""Seconds that a test may take, unless ``test-timeout`` says otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelTest:
    """A test to run."""

    job: Job
    settings: BuildSettings
    """Those of the job."""

    wheel: Path
    requirements: Sequence[str]
    """Everything that is installed besides the wheel."""

    cpu: CpuModel | None
    """The CPU to emulate."""

    interpreter: Interpreter
    source: Path
    """A copy of the source."""

    log: Path
    context: WorkerContext

    def run(self) -> None:
        """Install the wheel, and run the commands of the test. Raises BuildError if it fails."""
        remove_logs(self.log)
        with temporary_folder() as folder:
            run = _Run(self, folder)
            run.install()
            emulated = run.emulate()
            run.commands()
            if emulated is not None:
                emulated.check()


class _Run:
    """One run of a test, in a folder of its own."""

    def __init__(self, test: WheelTest, folder: Path) -> None:
        self._test = test
        self._folder = folder.resolve()
        self._environment = self._folder / "environment"
        limit = test.settings.test_timeout
        self._limit = DEFAULT_TIMEOUT if limit is None else limit
        self._until = time.monotonic() + self._limit
        name = WheelName.parse(test.wheel.name)
        self._distribution = name.distribution
        # Installers know no labels.
        self._wheel = self._folder / name.with_label(None)
        shutil.copyfile(test.wheel, self._wheel)

    def install(self) -> None:
        """Create the environment, with the wheel and the requirements of the test."""
        test = self._test
        _check_extras(self._wheel, test.settings.test_extras or ())
        extras = ",".join(test.settings.test_extras or ())
        name = f"{self._distribution}[{extras}]" if extras else self._distribution
        settings = installer_variables(test.context, self._settings(), project=test.source)
        installer = find_installer({**os.environ, **settings})
        for command, failure in (
            (
                installer.create_command(self._environment, test.interpreter.executable),
                "the creation of the environment of the test",
            ),
            (
                installer.install_command(
                    self._environment, [f"{name} @ {self._wheel.as_uri()}", *test.requirements]
                ),
                "the installation of the wheel for its test",
            ),
        ):
            folder = working_directory(self._environment)
            self._run(command, folder, installer.environment, failure)

    def emulate(self) -> EmulatedPython | None:
        """Have the Python of the environment run on the CPU of the test, if it names one."""
        if self._test.cpu is None:
            return None
        python = Path(python_of(self._environment))
        sites = [Path(site) for site in site_folders(str(python))]
        emulator = self._test.settings.emulator or EMULATOR
        return emulate_python(
            python, sites, self._test.cpu, emulator, self._folder / "cpus-of-the-test"
        )

    def commands(self) -> None:
        """Run ``before-test`` in the source, and ``test-command`` in a folder with the test's sources."""
        settings, variables = self._test.settings, self._variables()
        folder = self._folder / "test"
        folder.mkdir()
        for name in settings.test_sources or ():
            _copy_source(self._test.source, name, folder)
        for key, command, where in (
            ("before-test", settings.before_test, self._test.source),
            ("test-command", settings.test_command, folder),
        ):
            if command:
                command = with_source_path(command, str(self._test.source))  # noqa: PLW2901
                command = command.replace("{wheel}", str(self._wheel))  # noqa: PLW2901
                self._run([sys.executable, "-I", "-c", SHELL, command], where, variables, key)

    def _run(
        self, command: Sequence[str], folder: Path, variables: Mapping[str, str], name: str
    ) -> None:
        child = run_child(
            command,
            folder=folder,
            environment=variables,
            log=self._test.log,
            stop=self._test.context.stop,
            seconds=max(0.0, self._until - time.monotonic()),
        )
        if child.late:
            raise BuildError(f"{name}: timed out after {self._limit:g} seconds (test-timeout)")
        child.raise_if_ended(self._limit)
        if child.code:
            raise BuildError(f"{name} {_how_it_ended(child.code)}")

    def _settings(self) -> dict[str, str]:
        settings = self._test.settings
        return {**settings.environment, **settings.test_environment}

    def _variables(self) -> dict[str, str]:
        """The environment variables of the commands."""
        python = python_of(self._environment)
        environment = Environment(folder=self._environment, python=python, distributions={})
        job = self._test.job
        return {
            **variables_of_build(
                self._test.context,
                environment=environment,
                settings=self._settings(),
                project=self._test.source,
            ),
            **variant_variables(job.label or "", job.properties),
        }


def _how_it_ended(code: int) -> str:
    """Describe the exit code of a shell command; negative if a signal ended the shell itself."""
    number = -code if code < 0 else code - _SIGNALS if code > _SIGNALS else None
    try:
        signal_name = None if number is None else signal.Signals(number).name
    except ValueError:
        signal_name = None
    if signal_name is None:
        return f"ended with exit code {code}"
    meaning = _MEANINGS.get(signal_name, "")
    return f"was killed by {signal_name}{meaning}"


def _copy_source(source: Path, name: str, folder: Path) -> None:
    """Copy a file or folder of the source to the same place in ``folder``. Raises BuildError."""
    relative = PurePosixPath(name)
    origin, target = source / relative, folder / relative
    inside = origin.resolve().is_relative_to(source.resolve()) and not relative.is_absolute()
    if not inside or ".." in relative.parts:
        raise BuildError(f"test-sources: {name!r} is not inside of the source")
    if not origin.exists():
        raise BuildError(f"test-sources: the source has no {name!r}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if origin.is_dir():
        shutil.copytree(origin, target, symlinks=True, dirs_exist_ok=True)
    elif stat.S_ISREG(origin.stat().st_mode):
        shutil.copyfile(origin, target)
        shutil.copymode(origin, target)
    else:
        raise BuildError(f"test-sources: {name!r} is neither a file nor a folder")


def _check_extras(wheel: Path, extras: Sequence[str]) -> None:
    """Raise BuildError if a wheel lacks an extra. Installers only warn of it."""
    if not extras:
        return
    with open_regular(wheel) as file:
        info = find_dist_info(open_archive(file, wheel))
    headers = parse_metadata(info.metadata, at=f"{wheel.name}: METADATA")
    known = [str(name) for name in headers.get_all("Provides-Extra", [])]
    for extra in extras:
        if canonicalize_name(extra) not in map(canonicalize_name, known):
            listed = ", ".join(known) or "none"
            raise BuildError(f"the wheel has no extra {extra!r} (test-extras); it has: {listed}")
