"""Apply ``exclude`` and ``include``, with the rules of GitHub Actions.

https://docs.github.com/en/actions/how-tos/write-workflows/choose-what-workflows-do/run-job-variations

An exclude removes every cell that has all its values. Excludes are applied before includes. An include adds its
properties to every cell whose values it does not contradict. If it contradicts all cells, it creates cells.
Later includes do not change these cells.

Rules of polywheel: besides axis values, a cell has the values ``python``, ``target``, and ``label``. Includes
add ``properties``. The null variant and the non-variant wheel get none. An include that creates cells without
``python`` or ``target`` creates one for each platform on which its values exist. A value that the matrix does
not have is an error, also in an include, because it is usually a misspelling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from polywheel.errors import nearest
from polywheel.matrix.cell import Cell, ExpansionState
from polywheel.model.matrix import PLATFORM_KEYS, Inclusion, Pattern
from polywheel.model.plan import NON_VARIANT
from polywheel.model.variant import NULL_LABEL, VariantProperty


class _PatternIndex:
    """Patterns by one of their values, so that a cell is compared with few of them."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._patterns = patterns
        self._by_value: dict[tuple[str, str] | None, list[int]] = {}
        for number, pattern in enumerate(patterns):
            # Labels distinguish most cells, and platforms the fewest.
            keys = sorted(
                pattern.values, key=lambda key: (key in PLATFORM_KEYS, key != "label", key)
            )
            value = (keys[0], pattern.values[keys[0]]) if keys else None
            self._by_value.setdefault(value, []).append(number)

    def matching(self, cell: Cell) -> list[int]:
        """The numbers of the patterns that match a cell, in their order."""
        numbers = list(self._by_value.get(None, ()))
        for value in cell.values.items():
            candidates = self._by_value.get(value, ())
            numbers += [n for n in candidates if self._patterns[n].matches(cell.values)]
        return sorted(numbers)


def apply_excludes(state: ExpansionState) -> None:
    """Remove cells. An exclude without effect is a problem."""
    excludes = [p for p in state.matrix.exclude if _has_platform(state, p)]
    if not excludes:
        return
    index = _PatternIndex(excludes)
    unused = dict(enumerate(excludes))
    kept = []
    for cell in state.cells:
        numbers = index.matching(cell)
        for number in numbers:
            unused.pop(number, None)
        if numbers:
            state.remove(cell, "exclude", excludes[numbers[0]].at)
        else:
            kept.append(cell)
    state.cells = kept
    for pattern in unused.values():
        values = ", ".join(f"{key} = {value!r}" for key, value in pattern.values.items())
        state.problems.add(
            f"the exclude matches no cell: {values}",
            at=pattern.at,
            hint=_unused_hint(state, pattern),
        )


def _unused_hint(state: ExpansionState, pattern: Pattern) -> str:
    for removal in state.removed:
        values = {**removal.axes, "python": removal.python, "target": removal.target}
        values["label"] = removal.label or NON_VARIANT
        if removal.by == "when" and pattern.matches(values):
            return "a `when` has already removed it"
    label = pattern.values.get("label")
    labels = state.labels.used | {cell.values["label"] for cell in state.cells}
    hint = nearest(label, labels) if label is not None and label not in labels else None
    return hint or "no cell has all these values; remove the exclude, or change its values"


def _has_platform(state: ExpansionState, pattern: Pattern) -> bool:
    """Whether the matrix has the Python and the target of a pattern. Otherwise, problems are added."""
    has_all = True
    for key in PLATFORM_KEYS:
        value = pattern.values.get(key)
        known = {platform.values[key] for platform in state.platforms}
        if value is not None and value not in known:
            state.problems.add(
                f"the matrix has no {key} {value!r}",
                at=f"{pattern.at}.{key}",
                hint=nearest(value, known) or f"add it to the {key}s of the matrix first",
            )
            has_all = False
    return has_all


def apply_includes(state: ExpansionState) -> Iterator[Cell]:
    """Add properties to cells, and yield new cells. An include without effect is a problem."""
    includes = [i for i in state.matrix.include if _has_platform(state, i.pattern)]
    index = _PatternIndex([include.pattern for include in includes])
    matched, effective = set[int](), set[int]()
    for cell in tuple(state.cells) if includes else ():
        numbers = [] if cell.closed else index.matching(cell)
        if numbers:
            matched.update(numbers)
            effective.update(_add_properties(state, cell, {n: includes[n] for n in numbers}))
    for number, include in enumerate(includes):
        if number not in matched:
            yield from _new_cells(state, include)
        elif number not in effective:
            state.problems.add(
                "the include adds nothing: cells with these values exist and already have "
                "its properties",
                at=include.pattern.at,
                hint="remove it, or add properties",
            )


def _add_properties(
    state: ExpansionState, cell: Cell, includes: Mapping[int, Inclusion]
) -> Iterator[int]:
    """Add the properties of includes. Returns the numbers of includes with a property of their own.

    A property of two includes counts for neither, so that their order has no effect.
    """
    origins: dict[VariantProperty, list[int]] = {}
    for number, include in includes.items():
        for prop in include.properties:
            if prop not in cell.properties:
                origins.setdefault(prop, []).append(number)
    if origins:
        cell.properties = tuple(sorted({*cell.properties, *origins}))
        if cell.axes:
            at = [*includes.values()][-1].pattern.at
            cell.label = state.labels.create(cell.axes, cell.properties, at=at)
    return (numbers[0] for numbers in origins.values() if len(numbers) == 1)


def _new_cells(state: ExpansionState, include: Inclusion) -> Iterator[Cell]:
    given, at = include.pattern.values, include.pattern.at
    values = [
        next(value for value in axis_values if value.name == given[axis])
        for axis, axis_values in state.matrix.axes.items()
        if axis in given
    ]
    axes = {axis: given[axis] for axis in state.matrix.axes if axis in given}
    properties = sorted(
        {*include.properties, *(prop for value in values for prop in value.properties)}
    )
    label = _new_label(state, include, axes, properties)
    platforms = [
        platform
        for platform in state.platforms
        if all(given.get(key, value) == value for key, value in platform.values.items())
    ]
    cells = list(
        state.existing_cells(
            platforms, values, label=label, properties=properties, axes=axes, at=at
        )
    )
    yield from cells
    if platforms and not cells:
        # Every platform lacks a value.
        held = state.platforms_of
        missing = next(v for v in values if platforms[-1] not in held.get(v.at, platforms))
        state.problems.add(
            f"the include creates no cell: {missing.name!r} does not exist there",
            at=at,
            hint=f"its marker is {missing.when!r}",
        )
    state.labels.used.add(label)


def _new_label(
    state: ExpansionState,
    include: Inclusion,
    axes: Mapping[str, str],
    properties: Sequence[VariantProperty],
) -> str:
    at, label = include.pattern.at, include.pattern.values.get("label")
    if label is None:
        return state.labels.create(axes, properties, at=at)
    if not properties and label != NULL_LABEL:
        state.problems.add(
            f"no cell has the label {label!r}, and the include has no properties to create one",
            at=at,
            hint=nearest(label, state.labels.used) or "add properties to the include",
        )
    elif properties and label == NULL_LABEL:
        state.problems.add(
            "the include gives the label 'null' to a variant with properties",
            at=f"{at}.label",
            hint="'null' is reserved for the variant without properties",
        )
    return label
