"""Decide which cells share a build: they ask the same of the build and differ in their stamp only.

A build that may read its variant from the environment is not shared.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from polywheel.config.project import Project
from polywheel.config.reader import Problems
from polywheel.config.setup_table import COMPILERS
from polywheel.errors import BuildError, ConfigError, nearest
from polywheel.matrix.cell import Cell
from polywheel.matrix.platforms import Platform
from polywheel.model.setup import SetupRule, Text, placeholders
from polywheel.model.variant import Variant, VariantProperty
from polywheel.providers.plugins import plugin_requires
from polywheel.setup.digest import comparable, without_folders
from polywheel.setup.presets import project_presets
from polywheel.setup.rules import SetupSources, merge_rules
from polywheel.system.files import open_regular
from polywheel.system.source_files import (
    JOURNAL,
    files_below,
    git_prefix,
    git_source_files,
    source_entries,
)

PREFIX = "POLYWHEEL_VARIANT_"
"""How the variables begin that the real backend gets: the label and the properties."""

_HEAD = 8192
_LARGEST_BINARY = 4 << 20
_LARGEST_TEXT = 64 << 20
"""Bytes: what is larger is data, and no part of a build system."""
_MOST = 1 << 30
"""Bytes of a whole source; a gigabyte takes some seconds."""
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def why_variant_is_read(root: Path, *, most: int = _MOST) -> str | None:
    """Why a build of a source may read its variant: the first file that mentions a variable of it.

    None where no file does. Every file of the source counts, whatever its name: which of them a build
    runs, nobody can know. Files with a NUL byte near their start are binary; binary files over 4 MiB
    and text files over 64 MiB are not read. Neither is what lies outside the source, such as an
    installed plugin, or a folder that a link leads to which stays a link in a copy of the source. A
    source with more than ``most`` bytes to read may hold a mention.
    """
    mark = PREFIX.encode()
    read = 0
    for name, _ in source_entries(root, _names(root)):
        content = _content(root / name)
        if mark in content.upper():
            return f"{name} mentions {PREFIX}, so a build may read its variant"
        read += len(content)
        if read > most:
            return (
                f"the source has more than {most >> 20} MiB to search for {PREFIX}, so a build may "
                "read its variant"
            )
    return None


def _names(root: Path) -> Iterable[str]:
    """The files of a source; outside of git too many rather than too few."""
    try:
        names = git_source_files(root, git_prefix(root))
    except BuildError:
        names = None
    if names is None:
        names = sorted(files_below(root, ignore=True, ignore_at_top=False, strict=False))
    written = tuple(one.removesuffix(JOURNAL) for one in names if one.endswith(f"/{JOURNAL}"))
    # Left out: an output folder of polywheel, with its logs.
    return [name for name in names if not name.startswith(written)]


def _content(path: Path) -> bytes:
    """What is to be looked at of a file; nothing of one that is large, or can't be read."""
    try:
        with open_regular(path) as file:
            content = file.read(_HEAD)
            binary = b"\0" in content
            most = _LARGEST_BINARY if binary else _LARGEST_TEXT
            if os.fstat(file.fileno()).st_size > most:
                return b""
            content += file.read(most)
    except OSError:
        return b""
    return content.replace(b"\0", b"") if content.startswith(_UTF16) else content


BuildKey = int
"""Stands for what a cell asks of its build; equal where that is equal."""

_NOTHING = ((), ())


class BuildKeys:
    """What cells ask of their builds, each variant looked at once.

    Plugins are not asked for a plan, and any property of theirs may mean flags: variants that
    differ in one do not share a build.
    """

    def __init__(self, project: Project, profile: str | None) -> None:
        self._project = project
        self._profile = profile
        self._rules = tuple(map(without_folders, project.settings.setup))
        self._presets = [
            replace(one, rules=tuple(map(without_folders, one.rules)))
            for one in project_presets(project)
        ]
        rules = (*self._rules, *(rule for one in self._presets for rule in one.rules))
        self._by_platform = any(rule.when for rule in rules)
        self._compilers = COMPILERS if any(rule.by_compiler for rule in rules) else COMPILERS[:1]
        # Features that rules are about, and namespaces; what else a cell has makes no difference.
        self._about = {rule.target[:2] for rule in rules if rule.target}
        self._by_label = any(rule.label_glob is not None or _names_label(rule) for rule in rules)
        self._trivial = not rules
        self._asked = asked_namespaces(project)
        self._setups_of: dict[Any, tuple[Any, ...]] = {}
        self._numbers: dict[Any, BuildKey] = {_NOTHING: 0}
        self._by_cell: dict[tuple[str | None, Platform | None], BuildKey] = {(None, None): 0}

    def of(self, cell: Cell) -> BuildKey:
        """What a cell asks of its build. Raises ConfigError where rules contradict each other."""
        # One label stands for one set of properties: that has been seen to.
        platform = cell.platform if self._by_platform and cell.label is not None else None
        number = self._by_cell.get((cell.label, platform))
        if number is None:
            number = self._numbers.setdefault(self._asks(cell), len(self._numbers))
            self._by_cell[cell.label, platform] = number
        return number

    def _asks(self, cell: Cell) -> tuple[Any, ...]:
        asked = tuple(prop for prop in cell.properties if prop.namespace in self._asked)
        if self._trivial or cell.label is None:
            return ((), asked)
        relevant = tuple(
            prop
            for prop in cell.properties
            if (prop.namespace,) in self._about or (prop.namespace, prop.feature) in self._about
        )
        label = cell.label if self._by_label else ""
        key = (label, relevant, cell.platform if self._by_platform else None)
        if key not in self._setups_of:
            self._setups_of[key] = self._setups(cell.label, relevant, cell.platform)
        return (self._setups_of[key], asked)

    def _setups(
        self, label: str, properties: Sequence[VariantProperty], platform: Platform
    ) -> tuple[Any, ...]:
        variant = Variant(tuple(properties), label)
        setups = [
            merge_rules(
                variant,
                SetupSources(
                    rules=self._rules,
                    presets=self._presets,
                    namespaces=self._project.metadata.namespaces,
                    compiler=compiler,
                    backend=self._profile,
                    environment=platform.environment,
                    source=self._project.source,
                ),
            )
            for compiler in self._compilers
        ]
        found = tuple(comparable(setup) for setup in setups)
        return () if not any(map(any, found)) else found


def asked_namespaces(project: Project) -> frozenset[str]:
    """The namespaces whose plugins are asked by builds, on any machine. Raises ProviderError."""
    return frozenset(
        namespace
        for namespace, provider in project.metadata.providers.items()
        if plugin_requires(project, provider)
    )


def _names_label(rule: SetupRule) -> bool:
    """Whether a text of the rule holds ``{label}``."""
    texts = (text for fields in rule.all_fields for text in fields.by_name().values())
    return any("label" in placeholders(one) for text in texts for one in _each(text))


def _each(text: Text) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else text


def check_rules_are_used(project: Project, cells: Sequence[Cell], problems: Problems) -> None:
    """Note every setup rule that is about no cell of the matrix, and every provider for no namespace."""
    for namespace in project.settings.providers:
        at = project.at(f"tool.polywheel.providers.{namespace}")
        problems.attempt(project.metadata.require_provider, namespace, at=at)
    platforms = _platforms_by_target(cells)
    labels = {cell.label for cell in cells if cell.label is not None}
    for rule in project.settings.setup:
        if rule.label_glob is not None:
            glob = rule.label_glob
            where = {
                cell.platform
                for cell in cells
                if cell.label is not None and fnmatchcase(cell.label, glob)
            }
            what = f"no variant of the matrix has a label that matches {glob!r}"
            hint = nearest(glob, labels)
        else:
            where = platforms.get(rule.target, set())
            what = f"no variant of the matrix has a property that the rule {rule.key!r} is about"
            names = {" :: ".join(one) for one in platforms if len(one) == len(rule.target)}
            hint = nearest(rule.key, names)
        if not where:
            problems.add(what, at=rule.at, hint=hint or "leave it out, or declare such a variant")
        elif rule.when is not None and not _holds_anywhere(rule, rule.when, where, problems):
            problems.add(
                f"the marker {rule.when!r} holds for no variant that the rule {rule.key!r} is about",
                at=f"{rule.at}.when",
                hint="they are for " + _describe_platforms(where),
            )


def _platforms_by_target(cells: Iterable[Cell]) -> dict[tuple[str, ...], set[Platform]]:
    """Where there are cells that a rule is about, by namespace, feature and value."""
    by_property: dict[VariantProperty, set[Platform]] = {}
    everywhere = set[Platform]()
    for cell in cells:
        if cell.label is not None:
            everywhere.add(cell.platform)
        for prop in cell.properties:
            by_property.setdefault(prop, set()).add(cell.platform)
    found: dict[tuple[str, ...], set[Platform]] = {(): everywhere}
    for prop, platforms in by_property.items():
        parts = (prop.namespace, prop.feature, prop.value)
        for length in (1, 2, 3):
            found.setdefault(parts[:length], set()).update(platforms)
    return found


def _holds_anywhere(
    rule: SetupRule, marker: str, platforms: Iterable[Platform], problems: Problems
) -> bool:
    try:
        # Every platform is looked at, so that one that does not know the answer is noted.
        return bool(sum(platform.holds(marker, at=f"{rule.at}.when") for platform in platforms))
    except ConfigError as error:
        problems.found.extend(error.problems)
        return True


def _describe_platforms(platforms: Iterable[Platform]) -> str:
    found = sorted(
        {f"Python {platform.python} on {platform.target.name}" for platform in platforms}
    )
    return ", ".join(found[:4]) + (", …" if len(found) > 4 else "")
