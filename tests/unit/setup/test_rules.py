"""From rules, plugin answers, and presets to the build setup of one variant."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polywheel.errors import ConfigError
from polywheel.model.plugin_answers import PluginAnswer
from polywheel.model.setup import FLAG_FIELDS, BuildSetup, Entry, Preset, SetupRule
from polywheel.setup.rules import SetupSources, merge_rules
from support.setups import at, flags, plugin_answer, rules, values, variant

V3 = "cpu :: level :: v3"
AES = "cpu :: aes :: on"
MKL = "blas :: library :: mkl"


def resolved(
    text: str | tuple[SetupRule, ...],
    *properties: str,
    label: str | None = None,
    presets: str = "",
    answers: tuple[PluginAnswer, ...] = (),
    namespaces: tuple[str, ...] = (),
    compiler: str = "gnu",
    backend: str | None = None,
    source: Path = Path("/nowhere"),
) -> BuildSetup:
    named = (Preset(name="shipped", namespace="cpu", features={}, rules=rules(presets)),)
    return merge_rules(
        variant(*properties, label=label),
        SetupSources(
            rules=rules(text) if isinstance(text, str) else text,
            presets=named if presets else (),
            answers={one.namespace: one for one in answers},
            namespaces=namespaces,
            compiler=compiler,
            backend=backend,
            source=source,
        ),
    )


def refused(text: str, *properties: str, label: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        resolved(text, *properties, label=label)
    return caught.value.render()


# --- fields and origins --------------------------------------------------------------------------


@pytest.mark.parametrize("name", FLAG_FIELDS)
def test_every_flag_list_comes_through_with_its_origin(name: str) -> None:
    setup = resolved(f'["{V3}"]\n{name} = ["-a", "-b"]', V3)
    assert setup == BuildSetup(flags={name: (Entry("-a", at(V3)), Entry("-b", at(V3)))})


def test_every_other_field_comes_through_with_its_origin() -> None:
    text = f"""
    ["{V3}"]
    env = {{ A = "1" }}
    config-settings = {{ one = "1", many = ["1", "2"] }}
    defines = {{ D = "ON" }}
    requires = ["builds"]
    dependencies = ["runs"]
    """
    here = at(V3)
    assert resolved(text, V3) == BuildSetup(
        env={"A": Entry("1", here)},
        config_settings={"one": Entry("1", here), "many": (Entry("1", here), Entry("2", here))},
        defines={"D": Entry("ON", here)},
        requires=(Entry("builds", here),),
        dependencies=(Entry("runs", here),),
    )


def test_flag_lists_come_in_one_order_whatever_order_they_are_written_in() -> None:
    text = "".join(f'{name} = ["-x"]\n' for name in reversed(FLAG_FIELDS))
    assert tuple(resolved(f'["cpu"]\n{text}', V3).flags) == FLAG_FIELDS


# --- which rules apply ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "properties", "label", "applies"),
    [
        ("*", (V3,), "x", True),
        ("*", (), None, True),  # the null variant
        ("cpu", (V3,), "x", True),
        ("cpu", (), None, False),
        ("cpu", (MKL,), "x", False),
        ("cpu :: level", (V3,), "x", True),
        ("cpu :: aes", (V3,), "x", False),
        ("cpu :: level :: v3", (V3,), "x", True),
        ("cpu :: level :: v2", (V3,), "x", False),
        ("label:v3*", (V3,), "v3_mkl", True),
        ("label:v3", (V3,), "v3_mkl", False),
        ("label:null", (), None, True),
        ("label:*", (), None, True),
    ],
)
def test_a_rule_applies_to_what_its_key_says(
    key: str, properties: tuple[str, ...], label: str | None, applies: bool
) -> None:
    setup = resolved(f'["{key}"]\ncflags = ["-x"]', *properties, label=label)
    assert flags(setup) == ({"cflags": ["-x"]} if applies else {})


def test_a_label_that_is_the_hash_is_matched_too() -> None:
    label = variant(V3).label
    assert flags(resolved(f'["label:{label}"]\ncflags = ["-x"]', V3)) == {"cflags": ["-x"]}


@pytest.mark.parametrize("key", ["*", "cpu", "cpu :: level", V3, "label:x"])
@pytest.mark.parametrize(
    ("when", "holds"),
    [("python_version >= '3.11'", True), ("python_version < '3.11'", False)],
)
def test_a_rule_whose_marker_does_not_hold_is_as_if_not_there(
    key: str, when: str, holds: bool
) -> None:
    text = f'["{key}"]\nwhen = "{when}"\ncflags = ["-x"]'
    assert flags(resolved(text, V3, label="x")) == ({"cflags": ["-x"]} if holds else {})


def test_a_rule_whose_marker_does_not_hold_replaces_nothing() -> None:
    text = f'["cpu"]\ncflags = ["-a"]\n["{V3}"]\nwhen = "os_name == \'no\'"\ncflags = ["-b"]'
    assert flags(resolved(text, V3)) == {"cflags": ["-a"]}


def test_a_preset_rule_has_markers_too() -> None:
    presets = f'["{V3}"]\nwhen = "os_name == \'no\'"\ncflags = ["-b"]'
    setup = resolved("", V3, presets=presets)
    assert setup == BuildSetup(notes=setup.notes)


def test_a_marker_that_compares_what_has_no_order_is_refused() -> None:
    said = refused(f"""["{V3}"]\nwhen = "os_name ~= 'posix'"\ncflags = ["-x"]""", V3)
    assert "can't be evaluated" in said
    assert at(V3, "when") in said


# --- specificity ---------------------------------------------------------------------------------


def test_the_most_specific_rule_that_speaks_of_a_field_replaces_the_others_in_it_alone() -> None:
    text = f"""
    ["cpu"]
    cflags = ["-ns"]
    cxxflags = ["-ns"]
    ldflags = ["-ns"]
    env = {{ A = "ns", B = "ns", C = "ns" }}
    config-settings = {{ k = ["ns"], l = "ns" }}
    requires = ["ns"]
    ["cpu :: level"]
    cflags = ["-feature"]
    cxxflags = ["-feature"]
    env = {{ A = "feature", B = "feature" }}
    config-settings = {{ l = "feature" }}
    ["{V3}"]
    cflags = ["-value"]
    env = {{ A = "value" }}
    requires = []
    """
    setup = resolved(text, V3)
    assert flags(setup) == {"cflags": ["-value"], "cxxflags": ["-feature"], "ldflags": ["-ns"]}
    assert values(setup.env) == {"A": "value", "B": "feature", "C": "ns"}
    assert values(setup.config_settings) == {"k": ["ns"], "l": "feature"}
    assert setup.requires == ()


def test_another_property_keeps_the_less_specific_rule() -> None:
    text = f'["cpu"]\ncflags = ["-D{{value}}"]\n["{V3}"]\ncflags = ["-march"]'
    assert flags(resolved(text, V3, AES)) == {"cflags": ["-Don", "-march"]}


@pytest.mark.parametrize("kind", ["*", "label:x"])
def test_rules_for_everything_and_for_labels_replace_no_list(kind: str) -> None:
    text = f'["{kind}"]\ncflags = ["-outer"]\nrequires = ["outer"]\n["cpu"]\ncflags = ["-cpu"]\n'
    setup = resolved(text + 'requires = ["cpu"]', V3, label="x")
    expected = ["-outer", "-cpu"] if kind == "*" else ["-cpu", "-outer"]
    assert flags(setup) == {"cflags": expected}
    assert [one.value for one in setup.requires] == [one.removeprefix("-") for one in expected]


def test_rules_for_everything_and_for_labels_apply_once() -> None:
    text = '["*"]\ncflags = ["-all"]\n["label:x"]\ncflags = ["-label"]'
    assert flags(resolved(text, V3, AES, MKL, label="x")) == {"cflags": ["-all", "-label"]}


@pytest.mark.parametrize("kind", ["env", "config-settings", "defines"])
def test_everything_is_weakest_and_the_label_strongest_of_single_values(kind: str) -> None:
    everything = f'["*"]\n{kind} = {{ A = "all" }}\n'
    ours = f'["cpu"]\n{kind} = {{ A = "cpu" }}\n'
    label = f'["label:x"]\n{kind} = {{ A = "label" }}\n'

    def value(text: str) -> str | list[str]:
        setup = resolved(text, V3, label="x")
        return {**values(setup.env), **values(setup.config_settings), **values(setup.defines)}["A"]

    assert value(everything) == "all"
    assert value(everything + ours) == value(ours + everything) == "cpu"
    assert value(everything + ours + label) == value(label + ours + everything) == "label"
    assert value(everything + label) == "label"


def test_an_empty_list_leaves_a_variable_alone() -> None:
    text = f"""["cpu"]\nenv = {{ A = "1", B = "1" }}\n["{V3}"]\nenv = {{ A = [] }}
    ["label:x"]\nenv = {{ B = [] }}"""
    assert values(resolved(text, V3).env) == {"B": "1"}
    assert values(resolved(text, V3, label="x").env) == {}
    assert resolved(text, V3).notes == ()


# --- order ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("namespaces", "order"),
    [
        (("a", "b", "c"), ["-c", "-b", "-a"]),
        (("c", "b", "a"), ["-a", "-b", "-c"]),
        (("b",), ["-a", "-c", "-b"]),  # those without a priority are the weakest
        ((), ["-a", "-b", "-c"]),
    ],
)
def test_lists_come_in_namespace_priority_order_the_highest_last(
    namespaces: tuple[str, ...], order: list[str]
) -> None:
    text = "\n".join(f'["{one}"]\ncflags = ["-{{namespace}}"]' for one in "bca")
    setup = resolved(text, "a::x::y", "b::x::y", "c::x::y", namespaces=namespaces)
    assert flags(setup) == {"cflags": order}


def test_within_a_namespace_the_stronger_source_comes_last() -> None:
    setup = resolved(
        '["cpu :: c"]\ncflags = ["-rule"]',
        "cpu::a::1",
        "cpu::b::1",
        "cpu::c::1",
        presets='["cpu :: a"]\ncflags = ["-preset"]\n["cpu :: b"]\ncflags = ["-preset-b"]',
        answers=(plugin_answer(each={"cpu::b::1": {"cflags": ["-provider"]}}),),
    )
    assert flags(setup) == {"cflags": ["-preset", "-provider", "-rule"]}


def test_a_list_that_comes_out_equal_for_several_values_counts_once() -> None:
    text = """
    ["gpu :: arch"]
    cflags = ["-DGPU"]
    cuflags = ["-arch={value}"]
    ldflags = ["{values}"]
    config-settings = { cflags = ["-DGPU"] }
    """
    setup = resolved(text, "gpu::arch::80", "gpu::arch::90")
    assert flags(setup) == {
        "cflags": ["-DGPU"],
        "cuflags": ["-arch=80", "-arch=90"],
        "ldflags": ["80;90"],
    }
    assert values(setup.config_settings) == {"cflags": ["-DGPU"]}


def test_one_flag_twice_in_a_list_stays_twice() -> None:
    text = '["cpu"]\ncflags = ["-Xclang", "-a", "-Xclang", "-b"]'
    assert flags(resolved(text, V3)) == {"cflags": ["-Xclang", "-a", "-Xclang", "-b"]}


def test_equal_lists_of_two_rules_both_count() -> None:
    text = f'["{V3}"]\ncflags = ["-x"]\n["{AES}"]\ncflags = ["-x"]'
    assert flags(resolved(text, V3, AES)) == {"cflags": ["-x", "-x"]}


def test_a_requirement_counts_once_whoever_asks_for_it() -> None:
    text = f'["*"]\nrequires = ["one", "two"]\n["{V3}"]\nrequires = ["two", "three"]'
    setup = resolved(text, V3)
    assert setup.requires == (
        Entry("one", at("*")),
        Entry("two", at("*")),
        Entry("three", at(V3)),
    )


def test_a_flag_that_comes_out_empty_is_left_out() -> None:
    text = '["cpu"]\ncflags = ["{value.flag}"]\nspelling.flag = { v3 = "", v4 = "-x" }'
    assert resolved(text, V3).flags == {}
    assert flags(resolved(text, "cpu::level::v4")) == {"cflags": ["-x"]}


# --- sources -------------------------------------------------------------------------------------

PRESET = """
["cpu :: level :: v3"]
cflags = ["-preset"]
cxxflags = ["-preset"]
fflags = ["-preset"]
env = { A = "preset" }
["cpu :: aes"]
cflags = ["-preset-aes"]
"""
PROVIDER = "provider cpu (get_build_setup)"


def test_rules_go_before_the_provider_and_the_provider_before_presets_field_by_field() -> None:
    setup = resolved(
        f'["{V3}"]\ncflags = ["-rule"]\nenv = {{ A = "rule" }}',
        V3,
        presets=PRESET,
        answers=(
            plugin_answer(
                joint={"cflags": ["-joint"], "cxxflags": ["-joint"]},
                each={V3: {"cflags": ["-provider"], "cxxflags": ["-provider"]}},
            ),
        ),
    )
    preset = at(V3)  # the helper reads presets from the same place
    assert setup.flags == {
        "cflags": (Entry("-rule", at(V3)),),
        "cxxflags": (Entry("-provider", PROVIDER),),
        "fflags": (Entry("-preset", preset),),
    }
    assert values(setup.env) == {"A": "rule"}


def test_a_rule_for_the_whole_namespace_is_stronger_than_a_preset_for_a_value() -> None:
    setup = resolved('["cpu"]\ncflags = ["-rule"]', V3, presets=PRESET)
    assert flags(setup)["cflags"] == ["-rule"]


@pytest.mark.parametrize("key", ["*", "label:x"])
def test_the_provider_is_asked_jointly_beside_rules_that_are_not_about_properties(key: str) -> None:
    answer = plugin_answer(joint={"cflags": ["-joint"]}, each={V3: {"cflags": ["-each"]}})
    setup = resolved(f'["{key}"]\ncflags = ["-x"]', V3, AES, label="x", answers=(answer,))
    assert "-joint" in flags(setup)["cflags"]
    assert "-each" not in flags(setup)["cflags"]


def test_the_provider_is_asked_jointly_beside_rules_that_set_no_flags() -> None:
    answer = plugin_answer(joint={"cflags": ["-joint"]}, each={V3: {"cflags": ["-each"]}})
    setup = resolved('["cpu"]\nenv = { A = "1" }', V3, answers=(answer,))
    assert flags(setup) == {"cflags": ["-joint"]}


def test_a_rule_for_one_property_leaves_the_provider_its_say_about_another() -> None:
    answer = plugin_answer(
        joint={"cflags": ["-v3", "-aes"]},
        each={V3: {"cflags": ["-v3"], "ldflags": ["-ld"]}, AES: {"cflags": ["-aes"]}},
    )
    setup = resolved(f'["{V3}"]\ncflags = ["-rule"]', V3, AES, answers=(answer,))
    assert flags(setup) == {"cflags": ["-aes", "-rule"], "ldflags": ["-ld"]}


def test_a_rule_of_another_namespace_changes_nothing_about_the_answer() -> None:
    answer = plugin_answer(joint={"cflags": ["-joint"]}, each={V3: {"cflags": ["-each"]}})
    setup = resolved('["blas"]\ncflags = ["-blas"]', V3, MKL, answers=(answer,))
    assert flags(setup) == {"cflags": ["-blas", "-joint"]}


def test_a_preset_speaks_where_the_provider_is_silent_about_a_property() -> None:
    answer = plugin_answer(joint={"cflags": ["-v3"]}, each={V3: {"cflags": ["-v3"]}, AES: {}})
    setup = resolved("", V3, AES, presets=PRESET, answers=(answer,))
    assert flags(setup) == {
        "cflags": ["-preset-aes", "-v3"],
        "cxxflags": ["-preset"],
        "fflags": ["-preset"],
    }


def test_what_a_provider_says_of_several_properties_together_is_said_of_each() -> None:
    answer = plugin_answer(joint={"cflags": ["-both"]}, each={V3: {}, AES: {}})
    setup = resolved("", V3, AES, presets=PRESET, answers=(answer,))
    assert flags(setup)["cflags"] == ["-both"]


def test_an_empty_list_of_a_provider_takes_the_place_of_a_preset() -> None:
    answer = plugin_answer(joint={"cflags": []}, each={V3: {"cflags": []}})
    setup = resolved("", V3, presets=PRESET, answers=(answer,))
    assert "cflags" not in setup.flags
    assert flags(setup)["cxxflags"] == ["-preset"]


def test_equal_flags_of_a_provider_for_several_properties_count_once() -> None:
    answer = plugin_answer(each={V3: {"cflags": ["-x"]}, AES: {"cflags": ["-x"]}})
    setup = resolved('["cpu :: other"]\n["cpu"]\nldflags = ["-l"]', V3, AES, answers=(answer,))
    assert flags(setup)["cflags"] == ["-x"]


def test_a_key_that_the_interface_does_not_have_is_noted_once() -> None:
    answer = plugin_answer(joint={"cppflags": ["-x"], "ldflags": ["-l"]})
    setup = resolved("", V3, AES, answers=(answer,))
    assert flags(setup) == {"ldflags": ["-l"]}
    assert setup.notes == (f"{PROVIDER} returned the unknown key 'cppflags', which has no effect",)


def test_braces_of_a_provider_are_no_placeholders() -> None:
    answer = plugin_answer(joint={"cflags": ["-D{value}"]})
    assert flags(resolved("", V3, answers=(answer,))) == {"cflags": ["-D{value}"]}


# --- compiler and backend ------------------------------------------------------------------------

SPELT = """
["cpu :: level"]
cflags = ["-general"]
cxxflags = ["-general"]
env = { A = "general" }
compiler.msvc = { cflags = ["/msvc"], env = { A = "msvc" } }
compiler.clang = { cflags = ["-clang"] }
backend.maturin = { cflags = ["-maturin"], requires = ["maturin-extra"] }
"""


@pytest.mark.parametrize(
    ("compiler", "backend", "cflags", "variable"),
    [
        ("gnu", None, "-general", "general"),
        ("gnu", "meson-python", "-general", "general"),
        ("clang", None, "-clang", "general"),
        ("msvc", None, "/msvc", "msvc"),
        ("gnu", "maturin", "-maturin", "general"),
        ("msvc", "maturin", "-maturin", "msvc"),
    ],
)
def test_fields_are_spelt_for_compiler_and_backend(
    compiler: str, backend: str | None, cflags: str, variable: str
) -> None:
    setup = resolved(SPELT, V3, compiler=compiler, backend=backend)
    assert flags(setup) == {"cflags": [cflags], "cxxflags": ["-general"]}
    assert values(setup.env) == {"A": variable}
    assert len(setup.requires) == (backend == "maturin")


def test_what_is_said_for_a_compiler_only_replaces_a_less_specific_rule_there_only() -> None:
    text = '["cpu"]\ncflags = ["-x"]\n["cpu :: level"]\ncompiler.msvc = { cflags = [] }'
    assert flags(resolved(text, V3)) == {"cflags": ["-x"]}
    assert flags(resolved(text, V3, compiler="msvc")) == {}


# --- placeholders --------------------------------------------------------------------------------


def test_every_placeholder_is_filled_in_every_field() -> None:
    text = """
    ["gpu :: arch"]
    spelling.cmake = { "90" = "9-0" }
    cflags = ["{namespace}.{feature}.{value}.{values}.{label}.{{}}"]
    cuflags = ["{value.cmake}"]
    env = { A = "{values.cmake}" }
    config-settings = { one = "{values}", many = ["{value}"] }
    defines = { D = "{values.cmake}" }
    requires = ["r-{value}"]
    dependencies = ["d=={value}.*"]
    """
    setup = resolved(text, "gpu::arch::90", label="x")
    assert flags(setup) == {"cflags": ["gpu.arch.90.90.x.{}"], "cuflags": ["9-0"]}
    assert values(setup.env) == {"A": "9-0"}
    assert values(setup.config_settings) == {"one": "90", "many": ["90"]}
    assert values(setup.defines) == {"D": "9-0"}
    assert [entry.value for entry in (*setup.requires, *setup.dependencies)] == ["r-90", "d==90.*"]


def test_values_are_those_of_the_feature_joined_in_order() -> None:
    text = """
    ["gpu :: arch"]
    separator = "+"
    spelling.cmake = { "80_real" = "80-real", "90" = "90" }
    cuflags = ["{value.cmake}"]
    env = { A = "{values}", B = "{values.cmake}" }
    """
    setup = resolved(text, "gpu::arch::90", "gpu::arch::80_real", "gpu::other::1", "cpu::arch::2")
    assert flags(setup) == {"cuflags": ["80-real", "90"]}
    assert values(setup.env) == {"A": "80_real+90", "B": "80-real+90"}


def test_the_separator_may_be_empty_and_is_a_semicolon_where_none_is_given() -> None:
    text = '["gpu :: arch"]\ncflags = ["{values}"]\n'
    properties = ("gpu::arch::80", "gpu::arch::90")
    assert flags(resolved(text, *properties)) == {"cflags": ["80;90"]}
    assert flags(resolved(text + 'separator = ""', *properties)) == {"cflags": ["8090"]}


@pytest.mark.parametrize("key", ["*", "label:x"])
def test_the_label_is_filled_in_where_there_is_no_property(key: str) -> None:
    text = f'["{key}"]\ncflags = ["-DL={{label}}"]'
    assert flags(resolved(text, V3, label="x")) == {"cflags": ["-DL=x"]}


def test_a_value_without_the_spelling_that_is_asked_for_is_refused() -> None:
    text = '["gpu :: arch"]\ncflags = ["{value.cmake}"]\nspelling.cmake = { "80" = "80-real" }'
    said = refused(text, "gpu::arch::90")
    assert "the value '90' has no spelling 'cmake'" in said
    assert at("gpu :: arch", "spelling") in said


def test_a_spelling_that_is_replaced_is_not_missed() -> None:
    text = """["gpu"]\ncflags = ["{value.x}"]\nspelling.x = {}\n["gpu :: arch"]\ncflags = ["-a"]"""
    assert flags(resolved(text, "gpu::arch::90")) == {"cflags": ["-a"]}


@pytest.mark.parametrize("field", ["requires", "dependencies"])
def test_a_requirement_must_be_one_with_its_placeholders_filled_in(field: str) -> None:
    said = refused(f'["gpu"]\n{field} = ["a=={{value}}"]', "gpu::arch::80_real")
    assert "malformed requirement 'a==80_real'" in said
    assert at("gpu") in said
    said = refused(f'["gpu"]\n{field} = ["a=={{value}}\\nVersion: 2"]', "gpu::arch::80")
    assert "malformed requirement" in said


@pytest.mark.parametrize(
    "field",
    [
        r'cflags = ["a\u0000b"]',
        r'env = { A = "{label}\u0000" }',
        r'defines = { A = "\u0000" }',
        r'config-settings = { A = ["\u0000"] }',
    ],
)
def test_what_no_environment_can_hold_is_refused(field: str) -> None:
    said = refused(f'["cpu"]\n{field}', V3)
    assert "environment variables can't hold" in said
    assert at("cpu") in said


def test_what_a_plugin_says_must_be_text_that_a_program_can_be_told() -> None:
    with pytest.raises(ConfigError, match="environment variables can't hold"):
        resolved("", V3, answers=(plugin_answer(joint={"cflags": ["-\ud800"]}),))


# --- variables from folders ----------------------------------------------------------------------


def test_the_first_folder_that_exists_is_taken(tmp_path: Path) -> None:
    (tmp_path / "cuda-12").mkdir()
    (tmp_path / "deps").mkdir()
    (tmp_path / "file").touch()
    text = f"""
    ["cuda :: version"]
    env = {{ A = ["/no/{{value}}", "{tmp_path}/cuda-{{value}}", "deps"], B = ["file", "deps"] }}
    """
    setup = resolved(text, "cuda::version::12", source=tmp_path)
    # compilers run elsewhere than in the project: a relative folder would be another one there
    assert values(setup.env) == {"A": f"{tmp_path}/cuda-12", "B": f"{tmp_path}/deps"}
    assert setup.env["B"].origin == at("cuda :: version")
    assert setup.notes == ()


def test_a_variable_stays_unset_where_no_folder_exists_and_that_is_noted() -> None:
    setup = resolved('["cuda"]\nenv = { A = ["/no/{value}", "no"] }', "cuda::version::12")
    assert setup.env == {}
    (note,) = setup.notes
    assert note == f"A is not set by {at('cuda')}: none of /no/12, no exists"


def test_without_a_folder_a_weaker_value_stays() -> None:
    text = '["*"]\nenv = { A = "/all" }\n["cuda"]\nenv = { A = ["/no"] }'
    assert values(resolved(text, "cuda::version::12").env) == {"A": "/all"}


def test_a_single_value_is_taken_as_it_is() -> None:
    assert values(resolved('["cuda"]\nenv = { A = "deps" }', "cuda::v::1").env) == {"A": "deps"}


# --- contradictions ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["env", "config-settings", "defines"])
def test_two_values_of_the_same_strength_are_an_error_that_names_both(kind: str) -> None:
    text = f'["{V3}"]\n{kind} = {{ A = "1" }}\n["{MKL}"]\n{kind} = {{ A = "2" }}\n'
    said = refused(text, V3, MKL, label="x")
    assert f"two values for {kind} 'A': '2' from {at(MKL)}, and '1' from {at(V3)}" in said
    assert "add a rule for 'label:x'" in said
    # what the hint says helps
    decided = text + f'["label:x"]\n{kind} = {{ A = "3" }}'
    assert resolved(decided, V3, MKL, label="x")
    # nobody minds what one of them says alone
    assert resolved(text, V3)


@pytest.mark.parametrize("kind", ["env", "config-settings", "defines"])
def test_two_equal_values_are_no_contradiction(kind: str) -> None:
    text = f'["{V3}"]\n{kind} = {{ A = "1" }}\n["{MKL}"]\n{kind} = {{ A = "1" }}\n'
    assert resolved(text, V3, MKL)


def test_two_rules_for_labels_contradict_each_other_too() -> None:
    text = '["label:x*"]\nenv = { A = "1" }\n["label:*x"]\nenv = { A = "2" }'
    assert "remove one of them" in refused(text, V3, label="x")


def test_the_values_of_one_feature_contradict_each_other_and_values_is_the_way_out() -> None:
    said = refused('["gpu"]\nenv = { A = "{value}" }', "gpu::arch::80", "gpu::arch::90")
    assert "{values} contains all values" in said
    text = '["gpu"]\nenv = { A = "{values}" }'
    assert values(resolved(text, "gpu::arch::80", "gpu::arch::90").env) == {"A": "80;90"}


def test_presets_of_two_namespaces_contradict_each_other_too() -> None:
    said_by = '["{}"]\nenv = {{ A = "{}" }}\n'
    with pytest.raises(ConfigError, match="two values for env 'A'"):
        resolved("", V3, MKL, presets=said_by.format("cpu", 1) + said_by.format("blas", 2))


@pytest.mark.parametrize("outer", ["*", "blas", "label:x"])
def test_a_setting_is_a_list_or_a_string_but_not_both(outer: str) -> None:
    text = (
        f'["cpu"]\nconfig-settings = {{ k = ["1"] }}\n["{outer}"]\nconfig-settings = {{ k = "2" }}'
    )
    said = refused(text, V3, MKL, label="x")
    assert f"config setting 'k' is a list in {at('cpu')} and a string in {at(outer)}" in said


def test_an_empty_list_is_no_setting() -> None:
    text = '["cpu"]\nconfig-settings = { k = [], l = [] }\n["*"]\nconfig-settings = { k = "2" }'
    assert values(resolved(text, V3).config_settings) == {"k": "2"}


def test_all_contradictions_are_shown_together() -> None:
    text = f'["{V3}"]\nenv = {{ A = "1", B = "1" }}\n["{MKL}"]\nenv = {{ A = "2", B = "2" }}\n'
    assert refused(text, V3, MKL).count("error:") == 2


# --- any rules -----------------------------------------------------------------------------------

NAMES = ("a", "b")
TARGETS = st.sampled_from(
    [
        *("*", "label:x"),
        *NAMES,
        *(f"{one} :: {two}" for one in NAMES for two in NAMES),
        *(f"{one} :: {two} :: {value}" for one in NAMES for two in NAMES for value in "12"),
    ]
)
FIELDS = st.sampled_from(
    [
        *("cflags = ['-{label}']", "cflags = []", "ldflags = ['-1', '-2']", "env = { A = '1' }"),
        *("env = { A = '2' }", "config-settings = { k = ['1'] }", "config-settings = { k = '1' }"),
        *("defines = { D = '{label}' }", "requires = ['r']", "dependencies = []"),
        "compiler.gnu = { fflags = ['-f'] }",
    ]
)
PROPERTIES = st.sets(
    st.sampled_from([f"{one}::{two}::{value}" for one in NAMES for two in NAMES for value in "12"]),
    min_size=1,
)


def outcome(found: tuple[SetupRule, ...], properties: set[str]) -> object:
    each = {one: {"cflags": [f"-{one}"]} for one in properties if one.startswith("a")}
    answer = plugin_answer("a", {"cflags": ["-joint"]}, each)
    try:
        return resolved(found, *properties, label="x", answers=(answer,), namespaces=("b", "a"))
    except ConfigError as error:
        return len(error.problems)


@given(
    st.dictionaries(TARGETS, st.sets(FIELDS, max_size=3), max_size=8),
    PROPERTIES,
    st.randoms(use_true_random=False),
)
def test_the_order_of_rules_in_the_table_does_not_matter(
    table: dict[str, set[str]], properties: set[str], shuffle: random.Random
) -> None:
    kept = {
        key: {line.partition(" =")[0]: line for line in sorted(lines)}.values()
        for key, lines in table.items()
    }
    found = list(rules("\n".join(f'["{key}"]\n' + "\n".join(lines) for key, lines in kept.items())))
    first = outcome(tuple(found), properties)
    shuffle.shuffle(found)
    assert outcome(tuple(found), properties) == first
