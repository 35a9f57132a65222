"""What a run came to, as a document; ``docs/report.md`` describes its shape."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polywheel.errors import ConfigError, WheelError
from polywheel.model.plan import Plan
from polywheel.run.builder import Outcome

SHAPE = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All outcomes of a run."""

    plan: Plan
    out: Path
    outcomes: tuple[Outcome, ...]
    """Those of builds that were looked at, in the order of the plan."""

    elsewhere: tuple[str, ...]
    """Builds that are for other machines."""

    seconds: float
    interrupted: bool = False

    def in_state(self, *states: str) -> list[Outcome]:
        """The outcomes in these states."""
        return [one for one in self.outcomes if one.state in states]

    @property
    def exit_code(self) -> int:
        """0 where all that was to be done is done, 130 after an interrupt, else 1."""
        if self.interrupted:
            return 130
        return 1 if self.in_state("failed", "stopped", "waiting", "no interpreter") else 0

    def document(self) -> dict[str, Any]:
        """The report as JSON has it."""
        jobs = []
        by_id = {job.id: job for job in self.plan.jobs}
        builds = {build.id: build for build in self.plan.builds}
        for outcome in self.outcomes:
            wheels = {wheel.job: wheel for wheel in outcome.wheels}
            for identifier in builds[outcome.build].jobs:
                job, wheel = by_id[identifier], wheels.get(identifier)
                jobs.append(
                    {
                        "id": identifier,
                        "label": job.label,
                        "properties": [str(one) for one in job.properties],
                        "python": job.python,
                        "target": job.target,
                        "build": outcome.build,
                        "state": outcome.state
                        if wheel is None or outcome.state != "failed"
                        else "skipped",
                        "file": wheel.file if wheel is not None else None,
                        "size": wheel.size if wheel is not None else None,
                        "sha256": wheel.sha256 if wheel is not None else None,
                        "seconds": round(outcome.seconds, 3),
                        "hook-seconds": round(outcome.hook_seconds, 3),
                        "error": outcome.error,
                        "log": str(outcome.log) if outcome.log is not None else None,
                    }
                )
        return {
            "shape": SHAPE,
            "project": self.plan.project,
            "out": str(self.out),
            "seconds": round(self.seconds, 3),
            "interrupted": self.interrupted,
            "jobs": jobs,
            "elsewhere": list(self.elsewhere),
        }

    def write(self, path: Path) -> None:
        """Write the document, whole or not at all. Raises WheelError."""
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(
                json.dumps(self.document(), indent=2) + "\n", encoding="utf-8", newline="\n"
            )
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise WheelError(
                f"the report can't be written: {error.strerror or error}", at=str(path)
            ) from None


def recorded_seconds(path: Path) -> Mapping[str, float]:
    """How long jobs took, by id, from a report. Raises ConfigError for what is none."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        jobs: Sequence[Mapping[str, Any]] = said["jobs"]
        if said["shape"] != SHAPE:
            raise ValueError(f"its shape is {said['shape']!r}")
        return {str(job["id"]): float(job["seconds"]) for job in jobs}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path.name} is no report of polywheel build: {error}", at=str(path)
        ) from None
