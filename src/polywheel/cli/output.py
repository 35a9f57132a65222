"""The output of commands: messages, results as text or JSON, and lists with a maximum length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from polywheel.errors import ConfigError, Problem
from polywheel.system.terminal import print_json, print_lines

SHAPE = 1
"""The version of the output of ``--json``. All commands have the same."""


def print_result(lines: Iterable[str], document: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a result: its lines, or a JSON document with the version of its format."""
    if as_json:
        print_json({"shape": SHAPE, **document})
    else:
        print_lines(lines)


def problem_as_json(problem: Problem) -> dict[str, str | None]:
    return {"what": problem.what, "at": problem.at, "hint": problem.hint}


def require_rich() -> None:
    """Raise ConfigError if the package rich, which prints tables, is missing."""
    from importlib.util import find_spec  # for tables only

    if find_spec("rich") is None:
        raise ConfigError(
            "the table needs the package rich", hint="install polywheel[cli], or use --json"
        )
