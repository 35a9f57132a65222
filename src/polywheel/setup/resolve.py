"""From a variant to what is asked of its build: providers are asked, rules are followed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from polywheel.config.project import PYPROJECT, Project
from polywheel.errors import ConfigError
from polywheel.model.plugin_answers import PluginAnswer
from polywheel.model.setup import BackendChoice, BuildSetup, Preset
from polywheel.model.variant import Variant, VariantMetadata
from polywheel.providers.client import ask_plugins
from polywheel.providers.plugins import (
    WITHOUT_MULTI_VALUE,
    BuildProvider,
    build_providers,
    check_answer,
    plugin_requirements,
    queries,
    with_static_properties,
)
from polywheel.setup.digest import setup_digest
from polywheel.setup.flags_and_settings import compiler_family
from polywheel.setup.presets import check_against_preset, load_preset, preset_names, project_presets
from polywheel.setup.rules import SetupSources, merge_rules
from polywheel.setup.unused_rules import check_unused_rules


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedSetup:
    """A variant, and everything that its build is asked for."""

    variant: Variant
    metadata: VariantMetadata
    """The project's, with the static properties that plugins filled in."""

    setup: BuildSetup
    compiler: str
    """``gnu``, ``clang`` or ``msvc``."""

    sources: SetupSources
    """What the setup was made of."""

    providers: tuple[BuildProvider, ...] = ()

    @property
    def setup_digest(self) -> str:
        """Equal for variants that ask the same of the build."""
        return setup_digest(self.variant, self.sources)


def resolve_setup(
    project: Project,
    choice: BackendChoice,
    variant: Variant,
    *,
    python: str | None,
    notify: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> ResolvedSetup:
    """What a variant asks of the build, its properties checked against their providers.

    Plugins are asked in the environment of the interpreter ``python``; without one they may not be
    installed yet, and only what project and presets say is there. ``environment`` has the marker
    variables of where it is built, if that is not here. Raises ConfigError and ProviderError.
    """
    providers = build_providers(project, variant)
    presets = project_presets(project)
    check_against_presets(providers, variant)
    answers: dict[str, PluginAnswer] = {}
    metadata = project.metadata
    if python is not None:
        asked = queries(providers, variant)
        timeout = project.settings.provider_timeout
        for answer in ask_plugins(
            asked,
            python=python,
            timeout=timeout,
            notify=lambda line: notify(f"note: provider {line}"),
        ):
            answers[answer.namespace] = answer
        for provider in providers:
            if provider.namespace in answers:
                answer = answers[provider.namespace]
                check_answer(answer, at=provider.at, multi_value=multi_value_features(answer))
        metadata = with_static_properties(metadata, providers, answers)
        _check_static(metadata, providers, variant)
    check_unused_rules(project, variant, _all_known(project, presets), answers)
    compiler, note = compiler_family(os.environ)
    sources = SetupSources(
        rules=project.settings.setup,
        presets=presets,
        answers=answers,
        namespaces=metadata.namespaces,
        compiler=compiler,
        backend=choice.profile.name if choice.profile else None,
        source=project.source,
        environment=environment,
    )
    setup = merge_rules(variant, sources)
    if note and setup.flags:
        notify(f"note: {note}")
    return ResolvedSetup(
        variant=variant,
        metadata=metadata,
        setup=setup,
        compiler=compiler,
        sources=sources,
        providers=providers,
    )


def build_requirements(asked: ResolvedSetup) -> list[str]:
    """What has to be installed for the build: plugins, and what the setup requires."""
    found = plugin_requirements(asked.providers)
    return [*found, *(one.value for one in asked.setup.requires if one.value not in found)]


def check_against_presets(providers: tuple[BuildProvider, ...], variant: Variant) -> None:
    for provider in providers:
        if provider.query != "preset":
            continue
        if provider.namespace not in preset_names():
            raise ConfigError(
                f"no preset exists for the namespace {provider.namespace!r}",
                at=f"{provider.at}.query",
                hint="presets: " + ", ".join(preset_names()) + '; or query = "never"',
            )
        properties = [prop for prop in variant.properties if prop.namespace == provider.namespace]
        preset = load_preset(provider.namespace, at=provider.at)
        check_against_preset(properties, preset, at=provider.at)


def multi_value_features(answer: PluginAnswer) -> list[str]:
    """The features that a namespace's preset gives several values, for plugins that do not say."""
    namespace = answer.namespace or ""
    if len({prop.feature for prop in answer.valid}) == len(answer.valid):
        return []  # nobody asks for several
    if answer.generation not in WITHOUT_MULTI_VALUE or namespace not in preset_names():
        return []
    features = load_preset(namespace, at=PYPROJECT).features
    return [name for name, feature in features.items() if feature.multi_value]


def _check_static(
    metadata: VariantMetadata, providers: tuple[BuildProvider, ...], variant: Variant
) -> None:
    """Properties against the static properties that a plugin has just filled in."""
    filled = {one.namespace: one.at for one in providers if one.fills_static}
    for prop in variant.properties:
        if prop.namespace in filled:
            metadata.check(prop, at=filled[prop.namespace])


def _all_known(project: Project, presets: list[Preset]) -> list[Preset]:
    """The project's presets, and those of namespaces that it has rules for: what they know."""
    there = {preset.namespace for preset in presets}
    wanted = {rule.target[0] for rule in project.settings.setup if rule.target} - there
    return [
        *presets,
        *(load_preset(name, at=PYPROJECT) for name in preset_names() if name in wanted),
    ]
