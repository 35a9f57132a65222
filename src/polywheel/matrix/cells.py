"""The cells of a matrix: the product of its axes or rows, declared variants, excludes, includes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product

from polywheel.config.reader import Problems
from polywheel.errors import ConfigError, nearest
from polywheel.matrix.cell import Cell, ExpansionContext, Labels
from polywheel.matrix.patterns import after_excludes, include
from polywheel.matrix.platforms import Platform
from polywheel.model.matrix import AxisValue, Matrix
from polywheel.model.plan import Removal
from polywheel.model.variant import NULL_LABEL, Variant

_LONGEST_LIST = 8
_COUNTED = 10**18
"""Where counting ends: a number that goes on has more digits than anybody reads."""


class Combination:
    """Values of the axes that stand together, wherever they are built."""

    __slots__ = ("at", "axes", "label", "properties", "values")

    def __init__(self, values: Mapping[str, AxisValue], at: str, labels: Labels) -> None:
        self.values = tuple(values.values())
        self.at = at
        self.axes = {axis: value.name for axis, value in values.items()}
        self.properties = tuple(
            sorted({prop for value in self.values for prop in value.properties})
        )
        self.label = labels.of(self.axes, self.properties, at=at)


class Expansion:
    """The cells of a matrix, and what removed the others; problems are noted."""

    def __init__(
        self,
        matrix: Matrix,
        platforms: Sequence[Platform],
        declared: Mapping[str, Variant],
        *,
        variant_at: Mapping[str, str],
        labels: Labels,
        problems: Problems,
    ) -> None:
        """``variant_at`` says where each declared variant stands."""
        self.matrix = matrix
        self.platforms = platforms
        self.labels = labels
        self.problems = problems
        self.removed: list[Removal] = []
        self.cells: list[Cell] = []
        chosen = self._declared(declared)
        self.too_large = self._is_too_large(len(chosen))
        if self.too_large:
            return
        around = ExpansionContext(
            matrix=matrix,
            platforms=platforms,
            labels=labels,
            problems=problems,
            removed=self.removed,
            held=self._held(),
        )
        every = [*self._combined(around.held), *self._fixed(chosen, variant_at)]
        self.cells = after_excludes(every, around)
        bound = matrix.max_cells
        for cell in include(tuple(self.cells), around):
            self.cells.append(cell)
            if len(self.cells) > bound:
                self._note_size(f"more than {bound}", [("include", len(matrix.include))])
                self.cells, self.too_large = [], True
                return

    def _declared(self, declared: Mapping[str, Variant]) -> list[Variant]:
        globs = self.matrix.variants
        if globs is None:
            return [] if self.matrix.axes else list(declared.values())
        found: dict[str, Variant] = {}
        for index, glob in enumerate(globs):
            matching = {name: one for name, one in declared.items() if fnmatchcase(name, glob)}
            if not matching:
                self.problems.add(
                    f"no declared variant has a label that matches {glob!r}",
                    at=f"{self.matrix.at}.variants[{index}]",
                    hint=nearest(glob, declared) or "declare variants under [variant.variants]",
                )
            found |= matching
        return list(found.values())

    def _is_too_large(self, declared: int) -> bool:
        """Whether there would be too many cells; told before one of them is made."""
        matrix, rows = self.matrix, len(self.matrix.rows)
        factors = [("rows", rows)] if rows else []
        in_rows = self._in_rows()
        factors += [(axis, len(one)) for axis, one in matrix.axes.items() if axis not in in_rows]
        # The null variant and the non-variant wheel are not of the product.
        count = 1 if factors else 0
        for _, number in factors:
            count = min(count * number, _COUNTED)
        count = (count + declared) * len(self.platforms)
        if count <= matrix.max_cells:
            return False
        targets = {platform.target.name for platform in self.platforms}
        pythons = {platform.python for platform in self.platforms}
        factors += [("declared variants", declared)] if declared else []
        factors += [("python", len(pythons)), ("targets", len(targets))]
        self._note_size(f"{count}" if count < _COUNTED else f"more than {_COUNTED}", factors)
        return True

    def _note_size(self, count: str, factors: Sequence[tuple[str, int]]) -> None:
        spelled = [f"{number} of {name}" for name, number in factors[:_LONGEST_LIST]]
        spelled += ["…"] if len(factors) > _LONGEST_LIST else []
        self.problems.add(
            f"the matrix has {count} cells, more than the limit of {self.matrix.max_cells} "
            f"({', '.join(spelled)})",
            at=self.matrix.at,
            hint="combine axes in rows, remove values, or raise max-cells",
        )

    def _in_rows(self) -> set[str]:
        return {axis for row in self.matrix.rows for axis in row.values}

    def _combinations(self) -> Iterator[Combination]:
        axes = self.matrix.axes
        if not axes:
            return
        by_name = {axis: {one.name: one for one in values} for axis, values in axes.items()}
        in_rows = self._in_rows()
        free = {axis: values for axis, values in axes.items() if axis not in in_rows}
        starts: list[tuple[dict[str, AxisValue], str]] = [
            ({axis: by_name[axis][name] for axis, name in row.values.items()}, row.at)
            for row in self.matrix.rows
        ] or [({}, f"{self.matrix.at}.axes")]
        for start, at in starts:
            for values in product(*free.values()):
                found = {**start, **dict(zip(free, values, strict=True))}
                yield Combination(
                    {axis: found[axis] for axis in axes if axis in found}, at, self.labels
                )

    def _held(self) -> dict[str, frozenset[Platform]]:
        """Where the values that have a ``when`` exist; one that exists nowhere is noted."""
        held = {}
        for values in self.matrix.axes.values():
            for value in values:
                if value.when is None:
                    continue
                held[value.at] = self._holding(value, value.when)
                if not held[value.at]:
                    self.problems.add(
                        f"the marker {value.when!r} is false for every target and Python of the matrix",
                        at=f"{value.at}.when",
                        hint="add a target or a Python for which it is true, or remove the value",
                    )
        return held

    def _holding(self, value: AxisValue, when: str) -> frozenset[Platform]:
        try:
            return frozenset(
                platform
                for platform in self.platforms
                if platform.holds(when, at=f"{value.at}.when")
            )
        except ConfigError as error:
            self.problems.found.extend(error.problems)
            return frozenset(self.platforms)

    def _combined(self, held: Mapping[str, frozenset[Platform]]) -> Iterator[Cell]:
        """The product of combinations and platforms, but for where a ``when`` does not hold."""
        for combination in self._combinations():
            # Of several that do not hold, the same one is named whatever the order of the axes.
            conditions = sorted(
                (value for value in combination.values if value.when is not None),
                key=lambda value: value.at,
            )
            for platform in self.platforms:
                cell = Cell(
                    platform,
                    label=combination.label,
                    properties=combination.properties,
                    axes=combination.axes,
                    at=combination.at,
                )
                failing = next((one for one in conditions if platform not in held[one.at]), None)
                if failing is None:
                    yield cell
                else:
                    self.removed.append(cell.removed("when", f"{failing.at}.when"))

    def _fixed(self, declared: Iterable[Variant], at: Mapping[str, str]) -> Iterator[Cell]:
        """Declared variants, the null variant, the non-variant wheel: they have no axes."""
        for variant in declared:
            for platform in self.platforms:
                yield Cell(
                    platform,
                    label=variant.label,
                    properties=variant.properties,
                    axes={},
                    at=at[variant.label],
                    closed=variant.is_null,
                )
        for wanted, label in ((self.matrix.null, NULL_LABEL), (self.matrix.plain, None)):
            where = f"{self.matrix.at}.{'null' if label else 'plain'}"
            for platform in self.platforms if wanted else ():
                yield Cell(platform, label=label, properties=(), axes={}, at=where, closed=True)
