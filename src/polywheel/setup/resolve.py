"""Resolve the build setup of a variant: ask providers and merge rules."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
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
    """A variant and its build setup."""

    variant: Variant
    metadata: VariantMetadata
    """The metadata of the project, with static properties from plugins."""

    setup: BuildSetup
    compiler: str
    """``gnu``, ``clang``, or ``msvc``."""

    sources: SetupSources
    providers: tuple[BuildProvider, ...] = ()

    @property
    def setup_digest(self) -> str:
        """Variants with the same digest have the same build setup."""
        return setup_digest(self.variant, self.sources)


def resolve_setup(
    project: Project,
    choice: BackendChoice,
    variant: Variant,
    *,
    python: str | None,
    notify: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
    variables: Mapping[str, str] = os.environ,
) -> ResolvedSetup:
    """The build setup of a variant, after its properties are checked by their providers.

    Plugins run in the environment of the interpreter ``python``. Without it, plugins are not asked, because they may
    not be installed yet. ``environment`` has the marker variables of the machine that builds, if it is not this
    one, and ``variables`` has the variables of the build. Raises ConfigError and ProviderError.
    """
    providers = build_providers(project, variant)
    presets = project_presets(project)
    check_against_presets(providers, variant)
    answers: dict[str, PluginAnswer] = {}
    metadata = project.metadata
    if python is not None:
        for answer in ask_plugins(
            queries(providers, variant),
            python=python,
            timeout=project.settings.provider_timeout,
            notify=lambda line: notify(f"note: provider {line}"),
            variables=variables,
        ):
            answers[answer.namespace] = answer
        for provider in providers:
            if provider.namespace in answers:
                answer = answers[provider.namespace]
                check_answer(answer, at=provider.at, multi_value=multi_value_features(answer))
        metadata = with_static_properties(metadata, providers, answers)
        filled = {
            provider.namespace: provider.at for provider in providers if provider.fills_static
        }
        for prop in variant.properties:
            if prop.namespace in filled:
                metadata.check(prop, at=filled[prop.namespace])
    check_unused_rules(project, variant, _known_presets(project, presets), answers)
    compiler, note = compiler_family(variables)
    sources = SetupSources(
        rules=project.settings.setup,
        presets=presets,
        answers=answers,
        namespaces=metadata.namespaces,
        compiler=compiler,
        backend=choice.profile_name,
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


def build_requirements(resolved: ResolvedSetup) -> list[str]:
    """The requirements of a build: plugins, and the requirements of the setup."""
    plugins = plugin_requirements(resolved.providers)
    return [*plugins, *(e.value for e in resolved.setup.requires if e.value not in plugins)]


def has_requirements(project: Project) -> bool:
    """Whether a rule or a preset of a project has requirements of the build. Raises ConfigError."""
    presets = [rule for preset in project_presets(project) for rule in preset.rules]
    rules = (*project.settings.setup, *presets)
    return any(fields.requires for rule in rules for fields in rule.all_fields)


def check_against_presets(providers: Iterable[BuildProvider], variant: Variant) -> None:
    """Check properties of namespaces with ``query = "preset"``. Raises ConfigError."""
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
    """Features with several values according to the preset, for plugins without this information."""
    namespace = answer.namespace or ""
    if len({prop.feature for prop in answer.valid}) == len(answer.valid):
        return []  # no feature has several values
    if answer.generation not in WITHOUT_MULTI_VALUE or namespace not in preset_names():
        return []
    features = load_preset(namespace, at=PYPROJECT).features
    return [name for name, feature in features.items() if feature.multi_value]


def _known_presets(project: Project, presets: list[Preset]) -> list[Preset]:
    """The presets of a project, and those of the namespaces that its rules name."""
    namespaces = {rule.target[0] for rule in project.settings.setup if rule.target}
    namespaces -= {preset.namespace for preset in presets}
    names = [name for name in preset_names() if name in namespaces]
    return [*presets, *(load_preset(name, at=PYPROJECT) for name in names)]
