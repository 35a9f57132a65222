"""The settings of each build: those of its target, then those of overrides, with placeholders filled in."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import chain
from typing import Any

from polywheel.config.build_values import image
from polywheel.config.matrix_table import MatrixTables
from polywheel.config.reader import Problems
from polywheel.errors import ConfigError, Problem, nearest
from polywheel.matrix.cell import Cell
from polywheel.matrix.override_index import OverrideIndex
from polywheel.matrix.platforms import target_hint
from polywheel.model.matrix import (
    COMMAND_PLACEHOLDERS,
    MERGED,
    BuildSettings,
    Credentials,
    Override,
    Target,
    WheelTests,
)
from polywheel.model.plan import NON_VARIANT
from polywheel.model.setup import placeholders, with_placeholders
from polywheel.system.terminal import join_first

_STRICT = ("runner", "test_runner", "image", "container_options", "container_credentials")
"""Settings in which every placeholder must be known, and double braces are braces. Other braces of the
other settings belong to a shell, or to placeholders that are replaced when the command runs."""
AFTER_THE_BUILD = frozenset(field.name for field in fields(WheelTests))
"""Settings that do not change the wheel. Builds that differ in them are shared."""
_NAME = re.compile(r"\{([A-Za-z0-9_]+)\}")
_BRACES = re.compile(r"\{([^{}]*)\}")
_GLOB = re.compile(r"[*?\[]")
_NO_GLOBS = 'a table has no globs: list the values, or select labels or ids with a glob, as in select = "v3*"'
_MOST_NAMES = 8
"""How many labels and ids a message has."""


Unmatched = tuple[Override, int | tuple[str, str] | None]
"""An override that selects no build, or its glob with this number, or a key and a value of its table."""


@dataclass(frozen=True, slots=True)
class ResolvedSettings:
    """The settings of one build."""

    settings: BuildSettings
    set_by: Mapping[str, str]
    """The key paths of overrides, by the key that they set, such as ``image`` or ``environment.NAME``."""

    number: int
    """Equal for builds that can be shared."""


class _MergedSettings:
    """The settings of a target with some overrides, before placeholders are filled in."""

    def __init__(self, target_at: str, settings: BuildSettings, set_by: Mapping[str, str]) -> None:
        self.target_at = target_at
        self.settings = settings
        self.set_by = set_by
        texts = [text for _, value in _values(settings) for text in _texts(value)]
        found = (match[1] for text in texts for match in _BRACES.finditer(text))
        self.placeholders = tuple(dict.fromkeys(found))
        """The names of everything that may be a placeholder."""
        self.has_braces = any("{" in text or "}" in text for text in texts)

    def at(self, key: str) -> str:
        """The key path that sets a key."""
        return f"{self.set_by.get(key, self.target_at)}.{key}"


class SettingsResolver:
    """Finds the settings of builds, and the overrides that selected none."""

    def __init__(self, tables: MatrixTables, problems: Problems) -> None:
        self._index = OverrideIndex(tables.overrides)
        self._axes = {axis: [v.name for v in values] for axis, values in tables.matrix.axes.items()}
        self._declared = tables.targets
        self._problems = problems
        self._reported = set[tuple[str, str]]()
        self._numbers: dict[object, int] = {}
        self._merged: dict[tuple[str, ...], _MergedSettings] = {}
        """By target and overrides."""
        self._resolved: dict[tuple[object, ...], ResolvedSettings] = {}
        """By merged settings and the values of their placeholders."""
        known: dict[str, Collection[str]] = {
            **self._axes,
            "python": tables.matrix.python,
            "target": tables.matrix.targets,
            "label": (),
        }
        for override in tables.overrides:
            self._check_values(override, known)

    def _check_values(self, override: Override, known: Mapping[str, Collection[str]]) -> None:
        """Report axes and values that do not exist."""
        for key, values in override.select.values.items():
            at = f"{override.at}.select.{key}"
            if key not in known:
                self._report(f"the matrix has no axis {key!r}", at, nearest(key, known))
            for value in values:
                if known.get(key) and value not in known[key]:
                    hint = nearest(value, known[key])
                    if key == "target":
                        hint = target_hint(value, known[key], self._declared)
                    if _GLOB.search(value):
                        hint = _NO_GLOBS
                    self._report(f"the matrix has no {key} {value!r}", at, hint)

    def resolve(self, identifier: str, cell: Cell) -> ResolvedSettings:
        """Return the settings of the build of a job with this id, on the platform of the cell."""
        label = cell.label or NON_VARIANT
        selectable = {**cell.axes, **cell.platform.values, "label": label}
        overrides = self._index.selected_by(label, identifier, selectable)
        merged = self._merge(cell.platform.target, overrides)
        values = _placeholder_values(cell) if merged.has_braces else {}
        key = (id(merged), *map(values.get, merged.placeholders))
        if key not in self._resolved:
            settings = self._fill(merged, values, identifier) if values else merged.settings
            self._check_image(settings.image, merged.at("image"))
            number = self._number(settings)
            self._resolved[key] = ResolvedSettings(settings, merged.set_by, number)
        return self._resolved[key]

    def _check_image(self, text: str | None, at: str) -> None:
        """Report a malformed image, once for each place."""
        if not text or at in {place for _, place in self._reported}:
            return
        try:
            image(text, at=at)
        except ConfigError as error:
            for problem in error.problems:
                self._report(problem.what, at, problem.hint)

    def _merge(self, target: Target, overrides: tuple[Override, ...]) -> _MergedSettings:
        """The settings of a target with overrides."""
        key = (target.name, *(override.at for override in overrides))
        if key not in self._merged:
            settings, set_by = target.settings, dict[str, str]()
            for override in overrides:
                settings = settings.updated(override.settings)
                set_by |= dict.fromkeys(set_keys(override.settings), override.at)
            self._merged[key] = _MergedSettings(target.at, settings, set_by)
        return self._merged[key]

    def unmatched(self) -> list[Unmatched]:
        """Return the overrides that selected no build, and their globs and values that did so."""
        return [*self._index.unused(), *self._index.unused_values()]

    def _number(self, settings: BuildSettings) -> int:
        key = tuple(
            tuple(sorted(value.items())) if isinstance(value, Mapping) else value
            for name, value in _values(settings)
            if name not in AFTER_THE_BUILD
        )
        return self._numbers.setdefault(key, len(self._numbers))

    def _fill(
        self, merged: _MergedSettings, values: Mapping[str, str], identifier: str
    ) -> BuildSettings:
        """The settings with the values of placeholders."""

        def fill(name: str, text: str) -> str:
            if name not in _STRICT:
                return _NAME.sub(
                    lambda m: m[0] if m[1] in COMMAND_PLACEHOLDERS else values.get(m[1], m[0]), text
                )
            key = name.replace("_", "-")
            at = merged.at(key)
            for placeholder in placeholders(text):
                self._check_placeholder(placeholder, values, identifier, at)
            return with_placeholders(text, lambda placeholder: values.get(placeholder, ""))

        changed: dict[str, Any] = {}
        for name, value in _values(merged.settings):
            filled = _map_texts(value, partial(fill, name))
            if filled != value:
                changed[name] = filled
        return replace(merged.settings, **changed)

    def _check_placeholder(
        self, name: str, values: Mapping[str, str], identifier: str, at: str
    ) -> None:
        if name in values:
            return
        if name in self._axes:
            what = f"{{{name}}} has no value for {identifier}, a job without this axis"
            self._report(what, at, "set another value for this job with an override")
        else:
            hint = nearest(name, {*values, *self._axes}) or "write {{ and }} for braces"
            self._report(f"unknown placeholder {{{name}}}", at, hint)

    def _report(self, what: str, at: str, hint: str | None) -> None:
        if (what, at) not in self._reported:
            self._reported.add((what, at))
            self._problems.add(what, at=at, hint=hint)


def _values(settings: BuildSettings) -> Iterator[tuple[str, Any]]:
    return ((field.name, getattr(settings, field.name)) for field in fields(settings))


def _texts(value: object) -> Iterable[str]:
    """The texts in a value of a setting that may have placeholders."""
    if isinstance(value, Credentials):
        return (value.username,)
    if isinstance(value, Mapping):
        return chain.from_iterable(map(_texts, value.values()))
    return value if isinstance(value, tuple) else (value,) if isinstance(value, str) else ()


def _map_texts(value: object, fill: Callable[[str], str]) -> object:
    """Return a value of a setting with each text replaced by ``fill(text)``."""
    if isinstance(value, str):
        return fill(value)
    if isinstance(value, tuple):
        return tuple(map(fill, value))
    if isinstance(value, Mapping):
        return {key: _map_texts(item, fill) for key, item in value.items()}
    if isinstance(value, Credentials):
        return replace(value, username=fill(value.username))
    return value


def set_keys(settings: BuildSettings) -> list[str]:
    """Return the keys that settings set, such as ``image`` and ``environment.NAME``."""
    keys = []
    for name, value in _values(settings):
        key = name.replace("_", "-")
        if name in MERGED:
            keys += [f"{key}.{name}" for name in value]
        elif value is not None:
            keys.append(key)
    return keys


def _placeholder_values(cell: Cell) -> dict[str, str]:
    python, target = cell.platform.python, cell.platform.target
    return {
        "python": python,
        "python_tag": "cp" + python.replace(".", ""),
        "target": target.name,
        "platform": target.platform or target.name,
        "label": cell.label or NON_VARIANT,
        **cell.axes,
    }


def why_unmatched(unmatched: Unmatched, names: Iterable[str]) -> Problem:
    """The problem of an override, or of a part of it, that selects no build.

    ``names`` are the labels and ids of the jobs.
    """
    override, number = unmatched
    select, at = override.select, f"{override.at}.select"
    if isinstance(number, tuple):
        key, value = number
        hint = (
            _name_hint(value, names) if key == "label" else "remove it, or change the other values"
        )
        if key == "python":
            hint = f"a wheel for several Pythons is built with the lowest; {hint}"
        return Problem(f"no build of the override has the {key} {value!r}", f"{at}.{key}", hint)
    if number is not None:
        glob = select.globs[number]
        what = f"no build has a label or an id that matches {glob!r}"
        return Problem(what, f"{at}[{number}]", _name_hint(glob, names))
    what = "the override selects no build"
    if select.globs:
        return Problem(what, at, _name_hint(select.globs[0], names))
    if any(map(_GLOB.search, chain.from_iterable(select.values.values()))):
        return Problem(what, at, _NO_GLOBS)
    labels = select.values.get("label", ())
    if unknown := [label for label in labels if label not in names]:
        return Problem(what, at, _name_hint(unknown[0], names))
    hint = "every value exists, but no job has all of them; a wheel for several Pythons is built with the lowest"
    return Problem(what, at, hint)


def _name_hint(text: str, names: Iterable[str]) -> str:
    return nearest(text, names) or f"labels and ids are {join_first(names, _MOST_NAMES)}"
