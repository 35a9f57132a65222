"""``exclude`` and ``include``, as GitHub Actions understands them.

https://docs.github.com/en/actions/how-tos/write-workflows/choose-what-workflows-do/run-job-variations

An exclude need name only part of a cell. Excludes come before includes. What an include adds goes
into every cell whose values it does not contradict; where it contradicts every one of them, it is a
cell of its own. A cell that an include made is out of reach of those that follow.

What is polywheel's own: beside the axes, the values of a cell are its ``python``, its ``target`` and its
``label``; what an include can add are ``properties``. The null variant and the non-variant wheel take
none. A cell of its own that leaves out ``python`` or ``target`` stands for each of them, where its
values exist. A value that the matrix has not got is an error, in an include too: it is a misspelling
more often than a new value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from polywheel.errors import nearest
from polywheel.matrix.cell import Cell, ExpansionContext
from polywheel.matrix.platforms import Platform
from polywheel.model.matrix import PLACES, AxisValue, Inclusion, Pattern
from polywheel.model.plan import Removal
from polywheel.model.variant import NULL_LABEL, VariantProperty

T = TypeVar("T")


class _ByValue(Generic[T]):
    """Patterns by one of their values, so that a cell is held against few of them."""

    def __init__(self, patterns: Iterable[tuple[Pattern, T]]) -> None:
        self._by_value: dict[tuple[str, str], list[tuple[int, Pattern, T]]] = {}
        self._for_every: list[tuple[int, Pattern, T]] = []
        self._keys = set[str]()
        for number, (pattern, what) in enumerate(patterns):
            # The label tells most apart, the platform least.
            order = sorted(pattern.values, key=lambda key: (key in PLACES, key != "label", key))
            where = self._for_every
            if order:
                self._keys.add(order[0])
                where = self._by_value.setdefault((order[0], pattern.values[order[0]]), [])
            where.append((number, pattern, what))

    def matching(self, cell: Cell) -> list[T]:
        """What belongs to the patterns that match the cell, in their order."""
        found = list(self._for_every)
        for key in self._keys:
            candidates = self._by_value.get((key, cell.values.get(key, "")))
            if candidates:
                found += [one for one in candidates if one[1].matches(cell.values)]
        if len(found) > 1:
            found.sort(key=lambda one: one[0])
        return [what for _, _, what in found]


def after_excludes(cells: Iterable[Cell], around: ExpansionContext) -> list[Cell]:
    """The cells that no exclude removes; an exclude without effect is noted."""
    excludes = around.matrix.exclude
    known = [one for one in excludes if _platform_exists(one, around)]
    by_value = _ByValue((one, one) for one in known)
    used = set[str]()
    kept = []
    for cell in cells:
        matching = by_value.matching(cell)
        if matching:
            used.update(one.at for one in matching)
            around.removed.append(cell.removed("exclude", matching[0].at))
        else:
            kept.append(cell)
    for pattern in known:
        if pattern.at not in used:
            around.problems.add(
                "the exclude matches no cell: " + _describe_pattern(pattern),
                at=pattern.at,
                hint=_why_not(pattern, around),
            )
    return kept


def _why_not(pattern: Pattern, around: ExpansionContext) -> str:
    if any(pattern.matches(_values(one)) for one in around.removed if one.by == "when"):
        return "a `when` has already removed it"
    label = pattern.values.get("label")
    near = nearest(label, around.labels.given) if label is not None else None
    return near or "no cell has all these values; remove the exclude, or change its values"


def _platform_exists(pattern: Pattern, around: ExpansionContext) -> bool:
    """Whether the matrix has the Python and the target; what it has not is noted."""
    found = True
    for key in PLACES:
        value = pattern.values.get(key)
        known = {platform.values[key] for platform in around.platforms}
        if value is not None and value not in known:
            around.problems.add(
                f"the matrix has no {key} {value!r}",
                at=f"{pattern.at}.{key}",
                hint=nearest(value, known) or f"add it to the {key}s of the matrix first",
            )
            found = False
    return found


def include(base: Sequence[Cell], around: ExpansionContext) -> Iterator[Cell]:
    """Add properties to the cells, and yield those that includes make; one without effect is noted."""
    known = [one for one in around.matrix.include if _platform_exists(one.pattern, around)]
    by_value = _ByValue((one.pattern, number) for number, one in enumerate(known))
    matched, with_effect = set[int](), set[int]()
    for cell in base if known else ():
        numbers = [] if cell.closed else by_value.matching(cell)
        if numbers:
            matched.update(numbers)
            with_effect.update(_extended(cell, [(n, known[n]) for n in numbers], around))
    for number, one in enumerate(known):
        if number not in matched:
            yield from _own_cells(one, around)
        elif number not in with_effect:
            around.problems.add(
                "the include adds nothing: cells with these values exist and already have "
                "its properties",
                at=one.pattern.at,
                hint="remove it, or add properties",
            )


def _extended(
    cell: Cell, includes: Sequence[tuple[int, Inclusion]], around: ExpansionContext
) -> Iterator[int]:
    """Add to a cell what includes give; the numbers of those without which it would lack something.

    What two of them give comes from neither: so their order does not matter.
    """
    givers: dict[VariantProperty, list[int]] = {}
    for number, one in includes:
        for prop in one.properties:
            if prop not in cell.properties:
                givers.setdefault(prop, []).append(number)
    if givers:
        cell.properties = tuple(sorted({*cell.properties, *givers}))
        if cell.axes:
            at = includes[-1][1].pattern.at
            cell.label = around.labels.of(cell.axes, cell.properties, at=at)
    return (numbers[0] for numbers in givers.values() if len(numbers) == 1)


def _own_cells(one: Inclusion, around: ExpansionContext) -> Iterator[Cell]:
    given, at = one.pattern.values, one.pattern.at
    matrix, labels = around.matrix, around.labels
    values = {axis: _value(matrix.axes[axis], given[axis]) for axis in matrix.axes if axis in given}
    axes = {axis: value.name for axis, value in values.items()}
    properties = sorted(
        {*one.properties, *(prop for value in values.values() for prop in value.properties)}
    )
    label = _own_label(given, axes, properties, around, at=at)
    wanted = [
        platform
        for platform in around.platforms
        if all(given.get(key, value) == value for key, value in platform.values.items())
    ]
    missing: AxisValue | None = None
    made = False
    for platform in wanted:
        cell = Cell(platform, label=label, properties=properties, axes=axes, at=at)
        failing = _absent(values.values(), platform, around)
        if failing is None:
            made = True
            yield cell
        else:
            missing = failing
            around.removed.append(cell.removed("when", f"{failing.at}.when"))
    if missing is not None and not made:
        around.problems.add(
            f"the include creates no cell: {missing.name!r} does not exist there",
            at=at,
            hint=f"its marker is {missing.when!r}",
        )
    labels.given.add(label)


def _own_label(
    given: Mapping[str, str],
    axes: Mapping[str, str],
    properties: Sequence[VariantProperty],
    around: ExpansionContext,
    *,
    at: str,
) -> str:
    label = given.get("label")
    if label is None:
        return around.labels.of(axes, properties, at=at)
    if not properties and label != NULL_LABEL:
        around.problems.add(
            f"no cell has the label {label!r}, and the include has no properties to create one",
            at=at,
            hint=nearest(label, around.labels.given) or "add properties to the include",
        )
    elif properties and label == NULL_LABEL:
        around.problems.add(
            "the include gives the label 'null' to a variant with properties",
            at=f"{at}.label",
            hint="'null' is reserved for the variant without properties",
        )
    return label


def _absent(
    values: Iterable[AxisValue], platform: Platform, around: ExpansionContext
) -> AxisValue | None:
    """The first value whose ``when`` does not hold at a platform."""
    return next(
        (one for one in values if one.when is not None and platform not in around.held[one.at]),
        None,
    )


def _value(values: Sequence[AxisValue], name: str) -> AxisValue:
    return next(one for one in values if one.name == name)


def _values(removal: Removal) -> dict[str, str]:
    values = {**removal.axes, "python": removal.python, "target": removal.target}
    return values if removal.label is None else {**values, "label": removal.label}


def _describe_pattern(pattern: Pattern) -> str:
    return ", ".join(f"{key} = {value!r}" for key, value in pattern.values.items())
