"""A plan: the wheels of a matrix, and the builds that produce them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from polywheel.errors import Problem
from polywheel.model.matrix import NO_SETTINGS, BuildSettings, Target, WheelTests, can_build
from polywheel.model.variant import VariantProperty, variant_settings

NON_VARIANT = "non-variant"
"""The label of the non-variant wheel in ids of jobs. No label has a hyphen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One wheel to build."""

    id: str
    """``{target}-cp312-{label}``; ``py3`` or ``abi3`` if the wheel is for several Pythons."""

    label: str | None
    """None for the non-variant wheel."""

    properties: tuple[VariantProperty, ...] = ()
    axes: Mapping[str, str] = field(default_factory=dict)
    """The names of its values by axis. Empty for declared variants and includes."""

    pythons: tuple[str, ...]
    """The Python versions that the wheel is for, lowest first. The build names the one that builds it."""

    targets: tuple[str, ...]
    """The targets that the wheel is for. The build names the one that builds it."""

    build: str
    """The id of the build whose wheel is stamped."""

    tests: WheelTests | None = None
    """How the wheel is tested; None if the settings of its build say it."""

    at: str
    """The file and key path of its declaration."""

    @property
    def building_pythons(self) -> tuple[str, ...]:
        """The Pythons that can build the wheel. It may be for older ones too."""
        return tuple(filter(can_build, self.pythons))

    @property
    def python(self) -> str:
        """The lowest Python that can build the wheel."""
        return next(iter(self.building_pythons), self.pythons[0])

    @property
    def target(self) -> str:
        return self.targets[0]

    @property
    def config_settings(self) -> dict[str, str | list[str]]:
        """The config settings with which any build frontend builds this wheel (PEP 517).

        They are for ``python -m build -Cvariant=…``, :mod:`build`, fromager, and pip. They are empty for the
        non-variant wheel. The backend of the project must be ``polywheel.backend``.
        """
        return variant_settings(self.label, map(str, self.properties))

    @property
    def cibuildwheel_environment(self) -> dict[str, str]:
        """The ``CIBW_*`` variables with which cibuildwheel builds this wheel.

        They do not include settings of the target (an image, a repair command): ``polywheel build --frontend
        cibuildwheel`` adds those. Raises ConfigError for a target that cibuildwheel does not know.
        """
        from polywheel.run.executors.cibuildwheel_options import job_environment

        return job_environment(self)

    def values(self) -> dict[str, str]:
        """Its values by name: ``python``, ``target``, and all axes."""
        return {"python": self.python, "target": self.target, **self.axes}


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """One run of the real backend, and the jobs whose wheels are stamped from its wheel."""

    id: str
    """The id of its first job."""

    python: str
    target: str
    jobs: tuple[str, ...]
    settings: BuildSettings = NO_SETTINGS
    """Where and how it runs: the settings of its target and of overrides, with placeholders filled in."""

    set_by: Mapping[str, str] = field(default_factory=dict)
    """The key paths of overrides, by the key that they set, such as ``image`` or ``environment.NAME``."""

    setup: Mapping[str, tuple[str, ...]] | None = None
    """The build setup from rules and presets, without that of plugins: values by name, such as ``cflags``,
    ``env.NAME``, ``defines.NAME``, and ``compiler.msvc.cflags`` (only what differs). None if it is unknown, as
    in a plan of an earlier version of polywheel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EqualVariants:
    """Variants with different properties and the same build setup."""

    jobs: tuple[str, ...]
    """The ids of their jobs."""

    problem: Problem
    is_error: bool

    def __str__(self) -> str:
        """The problem, its location, and a hint, in one line."""
        return f"{self.problem.what} ({self.problem.at}); {self.problem.hint}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """A cell that was removed from the matrix."""

    label: str | None
    axes: Mapping[str, str]
    python: str
    target: str
    by: str
    """``when`` or ``exclude``."""

    at: str
    """The file and key path of the marker or exclude."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Jobs and their builds. They do not depend on the order of the tables."""

    project: str | None
    """The name of the project, if pyproject.toml has it."""

    namespaces: tuple[str, ...]
    targets: Mapping[str, Target]
    axes: Mapping[str, tuple[str, ...]]
    """The names of the values of each axis, in the order of the tables."""

    jobs: tuple[Job, ...]
    builds: tuple[Build, ...]
    removed: tuple[Removal, ...]
    warnings: tuple[str, ...] = ()
    """Probable mistakes, each with its location and a hint, in one line."""
    unshared: str | None = None
    """Why jobs with the same build setup do not share a build; None if they do."""

    _by_id: Mapping[str, Job] = field(init=False, repr=False, compare=False)
    _builds_by_id: Mapping[str, Build] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {job.id: job for job in self.jobs})
        object.__setattr__(self, "_builds_by_id", {build.id: build for build in self.builds})

    def platform_of(self, target: str) -> str:
        """Return the name of the platform on which a target is built, such as ``linux-x86_64``."""
        return self.targets[target].platform or target

    def setting_at(self, build: Build, key: str) -> str:
        """Return the key path of a setting of a build: that of an override, or that of its target."""
        return f"{build.set_by.get(key, self.targets[build.target].at)}.{key}"

    def builds_for(self, platform: str) -> list[Build]:
        """Return the builds that can run on a platform.

        These include builds for another one if all their wheels are for this platform too.
        """

        def is_for(target: str) -> bool:
            return self.platform_of(target) == platform

        return [
            build
            for build in self.builds
            if is_for(build.target)
            or all(
                (job := self.job(identifier)) is not None and any(map(is_for, job.targets))
                for identifier in build.jobs
            )
        ]

    def jobs_of(self, build: Build) -> list[Job]:
        """Return the jobs of a build, in its order. A selection of a plan may lack some."""
        return [job for job in map(self.job, build.jobs) if job is not None]

    def settings_of(self, job: Job) -> BuildSettings:
        """Return the settings of the build of a job, with the tests of the job."""
        settings = self._builds_by_id[job.build].settings
        return settings if job.tests is None else settings.with_tests(job.tests)

    def job(self, identifier: str) -> Job | None:
        """Return the job with an id; None if there is none."""
        return self._by_id.get(identifier)

    def select(
        self,
        *globs: str,
        jobs: Iterable[str] = (),
        pythons: Iterable[str] = (),
        targets: Iterable[str] = (),
    ) -> Plan:
        """Return the plan with some of its jobs, as ``--select``, ``--only``, ``--python``, and ``--target`` do.

        A job must match one of the ``globs`` (with its label or its id), one of the ids ``jobs``, one of the
        ``pythons``, and one of the ``targets``. An empty group matches every job. Raises ConfigError if an entry
        matches no job of the plan, or if no job is left.
        """
        from polywheel.matrix.selection import Selection, select

        selection = Selection(
            globs=globs, jobs=tuple(jobs), pythons=tuple(pythons), targets=tuple(targets)
        )
        return select(self, selection, options={})

    def to_json(self) -> str:
        """Return the plan as a JSON document (docs/plan.md), as ``polywheel matrix --json`` prints it."""
        import json

        from polywheel.matrix.plan_json import plan_as_json

        return json.dumps(plan_as_json(self), indent=2)

    @staticmethod
    def from_json(text: str | bytes) -> Plan:
        """Parse the plan of a JSON document. Raises ConfigError with all its problems."""
        from polywheel.matrix.plan_json import parse_plan

        return parse_plan(text)
