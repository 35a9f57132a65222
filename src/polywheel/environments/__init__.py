"""Virtual environments with packages in them: which installer fills them, and how they are kept."""

from __future__ import annotations

from collections.abc import Iterable

from packaging.utils import canonicalize_name

from polywheel.config.checks import parse_requirement


def normalized(requirements: Iterable[str]) -> tuple[str, ...]:
    """Requirements in one spelling, each once, sorted. Raises InvalidRequirement."""
    found = set()
    for text in requirements:
        requirement = parse_requirement(text)
        requirement.name = canonicalize_name(requirement.name)
        found.add(str(requirement))
    return tuple(sorted(found))
