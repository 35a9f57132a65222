"""Publish finished wheels under their final names without overwriting unrelated files."""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import MappingProxyType

from packaging.utils import canonicalize_name

from polywheel.backend.built_wheel import release_mismatch
from polywheel.errors import WheelError
from polywheel.model.matrix import Target
from polywheel.model.plan import Job
from polywheel.model.wheelname import WheelName, same_version
from polywheel.run.build_key import Key
from polywheel.run.journal import FAILED_WHEELS, Entry, Journal
from polywheel.run.outcome import ExistingWheels, State, Wheel, WheelTestResult, WheelTestState
from polywheel.run.rebuild_reasons import parts_for_journal, rebuild_reasons
from polywheel.run.worker.checks import check_planned_wheel, tag_problems
from polywheel.system.files import replace, sha256_of
from polywheel.system.temporary import replacing
from polywheel.system.terminal import one_line

NOTHING_CONTAINED: Mapping[str, str] = MappingProxyType({})


@dataclass(kw_only=True)
class Publisher:
    """Publishes wheels into an output directory. Its methods may run in several threads at once."""

    out: Path
    journal: Journal
    targets: Mapping[str, Target]
    force: bool
    """Whether unrelated wheels may be overwritten."""

    project: str | None = None
    """The normalized name of the project; None if pyproject.toml does not have it."""

    version: str | None = None
    """The version in pyproject.toml; None if the backend computes it."""

    config: str = ""
    """The file with the tables that are read instead of the project's; empty if there is none."""

    _first: WheelName | None = None
    """The first wheel of this run. All others must have the same project and version."""

    _lock: Lock = field(default_factory=Lock)
    _claimed: dict[str, str] = field(default_factory=dict)
    """The job of each filename in this run."""

    def existing_wheel(self, job: Job, key: Key) -> Wheel | None:
        """Return the up-to-date wheel of a job; None if it must be built."""
        entry = self.journal.finished(job.id, key.digest)
        if entry is None or not key.allows(entry.contained):
            return None
        name = WheelName.parse(entry.file)
        if tag_problems(name, job, self._targets(job)):
            return None
        with self._lock:
            if self._release_mismatch(name):
                return None
            self._first = self._first or name
            self._claimed.setdefault(entry.file, job.id)
        return self._wheel(entry, State.UP_TO_DATE)

    def existing_wheels(self, jobs: Iterable[Job], key_of: Callable[[Job], Key]) -> ExistingWheels:
        """Return the up-to-date wheels of jobs, by their keys, and the jobs that must be built, with the reasons."""
        wheels, missing, reasons = [], [], {}
        for job in jobs:
            key = key_of(job)
            if (wheel := self.existing_wheel(job, key)) is not None:
                wheels.append(wheel)
            else:
                missing.append(job)
                reasons[job.id] = self.reasons(job, key)
        return ExistingWheels(wheels=tuple(wheels), missing=tuple(missing), reasons=reasons)

    def reasons(self, job: Job, key: Key) -> tuple[str, ...]:
        """Return why a wheel has to be built or stamped."""
        entry = self.journal.entry(job.id)
        reasons = rebuild_reasons(entry, key)
        if entry is None or reasons:
            return reasons
        if not key.allows(entry.contained):
            return tuple(
                f"{name}, which the wheel contains, has changed" for name in entry.contained
            )
        if not os.path.lexists(self.out / entry.file):
            failed = self.path_of_failed(entry.file)
            return ("its test failed" if failed.is_file() else f"{entry.file} was removed",)
        return (f"{entry.file} has changed since it was built",)

    def refuse_changed(self, job: Job, key: Key) -> None:
        """Raise WheelError if an earlier run built the wheel of a job, and the file changed since.

        The changed file would not be overwritten, so the error comes before the build.
        """
        entry = self.journal.entry(job.id)
        if entry is None or entry.key != key.digest:
            return
        if os.path.lexists(self.out / entry.file):
            self._check_overwrite(job, self.out / entry.file, entry.sha256)

    def check(self, job: Job, wheel: Path) -> None:
        """Raise WheelError if a file is not the planned wheel of a job."""
        if not stat.S_ISREG(wheel.lstat().st_mode):
            raise WheelError(f"{wheel.name} is not a regular file", at=job.id)
        check_planned_wheel(wheel, job, self._targets(job))

    def publish(
        self,
        job: Job,
        wheel: Path,
        key: Key,
        seconds: float,
        *,
        state: State = State.BUILT,
        setup: str = "",
        contained: Mapping[str, str] = NOTHING_CONTAINED,
        test: WheelTestResult | None = None,
        test_key: str = "",
    ) -> Wheel:
        """Check a wheel, add it to the journal, and move it to its final name.

        ``setup`` is the digest of the build setup of its variant, ``test_key`` that of the settings of its
        test. ``contained`` has the digests of files with tables of polywheel that the wheel contains. A wheel whose test failed gets its name in the folder of failed wheels, with the log of the test.
        Raises WheelError.
        """
        self.check(job, wheel)
        digest = _sync_and_hash(wheel)
        failed = test is not None and test.state == WheelTestState.FAILED
        final = self.out / wheel.name
        entry = Entry(
            job=job.id,
            key=key.digest,
            file=final.name,
            sha256=digest,
            seconds=seconds,
            config=self.config,
            setup=setup,
            test=_test_text(test),
            test_key=test_key,
            parts=parts_for_journal(key),
            contained=dict(contained),
        )
        name = WheelName.parse(wheel.name)
        with self._lock:
            if why := self._release_mismatch(name):
                raise WheelError(
                    f"{wheel.name} is {why}",
                    at=job.id,
                    hint="all builds of a run must have the same name and version",
                )
            other = self._claimed.setdefault(final.name, job.id)
            if other != job.id:
                raise duplicate_filename_error(final.name, other, job.id)
            if os.path.lexists(final) and not failed:
                self._check_overwrite(job, final, digest)
            if failed:
                final = self._place_of_failed(entry.file, test)
            # In this order: if the process is killed in between, the line has no wheel, and has no
            # effect. A wheel without a line would be an unrelated file.
            self.journal.add(entry)
            replace(wheel, final)
            self._first = self._first or name
            if not failed:
                self._remove_failed(entry.file)
        return self._wheel(entry, state, final)

    def record_test(self, job: Job, test: WheelTestResult, test_key: str) -> None:
        """Add the result of a test of the wheel of a job that exists already to the journal.

        A wheel whose test failed is moved to the folder of failed wheels.
        """
        with self._lock:
            entry = self.journal.entry(job.id)
            if entry is None:
                raise WheelError("the journal has no line for its wheel", at=job.id)
            self.journal.add(dataclasses.replace(entry, test=_test_text(test), test_key=test_key))
            if test.state == WheelTestState.FAILED:
                replace(self.out / entry.file, self._place_of_failed(entry.file, test))

    def set_aside(self, wheel: Path, test: WheelTestResult | None = None) -> None:
        """Move a wheel to the folder of failed wheels, if it still exists.

        That is for wheels that the next run builds again: the journal does not get their content.
        """
        with self._lock:
            if wheel.exists():
                replace(wheel, self._place_of_failed(wheel.name, test))

    def path_of_failed(self, file: str) -> Path:
        """Where the wheel of this name is if its test failed."""
        return self.out / FAILED_WHEELS / file

    def _place_of_failed(self, file: str, test: WheelTestResult | None) -> Path:
        """The final place of a wheel whose test failed. The log of the test is put beside it."""
        path = self.path_of_failed(file)
        path.parent.mkdir(exist_ok=True)
        if test is None:
            path.with_suffix(".log").unlink(missing_ok=True)
        if test is not None and test.log is not None and test.log.is_file():
            with replacing(path.with_suffix(".log")) as part:
                shutil.copyfile(test.log, part)
        return path

    def _remove_failed(self, file: str) -> None:
        """Remove an earlier wheel of this name whose test failed."""
        path = self.path_of_failed(file)
        with suppress(OSError):
            if self.journal.origin(file, sha256_of(path)) is not None:
                path.unlink()
                path.with_suffix(".log").unlink(missing_ok=True)
                path.parent.rmdir()  # if it is empty

    def is_tested(self, job: Job, test_key: str, *, require: bool) -> bool:
        """Whether the journal has the result of a test with these settings.

        With ``require``, a test that was skipped does not count.
        """
        entry = self.journal.entry(job.id)
        if entry is None or entry.test_key != test_key:
            return False
        return entry.test == WheelTestState.PASSED or not require

    def _wheel(self, entry: Entry, state: State, path: Path | None = None) -> Wheel:
        return Wheel(
            job=entry.job,
            file=entry.file,
            size=(path or self.out / entry.file).stat().st_size,
            sha256=entry.sha256,
            seconds=entry.seconds,
            state=state,
            setup=entry.setup,
        )

    def _release_mismatch(self, name: WheelName) -> str | None:
        """Describe a wheel that is not of the project and version of this run; None if it is."""
        if other := release_mismatch(name, project=self.project, version=self.version):
            return other
        first = self._first
        if first is None:
            return None
        if canonicalize_name(name.distribution) != canonicalize_name(first.distribution):
            return f"of another project than {first}, which this run has too"
        if not same_version(name.version, first.version):
            return f"of another version than {first}, which this run has too"
        return None

    def _check_overwrite(self, job: Job, final: Path, digest: str) -> None:
        """Raise WheelError if a file must not be overwritten with content of this digest."""
        if self.force:
            return
        try:
            existing = sha256_of(final)
        except OSError:  # a pipe, a folder, a broken link: no run created it
            existing = ""
        if existing == digest:
            return
        origin = self.journal.origin(final.name, existing)
        if origin is None:
            made = self.journal.entry(job.id)
            was_changed = made is not None and made.file == final.name
            raise WheelError(
                f"{final.name} has changed since a run of this matrix built it"
                if was_changed
                else f"{final.name} already exists, and no run of this matrix built it",
                at=str(self.out),
                hint="move it away, or overwrite it with --force",
            )
        if origin.job != job.id:
            raise duplicate_filename_error(final.name, origin.job, job.id)

    def _targets(self, job: Job) -> list[Target]:
        return [self.targets[name] for name in job.targets]


def _test_text(test: WheelTestResult | None) -> str:
    """The result of a test in the journal, which has printable texts."""
    if test is None:
        return ""
    return one_line(test.reason) if test.state == WheelTestState.SKIPPED else str(test.state)


def duplicate_filename_error(name: str, first: str, second: str) -> WheelError:
    """The error for two jobs, by their ids, whose wheels have the same filename."""
    return WheelError(
        f"two jobs build {name}: {first} and {second}",
        hint="set [tool.polywheel.matrix] wheel-tag so that they become one job; if the first job no "
        "longer exists, overwrite its wheel with --force",
    )


def _sync_and_hash(wheel: Path) -> str:
    """Write a file to disk, and return its digest. Otherwise a crash could keep its name only."""
    with wheel.open("r+b") as file:
        os.fsync(file.fileno())
    return sha256_of(wheel)
