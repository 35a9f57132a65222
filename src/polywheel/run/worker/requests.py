"""Telling a worker what to do, in the environment of its build, and reading its answer."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from polywheel.config.project import CONFIG_VARIABLE
from polywheel.environments.environments import Environment
from polywheel.errors import BuildError, Problem
from polywheel.model.plan import Job
from polywheel.run.outcome import Message
from polywheel.run.work_folder import group_file
from polywheel.run.worker.jobserver import JobserverSettings
from polywheel.system.files import MAX_ANSWER, read_regular
from polywheel.system.processes import ChildResult, run_child
from polywheel.system.source_files import GIT_LOCAL_VARIABLES
from polywheel.system.temporary import temporary_folder

_WORKER = Path("polywheel", "run", "worker", "_script.py")
_LEFT_OUT = {
    *("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__"),
    # Bytecode is worth the more the more jobs an environment serves.
    "PYTHONDONTWRITEBYTECODE",
    *GIT_LOCAL_VARIABLES,
}
"""Variables of the environment around, and not of a build in one of its own."""


class StepFailedError(BuildError):
    """What a worker was told can't be done, and would fail again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerContext:
    """What all orders of a run have in common."""

    polywheel: Path
    """The folder with the polywheel that workers import."""

    config: Path | None
    settings: Mapping[str, str | Sequence[str]]
    epoch: int
    """SOURCE_DATE_EPOCH, in seconds."""

    seconds: float | None
    """How long the steps of one build may take together."""

    stop: Event
    keep_work: bool = False
    """Whether the files of builds that fail are kept."""


class TimeBudget:
    """What the steps of a build may take together, in seconds; None where there is no limit."""

    def __init__(self, limit: float | None) -> None:
        self.limit = self.left = limit

    @contextmanager
    def spent(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            if self.left is not None:
                self.left = max(0.0, self.left - (time.monotonic() - began))


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentCheck:
    """Build only where the environment has what the backend asks for."""

    jobs: Sequence[Job]
    """For all of these, which need the same."""

    wanted: Sequence[str]
    """What was installed into the environment, normalized."""


def run_step(
    shop: WorkerContext,
    step: str,
    jobs: Sequence[Job],
    *,
    environment: Environment,
    source: Path,
    scratch: Path,
    out: Path,
    log: Path,
    limit: TimeBudget,
    slots: JobserverSettings | None = None,
    repair: str | None = None,
    check: EnvironmentCheck | None = None,
    keep_open: Sequence[int] = (),
    messages: list[Message] | None = None,
) -> dict[str, Any]:
    """Have a worker take a step for jobs; its answer.

    Its warnings and notes are added to ``messages``, also where the step fails. Raises
    StepFailedError where the step fails, BuildError where the worker does not get that far.
    """
    told = {
        "polywheel": str(shop.polywheel),
        "step": step,
        "source": str(source),
        "settings": {**(slots.settings if slots else {}), **shop.settings},
        "jobs": [_as_told(job) for job in jobs],
        "check": None
        if check is None
        else {"jobs": [_as_told(job) for job in check.jobs], "wanted": list(check.wanted)},
        "repair": repair,
        "keep-open": list(keep_open) if sys.platform != "win32" else [],
        "scratch": str(scratch),
        "group": str(group_file(scratch)),
        "out": str(out),
    }
    with temporary_folder() as folder:
        request, answer = folder / "order.json", folder / "answer.json"
        request.write_text(json.dumps(told), encoding="utf-8")
        worker = str(shop.polywheel / _WORKER)
        with limit.spent():
            ended = run_child(
                [environment.python, worker, str(request), str(answer)],
                folder=source,
                environment=_environment(shop, environment, slots.environment if slots else {}),
                log=log,
                stop=shop.stop,
                seconds=limit.left,
                keep_open=keep_open,
            )
        said = _said(answer, step)
    if said is not None and messages is not None:
        messages += _messages(said.get("messages"))
    return _checked(ended, said, limit)


def _checked(ended: ChildResult, said: dict[str, Any] | None, limit: TimeBudget) -> dict[str, Any]:
    """The answer of a worker that took its step. Raises StepFailedError and BuildError."""
    if ended.late:
        raise BuildError(f"it took longer than {limit.limit or 0:g} seconds, and was killed")
    if ended.stopped:
        raise BuildError("it was stopped")
    if said is not None and "problems" in said:
        kind = StepFailedError if said.get("again") else BuildError
        raise kind.collected(_problems(said["problems"]))
    if ended.code < 0:
        raise BuildError(f"its worker was killed by signal {-ended.code}")
    if ended.code != 0 or said is None:
        raise BuildError(f"its worker ended with exit code {ended.code}")
    return said


def _problems(said: object) -> list[Problem]:
    """What is wrong, as :func:`polywheel.run.worker.worker.carry_out` puts it."""
    try:
        found = [
            Problem(
                str(one["what"]),
                one["at"] and str(one["at"]),
                one["hint"] and str(one["hint"]),
                tuple(map(str, one["output"])),
            )
            for one in said  # type: ignore[attr-defined]  # whatever it is, if not a list
        ]
    except (KeyError, TypeError):
        found = []
    return found or [Problem("its worker's answer is malformed")]


def _messages(said: object) -> list[Message]:
    """Warnings and notes, as :meth:`polywheel.run.worker.worker.Messages.document` puts them."""
    return [
        Message(one["text"], tuple(one["jobs"]))
        for one in (said if isinstance(said, list) else ())
        if isinstance(one, dict)
        and isinstance(one.get("text"), str)
        and _are_texts(one.get("jobs"))
    ]


def _as_told(job: Job) -> dict[str, Any]:
    properties = [str(one) for one in job.properties]
    return {"id": job.id, "label": job.label, "properties": properties}


def _environment(
    shop: WorkerContext, environment: Environment, extra: Mapping[str, str]
) -> dict[str, str]:
    found = {name: text for name, text in os.environ.items() if name not in _LEFT_OUT}
    found.pop(CONFIG_VARIABLE, None)
    if shop.config is not None:
        found[CONFIG_VARIABLE] = str(shop.config)
    path = found.get("PATH", os.defpath)
    return {
        **found,
        "PATH": f"{environment.scripts}{os.pathsep}{path}",
        "VIRTUAL_ENV": str(environment.folder),
        "PYTHONNOUSERSITE": "1",
        "SOURCE_DATE_EPOCH": str(shop.epoch),
        **extra,
    }


def _said(answer: Path, step: str) -> dict[str, Any] | None:
    """What a worker wrote; None where it is no answer. What a build has started may write too."""
    try:
        said = json.loads(read_regular(answer, limit=MAX_ANSWER, follow_links=False))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    fits = all(fit(said.get(key)) for key, fit in _ANSWERS[step].items())
    return said if fits or "problems" in said else None


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _are_wheels(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, dict)
        and isinstance(one.get("id"), str)
        and isinstance(one.get("file"), str)
        and isinstance(one.get("setup"), str)
        for one in value
    )


_ANSWERS: Mapping[str, Mapping[str, Callable[[object], bool]]] = {
    "requires": {"requires": _are_texts},
    "build": {
        "requires": lambda value: value is None or _are_texts(value),
        "wheels": lambda value: value is None or _are_wheels(value),
        "built": lambda value: isinstance(value, (int, float)),
    },
    "sdist-requires": {"requires": _are_texts},
    "sdist": {"sdist": lambda value: value is None or isinstance(value, str)},
}
"""What the answer to each step has to hold (see :mod:`polywheel.run.worker.worker`)."""
