"""Builds by cibuildwheel: one run of it for each variant and target, its wheels finalized."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from polywheel.config.project import CONFIG_VARIABLE, Project
from polywheel.errors import BuildError, ConfigError, PolywheelError
from polywheel.model.matrix import Target
from polywheel.model.plan import Build, Job
from polywheel.model.setup import BackendChoice
from polywheel.model.variant import Variant
from polywheel.model.wheelname import WheelName
from polywheel.run import fingerprint
from polywheel.run.executors.cibuildwheel import (
    PROJECT,
    BuildPlatform,
    Engine,
    build_platform,
    command,
    tables_of,
    variables,
)
from polywheel.run.existing_wheels import (
    ExistingWheels,
    Message,
    Outcome,
    Wheel,
    logged_messages,
    merged,
    outcome_of,
)
from polywheel.run.fingerprint import digest_of
from polywheel.run.own_package import write_own_wheel
from polywheel.run.source.git import copy_borrowed_objects
from polywheel.run.source.snapshot import Source
from polywheel.run.worker.checks import misfits
from polywheel.run.worker.publish import Publisher, two_jobs
from polywheel.run.worker.requests import WorkerContext
from polywheel.run.workplace import build_place, failures_examined, workplace
from polywheel.setup.resolve import resolve_setup
from polywheel.system.files import sha256_of
from polywheel.system.processes import run_child
from polywheel.system.temporary import temporary_folder
from polywheel.wheel.finalize import finalize

_GRACE = 45.0
_SERVED = ".polywheel-served"
"""The folder in the copy of a source that holds polywheel's own wheel: cibuildwheel takes the copy
into its container, and nothing else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CibuildwheelExecutor:
    """Makes the builds of a plan that has one for each variant and target."""

    jobs: Mapping[str, Job]
    """By id."""

    project: Project
    choice: BackendChoice
    source: Source
    identity: str
    """The digest of the source, and of the file whose tables stand in place of its own."""

    place: Path
    """The folder in which each build has its own copy of the source."""

    shop: WorkerContext
    publisher: Publisher
    targets: Mapping[str, Target]
    logs: Path
    engine: Engine
    container: Mapping[str, str]
    """The variables that name the container engine."""

    options: tuple[str, ...]
    """The user's own, for cibuildwheel."""

    notify: Callable[[str], None]
    config: str | None
    """The file whose tables stand in place of the project's, relative to the source."""

    def expect(self, builds: int) -> None:
        """Each run has the compile slots that its container gives it."""

    def look(self, build: Build) -> ExistingWheels:
        """What of a build is there already; nothing is made for it."""
        jobs = map(self.jobs.__getitem__, build.jobs)
        return self.publisher.standing(jobs, lambda job: self._key(job, build))

    def make(self, build: Build, standing: ExistingWheels) -> Outcome:
        """Make what is missing; a failure is an outcome too, and what was finished is there."""
        log = self.logs / f"{build.id}.log"

        def make(wheels: list[Wheel]) -> float:
            for job in standing.missing:
                self.publisher.refuse_changed(job, self._key(job, build))
            self._make(build, standing.missing, log, wheels)
            return 0.0

        outcome = outcome_of(build.id, standing, log, self.shop.stop, make)
        ids = tuple(job.id for job in standing.missing)
        messages = merged(Message(text, ids) for text in logged_messages(log))
        # All of the time is cibuildwheel's.
        return replace(outcome, hook_seconds=outcome.seconds, messages=messages)

    def _make(self, build: Build, jobs: Sequence[Job], log: Path, wheels: list[Wheel]) -> None:
        with (
            self._workplace(build, log) as (source, lock),
            temporary_folder(self.publisher.out) as folder,
        ):
            began = time.monotonic()
            place = _place(build)
            limit = self.shop.seconds or self.targets[build.target].job_timeout
            ended = run_child(
                command(self.engine, place, folder, self.options),
                folder=source,
                environment={**os.environ, **self._told(jobs, build, place, source)},
                log=log,
                stop=self.shop.stop,
                seconds=limit,
                keep_open=(lock,),
                # Where it is interrupted, and only there, it removes its container; what runs in
                # that has half a minute to end.
                ask=signal.SIGINT,
                grace=_GRACE,
            )
            seconds = (time.monotonic() - began) / len(jobs)
            # Those that it had finished before it failed are as good as the others.
            problems = list(self._published(build, jobs, folder, seconds, wheels))
        if ended.late:
            raise BuildError(f"it took longer than {limit:g} seconds, and was killed")
        if ended.stopped:
            raise BuildError("it was stopped")
        if ended.code:
            raise BuildError(f"cibuildwheel ended with exit code {ended.code}")
        if problems:
            raise PolywheelError.collected(one for error in problems for one in error.problems)

    def _published(
        self, build: Build, jobs: Sequence[Job], made: Path, seconds: float, wheels: list[Wheel]
    ) -> Iterator[PolywheelError]:
        """Give the wheels of a run their labels and final names; what is wrong with each job."""
        finalized = finalize(sorted(made.glob("*.whl")), plain=True)
        yield from finalized.errors
        there = [one.written for one in finalized.done]
        made_by: dict[Path, Job] = {}
        for job in jobs:
            targets = [self.targets[name] for name in job.targets]
            fitting = [one for one in there if not misfits(WheelName.parse(one.name), job, targets)]
            if not fitting and not finalized.errors:
                others = f", but {', '.join(one.name for one in there)}" if there else ""
                yield BuildError(
                    f"cibuildwheel made no wheel for {job.id}{others}",
                    hint="look for skip in [tool.cibuildwheel]; for a Python that it does not know",
                )
            if not fitting:
                continue
            other = made_by.setdefault(fitting[0], job)
            if other is not job:
                yield two_jobs(fitting[0].name, other.id, job.id)
                continue
            try:
                key = self._key(job, build)
                wheels.append(self.publisher.publish(job, fitting[0], key, seconds))
            except PolywheelError as error:
                yield error

    def _told(
        self, jobs: Sequence[Job], build: Build, place: BuildPlatform, source: Path
    ) -> dict[str, str]:
        """The variables of a run."""
        tables = tables_of(self.project.document)
        served = PurePosixPath(PROJECT) if place.contained else source
        environment = {**self._setup(jobs[0]), "SOURCE_DATE_EPOCH": str(self.shop.epoch)}
        if self.config is not None:
            environment[CONFIG_VARIABLE] = self.config
        told = variables(
            jobs,
            self.targets[build.target],
            place,
            settings=self.shop.settings,
            environment=environment,
            links=(served / _SERVED).as_uri(),
            tables=tables,
        )
        return {**self.container, **told} if place.contained else told

    def _setup(self, job: Job) -> dict[str, str]:
        """The variables that a variant's rules set, for repairs and tests too.

        Folders of this machine are none of the container's: the backend in there looks for its own.
        """
        if job.label is None:
            return {}
        variant = Variant(job.properties, job.label)
        asked = resolve_setup(
            self.project, self.choice, variant, python=None, notify=lambda _: None
        )
        found = {name: entry.value for name, entry in asked.setup.env.items()}
        return {name: text for name, text in found.items() if not os.path.isabs(text)}  # noqa: PTH117

    def _key(self, job: Job, build: Build) -> str:
        place = _place(build)
        return digest_of(
            {
                "job": [job.id, job.label, *map(str, job.properties), *job.pythons],
                "source": self.identity,
                "polywheel": self.shop.polywheel.name,
                "cibuildwheel": [self.engine.version, *self.options],
                "told": self._told([job], build, place, self.place),
                "variables": fingerprint.variables(),
                "tools": [] if place.contained else fingerprint.tools(),
                "files": [sha256_of(path) for path in map(Path, self._words()) if path.is_file()],
            }
        )

    def _words(self) -> list[str]:
        """The options, with what is given behind ``=``."""
        return [one.rpartition("=")[2] for one in self.options]

    @contextmanager
    def _workplace(self, build: Build, log: Path) -> Iterator[tuple[Path, int]]:
        """A copy of the source with polywheel's own wheel in it, and the descriptor of its lock."""
        with (
            workplace(build_place(self.place, build.id, cibuildwheel=True)) as work,
            failures_examined(
                work, log, stop=self.shop.stop, keep=self.shop.keep_work, notify=self.notify
            ),
        ):
            self.source.copy_to(work.source)
            if _place(build).contained:
                copy_borrowed_objects(work.source)
            write_own_wheel(self.shop.polywheel, work.source / _SERVED)
            yield work.source, work.lock


def _place(build: Build) -> BuildPlatform:
    place = build_platform(build.target)
    if place is None:
        raise ConfigError(f"cibuildwheel does not know the target {build.target!r}")
    return place
