"""The Pythons that a project allows: ``requires-python`` in pyproject.toml, or ``python_requires`` in setup.cfg.

Those of a setup.py are unknown: it would have to run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from polywheel.config.project import PYPROJECT, Project, look_up
from polywheel.system.files import read_regular

_MOST_CHARACTERS = 80
"""How much of a specifier a message has."""
_SETUP_CFG = "setup.cfg"
_LARGEST = 1024 * 1024
"""Bytes of a setup.cfg."""


@dataclass(frozen=True, slots=True)
class RequiresPython:
    """The Pythons that a project allows."""

    text: str = ""
    """As it is written; empty if there is none."""

    key: str = "requires-python"
    at: str = f"{PYPROJECT}: project.requires-python"

    @property
    def is_malformed(self) -> bool:
        try:
            SpecifierSet(self.text)
        except InvalidSpecifier:
            return True
        return False

    @property
    def specifiers(self) -> SpecifierSet:
        """All versions if the text is malformed."""
        return SpecifierSet("" if self.is_malformed else self.text)

    def allows(self, python: str) -> bool:
        """Whether the first release of a Python, or a late one, is allowed."""
        version, specifiers = python.removesuffix("t"), self.specifiers
        try:
            return specifiers.contains(f"{version}.0") or specifiers.contains(f"{version}.99")
        except ValueError:  # the specifier has a number with more digits than Python reads
            return False

    def __str__(self) -> str:
        """The text and its key path, for messages."""
        return f"{self.key} = {self.text[:_MOST_CHARACTERS]!r} ({self.at})"


def read_requires_python(project: Project, profile: str | None) -> RequiresPython:
    """The Pythons that a project allows, with the profile of its backend.

    setuptools reads setup.cfg only if ``[project]`` is missing or lists the key as dynamic.
    """
    metadata = look_up(project.document, "project")
    if isinstance(metadata, Mapping):
        dynamic = metadata.get("dynamic")
        if not isinstance(dynamic, list) or "requires-python" not in dynamic:
            requires = metadata.get("requires-python")
            return RequiresPython(requires if isinstance(requires, str) else "")
    return _of_setup_cfg(project.source) if profile == "setuptools" else RequiresPython()


def _of_setup_cfg(source: Path) -> RequiresPython:
    """``python_requires`` in a setup.cfg, as setuptools reads it; all Pythons if it is missing or malformed."""
    try:
        text = read_regular(source / _SETUP_CFG, limit=_LARGEST).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return RequiresPython()
    import configparser  # most projects have no setup.cfg

    parser = configparser.RawConfigParser()
    parser.optionxform = _option  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text)
        requires = parser.get("options", "python_requires", fallback="")
    except configparser.Error:
        return RequiresPython()
    return RequiresPython(requires, "python_requires", f"{_SETUP_CFG}: options.python_requires")


def _option(name: str) -> str:
    return name.lower().replace("-", "_")
