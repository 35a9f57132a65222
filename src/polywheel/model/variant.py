"""Variant properties, variants with their labels, and their declarations in a project.

PEP 825, "Variant properties" and "Variant label". :class:`VariantMetadata` is the ``[variant]`` table as one
frozen value.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from polywheel.errors import ConfigError, nearest

NAMESPACE = re.compile(r"[a-z0-9_]+")
FEATURE = NAMESPACE
VALUE = re.compile(r"[a-z0-9_.]+")

ABI_DEPENDENCY = "abi_dependency"
"""The reserved namespace that no provider governs (draft PEP on providers, "ABI Dependency")."""

# One to three components of a release segment, as `=={value}.*` compares them.
ABI_VALUE = re.compile(r"[0-9]+(\.[0-9]+){0,2}")


@dataclass(frozen=True, order=True, slots=True)
class VariantFeature:
    """``namespace :: feature``, both matching ``^[a-z0-9_]+$``."""

    namespace: str
    feature: str

    def __str__(self) -> str:
        return f"{self.namespace} :: {self.feature}"

    @classmethod
    def parse(cls, text: str, *, at: str | None = None) -> VariantFeature:
        """Parse ``ns::feature``. Blanks around ``::`` are ignored. Raises ConfigError."""
        namespace, feature = _parts(text, ("namespace", "feature"), at)
        return cls(namespace, feature)


@dataclass(frozen=True, order=True, slots=True)
class VariantProperty:
    """``namespace :: feature :: value``; the value matches ``^[a-z0-9_.]+$``."""

    namespace: str
    feature: str
    value: str

    def __str__(self) -> str:
        return f"{self.namespace} :: {self.feature} :: {self.value}"

    @classmethod
    def parse(cls, text: str, *, at: str | None = None) -> VariantProperty:
        """Parse ``ns::feature::value``. Blanks around ``::`` are ignored. Raises ConfigError."""
        namespace, feature, value = _parts(text, ("namespace", "feature", "value"), at)
        return cls(namespace, feature, value)


_PATTERNS = {"namespace": NAMESPACE, "feature": FEATURE, "value": VALUE}


def _parts(text: str, names: tuple[str, ...], at: str | None) -> list[str]:
    expected = " :: ".join(names)
    kind = "property" if len(names) == 3 else "feature"
    parts = [part.strip(" \t") for part in text.split("::")]
    if len(parts) != len(names):
        raise ConfigError(
            f"malformed variant {kind} {text!r}", at=at, hint=f"expected '{expected}'"
        )
    for name, part in zip(names, parts, strict=True):
        if not _PATTERNS[name].fullmatch(part):
            allowed = "a-z, 0-9 and _" + (" and ." if name == "value" else "")
            raise ConfigError(
                f"malformed variant {kind} {text!r}: the {name} {part!r} "
                f"may contain only {allowed}, and must not be empty",
                at=at,
                hint=f"expected '{expected}' in lower case",
            )
    return parts


LABEL = re.compile(r"[0-9a-z_.]+")
LABEL_GLOB = re.compile(r"[0-9a-z_.*?\[\]!-]+")
NULL_LABEL = "null"


@dataclass(frozen=True, slots=True)
class Variant:
    """Sorted properties without duplicates, and their label in a filename."""

    properties: tuple[VariantProperty, ...]
    label: str

    @classmethod
    def of(
        cls,
        properties: Iterable[VariantProperty],
        label: str | None = None,
        *,
        at: str | None = None,
    ) -> Variant:
        """Return the variant of these properties. The default label is ``null`` or the hash.

        Raises ConfigError if the label is malformed, and if it is ``null`` and there are properties, or the other
        way round.
        """
        ordered = tuple(sorted(set(properties)))
        if label is None:
            label = variant_hash(ordered) if ordered else NULL_LABEL
        check_label(label, at=at)
        if ordered and label == NULL_LABEL:
            raise ConfigError(
                "the label 'null' is reserved for the variant without properties",
                at=at,
                hint="choose another label, or remove the properties",
            )
        if not ordered and label != NULL_LABEL:
            raise ConfigError(
                f"label {label!r} has no properties; that is the null variant, "
                "whose label is always 'null'",
                at=at,
            )
        return cls(ordered, label)

    @property
    def is_null(self) -> bool:
        return not self.properties

    @property
    def hash(self) -> str:
        return variant_hash(self.properties)

    @property
    def namespaces(self) -> frozenset[str]:
        return frozenset(prop.namespace for prop in self.properties)

    def by_namespace(self) -> dict[str, dict[str, list[str]]]:
        """Return ``{namespace: {feature: [values, sorted]}}``, as in variant.json."""
        nested: dict[str, dict[str, list[str]]] = {}
        for prop in self.properties:
            nested.setdefault(prop.namespace, {}).setdefault(prop.feature, []).append(prop.value)
        return nested


def variant_hash(properties: Iterable[VariantProperty]) -> str:
    """Return the first 8 hex digits of SHA-256 over the sorted properties, each with a newline (PEP 817)."""
    text = "".join(f"{prop}\n" for prop in sorted(set(properties)))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:8]


def check_label(label: str, *, at: str | None = None) -> None:
    """Raise ConfigError unless the label matches ``^[0-9a-z_.]+$``."""
    if not LABEL.fullmatch(label):
        raise ConfigError(
            f"malformed variant label {label!r}",
            at=at,
            hint="a label may contain only a-z, 0-9, _ and ., and must not be empty",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """The provider of a namespace (draft PEP on providers, "Provider information").

    Exactly one of ``requires``, ``build_requires``, ``static_properties``, and ``builtin`` is not empty. The reader
    of the table checks this.
    """

    namespace: str
    requires: tuple[str, ...] = ()
    build_requires: tuple[str, ...] = ()
    static_properties: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    feature_order: tuple[str, ...] = ()
    builtin: str | None = None
    plugin_api: str | None = None
    optional: bool = False
    enable_if: str | None = None

    @property
    def object_reference(self) -> str | None:
        """``module:attribute`` of the plugin; None if the namespace has no plugin.

        Without ``plugin-api``, it is the normalized name of the first requirement with ``_`` for ``-`` (draft PEP
        on providers, "Provider information").
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

    def check(self, prop: VariantProperty | VariantFeature, *, at: str) -> None:
        """Raise ConfigError if the declarations exclude a property or feature.

        Its namespace must have a provider. If that has static properties, they must contain feature and value.
        Plugins are not asked.
        """
        value = prop.value if isinstance(prop, VariantProperty) else None
        if prop.namespace == ABI_DEPENDENCY:
            if value is not None and not ABI_VALUE.fullmatch(value):
                raise ConfigError(
                    f"the value of '{prop}' is not a version of one to three components",
                    at=at,
                    hint="for example 'abi_dependency :: torch :: 2.9'",
                )
            return
        self.require_provider(prop.namespace, at=at)
        static = self.providers[prop.namespace].static_properties
        if not static:
            return
        if prop.feature not in static:
            raise ConfigError(
                f"the provider of {prop.namespace!r} does not know the feature {prop.feature!r}",
                at=at,
                hint=nearest(prop.feature, static),
            )
        if value is not None and value not in static[prop.feature]:
            raise ConfigError(
                f"the provider of {prop.namespace!r} does not know the value of '{prop}'",
                at=at,
                hint=nearest(value, static[prop.feature]),
            )

    def check_namespace(self, prop: VariantProperty, *, at: str) -> None:
        """Raise ConfigError if the namespace of a property has no provider and needs one.

        Wheels and indexes are only checked for this. A value that its provider does not know is not an error: no
        machine supports the variant (PEP 825, "Variant properties").
        """
        if prop.namespace != ABI_DEPENDENCY:
            self.require_provider(prop.namespace, at=at)

    def require_provider(self, namespace: str, *, at: str) -> None:
        """Raise ConfigError if no provider is declared for a namespace."""
        if namespace not in self.providers:
            raise ConfigError(
                f"the namespace {namespace!r} has no provider",
                at=at,
                hint=nearest(namespace, self.providers)
                or f"declare it under [variant.providers.{namespace}]",
            )


def variant_settings(label: str | None, properties: Iterable[str]) -> dict[str, str | list[str]]:
    """Return the config settings that select a variant; none for the non-variant wheel (label None)."""
    if label is None:
        return {}
    if label == NULL_LABEL:
        return {"null-variant": "true"}
    return {"variant": list(properties), "variant-label": label}


def variant_variables(label: str, properties: Iterable[VariantProperty]) -> dict[str, str]:
    """The environment variables that tell a build or a test its variant: the label, and one property per line."""
    return {
        "POLYWHEEL_VARIANT_LABEL": label,
        "POLYWHEEL_VARIANT_PROPERTIES": "\n".join(map(str, properties)),
    }
