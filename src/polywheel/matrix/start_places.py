"""For which Pythons and targets a project's wheels are, as its metadata says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from polywheel.matrix.places import python_order, running_python
from polywheel.matrix.targets import known_targets

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""Those that get wheels where a project does not list its own."""

TARGETS = ("linux-x86_64", "linux-aarch64", "macos-arm64", "windows-x86_64")
"""Those that most projects have wheels for."""

_CLASSIFIER = re.compile(r"Programming Language :: Python :: (3\.[1-9][0-9]?)")
_SYSTEMS = {
    "Operating System :: POSIX :: Linux": ("linux",),
    "Operating System :: MacOS": ("darwin",),
    "Operating System :: Microsoft": ("win32",),
    "Operating System :: POSIX": ("linux", "darwin"),
    "Operating System :: Unix": ("linux", "darwin"),
}
"""``sys_platform`` by classifier; the longest one that fits counts."""


def pythons(project: Mapping[str, Any]) -> tuple[str, ...]:
    """The versions that ``[project]`` names in its classifiers, as far as requires-python lets it;
    else those of today that requires-python lets it have.
    """
    found = [_CLASSIFIER.fullmatch(text) for text in _classifiers(project)]
    named = sorted({one[1] for one in found if one}, key=python_order)
    allowed = _allowed(project.get("requires-python"))
    for versions in (named, PYTHONS):
        fitting = tuple(one for one in versions if _fits(one, allowed))
        if fitting:
            return fitting
    every = (f"3.{minor}" for minor in range(6, 100))
    return (next((one for one in every if _fits(one, allowed)), running_python()),)


def targets(project: Mapping[str, Any]) -> tuple[str, ...]:
    """The usual targets, but for systems that the classifiers of ``[project]`` leave out."""
    systems: set[str] = set()
    for text in _classifiers(project):
        if text == "Operating System :: OS Independent":
            return TARGETS
        fitting = [one for one in _SYSTEMS if text == one or text.startswith(f"{one} ::")]
        if fitting:
            systems.update(_SYSTEMS[max(fitting, key=len)])
    known = known_targets()
    found = tuple(one for one in TARGETS if known[one].environment["sys_platform"] in systems)
    return found or TARGETS


def _classifiers(project: Mapping[str, Any]) -> Iterable[str]:
    listed = project.get("classifiers")
    return [one for one in listed if isinstance(one, str)] if isinstance(listed, list) else []


def _allowed(text: object) -> SpecifierSet:
    """``requires-python``; everything, where it is absent or not to be understood."""
    try:
        return SpecifierSet(text if isinstance(text, str) else "")
    except InvalidSpecifier:
        return SpecifierSet()


def _fits(version: str, allowed: SpecifierSet) -> bool:
    """Whether some release of a version is allowed: the first one, or a late one."""
    try:
        return allowed.contains(f"{version}.0") or allowed.contains(f"{version}.99")
    except ValueError:  # a number of more digits than Python reads
        return False
