"""The table of ``polywheel matrix``: one row per variant, one column per target and Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from polywheel.cli.output import require_rich
from polywheel.matrix.platforms import python_order, this_target
from polywheel.model.plan import NON_VARIANT, Job, Plan
from polywheel.model.variant import VariantProperty
from polywheel.system.terminal import one_line

_Part = tuple[str, str]
"""A text and its style."""
_Row = tuple[str | None, tuple[VariantProperty, ...]]
"""A label and its properties."""

_MARKS = {"built": "●", "stamped": "○", "served": "·"}
_ASCII = {"built": "#", "stamped": "o", "served": "."}
_MEANING = {
    "built": "built",
    "stamped": "stamped from a build of the same column",
    "served": "served by a wheel of another column",
}
_GAP = "   "


def print_table(plan: Plan, *, whole: bool) -> None:
    """Print a plan. With ``whole``, also print the number of cells that rules removed.

    Raises ConfigError if rich is missing.
    """
    require_rich()
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    marks = _MARKS if console.encoding.startswith("utf") else _ASCII
    rows = _rows(plan)
    columns = [_Column(plan, target, this_target()) for target in _targets(plan)]
    separator = ", " if _fits_in_one_line(console.width, rows, columns) else "\n"
    parts: list[_Part] = []
    for number, some in enumerate(_split_columns(console.width, rows, columns)):
        parts += _table(rows, some, marks, separator=None if number else separator)
        parts.append(("\n", ""))
    used = {kind for column in columns for label, _ in rows for kind in column.kinds(label)}
    legend = "; ".join(f"{marks[kind]} {_MEANING[kind]}" for kind in _MARKS if kind in used)
    parts.append((f"{legend}\n" if legend else "", "dim"))
    if whole and plan.removed:
        removed = f"cells removed by rules: {len(plan.removed)}; --why LABEL shows the rule\n"
        parts.append((removed, "dim"))
    parts.append((f"builds: {len(plan.builds)}, wheels: {len(plan.jobs)}", "bold"))
    if plan.unshared is not None:
        reason = f"\nidentical builds are not shared: {one_line(plan.unshared)}"
        parts.append((reason, "dim"))
    # All characters have the same width, so the table is laid out here. Rich would be slow.
    console.print(Text.assemble(*parts), soft_wrap=True)


class _Column:
    """A target, its Pythons, and the job of each label and Python."""

    def __init__(self, plan: Plan, target: str, here: str) -> None:
        self.target = target
        self.heading = target + " (here)" * (target == here)
        self.style = "green" * (target == here)
        self._places = {build.id: (build.python, build.target) for build in plan.builds}
        self.jobs: dict[tuple[str | None, str], Job] = {
            (job.label, python): job
            for job in plan.jobs
            if target in job.targets
            for python in job.pythons
        }
        self.pythons = sorted({python for _, python in self.jobs}, key=python_order)
        self.width = max(len(" ".join(self.pythons)), len(self.heading))

    def kinds(self, label: str | None) -> Iterator[str | None]:
        """The kind of the cell of a label and each Python; None if there is no such cell."""
        for python in self.pythons:
            job = self.jobs.get((label, python))
            if job is None:
                yield None
            elif self._places[job.build] != (python, self.target):
                yield "served"
            else:
                yield "built" if job.build == job.id else "stamped"


def _targets(plan: Plan) -> list[str]:
    used = {target for job in plan.jobs for target in job.targets}
    return [name for name in plan.targets if name in used]


def _fits_in_one_line(width: int, rows: Sequence[_Row], columns: Sequence[_Column]) -> bool:
    """Whether one line has room for all properties of a variant and all targets."""
    longest = max((len(", ".join(_lines(properties))) for _, properties in rows), default=0)
    return longest + sum(column.width + len(_GAP) for column in columns) <= _room(width, rows)


def _room(width: int, rows: Sequence[_Row]) -> int:
    """The number of characters next to the column of labels."""
    return width - _widest(label or NON_VARIANT for label, _ in rows) - len(_GAP)


def _widest(texts: Iterable[str]) -> int:
    return max(map(len, texts), default=0)


def _split_columns(
    width: int, rows: Sequence[_Row], columns: Sequence[_Column]
) -> Iterator[list[_Column]]:
    """Split the columns into tables that fit the width, with at least one column each.

    Only the first table has properties.
    """
    room = _room(width, rows)
    some: list[_Column] = []
    left = room - _widest(line for _, properties in rows for line in _lines(properties))
    for column in columns:
        if some and column.width + len(_GAP) > left:
            yield some
            some, left = [], room
        some.append(column)
        left -= column.width + len(_GAP)
    if some:
        yield some


def _table(
    rows: Sequence[_Row],
    columns: Sequence[_Column],
    marks: Mapping[str, str],
    *,
    separator: str | None,
) -> Iterator[_Part]:
    """The rows that have a cell in these columns.

    ``separator`` joins the properties of a variant. Without it, properties are left out.
    """
    labels = max(_widest(label or NON_VARIANT for label, _ in rows), len("variant"))
    property_lines = {
        label: separator.join(_lines(properties)).split("\n") if separator else [""]
        for label, properties in rows
    }
    widest = _widest(line for lines in property_lines.values() for line in lines)
    middle = max(widest, len("properties")) + len(_GAP) if separator else 0
    yield " " * (labels + middle), ""
    for column in columns:
        yield _GAP + column.heading.ljust(column.width), f"bold {column.style}"
    head = "variant".ljust(labels) + (_GAP + "properties" if separator else "").ljust(middle)
    yield f"\n{head}", "bold"
    for column in columns:
        yield _GAP + " ".join(column.pythons).ljust(column.width), f"bold {column.style}"
    for label, properties in rows:
        kinds = [[*column.kinds(label)] for column in columns]
        if not any(any(some) for some in kinds):
            continue
        yield "\n" + (label or NON_VARIANT).ljust(labels), "" if properties else "italic"
        first, *more = property_lines[label]
        yield (_GAP + first if middle else "").ljust(middle), "dim"
        for column, some in zip(columns, kinds, strict=True):
            yield _GAP + _marks_of(column, some, marks), column.style
        for line in more:
            yield "\n" + " " * labels + _GAP + line, "dim"
    yield "\n", ""


def _marks_of(column: _Column, kinds: Iterable[str | None], marks: Mapping[str, str]) -> str:
    """The marks of a row in a column, each centered below its Python."""
    texts = [
        (marks[kind] if kind else "").center(len(python))
        for python, kind in zip(column.pythons, kinds, strict=True)
    ]
    return " ".join(texts).ljust(column.width)


def _rows(plan: Plan) -> list[_Row]:
    """The non-variant wheel, the null variant, then the variants by label."""
    rows = {job.label: job.properties for job in plan.jobs}
    return sorted(rows.items(), key=lambda row: (row[0] is not None, bool(row[1]), row[0] or ""))


def _lines(properties: Iterable[VariantProperty]) -> list[str]:
    """One line per feature, with all its values."""
    by_feature: dict[str, list[str]] = {}
    for prop in properties:
        by_feature.setdefault(f"{prop.namespace} :: {prop.feature}", []).append(prop.value)
    return [f"{feature} :: {', '.join(values)}" for feature, values in by_feature.items()]
