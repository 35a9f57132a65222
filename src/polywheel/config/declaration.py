"""The declaration of settings: types of values, and the tables of ``[tool.polywheel]``.

A setting is declared once, as a field of a dataclass: its name, its default, and below it its meaning. Its type
is that of the annotation, or a narrower one that the :class:`SettingsTable` of the dataclass gives. The reader,
the JSON schema (``schema.py``), and the reference documentation (``reference.py``) come from this declaration.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, Field, fields
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from polywheel.config.reader import (
    LONGEST,
    OBJECT_REFERENCE,
    SIZE,
    Table,
    marker,
    object_reference,
    process_text,
    quotes_hint,
    requirement,
    size,
    type_name,
)
from polywheel.errors import ConfigError, nearest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
Schema = dict[str, Any]
"""A JSON schema. A ``$ref`` in it is a :class:`SettingsTable` or a :class:`Definition`."""


_NONE: Mapping[str, Any] = MappingProxyType({})


class ValueType(NamedTuple):
    """A type of values: how a value is read, and its JSON schema."""

    read: Callable[[Table, str], Any]
    """Read the value of a key that the table has. None if the value is wrong and its problem was added."""

    schema: Schema


class Definition(NamedTuple):
    """A schema with a name, to which other schemas refer."""

    name: str
    schema: Schema


class Setting(NamedTuple):
    """One key of a table."""

    key: str
    field: Field[Any]
    type: AnyType

    @property
    def required(self) -> bool:
        return self.field.default is MISSING and self.field.default_factory is MISSING


class SettingsTable(Generic[T]):
    """A table whose keys are the fields of a dataclass, with hyphens for underscores.

    ``name`` is the name of its JSON schema; without it, the schema stands where the table is used.
    ``fixed`` are the values of fields that are no keys. The fields ``name`` and ``at`` are no keys either: they
    are the last part of the table's path, and its place. ``keys`` has the keys that differ from their field. If
    a key is "", the keys of the field stand in the table itself. ``other_keys`` have a reader of their own.
    ``check`` adds problems of settings that contradict each other. The other arguments are the types of fields
    whose annotation does not tell it; ``inherited`` has those of fields that another table has, too.
    """

    def __init__(
        self,
        name: str | None,
        cls: type[T],
        *,
        fixed: Mapping[str, object] = _NONE,
        keys: Mapping[str, str] = _NONE,
        other_keys: Iterable[str] = (),
        check: Callable[[Table, T], None] | None = None,
        inherited: Mapping[str, AnyType] = _NONE,
        **types: AnyType,
    ) -> None:
        self.name = name
        self.cls = cls
        self.schema: Schema = {"$ref": self}
        self.settings: list[Setting] = []
        self.keys = {*other_keys}
        self._fixed = fixed
        self._check = check
        self._places = {field.name for field in fields(cls)} & {"name", "at"}
        types = {**inherited, **types}
        for field in fields(cls):
            if field.name in self._fixed or field.name in self._places:
                continue
            key = keys.get(field.name, field.name.replace("_", "-"))
            type_ = types.get(field.name) or _BY_ANNOTATION[str(field.type)]
            self.settings.append(Setting(key, field, type_))
            if key:
                self.keys.add(key)
            else:
                self.keys.update(
                    type_.keys if isinstance(type_, SettingsTable) else type_.schema["properties"]
                )

    def read(self, table: Table, key: str) -> T | None:
        """Read the table under ``key``, or with the key "" the keys that stand in ``table`` itself."""
        if not key:
            return self.read_keys(table)
        inner = table.table(key)
        return self.read_table(inner) if isinstance(table.data[key], dict) else None

    def read_table(self, table: Table, **given: object) -> T:
        """Read the whole table. ``given`` are values of fields that are no keys."""
        value = self.read_keys(table, given)
        table.finish(self.keys)
        if self._check is not None:
            self._check(table, value)
        return value

    def read_keys(self, table: Table, given: Mapping[str, object] = _NONE) -> T:
        """Read the keys of a table that may have others."""
        places = {"name": table.path[-1] if table.path else "", "at": table.at()}
        values: dict[str, Any] = {name: places[name] for name in self._places}
        values |= {**self._fixed, **given}
        for setting in self.settings:
            present = not setting.key or setting.key in table.data
            value = setting.type.read(table, setting.key) if present else None
            if value is not None:
                values[setting.field.name] = value
            elif setting.required:
                if not present:
                    table.wrong(setting.key, f"missing key {setting.key!r}")
                values[setting.field.name] = ""  # a problem was added, so the table is not used
        return self.cls(**values)


AnyType = ValueType | SettingsTable[Any]

TEXT = ValueType(Table.string, {"type": "string"})
BOOLEAN = ValueType(Table.boolean, {"type": "boolean"})
TEXTS = ValueType(Table.strings, {"type": "array", "items": TEXT.schema})


def text(parse: Callable[..., object], schema: Schema = TEXT.schema) -> ValueType:
    """A string, as the value ``parse(text, at=…)``."""
    return ValueType(partial(Table.parsed, parse=parse), schema)


def texts(
    parse: Callable[..., object], schema: Schema = TEXT.schema, *, empty: bool = True
) -> ValueType:
    """A list of strings, as different values ``parse(text, at=…)``. ``schema`` is that of a string.

    With ``empty=False``, it must have one.
    """
    several = {"type": "array", "items": schema, "uniqueItems": True}
    least = {} if empty else {"minItems": 1}
    return ValueType(partial(Table.several, parse=parse, empty=empty), {**several, **least})


def pattern_schema(pattern: re.Pattern[str]) -> Schema:
    return {"type": "string", "pattern": f"^({pattern.pattern})$"}


MARKER = text(marker)
MEMORY = text(size, pattern_schema(SIZE))
REFERENCE = text(object_reference, pattern_schema(OBJECT_REFERENCE))
REQUIREMENT = text(requirement)
REQUIREMENTS = texts(requirement)


def names(pattern: re.Pattern[str], *, empty: bool = True) -> ValueType:
    """A list of different names that match a pattern. With ``empty=False``, it must have one."""
    return ValueType(
        partial(Table.names, pattern=pattern, empty=empty),
        texts(str, pattern_schema(pattern), empty=empty).schema,
    )


def matching(pattern: re.Pattern[str], problem: str, hint: str | None = None) -> ValueType:
    """A string that matches a pattern. ``problem`` has ``{!r}`` in place of another string."""

    def parse(value: str, *, at: str) -> str:
        if not pattern.fullmatch(value):
            raise ConfigError(problem.format(value), at=at, hint=hint)
        return value

    return text(parse, pattern_schema(pattern))


def choice(known: Collection[str], noun: str) -> ValueType:
    """One of several strings."""

    def parse(value: str, *, at: str) -> str:
        if value not in known:
            raise ConfigError(f"unknown {noun} {value!r}", at=at, hint=nearest(value, known))
        return value

    return text(parse, {"type": "string", "enum": [*known]})


def duration(most: float = LONGEST) -> ValueType:
    """Seconds, more than 0."""
    schema = {"type": "number", "exclusiveMinimum": 0, "maximum": most}
    return ValueType(partial(Table.seconds, most=most), schema)


def integer(least: int, most: int) -> ValueType:
    """A whole number."""

    def read(table: Table, key: str) -> int | None:
        number = table.number(key)
        if number is not None and (not least <= number <= most or number != int(number)):
            what = f"expected a whole number from {least} to {most}, found {number:g}"
            table.wrong(key, what)
            return None
        return None if number is None else int(number)

    return ValueType(read, {"type": "integer", "minimum": least, "maximum": most})


def one_of(types: Mapping[type, AnyType], expected: str) -> ValueType:
    """A value of one of several types, by the type that its TOML has in Python."""

    def read(table: Table, key: str) -> object:
        value = table.data[key]
        if type(value) in types:
            return types[type(value)].read(table, key)
        hint = quotes_hint(value) if str in types else None
        table.wrong(key, f"expected {expected}, found {type_name(value)}", hint)
        return None

    return ValueType(read, {"anyOf": [type_.schema for type_ in types.values()]})


def by_name(
    value: AnyType,
    pattern: re.Pattern[str] | None = None,
    *,
    reserved: re.Pattern[str] | None = None,
    problem: str = "",
    hint: str | None = None,
) -> ValueType:
    """A table whose keys are names, with values of one type.

    ``problem`` is about a reserved name, which stands for ``{!r}``.
    """

    def read(table: Table, key: str) -> dict[str, Any]:
        inner = table.table(key)
        values = {}
        for name in inner.names_of_tables(pattern) if pattern else inner.every_key():
            if reserved and reserved.fullmatch(name):
                inner.wrong(name, problem.format(name), hint)
            elif (item := value.read(inner, name)) is not None:
                if pattern is None:
                    inner.problems.attempt(process_text, name, at=inner.at(name))
                values[name] = item
        return values

    names: Schema = {"pattern": f"^({pattern.pattern})$"} if pattern else {}
    if reserved:
        names["not"] = {"pattern": f"^({reserved.pattern})$"}
    schema: Schema = {"type": "object", "additionalProperties": value.schema}
    return ValueType(read, schema | ({"propertyNames": names} if names else {}))


def by_known_name(types: Mapping[str, AnyType], noun: str) -> ValueType:
    """A table with some of the keys ``types``."""

    def read(table: Table, key: str) -> dict[str, Any]:
        inner = table.table(key)
        present = [name for name in inner.data if name in types]
        values = {name: types[name].read(inner, name) for name in present}
        inner.finish(types, noun=noun)
        return {name: value for name, value in values.items() if value is not None}

    properties = {name: type_.schema for name, type_ in types.items()}
    schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return ValueType(read, schema)


_BY_ANNOTATION: Mapping[str, AnyType] = {
    **dict.fromkeys(("str", "str | None"), TEXT),
    **dict.fromkeys(("bool", "bool | None"), BOOLEAN),
    **dict.fromkeys(("tuple[str, ...]", "tuple[str, ...] | None"), TEXTS),
    "Mapping[str, str]": by_name(TEXT),
}
