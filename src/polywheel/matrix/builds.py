"""Decide which cells share a build: those whose builds differ only in the stamp.

A build that may read its variant from the environment is not shared.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from polywheel.config.project import Project
from polywheel.config.setup_table import COMPILERS
from polywheel.errors import BuildError
from polywheel.matrix.cell import Cell
from polywheel.matrix.platforms import Platform
from polywheel.model.setup import SetupRule, placeholders
from polywheel.model.variant import Variant, VariantProperty
from polywheel.providers.plugins import plugin_requires
from polywheel.setup.digest import comparable, named_values, without_folders
from polywheel.setup.presets import project_presets
from polywheel.setup.rules import SetupSources, merge_rules
from polywheel.system.files import open_regular
from polywheel.system.source_files import (
    files_below,
    git_prefix,
    git_source_files,
    source_entries,
    without_output_folders,
)

PREFIX = "POLYWHEEL_VARIANT_"
"""The prefix of the variables with the label and the properties that the real backend gets."""

_HEAD_SIZE = 8192
_MAX_BINARY_SIZE = 4 << 20
_MAX_TEXT_SIZE = 64 << 20
"""Bytes. Larger files are data and not a part of a build system."""
_MAX_SOURCE_SIZE = 1 << 30
"""Bytes. Reading a gigabyte takes some seconds."""
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def why_variant_is_read(root: Path, *, limit: int = _MAX_SOURCE_SIZE) -> str | None:
    """Why a build may read its variant: the first source file that mentions a variable of it, or None.

    Every file of the source counts, because it is unknown which files a build runs. Binary files (a NUL byte near
    the start) of more than 4 MiB and text files of more than 64 MiB are not read. Files outside the source are
    not read either, such as an installed plugin, or a folder behind a link that stays a link in a copy of the
    source. A source with more than ``limit`` bytes to read may contain a mention.
    """
    size = 0
    for name, _ in source_entries(root, _source_files(root)):
        content = _read(root / name)
        if PREFIX.encode() in content.upper():
            return f"{name} mentions {PREFIX}, so a build may read its variant"
        size += len(content)
        if size > limit:
            return (
                f"the source has more than {limit >> 20} MiB to search for {PREFIX}, so a build may "
                "read its variant"
            )
    return None


def _source_files(root: Path) -> Iterable[str]:
    """The files of a source. Outside of git, this may include files that are not a part of it."""
    try:
        names = git_source_files(root, git_prefix(root))
    except BuildError:
        names = None
    if names is None:
        names = sorted(files_below(root, ignore=True, ignore_at_top=False, strict=False))
    return without_output_folders(names)  # their logs mention the variables


def _read(path: Path) -> bytes:
    """The content of a file to search; empty for a large file and for one that can't be read."""
    try:
        with open_regular(path) as file:
            content = file.read(_HEAD_SIZE)
            limit = _MAX_BINARY_SIZE if b"\0" in content else _MAX_TEXT_SIZE
            if os.fstat(file.fileno()).st_size > limit:
                return b""
            content += file.read(limit)
    except OSError:
        return b""
    return content.replace(b"\0", b"") if content.startswith(_UTF16) else content


class BuildKeys:
    """Numbers that are equal for cells with the same build setup. Each variant is merged once.

    A plan does not ask plugins, and each property of a plugin may have flags. So variants that differ in such a
    property do not share a build.
    """

    def __init__(self, project: Project, profile: str | None) -> None:
        self._sources = without_folders(
            SetupSources(
                rules=project.settings.setup,
                presets=project_presets(project),
                namespaces=project.metadata.namespaces,
                backend=profile,
                source=project.source,
            )
        )
        self._all_rules = [*self._sources.rules]
        self._all_rules += [rule for preset in self._sources.presets for rule in preset.rules]
        self._by_platform = any(rule.when for rule in self._all_rules)
        self._by_label = any(rule.label_glob or _uses_label(rule) for rule in self._all_rules)
        by_compiler = any(rule.by_compiler for rule in self._all_rules)
        self._compilers = COMPILERS if by_compiler else COMPILERS[:1]
        # The namespaces and features of rules. Other properties of a cell have no effect.
        self._targets = {rule.target[:2] for rule in self._all_rules if rule.target}
        self._plugin_namespaces = namespaces_with_plugins(project)
        self._setups: dict[Any, tuple[Any, ...]] = {}
        self._named: dict[int, Mapping[str, tuple[str, ...]]] = {}
        self._numbers: dict[Any, int] = {}
        self._by_cell: dict[tuple[str | None, Platform | None], int] = {}

    def key_of(self, cell: Cell) -> int:
        """The number of a cell's build setup. Raises ConfigError if rules contradict each other."""
        # One label has one set of properties: this was checked.
        platform = cell.platform if self._by_platform and cell.label is not None else None
        number = self._by_cell.get((cell.label, platform))
        if number is None:
            properties = [p for p in cell.properties if p.namespace in self._plugin_namespaces]
            content = (self._setups_of(cell), tuple(properties))
            number = self._numbers.setdefault(content, len(self._numbers))
            self._by_cell[cell.label, platform] = number
        return number

    def setup_of(self, cell: Cell) -> Mapping[str, tuple[str, ...]]:
        """The build setup of a cell without that of plugins, as values by name."""
        number = self.key_of(cell)
        if number not in self._named:
            self._named[number] = named_values(self._setups_of(cell), self._compilers)
        return self._named[number]

    def _setups_of(self, cell: Cell) -> tuple[Any, ...]:
        """The setups of a cell for all compilers that rules distinguish; empty if no rule applies."""
        if not self._all_rules or cell.label is None:
            return ()
        relevant = tuple(
            prop
            for prop in cell.properties
            if not self._targets.isdisjoint([(prop.namespace,), (prop.namespace, prop.feature)])
        )
        key = (
            cell.label if self._by_label else "",
            relevant,
            cell.platform if self._by_platform else None,
        )
        if key not in self._setups:
            self._setups[key] = self._merge(cell.label, relevant, cell.platform)
        return self._setups[key]

    def _merge(
        self, label: str, properties: tuple[VariantProperty, ...], platform: Platform
    ) -> tuple[Any, ...]:
        sources = replace(self._sources, environment=platform.environment)
        variant = Variant(properties, label)
        setups = tuple(
            comparable(merge_rules(variant, replace(sources, compiler=compiler)))
            for compiler in self._compilers
        )
        return setups if any(map(any, setups)) else ()


def namespaces_with_plugins(project: Project) -> frozenset[str]:
    """The namespaces whose plugins builds ask, on any machine. Raises ProviderError."""
    providers = project.metadata.providers.items()
    return frozenset(name for name, provider in providers if plugin_requires(project, provider))


def _uses_label(rule: SetupRule) -> bool:
    """Whether a text of the rule contains ``{label}``."""
    texts = (text for fields in rule.all_fields for text in fields.by_name().values())
    listed = ((text,) if isinstance(text, str) else text for text in texts)
    return any("label" in placeholders(part) for parts in listed for part in parts)
