"""What a label says about the files of a wheel: the ``[files]`` of the presets, for its properties."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from polywheel.model.setup import FileExpectations
from polywheel.model.variant import VariantFeature, VariantProperty
from polywheel.setup.presets import load_preset, preset_names


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """A feature of a label, and what it says about files."""

    feature: VariantFeature
    values: tuple[str, ...]
    """The values that the label declares."""

    files: FileExpectations
    version_libraries: tuple[str, ...] = ()

    def property(self, value: str) -> str:
        """Return the property with a value, as text."""
        return f"{self.feature} :: {value}"


def file_expectations(properties: Iterable[VariantProperty]) -> tuple[Expectation, ...]:
    """Return what the properties of a label say about files. Others than those of presets say nothing."""
    values: dict[VariantFeature, list[str]] = {}
    for prop in sorted(properties):
        values.setdefault(VariantFeature(prop.namespace, prop.feature), []).append(prop.value)
    expectations = []
    for feature, declared in values.items():
        if feature.namespace in preset_names():
            preset = load_preset(feature.namespace, at=str(feature))
            if files := preset.files.get(feature.feature):
                expectations.append(
                    Expectation(
                        feature=feature,
                        values=tuple(declared),
                        files=files,
                        version_libraries=preset.version_libraries,
                    )
                )
    return tuple(expectations)
