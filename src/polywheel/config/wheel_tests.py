"""The settings of tests, which projects, targets, and overrides have."""

from __future__ import annotations

import re

from polywheel.config.build_values import runner_label
from polywheel.config.declaration import (
    TEXT,
    TEXTS,
    AnyType,
    SettingsTable,
    ValueType,
    by_name,
    duration,
    one_of,
    texts,
)
from polywheel.config.reader import Table
from polywheel.model.matrix import WheelTests

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _command(table: Table, key: str) -> str | None:
    """A shell command. Those of a list run one after the other, as in cibuildwheel."""
    if isinstance(table.data[key], str):
        return table.string(key)
    return " && ".join(table.strings(key) or ())


def _words(separator: str | None) -> ValueType:
    """A list of texts, or one text with them, as in cibuildwheel."""

    def split(table: Table, key: str) -> tuple[str, ...]:
        words = (table.string(key) or "").split(separator)
        return tuple(word.strip() for word in words if word.strip())

    return one_of({str: ValueType(split, TEXT.schema), list: TEXTS}, "a text, or a list of texts")


def _read_runner(table: Table, key: str) -> tuple[str, ...] | None:
    if not table.string(key):
        return ()
    label = table.parsed(key, runner_label)
    return None if label is None else (label,)


RUNNER = one_of(
    {str: ValueType(_read_runner, TEXT.schema), list: texts(runner_label)},
    "a label, or a list of labels",
)
TEST_TYPES: dict[str, AnyType] = {
    "test_command": one_of(
        dict.fromkeys((str, list), ValueType(_command, {})), "a command, or a list of commands"
    )._replace(schema={"anyOf": [TEXT.schema, TEXTS.schema]}),
    "test_requires": _words(None),
    "test_extras": _words(","),
    "test_groups": _words(None),
    "test_sources": _words(None),
    "test_environment": by_name(TEXT, VARIABLE),
    "test_skip": _words(None),
    "test_timeout": duration(),
    "test_runner": RUNNER,
}
WHEEL_TESTS = SettingsTable(None, WheelTests, inherited=TEST_TYPES)
