"""The checks of the wheels of a build before they get their final names: the plan, the audit, and the test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from polywheel.environments.virtual_environments import Interpreter
from polywheel.model.plan import Build, Job
from polywheel.model.setup import SetupValues
from polywheel.run.build_key import Key
from polywheel.run.journal import FAILED_WHEELS
from polywheel.run.outcome import (
    AuditFindings,
    Outcome,
    State,
    Wheel,
    WheelTestResult,
    WheelTestState,
    with_audit_errors,
    with_tests,
)
from polywheel.run.source.snapshot import Source
from polywheel.run.wheel_audit import WheelAuditor
from polywheel.run.worker.protocol import Message
from polywheel.run.worker.publish import NOTHING_CONTAINED, Publisher
from polywheel.system.temporary import temporary_folder

if TYPE_CHECKING:
    from polywheel.run.testing.tester import WheelTester


@dataclass(kw_only=True)
class WheelChecks:
    """Audits, tests, and publishes the wheels of one build, one after the other."""

    build: Build
    interpreter: Interpreter
    source: Source
    """What tests get a copy of. An sdist may lack the tests."""

    publisher: Publisher
    auditor: WheelAuditor | None
    """None if no wheel is audited."""

    tester: WheelTester | None
    """None if no wheel is tested."""

    opened: ExitStack
    """It is closed after the build: it has the copy of the source."""

    before_test: Callable[[], None]
    """Called before each test. Raises BuildError."""

    messages: list[Message] = field(default_factory=list)
    """The warnings and notes of audits."""

    setup: tuple[SetupValues, ...] = ()
    """The build setup of the wheels that were built or stamped, for the report."""

    _findings: dict[str, AuditFindings] = field(default_factory=dict)
    _audit_errors: list[str] = field(default_factory=list)
    _results: list[WheelTestResult] = field(default_factory=list)
    _earlier: dict[object, WheelTestResult] = field(default_factory=dict)
    _project: Path | None = None
    """The copy of the source."""

    def add_to(self, outcome: Outcome) -> Outcome:
        """Return the outcome of the build with the errors of audits and the results of tests."""
        failed = self.publisher.out / FAILED_WHEELS
        outcome = with_audit_errors(outcome, self._audit_errors, failed)
        outcome = replace(outcome, setup=self.setup, findings=self._findings)
        return with_tests(outcome, self._results)

    def _test(self, job: Job, wheel: Path) -> WheelTestResult | None:
        if self.tester is None or not self.tester.key(job):
            return None
        self.before_test()
        if self._project is None:
            folder = self.opened.enter_context(temporary_folder())
            self._project = folder / "source"
            self.source.copy_to(self._project)
        result = self.tester.test(
            job,
            self.build,
            wheel,
            interpreter=self.interpreter,
            source=self._project,
            earlier=self._earlier,
        )
        if result is not None:
            if result.state == WheelTestState.FAILED and wheel.exists():
                result = replace(result, wheel=self.publisher.path_of_failed(wheel.name))
            self._results.append(result)
        return result

    def publish(
        self,
        job: Job,
        path: Path,
        key: Key,
        seconds: float,
        *,
        setup: str,
        wheels: list[Wheel],
        state: State = State.BUILT,
        contained: Mapping[str, str] = NOTHING_CONTAINED,
    ) -> None:
        """Check, audit, test, and publish a wheel. It is appended to ``wheels`` unless it fails."""
        self.publisher.check(job, path)
        if self.auditor is not None:
            audit = self.auditor.audit(job.id, path)
            self.messages.extend(audit.messages)
            self._findings[job.id] = audit.findings
            if audit.error:
                self._audit_errors.append(audit.error)
                self.publisher.set_aside(path)
                return
        test = self._test(job, path)
        if test is not None and test.changed_wheel:
            self.publisher.set_aside(path, test)
            return
        test_key = self.tester.key(job) if self.tester is not None else ""
        wheel = self.publisher.publish(
            job,
            path,
            key,
            seconds,
            state=state,
            setup=setup,
            contained=contained,
            test=test,
            test_key=test_key,
        )
        if test is None or test.state != WheelTestState.FAILED:
            wheels.append(wheel)

    def test_existing(self, jobs: Iterable[Job], wheels: list[Wheel]) -> None:
        """Test wheels that are in the output directory. Those that fail are removed from ``wheels``."""
        for job in jobs:
            wheel = next(wheel for wheel in wheels if wheel.job == job.id)
            result = self._test(job, self.publisher.out / wheel.file)
            if result is None or self.tester is None:
                continue
            if result.changed_wheel:
                self.publisher.set_aside(self.publisher.out / wheel.file, result)
            else:
                self.publisher.record_test(job, result, self.tester.key(job))
            if result.state == WheelTestState.FAILED:
                wheels.remove(wheel)

    def test_failed(
        self,
        jobs: Sequence[Job],
        key_of: Callable[[Job], Key],
        wheels: list[Wheel],
    ) -> Sequence[Job]:
        """Test wheels again whose test failed in an earlier run. Return the other jobs."""
        others = []
        for job in jobs:
            key = key_of(job)
            path, entry = (
                self.publisher.journal.failed(job.id, key.digest),
                self.publisher.journal.entry(job.id),
            )
            if path is None or entry is None or not key.allows(entry.contained):
                others.append(job)
                continue
            with temporary_folder(self.publisher.out) as folder:
                again = folder / path.name
                shutil.copyfile(path, again)
                self.publish(
                    job,
                    again,
                    key,
                    entry.seconds,
                    setup=entry.setup,
                    wheels=wheels,
                    state=State.STAMPED,
                    contained=entry.contained,
                )
        return others
