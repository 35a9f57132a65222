"""Generate ``matrix/schema/polywheel.schema.json`` and the tables of ``docs/reference.md`` from the declarations.

``python -m polywheel.config.reference``, at the root of a checkout, writes both; a test compares.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polywheel.config.declaration import Schema
from polywheel.config.schema import tool_schema

SCHEMA = "matrix/schema/polywheel.schema.json"
REFERENCE = "docs/reference.md"
_TABLE = re.compile(r"(<!-- (?:settings: ([a-z.-]+)|known targets) -->\n\n)(?:\|.*\n)*")
"""A comment that names a table, and the table below it."""


def generated(root: Path) -> dict[str, str]:
    """The content of both files, by their path in a checkout."""
    schema = tool_schema()
    targets = tomllib.loads((root / "matrix" / "targets.toml").read_text(encoding="utf-8"))
    text = (root / REFERENCE).read_text(encoding="utf-8")
    return {
        SCHEMA: json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
        REFERENCE: with_tables(text, schema, targets),
    }


def with_tables(text: str, schema: Schema, known_targets: Mapping[str, Any]) -> str:
    """The text of ``docs/reference.md`` with new tables."""

    def new_table(match: re.Match[str]) -> str:
        name = match[2]
        if name is None:
            rows = _target_rows(known_targets)
        elif name == "tool.polywheel":
            rows = _rows(schema)
        else:
            table = schema["definitions"][name]
            objects = (part for part in table.get("anyOf", ()) if part["type"] == "object")
            rows = _rows(next(objects, table))
        return match[1] + "".join(f"{row}\n" for row in rows)

    return _TABLE.sub(new_table, text)


def _capitalized(text: str) -> str:
    """The text with a capital letter, and without the name of the table."""
    text = text.partition("]`: ")[2] or text
    return text[:1].upper() + text[1:]


def _rows(table: Schema) -> Iterator[str]:
    """The rows of a table of keys. Keys that differ only in their names share a row."""
    yield "| key | value | meaning |"
    yield "|---|---|---|"
    required = table.get("required", ())
    rows: dict[str, list[str]] = {}
    for key, shape in table["properties"].items():
        notes = [_capitalized(shape.get("description", ""))]
        if key in required:
            notes.append("Required.")
        if "default" in shape:
            notes.append(f"Default: `{json.dumps(shape['default'])}`.")
        meaning = " ".join(filter(None, notes)).replace("|", "\\|")
        rows.setdefault(f"{_words(shape)} | {meaning}", []).append(f"`{key}`")
    if isinstance(other := table.get("additionalProperties"), dict):
        rows[f"{_words(other)} | {other['description']}"] = ["the name of an axis"]
    for row, keys in rows.items():
        yield f"| {' '.join(keys)} | {row} |"


def _words(shape: Schema) -> str:
    """The type of a value in words."""
    if "$ref" in shape:
        return "string or table" if shape["$ref"].endswith("method") else "table"
    if "anyOf" in shape:
        return " or ".join(dict.fromkeys(_words(part) for part in shape["anyOf"]))
    if "enum" in shape:
        return ", ".join(f"`{json.dumps(value)}`" for value in shape["enum"])
    kind: str = shape["type"]
    if kind == "array":
        return f"list of {_several(_words(shape['items']))}"
    values = shape.get("additionalProperties")
    if kind == "object" and isinstance(values, dict) and "$ref" not in values:
        return f"table of {_several(_words(values))}"
    return {"boolean": "true or false", "integer": "whole number", "object": "table"}.get(
        kind, kind
    )


def _several(words: str) -> str:
    """``strings or lists of strings`` for ``string or list of strings``."""
    alternatives = (word.partition(" ") for word in words.split(" or "))
    return " or ".join(f"{first}s{blank}{rest}" for first, blank, rest in alternatives)


def _target_rows(known: Mapping[str, Any]) -> Iterator[str]:
    yield "| known target | runner | image |"
    yield "|---|---|---|"
    for name, target in known.items():
        image = f"`{target['image']}`" if "image" in target else ""
        yield f"| `{name}` | `{target['runner']}` | {image} |"


if __name__ == "__main__":
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for name, text in generated(root).items():
        (root / name).write_text(text, encoding="utf-8", newline="\n")
