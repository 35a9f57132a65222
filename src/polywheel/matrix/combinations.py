"""Create the cells of a matrix: combinations of axes and rows, declared variants, excludes, includes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product

from polywheel.config.reader import Problems
from polywheel.errors import ConfigError, nearest
from polywheel.matrix.cell import Cell, ExpansionState, Labels, row_axes
from polywheel.matrix.patterns import apply_excludes, apply_includes
from polywheel.matrix.platforms import Platform
from polywheel.model.matrix import AxisValue, Matrix
from polywheel.model.variant import NULL_LABEL, Variant

_MAX_FACTORS = 8
"""The maximum number of factors in a message."""
_MAX_COUNT = 10**18
"""Larger numbers of cells are not counted exactly."""


def expand_cells(
    matrix: Matrix,
    platforms: Sequence[Platform],
    declared: Mapping[str, Variant],
    *,
    variant_at: Mapping[str, str],
    problems: Problems,
) -> ExpansionState:
    """The cells of a matrix. ``variant_at`` has the key path of each declared variant."""
    state = ExpansionState(
        matrix=matrix,
        platforms=platforms,
        labels=Labels(matrix, declared, problems),
        problems=problems,
    )
    variants = _select_variants(state, declared)
    state.too_large = _is_too_large(state, len(variants))
    if state.too_large:
        return state
    state.platforms_of = _platforms_of_values(state)
    state.cells = [*_combined_cells(state), *_fixed_cells(state, variants, variant_at)]
    apply_excludes(state)
    for cell in apply_includes(state):
        state.cells.append(cell)
        if len(state.cells) > matrix.max_cells:
            count = f"more than {matrix.max_cells}"
            _report_size(state, count, [("include", len(matrix.include))])
            state.cells, state.too_large = [], True
            break
    return state


def _select_variants(state: ExpansionState, declared: Mapping[str, Variant]) -> list[Variant]:
    matrix = state.matrix
    if matrix.variants is None:
        return [] if matrix.axes else list(declared.values())
    selected: dict[str, Variant] = {}
    for index, glob in enumerate(matrix.variants):
        matching = {name: declared[name] for name in declared if fnmatchcase(name, glob)}
        if not matching:
            state.problems.add(
                f"no declared variant has a label that matches {glob!r}",
                at=f"{matrix.at}.variants[{index}]",
                hint=nearest(glob, declared) or "declare variants under [variant.variants]",
            )
        selected |= matching
    return list(selected.values())


def _is_too_large(state: ExpansionState, variants: int) -> bool:
    """Whether there would be too many cells. This is checked before cells are created."""
    matrix, platforms, in_rows = state.matrix, state.platforms, row_axes(state.matrix)
    factors = [("rows", len(matrix.rows))] if matrix.rows else []
    factors += [(axis, len(matrix.axes[axis])) for axis in matrix.axes if axis not in in_rows]
    # The null variant and the non-variant wheel are not counted.
    count = 1 if factors else 0
    for _, number in factors:
        count = min(count * number, _MAX_COUNT)
    count = (count + variants) * len(platforms)
    if count <= matrix.max_cells:
        return False
    factors += [("declared variants", variants)] if variants else []
    factors.append(("python", len({platform.python for platform in platforms})))
    factors.append(("targets", len({platform.target.name for platform in platforms})))
    _report_size(state, f"{count}" if count < _MAX_COUNT else f"more than {_MAX_COUNT}", factors)
    return True


def _report_size(state: ExpansionState, count: str, factors: Sequence[tuple[str, int]]) -> None:
    texts = [f"{number} of {name}" for name, number in factors]
    texts[_MAX_FACTORS:] = ["…"] if len(texts) > _MAX_FACTORS else []
    state.problems.add(
        f"the matrix has {count} cells, more than the limit of {state.matrix.max_cells} "
        f"({', '.join(texts)})",
        at=state.matrix.at,
        hint="combine axes in rows, remove values, or raise max-cells",
    )


def _platforms_of_values(state: ExpansionState) -> dict[str, frozenset[Platform]]:
    """The platforms of each axis value with a ``when``. A value without platforms is a problem."""
    platforms = {}
    for value in (value for values in state.matrix.axes.values() for value in values):
        if value.when is None:
            continue
        at = f"{value.at}.when"
        try:
            platforms[value.at] = frozenset(
                platform for platform in state.platforms if platform.holds(value.when, at=at)
            )
        except ConfigError as error:
            state.problems.found.extend(error.problems)
            platforms[value.at] = frozenset(state.platforms)
        if not platforms[value.at]:
            state.problems.add(
                f"the marker {value.when!r} is false for every target and Python of the matrix",
                at=at,
                hint="add a target or a Python for which it is true, or remove the value",
            )
    return platforms


def _combined_cells(state: ExpansionState) -> Iterator[Cell]:
    """The cells of all combinations of axis values, on all platforms on which the values exist."""
    for values, at in _combinations(state.matrix):
        axes = {axis: value.name for axis, value in values.items()}
        properties = sorted({prop for value in values.values() for prop in value.properties})
        label = state.labels.create(axes, properties, at=at)
        # If several values do not exist, the first key path is reported, whatever the order of axes.
        ordered = sorted(values.values(), key=lambda value: value.at)
        yield from state.existing_cells(
            state.platforms, ordered, label=label, properties=properties, axes=axes, at=at
        )


def _combinations(matrix: Matrix) -> Iterator[tuple[dict[str, AxisValue], str]]:
    """Each combination of axis values, in the order of the axes, and the key path that declares it."""
    axes = matrix.axes
    if not axes:
        return
    by_name = {axis: {value.name: value for value in values} for axis, values in axes.items()}
    in_rows = row_axes(matrix)
    free = {axis: values for axis, values in axes.items() if axis not in in_rows}
    rows: list[tuple[dict[str, AxisValue], str]] = [
        ({axis: by_name[axis][name] for axis, name in row.values.items()}, row.at)
        for row in matrix.rows
    ]
    for row, at in rows or [({}, f"{matrix.at}.axes")]:
        for values in product(*free.values()):
            combination = row | dict(zip(free, values, strict=True))
            yield {axis: combination[axis] for axis in axes if axis in combination}, at


def _fixed_cells(
    state: ExpansionState, variants: Iterable[Variant], variant_at: Mapping[str, str]
) -> Iterator[Cell]:
    """The cells without axes: declared variants, the null variant, the non-variant wheel."""
    matrix = state.matrix
    for variant in variants:
        for platform in state.platforms:
            yield Cell(
                platform,
                label=variant.label,
                properties=variant.properties,
                axes={},
                at=variant_at[variant.label],
                closed=variant.is_null,
            )
    for key, is_set, label in (("null", matrix.null, NULL_LABEL), ("plain", matrix.plain, None)):
        at = f"{matrix.at}.{key}"
        for platform in state.platforms if is_set else ():
            yield Cell(platform, label=label, properties=(), axes={}, at=at, closed=True)
