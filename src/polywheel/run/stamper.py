"""Stamp wheels in this process, from unstamped wheels of earlier builds.

The stamp is the one of a worker: both use :func:`polywheel.wheel.stamp.make_stamp`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from polywheel.backend.setup_report import setup_values
from polywheel.config.project import Project
from polywheel.config.reader import local_marker_environment
from polywheel.environments.virtual_environments import Environment, Interpreter
from polywheel.model.plan import Build, Job
from polywheel.model.setup import BackendChoice, SetupValues
from polywheel.model.variant import Variant
from polywheel.run.outcome import WARNING
from polywheel.run.worker.protocol import Message
from polywheel.run.worker.requests import WorkerContext, variables_of_build
from polywheel.setup.digest import NO_SETUP
from polywheel.setup.resolve import resolve_setup
from polywheel.wheel.stamp import make_stamp, stamp_into_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class StampedWheel:
    """A stamped wheel."""

    file: str
    setup_digest: str
    """The digest of the build setup of its variant."""

    messages: Sequence[Message]
    setup: tuple[SetupValues, ...] = ()
    """The build setup of its variant."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stamper:
    """Stamps wheels of a project."""

    project: Project
    choice: BackendChoice
    context: WorkerContext
    interpreters: Mapping[str, Interpreter]

    def stamp(
        self,
        job: Job,
        wheel: Path,
        folder: Path,
        *,
        build: Build,
        environment: Environment,
    ) -> StampedWheel:
        """Write the wheel of a job to a folder.

        Plugins are asked in the environment of its build. Raises ConfigError, ProviderError, and WheelError.
        """
        if job.label is None:
            shutil.copy2(wheel, folder / wheel.name)
            return StampedWheel(file=wheel.name, setup_digest=NO_SETUP, messages=())
        lines: list[str] = []
        resolved = resolve_setup(
            self.project,
            self.choice,
            Variant(job.properties, job.label),
            python=environment.python,
            notify=lines.append,
            environment=local_marker_environment(self.interpreters[build.python].version),
            variables=variables_of_build(
                self.context,
                environment=environment,
                settings=build.settings.environment,
                project=None,
            ),
        )
        stamp = replace(make_stamp(self.project, resolved), epoch=self.context.epoch)
        file = stamp_into_folder(wheel, folder, stamp, label=job.label, notify=lines.append)
        return StampedWheel(
            file=file,
            setup_digest=resolved.setup_digest,
            messages=[Message(line, (job.id,)) for line in lines if line.startswith(WARNING)],
            setup=setup_values(resolved.setup),
        )
