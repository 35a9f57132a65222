"""One build after the other: a copy of the source, an environment, the wheel, its checks, its name."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TypedDict

from polywheel.errors import BuildError, PolywheelError, WheelError
from polywheel.model.plan import Build, Job, Plan
from polywheel.model.profile import BackendProfile
from polywheel.providers.environment import cache_directory
from polywheel.run.checks import check_wheel
from polywheel.run.compile_slots import Slots
from polywheel.run.environments import Environment, Environments, normalized
from polywheel.run.interpreters import Interpreter
from polywheel.run.journal import Entry, Journal, sha256_of
from polywheel.run.keys import digest_of, job_key
from polywheel.run.orders import Workshop, order
from polywheel.run.source import Source


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """A finished wheel."""

    job: str
    file: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a build."""

    build: str
    state: str
    """``built``, ``skipped`` (was finished already), ``failed`` or ``stopped``."""

    wheels: tuple[Wheel, ...] = ()
    seconds: float = 0.0
    hook_seconds: float = 0.0
    """Of which the real backend's own."""

    error: str | None = None
    log: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What of a build is there, and what is not."""

    wheels: tuple[Wheel, ...]
    missing: tuple[Job, ...]


class _Told(TypedDict):
    """What the orders of one build have in common."""

    source: Path
    scratch: Path
    log: Path
    keep_open: tuple[int, ...]


@dataclass(kw_only=True)
class Builder:
    """Makes the builds of a plan; its methods may run in several threads at once."""

    plan: Plan
    requires: Sequence[str]
    """``build-system.requires`` without polywheel."""

    source: Source
    place: Path
    """The folder in which each build has its own copy of the source."""

    shop: Workshop
    interpreters: Mapping[str, Interpreter]
    environments: Environments
    journal: Journal
    out: Path
    logs: Path
    slots: Slots
    profile: BackendProfile | None
    force: bool = False
    _lock: Lock = field(default_factory=Lock)
    _names: dict[str, str] = field(default_factory=dict)

    def jobs(self, build: Build) -> list[Job]:
        """The jobs of a build, in its order."""
        found = {job.id: job for job in self.plan.jobs}
        return [found[identifier] for identifier in build.jobs]

    def look(self, build: Build) -> Standing:
        """What of a build is there already; nothing is made for it."""
        jobs = self.jobs(build)
        environment = self._kept(build, jobs)
        if environment is None:
            return Standing(wheels=(), missing=tuple(jobs))
        wheels, missing = [], []
        interpreter = self.interpreters[build.python]
        for job in jobs:
            entry = self.journal.finished(job.id, self._key(job, interpreter, environment))
            if entry is None:
                missing.append(job)
                continue
            size = (self.out / entry.file).stat().st_size
            self._names[entry.file] = job.id
            wheels.append(Wheel(job=job.id, file=entry.file, size=size, sha256=entry.sha256))
        return Standing(wheels=tuple(wheels), missing=tuple(missing))

    def _kept(self, build: Build, jobs: Sequence[Job]) -> Environment | None:
        """The environment that the jobs were built in, where it is known and still there."""
        interpreter = self.interpreters[build.python]
        base = self.environments.kept(interpreter, self.requires)
        more = self._remembered(base, jobs) if base is not None else None
        if more is None:
            return None
        return self.environments.kept(interpreter, [*self.requires, *more]) if more else base

    def make(self, build: Build, standing: Standing) -> Outcome:
        """Build what is missing, check and stamp it; a failure is an outcome too."""
        started = time.monotonic()
        log = self.logs / f"{build.id}.log"
        log.unlink(missing_ok=True)
        try:
            with self.slots.one():
                wheels, hook = self._make(build, standing.missing, log)
        except PolywheelError as error:
            stopped = self.shop.stop.is_set()
            return Outcome(
                build=build.id,
                state="stopped" if stopped else "failed",
                wheels=standing.wheels,
                seconds=time.monotonic() - started,
                error=error.render().removeprefix("error: "),
                log=log,
            )
        except OSError as error:
            return Outcome(
                build=build.id,
                state="failed",
                seconds=time.monotonic() - started,
                error=f"{error.filename or build.id}: {error.strerror or error}",
                log=log,
            )
        return Outcome(
            build=build.id,
            state="built",
            wheels=(*standing.wheels, *wheels),
            seconds=time.monotonic() - started,
            hook_seconds=hook,
            log=log,
        )

    def _make(
        self, build: Build, jobs: Sequence[Job], log: Path
    ) -> tuple[tuple[Wheel, ...], float]:
        interpreter = self.interpreters[build.python]
        started = time.monotonic()
        with self._workplace(build) as (place, lock):
            source, scratch = place / "source", place / "scratch"
            self.source.copy_to(source)
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            told: _Told = {"source": source, "scratch": scratch, "log": log, "keep_open": lock}
            environment = self._environment(interpreter, self.jobs(build), told)
            with tempfile.TemporaryDirectory(prefix=".polywheel-", dir=self.out) as folder:
                staged = Path(folder)
                said = order(
                    self.shop,
                    "build",
                    jobs,
                    environment=environment,
                    out=staged,
                    slots=self.slots.told(self.profile, environment),
                    **told,
                )
                seconds = time.monotonic() - started
                made = {one["id"]: staged / str(one["file"]) for one in said["wheels"]}
                wheels = []
                for job in jobs:
                    key = self._key(job, interpreter, environment)
                    wheels.append(self._publish(job, made[job.id], key, seconds))
            shutil.rmtree(source, ignore_errors=True)
            shutil.rmtree(scratch, ignore_errors=True)
        return tuple(wheels), max((float(one["built"]) for one in said["wheels"]), default=0.0)

    def _environment(
        self, interpreter: Interpreter, jobs: Sequence[Job], told: _Told
    ) -> Environment:
        """The environment with all that the jobs need; what they need is remembered."""
        base = self.environments.get(interpreter, self.requires)
        more = self._remembered(base, jobs)
        if more is None:
            said = order(self.shop, "requires", jobs, environment=base, out=self.out, **told)
            more = [str(text) for text in said["requires"]]
            self._remember(base, jobs, more)
        return self.environments.get(interpreter, [*self.requires, *more]) if more else base

    def _memory(self, base: Environment, jobs: Sequence[Job]) -> Path:
        digest = digest_of(
            {
                "source": self._identity,
                "polywheel": self.shop.polywheel.name,
                "resolved": base.resolved,
                "environment": base.folder.name,
                "settings": dict(self.shop.settings),
                "jobs": [[job.label, *map(str, job.properties)] for job in jobs],
            }
        )
        return cache_directory() / "requires" / f"{digest[:32]}.json"

    def _remembered(self, base: Environment, jobs: Sequence[Job]) -> list[str] | None:
        try:
            said = json.loads(self._memory(base, jobs).read_text(encoding="utf-8"))
            return list(normalized(said))
        except (OSError, ValueError, TypeError):
            return None

    def _remember(self, base: Environment, jobs: Sequence[Job], more: Sequence[str]) -> None:
        path = self._memory(base, jobs)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix="new-", delete=False
        ) as file:
            json.dump(list(more), file)
        Path(file.name).replace(path)

    @property
    def _identity(self) -> str:
        """The source, and the file whose tables stand in place of its own."""
        config = self.shop.config
        return self.source.digest + (sha256_of(config) if config is not None else "")

    def _key(self, job: Job, interpreter: Interpreter, environment: Environment) -> str:
        return job_key(
            job,
            source=self._identity,
            polywheel=self.shop.polywheel.name,
            interpreter=interpreter,
            environment=environment,
            settings=self.shop.settings,
            epoch=self.shop.epoch,
        )

    def _publish(self, job: Job, wheel: Path, key: str, seconds: float) -> Wheel:
        """Check a wheel and give it its final name; then it stands in the journal."""
        check_wheel(wheel, job, [self.plan.targets[name] for name in job.targets])
        digest, size = sha256_of(wheel), wheel.stat().st_size
        final = self.out / wheel.name
        with self._lock:
            other = self._names.setdefault(wheel.name, job.id)
            if other != job.id:
                raise WheelError(
                    f"two jobs make {wheel.name}: {other} and {job.id}",
                    hint="say what the wheels are for: [tool.polywheel.matrix] wheel-tag",
                )
            older = self.journal.entries.get(job.id)
            ours = older is not None and older.file == wheel.name
            if final.exists() and not ours and not self.force and sha256_of(final) != digest:
                raise WheelError(
                    f"{wheel.name} is there already, and no run of this matrix made it",
                    at=str(self.out),
                    hint="move it away, or write over it with --force",
                )
            wheel.replace(final)
            self.journal.add(
                Entry(job=job.id, key=key, file=final.name, sha256=digest, seconds=seconds)
            )
        return Wheel(job=job.id, file=final.name, size=size, sha256=digest)

    @contextmanager
    def _workplace(self, build: Build) -> Iterator[tuple[Path, tuple[int, ...]]]:
        """The folder of a build, always the same one, and its lock.

        Workers inherit the lock: one that outlived its run is not disturbed, and waited for.
        """
        place = self.place / build.id
        place.mkdir(parents=True, exist_ok=True)
        with (place / "lock").open("a+b") as file:
            if sys.platform == "win32":
                yield place, ()
                return
            import fcntl

            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if self.shop.stop.wait(0.2):
                        raise BuildError("it was stopped") from None
            yield place, (file.fileno(),)
