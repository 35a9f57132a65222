"""The features that uv's built-in providers detect on a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from polywheel.index.resolve import hardware
from polywheel.index.resolve.hardware import levels_of, versions_of
from polywheel.index.resolve.uv_providers import (
    builtin_namespace,
    detect,
    no_builtin_reason,
    nvidia_features,
)
from polywheel.model.variant import Provider

V2 = "fpu sse2 pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm"
V3 = f"{V2} fma movbe avx f16c abm bmi1 avx2 bmi2"
V4 = f"{V3} avx512f avx512dq avx512cd avx512bw avx512vl"
MACOS = (
    "FPU SSE2 SSE3 SSSE3 CX16 SSE4.1 SSE4.2 POPCNT LAHF FMA MOVBE AVX1.0 F16C LZCNT BMI1 AVX2 BMI2"
)
EVERYTHING = 2**64 - 1
N1, V1, A72 = ("0x41", "0xd0c"), ("0x41", "0xd40"), ("0x41", "0xd08")
NVIDIA = "nvidia_variant_provider.plugin:NvidiaVariantPlugin"


@pytest.mark.parametrize(
    ("flags", "best"), [("", "v1"), (V2, "v2"), (V3, "v3"), (V4, "v4"), (MACOS, "v3")]
)
def test_the_levels_of_a_processor(flags: str, best: str) -> None:
    every = ("v4", "v3", "v2", "v1")
    assert levels_of(flags.split()) == every[every.index(best) :]


@pytest.mark.parametrize("lacks", V4.split()[2:])
def test_every_flag_counts_and_a_level_needs_those_below_it(lacks: str) -> None:
    has = [flag for flag in V4.split() if flag != lacks]
    below = "v1" if lacks in V2 else "v2" if lacks in V3.split() else "v3"
    assert levels_of(has)[0] == below


@pytest.mark.parametrize(
    ("cores", "hwcap", "best"),
    [
        ([N1], EVERYTHING, "8.2a"),
        ([V1], EVERYTHING, "8.4a"),
        ([A72], EVERYTHING, "8a"),
        ([("0x61", "0x022")], EVERYTHING, "8.4a"),
        ([V1, N1], EVERYTHING, "8.2a"),
        ([V1, A72], EVERYTHING, "8a"),
        ([V1], 0, "8a"),
        ([V1], EVERYTHING & ~(1 << 8), "8a"),  # atomics
        ([V1], EVERYTHING & ~(1 << 16), "8.1a"),  # dcpop
        ([V1], EVERYTHING & ~(1 << 30), "8.2a"),  # paca
        ([V1], EVERYTHING & ~(1 << 20), "8.3a"),  # asimddp
        ([("", "")], EVERYTHING, "8a"),
    ],
)
def test_the_versions_of_an_aarch64_processor(
    cores: list[tuple[str, str]], hwcap: int, best: str
) -> None:
    every = ("8.4a", "8.3a", "8.2a", "8.1a", "8a")
    assert versions_of(cores, hwcap) == every[every.index(best) :]


@pytest.mark.parametrize("content", [None, "", "processor: 0\nmodel name: unknown\n"])
def test_a_processor_that_can_not_be_told(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cpuinfo"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    monkeypatch.setattr(hardware, "CPUINFO", path)
    monkeypatch.setattr(hardware, "architecture", lambda: "x86_64")
    monkeypatch.setattr("sys.platform", "linux")
    found = detect("x86_64")
    assert found.features == {"level": ("v1",)}
    assert "is unknown; v1 is certain" in found.summary


def test_the_bounds_of_cuda() -> None:
    found = nvidia_features((12, 2), (8, 6))
    lower, upper = found["cuda_version_lower_bound"], found["cuda_version_upper_bound"]
    assert lower[:5] == ("12.2", "12.1", "12.0", "12", "11.20")
    assert lower[-2:] == ("11.0", "11")
    assert upper[0] == "15.20"
    assert upper[-2:] == ("12.4", "12.3")
    assert found["sm_arch"] == (*(f"8{one}_real" for one in range(6, -1, -1)), "80_virtual")
    assert "sm_arch" not in nvidia_features((12, 2), None)
    assert nvidia_features((10, 2), None)["cuda_version_lower_bound"] == ()


def test_uv_knows_no_bounds_below_cuda_11() -> None:
    bounds = nvidia_features((8, 0), None)["cuda_version_upper_bound"]
    assert {text.partition(".")[0] for text in bounds} == {"8", "11", "12", "13", "14", "15"}


def provider(
    namespace: str, *requires: str, api: str | None = None, optional: bool = False
) -> Provider:
    return Provider(namespace=namespace, requires=requires, plugin_api=api, optional=optional)


@pytest.mark.parametrize(
    ("declared", "known"),
    [
        (provider("x86_64", "x86-64-variant-provider"), True),
        (provider("x86_64", "X86_64.variant-provider >= 0.0.1, < 1"), True),
        (provider("x86_64", "x86-64-variant-provider", api="x86_64_variant_provider"), True),
        (provider("x86_64", "x86-64-variant-provider", api="x86_64_variant_provider:P"), False),
        (provider("x86_64", "x86-64-variant-provider==0.0.1"), False),
        (provider("x86_64", "x86-64-variant-provider[x]"), False),
        (provider("x86_64", "x86-64-variant-provider; os_name != 'x'"), False),
        (provider("x86_64", "x86-64-variant-provider", "packaging"), False),
        (provider("x86_64", "x86-64-variant-provider", optional=True), False),
        (provider("x86_64", "provider-variant-x86-64"), False),
        (provider("cpu", "x86-64-variant-provider"), False),
        (provider("aarch64", "aarch64-variant-provider"), True),
        (provider("nvidia", "nvidia-variant-provider", api=NVIDIA), True),
        (provider("nvidia", "nvidia-variant-provider>=0.0.1,<1.0.0", api=NVIDIA), True),
        (provider("nvidia", "nvidia-variant-provider"), False),
        (Provider(namespace="x86_64", builtin="x86_64"), False),
    ],
)
def test_which_providers_uv_has_built_in(declared: Provider, known: bool) -> None:
    assert (builtin_namespace(declared) is not None) == known


def test_what_to_name_for_uv() -> None:
    assert no_builtin_reason(provider("x86_64", "provider-variant-x86-64")) == (
        "uv runs no plugins, and has no built-in provider for provider-variant-x86-64; it has one "
        'for requires = ["x86-64-variant-provider"]'
    )
    assert f'plugin-api = "{NVIDIA}"' in no_builtin_reason(
        provider("nvidia", "nvidia-variant-provider")
    )
    assert no_builtin_reason(provider("spice", "spice")).endswith("no built-in provider for spice")
