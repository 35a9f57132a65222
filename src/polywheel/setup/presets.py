"""The presets of polywheel: build setup for the properties of well-known namespaces."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from polywheel.config.declaration import SettingsTable, by_name
from polywheel.config.project import Project
from polywheel.config.reader import Problems, Table
from polywheel.config.setup_table import EXTENSIONS, FEATURES, FILES, read_setup_rules
from polywheel.data import data_folder
from polywheel.errors import ConfigError, Problem, nearest
from polywheel.model.setup import CpuModel, OldestMac, Preset
from polywheel.model.variant import VariantFeature, VariantProperty

_CPU_MODELS = by_name(SettingsTable(None, CpuModel))
_OLDEST_MAC = SettingsTable(None, OldestMac)


@cache
def preset_names() -> tuple[str, ...]:
    """The names of all presets."""
    return tuple(sorted(path.stem for path in (data_folder("matrix") / "presets").glob("*.toml")))


def load_preset(name: str, *, at: str) -> Preset:
    """Read ``matrix/presets/{name}.toml``. Raises ConfigError for an unknown name."""
    names = preset_names()
    if name not in names:
        raise ConfigError(f"unknown preset {name!r}", at=at, hint=_unknown_hint(name, names))
    return _read(data_folder("matrix") / "presets" / f"{name}.toml")


def _unknown_hint(name: str, names: Iterable[str]) -> str | None:
    """A hint about a preset that does not exist: it may be a template of ``polywheel init``."""
    for path in (data_folder("matrix") / "starts").glob("*.toml"):
        if path.stem == name:
            preset = tomllib.loads(path.read_text(encoding="utf-8")).get("setup-preset")
            of_init = f"{name!r} is a template of polywheel init"
            return f"did you mean {preset!r}? {of_init}" if preset else of_init
    return nearest(name, names)


def project_presets(project: Project) -> list[Preset]:
    """The presets that a project names. Raises ConfigError for an unknown name."""
    at = project.at("tool.polywheel.presets")
    return [load_preset(name, at=at) for name in project.settings.presets]


@cache
def _read(path: Path) -> Preset:
    name = path.stem
    problems = Problems()
    table = Table(tomllib.loads(path.read_text(encoding="utf-8")), f"preset {name}", (), problems)
    preset = Preset(
        name=name,
        namespace=table.string("namespace") or "",
        features=FEATURES.read(table, "features"),
        rules=read_setup_rules(table, "setup"),
        plugins=table.strings("plugins") or (),
        files=FILES.read(table, "files"),
        extensions=EXTENSIONS.read(table, "extensions"),
        version_libraries=table.strings("version-libraries") or (),
        oldest_mac=_OLDEST_MAC.read(table, "oldest-mac") if "oldest-mac" in table.data else None,
        cpu_models=_CPU_MODELS.read(table, "cpu-models"),
    )
    table.finish()
    problems.raise_all()
    return preset


def preset_problem(
    prop: VariantProperty | VariantFeature, preset: Preset, *, at: str
) -> Problem | None:
    """The problem of a property or feature that a preset does not know; None if it knows it."""
    feature = preset.features.get(prop.feature)
    if feature is None:
        what, hint = "feature", nearest(prop.feature, preset.features)
    elif isinstance(prop, VariantProperty) and not feature.has(prop.value):
        what, hint = "value", nearest(prop.value, feature.values)
        if feature.pattern is not None:
            hint = hint or f"it must match ^{feature.pattern}$"
    else:
        return None
    return Problem(f"the preset {preset.name!r} does not know the {what} of '{prop}'", at, hint)


def check_against_preset(properties: Iterable[VariantProperty], preset: Preset, *, at: str) -> None:
    """Raise ConfigError for unknown features and values, and for several values of a feature with one value."""
    problems = Problems()
    values: dict[str, list[str]] = {}
    for prop in properties:
        problem = preset_problem(prop, preset, at=at)
        if problem is not None:
            problems.found.append(problem)
        elif not preset.features[prop.feature].multi_value:
            values.setdefault(prop.feature, []).append(prop.value)
    for name, several in values.items():
        if len(several) > 1:
            problems.add(
                f"'{preset.namespace} :: {name}' allows one value in a variant, not {len(several)}: "
                + ", ".join(several),
                at=at,
            )
    problems.raise_all()


def check_baseline(properties: Iterable[VariantProperty], *, at: str) -> None:
    """Raise ConfigError for properties of a baseline that their preset does not know. Without a preset, all are allowed."""
    for prop in properties:
        if prop.namespace in preset_names():
            check_against_preset([prop], load_preset(prop.namespace, at=at), at=at)
