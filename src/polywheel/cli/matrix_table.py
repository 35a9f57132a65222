"""The table of ``polywheel matrix``: variants as rows, the Pythons of each target as columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from polywheel.errors import ConfigError
from polywheel.matrix.platforms import python_order, this_target
from polywheel.model.plan import NON_VARIANT, Job, Plan
from polywheel.model.variant import VariantProperty
from polywheel.system.terminal import one_line

_Part = tuple[str, str]
"""Text, and the style of it."""
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
    """Print a plan; of a ``whole`` one also how many cells its rules have removed.

    Raises ConfigError where rich is missing.
    """
    try:
        from rich.console import Console
        from rich.text import Text
    except ModuleNotFoundError:
        raise ConfigError(
            "a table needs the package rich", hint="install polywheel[cli], or add --json"
        ) from None
    console = Console(highlight=False)
    marks = _MARKS if console.encoding.startswith("utf") else _ASCII
    rows = _rows(plan)
    columns = [_Column(plan, target, this_target()) for target in _targets(plan)]
    between = ", " if _fits_in_one_line(console.width, rows, columns) else "\n"
    parts: list[_Part] = []
    for number, some in enumerate(_that_fit(console.width, rows, columns)):
        parts += _table(rows, some, marks, between=None if number else between)
        parts.append(("\n", ""))
    used = {kind for one in columns for label, _ in rows for kind in one.kinds(label)}
    legend = "; ".join(f"{marks[kind]} {_MEANING[kind]}" for kind in _MARKS if kind in used)
    parts.append((f"{legend}\n" if legend else "", "dim"))
    if whole and plan.removed:
        what = f"cells removed by rules: {len(plan.removed)}; --why LABEL names the rule\n"
        parts.append((what, "dim"))
    parts.append((f"builds: {len(plan.builds)}, wheels: {len(plan.jobs)}", "bold"))
    if plan.unshared is not None:
        why = f"\nbuilds that ask the same are not shared: {one_line(plan.unshared)}"
        parts.append((why, "dim"))
    # Every letter is as wide as another: laid out here, and not by rich, which takes its time.
    console.print(Text.assemble(*parts), soft_wrap=True)


class _Column:
    """A target: its Pythons, and the job of each label on each of them."""

    def __init__(self, plan: Plan, target: str, here: str) -> None:
        self.target = target
        self.heading = target + " (here)" * (target == here)
        self.style = "green" * (target == here)
        self._places = {one.id: (one.python, one.target) for one in plan.builds}
        self.jobs: dict[tuple[str | None, str], Job] = {
            (job.label, python): job
            for job in plan.jobs
            if target in job.targets
            for python in job.pythons
        }
        self.pythons = sorted({python for _, python in self.jobs}, key=python_order)
        self.width = max(len(" ".join(self.pythons)), len(self.heading))

    def kinds(self, label: str | None) -> Iterator[str | None]:
        """What becomes of a label on each Python; None where there is no such cell."""
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
    """Whether there is room for all properties of a variant beside all targets."""
    longest = max((len(", ".join(_lines(properties))) for _, properties in rows), default=0)
    return longest + sum(one.width + len(_GAP) for one in columns) <= _room(width, rows)


def _room(width: int, rows: Sequence[_Row]) -> int:
    """Letters beside the column of labels."""
    return width - _widest(label or NON_VARIANT for label, _ in rows) - len(_GAP)


def _widest(texts: Iterable[str]) -> int:
    return max(map(len, texts), default=0)


def _that_fit(
    width: int, rows: Sequence[_Row], columns: Sequence[_Column]
) -> Iterator[list[_Column]]:
    """Targets by tables that there is room for, one target at least. Only the first table has
    properties.
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
    between: str | None,
) -> Iterator[_Part]:
    """The rows that have a cell here. ``between`` stands between the properties of a variant; they
    are left out where it is None.
    """
    labels = max(_widest(label or NON_VARIANT for label, _ in rows), len("variant"))
    spelled = {
        label: between.join(_lines(properties)).split("\n") if between else [""]
        for label, properties in rows
    }
    widest = _widest(line for lines in spelled.values() for line in lines)
    middle = max(widest, len("properties")) + len(_GAP) if between else 0
    yield " " * (labels + middle), ""
    for one in columns:
        yield _GAP + one.heading.ljust(one.width), f"bold {one.style}"
    head = "variant".ljust(labels) + (_GAP + "properties" if between else "").ljust(middle)
    yield f"\n{head}", "bold"
    for one in columns:
        yield _GAP + " ".join(one.pythons).ljust(one.width), f"bold {one.style}"
    for label, properties in rows:
        kinds = [[*one.kinds(label)] for one in columns]
        if not any(any(some) for some in kinds):
            continue
        yield "\n" + (label or NON_VARIANT).ljust(labels), "" if properties else "italic"
        first, *more = spelled[label]
        yield (_GAP + first if middle else "").ljust(middle), "dim"
        for one, some in zip(columns, kinds, strict=True):
            yield _GAP + _marked(one, some, marks), one.style
        for line in more:
            yield "\n" + " " * labels + _GAP + line, "dim"
    yield "\n", ""


def _marked(column: _Column, kinds: Iterable[str | None], marks: Mapping[str, str]) -> str:
    """A mark under the middle of each Python."""
    texts = [
        (marks[kind] if kind else "").center(len(python))
        for python, kind in zip(column.pythons, kinds, strict=True)
    ]
    return " ".join(texts).ljust(column.width)


def _rows(plan: Plan) -> list[_Row]:
    """The non-variant wheel, the null variant, then the variants by label."""
    found = {job.label: job.properties for job in plan.jobs}
    return sorted(found.items(), key=lambda one: (one[0] is not None, bool(one[1]), one[0] or ""))


def _lines(properties: Iterable[VariantProperty]) -> list[str]:
    """A line a feature, with all its values."""
    values: dict[str, list[str]] = {}
    for prop in properties:
        values.setdefault(f"{prop.namespace} :: {prop.feature}", []).append(prop.value)
    return [f"{feature} :: {', '.join(several)}" for feature, several in values.items()]
