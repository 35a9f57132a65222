"""The presets that polywheel ships: what properties of well-known namespaces ask of a build."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable

from polywheel.config.reader import Problems, Table
from polywheel.config.setup_table import read_features, read_setup_rules
from polywheel.data import data_folder
from polywheel.errors import ConfigError, nearest
from polywheel.model.properties import VariantProperty
from polywheel.model.setup import Preset


def preset_names() -> tuple[str, ...]:
    """The names of all presets."""
    return tuple(sorted(path.stem for path in (data_folder("matrix") / "presets").glob("*.toml")))


def load_preset(name: str, *, at: str) -> Preset:
    """Read ``matrix/presets/{name}.toml``. Raises ConfigError for a name that there is none of."""
    names = preset_names()
    if name not in names:
        raise ConfigError(f"unknown preset {name!r}", at=at, hint=nearest(name, names))
    path = data_folder("matrix") / "presets" / f"{name}.toml"
    problems = Problems()
    table = Table(tomllib.loads(path.read_text(encoding="utf-8")), f"preset {name}", (), problems)
    preset = Preset(
        name=name,
        namespace=table.string("namespace") or "",
        features=read_features(table.table("features")),
        rules=read_setup_rules(table.table("setup")),
    )
    table.finish()
    problems.settle()
    return preset


def check_against_preset(properties: Iterable[VariantProperty], preset: Preset, *, at: str) -> None:
    """Raise ConfigError for features and values that the preset does not know."""
    seen: dict[str, str] = {}
    for prop in properties:
        feature = preset.features.get(prop.feature)
        if feature is None:
            raise ConfigError(
                f"the preset {preset.name!r} does not know the feature of '{prop}'",
                at=at,
                hint=nearest(prop.feature, preset.features),
            )
        known = prop.value in feature.values or (
            feature.pattern is not None and re.fullmatch(feature.pattern, prop.value)
        )
        if not known:
            raise ConfigError(
                f"the preset {preset.name!r} does not know the value of '{prop}'",
                at=at,
                hint=nearest(prop.value, feature.values) or f"it must match {feature.pattern}",
            )
        if not feature.multi_value and seen.setdefault(prop.feature, prop.value) != prop.value:
            raise ConfigError(
                f"'{prop.namespace} :: {prop.feature}' has one value a variant, "
                f"not {seen[prop.feature]} and {prop.value}",
                at=at,
            )
