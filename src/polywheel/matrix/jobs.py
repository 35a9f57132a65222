"""From cells to jobs and builds: what is one wheel, and what is one run of the backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from polywheel.config.reader import Problems
from polywheel.matrix.builds import BuildKeys
from polywheel.matrix.cell import Cell
from polywheel.matrix.places import python_order
from polywheel.matrix.wheel_tag import WheelTag
from polywheel.model.plan import NON_VARIANT, Build, Job


@dataclass(frozen=True, kw_only=True, slots=True)
class Jobs:
    """The jobs of a matrix and their builds."""

    jobs: tuple[Job, ...]
    builds: tuple[Build, ...]
    same: tuple[tuple[str, ...], ...]
    """Sets of jobs, by id, that ask the same of their builds, whether or not they share one."""

    unshared: str | None
    """Why jobs that ask the same do not share a build; None where they do, or none do."""


def jobs_and_builds(
    cells: Sequence[Cell],
    keys: BuildKeys,
    tag: WheelTag,
    *,
    unshared: Callable[[], str | None],
    problems: Problems,
) -> Jobs:
    """Cells that are one wheel are one job; jobs that ask the same of the build are one build.

    ``unshared`` says why each job is a build of its own all the same, or None. It is asked if jobs
    would share a build.
    """
    wheels: dict[tuple[str | None, str | None, str], list[Cell]] = {}
    for cell in cells:
        python, target = cell.place.python, cell.place.target.name
        together = tag.serves_together(python)
        key = (cell.label, None if tag.any_target else target, together or python)
        wheels.setdefault(key, []).append(cell)
    builds: dict[tuple[object, ...], list[_Wheel]] = {}
    for (_, _, served), members in wheels.items():
        if len(members) > 1:
            # A place of one of the cells: the lowest Python need not be there for the first target.
            members.sort(key=lambda one: (python_order(one.place.python), one.place.target.name))
        wheel = _Wheel(members, served, tag)
        first = wheel.first
        asks = keys.of(first)
        other = next((one for one in members[1:] if keys.of(one) != asks), None)
        if other is not None:
            _note_two_builds(first, other, tag, problems)
        builds.setdefault((first.place.target.name, first.place.python, asks), []).append(wheel)
    groups = list(builds.values())
    for group in groups:
        group.sort(key=lambda one: one.order)
    groups.sort(key=lambda group: group[0].order)
    same = tuple(tuple(one.id for one in group) for group in groups if len(group) > 1)
    why = unshared() if len(groups) < len(wheels) else None
    if why is not None:
        groups = [[wheel] for group in groups for wheel in group]
    jobs, found = _ordered(groups)
    return Jobs(jobs=jobs, builds=found, same=same, unshared=why)


class _Wheel:
    """Cells that are one wheel: the first place builds it."""

    __slots__ = ("first", "id", "members", "order")

    def __init__(self, members: Sequence[Cell], served: str, tag: WheelTag) -> None:
        self.members = members
        self.first = first = members[0]
        short = served if served in {"py3", "abi3"} else "cp" + served.replace(".", "")
        place = "any" if tag.any_target else first.place.target.name
        self.id = f"{place}-{short}-{first.label or NON_VARIANT}"
        # Targets, then Pythons, then the non-variant wheel, the null variant, and labels.
        kind = 0 if first.label is None else 1 if not first.properties else 2
        python = python_order(first.place.python)
        self.order = (first.place.target.name, python, kind, first.label or "")

    def job(self, build: str) -> Job:
        first, places = self.first, [one.place for one in self.members]
        targets = sorted({one.target.name for one in places})
        return Job(
            id=self.id,
            label=first.label,
            properties=first.properties,
            axes=first.axes,
            pythons=tuple(sorted({one.python for one in places}, key=python_order)),
            targets=tuple(dict.fromkeys((places[0].target.name, *targets))),
            build=build,
            at=first.at,
        )


def _note_two_builds(one: Cell, other: Cell, tag: WheelTag, problems: Problems) -> None:
    """Note a wheel that is to serve two places where setup rules ask different things."""
    problems.add(
        f"one wheel ({tag.kind}) of the variant {one.label!r} is for Python {one.place.python} on "
        f"{one.place.target.name} and Python {other.place.python} on {other.place.target.name}, "
        "and setup rules with `when` ask different things of its build there",
        at=one.at,
        hint='let the rules not depend on the place, or say wheel-tag = "python"',
    )


def _ordered(groups: Iterable[list[_Wheel]]) -> tuple[tuple[Job, ...], tuple[Build, ...]]:
    """Jobs with the id of their build, and the builds; both in an order of their own."""
    wheels: list[tuple[_Wheel, str]] = []
    builds = []
    for group in groups:
        first = group[0]
        wheels += [(one, first.id) for one in group]
        place = first.first.place
        build = Build(
            id=first.id,
            python=place.python,
            target=place.target.name,
            jobs=tuple(one.id for one in group),
        )
        builds.append((first.order, build))
    wheels.sort(key=lambda one: one[0].order)
    builds.sort(key=lambda one: one[0])
    return tuple(one.job(build) for one, build in wheels), tuple(build for _, build in builds)
