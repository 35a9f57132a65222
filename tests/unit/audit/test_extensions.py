"""What labels admit, according to the presets."""

from __future__ import annotations

import iced_x86
import pytest

from polywheel.audit.extensions import (
    admitted_extensions,
    level_of,
    own_extensions,
    unknown_namespaces,
)
from polywheel.audit.x86_64_instructions import _NAMES
from polywheel.model.variant import VariantProperty
from polywheel.setup.presets import load_preset, preset_names

V2 = {"CMPXCHG16B", "POPCNT", "SSE3", "SSE4.1", "SSE4.2", "SSSE3"}
V3 = V2 | {"AVX", "AVX2", "BMI1", "BMI2", "F16C", "FMA", "LZCNT", "MOVBE", "XSAVE"}
V4 = V3 | {"AVX512BW", "AVX512CD", "AVX512DQ", "AVX512F", "AVX512VL"}


def x86(feature: str, value: str = "on") -> VariantProperty:
    return VariantProperty("x86_64", feature, value)


@pytest.mark.parametrize(
    ("level", "extensions"), [("v1", set()), ("v2", V2), ("v3", V3), ("v4", V4)]
)
def test_levels_are_those_of_the_psabi(level: str, extensions: set[str]) -> None:
    assert admitted_extensions("x86_64", [x86("level", level)]).extensions == extensions


def test_single_features_add_to_a_level() -> None:
    admitted = admitted_extensions("x86_64", [x86("level", "v3"), x86("avx_vnni")])
    assert admitted.extensions == V3 | {"AVX-VNNI"}
    assert str(admitted) == "x86_64 :: avx_vnni :: on and x86_64 :: level :: v3"
    alone = admitted_extensions("x86_64", [x86("avx2")])
    assert alone.extensions == V2 - {"CMPXCHG16B"} | {"AVX", "AVX2", "XSAVE"}


def test_other_namespaces_admit_nothing() -> None:
    other = [VariantProperty("aarch64", "sve", "on"), VariantProperty("gpu", "kind", "x")]
    admitted = admitted_extensions("x86_64", other)
    assert (admitted.extensions, str(admitted)) == (frozenset(), "x86-64-v1")
    assert unknown_namespaces(other) == ("gpu",)


def test_own_extensions_are_those_that_a_property_adds() -> None:
    assert own_extensions(x86("level", "v4")) == V4 - V3
    assert own_extensions(x86("avx2")) == {"AVX2"}
    assert own_extensions(x86("level", "v9")) == frozenset()
    assert own_extensions(VariantProperty("nvidia", "sm_arch", "90_real")) == frozenset()


def test_the_level_of_an_extension() -> None:
    levels = [level_of("x86_64", name) for name in ("SSE3", "AVX2", "AVX512F", "AES")]
    assert levels == ["level v2", "level v3", "level v4", None]
    versions = [level_of("aarch64", name) for name in ("LSE", "DotProd", "SVE2", "I8MM")]
    assert versions == ["version 8.1a", "version 8.4a", "version 9.0a", None]


def test_presets_name_extensions_that_exist_and_values_that_they_have() -> None:
    known = {_NAMES.get(name, name) for name in vars(iced_x86.CpuidFeature)}
    for preset in (load_preset(name, at="test") for name in preset_names()):
        for feature, values in preset.extensions.items():
            for value, names in values.items():
                assert preset.features[feature].has(value), (feature, value)
                for name in names:
                    other, separator, implied = name.partition(" :: ")
                    if separator:
                        assert implied in preset.extensions[other], name
                    elif preset.namespace == "x86_64":
                        assert name in known, name
