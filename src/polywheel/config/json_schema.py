"""Fragments of JSON schemas (draft 7), and the table that a documented dataclass stands for."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, get_type_hints

from polywheel.config.field_texts import class_text, field_texts

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
STRINGS: Schema = {"type": "array", "items": STRING}
TEXTS: Schema = {"type": "object", "additionalProperties": STRING}
_SIMPLE: Mapping[Any, Schema] = {
    str: STRING,
    str | None: STRING,
    bool: {"type": "boolean"},
    bool | None: {"type": "boolean"},
    int: {"type": "integer"},
    tuple[str, ...]: STRINGS,
    tuple[str, ...] | None: STRINGS,
    Mapping[str, str]: TEXTS,
}


def table(
    cls: type,
    left_out: Collection[str] = (),
    instead: Mapping[str, Mapping[str, Schema]] | None = None,
    **shapes: Schema,
) -> Schema:
    """The table that a dataclass stands for.

    ``shapes`` are those of fields that the annotation does not tell, and of keys that are no field;
    ``instead`` gives the keys that TOML has in place of a field. A key must be given where its
    field has no default.
    """
    texts, hints = field_texts(cls), get_type_hints(cls)
    properties: dict[str, Schema] = {}
    required = []
    for one in fields(cls):
        name, text = one.name, texts[one.name]
        if name in left_out:
            continue
        if instead and name in instead:
            for key, schema in instead[name].items():
                properties[key] = {"description": text, **schema}
            continue
        shape = shapes.pop(name, None) or _SIMPLE.get(hints[name])
        if shape is None or not text:
            raise TypeError(f"{cls.__name__}.{name} has no {'text' if shape else 'shape'}")
        properties[_key(name)] = {**shape, "description": text, **_default(one)}
        if one.default is MISSING and one.default_factory is MISSING:
            required.append(_key(name))
    return {
        "type": "object",
        "description": class_text(cls),
        "additionalProperties": False,
        "properties": {**properties, **{_key(name): shape for name, shape in shapes.items()}},
        **({"required": required} if required else {}),
    }


def _key(name: str) -> str:
    return name.replace("_", "-")


def _default(one: Field[Any]) -> Schema:
    """What stands for a key that is not given; nothing and none are not worth saying."""
    plain = isinstance(one.default, (bool, int, float, str))
    return {"default": one.default} if plain else {}


def matching(pattern: re.Pattern[str] | str) -> Schema:
    text = pattern if isinstance(pattern, str) else f"^({pattern.pattern})$"
    return {**STRING, "pattern": text}


def names(pattern: re.Pattern[str]) -> Schema:
    return {"type": "array", "items": matching(pattern), "uniqueItems": True}


def by_name(pattern: re.Pattern[str], shape: Schema) -> Schema:
    return {
        "type": "object",
        "additionalProperties": shape,
        "propertyNames": {"pattern": f"^({pattern.pattern})$"},
    }


def ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}
