"""Values that several tables hold: requirements and markers."""

from __future__ import annotations

import re
from collections.abc import Callable

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement

from polywheel.config.reader import Table

_OBJECT_REFERENCE = re.compile(
    r"[A-Z_]\w*(\.[A-Z_]\w*)*(:[A-Z_]\w*(\.[A-Z_]\w*)*)?", re.ASCII | re.IGNORECASE
)


def requirements(table: Table, key: str) -> tuple[str, ...]:
    """A list of requirements (PEP 508); a malformed or repeated one is noted. Empty where there
    is none.
    """
    found: dict[str, None] = {}
    for index, text in enumerate(table.strings(key) or ()):
        at = f"{table.at(key)}[{index}]"
        if why := _malformed(Requirement, text):
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
    if why := _malformed(Marker, text):
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
    try:
        parse(text)
    except (InvalidRequirement, InvalidMarker) as error:
        return str(error).splitlines()[0]
    except RecursionError:
        return "it is nested too deeply"
    return None
