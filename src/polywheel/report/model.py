"""A report, or several merged reports, as values. The keys of docs/report.md have the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from polywheel.run.outcome import FAILURES, State, WheelTestState


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """A machine that ran builds."""

    system: str
    """As in ``platform.platform()``."""

    processors: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportRun:
    """One run: one report."""

    path: str
    """The path of the report, as the user wrote it; the name of the command for a run that has just ended."""

    source: str | None = None
    """The project folder or sdist; None in reports of earlier versions, as are the others without a value."""

    out: str | None = None
    began: str | None = None
    """ISO 8601 with a time zone, checked."""

    seconds: float = 0.0
    interrupted: bool = False
    exit_code: int = 0
    slots: int | None = None
    """How many builds ran in parallel at most."""

    machine: Machine | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportSetup:
    """Values of the build setup of a variant that have one origin."""

    name: str
    """``cflags``, ``env.NAME``, ``defines.NAME``, ``config-settings.KEY``, …"""

    values: tuple[str, ...]
    origin: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportCacheUse:
    """How often a compiler cache had the result of a compiler."""

    hits: int
    misses: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportBuild:
    """A build."""

    id: str
    run: int
    """The index of its run in ``RunReport.runs``."""

    python: str | None
    target: str | None
    jobs: tuple[str, ...]
    state: State
    seconds: float = 0.0
    hook_seconds: float = 0.0
    started: float | None = None
    """Seconds after the beginning of the run; None if it did not start, or if it is not known."""

    slot: int | None = None
    """The number of the slot it ran on, from 0."""

    setup: tuple[ReportSetup, ...] = ()
    compiler_cache: ReportCacheUse | None = None
    error: str | None = None
    log: str | None = None
    tool_logs: tuple[str, ...] = ()

    @property
    def has_failed(self) -> bool:
        return self.state in FAILURES


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportTest:
    """The test of a wheel."""

    state: WheelTestState
    reason: str | None = None
    seconds: float = 0.0
    cpu: str | None = None
    log: str | None = None
    wheel: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportFinding:
    """A finding of an audit."""

    severity: str
    """``error``, ``warning``, or ``note``."""

    check: str
    what: str
    file: str | None = None
    symbol: str | None = None
    offset: int | None = None
    instruction: str | None = None
    count: int = 1
    hint: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportJob:
    """A job: one wheel."""

    id: str
    run: int
    """The index of its run in ``RunReport.runs``."""

    label: str | None
    """None for the non-variant wheel."""

    properties: tuple[str, ...]
    pythons: tuple[str, ...]
    targets: tuple[str, ...]
    build: str
    """A build of the report."""

    state: State
    file: str | None = None
    size: int | None = None
    sha256: str | None = None
    seconds: float | None = None
    reasons: tuple[str, ...] = ()
    test: ReportTest | None = None
    audit: tuple[ReportFinding, ...] | None = None
    """None if the wheel was not audited in this run."""

    reproduce: str | None = None
    """A command line that builds the wheel again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportWarning:
    """A warning or a note."""

    level: str
    """``warning`` or ``note``."""

    text: str
    jobs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportStaleWheel:
    """A wheel that is no longer planned."""

    file: str
    why: str
    own: bool = False
    removed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """One report, or several reports of one project, merged."""

    project: str | None
    runs: tuple[ReportRun, ...]
    """At least one, in the order of the arguments."""

    builds: tuple[ReportBuild, ...]
    """Each id once, in the order of the reports."""

    jobs: tuple[ReportJob, ...]
    """Each id once."""

    warnings: tuple[ReportWarning, ...] = ()
    """Each text once; warnings come before notes."""

    stale: tuple[ReportStaleWheel, ...] = ()

    @property
    def seconds(self) -> float:
        """The time of all runs together."""
        return sum(run.seconds for run in self.runs)

    @property
    def interrupted(self) -> bool:
        return any(run.interrupted for run in self.runs)

    def builds_by_id(self) -> Mapping[str, ReportBuild]:
        return {build.id: build for build in self.builds}

    def run_of(self, entry: ReportBuild | ReportJob) -> ReportRun:
        """Return the run that a build or a job comes from."""
        return self.runs[entry.run]

    def count_states(self) -> dict[State, int]:
        """Return the number of jobs in each state that there is."""
        states = [job.state for job in self.jobs]
        return {state: states.count(state) for state in State if state in states}

    def count_tests(self) -> dict[WheelTestState, int]:
        """Return the number of tests by their result, of those that there are."""
        states = [job.test.state for job in self.jobs if job.test is not None]
        return {state: states.count(state) for state in WheelTestState if state in states}
