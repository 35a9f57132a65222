"""A plan: what a matrix comes to, cell by cell, and what has to be built for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from polywheel.errors import Problem
from polywheel.model.matrix import Target
from polywheel.model.variant import VariantProperty, variant_settings

NON_VARIANT = "non-variant"
"""Stands for the label of the non-variant wheel in names of jobs; no label has a hyphen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One wheel to be made."""

    id: str
    """``{target}-cp312-{label}``; ``py3`` or ``abi3`` where it serves several Pythons."""

    label: str | None
    """None for the non-variant wheel."""

    properties: tuple[VariantProperty, ...] = ()
    axes: Mapping[str, str] = field(default_factory=dict)
    """The values of the axes that it comes from; empty for declared variants and includes."""

    pythons: tuple[str, ...]
    """The versions that it serves, lowest first; its build says which one builds it."""

    targets: tuple[str, ...]
    """The targets that it serves; its build says which one builds it."""

    build: str
    """The build that it is stamped from."""

    at: str
    """File and key path of what declares it."""

    @property
    def python(self) -> str:
        return self.pythons[0]

    @property
    def target(self) -> str:
        return self.targets[0]

    @property
    def config_settings(self) -> dict[str, str | list[str]]:
        """The config settings by which any build frontend builds this wheel (PEP 517).

        ``python -m build -Cvariant=…``, :mod:`build`, fromager, and pip take them. They are empty for the
        non-variant wheel. The project's backend has to be ``polywheel.backend``.
        """
        return variant_settings(self.label, map(str, self.properties))

    @property
    def cibuildwheel_environment(self) -> dict[str, str]:
        """The ``CIBW_*`` variables by which cibuildwheel builds this wheel.

        Settings of the target (an image, a repair command) are not among them: ``polywheel build
        --frontend cibuildwheel`` adds them. Raises ConfigError for a target that cibuildwheel does not
        know.
        """
        from polywheel.run.executors.cibuildwheel_options import job_environment

        return job_environment(self)

    def values(self) -> dict[str, str]:
        """What it is in every dimension of the matrix, for selection and coverage."""
        return {"python": self.python, "target": self.target, **self.axes}


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """One run of the real backend, and the jobs that are stamped from what it makes."""

    id: str
    """That of its first job."""

    python: str
    target: str
    jobs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EqualVariants:
    """Variants with different properties that ask the same of the build."""

    jobs: tuple[str, ...]
    """The ids of their jobs."""

    problem: Problem
    is_error: bool

    def __str__(self) -> str:
        """What is wrong, where, and what to do, in one line."""
        return f"{self.problem.what} ({self.problem.at}); {self.problem.hint}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """A cell that is not there, and what removed it."""

    label: str | None
    axes: Mapping[str, str]
    python: str
    target: str
    by: str
    """``when`` or ``exclude``."""

    at: str
    """File and key path of what removed it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What has to be built, where, and why; independent of the order of the tables."""

    project: str | None
    """The name of the project, where pyproject.toml says it."""

    namespaces: tuple[str, ...]
    targets: Mapping[str, Target]
    axes: Mapping[str, tuple[str, ...]]
    """The names of the values of each axis, in the order of the tables."""

    jobs: tuple[Job, ...]
    builds: tuple[Build, ...]
    removed: tuple[Removal, ...]
    warnings: tuple[str, ...] = ()
    """What is probably a mistake, each with its place and what to do, in one line."""
    unshared: str | None = None
    """Why jobs that ask the same of the build are builds of their own; None where none are."""

    _by_id: Mapping[str, Job] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {job.id: job for job in self.jobs})

    def builds_for(self, target: str) -> list[Build]:
        """The builds for a target: those that are built there, or whose wheels all serve it as well."""
        return [
            build
            for build in self.builds
            if build.target == target
            or all(
                (job := self.job(one)) is not None and target in job.targets for one in build.jobs
            )
        ]

    def job(self, identifier: str) -> Job | None:
        """The job of an id; None where there is none."""
        return self._by_id.get(identifier)

    def select(
        self,
        *globs: str,
        jobs: Iterable[str] = (),
        pythons: Iterable[str] = (),
        targets: Iterable[str] = (),
    ) -> Plan:
        """The plan with some of its jobs, as ``--select``, ``--only``, ``--python``, and ``--target`` do.

        A job has to match one of the ``globs`` (against its label and its id), one of the ids ``jobs``,
        one of the ``pythons``, and one of the ``targets``; an empty group matches every job. Raises
        ConfigError if an entry matches no job of the plan, and if no job is left.
        """
        from polywheel.matrix.selection import Selection, select

        selection = Selection(
            globs=globs, jobs=tuple(jobs), pythons=tuple(pythons), targets=tuple(targets)
        )
        return select(self, selection)

    def to_json(self) -> str:
        """The plan as a JSON document (docs/plan.md), as ``polywheel matrix --json`` prints it."""
        import json

        from polywheel.matrix.plan_json import plan_as_json

        return json.dumps(plan_as_json(self), indent=2)

    @staticmethod
    def from_json(text: str | bytes) -> Plan:
        """The plan of a JSON document. Raises ConfigError with everything that is wrong in it."""
        from polywheel.matrix.plan_json import parse_plan

        return parse_plan(text)
