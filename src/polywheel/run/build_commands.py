"""The commands of the settings of a build: ``before-all`` and ``before-build``.

They run in a shell, as in cibuildwheel.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Event, Lock

from polywheel.environments.virtual_environments import Environment, refuse_changes
from polywheel.errors import BuildError
from polywheel.model.matrix import BuildSettings
from polywheel.model.setup import with_source_path
from polywheel.run.context import RunContext
from polywheel.run.source.snapshot import Source
from polywheel.run.worker.requests import StepContext, variables_of_build
from polywheel.system.processes import run_child
from polywheel.system.temporary import temporary_folder

SHELL = """
import subprocess, sys
code = subprocess.run(sys.argv[1], shell=True).returncode
sys.exit(code if code >= 0 else 128 - code)
"""
"""A program that runs a command in the shell of the system."""


class BeforeAll:
    """Runs each ``before-all`` command once in a run, before the first build that needs it.

    Commands do not run in parallel: they may install packages of the system, or write to the same files.
    """

    def __init__(self, run: RunContext, source: Source) -> None:
        self._run = run
        self._source = source
        self._lock = Lock()
        self._failures: dict[object, BuildError | None] = {}

    def run(self, settings: BuildSettings, time_limit: float | None) -> None:
        """Run the command of a build, or wait until another build has run it.

        Builds with the same command and variables have it in common. Raises BuildError if it fails, for each
        of these builds. ``time_limit`` is in seconds.
        """
        if not settings.before_all:
            return
        key = (settings.before_all, *sorted(settings.environment.items()))
        with self._lock:
            if key not in self._failures:
                number = len(self._failures) + 1
                try:
                    self._run_command(settings.before_all, settings.environment, number, time_limit)
                    self._failures[key] = None
                except BuildError as error:
                    self._failures[key] = error
            failure = self._failures[key]
        if failure is not None:
            raise BuildError.collected(failure.problems)

    def _run_command(
        self, command: str, settings: Mapping[str, str], number: int, time_limit: float | None
    ) -> None:
        context = self._run.worker_context
        name = "before-all.log" if number == 1 else f"before-all-{number}.log"
        self._run.observer.note(f"before-all: {command}")
        with temporary_folder() as folder:
            source = folder / "source"
            self._source.copy_to(source)
            _run_in_shell(
                "before-all",
                command,
                python=sys.executable,
                source=source,
                variables=variables_of_build(context, settings=settings, project=source),
                log=self._run.options.log_folder / name,
                stop=context.stop,
                time_limit=time_limit,
            )


def run_before_build(command: str | None, context: StepContext, environment: Environment) -> None:
    """Run the ``before-build`` command of a build in its copy of the source.

    Raises BuildError if it fails, and if it changes the environment: other builds use it, too.
    """
    if not command:
        return
    began = time.monotonic()
    with refuse_changes(environment, by="before-build"):
        _run_in_shell(
            "before-build",
            command,
            python=environment.python,
            source=context.source,
            variables=variables_of_build(
                context.worker_context,
                environment=environment,
                settings=context.variables,
                project=context.source,
            ),
            log=context.log,
            stop=context.worker_context.stop,
            time_limit=context.time_budget.left,
            keep_open=context.keep_open,
        )
    context.time_budget.spend(time.monotonic() - began)


def _run_in_shell(
    key: str,
    command: str,
    *,
    python: str,
    source: Path,
    variables: Mapping[str, str],
    log: Path,
    stop: Event,
    time_limit: float | None,
    keep_open: tuple[int, ...] = (),
) -> None:
    """Run a command in a source. ``{project}`` is its path. Raises BuildError if it fails.

    Modules in the source do not replace modules of the standard library in the process that starts the shell.
    """
    child = run_child(
        [python, "-I", "-c", SHELL, with_source_path(command, str(source))],
        folder=source,
        environment=variables,
        log=log,
        stop=stop,
        seconds=time_limit,
        keep_open=keep_open,
    )
    child.raise_if_ended(time_limit)
    if child.code:
        raise BuildError(f"{key} ended with exit code {child.code}: {command}", at=str(log))
