"""Rules about unknown properties are refused; the error names the nearest property."""

from __future__ import annotations

from dataclasses import replace

import pytest

from polywheel.config.project import ProviderOverride, Settings
from polywheel.errors import ConfigError, Problem
from polywheel.model.plugin_answers import PluginAnswer
from polywheel.model.setup import BackendProfile, FeatureValues, Preset
from polywheel.model.variant import Provider, Variant
from polywheel.setup.unused_rules import check_unused_rules
from support.setups import at, plugin_answer, project, rules, variant

STATIC = Provider(
    namespace="blas", static_properties={"library": ("openblas", "mkl"), "threads": ("on",)}
)
PLUGIN = Provider(namespace="cpu", requires=("cpu-provider",))
FILLS_STATIC = Provider(namespace="cpu", build_requires=("cpu-provider",))
PRESET = Preset(
    name="cpu",
    namespace="cpu",
    features={
        "level": FeatureValues(("v1", "v2", "v3")),
        "version": FeatureValues(pattern=r"[0-9]\.[0-9]"),
    },
    rules=(),
)
LISTS = plugin_answer("cpu", configs={"level": ["v3", "v9"], "aes": ["on"]})
LISTS_NOTHING = plugin_answer("cpu")


def problems_of(
    *keys: str,
    providers: tuple[Provider, ...] = (STATIC, PLUGIN),
    built: Variant | None = None,
    variants: tuple[Variant, ...] = (),
    presets: tuple[Preset, ...] = (),
    answers: tuple[PluginAnswer, ...] = (),
    settings: Settings | None = None,
) -> tuple[Problem, ...]:
    text = "\n".join(f'["{key}"]' for key in keys)
    settings = replace(settings or Settings(), setup=rules(text))
    try:
        check_unused_rules(
            project(settings, *providers, variants=variants),
            built or variant(),
            presets,
            {one.namespace: one for one in answers},
        )
    except ConfigError as error:
        return error.problems
    return ()


@pytest.mark.parametrize(
    ("key", "what", "hint"),
    [
        ("blass", "the namespace 'blass' has no provider", "did you mean 'blas'?"),
        ("blass :: library :: mkl", "the namespace 'blass' has no provider", "did you mean"),
        ("zz", "the namespace 'zz' has no provider", "known: blas, cpu"),
        (
            "blas :: libary",
            "unknown feature 'blas :: libary'",
            "did you mean 'library'?",
        ),
        ("blas :: x :: mkl", "unknown feature 'blas :: x'", "library, threads"),
        (
            "blas :: library :: openblass",
            "unknown value 'blas :: library :: openblass'",
            "did you mean 'openblas'?",
        ),
        ("blas :: library :: x", "unknown value", "known: mkl, openblas"),
        ("blas :: threads :: mkl", "unknown value", "known: on"),
        ("label:mk", "no variant has a label that matches 'mk'", "did you mean 'mkl'?"),
        ("label:cu*", "no variant has a label that matches 'cu*'", "known: mkl, null"),
    ],
)
def test_what_nobody_knows_is_refused_with_the_nearest(key: str, what: str, hint: str) -> None:
    declared = (variant("blas::library::mkl", label="mkl"),)
    (problem,) = problems_of(key, variants=declared)
    assert what in problem.what
    assert problem.at == at(key)
    assert hint in (problem.hint or "")


@pytest.mark.parametrize(
    "key",
    [
        *("*", "blas", "blas :: library", "blas :: library :: mkl", "cpu", "cpu :: anything"),
        *("label:mkl", "label:m*", "label:*", "label:null", "label:n?ll"),
    ],
)
def test_what_is_known_is_taken(key: str) -> None:
    assert not problems_of(key, variants=(variant("blas::library::mkl", label="mkl"),))


def test_everything_wrong_is_said_at_once() -> None:
    assert len(problems_of("gpu", "blas :: x", "label:x")) == 3


# --- labels --------------------------------------------------------------------------------------


def test_the_label_that_is_built_is_known_declared_or_not() -> None:
    built = variant("blas::library::mkl", label="adhoc")
    assert not problems_of("label:adhoc", built=built)
    assert problems_of("label:adhoc")


def test_labels_that_a_matrix_makes_are_taken() -> None:
    assert not problems_of("label:whatever*", settings=Settings(has_matrix=True))


# --- who knows what ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("cpu :: level", True),
        ("cpu :: level :: v9", True),
        ("cpu :: aes :: on", True),
        ("cpu :: level :: v2", False),  # only the preset knows this one
        ("cpu :: version", False),
        ("cpu :: level :: v4", False),
    ],
)
def test_a_plugin_that_lists_all_that_it_knows_is_believed_before_a_preset(
    key: str, known: bool
) -> None:
    assert bool(problems_of(key, answers=(LISTS,), presets=(PRESET,))) != known


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("cpu :: level :: v2", True),
        ("cpu :: version :: 1.2", True),
        ("cpu :: levle", False),
        ("cpu :: level :: v9", False),
        ("cpu :: version :: 12", False),
    ],
)
@pytest.mark.parametrize("how", ["lists nothing", "preset", "never"])
def test_a_preset_stands_for_a_provider_that_lists_nothing(key: str, known: bool, how: str) -> None:
    if how == "lists nothing":
        found = problems_of(key, answers=(LISTS_NOTHING,), presets=(PRESET,))
    else:
        settings = Settings(providers={"cpu": ProviderOverride(query=how)})
        found = problems_of(key, presets=(PRESET,), settings=settings)
    assert bool(found) != known


@pytest.mark.parametrize("provider", [PLUGIN, FILLS_STATIC])
def test_a_plugin_that_has_not_answered_may_know_more_than_the_preset(provider: Provider) -> None:
    assert not problems_of("cpu :: new", providers=(provider,), presets=(PRESET,))


def test_a_plugin_that_only_polywheels_own_table_names_may_know_more_too() -> None:
    settings = Settings(providers={"cpu": ProviderOverride(requires=("cpu-provider",))})
    builtin = Provider(namespace="cpu", builtin="cpu")
    assert not problems_of("cpu :: new", providers=(builtin,), presets=(PRESET,), settings=settings)
    assert problems_of("cpu :: new", providers=(builtin,), presets=(PRESET,))


def test_static_properties_are_all_that_there_is() -> None:
    preset = replace(PRESET, namespace="blas", features={"more": FeatureValues(("x",))})
    assert problems_of("blas :: more", presets=(preset,))


def test_without_any_list_everything_may_be_meant() -> None:
    assert not problems_of("cpu :: a", "cpu :: a :: b", answers=(LISTS_NOTHING,))


def test_what_is_declared_or_built_is_known_whatever_a_preset_says() -> None:
    declared = (variant("cpu::new::x", label="new"),)
    built = variant("cpu::level::v9", label="v9")
    keys = ("cpu :: new :: x", "cpu :: level :: v9", "cpu :: level :: v2", "cpu :: version :: 1.2")
    assert not problems_of(
        *keys, variants=declared, built=built, answers=(LISTS_NOTHING,), presets=(PRESET,)
    )
    assert problems_of(
        "cpu :: new :: y", variants=declared, answers=(LISTS_NOTHING,), presets=(PRESET,)
    )


# --- the namespace without a provider ------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("abi_dependency", True),
        ("abi_dependency :: torch", True),
        ("abi_dependency :: torch :: 2.9", True),
        ("abi_dependency :: torch :: 2.9.1.0", False),
        ("abi_dependency :: torch :: cu12", False),
    ],
)
def test_packages_and_versions_need_no_provider(key: str, known: bool) -> None:
    assert bool(problems_of(key)) != known


# --- backends ------------------------------------------------------------------------------------


def backend_problems(name: str, settings: Settings | None = None) -> tuple[Problem, ...]:
    found = replace(settings or Settings(), setup=rules(f'["*".backend."{name}"]\nrequires = []'))
    try:
        check_unused_rules(project(found), variant(), (), {})
    except ConfigError as error:
        return error.problems
    return ()


@pytest.mark.parametrize(
    ("name", "known"), [("meson-python", True), ("uv-build", True), ("mesonpy", False)]
)
def test_fields_are_for_backends_that_have_a_profile(name: str, known: bool) -> None:
    found = backend_problems(name)
    assert bool(found) != known
    for problem in found:
        assert problem.what == f"no backend profile has the name {name!r}"
        assert problem.at == at("*", "backend")
        assert problem.hint == "did you mean 'meson-python'?"


def test_an_inhouse_backend_is_known_by_the_name_that_it_is_called() -> None:
    profile = BackendProfile(name="backend", modules=(), packages=())
    assert backend_problems("own.build:api")
    assert backend_problems("own.build:api", Settings(build_backend="own.build:api"))
    settings = Settings(build_backend="own.build:api", backend=profile)
    assert not backend_problems("own.build:api", settings)
