"""What a project declares of its variants: the ``[variant]`` table as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from polywheel.errors import ConfigError, nearest
from polywheel.model.properties import (
    ABI_DEPENDENCY,
    ABI_VALUE,
    VariantFeature,
    VariantProperty,
)
from polywheel.model.variant import Variant


def _frozen() -> Mapping[str, tuple[str, ...]]:
    return MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """Who governs a namespace (draft PEP on providers, "Provider information").

    Exactly one of ``requires``, ``build_requires``, ``static_properties`` and ``builtin`` is
    filled; the reader of the table sees to that.
    """

    namespace: str
    requires: tuple[str, ...] = ()
    build_requires: tuple[str, ...] = ()
    static_properties: Mapping[str, tuple[str, ...]] = field(default_factory=_frozen)
    feature_order: tuple[str, ...] = ()
    builtin: str | None = None
    plugin_api: str | None = None
    optional: bool = False
    enable_if: str | None = None

    @property
    def object_reference(self) -> str | None:
        """``module:attribute`` of the plugin; None where the namespace has no plugin.

        Without ``plugin-api`` it is the normalized name of the first requirement with ``-``
        turned into ``_`` (draft PEP on providers, "Provider information").
        """
        if self.plugin_api is not None:
            return self.plugin_api
        from packaging.requirements import Requirement  # as slow to import as the rest together
        from packaging.utils import canonicalize_name

        for requirement in self.requires or self.build_requires:
            return canonicalize_name(Requirement(requirement).name).replace("-", "_")
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantMetadata:
    """Namespaces in priority order, their providers, and the declared variants by label."""

    namespaces: tuple[str, ...] = ()
    feature_priorities: tuple[VariantFeature, ...] = ()
    property_priorities: tuple[VariantProperty, ...] = ()
    providers: Mapping[str, Provider] = field(default_factory=lambda: MappingProxyType({}))
    variants: Mapping[str, Variant] = field(default_factory=lambda: MappingProxyType({}))

    def check(self, prop: VariantProperty, *, at: str) -> None:
        """Raise ConfigError where the declarations alone rule a property out.

        Its namespace needs a provider, and where that is a list of static properties, feature and
        value must be in it. What a plugin knows is the plugin's to say.
        """
        if prop.namespace == ABI_DEPENDENCY:
            if not ABI_VALUE.fullmatch(prop.value):
                raise ConfigError(
                    f"the value of '{prop}' is not a version of one to three components",
                    at=at,
                    hint="for example 'abi_dependency :: torch :: 2.9'",
                )
            return
        self.check_namespace(prop, at=at)
        static = self.providers[prop.namespace].static_properties
        if not static:
            return
        if prop.feature not in static:
            raise ConfigError(
                f"the provider of {prop.namespace!r} does not know the feature {prop.feature!r}",
                at=at,
                hint=nearest(prop.feature, static),
            )
        if prop.value not in static[prop.feature]:
            raise ConfigError(
                f"the provider of {prop.namespace!r} does not know the value of '{prop}'",
                at=at,
                hint=nearest(prop.value, static[prop.feature]),
            )

    def check_namespace(self, prop: VariantProperty, *, at: str) -> None:
        """Raise ConfigError where the namespace of a property has no provider and needs one.

        That is all that a wheel or an index must agree with: a value that its provider does not
        know makes a variant that fits nowhere, and no mistake (PEP 825, "Variant properties").
        """
        if prop.namespace != ABI_DEPENDENCY and prop.namespace not in self.providers:
            raise ConfigError(
                f"the namespace {prop.namespace!r} has no provider",
                at=at,
                hint=nearest(prop.namespace, self.providers)
                or f"declare it under [variant.providers.{prop.namespace}]",
            )
