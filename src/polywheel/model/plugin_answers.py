"""What a provider plugin answered, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from polywheel.model.variant import VariantProperty


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """A feature and its values, best first where the order says something."""

    name: str
    values: tuple[str, ...]
    multi_value: bool = False
    """Whether one variant may have several of the values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginQuery:
    """What one plugin is asked."""

    namespace: str | None
    """That it is to govern; None to take the one that it says it governs, if it says one."""

    reference: str
    """``module:object``."""

    requires: tuple[str, ...]
    """The requirements that bring the plugin; the first names the distribution."""

    at: str
    """Where the plugin is declared, for messages."""

    properties: tuple[VariantProperty, ...] = ()
    """To be judged."""

    setup: tuple[VariantProperty, ...] = ()
    """To ask build setup for."""

    supported: bool = False
    """Whether to ask what fits this machine."""

    version: bool = False
    """Whether to look for the version of the distribution, which takes longer than a question."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginAnswer:
    """What one plugin said in one query."""

    query: PluginQuery | None = None
    """What it was asked."""

    namespace: str
    """Empty where neither query nor plugin names it."""

    generation: str
    """``2025-04``, ``2025-06``, ``PEP 817`` or ``2026``."""

    version: str | None
    all_configs: tuple[FeatureConfig, ...] | None
    """Every feature and value that it knows; None for plugins that judge properties instead."""

    valid: Mapping[VariantProperty, bool]
    """Its judgement of the properties that it was asked about."""

    supported: tuple[FeatureConfig, ...] | None
    """What fits this machine, best first; None where it was not asked or gave no answer.

    It is also asked where a property is not valid and the plugin has no list of what it knows."""

    all_compatible: bool
    """Whether all that it knows is always compatible, so that it may fill static properties."""

    setup: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Flags by key of get_build_setup (``cflags``…), asked for all properties at once."""

    setup_each: Mapping[VariantProperty, Mapping[str, tuple[str, ...]]] = field(
        default_factory=dict
    )
    """The same, asked for each property by itself."""
