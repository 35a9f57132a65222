"""Explain why a cell exists or not, with the key paths of the rules that created or removed it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polywheel.config.matrix_table import read_matrix
from polywheel.config.project import Project
from polywheel.errors import ConfigError, nearest
from polywheel.matrix.diff import value_as_text
from polywheel.model.matrix import Matrix
from polywheel.model.plan import NON_VARIANT, Build, Job, Plan, Removal
from polywheel.model.variant import VariantProperty

SHAPE = 1
"""The version of the output of ``--why --json``."""


@dataclass(frozen=True, slots=True)
class Part:
    """An axis value or a property of a cell, and the key path that declares it."""

    name: str
    at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Why a cell, or the wheel of several cells, exists or not."""

    id: str | None
    """The id of the job; None if the cell was removed."""

    label: str
    pythons: tuple[str, ...]
    targets: tuple[str, ...]
    by: str
    """``made``, or what removed it: ``when`` or ``exclude``."""

    at: str
    build: str | None = None
    """The build that its wheel is stamped from."""

    axes: tuple[Part, ...] = ()
    properties: tuple[Part, ...] = ()
    settings: tuple[Part, ...] = ()
    """The settings of its build that overrides set."""


def cell_reasons(project: Project, plan: Plan, name: str) -> tuple[Reason, ...]:
    """The reasons for all cells with a label, or for the cells of a job with an id.

    ``non-variant`` is the label of the non-variant wheel. Raises ConfigError if no such cell exists or was removed.
    """
    matrix = read_matrix(project).matrix
    locations = SourceLocations(project, matrix)
    builds = {build.id: build for build in plan.builds}
    reasons = [
        Reason(
            id=job.id,
            label=job.label or NON_VARIANT,
            pythons=job.pythons,
            targets=job.targets,
            by="made",
            at=job.at,
            build=job.build,
            axes=locations.axis_parts(job.axes),
            properties=tuple(Part(str(p), locations.of_property(p, job)) for p in job.properties),
            settings=override_parts(builds[job.build]),
        )
        for job in plan.jobs
        if name in {job.label or NON_VARIANT, job.id}
    ]
    removals = [
        removal
        for removal in plan.removed
        if name == (removal.label or NON_VARIANT) or name in _possible_ids(removal)
    ]
    reasons += _removal_reasons(removals, locations)
    if not reasons:
        known = {job.label or NON_VARIANT for job in plan.jobs} | {job.id for job in plan.jobs}
        known |= {removal.label or NON_VARIANT for removal in plan.removed}
        raise ConfigError(
            f"{name!r} is no label and no job id of this matrix, and no rule removed it",
            at="--why",
            hint=nearest(name, known) or "polywheel matrix --format labels lists the labels",
        )
    return tuple(reasons)


def _possible_ids(removal: Removal) -> set[str]:
    """The ids of jobs that the removed cell could have been a part of."""
    label = removal.label or NON_VARIANT
    pythons = ("cp" + removal.python.replace(".", ""), "abi3", "py3")
    targets = (removal.target, "any")
    return {f"{target}-{python}-{label}" for target in targets for python in pythons}


class SourceLocations:
    """The key paths that declare axis values and properties."""

    def __init__(self, project: Project, matrix: Matrix) -> None:
        self._matrix = matrix
        self._project = project
        self._axes = {
            (axis, value.name): value for axis, values in matrix.axes.items() for value in values
        }

    def axis_parts(self, axes: Mapping[str, str]) -> tuple[Part, ...]:
        values = ((f"{axis} = {name}", self._axes.get((axis, name))) for axis, name in axes.items())
        return tuple(Part(text, value.at if value else self._matrix.at) for text, value in values)

    def of_property(self, prop: VariantProperty, job: Job) -> str:
        """The key path of the axis value with a property; else of an include, else of the job."""
        for axis, name in job.axes.items():
            value = self._axes.get((axis, name))
            if value and prop in value.properties:
                return value.at
        values: dict[str, tuple[str, ...]] = {axis: (name,) for axis, name in job.axes.items()}
        values |= {"python": job.pythons, "target": job.targets}
        for include in self._matrix.include:
            # The include may have matched the label that the cell had before.
            given = [(key, text) for key, text in include.pattern.values.items() if key != "label"]
            fits = all(text in values.get(key, ()) for key, text in given)
            if prop in include.properties and fits:
                return f"{include.pattern.at}.properties"
        return job.at


def override_parts(build: Build) -> tuple[Part, ...]:
    """The settings of a build that overrides set."""
    parts = []
    for key, at in build.set_by.items():
        name, _, variable = key.partition(".")
        value = getattr(build.settings, name.replace("-", "_"))
        text = value_as_text(value[variable] if variable else value)
        parts.append(Part(f"{key} = {text}", f"{at}.{key}"))
    return tuple(parts)


def _removal_reasons(removals: Iterable[Removal], locations: SourceLocations) -> Iterator[Reason]:
    """One reason for each target and rule, with all Pythons."""
    groups: dict[tuple[object, ...], list[Removal]] = {}
    for removal in removals:
        axes = tuple(removal.axes.items())
        key = (removal.label, axes, removal.target, removal.by, removal.at)
        groups.setdefault(key, []).append(removal)
    for first, *others in groups.values():
        yield Reason(
            id=None,
            label=first.label or NON_VARIANT,
            pythons=tuple(dict.fromkeys(removal.python for removal in (first, *others))),
            targets=(first.target,),
            by=first.by,
            at=first.at,
            axes=locations.axis_parts(first.axes),
        )


def reasons_as_json(reasons: Sequence[Reason]) -> dict[str, Any]:
    """The output of ``polywheel matrix --why LABEL --json``."""
    return {
        "shape": SHAPE,
        "cells": [
            {
                "id": reason.id,
                "label": reason.label,
                "pythons": list(reason.pythons),
                "targets": list(reason.targets),
                "by": reason.by,
                "at": reason.at,
                "build": reason.build,
                "axes": [{"value": part.name, "at": part.at} for part in reason.axes],
                "properties": [{"property": p.name, "at": p.at} for p in reason.properties],
                "settings": [{"setting": p.name, "at": p.at} for p in reason.settings],
            }
            for reason in reasons
        ],
    }


def reasons_as_lines(reasons: Sequence[Reason]) -> Iterator[str]:
    """The same as text."""
    for reason in reasons:
        where = f"{', '.join(reason.targets)}, Python {', '.join(reason.pythons)}"
        if reason.id is None:
            yield f"{reason.label} on {where}: removed by {reason.by}, {reason.at}"
        else:
            yield f"{reason.id}: made by {reason.at}"
            if reason.build != reason.id:
                yield f"  stamped from the build {reason.build}"
            if len(reason.pythons) > 1 or len(reason.targets) > 1:
                yield f"  one wheel for {where}"
        parts = (*reason.axes, *reason.properties, *reason.settings)
        width = max((len(part.name) for part in parts), default=0)
        for part in parts:
            yield f"  {part.name:<{width}}  {part.at}"
