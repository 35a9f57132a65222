"""One cell of a matrix, its label, and what every step of an expansion reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from polywheel.config.reader import Problems
from polywheel.errors import nearest
from polywheel.matrix.platforms import Platform
from polywheel.model.matrix import Matrix
from polywheel.model.plan import Removal
from polywheel.model.setup import placeholders, with_placeholders
from polywheel.model.variant import LABEL, NULL_LABEL, Variant, VariantProperty, variant_hash


class Cell:
    """One wheel that the matrix asks for; what an include adds goes into it, unless it is closed."""

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
        self.values = {**axes, "python": platform.python, "target": platform.target.name}
        """What patterns are held against: as the cell was made, whatever is included later."""
        if label is not None:
            self.values["label"] = label

    def removed(self, by: str, at: str) -> Removal:
        platform = self.platform
        return Removal(
            label=self.label,
            axes=self.axes,
            python=platform.python,
            target=platform.target.name,
            by=by,
            at=at,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpansionContext:
    """What every step of an expansion looks at, and where it notes what it finds."""

    matrix: Matrix
    platforms: Sequence[Platform]
    labels: Labels
    problems: Problems
    removed: list[Removal]
    held: dict[str, frozenset[Platform]]
    """Where the values that have a ``when`` exist, by their key path."""


class Labels:
    """The label of a cell: by the template, else that of a declared variant, else the hash.

    A cell without properties is the null variant, whatever the template says. What is wrong with
    the template is noted once.
    """

    def __init__(self, matrix: Matrix, declared: Mapping[str, Variant], problems: Problems) -> None:
        self._template = matrix.label
        self._axes = matrix.axes
        self._at = f"{matrix.at}.label"
        self._problems = problems
        self._declared = {variant.properties: label for label, variant in declared.items()}
        self._refused = set[str]()
        self.given: set[str] = set(declared)
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
        # Axes that move together in rows are told apart by one of them.
        apart = {tuple(row.values.get(name) for name in named) for row in matrix.rows}
        in_rows = {axis for row in matrix.rows for axis in row.values}
        for axis, values in matrix.axes.items():
            told_by_rows = axis in in_rows and len(apart) == len(matrix.rows)
            if axis not in named and len(values) > 1 and not told_by_rows:
                self._problems.add(
                    f"no placeholder of the label template distinguishes the values of {axis!r}",
                    at=self._at,
                    hint=f"add {{{axis}}} to the template",
                )

    def of(self, axes: Mapping[str, str], properties: Sequence[VariantProperty], *, at: str) -> str:
        """The label of the cell with these values of axes and these properties, sorted."""
        if not properties:
            return NULL_LABEL
        label = self._declared.get(tuple(properties))
        if self._template is None or not axes:
            label = label or variant_hash(properties)
        else:
            missing = [name for name in placeholders(self._template) if name not in axes]
            if missing and missing[0] in self._axes:
                what = f"the label template needs {{{missing[0]}}}, which this cell does not have"
                self._refuse(what, axes, at, f"give its {missing[0]}, or a label")
            label = with_placeholders(self._template, lambda name: axes.get(name, ""))
            if not missing and not LABEL.fullmatch(label):
                what = f"the label template gives {label!r}, and a label may contain only a-z, 0-9, _ and ."
                self._refuse(what, axes, self._at, "rename the value, or change the template")
            if label == NULL_LABEL:
                what = "the label template gives the label 'null' to a variant with properties"
                self._refuse(what, axes, self._at, "rename the value, or change the template")
        self.given.add(label)
        return label

    def _refuse(self, what: str, axes: Mapping[str, str], at: str, hint: str) -> None:
        """Note what is wrong with a label, the first time for each thing."""
        if what not in self._refused:
            self._refused.add(what)
            cell = ", ".join(f"{axis} = {value!r}" for axis, value in axes.items())
            self._problems.add(f"{what} (cell: {cell})", at=at, hint=hint)
