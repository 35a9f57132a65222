"""The outcome of a build: its state, its wheels, and its messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from polywheel.model.plan import Build, EqualVariants, Job, Plan
from polywheel.model.setup import SetupValues
from polywheel.run.worker.protocol import Message

WARNING = "warning: "
AuditFindings = tuple[Mapping[str, Any], ...]
"""The findings of an audit, as JSON."""


class State(StrEnum):
    """The state of a build or a job at the end of a run. Reports and events use these words."""

    BUILT = "built"
    """This run built it."""

    UP_TO_DATE = "up-to-date"
    """An earlier run built it, and nothing that it depends on has changed."""

    STAMPED = "stamped"
    """This run stamped it. Its content is in the cache, from an earlier build."""

    FAILED = "failed"

    TEST_FAILED = "test-failed"
    """It was built, but the test of a wheel failed."""

    STOPPED = "stopped"
    """It was being built when the run was interrupted, or when another build failed."""

    NOT_STARTED = "not-started"
    """The run ended before the build started."""

    NO_PYTHON = "no-python"
    """The Python that it needs is not installed."""

    ELSEWHERE = "elsewhere"
    """It is for another machine."""


REBUILD = ("--rebuild",)
"""The reason for wheels that the user wants again."""

FAILURES = frozenset({State.FAILED, State.TEST_FAILED})
"""The states of builds that did not give what was planned."""

PRESENT = frozenset({State.BUILT, State.UP_TO_DATE, State.STAMPED})
"""The states of builds whose wheels are in the output directory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """A finished wheel."""

    job: str
    file: str
    size: int
    """Bytes."""

    sha256: str
    seconds: float
    """How long the wheel took when it was built. If its build made several wheels: its share."""

    state: State = State.BUILT
    setup: str = ""
    """The digest of the build setup of its variant; empty if it is not known."""


class WheelTestState(StrEnum):
    """The result of the test of a wheel."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelTestResult:
    """The result of the test of a wheel, in this run or in an earlier one."""

    job: str
    state: WheelTestState
    reason: str = ""
    """Why it failed or was skipped. For a test that passed: the job with the same content that was tested."""

    seconds: float = 0.0
    log: Path | None = None
    cpu: str = ""
    """The model of the emulated CPU."""

    wheel: Path | None = None
    """Where the wheel is, if its test failed."""

    changed_wheel: bool = False
    """Whether the test changed or removed the wheel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheUse:
    """How often a compiler cache had the result of a compiler."""

    hits: int
    misses: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The result of one build."""

    build: str
    state: State
    wheels: tuple[Wheel, ...] = ()
    """The wheels of the build that are in the output directory, in every state."""

    seconds: float = 0.0
    """Wall time in this run."""

    hook_seconds: float = 0.0
    """The part of ``seconds`` that the real backend took."""

    error: str | None = None
    log: Path | None = None
    messages: tuple[Message, ...] = ()
    """Each text once."""

    tests: tuple[WheelTestResult, ...] = ()
    """The results of the tests of wheels."""

    compiler_cache: CacheUse | None = None
    """None if the build used none, or if its use is not known."""

    tool_logs: tuple[Path, ...] = ()
    """If the build failed: the logs of the checks of Meson and CMake."""

    reasons: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Why wheels were built or stamped in this run, by job."""

    started: float | None = None
    """The reading of ``time.monotonic`` when it started; None if it did not."""

    slot: int | None = None
    """The number of the slot it ran on, from 0: one of the builds in parallel."""

    setup: tuple[SetupValues, ...] = ()
    """The build setup of the wheels that were built or stamped."""

    findings: Mapping[str, AuditFindings] = field(default_factory=dict)
    """The findings of the wheels that were audited in this run, by job."""

    @property
    def logs(self) -> list[Path]:
        """All logs that exist."""
        own = [self.log] if self.log is not None and self.log.exists() else []
        failed = (test.log for test in self.tests if test.state == WheelTestState.FAILED)
        return [
            *dict.fromkeys([*own, *(log for log in failed if log is not None)]),
            *self.tool_logs,
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExistingWheels:
    """The wheels of a build that are up to date, and the jobs whose wheels are missing."""

    wheels: tuple[Wheel, ...]
    missing: tuple[Job, ...]
    untested: tuple[Job, ...] = ()
    """The jobs whose wheels are up to date, but not their tests."""

    reasons: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Why wheels are missing, by job, as far as that is known."""


def log_file(logs: Path, build: Build) -> Path:
    """Return the log of a build in the folder of logs."""
    return logs / f"{build.id}.log"


def with_tests(outcome: Outcome, tests: Sequence[WheelTestResult]) -> Outcome:
    """Return an outcome with the results of tests. If a test failed, so did the build, unless it failed before."""
    failed = [test for test in tests if test.state == WheelTestState.FAILED]
    outcome = replace(outcome, tests=tuple(tests))
    if not failed or outcome.state not in PRESENT:
        return outcome
    names = ", ".join(test.job for test in failed)
    error = f"the test of {names} failed: {failed[0].reason}"
    if failed[0].wheel is not None:
        error += f"\n  the wheel was moved to {failed[0].wheel.parent}"
    return replace(outcome, state=State.TEST_FAILED, error=error, log=failed[0].log or outcome.log)


def with_audit_errors(outcome: Outcome, errors: Sequence[str], failed: Path) -> Outcome:
    """Return an outcome with the errors of audits, of which each makes its build a failed one.

    ``failed`` is the folder to which the wheels were moved.
    """
    if not errors or outcome.state == State.STOPPED:
        return outcome
    texts = [*errors, f"  the wheel was moved to {failed}"]
    if outcome.error is not None:
        return replace(outcome, error="\n".join([outcome.error, *texts]))
    # Without its log, which does not have these errors.
    return replace(outcome, state=State.FAILED, error="\n".join(texts), log=None)


def merge_messages(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Return each text once, with the jobs of all its messages.

    Warnings come first. Otherwise the order stays.
    """
    jobs_of: dict[str, dict[str, None]] = {}
    for message in messages:
        jobs_of.setdefault(message.text, {}).update(dict.fromkeys(message.jobs))
    merged = [Message(text, tuple(jobs)) for text, jobs in jobs_of.items()]
    return tuple(sorted(merged, key=lambda message: not message.text.startswith(WARNING)))


def setups_of(outcomes: Iterable[Outcome]) -> dict[str, str]:
    """Return the digest of each job's build setup, by its id, as far as the digests are known."""
    wheels = (wheel for outcome in outcomes for wheel in outcome.wheels)
    return {wheel.job: wheel.setup for wheel in wheels if wheel.setup}


def group_by_setup(plan: Plan, setups: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Group the jobs with the same Python, target, and build setup, in the order of the plan.

    ``setups`` has the digest of the build setup of each job, by its id. Groups of one job are left
    out.
    """
    builds = {build.id: build for build in plan.builds}
    groups: dict[tuple[str, str, str], list[str]] = {}
    for job in plan.jobs:
        if job.id in setups:
            build = builds[job.build]
            groups.setdefault((build.target, build.python, setups[job.id]), []).append(job.id)
    return [tuple(ids) for ids in groups.values() if len(ids) > 1]


def report_equal_setups(
    outcomes: Sequence[Outcome], equal_variants: Iterable[EqualVariants]
) -> list[Outcome]:
    """Return the outcomes, with warnings about variants whose equal setups are not declared.

    If this is an error, these builds become failed builds: their files stay in the output
    directory, but the outcomes do not list them.
    """
    reported = list(outcomes)
    for equal in equal_variants:
        reported = [_with_message(outcome, equal) for outcome in reported]
    return reported


def with_messages(outcomes: Iterable[Outcome], messages: Sequence[Message]) -> list[Outcome]:
    """Return the outcomes, each with the messages about its jobs."""
    return [_with_own(outcome, messages) for outcome in outcomes] if messages else [*outcomes]


def _with_own(outcome: Outcome, messages: Iterable[Message]) -> Outcome:
    """Return an outcome with the messages about its jobs."""
    jobs = {wheel.job for wheel in outcome.wheels}
    own = [
        Message(message.text, about)
        for message in messages
        if (about := tuple(job for job in message.jobs if job in jobs))
    ]
    return replace(outcome, messages=merge_messages((*outcome.messages, *own)))


def _with_message(outcome: Outcome, equal: EqualVariants) -> Outcome:
    """Return an outcome with the warning or the error about its jobs."""
    jobs = tuple(wheel.job for wheel in outcome.wheels if wheel.job in equal.jobs)
    if not jobs:
        return outcome
    if equal.is_error:
        remaining = replace(
            outcome, wheels=tuple(wheel for wheel in outcome.wheels if wheel.job not in jobs)
        )
        if outcome.state not in PRESENT:
            return remaining  # it has an error of its own
        error = f"{equal}; strict = true makes this an error"
        # Without its log, which does not have this error.
        return replace(remaining, state=State.FAILED, error=error, log=None)
    return _with_own(outcome, [Message(f"{WARNING}{equal}", equal.jobs)])
