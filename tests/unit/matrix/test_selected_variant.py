"""The variant that the config settings of a build select, and its label."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polywheel.config.project import read_project
from polywheel.config.reader import Problems, Table
from polywheel.config.selection import ConfigSettings, parse_selection
from polywheel.config.variant_table import read_variant_table
from polywheel.errors import ConfigError, Problem
from polywheel.matrix.selected_variant import resolve, resolve_variant
from polywheel.model.variant import Variant, VariantMetadata
from support.matrices import VARIANT

DECLARATIONS = """
[default-priorities]
namespace = ["x86_64", "blas"]
[providers.x86_64]
requires = ["provider-variant-x86-64"]
[providers.blas.static-properties]
library = ["openblas", "mkl"]
[variants.fast]
x86_64.level = ["v3"]
blas.library = ["mkl"]
[variants.fat]
x86_64.level = ["v2", "v3"]
"""
V3 = "x86_64 :: level :: v3"
V2 = "x86_64 :: level :: v2"
MKL = "blas :: library :: mkl"


def declared(text: str = DECLARATIONS) -> VariantMetadata:
    problems = Problems()
    metadata = read_variant_table(Table(tomllib.loads(text), "pyproject.toml", (), problems))
    problems.raise_all()
    return metadata


def variant(settings: ConfigSettings | None) -> Variant:
    selection, _ = parse_selection(settings)
    assert selection.asks_for_variant
    return resolve(selection, declared())


def said(variant: Variant) -> tuple[str, list[str]]:
    return variant.label, [str(prop) for prop in variant.properties]


def problems_of(settings: Any) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        variant(settings)
    return caught.value.problems


@pytest.mark.parametrize(
    ("settings", "label", "properties"),
    [
        # one property, in each of its spellings; no label: the hash
        ({"variant": V3}, "fa7c1393", [V3]),
        ({"variant": "x86_64::level::v3"}, "fa7c1393", [V3]),
        ({"variant-name": V3}, "fa7c1393", [V3]),
        ({"variant-property": V3}, "fa7c1393", [V3]),
        ({"variant": [V3]}, "fa7c1393", [V3]),
        ({"variant": (V3,)}, "fa7c1393", [V3]),
        # several: the key repeated, separated by commas, spread over the spellings
        ({"variant": [V3, "x86_64 :: aes :: on"]}, "7e3cb5eb", ["x86_64 :: aes :: on", V3]),
        ({"variant": f"{V3}, x86_64::aes::on"}, "7e3cb5eb", ["x86_64 :: aes :: on", V3]),
        (
            {"variant": V3, "variant-name": "x86_64::aes::on", "variant-property": V3},
            "7e3cb5eb",
            ["x86_64 :: aes :: on", V3],
        ),
        # what equals a declared variant takes its label, in any order
        ({"variant": [MKL, V3]}, "fast", [MKL, V3]),
        ({"variant": f"{V3},{MKL},{V3}"}, "fast", [MKL, V3]),
        # one feature with two values
        ({"variant": [V3, V2]}, "fat", [V2, V3]),
        # labels
        ({"variant-label": "fast"}, "fast", [MKL, V3]),
        ({"variant-label": ["fast", "fast"]}, "fast", [MKL, V3]),
        ({"variant-label": "mine", "variant": V3}, "mine", [V3]),
        ({"variant-label": "fast", "variant": [V3, MKL]}, "fast", [MKL, V3]),
        # the null variant
        ({"variant-label": "null"}, "null", []),
        ({"null-variant": ""}, "null", []),
        ({"null-variant": "true"}, "null", []),
        ({"null-variant": "1"}, "null", []),
        ({"null-variant": "yes"}, "null", []),
        ({"null-variant": "on"}, "null", []),
        ({"null-variant": ["true", "true"]}, "null", []),
        ({"null-variant": True}, "null", []),  # frontends that take JSON
        ({"null-variant": "true", "variant-label": "null"}, "null", []),
        ({"null-variant": "false", "variant": V3}, "fa7c1393", [V3]),
        # a namespace that has no provider by its nature
        (
            {"variant": "abi_dependency::torch::2.9", "variant-label": "torch29"},
            "torch29",
            ["abi_dependency :: torch :: 2.9"],
        ),
    ],
)
def test_what_is_asked_for(settings: ConfigSettings, label: str, properties: list[str]) -> None:
    assert said(variant(settings)) == (label, properties)


def test_a_hash_may_be_given_as_its_own_label() -> None:
    assert variant({"variant": V3, "variant-label": "fa7c1393"}) == variant({"variant": V3})


@pytest.mark.parametrize(
    ("settings", "key", "what", "hint"),
    [
        # contradictions
        (
            {"null-variant": "", "variant": V3},
            "null-variant",
            f"the null variant has no properties, but some were given: {V3}",
            "remove config setting null-variant or the properties",
        ),
        (
            {"null-variant": "true", "variant-label": "fast"},
            "variant-label",
            "the label of the null variant is always 'null', not 'fast'",
            "",
        ),
        (
            {"variant-label": "null", "variant": V3},
            "variant-label",
            "the label 'null' is reserved",
            "choose another label",
        ),
        (
            {"variant-label": ["fast", "fat"]},
            "variant-label",
            "2 different labels: 'fast', 'fat'",
            "run one build for each label",
        ),
        (
            {"variant-label": "fast", "variant": V3},
            "variant-label",
            f"the label 'fast' is declared with other properties: {MKL}, {V3}",
            "choose another label",
        ),
        ({"null-variant": ["true", "false"]}, "null-variant", "conflicting values", ""),
        # malformed
        ({"variant": "x86_64::level"}, "variant", "malformed variant property", "namespace ::"),
        ({"variant": ""}, "variant", "malformed variant property ''", "namespace ::"),
        ({"variant-name": f"{V3},"}, "variant-name", "malformed variant property ''", ""),
        ({"variant": "X86::level::v3"}, "variant", "the namespace 'X86'", "lower case"),
        ({"variant-label": "V3"}, "variant-label", "malformed variant label 'V3'", "a-z"),
        ({"variant-label": ""}, "variant-label", "malformed variant label ''", "a-z"),
        (
            {"variant-label": "a-b", "variant": V3},
            "variant-label",
            "malformed variant label 'a-b'",
            "a-z",
        ),
        ({"null-variant": "maybe"}, "null-variant", "unknown value 'maybe'", "true"),
        (
            {"variant": V3, "variant-filename": "hash"},
            "variant-filename",
            "unknown value 'hash'",
            "known: label, unlabelled",
        ),
        ({"variant": 7}, "variant", "expected a string, found 7", ""),
        ({"variant": None}, "variant", "expected a string, found nothing", ""),
        ({"variant": [V3, {}]}, "variant", "expected a string, found a table", ""),
        # unknown
        (
            {"variant-label": "fasst"},
            "variant-label",
            "no variant with the label 'fasst' is declared",
            "did you mean 'fast'?",
        ),
        (
            {"variant-label": "zzz"},
            "variant-label",
            "no variant with the label 'zzz' is declared",
            "known: fast, fat, null",
        ),
        (
            {"variant": "x86_46::level::v3"},
            "variant",
            "the namespace 'x86_46' has no provider",
            "did you mean 'x86_64'?",
        ),
        (
            {"variant-property": "blas::libary::mkl"},
            "variant-property",
            "the provider of 'blas' does not know the feature 'libary'",
            "did you mean 'library'?",
        ),
        (
            {"variant": "blas::library::mlk"},
            "variant",
            "does not know the value of 'blas :: library :: mlk'",
            "did you mean 'mkl'?",
        ),
        (
            {"variant": "abi_dependency::torch::2.9.0.1"},
            "variant",
            "not a version of one to three components",
            "abi_dependency :: torch :: 2.9",
        ),
        # misspelt keys: a plain wheel would come out in silence
        ({"varient": V3}, "varient", "unknown config setting 'varient'", "'variant'?"),
        ({"variants": V3}, "variants", "unknown config setting", "'variant'?"),
        ({"Variant": V3}, "Variant", "unknown config setting", "'variant'?"),
        ({"--variant": V3}, "--variant", "unknown config setting", "'variant'?"),
        ({"variant-lable": "x"}, "variant-lable", "unknown config setting", "'variant-label'?"),
        ({"variant_label": "x"}, "variant_label", "unknown config setting", "'variant-label'?"),
        ({"variant.label": "x"}, "variant.label", "unknown config setting", "'variant-label'?"),
        ({"null_variant": ""}, "null_variant", "unknown config setting", "'null-variant'?"),
        ({"nul-variant": ""}, "nul-variant", "unknown config setting", "'null-variant'?"),
        ({"variant-xyzzy": ""}, "variant-xyzzy", "unknown config setting", ""),
    ],
)
def test_what_is_wrong_is_said_with_its_key(settings: Any, key: str, what: str, hint: str) -> None:
    (problem,) = problems_of(settings)
    assert problem.at == f"config setting {key}"
    assert what in problem.what
    assert hint in (problem.hint or "")


def test_everything_wrong_is_said_at_once() -> None:
    found = problems_of({"variant": ["a::b", V3, "c"], "variant-lable": "x", "null-variant": "y"})
    assert [problem.at for problem in found] == [
        "config setting variant-lable",
        "config setting variant",
        "config setting variant",
        "config setting null-variant",
    ]
    found = problems_of({"variant": "a::b::c, d::e::f, blas::library::mlk"})
    assert len(found) == 3


def test_a_project_that_declares_no_variants_is_told_how() -> None:
    undeclared = declared(DECLARATIONS.partition("[variants.fast]")[0])
    selection, _ = parse_selection({"variant-label": "fast"})
    with pytest.raises(ConfigError) as caught:
        resolve(selection, undeclared)
    assert "declare it under [variant.variants], or give its properties" in caught.value.render()


def test_a_namespace_without_any_declaration_is_told_how() -> None:
    selection, _ = parse_selection({"variant": V3})
    with pytest.raises(ConfigError) as caught:
        resolve(selection, VariantMetadata())
    assert "declare it under [variant.providers.x86_64]" in caught.value.render()


def test_the_hash_of_one_variant_is_no_label_of_another() -> None:
    metadata = declared(DECLARATIONS.replace("[variants.fast]", "[variants.fa7c1393]"))
    selection, _ = parse_selection({"variant": V3})
    with pytest.raises(ConfigError, match="'fa7c1393' is declared with other properties"):
        resolve(selection, metadata)


KEYS = st.sampled_from(
    (
        *("variant", "variant-name", "variant-property", "variant-label", "null-variant"),
        *("variant-filename", "varant", "build-dir", ""),
    )
)


VALUES = st.sampled_from((V3, MKL, f"{V3},{MKL}", "fast", "null", "", "true", "plain", "a::b"))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(KEYS, VALUES | st.lists(VALUES, max_size=2) | JUNK, max_size=4))
@example({"variant": 10**5000})
@example({"variant": "\udc80", "variant-label": "\udc80", "\udc80": "\n"})
def test_any_settings_are_a_variant_or_a_config_error(settings: dict[str, Any]) -> None:
    try:
        selection, rest = parse_selection(settings)
        chosen = resolve(selection, declared()) if selection.asks_for_variant else None
    except ConfigError:
        return
    assert rest == {key: value for key, value in settings.items() if key in {"build-dir", ""}}
    if chosen is not None:
        assert chosen.is_null == (chosen.label == "null")


# --- labels of the matrix ---

OWN = """
[build-system]
requires = ["polywheel", "flit-core>=3.12"]
build-backend = "polywheel.backend"
[project]
name = "sums"
version = "1.0"
"""
MATRIX = """
[tool.polywheel.matrix]
label = "cpu_{level}"
[tool.polywheel.matrix.axes.level]
v2 = ["cpu :: level :: v2"]
v3 = ["cpu :: level :: v3"]
"""
ELSEWHERE = "sys_platform == 'win32' and platform_machine == 'ARM64' and python_version == '3.9'"
A_LABEL_FOR_EACH_TARGET = """
[tool.polywheel.matrix]
python = ["3.12"]
targets = ["linux-x86_64", "macos-arm64"]
[[tool.polywheel.matrix.include]]
target = "linux-x86_64"
label = "a"
properties = ["cpu::level::v3"]
[[tool.polywheel.matrix.include]]
target = "macos-arm64"
label = "b"
properties = ["cpu::level::v3"]
"""
LEVEL_3 = "cpu :: level :: v3"


def variant_of(folder: Path, text: str, settings: dict[str, str]) -> Variant:
    """The variant that a build with these config settings makes."""
    (folder / "pyproject.toml").write_text(OWN + VARIANT + text, encoding="utf-8")
    selection, _ = parse_selection(settings)
    return resolve_variant(selection, read_project(folder, variants=True))


def error_of(folder: Path, text: str, settings: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        variant_of(folder, text, settings)
    return caught.value.render()


def test_properties_of_a_matrix_have_the_label_of_the_matrix(tmp_path: Path) -> None:
    """Until now they took their hash: two labels for what -Cvariant-label=cpu_v3 builds."""
    by_label = variant_of(tmp_path, MATRIX, {"variant-label": "cpu_v3"})
    by_properties = variant_of(tmp_path, MATRIX, {"variant": "cpu::level::v3"})
    assert by_properties == by_label
    assert (by_label.label, list(map(str, by_label.properties))) == ("cpu_v3", [LEVEL_3])
    both = {"variant": "cpu::level::v3", "variant-label": "cpu_v3"}
    assert variant_of(tmp_path, MATRIX, both) == by_label


def test_properties_that_neither_matrix_nor_tables_have_take_their_hash(tmp_path: Path) -> None:
    found = variant_of(tmp_path, MATRIX, {"variant": "cpu::level::v1"})
    assert found.label == found.hash


def test_the_label_of_another_target_and_python_counts_here_too(tmp_path: Path) -> None:
    """A matrix without targets is for this machine; its labels are for the whole release."""
    text = MATRIX.replace(
        'v3 = ["cpu :: level :: v3"]',
        f'v3 = {{ properties = ["cpu :: level :: v3"], when = "{ELSEWHERE}" }}',
    )
    assert variant_of(tmp_path, text, {"variant": "cpu::level::v3"}).label == "cpu_v3"
    assert variant_of(tmp_path, text, {"variant": "cpu::level::v2"}).label == "cpu_v2"
    # Where nothing at all of the matrix is for this machine, its labels count all the same.
    only = text.replace('v2 = ["cpu :: level :: v2"]\n', "")
    assert variant_of(tmp_path, only, {"variant": "cpu::level::v3"}).label == "cpu_v3"


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        (
            MATRIX,
            {"variant": "cpu::level::v3", "variant-label": "mine"},
            "these properties are declared with the label 'cpu_v3', not 'mine'",
        ),
        (
            MATRIX,
            {"variant": "cpu::level::v2", "variant-label": "cpu_v3"},
            f"the label 'cpu_v3' is declared with other properties: {LEVEL_3}",
        ),
        (
            "[variant.variants]\nfast.cpu.level = ['v3']\n",
            {"variant": "cpu::level::v3", "variant-label": "mine"},
            "these properties are declared with the label 'fast', not 'mine'",
        ),
        (
            "[variant.variants]\nfast.cpu.level = ['v3']\nquick.cpu.level = ['v3']\n",
            {"variant-label": "fast"},
            "the same properties are declared with several labels: fast, quick",
        ),
        (
            "[variant.variants]\nfast.cpu.level = ['v3']\nquick.cpu.level = ['v3']\n",
            {"variant": "cpu::level::v3"},
            "the same properties are declared with several labels: fast, quick",
        ),
        (
            f"[variant.variants]\nfast.cpu.level = ['v3']\n{MATRIX}",
            {"variant": "cpu::level::v2"},
            "the same properties have two labels: 'fast' (pyproject.toml: variant.variants.fast)",
        ),
        (
            A_LABEL_FOR_EACH_TARGET,
            {"variant": "cpu::level::v3"},
            "the same properties have two labels: 'a'",
        ),
    ],
)
def test_what_would_be_two_labels_is_refused(
    text: str, settings: dict[str, str], said: str, tmp_path: Path
) -> None:
    assert said in error_of(tmp_path, text, settings)
