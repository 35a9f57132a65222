"""The ``[variant]`` table of every generation, read into one model.

Generations: the talks of 2025 and PEP 817 (priorities for features and properties, ``enable-if``,
``install-time``, a ``static-properties`` table beside the providers), and the drafts since 2026
(``static-properties`` inside the provider, ``build-requires``, ``builtin``, ``variants``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

from polywheel.config.reader import Table, marker, object_reference, requirement
from polywheel.errors import ConfigError, nearest
from polywheel.model.variant import (
    ABI_DEPENDENCY,
    FEATURE,
    NAMESPACE,
    VALUE,
    Provider,
    Variant,
    VariantFeature,
    VariantMetadata,
    VariantProperty,
)

T = TypeVar("T", VariantFeature, VariantProperty)


def read_variant_table(table: Table) -> VariantMetadata:
    """Read ``[variant]``, and add problems to the table."""
    table.string("$schema")
    priorities = table.table("default-priorities")
    # A dict, because other tools may have written thousands of namespaces.
    namespaces = dict.fromkeys(priorities.names("namespace", NAMESPACE))
    # Draft PEP on providers, "ABI Dependency": the reserved namespace is not to be listed.
    namespaces.pop(ABI_DEPENDENCY, None)
    feature_priorities = _feature_priorities(priorities, namespaces)
    providers = _read_providers(table, feature_priorities)
    # PEP 825 alone knows no providers: a document of another tool may have none.
    governed = table.problems.closed or bool(providers)
    if governed:
        _check_namespaces(table, namespaces, providers)
    declared = VariantMetadata(
        namespaces=tuple(namespaces),
        feature_priorities=feature_priorities,
        property_priorities=_property_priorities(priorities, namespaces),
        providers=MappingProxyType(providers),
    )
    priorities.finish()
    variants = _variants(table.table("variants"), declared if governed else None)
    table.finish()
    return replace(declared, variants=MappingProxyType(variants))


def _check_namespaces(
    table: Table, namespaces: Mapping[str, None], providers: Mapping[str, Provider]
) -> None:
    """``default-priorities.namespace`` and ``providers`` must name the same namespaces."""
    missing = [namespace for namespace in providers if namespace not in namespaces]
    for namespace in namespaces:
        if namespace not in providers:
            table.problems.add(
                f"the namespace {namespace!r} has no provider",
                at=table.at("default-priorities", "namespace"),
                hint=nearest(namespace, missing)
                or f"declare it under [variant.providers.{namespace}]",
            )
    for namespace in missing:
        table.problems.add(
            f"the namespace {namespace!r} is missing from default-priorities.namespace",
            at=table.at("providers", namespace),
            hint="add it to the list at its priority",
        )


def _feature_priorities(
    priorities: Table, namespaces: Mapping[str, None]
) -> tuple[VariantFeature, ...]:
    """``feature``: a list of ``ns :: feature``, or a table of lists by namespace."""
    if isinstance(priorities.data.get("feature"), list):
        return _parse_list(priorities, "feature", VariantFeature.parse, namespaces)
    by_namespace = priorities.table("feature")
    return tuple(
        VariantFeature(namespace, feature)
        for namespace in _known_namespaces(by_namespace, namespaces)
        for feature in by_namespace.names(namespace, FEATURE)
    )


def _property_priorities(
    priorities: Table, namespaces: Mapping[str, None]
) -> tuple[VariantProperty, ...]:
    """``property``: a list of ``ns :: feature :: value``, or nested tables of lists."""
    if isinstance(priorities.data.get("property"), list):
        return _parse_list(priorities, "property", VariantProperty.parse, namespaces)
    by_namespace = priorities.table("property")
    properties: list[VariantProperty] = []
    for namespace in _known_namespaces(by_namespace, namespaces):
        values = _values_by_feature(by_namespace.table(namespace), empty=True)
        properties += _properties(namespace, values)
    return tuple(properties)


def _known_namespaces(table: Table, namespaces: Mapping[str, None]) -> list[str]:
    """The namespaces of a table, in priority order. Adds a problem for an unknown one."""
    for name in table.every_key():
        if name not in namespaces:
            table.wrong(name, f"unknown namespace {name!r}", nearest(name, namespaces))
    return [namespace for namespace in namespaces if namespace in table]


def _parse_list(
    table: Table, key: str, parse: Callable[..., T], namespaces: Mapping[str, None]
) -> tuple[T, ...]:
    """A list of features or properties, as the tables by namespace would give it."""

    def parse_known(text: str, *, at: str) -> T:
        item = parse(text, at=at)
        if item.namespace not in namespaces:
            what = f"unknown namespace {item.namespace!r}"
            raise ConfigError(what, at=at, hint=nearest(item.namespace, namespaces))
        return item

    return table.several(key, parse_known)


def _variants(table: Table, declared: VariantMetadata | None) -> dict[str, Variant]:
    """``[variant.variants.{label}]``, each with ``{namespace}.{feature} = [values]``.

    Properties are compared with what is declared of their namespaces, if something is. In what
    other tools wrote, a value may be unknown to the provider: that variant fits nowhere.
    """
    variants = {}
    for label in table.every_key():
        variant_table = table.table(label)
        properties = _declared_properties(variant_table)
        if declared is not None:
            for prop in properties:
                _check(declared, prop, variant_table)
        if not properties and table.data[label]:
            continue  # not the null variant: problems were added
        variant = table.problems.attempt(Variant.of, properties, label, at=table.at(label))
        if variant is not None:
            variants[label] = variant
    return variants


def _check(declared: VariantMetadata, prop: VariantProperty, table: Table) -> None:
    """Like ``attempt``, but the place is put into words only if the property is wrong."""
    check = declared.check if table.problems.closed else declared.check_namespace
    try:
        check(prop, at="")
    except ConfigError:
        table.problems.attempt(check, prop, at=table.at(prop.namespace, prop.feature))


def _declared_properties(table: Table) -> list[VariantProperty]:
    properties = []
    for namespace in table.names_of_tables(NAMESPACE):
        if table.data[namespace] == {}:
            table.wrong(namespace, f"the namespace {namespace!r} has no features")
        properties += _properties(namespace, _values_by_feature(table.table(namespace)))
    return properties


# --- providers ---

_SOURCES = ("requires", "build-requires", "static-properties", "builtin")
_StaticProperties = dict[str, tuple[str, ...]]


def _read_providers(table: Table, priorities: Iterable[VariantFeature]) -> dict[str, Provider]:
    """Providers by namespace.

    ``priorities`` are the features of ``default-priorities.feature``: in PEP 817 they order the
    static properties too.
    """
    tables = table.table("providers")
    outer = table.table("static-properties")
    # In PEP 817, a namespace with static properties has a provider table too. It says nothing new.
    names = (*tables.names_of_tables(NAMESPACE), *outer.names_of_tables(NAMESPACE))
    older_order: dict[str, list[str]] = {}
    for item in priorities:
        older_order.setdefault(item.namespace, []).append(item.feature)
    providers = {}
    for namespace in dict.fromkeys(names):
        if namespace == ABI_DEPENDENCY:
            what = f"the namespace {namespace!r} is reserved: it has no provider"
            (tables if namespace in tables else outer).wrong(namespace, what)
            continue
        providers[namespace] = _provider(
            tables.table(namespace),
            outer.table(namespace) if namespace in outer else None,
            older_order.get(namespace, []),
        )
    return providers


def _provider(table: Table, outer_static: Table | None, older_order: list[str]) -> Provider:
    """One provider. ``outer_static`` is the ``[variant.static-properties.ns]`` of PEP 817."""
    namespace = table.path[-1]
    _check_one_source(table, outer_static)
    if "plugin-api" in table and "requires" not in table and "build-requires" not in table:
        table.wrong("plugin-api", "plugin-api needs requires or build-requires")
    inner_static = table.table("static-properties")
    static = _values_by_feature(inner_static if outer_static is None else outer_static)
    requires = table.several("requires", requirement)
    build_requires = table.several("build-requires", requirement)
    if table.boolean("install-time") is False and requires:
        # PEP 817: a plugin that is asked while building; `build-requires` since 2026.
        requires, build_requires = (), requires
    provider = Provider(
        namespace=namespace,
        requires=requires,
        build_requires=build_requires,
        static_properties=MappingProxyType(static),
        feature_order=_feature_order(table, static, older_order),
        builtin=table.parsed("builtin", _builtin),
        plugin_api=table.parsed("plugin-api", object_reference),
        optional=bool(table.boolean("optional")),
        enable_if=table.parsed("enable-if", marker),
    )
    table.finish()
    return provider


def _check_one_source(table: Table, outer_static: Table | None) -> None:
    given = [key for key in _SOURCES if table.data.get(key) not in (None, [], {})]
    if outer_static is not None and outer_static.data:
        given.append(".".join(outer_static.path))
    if len(given) != 1:
        sources = " and ".join(given) or "no source of properties"
        table.problems.add(
            f"the provider of {table.path[-1]!r} has {sources}",
            at=table.at(),
            hint="set exactly one of " + ", ".join(_SOURCES),
        )


def _values_by_feature(table: Table, *, empty: bool = False) -> _StaticProperties:
    """``feature = [values, best first]``."""
    return {
        feature: table.names(feature, VALUE, empty=empty)
        for feature in table.names_of_tables(FEATURE)
    }


def _properties(namespace: str, values: _StaticProperties) -> list[VariantProperty]:
    return [
        VariantProperty(namespace, feature, value)
        for feature, several in values.items()
        for value in several
    ]


def _builtin(text: str, *, at: str) -> str:
    if not text.strip() or not text.isprintable():
        what = f"malformed name {text!r}"
        raise ConfigError(what, at=at, hint="expected the name of a provider")
    return text


def _feature_order(
    table: Table, static: _StaticProperties, older_order: list[str]
) -> tuple[str, ...]:
    """The order of a static provider's features; it must be given for more than one.

    PEP 817 had it in ``default-priorities.feature.{namespace}``.
    """
    order = table.names("feature-order", FEATURE)
    if order and not static:
        table.wrong("feature-order", "feature-order needs static-properties")
    elif order and set(order) != set(static):
        table.wrong(
            "feature-order",
            f"feature-order lists {', '.join(order)}; static-properties has {', '.join(static)}",
            "list every feature once",
        )
    if order or len(static) < 2:
        return order
    order = tuple(feature for feature in older_order if feature in static)
    if set(order) != set(static):
        table.wrong(
            "feature-order",
            f"the order of the features {', '.join(static)} is not given",
            'add feature-order = ["…"], best first',
        )
    return order
