"""``Requires-Python`` as uv regards it: its lower bounds alone.

uv leaves upper bounds and excluded versions out of account, and is lenient with some specifiers that PEP 440
does not know (``>=3.8.*``, ``!=3.0*``). pip takes the specifier at its word, and ignores one that is none.
"""

from __future__ import annotations

import re
from functools import lru_cache

from packaging.specifiers import SpecifierSet
from packaging.version import Version

_CLAUSE = re.compile(
    r"""\s*(?P<operator>===|~=|==|!=|<=|>=|<|>)\s*
    ['"]?v?(?P<release>[0-9]{1,9}(?:\.[0-9]{1,9}){0,9})(?:\.?(?:a|b|rc|dev|post)[0-9]{1,9}){0,3}
    (?:\.?\*)?['"]?\s*""",
    re.VERBOSE,
)
_LOWER = frozenset({"===", "~=", "==", ">=", ">"})


def is_read_by_uv(required: str) -> bool:
    """Whether uv can read a Requires-Python."""
    return _lower_bounds(required) is not None


def refused_by_uv(required: str, python: Version) -> str | None:
    """Why uv does not take what has this Requires-Python, perhaps empty; None where it does."""
    bounds = _lower_bounds(required)
    if bounds is None:
        return f"its Requires-Python {required!r} can't be read"
    release = _short(python.release)
    if any(release < lowest or (release == lowest and strict) for lowest, strict in bounds):
        return f"it requires Python {required}, and this is {python}"
    return None


@lru_cache(maxsize=1024)
def _lower_bounds(required: str) -> tuple[tuple[tuple[int, ...], bool], ...] | None:
    """The lowest versions that clauses allow, and whether each is itself excluded.

    None where a clause can't be read.
    """
    found = []
    for text in filter(str.strip, required.split(",")):
        clause = _CLAUSE.fullmatch(text)
        if clause is None:
            return None
        if clause["operator"] in _LOWER:
            release = tuple(map(int, clause["release"].split(".")))
            found.append((_short(release), clause["operator"] == ">"))
    return tuple(found)


def _short(release: tuple[int, ...]) -> tuple[int, ...]:
    """A release without zeros at its end: 3.11.0 is 3.11."""
    while release and not release[-1]:
        release = release[:-1]
    return release


def refused_by_pip(required: str, python: Version) -> bool:
    """Whether pip does not take it."""
    try:
        return not SpecifierSet(required).contains(python, prereleases=True)
    except ValueError:  # no specifier, or a number of more digits than Python reads
        return False
