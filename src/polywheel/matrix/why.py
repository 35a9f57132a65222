"""Why a cell is there, or is not: the rules that made or removed it, each with its key path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polywheel.config.matrix_table import read_matrix
from polywheel.config.project import Project
from polywheel.errors import ConfigError, nearest
from polywheel.model.matrix import Matrix
from polywheel.model.plan import NON_VARIANT, Job, Plan, Removal
from polywheel.model.variant import VariantProperty

SHAPE = 1
"""The version of what ``--why --json`` prints."""


@dataclass(frozen=True, slots=True)
class Part:
    """A value of an axis or a property that goes into a cell, and where it is declared."""

    name: str
    at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """One cell, or one wheel that stands for several."""

    id: str | None
    """The job; None where the cell was removed."""

    label: str
    pythons: tuple[str, ...]
    targets: tuple[str, ...]
    by: str
    """``made``, or what removed it: ``when``, ``exclude``."""

    at: str
    build: str | None = None
    """The build that its wheel is stamped from."""

    axes: tuple[Part, ...] = ()
    properties: tuple[Part, ...] = ()


def cell_reasons(project: Project, plan: Plan, name: str) -> tuple[Reason, ...]:
    """For every cell with a label, or the cells of the job with an id, why it is there or not.

    ``non-variant`` stands for the non-variant wheel. Raises ConfigError, with the nearest name,
    where there neither is such a cell nor was one removed.
    """
    matrix, _ = read_matrix(project)
    locations = SourceLocations(project, matrix)
    made = [
        _made(job, locations) for job in plan.jobs if name in {job.label or NON_VARIANT, job.id}
    ]
    gone = [
        one for one in plan.removed if name == (one.label or NON_VARIANT) or _could_be(one, name)
    ]
    if not made and not gone:
        known = {job.label or NON_VARIANT for job in plan.jobs} | {job.id for job in plan.jobs}
        known |= {one.label or NON_VARIANT for one in plan.removed}
        raise ConfigError(
            f"no cell has the label {name!r}, no job has the id, and no rule removed such a cell",
            at="--why",
            hint=nearest(name, known) or "polywheel matrix --format labels lists the labels",
        )
    return (*made, *_gone(gone, locations))


def _could_be(removal: Removal, identifier: str) -> bool:
    """Whether the cell would have been (a part of) the job of that id."""
    end, own = removal.label or NON_VARIANT, "cp" + removal.python.replace(".", "")
    return identifier in {
        f"{target}-{python}-{end}"
        for target in (removal.target, "any")
        for python in (own, "abi3", "py3")
    }


class SourceLocations:
    """Where axis values and properties are declared: file and key path."""

    def __init__(self, project: Project, matrix: Matrix) -> None:
        self._matrix = matrix
        self._project = project
        self._axes = {
            (axis, value.name): value for axis, values in matrix.axes.items() for value in values
        }

    def of_axis(self, axis: str, value: str) -> str:
        found = self._axes.get((axis, value))
        return found.at if found else self._matrix.at

    def of_property(self, prop: VariantProperty, cell: Job) -> str:
        """The value of an axis that stands for it; else an include, or what made the cell."""
        for axis, name in cell.axes.items():
            value = self._axes.get((axis, name))
            if value and prop in value.properties:
                return value.at
        values: dict[str, tuple[str, ...]] = {axis: (name,) for axis, name in cell.axes.items()}
        values |= {"python": cell.pythons, "target": cell.targets}
        for one in self._matrix.include:
            # The label that an include names may be that which the cell had before.
            given = [(key, text) for key, text in one.pattern.values.items() if key != "label"]
            if prop in one.properties and all(text in values.get(key, ()) for key, text in given):
                return f"{one.pattern.at}.properties"
        return cell.at


def _made(job: Job, locations: SourceLocations) -> Reason:
    return Reason(
        id=job.id,
        label=job.label or NON_VARIANT,
        pythons=job.pythons,
        targets=job.targets,
        by="made",
        at=job.at,
        build=job.build,
        axes=_axes(job.axes, locations),
        properties=tuple(
            Part(str(prop), locations.of_property(prop, job)) for prop in job.properties
        ),
    )


def _gone(removals: Iterable[Removal], locations: SourceLocations) -> Iterator[Reason]:
    """A reason for each target: what removed a cell for one Python did so for others as well."""
    together: dict[tuple[object, ...], list[Removal]] = {}
    for one in removals:
        key = (one.label, tuple(one.axes.items()), one.target, one.by, one.at)
        together.setdefault(key, []).append(one)
    for several in together.values():
        first = several[0]
        yield Reason(
            id=None,
            label=first.label or NON_VARIANT,
            pythons=tuple(dict.fromkeys(one.python for one in several)),
            targets=(first.target,),
            by=first.by,
            at=first.at,
            axes=_axes(first.axes, locations),
        )


def _axes(axes: Mapping[str, str], locations: SourceLocations) -> tuple[Part, ...]:
    return tuple(
        Part(f"{axis} = {name}", locations.of_axis(axis, name)) for axis, name in axes.items()
    )


def reasons_as_json(found: Sequence[Reason]) -> dict[str, Any]:
    """The shape of ``polywheel matrix --why LABEL --json``."""
    return {
        "shape": SHAPE,
        "cells": [
            {
                "id": one.id,
                "label": one.label,
                "pythons": list(one.pythons),
                "targets": list(one.targets),
                "by": one.by,
                "at": one.at,
                "build": one.build,
                "axes": [{"value": part.name, "at": part.at} for part in one.axes],
                "properties": [{"property": part.name, "at": part.at} for part in one.properties],
            }
            for one in found
        ],
    }


def reasons_as_lines(found: Sequence[Reason]) -> Iterator[str]:
    """The same for people: a line a cell, and what goes into it where that is another than of the
    cell before.
    """
    before: tuple[object, ...] = ()
    for one in found:
        where = f"{', '.join(one.targets)}, Python {', '.join(one.pythons)}"
        if one.id is None:
            yield f"{one.label} on {where}: removed by {one.by}, {one.at}"
        else:
            yield f"{one.id}: made by {one.at}"
            if one.build != one.id:
                yield f"  stamped from the build {one.build}"
            if len(one.pythons) > 1 or len(one.targets) > 1:
                yield f"  one wheel for {where}"
        parts = (one.axes, one.properties)
        if parts != before:
            width = max((len(part.name) for part in (*one.axes, *one.properties)), default=0)
            for part in (*one.axes, *one.properties):
                yield f"  {part.name:<{width}}  {part.at}"
        before = parts
