"""The presets of ``polywheel init``, as ``matrix/starts/*.toml`` has them.

Each is a fragment of what init writes: one namespace with its provider, and values on an axis. Texts are
TOML with comments, written as they stand; axes, priorities and labels are put together from all presets
that were chosen.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from polywheel.config.reader import Problems, Table
from polywheel.data import data_folder
from polywheel.errors import ConfigError, Problem, nearest

_AXES = "axes"
"""The file of the folder that is about the axes; the others are presets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StartAxis:
    """An axis that presets put values on."""

    name: str
    comment: str
    fallback: str | None
    """The name of the value without properties, where the axis may have one."""

    always: bool
    """Whether that value is there also where this is the only axis."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StartValue:
    """One value of an axis."""

    name: str
    properties: tuple[str, ...]
    when: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StartRule:
    """Text about build setup, where it makes sense: for a value that is there, for some backends."""

    text: str
    value: str | None
    when: str | None
    """A marker that must hold for a target of the project."""

    backends: tuple[str, ...]
    """Names of backend profiles; empty for all but ``not_for``."""

    not_for: tuple[str, ...]

    def is_for(self, profile: str | None) -> bool:
        """Whether the text is for a backend with this profile, or for one without a profile."""
        return profile in self.backends if self.backends else profile not in self.not_for


@dataclass(frozen=True, kw_only=True, slots=True)
class StartPreset:
    """One preset of init."""

    name: str
    about: str
    languages: tuple[str, ...]
    """It is chosen where nobody says otherwise and the project has one of these."""

    axis: str
    namespace: str
    position: int
    """The place of the namespace among the priorities: the lowest is preferred."""

    setup_preset: str | None
    """The preset of build setup (``[tool.polywheel] presets``) that its properties need."""

    meson_options: tuple[str, ...]
    """Options that the setup preset sets, and that a Meson project must have for it."""

    provider: str
    build: str
    values: tuple[StartValue, ...]
    rules: tuple[StartRule, ...]


def start_presets() -> Mapping[str, StartPreset]:
    """Every preset by name, in the order of their positions."""
    return _read_all(data_folder("matrix") / "starts")[1]


def start_axes() -> Mapping[str, StartAxis]:
    """Every axis by name, in the order of labels."""
    return _read_all(data_folder("matrix") / "starts")[0]


def named_presets(names: Iterable[str]) -> tuple[StartPreset, ...]:
    """The presets with these names, each once, by position. Raises ConfigError for unknown names."""
    known = start_presets()
    wanted = list(dict.fromkeys(names))
    problems = [
        Problem(f"unknown preset {name!r}", "--preset", _hint(name, known))
        for name in wanted
        if name not in known
    ]
    if problems:
        raise ConfigError.collected(problems)
    return tuple(known[name] for name in known if name in wanted)


def _hint(name: str, known: Iterable[str]) -> str | None:
    if Path(name).is_dir():
        return "put the project before --preset: polywheel init SOURCE --preset NAME…"
    return nearest(name, known)


@cache
def _read_all(folder: Path) -> tuple[dict[str, StartAxis], dict[str, StartPreset]]:
    problems = Problems()
    axes = _load(folder / f"{_AXES}.toml", problems)
    found_axes = {name: _axis(axes.table(name), name) for name in axes.every_key()}
    found = [
        _preset(_load(path, problems), path.stem)
        for path in sorted(folder.glob("*.toml"))
        if path.stem != _AXES
    ]
    problems.raise_all()
    found.sort(key=lambda one: one.position)
    return found_axes, {one.name: one for one in found}


def _load(path: Path, problems: Problems) -> Table:
    return Table(tomllib.loads(path.read_text(encoding="utf-8")), path.name, (), problems)


def _axis(table: Table, name: str) -> StartAxis:
    axis = StartAxis(
        name=name,
        comment=table.string("comment") or "",
        fallback=table.string("fallback"),
        always=table.boolean("always", False),
    )
    table.finish()
    return axis


def _preset(table: Table, name: str) -> StartPreset:
    preset = StartPreset(
        name=name,
        about=table.string("about") or "",
        languages=table.strings("languages") or (),
        axis=table.string("axis") or "",
        namespace=table.string("namespace") or "",
        position=int(table.number("position") or 0),
        setup_preset=table.string("setup-preset"),
        meson_options=table.strings("meson-options") or (),
        provider=table.string("provider") or "",
        build=table.string("build") or "",
        values=tuple(_value(one) for one in _tables(table, "values")),
        rules=tuple(_rule(one) for one in _tables(table, "rules")),
    )
    table.finish()
    return preset


def _tables(table: Table, key: str) -> Iterator[Table]:
    for index, value in enumerate(table.array(key)):
        yield Table(value, table.file, (*table.path, f"{key}[{index}]"), table.problems)


def _value(table: Table) -> StartValue:
    value = StartValue(
        name=table.string("name") or "",
        properties=table.strings("properties") or (),
        when=table.string("when"),
    )
    table.finish()
    return value


def _rule(table: Table) -> StartRule:
    rule = StartRule(
        text=table.string("text") or "",
        value=table.string("value"),
        when=table.string("when"),
        backends=table.strings("for") or (),
        not_for=table.strings("not-for") or (),
    )
    table.finish()
    return rule
