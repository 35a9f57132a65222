"""What the providers of a project, or the installed plugins, support."""

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
    """``plugin``, ``static``, ``preset``, ``builtin``, or ``never`` (asked)."""

    at: str
    requires: tuple[str, ...] = ()
    plugin: str | None = None
    query: PluginQuery | None = None
    version: str | None = None
    generation: str | None = None
    features: tuple[FeatureConfig, ...] | None = None
    supported: tuple[FeatureConfig, ...] | None = None

    def with_features(self, features: Mapping[str, tuple[str, ...]]) -> ProviderSurvey:
        """The same provider with a list of what it knows."""
        return replace(
            self, features=tuple(FeatureConfig(*feature) for feature in features.items())
        )


def project_plugins(project: Project) -> list[ProviderSurvey]:
    """The providers of a project in priority order, not asked yet."""
    found = []
    for namespace in project.metadata.namespaces:
        provider = project.metadata.providers[namespace]
        one = build_provider(project, provider)
        surveyed = ProviderSurvey(
            namespace=namespace,
            kind=one.query,
            at=one.at,
            requires=one.requires,
            plugin=one.reference or None,
        )
        if provider.static_properties:
            order = provider.feature_order or tuple(provider.static_properties)
            configs = tuple(
                FeatureConfig(feature, provider.static_properties[feature]) for feature in order
            )
            # Static properties are always compatible: that is what they say.
            surveyed = replace(surveyed, kind="static", features=configs, supported=configs)
        elif provider.builtin is not None:
            surveyed = replace(surveyed, kind="builtin", plugin=provider.builtin)
        elif one.query == "plugin":
            surveyed = replace(
                surveyed, query=_query(namespace, one.reference, one.requires, one.at)
            )
        found.append(surveyed)
    return found


def installed_plugins() -> list[ProviderSurvey]:
    """The plugins that are installed beside polywheel, by their entry points."""
    found = []
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        requires = (entry.dist.name,) if entry.dist else ()
        at = f"entry point {entry.name}"
        found.append(
            ProviderSurvey(
                namespace=entry.name,
                kind="plugin",
                at=at,
                requires=requires,
                plugin=entry.value,
                query=_query(None, entry.value, requires, at),
            )
        )
    return found


def _query(
    namespace: str | None, reference: str, requires: tuple[str, ...], at: str
) -> PluginQuery:
    return PluginQuery(
        namespace=namespace,
        reference=reference,
        requires=requires,
        at=at,
        supported=True,
        version=True,
    )


def with_answers(provider: ProviderSurvey, answers: Sequence[PluginAnswer]) -> ProviderSurvey:
    """A provider with the answer of its plugin."""
    answer = next(one for one in answers if one.query is provider.query)
    return replace(
        provider,
        namespace=answer.namespace or provider.namespace,
        version=answer.version,
        generation=answer.generation,
        features=answer.all_configs,
        supported=answer.supported,
    )


def provider_as_json(provider: ProviderSurvey) -> dict[str, Any]:
    """The shape of ``polywheel providers --json``."""
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
        {"feature": one.name, "values": list(one.values), "multi_value": one.multi_value}
        for one in configs
    ]
