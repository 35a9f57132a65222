"""Misspelt features and values are found when the plan is made."""

from __future__ import annotations

import pytest

from polywheel.setup.presets import load_preset, preset_names
from support.matrices import AT, one_problem, plan_of, problems_of

PLUGIN = """
[variant.default-priorities]
namespace = ["{namespace}"]
{priorities}
[variant.providers.{namespace}]
requires = ["{requires}"]
"""
STATIC = """
[variant.default-priorities]
namespace = ["x86_64"]
{priorities}
[variant.providers.x86_64]
feature-order = ["level", "speed"]
static-properties = {{ level = ["v3"], speed = ["high"] }}
"""
AXIS = "[tool.polywheel.matrix.axes.a]\nx = ['{}']\n"
INCLUDE = "include = [{{ label = 'x', properties = ['{}'] }}]\n"
X86_64 = "provider-variant-x86-64>=0.0.1"
NVIDIA = "nvidia-variant-provider"


def plugin(requires: str, namespace: str = "x86_64", priorities: str = "") -> str:
    return PLUGIN.format(namespace=namespace, requires=requires, priorities=priorities)


@pytest.mark.parametrize(
    ("prop", "requires", "what", "hint"),
    [
        (
            "x86_64 :: levell :: v3",
            X86_64,
            "the preset 'x86_64' does not know the feature of 'x86_64 :: levell :: v3'",
            "did you mean 'level'?",
        ),
        (
            "x86_64 :: level :: x3",
            "X86_64.variant-provider",
            "the preset 'x86_64' does not know the value of 'x86_64 :: level :: x3'",
            "known: v1, v2, v3, v4",
        ),
        (
            "nvidia :: cuda_version_lower_bound :: 1x",
            NVIDIA,
            "the preset 'nvidia' does not know the value of 'nvidia :: cuda_version_lower_bound :: 1x'",
            r"it must match ^[0-9]{2}(\.[0-9]{1,2})?$",
        ),
        (
            "x86_64 :: zzz :: 1",
            X86_64,
            "the preset 'x86_64' does not know the feature of 'x86_64 :: zzz :: 1'",
            None,
        ),
    ],
)
def test_what_the_preset_of_a_plugin_does_not_know(
    prop: str, requires: str, what: str, hint: str | None
) -> None:
    namespace = prop.partition(" ")[0]
    variant = plugin(requires, namespace)
    newer = (
        "if a newer version of the plugin has it, set "
        f'[tool.polywheel.providers.{namespace}] query = "plugin"'
    )
    expected = newer if hint is None else f"{hint} ({newer})"
    for text, at in ((AXIS, f"{AT}.axes.a.x"), (INCLUDE, f"{AT}.include[0].properties")):
        problem = one_problem(text.format(prop), variant=variant)
        assert (problem.what, problem.at, problem.hint) == (what, at, expected)
    parts = prop.split(" :: ")
    declared = f"[variant.variants]\nx.{namespace}.{parts[1]} = ['{parts[2]}']\n"
    problem = one_problem("", variant=variant + declared)
    assert (problem.what, problem.hint) == (what, expected)
    assert problem.at == f"pyproject.toml: variant.variants.x.{namespace}.{parts[1]}"


@pytest.mark.parametrize("query", ["plugin", "never"])
def test_the_way_out(query: str) -> None:
    text = (
        AXIS.format("x86_64 :: levell :: v3")
        + f"[tool.polywheel.providers.x86_64]\nquery = '{query}'\n"
    )
    assert plan_of(text, variant=plugin(X86_64)).jobs


def test_other_plugins_have_their_own_features() -> None:
    text = AXIS.format("x86_64 :: levell :: v3")
    assert plan_of(text, variant=plugin("my-x86-64-plugin")).jobs
    override = "[tool.polywheel.providers.x86_64]\nrequires = ['my-x86-64-plugin']\n"
    assert plan_of(text + override, variant=plugin(X86_64)).jobs


def test_a_preset_that_the_project_chose_has_no_way_out() -> None:
    text = AXIS.format("x86_64 :: levell :: v3")
    text += "[tool.polywheel.providers.x86_64]\nquery = 'preset'\n"
    problem = one_problem(text, variant=plugin("my-x86-64-plugin"))
    assert problem.hint == "did you mean 'level'?"
    declared = "[variant.variants]\nx.x86_64.levell = ['v3']\n[tool.polywheel.providers.x86_64]\nquery = 'preset'\n"
    assert one_problem("", variant=plugin(X86_64) + declared).hint == "did you mean 'level'?"


@pytest.mark.parametrize(
    ("prop", "what", "hint"),
    [
        ("levell :: v3", "the provider of 'x86_64' does not know the feature 'levell'", "'level'"),
        (
            "speed :: hihg",
            "the provider of 'x86_64' does not know the value of 'x86_64 :: speed :: hihg'",
            "'high'",
        ),
    ],
)
def test_static_properties_decide_whatever_the_preset_has(prop: str, what: str, hint: str) -> None:
    variant = STATIC.format(priorities="")
    for text in (AXIS, INCLUDE):
        problem = one_problem(text.format(f"x86_64 :: {prop}"), variant=variant)
        assert (problem.what, problem.hint) == (what, f"did you mean {hint}?")
    assert plan_of(AXIS.format("x86_64 :: speed :: high"), variant=variant).jobs


def test_setup_rules_are_about_known_properties() -> None:
    text = AXIS.format("x86_64 :: level :: v3")
    for key, close in (
        ("x86_64 :: levell", "x86_64 :: level"),
        ("x86_64 :: level :: v33", "x86_64 :: level :: v3"),
    ):
        rule = f"[tool.polywheel.setup.'{key}']\ncflags = ['-x']\n"
        problem = one_problem(text + rule, variant=plugin(X86_64))
        assert problem.what.endswith(f"has a property that the rule {key!r} is about")
        assert problem.hint == f"did you mean {close!r}?"


@pytest.mark.parametrize("static", [False, True])
def test_priorities(static: bool) -> None:
    priorities = "feature = ['x86_64 :: levell']\nproperty = ['x86_64 :: level :: x3', 'x86_64 :: level :: v3']"
    variant = (
        STATIC.format(priorities=priorities) if static else plugin(X86_64, priorities=priorities)
    )
    problems = problems_of(AXIS.format("x86_64 :: level :: v3"), variant=variant)
    at = "pyproject.toml: variant.default-priorities"
    assert [(one.at, str(one.hint)[:20]) for one in problems] == [
        (f"{at}.feature", "did you mean 'level'"),
        (f"{at}.property", "known: v3" if static else "known: v1, v2, v3, v"),
    ]


def test_every_preset_names_its_plugins() -> None:
    for name in preset_names():
        preset = load_preset(name, at="")
        assert preset.namespace == name
        assert preset.plugins
        assert all(plugin == plugin.lower().replace("_", "-") for plugin in preset.plugins)
