"""Which wheels of a run are tested, and the result of each test."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from polywheel.config.project import Project
from polywheel.environments.virtual_environments import Interpreter
from polywheel.errors import ConfigError, PolywheelError, WheelError, nearest
from polywheel.index.resolve.support import (
    PluginRunner,
    create_plugin_runner,
    why_unsupported,
)
from polywheel.matrix.cibuildwheel_platforms import build_platform, skips_test
from polywheel.model.matrix import BuildSettings
from polywheel.model.plan import Build, Job, Plan
from polywheel.model.setup import CpuModel
from polywheel.run.fingerprint import digest_of
from polywheel.run.outcome import WheelTestResult, WheelTestState
from polywheel.run.testing.emulation import oldest_cpu, refuse_emulation
from polywheel.run.testing.wheel_test import WheelTest
from polywheel.run.worker.requests import WorkerContext
from polywheel.system.files import sha256_of
from polywheel.wheel.inspect import inspect_wheel, read_variant_metadata


@dataclass(kw_only=True)
class WheelTester:
    """Tests the wheels of a run. Its methods may run in several threads at once."""

    project: Project
    plan: Plan
    context: WorkerContext
    log_folder: Path
    require: bool
    """Whether a wheel that this machine can't test counts as failed."""

    notify: Callable[[str], None]

    def __post_init__(self) -> None:
        """Read the groups of requirements. Raises ConfigError for one that does not exist."""
        self._lock = Lock()
        self._ask: PluginRunner | None = None
        self._keys: dict[str, str] = {}
        self._unsupported: dict[object, str | None] = {}
        self._groups: dict[tuple[str, ...], tuple[str, ...]] = {}
        for job in self.plan.jobs:
            groups = self.plan.settings_of(job).test_groups or ()
            if groups not in self._groups:
                self._groups[groups] = _requirements_of_groups(self.project, groups)

    def key(self, job: Job) -> str:
        """The digest of the settings of a job's test; empty if it has none."""
        if job.id not in self._keys:
            self._keys[job.id] = self._compute_key(job)
        return self._keys[job.id]

    def _compute_key(self, job: Job) -> str:
        settings = self.plan.settings_of(job)
        if not settings.test_command:
            return ""
        tests = {**asdict(settings.tests), "test_runner": None}
        environment = dict(settings.environment)
        requirements = self._requirements(settings)
        return digest_of({"tests": tests, "environment": environment, "requires": requirements})

    def test(
        self,
        job: Job,
        build: Build,
        wheel: Path,
        *,
        interpreter: Interpreter,
        source: Path,
        earlier: dict[object, WheelTestResult],
    ) -> WheelTestResult | None:
        """Test the wheel of a job; None if it has no test.

        ``source`` is a copy of the source. ``earlier`` has the results for other wheels of the same build: a
        test is not repeated for the same content with the same dependencies. The result is added.
        """
        settings = self.plan.settings_of(job)
        if not settings.test_command:
            return None
        if skips_test(settings, job, self._identifier(build)):
            return WheelTestResult(job=job.id, state=WheelTestState.SKIPPED, reason="test-skip")
        try:
            cpu, why = self._cpu(job, build, settings, wheel)
            if why is not None:
                state = WheelTestState.FAILED if self.require else WheelTestState.SKIPPED
                return WheelTestResult(job=job.id, state=state, reason=why)
            same = (self.key(job), cpu, _dependencies(wheel))
        except (PolywheelError, OSError) as error:
            return self.failure(job, error)
        if same not in earlier:
            test = WheelTest(
                job=job,
                settings=settings,
                wheel=wheel,
                requirements=self._requirements(settings),
                cpu=cpu,
                interpreter=interpreter,
                source=source,
                log=self.log_folder / f"{job.id}.test.log",
                context=self.context,
            )
            earlier[same] = result = self._run(test)
            return result
        result = earlier[same]
        return WheelTestResult(
            job=job.id,
            state=result.state,
            reason=result.reason or f"tested as {result.job}",
            log=result.log,
        )

    def _run(self, test: WheelTest) -> WheelTestResult:
        """Run a test. A test that changes or removes its wheel fails."""
        began = time.monotonic()
        digest = _digest_of_file(test.wheel)
        result = WheelTestResult(job=test.job.id, state=WheelTestState.PASSED)
        try:
            test.run()
        except (PolywheelError, OSError) as error:
            result = self.failure(test.job, error)
        if _digest_of_file(test.wheel) != digest:
            result = replace(
                result,
                state=WheelTestState.FAILED,
                reason="the test has changed the wheel",
                changed_wheel=True,
            )
        return replace(
            result,
            seconds=time.monotonic() - began,
            log=test.log,
            cpu=test.cpu.model if test.cpu is not None else "",
        )

    def failure(self, job: Job, error: PolywheelError | OSError) -> WheelTestResult:
        """Return the result of a test with an error. Raises the error if the run was stopped."""
        if self.context.stop.is_set():
            raise error
        reason = str(error) if isinstance(error, OSError) else error.problems[0].what
        return WheelTestResult(job=job.id, state=WheelTestState.FAILED, reason=reason)

    def _identifier(self, build: Build) -> str | None:
        """Cibuildwheel's identifier of a build; None if it has none."""
        platform = build_platform(self.plan.platform_of(build.target))
        return platform.identifier(build.python) if platform is not None else None

    def _requirements(self, settings: BuildSettings) -> tuple[str, ...]:
        groups = self._groups[settings.test_groups or ()]
        return (*(settings.test_requires or ()), *groups)

    def _cpu(
        self, job: Job, build: Build, settings: BuildSettings, wheel: Path
    ) -> tuple[CpuModel | None, str | None]:
        """The CPU to emulate, or None; and why the test can't run here, or None."""
        if not settings.emulate:
            return None, self._why_unsupported(job, wheel, ignored=())
        machine = self.plan.platform_of(build.target).rpartition("-")[2]
        cpu = oldest_cpu(machine, job.properties)
        why = refuse_emulation() or (cpu if isinstance(cpu, str) else None)
        if why is not None or isinstance(cpu, str):
            return None, f"not emulated: {why}"
        return cpu, self._why_unsupported(job, wheel, ignored=(machine,))

    def _why_unsupported(self, job: Job, wheel: Path, *, ignored: tuple[str, ...]) -> str | None:
        """Why this machine does not support the variant of a wheel; None if it does, or if that is unknown."""
        properties = tuple(prop for prop in job.properties if prop.namespace not in ignored)
        if not properties:
            return None
        with self._lock:
            if properties not in self._unsupported:
                if self._ask is None:
                    at = self.project.file
                    self._ask = create_plugin_runner(at, fresh=False, notify=self.notify)
                metadata = read_variant_metadata(wheel)
                if metadata is None:
                    raise WheelError("the wheel has no variant.json", at=str(wheel))
                self._unsupported[properties] = why_unsupported(metadata, properties, ask=self._ask)
            return self._unsupported[properties]


def _digest_of_file(path: Path) -> str:
    """The digest of a file; empty if it is gone."""
    try:
        return sha256_of(path)
    except OSError:
        return ""


def _dependencies(wheel: Path) -> tuple[str, ...]:
    """The dependencies of a wheel, sorted."""
    return tuple(sorted(map(str, inspect_wheel(wheel).headers.get_all("Requires-Dist") or ())))


def _requirements_of_groups(project: Project, groups: Sequence[str]) -> tuple[str, ...]:
    """The requirements of groups in ``[dependency-groups]`` (PEP 735). Raises ConfigError."""
    if not groups:
        return ()
    from dependency_groups import resolve

    table = project.document.get("dependency-groups")
    known: Mapping[str, Any] = table if isinstance(table, dict) else {}
    at, requirements = f"{project.file}: test-groups", list[str]()
    for group in groups:
        try:
            requirements += resolve(known, group)
        except LookupError:
            what = f"[dependency-groups] has no group {group!r}"
            raise ConfigError(what, at=at, hint=nearest(group, known)) from None
        except (ValueError, TypeError) as error:
            what = f"the group {group!r} of [dependency-groups] can't be read: {error}"
            raise ConfigError(what, at=at) from None
    return tuple(requirements)
