"""The cells of a matrix: the product of its axes or rows, declared variants, excludes, includes.

``exclude`` and ``include`` follow GitHub Actions. An exclude need name only part of a cell. Excludes
come before includes. What an include adds goes into every cell of the product whose values it does not
contradict; where it contradicts every one of them, it is a cell of its own. A cell that an include made
is out of reach of those that follow. Beside the axes, the values of a cell are its ``python``, its
``target`` and its ``label``; what an include can add are ``properties``. A cell of its own that leaves
out ``python`` or ``target`` stands for each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

from polywheel.config.reader import Problems
from polywheel.errors import ConfigError, nearest
from polywheel.matrix.labels import Labels
from polywheel.matrix.places import Place
from polywheel.model.matrix import PLACES, AxisValue, Inclusion, Matrix, Pattern
from polywheel.model.plan import Removal
from polywheel.model.properties import VariantProperty
from polywheel.model.variant import Variant


class Cell:
    """One wheel that the matrix asks for; what an include adds goes into it, unless it is closed."""

    __slots__ = ("at", "axes", "closed", "label", "place", "properties", "values")

    def __init__(
        self,
        place: Place,
        *,
        label: str | None,
        properties: Iterable[VariantProperty],
        axes: Mapping[str, str],
        at: str,
        closed: bool = False,
    ) -> None:
        self.place = place
        self.closed = closed
        self.label = label
        self.properties = tuple(sorted(set(properties)))
        self.axes = axes
        self.at = at
        self.values = {**axes, "python": place.python, "target": place.target.name}
        if label is not None:
            self.values["label"] = label

    def removed(self, by: str, at: str) -> Removal:
        place = self.place
        return Removal(
            label=self.label,
            axes=self.axes,
            python=place.python,
            target=place.target.name,
            by=by,
            at=at,
        )


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
        places: Sequence[Place],
        declared: Mapping[str, Variant],
        labels: Labels,
        problems: Problems,
    ) -> None:
        self.matrix = matrix
        self.places = places
        self.labels = labels
        self.problems = problems
        self.removed: list[Removal] = []
        chosen = self._declared(declared)
        if self._too_large(len(chosen)):
            self.cells: list[Cell] = []
            return
        combined = self._combined()
        fixed = list(self._fixed(chosen))
        base = self._after_excludes([*combined, *fixed])
        self.cells = [*base, *self._included(base)]

    def _declared(self, declared: Mapping[str, Variant]) -> list[Variant]:
        globs = self.matrix.variants
        if globs is None:
            return [] if self.matrix.axes else list(declared.values())
        from fnmatch import fnmatchcase

        found: dict[str, Variant] = {}
        for index, glob in enumerate(globs):
            matching = {name: one for name, one in declared.items() if fnmatchcase(name, glob)}
            if not matching:
                self.problems.add(
                    f"no declared variant has a label that matches {glob!r}",
                    at=f"{self.matrix.at}.variants[{index}]",
                    hint=nearest(glob, declared)
                    or "variants are declared under [variant.variants]",
                )
            found |= matching
        return list(found.values())

    def _too_large(self, declared: int) -> bool:
        """Whether there would be too many cells; told before one of them is made."""
        free = [values for axis, values in self.matrix.axes.items() if axis not in self._in_rows()]
        count = len(self.matrix.rows) or 1
        for values in free:
            count *= len(values)
        count = (count if self.matrix.axes else 0) + declared + len(self.matrix.include) + 2
        count *= len(self.places)
        if count - 2 * len(self.places) <= self.matrix.max_cells:
            return False
        self.problems.add(
            f"the matrix has {count} cells and more, over the bound of {self.matrix.max_cells}",
            at=self.matrix.at,
            hint="leave values out, or raise max-cells",
        )
        return True

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

    def _combined(self) -> list[Cell]:
        """The product of combinations and places, but for where a ``when`` does not hold."""
        whens = {
            value.at: [place for place in self.places if self._holds(value, place)]
            for values in self.matrix.axes.values()
            for value in values
            if value.when is not None
        }
        for values in self.matrix.axes.values():
            for value in values:
                if whens.get(value.at) == []:
                    self.problems.add(
                        f"the marker {value.when!r} holds for no target and Python of the matrix",
                        at=f"{value.at}.when",
                    )
        cells = []
        for combination in self._combinations():
            conditions = [value for value in combination.values if value.when is not None]
            for place in self.places:
                cell = Cell(
                    place,
                    label=combination.label,
                    properties=combination.properties,
                    axes=combination.axes,
                    at=combination.at,
                )
                failing = next((one for one in conditions if place not in whens[one.at]), None)
                if failing is None:
                    cells.append(cell)
                else:
                    self.removed.append(cell.removed("when", f"{failing.at}.when"))
        return cells

    def _holds(self, value: AxisValue, place: Place) -> bool:
        try:
            return place.holds(value.when or "", at=f"{value.at}.when")
        except ConfigError as error:
            self.problems.found.extend(error.problems)
            return True

    def _fixed(self, declared: Iterable[Variant]) -> Iterator[Cell]:
        """Declared variants, the null variant, the non-variant wheel: they have no axes."""
        at = self.matrix.at.partition(": ")[0]
        for variant in declared:
            where = f"{at}: variant.variants.{variant.label}"
            for place in self.places:
                yield Cell(
                    place, label=variant.label, properties=variant.properties, axes={}, at=where
                )
        for wanted, label in ((self.matrix.null, "null"), (self.matrix.plain, None)):
            where = f"{self.matrix.at}.{'null' if label else 'plain'}"
            for place in self.places if wanted else ():
                yield Cell(place, label=label, properties=(), axes={}, at=where, closed=True)

    def _after_excludes(self, cells: list[Cell]) -> list[Cell]:
        for pattern in self.matrix.exclude:
            self._check_place(pattern)
        used = set[str]()
        kept = []
        for cell in cells:
            matching = [one for one in self.matrix.exclude if one.matches(cell.values)]
            used.update(one.at for one in matching)
            if matching:
                self.removed.append(cell.removed("exclude", matching[0].at))
            else:
                kept.append(cell)
        for pattern in self.matrix.exclude:
            if pattern.at not in used:
                self.problems.add(
                    "the exclude matches no cell: " + _spelled(pattern),
                    at=pattern.at,
                    hint=self._why_not(pattern),
                )
        return kept

    def _why_not(self, pattern: Pattern) -> str | None:
        if any(pattern.matches(_values(one)) for one in self.removed if one.by == "when"):
            return "a `when` has removed it already"
        label = pattern.values.get("label")
        return nearest(label, self.labels.given) if label is not None else None

    def _check_place(self, pattern: Pattern) -> None:
        """Note a Python or a target that the matrix has not got."""
        for key in PLACES:
            value = pattern.values.get(key)
            known = {place.values[key] for place in self.places}
            if value is not None and value not in known:
                self.problems.add(
                    f"the matrix has no {key} {value!r}",
                    at=f"{pattern.at}.{key}",
                    hint=nearest(value, known),
                )

    def _included(self, base: list[Cell]) -> Iterator[Cell]:
        for one in self.matrix.include:
            self._check_place(one.pattern)
            matching = [
                cell for cell in base if not cell.closed and one.pattern.matches(cell.values)
            ]
            if matching and not one.properties:
                self.problems.add(
                    "the include adds nothing: cells with these values are there, and it gives no "
                    "properties",
                    at=one.pattern.at,
                )
            for cell in matching:
                self._extend(cell, one)
            if not matching:
                yield from self._own_cells(one)

    def _extend(self, cell: Cell, include: Inclusion) -> None:
        cell.properties = tuple(sorted({*cell.properties, *include.properties}))
        if cell.axes:
            cell.label = self.labels.of(cell.axes, cell.properties, at=include.pattern.at)

    def _own_cells(self, include: Inclusion) -> Iterator[Cell]:
        given, at = include.pattern.values, include.pattern.at
        axes = {axis: given[axis] for axis in self.matrix.axes if axis in given}
        properties = list(include.properties)
        for axis, name in axes.items():
            (value,) = (one for one in self.matrix.axes[axis] if one.name == name)
            properties += value.properties
        label = given.get("label")
        if label is None:
            label = self.labels.of(axes, tuple(sorted(set(properties))), at=at)
        elif not properties:
            self.problems.add(
                f"no cell has the label {label!r}, and the include gives no properties for one",
                at=at,
                hint=nearest(label, self.labels.given),
            )
        for place in self.places:
            if all(given.get(key, value) == value for key, value in place.values.items()):
                yield Cell(place, label=label, properties=properties, axes=axes, at=at)


def _values(removal: Removal) -> dict[str, str]:
    values = {**removal.axes, "python": removal.python, "target": removal.target}
    return values if removal.label is None else {**values, "label": removal.label}


def _spelled(pattern: Pattern) -> str:
    return ", ".join(f"{key} = {value!r}" for key, value in pattern.values.items())
