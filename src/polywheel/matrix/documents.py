"""JSON files that a command line names: plans and reports, read with bounds and key paths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from polywheel.config.reader import Problems, Table, type_name
from polywheel.errors import ConfigError, Problem
from polywheel.system.files import unique_keys

MAX_SIZE = 256 * 1024 * 1024
"""Bytes of a file: the plan of a hundred thousand cells takes less."""
MOST_PROBLEMS = 25
"""A file that has more faults than these is another file."""


def read_document(path: Path, shape: int, *, what: str, hint: str, closed: bool) -> Table:
    """The object that a file holds, of that shape; ``what`` it should be, and how to get one.

    With ``closed``, a key that nobody asks for is wrong. Raises ConfigError.
    """
    at = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SIZE + 1)
    except FileNotFoundError:
        raise ConfigError(f"there is no {what} {path}", hint=hint) from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror or error}") from None
    if len(content) > MAX_SIZE:
        raise ConfigError(f"{what}s of more than {MAX_SIZE >> 20} MiB are not read", at=at)
    try:
        document = json.loads(
            content.decode("utf-8"), object_pairs_hook=unique_keys, parse_constant=_no_number
        )
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8: byte {error.start} can't be decoded", at=at) from None
    except json.JSONDecodeError as error:
        where = f"{at}: line {error.lineno}, column {error.colno}"
        raise ConfigError(f"broken JSON: {error.msg}", at=where, hint=hint) from None
    except ValueError as error:  # from the hooks, or a number of more than 4300 digits
        raise ConfigError(f"broken JSON: {error}", at=at) from None
    except RecursionError:
        raise ConfigError("broken JSON: nested too deeply", at=at) from None
    if not isinstance(document, dict):
        raise ConfigError(f"expected a table, found {type_name(document)}", at=at, hint=hint)
    table = Table(document, at, (), Problems(closed=closed))
    found = table.number("shape")
    if found != shape:
        said = "shape is missing" if "shape" not in table else f"expected the shape {shape}"
        raise ConfigError(f"this is no {what}: {said}", at=table.at("shape"), hint=hint)
    return table


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def tables(table: Table, key: str) -> Iterator[Table]:
    """Every table of a list of tables; anything else in it is noted."""
    for index, value in enumerate(table.array(key)):
        name = f"{key}[{index}]"
        if isinstance(value, dict):
            yield Table(value, table.file, (*table.path, name), table.problems)
        else:
            table.problems.add(f"expected a table, found {type_name(value)}", at=table.at(name))


def settle(problems: Problems, *, bear: int = 0) -> None:
    """Raise what was found as one ConfigError, where that is more than ``bear``; the first of it
    where it is much.
    """
    more = len(problems.found) - MOST_PROBLEMS
    if more > 0:
        problems.found[MOST_PROBLEMS:] = [Problem(f"and {more} more")]
    if len(problems.found) > bear:
        problems.settle()
