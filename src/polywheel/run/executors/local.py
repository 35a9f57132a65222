"""One build after the other: a copy of the source, an environment, the wheel, its checks, its name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

from polywheel.environments.environments import Environment, Interpreter
from polywheel.errors import BuildError
from polywheel.model.matrix import Target
from polywheel.model.plan import Build, Job
from polywheel.model.setup import BackendProfile
from polywheel.model.wheelname import WheelName
from polywheel.run.build_requirements import BuildRequirements, FoundEnvironment
from polywheel.run.existing_wheels import (
    ExistingWheels,
    Message,
    Outcome,
    Wheel,
    merged,
    outcome_of,
)
from polywheel.run.fingerprint import job_key
from polywheel.run.source.snapshot import Source
from polywheel.run.worker.checks import remark
from polywheel.run.worker.jobserver import CompileSlots, knows_no_pool
from polywheel.run.worker.jobserver import JobserverSettings as SlotsTold
from polywheel.run.worker.publish import Publisher
from polywheel.run.worker.requests import EnvironmentCheck, TimeBudget, WorkerContext, run_step
from polywheel.run.workplace import build_place, failures_examined, workplace
from polywheel.system.temporary import remove_tree, temporary_folder


class _Told(TypedDict):
    """What the orders of one build have in common."""

    source: Path
    scratch: Path
    log: Path
    limit: TimeBudget
    repair: str | None
    keep_open: tuple[int, ...]
    messages: list[Message]


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalExecutor:
    """Makes the builds of a plan; its methods may run in several threads at once."""

    jobs: Mapping[str, Job]
    """By id."""

    source: Source
    identity: str
    """The digest of the source, and of the file whose tables stand in place of its own."""

    place: Path
    """The folder in which each build has its own copy of the source."""

    shop: WorkerContext
    interpreters: Mapping[str, Interpreter]
    needs: BuildRequirements
    publisher: Publisher
    logs: Path
    slots: CompileSlots
    profile: BackendProfile | None
    chosen: Callable[[str | None], Sequence[str]]
    """What the tools are that rules, and a repair command, choose."""

    notify: Callable[[str], None]

    def expect(self, builds: int) -> None:
        """So many builds will be made."""
        self.slots.expect(builds)

    def look(self, build: Build) -> ExistingWheels:
        """What of a build is there already; nothing is made for it."""
        jobs = self._jobs(build)
        interpreter = self.interpreters[build.python]
        environment = self.needs.kept(interpreter, jobs)
        if environment is None:
            return ExistingWheels(wheels=(), missing=tuple(jobs))
        return self.publisher.standing(
            jobs, lambda job: self._key(build, job, interpreter, environment)
        )

    def make(self, build: Build, standing: ExistingWheels) -> Outcome:
        """Build what is missing, check and stamp it; a failure is an outcome too.

        What it finished before it failed is there.
        """
        log = self.logs / f"{build.id}.log"

        messages: list[Message] = []

        def make(wheels: list[Wheel]) -> float:
            with self._workplace(build, log, messages) as told, self.slots.one(self.shop.stop):
                return self._make(build, standing.missing, told, wheels)

        outcome = outcome_of(build.id, standing, log, self.shop.stop, make)
        return replace(outcome, messages=merged(messages))

    def _make(
        self, build: Build, missing: Sequence[Job], told: _Told, wheels: list[Wheel]
    ) -> float:
        """Add the wheels of jobs to ``wheels``; how long the real backend took, in seconds."""
        interpreter = self.interpreters[build.python]
        everything = self._jobs(build)
        found = self._environment(interpreter, everything, told)
        if found.certain:
            # An environment that was made anew may have come out as it was.
            environment = found.environment
            standing = self.publisher.standing(
                missing, lambda job: self._key(build, job, interpreter, environment)
            )
            wheels.extend(standing.wheels)
            missing = standing.missing
            if not missing:
                return 0.0
        keys = self._keys(build, missing, interpreter, found.environment)
        began = time.monotonic()
        with temporary_folder(self.publisher.out) as folder:
            out = folder / "wheels"
            out.mkdir()
            said = self._built(missing, found, out, told, everything)
            if not found.certain:
                # What it was built in was a guess; where it was wrong, nothing was built.
                guess, more = found.environment, said["requires"] or []
                found = self.needs.learnt(interpreter, everything, guess, more)
                keys = self._keys(build, missing, interpreter, found.environment)
                if said["wheels"] is None:
                    said = self._built(missing, found, out, told, everything)
            share = (time.monotonic() - began) / len(missing)
            made = {
                str(one["id"]): (out / Path(one["file"]).name, str(one["setup"]))
                for one in said["wheels"] or ()
            }
            # As it goes on: those before one that fails are there all the same.
            wheels.extend(self._published(missing, made, keys, share, told["messages"]))
        return float(said["built"])

    def _environment(
        self, interpreter: Interpreter, everything: Sequence[Job], told: _Told
    ) -> FoundEnvironment:
        """The environment of a build; where all is to be asked anew, its backend is."""
        found = self.needs.environment(interpreter, everything)
        if not self.needs.fresh:
            return found
        said = run_step(
            self.shop,
            "requires",
            everything,
            environment=found.environment,
            out=told["scratch"],
            **told,
        )
        return self.needs.learnt(interpreter, everything, found.environment, said["requires"])

    def _published(
        self,
        jobs: Sequence[Job],
        made: Mapping[str, tuple[Path, str]],
        keys: Mapping[str, str],
        share: float,
        messages: list[Message],
    ) -> Iterator[Wheel]:
        """The wheels of jobs, each as soon as it has its final name.

        ``made`` has what was built for each job, and the digest of what its variant asks of the build.
        """
        for job in jobs:
            wheel, setup = made.get(job.id, (None, ""))
            if wheel is None or not wheel.is_file():
                raise BuildError(f"its worker made no wheel for {job.id}")
            yield self.publisher.publish(job, wheel, keys[job.id], share, setup=setup)
            if text := remark(WheelName.parse(wheel.name), job):
                self.notify(text)
                messages.append(Message(text, (job.id,)))

    def _keys(
        self,
        build: Build,
        jobs: Sequence[Job],
        interpreter: Interpreter,
        environment: Environment,
    ) -> dict[str, str]:
        """The keys of jobs, none of which was made with the same key and changed since."""
        keys = {job.id: self._key(build, job, interpreter, environment) for job in jobs}
        for job in jobs:
            self.publisher.refuse_changed(job, keys[job.id])
        return keys

    def _built(
        self,
        jobs: Sequence[Job],
        found: FoundEnvironment,
        out: Path,
        told: _Told,
        everything: Sequence[Job],
    ) -> Mapping[str, Any]:
        """What a worker says of the wheels that it made in ``out``."""

        def build(slots: SlotsTold) -> Mapping[str, Any]:
            return run_step(
                self.shop,
                "build",
                jobs,
                environment=found.environment,
                out=out,
                slots=slots,
                check=None
                if found.certain
                else EnvironmentCheck(jobs=everything, wanted=found.wanted),
                **told,
            )

        slots = self.slots.told(self.profile, found.environment)
        try:
            return build(slots)
        except BuildError:
            if not slots.pooled or self.shop.stop.is_set() or not knows_no_pool(told["log"]):
                raise
            # A make before 4.4, somewhere in the build, ends at the name of the pool.
            self.slots.refuse()
            _note(told["log"], "this build has a make before 4.4: once more, with fixed shares")
            for folder in (out, told["scratch"]):
                remove_tree(folder)
                folder.mkdir()
            return build(self.slots.told(self.profile, found.environment))

    def _target(self, build: Build) -> Target:
        return self.publisher.targets[build.target]

    def _repair(self, build: Build) -> str | None:
        return self._target(build).repair_command

    def _jobs(self, build: Build) -> list[Job]:
        """The jobs of a build, in its order."""
        return [self.jobs[identifier] for identifier in build.jobs]

    def _key(
        self, build: Build, job: Job, interpreter: Interpreter, environment: Environment
    ) -> str:
        return job_key(
            job,
            source=self.identity,
            polywheel=self.shop.polywheel.name,
            interpreter=interpreter,
            environment=environment,
            settings=self.shop.settings,
            epoch=self.shop.epoch,
            chosen=self.chosen(self._repair(build)),
            repair=self._repair(build),
        )

    @contextmanager
    def _workplace(self, build: Build, log: Path, messages: list[Message]) -> Iterator[_Told]:
        """What the steps of a build have in common: its folder, with a copy of the source in it."""
        with (
            workplace(build_place(self.place, build.id)) as work,
            failures_examined(
                work, log, stop=self.shop.stop, keep=self.shop.keep_work, notify=self.notify
            ),
        ):
            self.source.copy_to(work.source)
            work.scratch.mkdir()
            yield {
                "source": work.source,
                "scratch": work.scratch,
                "log": log,
                "limit": TimeBudget(self.shop.seconds or self._target(build).job_timeout),
                "repair": self._repair(build),
                "keep_open": (work.lock,),
                "messages": messages,
            }


def _note(log: Path, line: str) -> None:
    with log.open("a", encoding="utf-8", newline="\n") as file:
        file.write(f"polywheel: {line}\n")
