"""Whether builds ask the plugin of a namespace: every caller gets the same answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from polywheel.config.project import Project, ProviderOverride, Settings, read_project
from polywheel.errors import ConfigError
from polywheel.matrix.builds import namespaces_with_plugins
from polywheel.model.setup import FeatureValues, Preset
from polywheel.model.variant import Provider
from polywheel.providers.plugins import build_providers, plugin_requires
from polywheel.providers.provider_report import project_plugins
from polywheel.run.build_requirements import known_plugin_requirements
from polywheel.setup.unused_rules import check_unused_rules
from support.setups import project as project_of
from support.setups import rules, variant

STATIC = Provider(namespace="ns", static_properties={"level": ("v1", "v2")})
BUILTIN = Provider(namespace="ns", builtin="some-provider")
PLUGIN = Provider(namespace="ns", requires=("ns-plugin",))
FILLS_STATIC = Provider(namespace="ns", build_requires=("ns-plugin",))
VARIANT = variant("ns::level::v1")
PRESET = Preset(name="ns", namespace="ns", features={"level": FeatureValues(("v1",))}, rules=())


def settings(override: ProviderOverride | None) -> Settings:
    return Settings(
        providers={} if override is None else {"ns": override}, setup=rules('["ns :: other"]')
    )


def trusts_preset(project: Project) -> bool:
    """A rule about a feature that the preset lacks is an error if no plugin is asked."""
    try:
        check_unused_rules(project, VARIANT, (PRESET,), {})
    except ConfigError:
        return True
    return False


CALLERS: dict[str, Callable[[Project], bool]] = {
    "plugin_requires": lambda one: bool(plugin_requires(one, one.metadata.providers["ns"])),
    "build": lambda one: build_providers(one, VARIANT)[0].query == "plugin",
    "providers": lambda one: bool(project_plugins(one)[0].requires),
    "plan": lambda one: "ns" in namespaces_with_plugins(one),
    "requirements": lambda one: bool(known_plugin_requirements(one)["ns"]),
    "unused rules": lambda one: not trusts_preset(one),
}


def callers_for(provider: Provider) -> dict[str, Callable[[Project], bool]]:
    """The callers that ask; rules for static properties are compared with these, plugin or not."""
    left_out = {"unused rules"} if provider.static_properties else set()
    return {name: call for name, call in CALLERS.items() if name not in left_out}


@pytest.mark.parametrize(
    ("provider", "override", "asked"),
    [
        (PLUGIN, None, True),
        (PLUGIN, ProviderOverride(plugin_api="a:b"), True),
        (PLUGIN, ProviderOverride(query="plugin"), True),
        (PLUGIN, ProviderOverride(query="preset"), False),
        (PLUGIN, ProviderOverride(query="never"), False),
        (FILLS_STATIC, None, True),
        (FILLS_STATIC, ProviderOverride(query="never"), False),
        (BUILTIN, None, False),
        (BUILTIN, ProviderOverride(requires=("other",)), True),
        (STATIC, None, False),
        (STATIC, ProviderOverride(requires=("other",)), True),
        (STATIC, ProviderOverride(query="never"), False),
    ],
)
def test_every_caller_agrees(
    provider: Provider, override: ProviderOverride | None, asked: bool
) -> None:
    project = project_of(settings(override), provider)
    answers = {name: call(project) for name, call in callers_for(provider).items()}
    assert answers == dict.fromkeys(answers, asked)


@pytest.mark.parametrize(
    "declared", ['static-properties.level = ["v1"]', 'builtin = "some-provider"']
)
@pytest.mark.parametrize(
    ("override", "given"),
    [
        ('plugin-api = "a:b"', "plugin-api"),
        ('query = "plugin"', 'query = "plugin"'),
        ('query = "plugin"\nplugin-api = "a:b"', 'query = "plugin"'),
    ],
)
def test_a_plugin_without_requires_is_an_error_whoever_reads_the_project(
    declared: str, override: str, given: str, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        f'[variant]\ndefault-priorities.namespace = ["ns"]\n[variant.providers.ns]\n{declared}\n'
        f"[tool.polywheel.providers.ns]\n{override}\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as caught:
        read_project(tmp_path, variants=True)
    (problem,) = caught.value.problems
    assert problem.what == (
        f"the namespace 'ns' has no plugin: {given} is set, but there is no requires"
    )
    assert problem.at == "pyproject.toml: tool.polywheel.providers.ns"
    assert problem.hint == f"add requires with the package of the plugin, or remove {given}"


def test_with_requires_it_is_none(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[variant]\ndefault-priorities.namespace = ["ns"]\n'
        '[variant.providers.ns]\nstatic-properties.level = ["v1"]\n'
        '[tool.polywheel.providers.ns]\nplugin-api = "a:b"\nrequires = ["a"]\n',
        encoding="utf-8",
    )
    project = read_project(tmp_path, variants=True)
    assert plugin_requires(project, project.metadata.providers["ns"]) == ("a",)
