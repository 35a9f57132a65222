"""What a label says about instructions: the ``[extensions]`` of the presets, for its properties."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from polywheel.model.setup import Preset
from polywheel.model.variant import VariantProperty
from polywheel.setup.presets import load_preset, preset_names

BASELINES = {"x86_64": "x86-64-v1", "aarch64": "armv8-a"}
"""The processors that run a wheel without properties, by machine. The namespace of a machine has its name."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """What the code of a wheel for one machine may use."""

    machine: str
    extensions: frozenset[str]
    """Extensions beyond the baseline of the machine."""

    properties: tuple[VariantProperty, ...] = ()
    """The properties that admit them."""

    baseline: str = ""
    """The processors that run a wheel without properties."""

    def __str__(self) -> str:
        return " and ".join(map(str, self.properties)) or self.baseline


def admitted_extensions(
    machine: str, properties: Iterable[VariantProperty], *, is_macos: bool = False
) -> Admitted:
    """Return the instruction set extensions that code for a machine may use under a label.

    Code for macOS may always use what all Macs with this processor have.
    """
    own = tuple(sorted(prop for prop in properties if prop.namespace == machine))
    preset = load_preset(machine, at="polywheel audit")
    names = {name for prop in own for name in _names(preset, prop.feature, prop.value)}
    baseline, oldest = BASELINES[machine], preset.oldest_mac
    if is_macos and oldest is not None:
        baseline = oldest.processor
        names.update(_listed(preset, oldest.extensions))
    return Admitted(machine, frozenset(names), own, baseline)


def own_extensions(prop: VariantProperty) -> frozenset[str]:
    """Return the extensions that a property admits and that no value it implies does.

    A wheel that uses none of them does not need the property. Empty for properties without instructions.
    """
    if prop.namespace not in BASELINES:
        return frozenset()
    values = load_preset(prop.namespace, at=str(prop)).extensions.get(prop.feature, {})
    return frozenset(name for name in values.get(prop.value, ()) if "::" not in name)


def _names(preset: Preset, feature: str, value: str) -> Iterator[str]:
    yield from _listed(preset, preset.extensions.get(feature, {}).get(value, ()))


def _listed(preset: Preset, names: Iterable[str]) -> Iterator[str]:
    """The extensions in a list, and those that its properties imply."""
    for name in names:
        feature_name, separator, value_name = name.partition(" :: ")
        if separator:
            yield from _names(preset, feature_name, value_name)
        else:
            yield name


def unknown_namespaces(properties: Iterable[VariantProperty]) -> tuple[str, ...]:
    """Return the namespaces without a preset. Their properties say nothing about files."""
    return tuple(sorted({prop.namespace for prop in properties} - set(preset_names())))


def level_of(machine: str, extension: str) -> str | None:
    """Return the first level of a machine that has an extension, as ``level v3``; None if no level has it."""
    preset = load_preset(machine, at="polywheel audit")
    for feature in ("level", "version"):
        for value in reversed(
            preset.features[feature].values if feature in preset.features else ()
        ):
            if extension in _names(preset, feature, value):
                return f"{feature} {value}"
    return None
