"""Virtual environments with packages in them: which installer fills them, and how they are kept."""

from __future__ import annotations

from collections.abc import Iterable

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def normalized(requirements: Iterable[str]) -> tuple[str, ...]:
    """Requirements in one spelling, each once, sorted. Raises InvalidRequirement."""
    found = set()
    for text in requirements:
        requirement = Requirement(text)
        requirement.name = canonicalize_name(requirement.name)
        found.add(str(requirement))
    return tuple(sorted(found))
