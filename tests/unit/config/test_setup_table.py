"""``[tool.polywheel.setup]``: every field of a rule, and every mistake."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polywheel.config.setup_table import holds_several_flags
from polywheel.errors import ConfigError, Problem
from polywheel.model.setup import (
    FLAG_FIELDS,
    SetupFields,
    SetupRule,
    placeholders,
    with_placeholders,
)
from support.setups import SETUP, at, read_rules, rules


def problems_of(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        rules(text)
    return caught.value.problems


EVERYTHING = """
["gpu :: arch"]
when = "sys_platform == 'linux'"
separator = ","
cflags = ["-c"]
cxxflags = ["-cxx"]
cuflags = ["-cu"]
objcflags = ["-objc"]
fflags = ["-f"]
dflags = ["-d"]
valaflags = ["-vala"]
rustflags = ["-rust"]
cythonflags = ["-cython"]
ldflags = ["-ld"]
env = { ONE = "{value}", FIRST = ["/a", "b"] }
config-settings = { one = "1", many = ["1", "2"] }
defines = { WITH_GPU = "ON" }
requires = ["builds"]
dependencies = ["runs>=1", "runs-{value}"]
spelling.cmake = { "80_real" = "80-real" }
["gpu :: arch".compiler.msvc]
cflags = []
env = { CL = "/x" }
["gpu :: arch".backend.scikit-build-core]
defines = { ARCHITECTURES = "{values.cmake}" }
requires = []
"""


def test_everything_that_a_rule_may_say_is_read() -> None:
    assert rules(EVERYTHING) == (
        SetupRule(
            key="gpu :: arch",
            at=at("gpu :: arch"),
            target=("gpu", "arch"),
            when="sys_platform == 'linux'",
            separator=",",
            spelling={"cmake": {"80_real": "80-real"}},
            fields=SetupFields(
                flags={name: (f"-{name.removesuffix('flags')}",) for name in FLAG_FIELDS},
                env={"ONE": "{value}", "FIRST": ("/a", "b")},
                config_settings={"one": "1", "many": ("1", "2")},
                defines={"WITH_GPU": "ON"},
                requires=("builds",),
                dependencies=("runs>=1", "runs-{value}"),
            ),
            by_compiler={"msvc": SetupFields(flags={"cflags": ()}, env={"CL": "/x"})},
            by_backend={
                "scikit-build-core": SetupFields(
                    defines={"ARCHITECTURES": "{values.cmake}"}, requires=()
                )
            },
        ),
    )


def test_what_is_not_said_is_told_from_an_empty_list() -> None:
    (silent,) = rules("['*']")
    assert silent.fields == SetupFields()
    assert silent.fields.by_name() == {}
    (says,) = rules("['*']\ncflags = []\nrequires = []\nenv = {A = []}\nconfig-settings = {b = []}")
    assert says.fields.by_name() == {
        ("flags", "cflags"): (),
        ("env", "A"): (),
        ("config-settings", "b"): (),
        ("requires", ""): (),
    }


@pytest.mark.parametrize(
    ("key", "target", "glob", "plain"),
    [
        ("*", (), None, "*"),
        ("x86_64", ("x86_64",), None, "x86_64"),
        ("x86_64::level", ("x86_64", "level"), None, "x86_64 :: level"),
        (" x86_64  ::level :: v3 ", ("x86_64", "level", "v3"), None, "x86_64 :: level :: v3"),
        ("cuda :: version :: 12.8", ("cuda", "version", "12.8"), None, "cuda :: version :: 12.8"),
        ("label:cu12*", (), "cu12*", "label:cu12*"),
        ("label: v[0-9]?", (), "v[0-9]?", "label:v[0-9]?"),
        # a namespace of that name is not a label
        ("label", ("label",), None, "label"),
        ("label :: feature", ("label", "feature"), None, "label :: feature"),
        ("label::feature", ("label", "feature"), None, "label :: feature"),
    ],
)
def test_keys(key: str, target: tuple[str, ...], glob: str | None, plain: str) -> None:
    (rule,) = rules(f'["{key}"]')
    assert (rule.target, rule.label_glob, rule.key) == (target, glob, plain)


@pytest.mark.parametrize(
    "key", ["", "X", "a-b", "a :: B", "a :: b :: c :: d", "a ::", ":: b", "label:", "label:A", "**"]
)
def test_malformed_keys_are_refused(key: str) -> None:
    (problem,) = problems_of(f'["{key}"]')
    assert problem.what == f"malformed rule key {key!r}"
    assert "'ns :: feature :: value' or 'label:GLOB'" in (problem.hint or "")


@pytest.mark.parametrize(
    ("one", "other"), [("a::b", "a :: b"), ("label:x", "label: x"), ("a", " a")]
)
def test_one_rule_under_two_spellings_is_refused(one: str, other: str) -> None:
    (problem,) = problems_of(f'["{one}"]\ncflags = ["-1"]\n["{other}"]\ncflags = ["-2"]')
    assert "is declared twice" in problem.what
    assert problem.at == f'{SETUP}."{other}"'


@pytest.mark.parametrize(
    ("text", "where", "what", "hint"),
    [
        ("cflag = ['-x']", "cflag", "unknown key 'cflag'", "did you mean 'cflags'?"),
        ("cflags = '-x'", "cflags", "expected a list of strings, found a string", ""),
        (
            "cflags = ['-x', '-O3 -g']",
            "cflags[1]",
            "one item contains several flags: '-O3 -g'",
            'write one item for each flag: ["-O3", "-g"]',
        ),
        (
            "compiler.gnu = {ldflags = ['-z now']}",
            "compiler.gnu.ldflags[0]",
            "several flags",
            "quote a space",
        ),
        ("cflags = ['-x', 1]", "cflags[1]", "expected a string, found 1", ""),
        ("env = ['A']", "env", "expected a table, found a list", ""),
        ("env = {'A B' = 'x'}", 'env."A B"', "malformed name 'A B'", ""),
        ("env = {'1A' = 'x'}", "env.1A", "malformed name '1A'", ""),
        ("env = {A = 1}", "env.A", "expected a string or a list of strings, found 1", ""),
        ("env = {A = [1]}", "env.A[0]", "expected a string, found 1", ""),
        ("config-settings = {a = true}", "config-settings.a", "a list of strings, found", ""),
        ("defines = {a = ['x']}", "defines.a", "expected a string, found a list", ""),
        ("requires = ['a b']", "requires[0]", "malformed requirement 'a b'", ""),
        (
            "requires = ['a-{value}', 'a b']",
            "requires[1]",
            "malformed requirement 'a b'",
            "",
        ),
        ("dependencies = ['a', 'a']", "dependencies[1]", "'a' is listed twice", ""),
        ("when = 'linux'", "when", "malformed marker 'linux'", ""),
        ("separator = 1", "separator", "expected a string, found 1", ""),
        ("spelling = {a = 'x'}", "spelling.a", "expected a table, found a string", ""),
        ("compiler.gcc = {}", "compiler.gcc", "unknown compiler 'gcc'", "clang, gnu, msvc"),
        ("compiler.mscv = {}", "compiler.mscv", "unknown compiler", "did you mean 'msvc'?"),
        ("compiler.gnu = {cflag = []}", "compiler.gnu.cflag", "unknown key", "'cflags'?"),
        ("compiler.gnu = 1", "compiler.gnu", "expected a table, found 1", ""),
        ("backend.x = {when = 'a'}", "backend.x.when", "unknown key 'when'", ""),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, where: str, what: str, hint: str) -> None:
    (problem,) = problems_of(f'["a :: b"]\n{text}')
    assert problem.at == at("a :: b", where)
    assert what in problem.what
    assert hint in (problem.hint or "")


# --- placeholders --------------------------------------------------------------------------------

ALL = "{namespace} {feature} {value} {values} {label} {value.x} {values.x}"


@pytest.mark.parametrize("key", ["a", "a :: b", "a :: b :: c"])
def test_every_placeholder_has_a_meaning_in_rules_about_properties(key: str) -> None:
    (rule,) = rules(f'["{key}"]\ncflags = ["{ALL}"]\nspelling.x = {{}}')
    assert rule.fields.flags == {"cflags": (ALL,)}


@pytest.mark.parametrize("key", ["*", "label:x"])
def test_the_label_is_all_that_there_is_in_rules_for_everything_or_labels(key: str) -> None:
    assert rules(f'["{key}"]\ncflags = ["-DL={{label}}"]')
    for name in ("namespace", "feature", "value", "values"):
        (problem,) = problems_of(f'["{key}"]\ncflags = ["-D={{{name}}}"]')
        assert f"{{{name}}}" in problem.what
        assert f"has no meaning in a rule for {key!r}" in problem.what


@pytest.mark.parametrize(
    ("text", "where", "placeholder", "hint"),
    [
        ("cflags = ['-march={vlaue}']", "cflags", "{vlaue}", "did you mean 'value'?"),
        ("env = {A = '{Label}'}", "env.A", "{Label}", "did you mean 'label'?"),
        ("env = {A = ['/x', '{featur}']}", "env.A", "{featur}", "did you mean 'feature'?"),
        ("config-settings = {a = '{}'}", "config-settings.a", "{}", "known: feature, label"),
        ("config-settings = {a = ['{x}']}", "config-settings.a", "{x}", "known: feature, label"),
        ("defines = {A = '{ value }'}", "defines.A", "{ value }", "did you mean 'value'?"),
        ("requires = ['a=={valeu}']", "requires", "{valeu}", "did you mean 'value'?"),
        ("dependencies = ['a=={x}']", "dependencies", "{x}", "known: "),
        ("compiler.msvc.cflags = ['{x}']", "compiler.msvc.cflags", "{x}", "known: "),
        ("backend.maturin.env = {A='{x}'}", "backend.maturin.env.A", "{x}", "known: "),
        ("cflags=['{value.y}']\nspelling.x={}", "cflags", "{value.y}", "did you mean 'value.x'?"),
        ("cflags=['{label.x}']\nspelling.x={}", "cflags", "{label.x}", "did you mean 'label'?"),
    ],
)
def test_unknown_placeholders_are_refused_with_the_nearest(
    text: str, where: str, placeholder: str, hint: str
) -> None:
    (problem,) = problems_of(f'["a :: b"]\n{text}')
    assert problem.at == at("a :: b", where)
    assert f"the placeholder {placeholder} in" in problem.what
    assert "is unknown" in problem.what
    assert hint in (problem.hint or "")


@pytest.mark.parametrize(
    ("text", "names", "result"),
    [
        ("plain", (), "plain"),
        ("-march={a}", ("a",), "-march=<a>"),
        ("{a}{b}{a}", ("a", "b"), "<a><b><a>"),
        ("${{ORIGIN}}", (), "${ORIGIN}"),
        ("{{{a}}}", ("a",), "{<a>}"),
        ("{a.b}", ("a.b",), "<a.b>"),
        ("one { brace", (), "one { brace"),
        ("}{", (), "}{"),
        ("{}", ("",), "<>"),
    ],
)
def test_braces(text: str, names: tuple[str, ...], result: str) -> None:
    assert placeholders(text) == names
    assert with_placeholders(text, lambda name: f"<{name}>") == result


# --- anything ------------------------------------------------------------------------------------

KEYS = st.sampled_from(
    [
        *("*", "a", "a :: b", "a :: b :: c", "label:x", "label:*", "nonsense!", ""),
        *("cflags", "env", "config-settings", "defines", "requires", "dependencies", "when"),
        *("separator", "spelling", "compiler", "backend", "gnu", "maturin"),
    ]
)
ANY = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["{value}", "{x}", "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(KEYS, ANY, max_size=3))
def test_any_table_is_rules_or_a_config_error(document: dict[str, Any]) -> None:
    try:
        found = read_rules(document)
    except ConfigError as error:
        for problem in error.problems:
            assert str(problem.at).startswith("pyproject.toml: tool.polywheel.setup")
            assert problem.render().count("\n") <= 2
    else:
        assert len(found) == len(document)


@pytest.mark.parametrize(
    ("text", "several"),
    [
        ("-O3", False),
        ("-O3 -g", True),
        ("-O3\t-g", True),
        ("-DA -DB", True),
        ("-gencode arch=compute_90,code=sm_90", True),
        ("/O2 /arch:AVX2", True),
        ("-march=x86-64-v3 -O3", True),
        ('-DNAME="a b"', False),
        ('-DNAME="a -b"', False),
        ("-DNAME='a -b' -O3", True),
        ("-DNAME=a b", False),
        ("-I/a folder/include", False),
        ("--sysroot=/a folder", False),
        ("-L/a -folder", True),
        (" -O3 ", False),
        ("-I /opt/x", True),
        ("-isystem /opt/x", True),
        ("-D X=1", True),
        ("/opt/my lib/libfoo.a", False),
        ("-Wl,-rpath,/a b", False),
        ("-Wl,-z now", False),
    ],
)
def test_several_flags_in_one_item(text: str, several: bool) -> None:
    assert holds_several_flags(text) is several
