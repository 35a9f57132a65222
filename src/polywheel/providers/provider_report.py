"""The features of a project's providers, or of the installed plugins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import Any

from polywheel.config.project import Project
from polywheel.model.plugin_answers import FeatureConfig, PluginAnswer, PluginQuery
from polywheel.providers.plugins import build_provider

ENTRY_POINTS = "variant_plugins"
"""The entry point group of installed plugins (draft PEP on providers, "API endpoint")."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderSurvey:
    """One provider. ``features`` and ``supported`` are None if there is no list of them."""

    namespace: str
    kind: str
    """``plugin``, ``static``, ``preset``, ``builtin``, or ``never``."""

    at: str
    requires: tuple[str, ...] = ()
    plugin: str | None = None
    query: PluginQuery | None = None
    version: str | None = None
    generation: str | None = None
    features: tuple[FeatureConfig, ...] | None = None
    supported: tuple[FeatureConfig, ...] | None = None

    def with_features(self, features: Mapping[str, tuple[str, ...]]) -> ProviderSurvey:
        """The same provider with a list of features."""
        return replace(self, features=tuple(FeatureConfig(*item) for item in features.items()))


def project_plugins(project: Project) -> list[ProviderSurvey]:
    """The providers of a project in priority order. Plugins are not asked yet."""
    surveys = []
    for namespace in project.metadata.namespaces:
        provider = project.metadata.providers[namespace]
        handling = build_provider(project, provider)
        survey = ProviderSurvey(
            namespace=namespace,
            kind=handling.query,
            at=handling.at,
            requires=handling.requires,
            plugin=handling.reference or None,
        )
        if static := provider.static_properties:
            order = provider.feature_order or tuple(static)
            configs = tuple(FeatureConfig(feature, static[feature]) for feature in order)
            # Static properties are always compatible by definition.
            survey = replace(survey, kind="static", features=configs, supported=configs)
        elif provider.builtin is not None:
            survey = replace(survey, kind="builtin", plugin=provider.builtin)
        elif handling.query == "plugin":
            survey = _with_query(survey, namespace)
        surveys.append(survey)
    return surveys


def installed_plugins() -> list[ProviderSurvey]:
    """The plugins that are installed beside polywheel, by their entry points."""
    return [
        _with_query(
            ProviderSurvey(
                namespace=entry.name,
                kind="plugin",
                at=f"entry point {entry.name}",
                requires=(entry.dist.name,) if entry.dist else (),
                plugin=entry.value,
            ),
            None,
        )
        for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name)
    ]


def _with_query(survey: ProviderSurvey, namespace: str | None) -> ProviderSurvey:
    query = PluginQuery(
        namespace=namespace,
        reference=survey.plugin or "",
        requires=survey.requires,
        at=survey.at,
        supported=True,
        version=True,
    )
    return replace(survey, query=query)


def with_answers(provider: ProviderSurvey, answers: Sequence[PluginAnswer]) -> ProviderSurvey:
    """A provider with the answer of its plugin."""
    answer = next(answer for answer in answers if answer.query is provider.query)
    return replace(
        provider,
        namespace=answer.namespace or provider.namespace,
        version=answer.version,
        generation=answer.generation,
        features=answer.all_configs,
        supported=answer.supported,
    )


def provider_as_json(provider: ProviderSurvey) -> dict[str, Any]:
    """The output of ``polywheel providers --json``."""
    return {
        "namespace": provider.namespace,
        "kind": provider.kind,
        "requires": list(provider.requires),
        "plugin": provider.plugin,
        "version": provider.version,
        "generation": provider.generation,
        "features": _listed(provider.features),
        "supported": _listed(provider.supported),
    }


def _listed(configs: tuple[FeatureConfig, ...] | None) -> list[dict[str, Any]] | None:
    if configs is None:
        return None
    return [
        {"feature": c.name, "values": list(c.values), "multi_value": c.multi_value} for c in configs
    ]
