"""The worker's side: run one step of a build in its environment.

A build runs the real backend once, and stamps a wheel for every job.
"""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement

from polywheel.backend import say
from polywheel.backend.hook_call import HookCall
from polywheel.backend.pipeline import (
    build_sdist,
    build_unstamped_wheel,
    get_requires,
    report_notes,
)
from polywheel.backend.setup_report import setup_values
from polywheel.config.reader import normalized_requirements
from polywheel.errors import ConfigError, PolywheelError, UnsupportedError, show_error
from polywheel.model.setup import with_source_path
from polywheel.model.variant import variant_settings
from polywheel.model.wheelname import WheelName
from polywheel.run.worker.protocol import (
    UNSTAMPED,
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
from polywheel.wheel.stamp import make_stamp, stamp_into_folder

_SHELL_OPERATORS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<"})
_MAX_MESSAGES = 200
"""Warnings and notes of one step that are kept; the log has all."""
_MAX_MESSAGE_LENGTH = 2000
"""Characters."""


def handle_request(request: WorkerRequest) -> tuple[WorkerResponse[Any], int]:
    """Run the step of a request. Return the response and the exit code."""
    if hasattr(os, "getpgrp"):
        with suppress(OSError):  # if the disk is full, a later write fails with an error
            Path(request.group_file).write_text(str(os.getpgrp()), encoding="ascii")
    step = _RunningStep(request)
    failure: PolywheelError
    try:
        result = step.run()
        return WorkerResponse(result=result, messages=step.messages()), 0
    except PolywheelError as error:
        failure, permanent = error, True
    except OSError as error:  # for instance a full disk: the step itself is not at fault
        where = error.filename or request.source
        failure, permanent = PolywheelError(f"{where}: {error.strerror or error}"), False
    show_error(failure)
    response: WorkerResponse[Any] = WorkerResponse(
        problems=failure.problems, permanent=permanent, messages=step.messages()
    )
    return response, failure.exit_code


class _RunningStep:
    """Runs the step of a request, and collects its warnings and notes."""

    def __init__(self, request: WorkerRequest) -> None:
        self._request = request
        self._jobs_of_message: dict[str, dict[str, None]] = {}

    def messages(self) -> tuple[Message, ...]:
        """Each text once, in the order of appearance, with the ids of the jobs that it is about."""
        return tuple(Message(text, tuple(jobs)) for text, jobs in self._jobs_of_message.items())

    def run(self) -> RequirementsResult | BuildResult | SdistResult:
        match self._request.step:
            case RequirementsStep(jobs=jobs):
                return RequirementsResult(requires=self._requirements(jobs))
            case BuildStep() as step:
                return self._build(step)
            case SdistStep() as step:
                return self._build_sdist(step)
            case step:
                raise TypeError(f"unknown step {step!r}")

    def _requirements(self, jobs: Sequence[RequestedJob]) -> tuple[str, ...]:
        """The requirements of jobs beside ``build-system.requires``, each once."""
        requires: dict[str, None] = {}
        for job in jobs:
            call = self._hook_call("get_requires_for_build_wheel", job)
            requires.update(dict.fromkeys(get_requires(call)))
        return tuple(requires)

    def _build_sdist(self, step: SdistStep) -> SdistResult:
        """Make an sdist in the folder ``out``, if the environment has what the real backend requires.

        The result is a reason if the real backend refuses, or has no hook for it (PEP 517,
        "build_sdist"): it would refuse again. Raises BuildError for any other failure, which may not
        happen again.
        """
        call = self._hook_call("build_sdist")
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

    def _build(self, step: BuildStep) -> BuildResult:
        """Make the wheels of the jobs in the folder ``out``, from one wheel of the real backend.

        Nothing is built if the check fails.
        """
        requires, check = None, step.check
        if check is not None:
            requires = self._requirements(check.jobs)
            if not _are_installed(requires, check.installed):
                return BuildResult(requires=requires, wheels=None, seconds=0.0)
        calls = {job.id: self._hook_call("build_wheel", job) for job in step.jobs}
        # If one of the jobs has no variant, then none of them has a build setup, and the real
        # backend runs as if there were no variants. Otherwise the setup of the first job stands for
        # all.
        every_call = list(calls.values())
        first = next((call for call in every_call if call.variant is None), every_call[0])
        setup = None if first.variant is None else first.resolved_setup()
        start = time.monotonic()
        wheel = build_unstamped_wheel(
            replace(first, notify=lambda line: self._notify(line, *calls)),
            setup,
            Path(self._request.scratch),
            labelled=any(call.variant is not None for call in every_call),
            lasting=True,
        )
        seconds = time.monotonic() - start
        if step.repair:
            source, scratch = Path(self._request.source), Path(self._request.scratch)
            wheel = _repair(wheel, step.repair, scratch / "repaired", source)
        unstamped = Path(self._request.scratch, UNSTAMPED, wheel.name)
        unstamped.parent.mkdir()
        wheel = wheel.replace(unstamped)
        wheels = []
        for job, call in calls.items():
            if call.variant is None:
                shutil.copy2(wheel, Path(step.out, wheel.name))
                file, digest = wheel.name, NO_SETUP
            else:
                job_setup = setup if call is first and setup is not None else call.resolved_setup()
                report_notes(call, job_setup)
                stamp, label = make_stamp(call.project, job_setup), call.variant.label
                out = Path(step.out)
                file = stamp_into_folder(wheel, out, stamp, label=label, notify=call.notify)
                digest = job_setup.setup_digest
            wheels.append(BuiltWheel(job=job, file=file, setup_digest=digest))
        return BuildResult(
            requires=requires,
            wheels=tuple(wheels),
            seconds=seconds,
            unstamped=wheel.name,
            setup=setup_values(setup.setup) if setup is not None else (),
        )

    def _hook_call(self, hook: str, job: RequestedJob | None = None) -> HookCall:
        """A hook call for a job; without one, for the sdist."""
        settings = dict(self._request.settings)
        if job is not None:
            settings |= variant_settings(job.label, job.properties)
        jobs = [job.id] if job is not None else []
        return HookCall.read(
            Path(self._request.source),
            settings,
            notify=lambda line: self._notify(line, *jobs),
            hook=hook,
            # The plan has checked the labels of the whole matrix.
            expand_matrix=False,
            keep_open=self._request.keep_open,
        )

    def _notify(self, line: str, *jobs: str) -> None:
        """Print a line. Keep it if it is a warning or a note."""
        say(line)
        known = self._jobs_of_message
        if line.startswith(("warning: ", "note: ")) and len(known) < _MAX_MESSAGES:
            known.setdefault(line[:_MAX_MESSAGE_LENGTH], {}).update(dict.fromkeys(jobs))


def _check_has_sdists(call: HookCall) -> None:
    """Raise UnsupportedError if the real backend lacks the hook. Known backends have it."""
    profile = call.choice.profile
    is_known = profile is not None and profile.packages
    if not is_known and not call.real_backend().hooks([call.hook]):
        name = call.choice.build_backend
        raise UnsupportedError(f"the real backend {name!r} has no hook {call.hook}")


def _repair(wheel: Path, command: str, folder: Path, source: Path) -> Path:
    """Run the repair command of a build in its source, and return the repaired wheel.

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
    say(f"repair: {command}")
    words = [with_source_path(word, str(source)) for word in words]
    task = parse_command(words, wheel=str(wheel), dest_dir=str(folder))
    return repair(task, labelled=False, cwd=source).wheel


def _are_installed(requires: Sequence[str], installed: Sequence[str]) -> bool:
    try:
        return set(normalized_requirements(requires)) <= set(installed)
    except InvalidRequirement:
        return False
