"""The presets of ``polywheel init``: the files ``matrix/starts/*.toml``.

A preset has one namespace with its provider, and values of one axis. Its texts are TOML with comments and are
written unchanged. Axes, priorities, and labels are combined from all chosen presets.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

from polywheel.data import data_folder
from polywheel.errors import ConfigError, Problem, nearest

_AXES = "axes"
"""The file of the axes. The other files are presets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StartAxis:
    """An axis that presets add values to."""

    name: str
    comment: str
    fallback: str | None = None
    """The name of the value without properties, if the axis may have one."""

    always: bool = False
    """Whether that value is also written if this is the only axis."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StartValue:
    """One value of an axis."""

    name: str
    properties: tuple[str, ...] = ()
    when: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StartRule:
    """A text about build setup, which is written for some values and backends."""

    text: str
    value: str | None = None
    """The value that must exist; None if the text is for all values."""

    when: str | None = None
    """A marker that must be true for a target of the project."""

    only_for: tuple[str, ...] = ()
    """Names of backend profiles; empty for all except ``not_for``."""

    not_for: tuple[str, ...] = ()

    def is_for(self, profile: str | None) -> bool:
        """Whether the text is for a backend with this profile. None: a backend without a profile."""
        return profile in self.only_for if self.only_for else profile not in self.not_for


@dataclass(frozen=True, kw_only=True, slots=True)
class StartPreset:
    """One preset of ``polywheel init``."""

    name: str
    about: str
    languages: tuple[str, ...] = ()
    """Without ``--preset``, the preset is chosen if the project has one of these languages."""

    axis: str
    namespace: str
    position: int
    """The order of the namespaces in the priorities; the lowest is preferred."""

    setup_preset: str | None = None
    """The preset of build setup (``[tool.polywheel] presets``) that its properties need."""

    meson_options: tuple[str, ...] = ()
    """Options that the setup preset sets, and that a Meson project must have."""

    provider: str
    build: str = ""
    values: tuple[StartValue, ...]
    rules: tuple[StartRule, ...] = ()


@cache
def start_presets() -> Mapping[str, StartPreset]:
    """Every preset by name, ordered by position."""
    presets = []
    for path in _folder().glob("*.toml"):
        if path.stem != _AXES:
            table = _load(path)
            values = tuple(StartValue(**_fields(value)) for value in table.pop("values"))
            rules = tuple(StartRule(**_fields(rule)) for rule in table.pop("rules", ()))
            presets.append(
                StartPreset(name=path.stem, values=values, rules=rules, **_fields(table))
            )
    return {preset.name: preset for preset in sorted(presets, key=attrgetter("position"))}


@cache
def start_axes() -> Mapping[str, StartAxis]:
    """Every axis by name, in the order of labels."""
    tables = _load(_folder() / f"{_AXES}.toml")
    return {name: StartAxis(name=name, **table) for name, table in tables.items()}


def named_presets(names: Iterable[str]) -> tuple[StartPreset, ...]:
    """The presets with these names, each once, by position. Raises ConfigError for unknown names."""
    known = start_presets()
    requested = list(dict.fromkeys(names))
    problems = [
        Problem(f"unknown preset {name!r}", "--preset", _hint(name, known))
        for name in requested
        if name not in known
    ]
    if problems:
        raise ConfigError.collected(problems)
    return tuple(known[name] for name in known if name in requested)


def _hint(name: str, known: Mapping[str, StartPreset]) -> str | None:
    if Path(name).is_dir():
        return "put the project before --preset: polywheel init SOURCE --preset NAME…"
    for preset in known.values():
        if preset.setup_preset == name:
            return f"did you mean {preset.name!r}? {name!r} is a preset of build setup"
    return nearest(name, known)


def _folder() -> Path:
    return data_folder("matrix") / "starts"


def _load(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _fields(table: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a TOML table as fields of a dataclass."""
    return {
        key.replace("-", "_"): tuple(value) if isinstance(value, list) else value
        for key, value in table.items()
    }
