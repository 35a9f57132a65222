"""``[tool.polywheel.matrix]`` and ``[tool.polywheel.targets]``."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from polywheel.config.declaration import (
    BOOLEAN,
    MARKER,
    MEMORY,
    TEXT,
    Definition,
    Schema,
    SettingsTable,
    ValueType,
    by_known_name,
    by_name,
    choice,
    duration,
    matching,
    names,
    one_of,
    texts,
)
from polywheel.config.project import Project
from polywheel.config.reader import Problems, Table
from polywheel.errors import nearest
from polywheel.model.matrix import PLATFORM_KEYS, AxisValue, Inclusion, Matrix, Pattern, Target
from polywheel.model.variant import (
    FEATURE,
    LABEL,
    LABEL_GLOB,
    NAMESPACE,
    VALUE,
    VariantProperty,
    check_label,
)

NAME = re.compile(r"[A-Za-z0-9_]+")
TARGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
PYTHON = re.compile(r"3\.(0|[1-9][0-9]{0,2})t?")
VALUE_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_MOST_CELLS = 1_000_000

# --- targets ---

_MARKER_VARIABLES = (
    *("os_name", "sys_platform", "platform_machine", "platform_system"),
    *("platform_release", "platform_version"),
)
TARGET_TABLE = SettingsTable(
    "target",
    Target,
    environment=by_known_name(dict.fromkeys(_MARKER_VARIABLES, TEXT), "platform marker variable"),
    memory_per_job=MEMORY,
    job_timeout=duration(),
)
TARGETS = by_name(TARGET_TABLE, TARGET)

# --- axes ---


_PROPERTY = r"[ \t]*::[ \t]*".join(part.pattern for part in (NAMESPACE, FEATURE, VALUE))
_PROPERTIES = texts(
    VariantProperty.parse, {**TEXT.schema, "pattern": rf"^[ \t]*{_PROPERTY}[ \t]*$"}
)
_AXIS_VALUE = SettingsTable("axis-value", AxisValue, properties=_PROPERTIES, when=MARKER)


def _listed_value(table: Table, key: str) -> AxisValue:
    return AxisValue(name=key, properties=_PROPERTIES.read(table, key), at=table.at(key))


_AXIS = by_name(
    one_of(
        {list: ValueType(_listed_value, _PROPERTIES.schema), dict: _AXIS_VALUE},
        "a list of properties, or a table with properties",
    ),
    VALUE_NAME,
)


def _read_axis(table: Table, name: str) -> tuple[AxisValue, ...]:
    values = _AXIS.read(table, name)
    if table.data[name] == {}:
        table.wrong(name, f"the axis {name!r} has no values", "add a value, or remove the axis")
    return tuple(values.values())


_AXES = by_name(
    ValueType(
        _read_axis,
        {
            "$ref": Definition(
                "axis",
                {
                    "description": "The values of an axis, by name.",
                    **_AXIS.schema,
                    "minProperties": 1,
                },
            )
        },
    ),
    NAME,
    reserved=re.compile("|".join((*PLATFORM_KEYS, "label", "properties", "when"))),
    problem="an axis can't be called {!r}",
    hint="the names of the keys of a cell are reserved",
)

# --- rows, excludes, and includes ---

_AxisValues = Mapping[str, Collection[str] | None]
"""The names of the values by axis. None for an axis that is malformed."""


def _axis_values(table: Table) -> _AxisValues:
    axes = table.data.get("axes")
    named = axes.items() if isinstance(axes, dict) else ()
    return {
        axis: values if isinstance(values, dict) else None
        for axis, values in named
        if axis not in _PLATFORM_SCHEMAS
    }


def _read_pattern(table: Table, axes: _AxisValues, places: Iterable[str]) -> Pattern:
    """Axis values and places by name. Adds problems for values that their axis does not have."""
    values = {}
    for key in (*axes, *places):
        value = table.string(key)
        if value is None:
            continue
        values[key] = value
        known = axes.get(key)
        if known is not None and value not in known:
            table.wrong(key, f"the axis {key!r} has no value {value!r}", nearest(value, known))
    table.finish((*axes, *places))
    if not table.data:
        hint = "add values of axes, or remove the table"
        table.problems.add("the table is empty", at=table.at(), hint=hint)
    return Pattern(values=values, at=table.at())


def _read_inclusion(table: Table, axes: _AxisValues, places: Iterable[str]) -> Inclusion:
    properties = _PROPERTIES.read(table, "properties")
    pattern = _read_pattern(table, axes, places)
    if "label" in pattern.values:
        table.problems.attempt(check_label, pattern.values["label"], at=table.at("label"))
    return Inclusion(pattern=pattern, properties=properties)


def _patterns(
    name: str, read: Callable[..., Any], keys: Mapping[str, Schema], *, unique: bool = True
) -> ValueType:
    """A list of tables whose keys are axes and ``keys``."""
    platform_keys = [key for key in keys if key in _PLATFORM_SCHEMAS]

    def read_all(table: Table, key: str) -> tuple[Any, ...]:
        axes = _axis_values(table)
        return tuple(read(pattern, axes, platform_keys) for pattern in table.tables(key))

    value = {**TEXT.schema, "description": "The name of a value of the axis."}
    schema = {
        **by_name(TEXT, NAME).schema,
        "additionalProperties": value,
        "properties": keys,
        "minProperties": 1,
    }
    items = {"$ref": Definition(name, schema)}
    repeats: Schema = {"uniqueItems": True} if unique else {}
    return ValueType(read_all, {"type": "array", "items": items, **repeats})


_PLATFORM_SCHEMAS: dict[str, Schema] = {
    "python": {**TEXT.schema, "description": "A Python of the matrix."},
    "target": {**TEXT.schema, "description": "A target of the matrix."},
    "label": {**TEXT.schema, "description": "The label of a cell."},
}
_INCLUDE_KEYS: dict[str, Schema] = {
    **_PLATFORM_SCHEMAS,
    "label": {**_PLATFORM_SCHEMAS["label"], "pattern": f"^{LABEL.pattern}$"},
    "properties": {
        **_PROPERTIES.schema,
        "description": "The properties that are added to matching cells, or those of the new cell.",
    },
}

# --- the matrix ---


def _read_max_cells(table: Table, key: str) -> int | None:
    number = table.number(key)
    if number is not None and (not 1 <= number <= _MOST_CELLS or number != int(number)):
        what = f"expected a whole number from 1 to {_MOST_CELLS}, found {number:g}"
        table.wrong(key, what)
        return None
    return None if number is None else int(number)


def _check_matrix(table: Table, matrix: Matrix) -> None:
    """Add problems for rows without a value of an axis, and for rows and excludes that repeat."""
    axes = {axis for row in matrix.rows for axis in row.values}
    for row in matrix.rows:
        for axis in sorted(axes - {*row.values}):
            table.problems.add(
                f"the row has no value for the axis {axis!r}",
                at=row.at,
                hint="every row needs one value for each axis that the rows name",
            )
    for patterns in (matrix.rows, matrix.exclude):
        seen: dict[frozenset[tuple[str, str]], Pattern] = {}
        for pattern in patterns:
            first = seen.setdefault(frozenset(pattern.values.items()), pattern)
            if first is not pattern and pattern.values:
                what = f"duplicate of {first.at.rpartition('.')[2]}"
                table.problems.add(what, at=pattern.at, hint="leave it out")


_AUTO = matching(re.compile("auto"), 'expected "auto", true or false, found {!r}')
_SHARE_BUILDS = one_of({str: _AUTO, bool: BOOLEAN}, '"auto", true or false')._replace(
    schema={"enum": ["auto", True, False]}
)
MATRIX = SettingsTable(
    "matrix",
    Matrix,
    check=_check_matrix,
    python=names(PYTHON),
    targets=names(TARGET),
    variants=names(LABEL_GLOB),
    axes=_AXES,
    rows=_patterns("row", _read_pattern, {}),
    exclude=_patterns("exclude", _read_pattern, _PLATFORM_SCHEMAS),
    include=_patterns("include", _read_inclusion, _INCLUDE_KEYS, unique=False),
    max_cells=ValueType(_read_max_cells, {"type": "integer", "minimum": 1, "maximum": _MOST_CELLS}),
    wheel_tag=choice(("py3-none-any", "py3-none", "abi3", "python"), "wheel tag"),
    share_builds=_SHARE_BUILDS,
)


def read_matrix(project: Project) -> tuple[Matrix, dict[str, Target]]:
    """The matrix of a project, and the targets that it declares. Raises ConfigError."""
    problems = Problems()
    root = Table(project.tables, project.file, (), problems).table("tool").table("polywheel")
    targets = TARGETS.read(root, "targets")
    matrix = MATRIX.read_table(root.table("matrix"))
    problems.raise_all()
    return matrix, targets
