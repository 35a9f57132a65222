"""The cells of a matrix, their labels, and the state of an expansion."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from polywheel.config.reader import Problems
from polywheel.errors import nearest
from polywheel.matrix.platforms import Platform
from polywheel.model.matrix import AxisValue, Matrix
from polywheel.model.plan import NON_VARIANT, Removal
from polywheel.model.setup import placeholders, with_placeholders
from polywheel.model.variant import LABEL, NULL_LABEL, Variant, VariantProperty, variant_hash


class Cell:
    """One wheel of the matrix. Includes can add properties to it unless it is closed."""

    __slots__ = ("at", "axes", "closed", "label", "platform", "properties", "values")

    def __init__(
        self,
        platform: Platform,
        *,
        label: str | None,
        properties: Iterable[VariantProperty],
        axes: Mapping[str, str],
        at: str,
        closed: bool = False,
    ) -> None:
        self.platform = platform
        self.closed = closed
        self.label = label
        self.properties = tuple(sorted(set(properties)))
        self.axes = axes
        self.at = at
        self.values = {
            **axes,
            "python": platform.python,
            "target": platform.target.name,
            "label": label or NON_VARIANT,
        }
        """The values that patterns match. Includes do not change them."""

    @property
    def key(self) -> tuple[str | None, str, str]:
        """Label, Python, target. A plan has one cell for each key."""
        return (self.label, self.platform.python, self.platform.target.name)


@dataclass(kw_only=True, slots=True)
class ExpansionState:
    """The state of an expansion: a matrix, its cells so far, and the problems."""

    matrix: Matrix
    platforms: Sequence[Platform]
    labels: Labels
    problems: Problems
    platforms_of: Mapping[str, frozenset[Platform]] = field(default_factory=dict)
    """The platforms on which axis values with a ``when`` exist, by the key path of the value."""

    cells: list[Cell] = field(default_factory=list)
    removed: list[Removal] = field(default_factory=list)
    too_large: bool = False

    def existing_cells(
        self,
        platforms: Iterable[Platform],
        values: Collection[AxisValue],
        *,
        label: str | None,
        properties: Sequence[VariantProperty],
        axes: Mapping[str, str],
        at: str,
    ) -> Iterator[Cell]:
        """One cell for each platform on which all values exist. The others are recorded as removed."""
        conditions = [value for value in values if value.when is not None]
        for platform in platforms:
            cell = Cell(platform, label=label, properties=properties, axes=axes, at=at)
            for value in conditions:
                if platform not in self.platforms_of[value.at]:
                    self.remove(cell, "when", f"{value.at}.when")
                    break
            else:
                yield cell

    def remove(self, cell: Cell, by: str, at: str) -> None:
        """Record that a cell is removed. ``by`` is ``when`` or ``exclude``."""
        label, python, target = cell.key
        self.removed.append(
            Removal(label=label, axes=cell.axes, python=python, target=target, by=by, at=at)
        )


class Labels:
    """Labels of cells: from the template, else from a declared variant, else the variant hash.

    A cell without properties always has the label of the null variant. Each problem of the template is
    reported once.
    """

    def __init__(self, matrix: Matrix, declared: Mapping[str, Variant], problems: Problems) -> None:
        self._template = matrix.label
        self._axes = matrix.axes
        self._at = f"{matrix.at}.label"
        self._problems = problems
        self._declared = {variant.properties: label for label, variant in declared.items()}
        self._reported = set[str]()
        self.used: set[str] = set(declared)
        """Every label so far."""
        if self._template is not None:
            self._check_template(matrix, self._template)

    def _check_template(self, matrix: Matrix, template: str) -> None:
        named = placeholders(template)
        if not matrix.axes:
            self._problems.add(
                "the label template has no effect without axes",
                at=self._at,
                hint="declared variants keep their labels; remove the template, or declare axes",
            )
        for name in named:
            if name not in matrix.axes:
                self._problems.add(
                    f"the label template names {{{name}}}, which is not an axis",
                    at=self._at,
                    hint=nearest(name, matrix.axes),
                )
        # One axis of the rows is enough if its values differ in all rows.
        named_values = {tuple(row.values.get(name) for name in named) for row in matrix.rows}
        rows_differ = len(named_values) == len(matrix.rows)
        axes_of_rows = row_axes(matrix)
        for axis, values in matrix.axes.items():
            in_rows = axis in axes_of_rows and rows_differ
            if axis not in named and len(values) > 1 and not in_rows:
                self._problems.add(
                    f"no placeholder of the label template distinguishes the values of {axis!r}",
                    at=self._at,
                    hint=f"add {{{axis}}} to the template",
                )

    def create(
        self, axes: Mapping[str, str], properties: Sequence[VariantProperty], *, at: str
    ) -> str:
        """The label of a cell with these axis values and sorted properties."""
        if not properties:
            return NULL_LABEL
        if self._template is None or not axes:
            label = self._declared.get(tuple(properties)) or variant_hash(properties)
        else:
            label = self._fill_template(self._template, axes, at)
        self.used.add(label)
        return label

    def _fill_template(self, template: str, axes: Mapping[str, str], at: str) -> str:
        missing = [name for name in placeholders(template) if name not in axes]
        if missing and missing[0] in self._axes:
            what = f"the label template needs {{{missing[0]}}}, which this cell does not have"
            self._report(what, axes, at, f"give its {missing[0]}, or a label")
        label = with_placeholders(template, lambda name: axes.get(name, ""))
        hint = "rename the value, or change the template"
        if not missing and not LABEL.fullmatch(label):
            what = f"the label template gives {label!r}, and a label may contain only a-z, 0-9, _ and ."
            self._report(what, axes, self._at, hint)
        if label == NULL_LABEL:
            what = "the label template gives the label 'null' to a variant with properties"
            self._report(what, axes, self._at, hint)
        return label

    def _report(self, what: str, axes: Mapping[str, str], at: str, hint: str) -> None:
        """Add a problem, once for each text."""
        if what not in self._reported:
            self._reported.add(what)
            cell = ", ".join(f"{axis} = {value!r}" for axis, value in axes.items())
            self._problems.add(f"{what} (cell: {cell})", at=at, hint=hint)


def row_axes(matrix: Matrix) -> set[str]:
    """The axes that the rows of a matrix combine."""
    return {axis for row in matrix.rows for axis in row.values}
