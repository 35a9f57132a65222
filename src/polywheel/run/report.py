"""The report of a run as a JSON document; ``docs/report.md`` describes it."""

from __future__ import annotations

import errno
import json
import os
import platform
import shlex
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from polywheel.errors import WheelError, os_error_as
from polywheel.model.plan import Build, Plan
from polywheel.run.options import RunOptions
from polywheel.run.outcome import (
    PRESENT,
    CacheUse,
    Outcome,
    State,
    WheelTestResult,
    WheelTestState,
    merge_messages,
)
from polywheel.run.stale_wheels import StaleWheel
from polywheel.run.worker.protocol import Message
from polywheel.system.limits import cpu_count
from polywheel.system.temporary import is_special, temporary_folder, write_output
from polywheel.system.terminal import without_passwords

SHAPE = 1
_CANT_WRITE = "the report can't be written"


def warnings_as_json(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return warnings and notes as reports and events have them."""
    return [
        {"level": level, "text": text, "jobs": list(message.jobs)}
        for message in messages
        for level, _, text in [message.text.partition(": ")]
    ]


def test_as_json(test: WheelTestResult | None) -> dict[str, Any] | None:
    """Return the result of a test as reports and events have it."""
    if test is None:
        return None
    return {
        "state": str(test.state),
        "reason": test.reason or None,
        "seconds": round(test.seconds, 3),
        "cpu": test.cpu or None,
        "log": str(test.log) if test.log is not None else None,
        "wheel": str(test.wheel) if test.wheel is not None else None,
    }


def cache_use_as_json(use: CacheUse | None) -> dict[str, int] | None:
    """Return the use of the compiler cache as reports and events have it."""
    return None if use is None else asdict(use)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStart:
    """When and where a run began."""

    source: Path
    began: datetime
    clock: float
    """The reading of ``time.monotonic`` at ``began``."""

    slots: int
    """How many builds run in parallel at most."""

    system: str
    """The operating system and the processor."""

    processors: int
    command: tuple[str, ...]
    """As in :class:`polywheel.run.options.RunOptions`."""

    command_end: tuple[str, ...] = ()
    """What follows the selection of jobs in the command."""

    @classmethod
    def now(cls, source: Path, options: RunOptions) -> RunStart:
        """Return the start of a run that begins now on this machine."""
        return cls(
            source=source.resolve(),
            began=datetime.now(UTC),
            clock=time.monotonic(),
            slots=options.max_parallel,
            system=f"{platform.system()} {platform.release()} {platform.machine()}".strip(),
            processors=cpu_count(),
            command=options.command,
            command_end=("--", *options.cibuildwheel) if options.cibuildwheel else (),
        )

    def document(self) -> dict[str, Any]:
        """Return its keys of a report."""
        return {
            "source": str(self.source),
            "began": self.began.isoformat(timespec="seconds"),
            "slots": self.slots,
            "machine": {"system": self.system, "processors": self.processors},
        }

    def reproduce(self, job: str) -> str | None:
        """Return a command line that builds the wheel of a job again; None if the command is not known."""
        if not self.command:
            return None
        words = [*self.command, "--only", job, "--rebuild", *self.command_end]
        return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


_NO_START = dict.fromkeys(("source", "began", "slots", "machine"))
"""The keys of a report of an unknown start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All outcomes of a run."""

    plan: Plan
    out: Path
    outcomes: tuple[Outcome, ...]
    """The outcomes of the builds for this machine, in the order of the plan."""

    elsewhere: tuple[str, ...]
    """The ids of builds for other machines."""

    seconds: float
    interrupted: bool = False
    elsewhere_fails: bool = False
    """Whether builds for other machines were chosen by name, so that the run fails without them."""

    stale: tuple[StaleWheel, ...] = ()
    """Wheels in the output directory that are no longer planned."""

    start: RunStart | None = None

    def in_state(self, *states: State) -> list[Outcome]:
        """Return the outcomes in these states."""
        return [outcome for outcome in self.outcomes if outcome.state in states]

    @property
    def messages(self) -> tuple[Message, ...]:
        """The warnings and notes of all builds that ran, each text once."""
        return merge_messages(message for outcome in self.outcomes for message in outcome.messages)

    def count_tests(self) -> dict[WheelTestState, int]:
        """Return the number of tests by their result, of those that there are."""
        states = [test.state for outcome in self.outcomes for test in outcome.tests]
        return {state: states.count(state) for state in WheelTestState if state in states}

    @property
    def exit_code(self) -> int:
        """0 if everything chosen for this machine is built, 130 after an interrupt, else 1."""
        if self.interrupted:
            return 130
        incomplete = any(outcome.state not in PRESENT for outcome in self.outcomes)
        return 1 if incomplete or (self.elsewhere_fails and self.elsewhere) else 0

    def document(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "shape": SHAPE,
            "project": self.plan.project,
            **(self.start.document() if self.start is not None else _NO_START),
            "out": str(self.out),
            "seconds": round(self.seconds, 3),
            "interrupted": self.interrupted,
            "exit-code": self.exit_code,
            "warnings": warnings_as_json(self.messages),
            "stale": [asdict(wheel) for wheel in self.stale],
            "builds": list(self._builds()),
            "jobs": list(self._jobs()),
        }

    def _builds_with_outcomes(self) -> Iterator[tuple[Build, Outcome]]:
        """Yield every build of the plan with its outcome."""
        outcomes = {outcome.build: outcome for outcome in self.outcomes}
        for build in self.plan.builds:
            yield build, outcomes.get(build.id) or Outcome(build=build.id, state=State.ELSEWHERE)

    def _builds(self) -> Iterator[dict[str, Any]]:
        for build, outcome in self._builds_with_outcomes():
            yield {
                "id": build.id,
                "python": build.python,
                "target": build.target,
                "jobs": list(build.jobs),
                "state": str(outcome.state),
                "started": self._since_start(outcome.started),
                "slot": outcome.slot,
                "seconds": round(outcome.seconds, 3),
                "hook-seconds": round(outcome.hook_seconds, 3),
                "setup": [
                    {"name": one.name, "values": list(one.values), "origin": one.origin}
                    for one in outcome.setup
                ],
                "compiler-cache": cache_use_as_json(outcome.compiler_cache),
                "error": outcome.error,
                "log": str(outcome.log) if outcome.log is not None else None,
                "tool-logs": [str(log) for log in outcome.tool_logs],
            }

    def _jobs(self) -> Iterator[dict[str, Any]]:
        by_id = {job.id: job for job in self.plan.jobs}
        for build, outcome in self._builds_with_outcomes():
            wheels = {wheel.job: wheel for wheel in outcome.wheels}
            tests = {test.job: test for test in outcome.tests}
            for identifier in build.jobs:
                job, wheel = by_id[identifier], wheels.get(identifier)
                state = wheel.state if wheel is not None else outcome.state
                findings = outcome.findings.get(identifier)
                yield {
                    "id": identifier,
                    "label": job.label,
                    "properties": [str(prop) for prop in job.properties],
                    "pythons": list(job.pythons),
                    "targets": list(job.targets),
                    "build": build.id,
                    "state": str(state),
                    "file": wheel.file if wheel is not None else None,
                    "size": wheel.size if wheel is not None else None,
                    "sha256": wheel.sha256 if wheel is not None else None,
                    "seconds": round(wheel.seconds, 3) if wheel is not None else None,
                    "reasons": list(outcome.reasons.get(identifier, ())),
                    "test": test_as_json(tests.get(identifier)),
                    "audit": list(findings) if findings is not None else None,
                    "reproduce": self.start.reproduce(identifier) if self.start else None,
                }

    def _since_start(self, clock: float | None) -> float | None:
        """Return the seconds between the beginning of the run and a reading of ``time.monotonic``."""
        if clock is None or self.start is None:
            return None
        return round(max(0.0, clock - self.start.clock), 3)

    def write(self, path: Path) -> None:
        """Write the document. Raises WheelError."""
        write_report(self.document(), path)


def write_report(document: Mapping[str, Any], path: Path) -> None:
    """Write the document of a report completely or not at all. Raises WheelError."""
    text = without_passwords(json.dumps(document, indent=2)) + "\n"
    with os_error_as(WheelError, _CANT_WRITE, at=path):
        write_output(path, text.encode())


def check_report_path(path: Path) -> None:
    """Raise WheelError if a report can't be written to a path. No file and no folder is left there.

    The permissions of a folder do not tell: it may be on a read-only file system, or in /proc.
    """
    with os_error_as(WheelError, _CANT_WRITE, at=path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if is_special(path):
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return
        target = Path(os.path.realpath(path))
        parents = (parent for parent in target.parents if os.path.lexists(parent))
        with temporary_folder(next(parents)):
            pass
