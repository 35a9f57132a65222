"""The presets of polywheel, and properties that are compared with them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from polywheel.config.project import read_project
from polywheel.config.setup_table import COMPILERS
from polywheel.errors import ConfigError, Problem
from polywheel.model.setup import BuildSetup, FeatureValues, Preset
from polywheel.model.variant import VariantProperty
from polywheel.setup.presets import check_against_preset, load_preset, preset_names, project_presets
from polywheel.setup.profiles import shipped_profiles
from polywheel.setup.rules import SetupSources, merge_rules
from support.setups import flags, rules, values, variant

NAMES = preset_names()
BACKENDS = tuple(one.name for one in shipped_profiles())
MSVC_HAS = re.compile(r"/arch:(AVX2|AVX512|armv[89]\.[0-9])|/openmp:llvm")


@cache
def preset(name: str) -> Preset:
    return load_preset(name, at="here")


def resolved(
    *properties: str, compiler: str = "gnu", backend: str | None = None, label: str = "x"
) -> BuildSetup:
    """What the preset of the first property's namespace asks for."""
    namespace = properties[0].partition("::")[0].strip()
    sources = SetupSources(presets=[preset(namespace)], compiler=compiler, backend=backend)
    return merge_rules(variant(*properties, label=label), sources)


def example(feature: FeatureValues) -> tuple[str, ...]:
    """Every value of a feature, or some that match its pattern."""
    candidates = ("1", "12", "12.8", "6.4", "7.10")
    return feature.values or tuple(one for one in candidates if feature.has(one))


# --- every one of them ---------------------------------------------------------------------------


def test_each_file_is_a_preset_of_the_namespace_that_it_is_called() -> None:
    assert set(NAMES) >= {"x86_64", "aarch64", "nvidia", "amd", "blas_lapack", "openmp"}
    for name in NAMES:
        assert preset(name).name == preset(name).namespace == name


@pytest.mark.parametrize("name", NAMES)
def test_rules_are_for_what_the_preset_knows(name: str) -> None:
    known = preset(name).features
    for rule in preset(name).rules:
        assert rule.target[:1] == (name,)
        assert rule.label_glob is None
        assert set(rule.target[1:2]) <= known.keys()
        assert all(known[rule.target[1]].has(value) for value in rule.target[2:])
        assert set(rule.by_backend) <= set(BACKENDS)
        assert rule.at.startswith(f"preset {name}: setup.")


@pytest.mark.parametrize("name", NAMES)
def test_every_feature_has_values_or_a_pattern_and_spells_them_all(name: str) -> None:
    for feature_name, feature in preset(name).features.items():
        assert bool(feature.values) != bool(feature.pattern)
        assert example(feature)
        for rule in preset(name).rules:
            if rule.target == (name, feature_name):
                for spelling in rule.spelling.values():
                    assert set(spelling) == set(feature.values)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_every_property_resolves_for_every_compiler_and_backend(name: str, backend: str) -> None:
    for compiler in COMPILERS:
        for feature_name, feature in preset(name).features.items():
            for value in example(feature):
                prop = f"{name}::{feature_name}::{value}"
                setup = resolved(prop, compiler=compiler, backend=backend)
                for field, texts in flags(setup).items():
                    assert all(text and " " not in text and "{" not in text for text in texts)
                    if compiler == "msvc" and field in {"cflags", "cxxflags", "fflags"}:
                        assert all(MSVC_HAS.fullmatch(text) for text in texts)


def test_a_name_that_there_is_no_preset_of_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        load_preset("x86-64", at="pyproject.toml: tool.polywheel.presets")
    (problem,) = caught.value.problems
    assert problem == Problem(
        "unknown preset 'x86-64'",
        "pyproject.toml: tool.polywheel.presets",
        "did you mean 'x86_64'?",
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("x86-64-levels", "did you mean 'x86_64'? 'x86-64-levels' is a template of polywheel init"),
        ("debug", "'debug' is a template of polywheel init"),
        ("nvidai", "did you mean 'nvidia'?"),
    ],
)
def test_the_hint_about_an_unknown_preset(name: str, hint: str, tmp_path: Path) -> None:
    text = f'[tool.polywheel]\npresets = ["{name}"]\n'
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        project_presets(read_project(tmp_path, variants=False))
    (problem,) = caught.value.problems
    assert problem.what == f"unknown preset {name!r}"
    assert problem.hint == hint


# --- one by one ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "gnu", "msvc"),
    [
        ("v1", "-march=x86-64", []),
        ("v2", "-march=x86-64-v2", []),  # there is no /arch for it
        ("v3", "-march=x86-64-v3", ["/arch:AVX2"]),
        ("v4", "-march=x86-64-v4", ["/arch:AVX512"]),
    ],
)
def test_levels_of_x86_64(level: str, gnu: str, msvc: list[str]) -> None:
    for compiler in ("gnu", "clang"):
        found = flags(resolved(f"x86_64::level::{level}", compiler=compiler))
        assert found["cflags"] == found["cxxflags"] == found["fflags"] == [gnu]
        assert found["rustflags"] == [gnu.replace("-march=", "-Ctarget-cpu=")]
    found = flags(resolved(f"x86_64::level::{level}", compiler="msvc"))
    assert found.get("cflags", []) == found.get("cxxflags", []) == msvc
    assert "fflags" not in found


def test_an_extension_of_x86_64_is_added_to_the_level() -> None:
    found = flags(resolved("x86_64::level::v3", "x86_64::avx512f::on"))
    assert sorted(found["cflags"]) == ["-march=x86-64-v3", "-mavx512f"]
    found = flags(resolved("x86_64::level::v3", "x86_64::avx512f::on", compiler="msvc"))
    assert found["cflags"] == ["/arch:AVX2"]


def test_versions_of_aarch64() -> None:
    found = flags(resolved("aarch64::version::8.2a"))
    assert found["cflags"] == found["cxxflags"] == ["-march=armv8.2-a"]
    assert flags(resolved("aarch64::version::8.2a", compiler="msvc"))["cflags"] == ["/arch:armv8.2"]


def test_architectures_of_nvidia_reach_cmake_torch_and_nvcc() -> None:
    both = ("nvidia::sm_arch::80_real", "nvidia::sm_arch::90_virtual")
    setup = resolved(*both, backend="scikit-build-core")
    assert values(setup.defines) == {"CMAKE_CUDA_ARCHITECTURES": "80-real;90-virtual"}
    assert setup.flags == {}
    setup = resolved(*both, backend="meson-python")
    assert setup.defines == {}
    assert values(setup.env)["TORCH_CUDA_ARCH_LIST"] == "8.0;9.0+PTX"
    assert flags(setup) == {
        "cuflags": [
            "-gencode=arch=compute_80,code=sm_80",
            "-gencode=arch=compute_90,code=compute_90",
        ]
    }


def test_the_toolkit_of_a_cuda_version_is_looked_for() -> None:
    setup = resolved("nvidia::cuda_version_lower_bound::12.8")
    looked_for = (*values(setup.env).values(), *setup.notes)
    assert any("/usr/local/cuda-12.8" in str(one) for one in looked_for)


def test_architectures_of_amd_reach_cmake_and_torch() -> None:
    both = ("amd::gfx_arch::gfx942", "amd::gfx_arch::gfx90a")
    setup = resolved(*both, backend="scikit-build-core")
    assert values(setup.defines) == {"CMAKE_HIP_ARCHITECTURES": "gfx90a;gfx942"}
    assert values(setup.env)["PYTORCH_ROCM_ARCH"] == "gfx90a;gfx942"
    assert resolved(*both, backend="meson-python").defines == {}


@pytest.mark.parametrize(
    ("backend", "defines"),
    [
        ("scikit-build-core", {"BLA_VENDOR": "OpenBLAS"}),
        ("meson-python", {"blas": "openblas", "lapack": "openblas"}),
        ("setuptools", {}),
    ],
)
def test_a_blas_library_is_chosen_in_the_words_of_the_build_system(
    backend: str, defines: dict[str, str]
) -> None:
    setup = resolved("blas_lapack::library::openblas", backend=backend)
    assert values(setup.defines) == defines


@pytest.mark.parametrize(
    ("compiler", "provider", "expected"),
    [
        ("gnu", "gnu", ["-fopenmp"]),
        ("clang", "llvm", ["-fopenmp=libomp"]),
        ("clang", "intel", ["-fopenmp=libiomp5"]),
        ("clang", "gnu", []),
        ("msvc", "llvm", ["/openmp:llvm"]),
        ("msvc", "gnu", []),
    ],
)
def test_an_openmp_library_is_chosen_where_the_compiler_can(
    compiler: str, provider: str, expected: list[str]
) -> None:
    setup = resolved(f"openmp::provider::{provider}", compiler=compiler)
    assert flags(setup).get("cflags", []) == expected


# --- properties against a preset -----------------------------------------------------------------

GPU = Preset(
    name="gpu",
    namespace="gpu",
    features={
        "arch": FeatureValues(tuple(f"{number}_real" for number in range(70, 90)), None, True),
        "vendor": FeatureValues(("amd", "nvidia")),
        "cuda": FeatureValues(pattern=r"[0-9]{2}\.[0-9]"),
    },
    rules=rules('["gpu"]'),
)


def problems_of(*properties: str) -> tuple[Problem, ...]:
    try:
        check_against_preset(map(VariantProperty.parse, properties), GPU, at="here")
    except ConfigError as error:
        return error.problems
    return ()


@pytest.mark.parametrize(
    "properties",
    [
        (),
        ("gpu::vendor::amd",),
        ("gpu::arch::70_real", "gpu::arch::80_real"),
        ("gpu::cuda::12.8", "gpu::vendor::nvidia"),
    ],
)
def test_what_a_preset_knows_is_taken(properties: tuple[str, ...]) -> None:
    assert problems_of(*properties) == ()


@pytest.mark.parametrize(
    ("properties", "what", "hint"),
    [
        (
            ("gpu::vendr::amd",),
            "the preset 'gpu' does not know the feature of 'gpu :: vendr :: amd'",
            "did you mean 'vendor'?",
        ),
        (
            ("gpu::vendor::intel",),
            "the preset 'gpu' does not know the value of 'gpu :: vendor :: intel'",
            "known: amd, nvidia",
        ),
        (("gpu::arch::70_rael",), "the value of 'gpu :: arch :: 70_rael'", "did you mean '70_rea"),
        (("gpu::arch::x",), "the value of 'gpu :: arch :: x'", None),  # too many to list
        (
            ("gpu::cuda::12",),
            "the value of 'gpu :: cuda :: 12'",
            r"it must match ^[0-9]{2}\.[0-9]$",
        ),
        (
            ("gpu::vendor::amd", "gpu::vendor::nvidia"),
            "'gpu :: vendor' allows one value in a variant, not 2: amd, nvidia",
            None,
        ),
        (("gpu::cuda::12.8", "gpu::cuda::12.9"), "allows one value in a variant, not 2", None),
    ],
)
def test_what_a_preset_does_not_know_is_refused_with_the_nearest(
    properties: tuple[str, ...], what: str, hint: str | None
) -> None:
    (problem,) = problems_of(*properties)
    assert what in problem.what
    assert problem.at == "here"
    assert (problem.hint or "").startswith(hint or "")
    assert (problem.hint is None) == (hint is None)


def test_everything_wrong_is_said_at_once() -> None:
    assert (
        len(problems_of("gpu::a::b", "gpu::vendor::c", "gpu::cuda::12.8", "gpu::cuda::12.9")) == 3
    )
