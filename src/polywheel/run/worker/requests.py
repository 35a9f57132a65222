"""Run a step of a build in a worker, in the environment of the build."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from threading import Event
from types import MappingProxyType

from polywheel.config.project import CONFIG_VARIABLE
from polywheel.environments.virtual_environments import Environment
from polywheel.errors import BuildError
from polywheel.model.setup import with_source_path
from polywheel.run.work_folder import group_file
from polywheel.run.worker.jobserver import JobserverSettings
from polywheel.run.worker.protocol import (
    Message,
    Result,
    Step,
    WorkerRequest,
    WorkerResponse,
    read_response,
    write_request,
)
from polywheel.system.processes import ChildResult, run_child
from polywheel.system.source_files import GIT_LOCAL_VARIABLES
from polywheel.system.temporary import temporary_folder

_SCRIPT = Path("polywheel", "run", "worker", "_script.py")
_REMOVED_VARIABLES = {
    *("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__"),
    # An environment serves many jobs: its bytecode is worth writing.
    "PYTHONDONTWRITEBYTECODE",
    CONFIG_VARIABLE,
    *GIT_LOCAL_VARIABLES,
}
"""Variables of the surrounding environment that a build does not get."""


class StepFailedError(BuildError):
    """A step failed, and would fail again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerContext:
    """What all workers of a run have in common."""

    polywheel: Path
    """The folder with the polywheel that workers import."""

    config: Path | None
    """The file with the tables that are read instead of the project's."""

    settings: Mapping[str, str | Sequence[str]]
    """Config settings for the real backend."""

    epoch: int
    """SOURCE_DATE_EPOCH, in seconds."""

    time_limit: float | None
    """Seconds that the steps of one build may take together; None: the targets' ``job-timeout``."""

    stop: Event


class TimeBudget:
    """The time that is left for the steps of a build.

    ``time_limit`` is in seconds; None means no limit.
    """

    def __init__(self, time_limit: float | None) -> None:
        self.time_limit = self.left = time_limit

    def spend(self, seconds: float) -> None:
        """Subtract the time that a step took."""
        if self.left is not None:
            self.left = max(0.0, self.left - seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepContext:
    """What all steps of a build have in common."""

    worker_context: WorkerContext
    source: Path
    """The copy of the source."""

    scratch: Path
    log: Path
    time_budget: TimeBudget
    variables: Mapping[str, str]
    """The environment variables of the build's settings."""

    settings: Mapping[str, str | Sequence[str]]
    """The config settings of the build's settings."""

    keep_open: tuple[int, ...]
    """File descriptors that the worker inherits: the lock of the build's folder."""

    messages: list[Message]
    """Warnings and notes of the steps are added here."""


def run_step(
    step: Step[Result],
    context: StepContext,
    environment: Environment,
    *,
    slots: JobserverSettings | None = None,
    more: Mapping[str, str] = MappingProxyType({}),
) -> Result:
    """Run a step in a worker, with ``more`` environment variables, and return its result.

    Its warnings and notes are added to ``context.messages``, also if the step fails. Raises
    StepFailedError if the step fails and would fail again, BuildError for any other failure.
    """
    slots = slots or JobserverSettings()
    request = WorkerRequest(
        step=step,
        source=str(context.source),
        settings={**slots.settings, **context.settings, **context.worker_context.settings},
        scratch=str(context.scratch),
        group_file=str(group_file(context.scratch)),
        keep_open=context.keep_open if sys.platform != "win32" else (),
    )
    with temporary_folder() as folder:
        request_file, response_file = folder / "request.json", folder / "response.json"
        write_request(request_file, request)
        script = str(context.worker_context.polywheel / _SCRIPT)
        began = time.monotonic()
        child = run_child(
            [environment.python, script, str(request_file), str(response_file)],
            folder=context.source,
            environment={
                **variables_of_build(
                    context.worker_context,
                    environment=environment,
                    settings=context.variables,
                    project=context.source,
                ),
                **slots.environment,
                **more,
            },
            log=context.log,
            stop=context.worker_context.stop,
            seconds=context.time_budget.left,
            keep_open=context.keep_open,
        )
        context.time_budget.spend(time.monotonic() - began)
        response = read_response(response_file, step)
    if response is not None:
        context.messages.extend(response.messages)
    return check_response(response, child, context.time_budget)


def check_response(
    response: WorkerResponse[Result] | None, child: ChildResult, time_budget: TimeBudget
) -> Result:
    """Return the result of a worker that has ended. Raises StepFailedError and BuildError."""
    child.raise_if_ended(time_budget.time_limit)
    if response is not None and response.problems:
        error = StepFailedError if response.permanent else BuildError
        raise error.collected(response.problems)
    if child.code < 0:
        raise BuildError(f"the worker was killed by signal {-child.code}")
    if child.code > 0:
        raise BuildError(f"the worker ended with exit code {child.code}")
    if response is None or response.result is None:
        raise BuildError("the worker ended without a valid response")
    return response.result


def variables_of_build(
    context: WorkerContext,
    *,
    environment: Environment | None = None,
    settings: Mapping[str, str],
    project: Path | None,
) -> dict[str, str]:
    """Return the environment variables of a build, or without ``environment`` of a command for all builds.

    ``settings`` are the variables of the build's settings. ``$NAME`` in them is replaced by the value of another
    variable, or by nothing, and ``{project}`` by the path ``project`` of the copy of the source, or not at all.
    """
    variables = _Variables(
        {name: value for name, value in os.environ.items() if name not in _REMOVED_VARIABLES}
    )
    if context.config is not None:
        variables[CONFIG_VARIABLE] = str(context.config)
    if environment is not None:
        path = variables.get("PATH", os.defpath)
        variables["PATH"] = f"{environment.scripts}{os.pathsep}{path}"
        variables["VIRTUAL_ENV"] = str(environment.folder)
        variables["PYTHONNOUSERSITE"] = "1"
    variables["SOURCE_DATE_EPOCH"] = str(context.epoch)
    for name, text in settings.items():
        if project is not None:
            text = with_source_path(text, str(project).replace("$", "$$"))  # noqa: PLW2901
        variables[name] = Template(text).safe_substitute(variables)
    return variables


def variables_of_settings(
    context: WorkerContext, settings: Mapping[str, str], *, project: Path | None = None
) -> dict[str, str]:
    """Return the variables of a build's settings with the values of other variables.

    ``{project}`` in them is replaced by the path ``project``, or not at all.
    """
    variables = variables_of_build(context, settings=settings, project=project)
    return {name: variables[name] for name in settings}


def installer_variables(
    context: WorkerContext, settings: Mapping[str, str], *, project: Path
) -> dict[str, str]:
    """Return the variables of a build's settings that pip or uv reads.

    ``project`` is the path of the source. For an environment that serves several builds, it is that of the
    source in the cache.
    """
    variables = variables_of_settings(context, settings, project=project)
    return {name: text for name, text in variables.items() if name.startswith(("PIP_", "UV_"))}


class _Variables(dict[str, str]):
    """Environment variables. A variable that does not exist is empty, as in a shell."""

    def __missing__(self, name: str) -> str:
        return ""
