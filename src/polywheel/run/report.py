"""What a run came to, as a document; ``docs/report.md`` describes its shape."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from polywheel.errors import WheelError
from polywheel.model.plan import Build, Plan
from polywheel.run.existing_wheels import PRESENT, Message, Outcome, StaleWheel, State, merged
from polywheel.system.temporary import replacing
from polywheel.system.terminal import without_passwords

SHAPE = 1


def warnings_as_json(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Warnings and notes as reports and events have them."""
    return [
        {"level": level, "text": text, "jobs": list(one.jobs)}
        for one in messages
        for level, _, text in [one.text.partition(": ")]
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All outcomes of a run."""

    plan: Plan
    out: Path
    outcomes: tuple[Outcome, ...]
    """Those of builds that are for this machine, in the order of the plan."""

    elsewhere: tuple[str, ...]
    """Builds that are for other machines."""

    seconds: float
    interrupted: bool = False
    all_of_it: bool = False
    """Whether builds for other machines were asked for too, and not only come with the plan."""

    stale: tuple[StaleWheel, ...] = ()
    """Wheels in the output directory that are not planned any more."""

    def in_state(self, *states: State) -> list[Outcome]:
        """The outcomes in these states."""
        return [one for one in self.outcomes if one.state in states]

    @property
    def messages(self) -> tuple[Message, ...]:
        """The warnings and notes of all builds that ran, each text once."""
        return merged(message for one in self.outcomes for message in one.messages)

    @property
    def exit_code(self) -> int:
        """0 where all that was asked of this machine is there, 130 after an interrupt, else 1."""
        if self.interrupted:
            return 130
        lacking = any(one.state not in PRESENT for one in self.outcomes)
        return 1 if lacking or (self.all_of_it and self.elsewhere) else 0

    def document(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "shape": SHAPE,
            "project": self.plan.project,
            "out": str(self.out),
            "seconds": round(self.seconds, 3),
            "interrupted": self.interrupted,
            "exit-code": self.exit_code,
            "warnings": warnings_as_json(self.messages),
            "stale": [asdict(one) for one in self.stale],
            "builds": list(self._builds()),
            "jobs": list(self._jobs()),
        }

    def _each(self) -> Iterator[tuple[Build, Outcome]]:
        """Every build of the plan, and what became of it."""
        outcomes = {one.build: one for one in self.outcomes}
        for build in self.plan.builds:
            yield build, outcomes.get(build.id) or Outcome(build=build.id, state=State.ELSEWHERE)

    def _builds(self) -> Iterator[dict[str, Any]]:
        for build, outcome in self._each():
            yield {
                "id": build.id,
                "python": build.python,
                "target": build.target,
                "jobs": list(build.jobs),
                "state": str(outcome.state),
                "seconds": round(outcome.seconds, 3),
                "hook-seconds": round(outcome.hook_seconds, 3),
                "error": outcome.error,
                "log": str(outcome.log) if outcome.log is not None else None,
                "tool-logs": [str(log) for log in outcome.tool_logs],
            }

    def _jobs(self) -> Iterator[dict[str, Any]]:
        by_id = {job.id: job for job in self.plan.jobs}
        for build, outcome in self._each():
            wheels = {wheel.job: wheel for wheel in outcome.wheels}
            for identifier in build.jobs:
                job, wheel = by_id[identifier], wheels.get(identifier)
                yield {
                    "id": identifier,
                    "label": job.label,
                    "properties": [str(one) for one in job.properties],
                    "pythons": list(job.pythons),
                    "targets": list(job.targets),
                    "build": build.id,
                    "state": str(wheel.state if wheel is not None else outcome.state),
                    "file": wheel.file if wheel is not None else None,
                    "size": wheel.size if wheel is not None else None,
                    "sha256": wheel.sha256 if wheel is not None else None,
                    "seconds": round(wheel.seconds, 3) if wheel is not None else None,
                }

    def write(self, path: Path) -> None:
        """Write the document, whole or not at all. Raises WheelError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as part:
                text = without_passwords(json.dumps(self.document(), indent=2))
                part.write_text(f"{text}\n", encoding="utf-8", newline="\n")
        except OSError as error:
            raise WheelError(
                f"the report can't be written: {error.strerror or error}", at=str(path)
            ) from None
