"""``[tool.polywheel.matrix]``, ``[tool.polywheel.targets]``, and ``[[tool.polywheel.overrides]]``."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from polywheel.config.build_values import container_options, repair_command
from polywheel.config.declaration import (
    BOOLEAN,
    MARKER,
    MEMORY,
    TEXT,
    TEXTS,
    Definition,
    Schema,
    SettingsTable,
    ValueType,
    by_known_name,
    by_name,
    choice,
    duration,
    integer,
    matching,
    names,
    one_of,
    pattern_schema,
    text,
    texts,
)
from polywheel.config.project import Project
from polywheel.config.reader import Problems, Table
from polywheel.config.setup_table import CONFIG_SETTINGS
from polywheel.config.wheel_tests import RUNNER, TEST_TYPES, VARIABLE
from polywheel.errors import ConfigError, closest, nearest
from polywheel.model.matrix import (
    COMMAND_PLACEHOLDERS,
    NO_SETTINGS,
    PLATFORM_KEYS,
    PLATFORM_PLACEHOLDERS,
    AxisValue,
    BuildSettings,
    Credentials,
    Inclusion,
    Matrix,
    Override,
    Pattern,
    Selector,
    Target,
)
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

# --- targets and overrides ---

MARKER_VARIABLES = (
    *("os_name", "sys_platform", "platform_machine", "platform_system"),
    *("platform_release", "platform_version"),
)
_OF_PYTHON = (
    *("python_version", "python_full_version", "implementation_name", "implementation_version"),
    "platform_python_implementation",
)
"""Marker variables that no target can set."""
ENVIRONMENT = by_name(
    TEXT,
    VARIABLE,
    reserved=re.compile("|".join(_OF_PYTHON)),
    problem="{} is a marker variable, which follows from the Python",
    hint="remove it",
)
_CREDENTIALS = SettingsTable(
    None,
    Credentials,
    password_secret=matching(
        VARIABLE, "malformed name of a secret {!r}", "give its name, not its value"
    ),
)
_BUILD_SETTINGS = SettingsTable(
    None,
    BuildSettings,
    inherited=TEST_TYPES,
    runner=RUNNER,
    container_options=text(container_options),
    container_credentials=_CREDENTIALS,
    environment=ENVIRONMENT,
    config_settings=CONFIG_SETTINGS,
    repair_command=text(repair_command),
    memory_per_job=MEMORY,
    job_timeout=duration(),
)


def _check_target(table: Table, target: Target) -> None:
    """Add problems for misspelt marker variables in ``environment``, where they once had to be."""
    variables = table.table("environment")
    for name in target.settings.environment:
        close = closest(name, MARKER_VARIABLES)
        if close and name not in MARKER_VARIABLES and name.islower():
            what = f"unknown marker variable {name!r}"
            variables.wrong(name, what, f"did you mean {close!r}? it belongs in markers")


TARGET_TABLE = SettingsTable(
    "target",
    Target,
    check=_check_target,
    keys={"settings": ""},
    markers=by_known_name(dict.fromkeys(MARKER_VARIABLES, TEXT), "platform marker variable"),
    settings=_BUILD_SETTINGS,
)
TARGETS = by_name(TARGET_TABLE, TARGET)

_SELECTED = one_of(
    {
        str: ValueType(lambda table, key: (table.string(key) or "",), TEXT.schema),
        list: ValueType(
            lambda table, key: table.strings(key, empty=False), {**TEXTS.schema, "minItems": 1}
        ),
    },
    "a value, or a list of values",
)
_VALUES = by_name(_SELECTED, NAME)


def _read_select(table: Table, key: str) -> Selector | None:
    if isinstance(table.data[key], dict):
        values = _VALUES.read(table, key)
        if not table.data[key]:
            table.wrong(key, "the table is empty", "give values of axes, python, or target")
        return Selector(values=values)
    globs = _SELECTED.read(table, key)
    return Selector(globs=globs) if globs is not None else None


_SELECT = one_of(
    dict.fromkeys((str, list, dict), ValueType(_read_select, {})),
    "a glob, a list of globs, or a table of axis values",
)._replace(schema={"anyOf": [*_SELECTED.schema["anyOf"], {**_VALUES.schema, "minProperties": 1}]})


def _check_override(table: Table, override: Override) -> None:
    """Add problems for an override that sets nothing, or the markers of a target."""
    if not (set(table.data) - {"select"}) or (
        not table.problems.found and override.settings == NO_SETTINGS
    ):
        table.problems.add(
            "the override sets nothing", at=table.at(), hint="add a setting, or remove it"
        )
    variables = table.table("environment")
    for name in sorted(override.settings.environment.keys() & set(MARKER_VARIABLES)):
        variables.wrong(name, f"{name} is a marker variable", "set it in the markers of a target")


OVERRIDE_TABLE = SettingsTable(
    "override",
    Override,
    keys={"settings": ""},
    check=_check_override,
    select=_SELECT,
    settings=_BUILD_SETTINGS,
)


def _read_overrides(table: Table, key: str) -> tuple[Override, ...]:
    return tuple(OVERRIDE_TABLE.read_table(override) for override in table.tables(key))


OVERRIDES = ValueType(_read_overrides, {"type": "array", "items": OVERRIDE_TABLE.schema})

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


_RESERVED_AXES = dict.fromkeys(
    (*PLATFORM_KEYS, *PLATFORM_PLACEHOLDERS, *COMMAND_PLACEHOLDERS, "properties", "when")
)
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
    reserved=re.compile("|".join(_RESERVED_AXES)),
    problem="an axis can't be called {!r}",
    hint="the names of the keys of a cell and of placeholders are reserved",
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

_OTHER_SPELLING = re.compile(
    r"(?:cp|py|python)?[- ]*3[.]?([0-9]{1,2})(?:\.[0-9x*]+)?(t?)", re.IGNORECASE
)


def _python(value: str, *, at: str) -> str:
    """A version of Python, such as ``3.13`` or ``3.13t``."""
    if not PYTHON.fullmatch(value):
        other = _OTHER_SPELLING.fullmatch(value)
        close = f"3.{int(other[1])}{other[2].lower()}" if other else ""
        hint = f"did you mean {close!r}?" if close else 'write "3.13", or "3.13t" without the GIL'
        if "pypy" in value.lower() or value.lower().startswith("pp"):
            hint = "PyPy is not supported; remove it"
        raise ConfigError(f"malformed version of Python {value!r}", at=at, hint=hint)
    return value


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
    # Without an entry, the default would apply.
    python=texts(_python, pattern_schema(PYTHON), empty=False),
    targets=names(TARGET, empty=False),
    variants=names(LABEL_GLOB),
    axes=_AXES,
    rows=_patterns("row", _read_pattern, {}),
    exclude=_patterns("exclude", _read_pattern, _PLATFORM_SCHEMAS),
    include=_patterns("include", _read_inclusion, _INCLUDE_KEYS, unique=False),
    max_cells=integer(1, _MOST_CELLS),
    wheel_tag=choice(("py3-none-any", "py3-none", "abi3", "python"), "wheel tag"),
    share_builds=_SHARE_BUILDS,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixTables:
    """The tables of a project that declare its matrix."""

    matrix: Matrix
    targets: Mapping[str, Target]
    """The targets that the project declares, by name."""

    overrides: tuple[Override, ...] = ()


def read_matrix(project: Project) -> MatrixTables:
    """The matrix of a project, with its targets and overrides. Raises ConfigError."""
    problems = Problems()
    root = Table(project.tables, project.file, (), problems).table("tool").table("polywheel")
    tables = MatrixTables(
        targets=TARGETS.read(root, "targets"),
        matrix=MATRIX.read_table(root.table("matrix")),
        overrides=OVERRIDES.read(root, "overrides") if "overrides" in root else (),
    )
    problems.raise_all()
    return tables
