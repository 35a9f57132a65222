"""``[variant.providers]`` of every generation: who governs a namespace."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from polywheel.config.checks import marker, object_reference, requirements
from polywheel.config.reader import Table
from polywheel.model.metadata import Provider
from polywheel.model.properties import (
    ABI_DEPENDENCY,
    FEATURE,
    NAMESPACE,
    VALUE,
    VariantFeature,
)

_SOURCES = ("requires", "build-requires", "static-properties", "builtin")
_StaticProperties = dict[str, tuple[str, ...]]


def read_providers(table: Table, priorities: Iterable[VariantFeature]) -> dict[str, Provider]:
    """Providers by namespace, from the ``[variant]`` table; problems are noted in it.

    ``priorities`` are the features of ``default-priorities.feature``: in PEP 817 they order the
    static properties too.
    """
    tables = table.table("providers")
    outer = table.table("static-properties")
    older_order: dict[str, list[str]] = {}
    for one in priorities:
        older_order.setdefault(one.namespace, []).append(one.feature)
    providers = {}
    # PEP 817 wants a provider table beside static properties; the list of values says all that
    # it would.
    named = (*tables.names_of_tables(NAMESPACE), *outer.names_of_tables(NAMESPACE))
    for namespace in dict.fromkeys(named):
        if namespace == ABI_DEPENDENCY:
            where = tables if namespace in tables else outer
            where.wrong(namespace, f"the namespace {namespace!r} is reserved: it has no provider")
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
        table.wrong("plugin-api", "plugin-api goes with requires or build-requires only")
    static = _static_properties(table.table("static-properties"))
    if outer_static is not None:
        static = _static_properties(outer_static)
    requires = requirements(table, "requires")
    build_requires = requirements(table, "build-requires")
    if not table.boolean("install-time", True) and requires:
        # PEP 817: a plugin that is asked while building; `build-requires` since 2026.
        requires, build_requires = (), requires
    provider = Provider(
        namespace=namespace,
        requires=requires,
        build_requires=build_requires,
        static_properties=MappingProxyType(static),
        feature_order=_feature_order(table, static, older_order),
        builtin=_builtin(table),
        plugin_api=object_reference(table, "plugin-api", "expected 'module:attribute'"),
        optional=table.boolean("optional", False),
        enable_if=marker(table, "enable-if"),
    )
    table.finish()
    return provider


def _check_one_source(table: Table, outer_static: Table | None) -> None:
    given = [key for key in _SOURCES if table.data.get(key) not in (None, [], {})]
    if outer_static is not None and outer_static.data:
        given.append(".".join(outer_static.path))
    if len(given) != 1:
        found = (
            f"has {' and '.join(given)}" if given else "does not say where its properties come from"
        )
        table.problems.add(
            f"the provider of {table.path[-1]!r} {found}",
            at=table.at(),
            hint="give exactly one of " + ", ".join(_SOURCES),
        )


def _static_properties(table: Table) -> _StaticProperties:
    """``feature = [values, best first]``."""
    return {
        feature: table.names(feature, VALUE, empty=False)
        for feature in table.names_of_tables(FEATURE)
    }


def _builtin(table: Table) -> str | None:
    text = table.string("builtin")
    if text is not None and not (text.strip() and text.isprintable()):
        table.wrong("builtin", f"malformed name {text!r}", "expected the name of a provider")
    return text


def _feature_order(
    table: Table, static: _StaticProperties, older_order: list[str]
) -> tuple[str, ...]:
    """The order of a static provider's features; it must be given for more than one.

    PEP 817 had it in ``default-priorities.feature.{namespace}``.
    """
    order = table.names("feature-order", FEATURE)
    if order and not static:
        table.wrong("feature-order", "feature-order goes with static-properties only")
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
