"""Values that several tables hold: requirements and markers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from polywheel.config.reader import Table

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_OBJECT_REFERENCE = re.compile(
    r"[A-Z_]\w*(\.[A-Z_]\w*)*(:[A-Z_]\w*(\.[A-Z_]\w*)*)?", re.ASCII | re.IGNORECASE
)
# What nearly every requirement is: a name, or a name and versions without anything unusual. The parser
# takes longer to import than all that reads a [variant] table.
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_CLAUSE = r"[ \t]*(?:[<>]=?|[=!]=)[ \t]*[0-9]{1,9}(?:\.[0-9]{1,9})*[ \t]*"
_VERSIONED = rf"{_NAME}{_CLAUSE}(?:,{_CLAUSE})*"
_LONG_NUMBER = re.compile(r"[0-9]{640}")
"""Python may be told to read no longer ones (``sys.set_int_max_str_digits``)."""
SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)[ \t]*([kKmMgGtT]?)[iI]?[bB]?")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
LONGEST = 10_000_000
"""Seconds of a time limit."""


def bytes_of(text: str) -> int | None:
    """A size such as ``2G``, ``512 MiB`` or ``1.5g`` in bytes; None for what is none."""
    found = SIZE.fullmatch(text.strip())
    return int(float(found[1]) * _UNITS[found[2].lower()]) or None if found else None


def size(table: Table, key: str) -> str | None:
    """A size as text; None where there is none, or a malformed one, noted."""
    text = table.string(key)
    if text is not None and bytes_of(text) is None:
        table.wrong(key, f"expected a size such as '2G' or '512M', found {text!r}")
        return None
    return text


def seconds(table: Table, key: str, most: float = LONGEST) -> float | None:
    """A time; None where there is none, or one that can't be, noted."""
    value = table.number(key)
    if value is not None and not 0 < value <= most:
        table.wrong(key, f"expected seconds between 0 and {most:g}, found {value:g}")
        return None
    return value


def requirements(table: Table, key: str) -> tuple[str, ...]:
    """A list of requirements (PEP 508); a malformed or repeated one is noted. Empty where there
    is none.
    """
    found: dict[str, None] = {}
    for index, text in enumerate(table.strings(key) or ()):
        at = f"{table.at(key)}[{index}]"
        if why := _malformed(_parse_requirement, text):
            table.problems.add(f"malformed requirement {text!r}: {why}", at=at)
        elif text.strip() in found:
            table.problems.add(f"{text!r} is listed twice", at=at)
        else:
            found[text.strip()] = None
    return tuple(found)


def marker(table: Table, key: str) -> str | None:
    """An environment marker (PEP 508); None where there is none, or a malformed one, noted."""
    text = table.string(key)
    if text is None:
        return None
    if why := _malformed(_parse_marker, text):
        table.wrong(key, f"malformed marker {text!r}: {why}")
        return None
    return text.strip()


def object_reference(table: Table, key: str, expected: str) -> str | None:
    """``module`` or ``module:object``, without the blanks that may stand around the colon."""
    text = table.string(key)
    if text is None:
        return None
    reference = re.sub(r"[ \t]*:[ \t]*", ":", text.strip(" \t"))
    if not _OBJECT_REFERENCE.fullmatch(reference):
        table.wrong(key, f"malformed object reference {text!r}", expected)
        return None
    return reference


def _malformed(parse: Callable[[str], object], text: str) -> str | None:
    """Why a requirement or marker can't be used, in one line; None where it can.

    Both go into header lines of METADATA, so they must be printable: a line break would begin
    another field.
    """
    if not text.isprintable():
        return "it holds a line break or another character that can't be printed"
    if _LONG_NUMBER.search(text):
        return "it holds a number with too many digits"
    try:
        parse(text)
    except ValueError as error:  # InvalidRequirement, InvalidMarker
        return str(error).splitlines()[0]
    except RecursionError:
        return "it is nested too deeply"
    return None


def parse_requirement(text: str) -> Requirement:
    """A requirement. Raises InvalidRequirement, also for one that can't be compared with a version."""
    from packaging.requirements import InvalidRequirement, Requirement

    if _LONG_NUMBER.search(text):
        raise InvalidRequirement("it holds a number with too many digits")
    try:
        return Requirement(text)
    except RecursionError:
        raise InvalidRequirement("it is nested too deeply") from None


def _parse_requirement(text: str) -> None:
    if re.fullmatch(_NAME, text) or re.fullmatch(_VERSIONED, text):
        return
    from packaging.requirements import Requirement

    Requirement(text)


def _parse_marker(text: str) -> None:
    from packaging.markers import Marker

    Marker(text)
