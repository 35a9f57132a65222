"""``[variant.providers]`` of every generation: who governs a namespace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement

from polywheel.config.reader import Table
from polywheel.model.metadata import Provider
from polywheel.model.properties import ABI_DEPENDENCY, FEATURE, NAMESPACE, VALUE

OBJECT_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)?")

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_StaticProperties = dict[str, tuple[str, ...]]


def read_providers(table: Table) -> dict[str, Provider]:
    """Providers by namespace, from the ``[variant]`` table; problems are noted in it."""
    outer_static = _outer_static_properties(table)
    older_order = table.table("default-priorities").data.get("feature")
    if not isinstance(older_order, dict):
        older_order = {}
    tables = table.table("providers")
    providers = {}
    for namespace in tables.names_of_tables(NAMESPACE):
        if namespace == ABI_DEPENDENCY:
            tables.wrong(namespace, f"the namespace {namespace!r} is reserved: it has no provider")
            continue
        providers[namespace] = _provider(
            tables.table(namespace),
            namespace,
            outer_static.pop(namespace, None),
            older_order.get(namespace),
        )
    outer = table.table("static-properties")
    for namespace, static in outer_static.items():
        # PEP 817 wants a provider table beside it; the list of values says all that it would.
        providers[namespace] = Provider(
            namespace=namespace,
            static_properties=MappingProxyType(static),
            feature_order=_feature_order(outer, namespace, static, (), older_order.get(namespace)),
        )
    return providers


def _outer_static_properties(table: Table) -> dict[str, _StaticProperties]:
    """The ``[variant.static-properties.ns]`` tables of PEP 817."""
    outer = table.table("static-properties")
    return {ns: _static_properties(outer.table(ns)) for ns in outer.names_of_tables(NAMESPACE)}


def _static_properties(table: Table) -> _StaticProperties:
    """``feature = [values, best first]``."""
    return {
        feature: table.names(feature, VALUE, empty=False)
        for feature in table.names_of_tables(FEATURE)
    }


def _provider(
    table: Table, namespace: str, outer_static: _StaticProperties | None, older_order: object
) -> Provider:
    requires = _requirements(table, "requires")
    build_requires = _requirements(table, "build-requires")
    if not table.boolean("install-time", True) and requires:
        # PEP 817: a plugin that is asked while building; `build-requires` since 2026.
        requires, build_requires = (), requires
    static = _static_properties(table.table("static-properties"))
    if outer_static is not None:
        if static:
            table.wrong("static-properties", "given here and under variant.static-properties")
        static = outer_static
    builtin = table.string("builtin")
    _check_one_source(
        table,
        {
            "requires": bool(requires),
            "build-requires": bool(build_requires),
            "static-properties": bool(static),
            "builtin": builtin is not None,
        },
    )
    order = table.names("feature-order", FEATURE)
    if order and not static:
        table.wrong("feature-order", "feature-order goes with static-properties only")
        order = ()
    provider = Provider(
        namespace=namespace,
        requires=requires,
        build_requires=build_requires,
        static_properties=MappingProxyType(static),
        feature_order=_feature_order(table, "feature-order", static, order, older_order),
        builtin=builtin,
        plugin_api=_plugin_api(table, bool(requires or build_requires)),
        optional=table.boolean("optional", False),
        enable_if=_marker(table, "enable-if"),
    )
    table.finish()
    return provider


def _check_one_source(table: Table, there: Mapping[str, bool]) -> None:
    given = [key for key, is_there in there.items() if is_there]
    if len(given) != 1:
        found = (
            f"has {' and '.join(given)}" if given else "does not say where its properties come from"
        )
        table.problems.add(
            f"the provider of {table.path[-1]!r} {found}",
            at=table.at(),
            hint="give exactly one of " + ", ".join(there),
        )


def _requirements(table: Table, key: str) -> tuple[str, ...]:
    found = []
    for index, text in enumerate(table.strings(key) or ()):
        try:
            if _CONTROL.search(text):
                raise InvalidRequirement("it holds a control character")
            Requirement(text)
            found.append(text.strip())
        except InvalidRequirement as error:
            table.problems.add(
                f"malformed requirement {text!r}: {str(error).splitlines()[0]}",
                at=f"{table.at(key)}[{index}]",
            )
    return tuple(found)


def _plugin_api(table: Table, has_plugin: bool) -> str | None:
    text = table.string("plugin-api")
    if text is None:
        return None
    reference = re.sub(r"[ \t]*:[ \t]*", ":", text.strip(" \t"))
    if not OBJECT_REFERENCE.fullmatch(reference):
        table.wrong(
            "plugin-api", f"malformed object reference {text!r}", "expected 'module:attribute'"
        )
        return None
    if not has_plugin:
        table.wrong("plugin-api", "plugin-api goes with requires or build-requires only")
        return None
    return reference


def _marker(table: Table, key: str) -> str | None:
    text = table.string(key)
    if text is None:
        return None
    try:
        if _CONTROL.search(text):
            raise InvalidMarker("it holds a control character")
        Marker(text)
    except InvalidMarker as error:
        table.wrong(key, f"malformed marker {text!r}: {str(error).splitlines()[0]}")
        return None
    return text.strip()


def _feature_order(
    table: Table,
    key: str,
    static: _StaticProperties,
    order: tuple[str, ...],
    older_order: object,
) -> tuple[str, ...]:
    """The order of a static provider's features; it must be given for more than one.

    PEP 817 had it in ``default-priorities.feature.{namespace}``.
    """
    if order and set(order) != set(static):
        table.wrong(
            key,
            f"feature-order lists {', '.join(order)}; static-properties has {', '.join(static)}",
            "list every feature once",
        )
    if order or len(static) < 2:
        return order
    if isinstance(older_order, list) and sorted(static) == sorted(map(str, older_order)):
        return tuple(map(str, older_order))
    table.wrong(
        key,
        f"the order of the features {', '.join(static)} is not given",
        'add feature-order = ["…"], best first',
    )
    return ()
