"""Giving wheels their final names: only what was planned, and over nothing of another origin."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from packaging.utils import canonicalize_name

from polywheel.backend.built_wheel import another_release
from polywheel.errors import PolywheelError, WheelError
from polywheel.model.matrix import Target
from polywheel.model.plan import Job
from polywheel.model.wheelname import WheelName
from polywheel.run.journal import Entry, Journal
from polywheel.run.outcome import ExistingWheels, State, Wheel
from polywheel.run.worker.checks import check_wheel, misfits
from polywheel.system.files import replace, sha256_of
from polywheel.wheel.disagreements import same_version


@dataclass(kw_only=True)
class Publisher:
    """The way into an output directory; its methods may run in several threads at once."""

    out: Path
    journal: Journal
    targets: Mapping[str, Target]
    force: bool
    """Whether a wheel of another origin may be written over."""

    project: str | None = None
    """The normalized name of the project; None where pyproject.toml does not give it."""

    version: str | None = None
    """The version, as pyproject.toml has it; None where the backend computes it."""

    config: str = ""
    """The file whose tables are read instead of the project's; empty without one."""

    _first: WheelName | None = None
    """The first wheel of this run: the others are of the same project and version."""

    _lock: Lock = field(default_factory=Lock)
    _claimed: dict[str, str] = field(default_factory=dict)
    """The job that makes a file, in this run."""

    def there(self, job: Job, key: str) -> Wheel | None:
        """The wheel of a job that need not be made again."""
        entry = self.journal.finished(job.id, key)
        if entry is None:
            return None
        try:
            name = WheelName.parse(entry.file)
        except PolywheelError:  # no name of a wheel: somebody else's line
            return None
        if misfits(name, job, self._targets(job)):
            return None
        with self._lock:
            if self._of_another_release(name):
                return None
            self._first = self._first or name
            self._claimed.setdefault(entry.file, job.id)
        return Wheel(
            job=job.id,
            file=entry.file,
            size=(self.out / entry.file).stat().st_size,
            sha256=entry.sha256,
            seconds=entry.seconds,
            state=State.UP_TO_DATE,
            setup=entry.setup,
        )

    def standing(self, jobs: Iterable[Job], key_of: Callable[[Job], str]) -> ExistingWheels:
        """Which of these jobs need not be made again, by their keys."""
        found = [(job, self.there(job, key_of(job))) for job in jobs]
        return ExistingWheels(
            wheels=tuple(wheel for _, wheel in found if wheel is not None),
            missing=tuple(job for job, wheel in found if wheel is None),
        )

    def refuse_changed(self, job: Job, key: str) -> None:
        """Raise WheelError where the wheel that a job is to make was made, and changed since.

        It would not be written over, so this is said before it is built.
        """
        entry = self.journal.entry(job.id)
        if entry is None or entry.key != key:
            return
        if os.path.lexists(self.out / entry.file):
            self._refuse(job, self.out / entry.file, entry.sha256)

    def publish(self, job: Job, wheel: Path, key: str, seconds: float, *, setup: str = "") -> Wheel:
        """Check a wheel and give it its final name; where and when it stands in the journal.

        ``setup`` is the digest of what its variant asks of the build. Raises WheelError.
        """
        if not stat.S_ISREG(wheel.lstat().st_mode):
            raise WheelError(f"{wheel.name} is not a regular file", at=job.id)
        check_wheel(wheel, job, self._targets(job))
        digest, size = _settled(wheel), wheel.stat().st_size
        final = self.out / wheel.name
        entry = Entry(
            job=job.id,
            key=key,
            file=final.name,
            sha256=digest,
            seconds=seconds,
            config=self.config,
            setup=setup,
        )
        name = WheelName.parse(wheel.name)
        with self._lock:
            if why := self._of_another_release(name):
                raise WheelError(
                    f"{wheel.name} is {why}",
                    at=job.id,
                    hint="a run makes one release: every build must have the same name and version",
                )
            other = self._claimed.setdefault(final.name, job.id)
            if other != job.id:
                raise two_jobs(final.name, other, job.id)
            if os.path.lexists(final):
                self._refuse(job, final, digest)
            # In this order: whoever is killed in between leaves a line without its wheel, which
            # counts for nothing; a wheel without its line would count as a stranger's.
            self.journal.add(entry)
            replace(wheel, final)
            self._first = self._first or name
        return Wheel(
            job=job.id, file=final.name, size=size, sha256=digest, seconds=seconds, setup=setup
        )

    def _of_another_release(self, name: WheelName) -> str | None:
        """What a wheel is, where it is not of the release that this run makes; None where it is."""
        if other := another_release(name, project=self.project, version=self.version):
            return other
        first = self._first
        if first is None:
            return None
        if canonicalize_name(name.distribution) != canonicalize_name(first.distribution):
            return f"of another project than {first}, which this run has too"
        if not same_version(name.version, first.version):
            return f"of another version than {first}, which this run has too"
        return None

    def _refuse(self, job: Job, final: Path, digest: str) -> None:
        """Raise WheelError where a file may not be written over with content of this digest."""
        if self.force:
            return
        try:
            found = sha256_of(final)
        except OSError:  # a pipe, a folder, a link to nothing: no run has made it
            found = ""
        if found == digest:
            return
        origin = self.journal.origin(final.name, found)
        if origin is None:
            raise WheelError(
                f"{final.name} is there already, and it is not what a run of this matrix made",
                at=str(self.out),
                hint="move it away, or write over it with --force",
            )
        if origin.job != job.id:
            raise two_jobs(final.name, origin.job, job.id)

    def _targets(self, job: Job) -> list[Target]:
        return [self.targets[name] for name in job.targets]


def two_jobs(name: str, first: str, second: str) -> WheelError:
    """The error for two jobs, by their ids, that make wheels of one name."""
    return WheelError(
        f"two jobs make {name}: {first} and {second}",
        hint="say what the wheels are for, so that they are one job: [tool.polywheel.matrix] "
        "wheel-tag; or, where the first job is no more, write over its wheel with --force",
    )


def _settled(wheel: Path) -> str:
    """The digest of a file that the disk has: its name is not to outlive its content."""
    with wheel.open("r+b") as file:
        os.fsync(file.fileno())
    return sha256_of(wheel)
