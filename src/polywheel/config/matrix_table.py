"""``[tool.polywheel.matrix]`` and ``[tool.polywheel.targets]``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from polywheel.config.project import Project
from polywheel.config.reader import Problems, Table, marker, seconds, size, type_name
from polywheel.errors import nearest
from polywheel.model.matrix import MAX_CELLS, PLACES, AxisValue, Inclusion, Matrix, Pattern, Target
from polywheel.model.variant import VariantProperty, check_label

NAME = re.compile(r"[A-Za-z0-9_]+")
TARGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
PYTHON = re.compile(r"3\.(0|[1-9][0-9]{0,2})t?")
GLOB = re.compile(r"[0-9a-z_.*?\[\]!-]+")
WHEEL_TAGS = ("py3-none-any", "py3-none", "abi3", "python")
VALUE_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_NUMBER = "expected a string, found a number"
_QUOTED = 'write "3.10" in quotes: the number 3.10 is 3.1'
_EMPTY = "add values of axes, or remove the table"
RESERVED = {*PLACES, "label", "properties", "when"}
MARKER_VARIABLES = (
    *("os_name", "sys_platform", "platform_machine", "platform_system"),
    *("platform_release", "platform_version"),
)


def read_matrix(project: Project) -> tuple[Matrix, dict[str, Target]]:
    """The matrix of a project, and the targets that it declares. Raises ConfigError."""
    problems = Problems()
    root = Table(project.tables, project.file, (), problems).table("tool").table("polywheel")
    targets = _targets(root.table("targets"))
    matrix = _matrix(root.table("matrix"))
    problems.raise_all()
    return matrix, targets


def _matrix(table: Table) -> Matrix:
    axes = _axes(table.table("axes"))
    rows = tuple(_patterns(table, "rows", axes, places=()))
    exclude = tuple(_patterns(table, "exclude", axes, places=(*PLACES, "label")))
    named = {key for row in rows for key in row.values}
    for row in rows:
        for axis in sorted(named - {*row.values}):
            table.problems.add(
                f"the row has no value for the axis {axis!r}",
                at=row.at,
                hint="every row needs one value for each axis that the rows name",
            )
    for several in (rows, exclude):
        _note_repeats(several, table.problems)
    matrix = Matrix(
        python=_pythons(table),
        targets=table.names("targets", TARGET),
        variants=table.names("variants", GLOB) if "variants" in table else None,
        axes=axes,
        rows=rows,
        exclude=exclude,
        include=tuple(_inclusions(table, axes)),
        label=table.string("label"),
        null=table.boolean("null", False),
        plain=table.boolean("plain", False),
        max_cells=_max_cells(table),
        wheel_tag=_wheel_tag(table),
        share_builds=_share_builds(table),
        at=table.at(),
    )
    table.finish()
    return matrix


def _pythons(table: Table) -> tuple[str, ...]:
    numbers = [index for index, one in enumerate(table.array("python")) if isinstance(one, float)]
    for index in numbers:
        table.problems.add(_NUMBER, at=f"{table.at('python')}[{index}]", hint=_QUOTED)
    return () if numbers else table.names("python", PYTHON)


def _note_repeats(patterns: Iterable[Pattern], problems: Problems) -> None:
    found: dict[frozenset[tuple[str, str]], Pattern] = {}
    for one in patterns:
        first = found.setdefault(frozenset(one.values.items()), one)
        if first is not one and one.values:
            problems.add(
                f"duplicate of {first.at.rpartition('.')[2]}", at=one.at, hint="leave it out"
            )


def _max_cells(table: Table) -> int:
    number = table.number("max-cells")
    if number is None:
        return MAX_CELLS
    if not 1 <= number <= 1_000_000 or number != int(number):
        table.wrong("max-cells", f"expected a whole number from 1 to 1000000, found {number:g}")
        return MAX_CELLS
    return int(number)


def _share_builds(table: Table) -> bool | Literal["auto"]:
    if not isinstance(table.data.get("share-builds", ""), str):
        return table.boolean("share-builds", True)
    text = table.string("share-builds")
    if text not in {None, "auto"}:
        table.wrong("share-builds", f'expected "auto", true or false, found {text!r}')
    return "auto"


def _wheel_tag(table: Table) -> str | None:
    text = table.string("wheel-tag")
    if text is not None and text not in WHEEL_TAGS:
        hint = nearest(text, WHEEL_TAGS) or "known: " + ", ".join(WHEEL_TAGS)
        table.wrong("wheel-tag", f"unknown wheel tag {text!r}", hint)
    return text


def _axes(table: Table) -> dict[str, tuple[AxisValue, ...]]:
    axes = {}
    for name in table.names_of_tables(NAME):
        if name in RESERVED:
            table.wrong(
                name,
                f"an axis can't be called {name!r}",
                "the names of the keys of a cell are reserved",
            )
            continue
        values = table.table(name)
        found = [_axis_value(values, value) for value in values.names_of_tables(VALUE_NAME)]
        if not found:
            table.wrong(name, f"the axis {name!r} has no values", "add a value, or remove the axis")
        axes[name] = tuple(found)
    return axes


def _axis_value(table: Table, name: str) -> AxisValue:
    value, at = table.data[name], table.at(name)
    if isinstance(value, list):
        return AxisValue(name=name, properties=_properties(table, name), at=at)
    if not isinstance(value, dict):
        table.wrong(
            name,
            f"expected a list of properties, or a table with properties, found {type_name(value)}",
        )
        return AxisValue(name=name, at=at)
    one = table.table(name)
    found = AxisValue(
        name=name, properties=_properties(one, "properties"), when=marker(one, "when"), at=at
    )
    one.finish()
    return found


def _properties(table: Table, key: str) -> tuple[VariantProperty, ...]:
    found: dict[VariantProperty, None] = {}
    for index, text in enumerate(table.strings(key) or ()):
        at = f"{table.at(key)}[{index}]"
        prop = table.problems.attempt(VariantProperty.parse, text, at=at)
        if prop in found:
            table.problems.add(f"'{prop}' is listed twice", at=at)
        if prop is not None:
            found[prop] = None
    return tuple(found)


def _tables(table: Table, key: str) -> Iterator[Table]:
    """Every table of an array of tables."""
    for index, value in enumerate(table.array(key)):
        at = f"{key}[{index}]"
        if isinstance(value, dict):
            yield Table(value, table.file, (*table.path, at), table.problems)
        else:
            table.problems.add(
                f"expected a table, found {type_name(value)}", at=f"{table.at(key)}[{index}]"
            )


def _patterns(
    table: Table, key: str, axes: Mapping[str, tuple[AxisValue, ...]], *, places: tuple[str, ...]
) -> Iterator[Pattern]:
    for one in _tables(table, key):
        values = _pattern_values(one, axes, places)
        if not one.data:
            table.problems.add("the table is empty", at=one.at(), hint=_EMPTY)
        one.finish(also_known=(*axes, *places))
        yield Pattern(values=values, at=one.at())


def _pattern_values(
    table: Table, axes: Mapping[str, tuple[AxisValue, ...]], places: tuple[str, ...]
) -> dict[str, str]:
    """Axis values and places by name; a value that its axis has not got is noted."""
    found = {}
    for key in (*axes, *places):
        if key == "python" and isinstance(table.data.get(key), float):
            table.wrong(key, _NUMBER, _QUOTED)
            continue
        value = table.string(key)
        if value is None:
            continue
        known = [one.name for one in axes.get(key, ())]
        if key in axes and value not in known:
            what = f"the axis {key!r} has no value {value!r}"
            table.wrong(key, what, nearest(value, known))
        else:
            found[key] = value
    return found


def _inclusions(table: Table, axes: Mapping[str, tuple[AxisValue, ...]]) -> Iterator[Inclusion]:
    for one in _tables(table, "include"):
        values = _pattern_values(one, axes, (*PLACES, "label"))
        properties = _properties(one, "properties")
        if "label" in values:
            one.problems.attempt(check_label, values["label"], at=one.at("label"))
        one.finish(also_known=(*axes, *PLACES))
        if not one.data:
            table.problems.add("the table is empty", at=one.at(), hint=_EMPTY)
        yield Inclusion(pattern=Pattern(values=values, at=one.at()), properties=properties)


def _targets(table: Table) -> dict[str, Target]:
    found = {}
    for name in table.names_of_tables(TARGET):
        one = table.table(name)
        found[name] = read_target(one, name)
    return found


def read_target(table: Table, name: str) -> Target:
    """One target, of a project or of those that polywheel knows."""
    environment = table.table("environment")
    target = Target(
        name=name,
        runner=table.string("runner"),
        image=table.string("image"),
        platform_tags=table.strings("platform-tags") or (),
        environment={
            key: value
            for key in environment.every_key()
            if (value := environment.string(key)) is not None
        },
        repair_command=table.string("repair-command"),
        test_command=table.string("test-command"),
        memory_per_job=size(table, "memory-per-job"),
        job_timeout=seconds(table, "job-timeout"),
        at=table.at(),
    )
    for key in target.environment:
        if key not in MARKER_VARIABLES:
            what = f"{key!r} is not a marker variable of a platform"
            environment.wrong(key, what, nearest(key, MARKER_VARIABLES))
    table.finish()
    return target
