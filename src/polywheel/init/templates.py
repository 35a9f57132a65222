"""The templates of ``polywheel init``: the files ``matrix/starts/*.toml``.

A template has one namespace with its provider, and values of one axis. Its texts are TOML with comments and are
written unchanged. Axes, priorities, and labels are combined from all chosen templates.
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
"""The file of the axes. The other files are templates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StartAxis:
    """An axis that templates add values to."""

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
class StartTemplate:
    """One template of ``polywheel init``."""

    name: str
    about: str
    languages: tuple[str, ...] = ()
    """Without ``--template``, the template is chosen if the project has one of these languages."""

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
def start_templates() -> Mapping[str, StartTemplate]:
    """Every template by name, ordered by position."""
    templates = []
    for path in _folder().glob("*.toml"):
        if path.stem != _AXES:
            table = _load(path)
            values = tuple(StartValue(**_fields(value)) for value in table.pop("values"))
            rules = tuple(StartRule(**_fields(rule)) for rule in table.pop("rules", ()))
            templates.append(
                StartTemplate(name=path.stem, values=values, rules=rules, **_fields(table))
            )
    return {template.name: template for template in sorted(templates, key=attrgetter("position"))}


@cache
def start_axes() -> Mapping[str, StartAxis]:
    """Every axis by name, in the order of labels."""
    tables = _load(_folder() / f"{_AXES}.toml")
    return {name: StartAxis(name=name, **table) for name, table in tables.items()}


def named_templates(names: Iterable[str]) -> tuple[StartTemplate, ...]:
    """The templates with these names, each once, by position. Raises ConfigError for unknown names."""
    known = start_templates()
    requested = list(dict.fromkeys(names))
    problems = [
        Problem(f"unknown template {name!r}", "--template", _hint(name, known))
        for name in requested
        if name not in known
    ]
    if problems:
        raise ConfigError.collected(problems)
    return tuple(known[name] for name in known if name in requested)


def _hint(name: str, known: Mapping[str, StartTemplate]) -> str | None:
    if Path(name).is_dir():
        return "put the project before --template: polywheel init SOURCE --template NAME…"
    for template in known.values():
        if template.setup_preset == name:
            return f"did you mean {template.name!r}? {name!r} is a preset of build setup"
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
