"""The table of ``polywheel matrix``: one row per variant, one column per target and Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from polywheel.cli import require_rich
from polywheel.matrix.platforms import python_order, this_target
from polywheel.model.plan import NON_VARIANT, Job, Plan
from polywheel.model.variant import VariantProperty
from polywheel.system.terminal import one_line

_Part = tuple[str, str]
"""A text and its style."""
_Row = tuple[str | None, list[str]]
"""A label, and a line for each feature."""

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
    used_targets = {target for job in plan.jobs for target in job.targets}
    columns = [_Column(plan, target) for target in plan.targets if target in used_targets]
    labels = max([len("variant"), *(len(label or NON_VARIANT) for label, _ in rows)])
    room = console.width - labels - len(_GAP)
    joined = [(label, [", ".join(lines)]) for label, lines in rows]
    if _widest(joined) + sum(column.width + len(_GAP) for column in columns) <= room:
        rows = joined
    parts: list[_Part] = []
    for number, group in enumerate(_split_columns(columns, room, _widest(rows))):
        parts += _table(rows, group, marks, labels, with_properties=number == 0)
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

    def __init__(self, plan: Plan, target: str) -> None:
        here = plan.platform_of(target) == this_target()
        self.target = target
        self.heading = target + " (here)" * here
        self.style = "green" * here
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


def _split_columns(
    columns: Iterable[_Column], room: int, properties: int
) -> Iterator[list[_Column]]:
    """Split the columns into tables that fit into ``room``, with at least one column each.

    The first table also has a column of ``properties`` characters.
    """
    group: list[_Column] = []
    left = room - properties
    for column in columns:
        if group and column.width + len(_GAP) > left:
            yield group
            group, left = [], room
        group.append(column)
        left -= column.width + len(_GAP)
    if group:
        yield group


def _table(
    rows: Iterable[_Row],
    columns: Sequence[_Column],
    marks: Mapping[str, str],
    labels: int,
    *,
    with_properties: bool,
) -> Iterator[_Part]:
    """The rows that have a cell in these columns. ``labels`` is the width of the labels."""
    middle = 0
    if with_properties:
        middle = len(_GAP) + max(_widest(rows), len("properties"))
    yield " " * (labels + middle), ""
    for column in columns:
        yield _GAP + column.heading.ljust(column.width), f"bold {column.style}"
    head = "variant".ljust(labels) + (_GAP + "properties" if middle else "").ljust(middle)
    yield f"\n{head}", "bold"
    for column in columns:
        yield _GAP + " ".join(column.pythons).ljust(column.width), f"bold {column.style}"
    for label, lines in rows:
        kinds = [list(column.kinds(label)) for column in columns]
        if not any(map(any, kinds)):
            continue
        yield "\n" + (label or NON_VARIANT).ljust(labels), "" if any(lines) else "italic"
        first, *others = lines if middle and lines else [""]
        yield (_GAP + first if middle else "").ljust(middle), "dim"
        for column, cells in zip(columns, kinds, strict=True):
            centered = [
                (marks[kind] if kind else "").center(len(python))
                for python, kind in zip(column.pythons, cells, strict=True)
            ]
            yield _GAP + " ".join(centered).ljust(column.width), column.style
        for line in others:
            yield "\n" + " " * labels + _GAP + line, "dim"
    yield "\n", ""


def _widest(rows: Iterable[_Row]) -> int:
    return max((len(line) for _, lines in rows for line in lines), default=0)


def _rows(plan: Plan) -> list[_Row]:
    """The non-variant wheel, the null variant, then the variants by label."""
    rows = {job.label: _lines(job.properties) for job in plan.jobs}
    return sorted(rows.items(), key=lambda row: (row[0] is not None, bool(row[1]), row[0] or ""))


def _lines(properties: Iterable[VariantProperty]) -> list[str]:
    """One line per feature, with all its values."""
    by_feature: dict[str, list[str]] = {}
    for prop in properties:
        by_feature.setdefault(f"{prop.namespace} :: {prop.feature}", []).append(prop.value)
    return [f"{feature} :: {', '.join(values)}" for feature, values in by_feature.items()]
