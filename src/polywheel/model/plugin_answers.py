"""Questions to provider plugins, and their checked answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from polywheel.model.variant import VariantProperty


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """A feature and its values, best first if the plugin orders them."""

    name: str
    values: tuple[str, ...]
    multi_value: bool = False
    """Whether one variant may have several of the values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginQuery:
    """The questions to one plugin."""

    namespace: str | None
    """The namespace of the plugin; None for the namespace that the plugin itself names."""

    reference: str
    """``module:object``."""

    requires: tuple[str, ...]
    """The requirements that bring the plugin. The first one names the distribution."""

    at: str
    """The location of its declaration, for messages."""

    properties: tuple[VariantProperty, ...] = ()
    """The properties to validate."""

    setup: tuple[VariantProperty, ...] = ()
    """The properties to get build setup for."""

    supported: bool = False
    """Whether to ask for the properties that this machine supports."""

    version: bool = False
    """Whether to look for the version of the distribution. This takes longer than a question."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginAnswer:
    """The answers of one plugin to one query."""

    query: PluginQuery | None = None
    namespace: str
    """Empty if neither query nor plugin names it."""

    generation: str
    """``2025-04``, ``2025-06``, ``PEP 817`` or ``2026``."""

    version: str | None
    all_configs: tuple[FeatureConfig, ...] | None
    """All features and values that the plugin knows; None for plugins that validate properties instead."""

    valid: Mapping[VariantProperty, bool]
    """Whether each property of the query is valid."""

    supported: tuple[FeatureConfig, ...] | None
    """The properties that this machine supports, best first; None if it was not asked or gave no answer.

    It is also asked if a property is not valid and the plugin has no list of known properties."""

    all_compatible: bool
    """Whether all its properties are always compatible, so that they may be static properties."""

    setup: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Flags by key of get_build_setup (``cflags``…), for all properties together."""

    setup_each: Mapping[VariantProperty, Mapping[str, tuple[str, ...]]] = field(
        default_factory=dict
    )
    """The same for each single property."""
