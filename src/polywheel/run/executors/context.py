"""The context that executors are created from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polywheel.config.project import Project
from polywheel.model.plan import Build, Plan
from polywheel.model.setup import BackendChoice
from polywheel.run.journal import Journal
from polywheel.run.loop import RunObserver
from polywheel.run.options import RunOptions
from polywheel.run.source.snapshot import Source
from polywheel.run.worker.jobserver import CompileSlots
from polywheel.run.worker.publish import Publisher
from polywheel.run.worker.requests import WorkerContext
from polywheel.system.files import sha256_of


@dataclass(frozen=True, kw_only=True, slots=True)
class RunContext:
    """Everything that an executor is created from."""

    plan: Plan
    builds: Sequence[Build]
    """The builds for this machine."""

    project: Project
    choice: BackendChoice
    origin: Path
    """The folder or the sdist that the user named."""

    source: Source
    work_folder: Path
    """The folder with the work folder of each build."""

    context: WorkerContext
    """What all workers share, and the event ``stop`` of the run."""

    options: RunOptions
    journal: Journal
    slots: CompileSlots
    observer: RunObserver

    @property
    def is_sdist(self) -> bool:
        """Whether the source is an sdist."""
        return not self.origin.is_dir()

    def publisher(self) -> Publisher:
        """Return a new publisher for the output directory."""
        return Publisher(
            out=self.options.out,
            journal=self.journal,
            targets=self.plan.targets,
            force=self.options.force,
            project=self.plan.project,
            version=self.project.version,
            config=self.options.config_name,
        )

    def source_digest(self, source: Source) -> str:
        """Return the digest of a source and of the ``--config`` file."""
        config = self.options.config
        return source.digest + (sha256_of(config) if config is not None else "")
