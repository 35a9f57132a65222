"""The worker's side: run one step of a build in its environment.

A build runs the real backend once, and stamps a wheel for every job.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement

from polywheel.backend.hook_call import HookCall
from polywheel.backend.pipeline import (
    build_sdist,
    build_unstamped_wheel,
    get_requires,
    report_notes,
)
from polywheel.config.reader import normalized_requirements
from polywheel.errors import (
    ConfigError,
    PolywheelError,
    UnsupportedError,
    show_error,
)
from polywheel.model.variant import variant_settings
from polywheel.model.wheelname import WheelName
from polywheel.run.worker.protocol import (
    BuildResult,
    BuildStep,
    BuiltWheel,
    Message,
    RequestedJob,
    RequirementsResult,
    RequirementsStep,
    SdistResult,
    SdistStep,
    WorkerRequest,
    WorkerResponse,
)
from polywheel.setup.digest import NO_SETUP
from polywheel.system.terminal import print_lines
from polywheel.wheel.stamp import make_stamp, stamp_into_folder

_SHELL_OPERATORS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<"})
_MAX_MESSAGES = 200
"""Warnings and notes of one step that are kept; the log has all."""
_MAX_MESSAGE_LENGTH = 2000
"""Characters."""


class Messages:
    """The warnings and notes of a step, with the ids of the jobs that they are about."""

    def __init__(self) -> None:
        self._jobs: dict[str, dict[str, None]] = {}

    def print(self, line: str, *jobs: str) -> None:
        """Print a line. Keep it if it is a warning or a note."""
        _print(line)
        if line.startswith(("warning: ", "note: ")) and len(self._jobs) < _MAX_MESSAGES:
            self._jobs.setdefault(line[:_MAX_MESSAGE_LENGTH], {}).update(dict.fromkeys(jobs))

    def merged(self) -> tuple[Message, ...]:
        """Each text once, in the order of appearance."""
        return tuple(Message(text, tuple(jobs)) for text, jobs in self._jobs.items())


def handle_request(request: WorkerRequest) -> tuple[WorkerResponse[Any], int]:
    """Run the step of a request. Return the response and the exit code."""
    if hasattr(os, "getpgrp"):
        with suppress(OSError):  # if the disk is full, a later write fails with an error
            Path(request.group_file).write_text(str(os.getpgrp()), encoding="ascii")
    messages = Messages()
    failure: PolywheelError
    try:
        result = _run_step(request, messages)
        return WorkerResponse(result=result, messages=messages.merged()), 0
    except PolywheelError as error:
        failure, permanent = error, True
    except OSError as error:  # for instance a full disk: the step itself is not at fault
        where = error.filename or request.source
        failure, permanent = PolywheelError(f"{where}: {error.strerror or error}"), False
    show_error(failure)
    response: WorkerResponse[Any] = WorkerResponse(
        problems=failure.problems, permanent=permanent, messages=messages.merged()
    )
    return response, failure.exit_code


def _run_step(
    request: WorkerRequest, messages: Messages
) -> RequirementsResult | BuildResult | SdistResult:
    match request.step:
        case RequirementsStep(jobs=jobs):
            return RequirementsResult(requires=_job_requirements(request, jobs, messages))
        case BuildStep() as step:
            return _build(request, step, messages)
        case SdistStep() as step:
            return _build_sdist(request, step, messages)
        case step:
            raise TypeError(f"unknown step {step!r}")


def _job_requirements(
    request: WorkerRequest, jobs: Sequence[RequestedJob], messages: Messages
) -> tuple[str, ...]:
    """The requirements of jobs beside ``build-system.requires``, each once."""
    requires: dict[str, None] = {}
    for job in jobs:
        call = _hook_call(request, "get_requires_for_build_wheel", job, messages)
        requires.update(dict.fromkeys(get_requires(call)))
    return tuple(requires)


def _build_sdist(request: WorkerRequest, step: SdistStep, messages: Messages) -> SdistResult:
    """Make an sdist in the folder ``out``, if the environment has what the real backend requires.

    The result is a reason if the real backend refuses, or has no hook for it (PEP 517,
    "build_sdist"): it would refuse again. Raises BuildError for any other failure, which may not
    happen again.
    """
    call = _hook_call(request, "build_sdist", None, messages)
    try:
        if step.installed is not None:
            _check_has_sdists(call)
            requires = get_requires(replace(call, hook="get_requires_for_build_sdist"))
            if not _are_installed(requires, step.installed):
                return SdistResult(file=None, missing=tuple(requires))
        return SdistResult(file=build_sdist(call, step.out))
    except UnsupportedError as error:
        show_error(error)
        return SdistResult(file=None, reason=error.problems[0].what)


def _check_has_sdists(call: HookCall) -> None:
    """Raise UnsupportedError if the real backend lacks the hook. All backends with a profile have it."""
    profile = call.choice.profile
    if (profile is None or not profile.packages) and not call.real_backend().hooks(["build_sdist"]):
        name = call.choice.build_backend
        raise UnsupportedError(f"the real backend {name!r} has no hook build_sdist")


def _build(request: WorkerRequest, step: BuildStep, messages: Messages) -> BuildResult:
    """Make the wheels of the jobs in the folder ``out``, from one wheel of the real backend.

    Nothing is built if the check fails.
    """
    requires, check = None, step.check
    if check is not None:
        requires = _job_requirements(request, check.jobs, messages)
        if not _are_installed(requires, check.installed):
            return BuildResult(requires=requires, wheels=None, seconds=0.0)
    calls = {job.id: _hook_call(request, "build_wheel", job, messages) for job in step.jobs}
    # If one of the jobs has no variant, then none of them has a build setup, and the real backend
    # runs as if there were no variants. Otherwise the setup of the first job stands for all.
    first = next(
        (call for call in calls.values() if call.variant is None), next(iter(calls.values()))
    )
    setup = None if first.variant is None else first.resolved_setup()
    start = time.monotonic()
    wheel = build_unstamped_wheel(
        replace(first, notify=lambda line: messages.print(line, *calls)),
        setup,
        Path(request.scratch),
        labelled=any(call.variant is not None for call in calls.values()),
        lasting=True,
    )
    seconds = time.monotonic() - start
    if step.repair:
        wheel = _repair(wheel, step.repair, Path(request.scratch, "repaired"))
    wheels = []
    for job, call in calls.items():
        if call.variant is None:
            shutil.copy2(wheel, Path(step.out, wheel.name))
            file, digest = wheel.name, NO_SETUP
        else:
            job_setup = setup if call is first and setup is not None else call.resolved_setup()
            report_notes(call, job_setup)
            stamp = make_stamp(call.project, job_setup)
            label = call.variant.label
            file = stamp_into_folder(wheel, Path(step.out), stamp, label=label, notify=call.notify)
            digest = job_setup.setup_digest
        wheels.append(BuiltWheel(job=job, file=file, setup_digest=digest))
    return BuildResult(requires=requires, wheels=tuple(wheels), seconds=seconds)


def _repair(wheel: Path, command: str, folder: Path) -> Path:
    """Run the repair command of the target, and return the repaired wheel.

    A wheel for any platform is returned as it is.
    """
    if WheelName.parse(wheel.name).platform == "any":
        return wheel
    from polywheel.wheel.repair import parse_command, repair

    try:
        # On Windows, a backslash separates folders.
        words = shlex.split(command.replace("\\", "\\\\") if os.name == "nt" else command)
    except ValueError as error:
        raise ConfigError(f"malformed repair command: {error}", at=command) from None
    if not words:
        return wheel
    if operators := _SHELL_OPERATORS.intersection(words):
        raise ConfigError(
            f"the repair command does not run in a shell, so it can't use {min(operators)!r}",
            at=command,
            hint="put several commands into a script",
        )
    _print(f"repair: {command}")
    return repair(
        parse_command(words, wheel=str(wheel), dest_dir=str(folder)), labelled=False
    ).wheel


def _are_installed(requires: Sequence[str], installed: Sequence[str]) -> bool:
    try:
        return set(normalized_requirements(requires)) <= set(installed)
    except InvalidRequirement:
        return False


def _hook_call(
    request: WorkerRequest, hook: str, job: RequestedJob | None, messages: Messages
) -> HookCall:
    """A hook call for a job; without one, for the sdist."""
    settings = dict(request.settings)
    if job is not None:
        settings |= variant_settings(job.label, job.properties)
    jobs = [job.id] if job is not None else []
    return HookCall.read(
        Path(request.source),
        settings,
        notify=lambda line: messages.print(line, *jobs),
        hook=hook,
        # The plan has checked the labels of the whole matrix.
        expand_matrix=False,
        keep_open=request.keep_open,
    )


def _print(line: str) -> None:
    print_lines([f"polywheel: {line}"], stream=sys.stderr)
