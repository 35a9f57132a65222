"""Reading the ``Variant-*`` fields of METADATA, the only variant data of the wheels of early 2025."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from types import MappingProxyType
from typing import TypeVar

from polywheel.config.checks import marker, object_reference, requirements
from polywheel.config.reader import Problems, Table
from polywheel.errors import Problem, WheelError
from polywheel.model.metadata import Provider, VariantMetadata
from polywheel.model.properties import (
    ABI_DEPENDENCY,
    NAMESPACE,
    VariantFeature,
    VariantProperty,
)
from polywheel.model.variant import NULL_LABEL, Variant, variant_hash

T = TypeVar("T")
Every = Callable[..., list[str]]

MAX_HEADERS = 2 * 1024 * 1024
"""Bytes of headers: in old METADATA the description is one of them."""
MAX_LINES = 100_000
"""Lines of headers: each may be one, and takes hundreds of bytes in memory."""
_END = re.compile(rb"(?:\A|\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")

_LABEL, _HASH, _PROPERTY = "Variant-Label", "Variant-Hash", "Variant-Property"
_OLD_PROPERTY = "Variant"
"""The very first wheels had it for what soon became ``Variant-Property``."""
_OLD_NULL = "00000000"
"""What stood for the variant without properties before there were labels."""
_REQUIRES, _PLUGIN, _ENABLE_IF = "Variant-Requires", "Variant-Plugin-API", "Variant-Enable-If"
_NAMESPACES, _FEATURES, _PROPERTIES = (
    f"Variant-Default-{kind}-Priorities" for kind in ("Namespace", "Feature", "Property")
)
_OURS = frozenset(
    name.lower()
    for name in (
        *(_LABEL, _HASH, _PROPERTY, _OLD_PROPERTY, _REQUIRES, _PLUGIN, _ENABLE_IF),
        *(_NAMESPACES, _FEATURES, _PROPERTIES),
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantFields:
    """What METADATA says of a variant; a field that is not there is None or empty."""

    label: str | None
    hash: str | None
    properties: tuple[VariantProperty, ...]
    """As they stand: not sorted."""

    metadata: VariantMetadata
    """Priorities and providers; ``variants`` holds the one that the fields describe, if they do."""

    problems: tuple[Problem, ...]
    """Fields that can't be read, and what is in them that contradicts itself."""


def parse_metadata(content: bytes, *, at: str = "METADATA") -> Message:
    """The headers of METADATA, or of WHEEL; whatever the bytes are, some message comes of it.

    Raises WheelError where there are more headers than any wheel has.
    """
    end = _END.search(content)
    headers = content[: end.end()] if end is not None else content
    lines = headers.count(b"\n") + headers.count(b"\r")
    if len(headers) > MAX_HEADERS or lines > MAX_LINES:
        raise WheelError(
            f"{len(headers)} bytes of headers in {lines} lines, "
            f"over the bound of {MAX_HEADERS} bytes and {MAX_LINES} lines",
            at=at,
        )
    return BytesParser().parsebytes(headers, headersonly=True)


def read_variant_fields(headers: Message, *, at: str) -> VariantFields | None:
    """The variant fields among the headers of METADATA; None where there is not one.

    Raises nothing: what can't be read is told in ``problems``.
    """

    def every(*names: str) -> list[str]:
        # A header with bytes above ASCII is an object, and a folded one has line breaks.
        values = [value for name in names for value in headers.get_all(name, [])]
        return [" ".join(str(value).split()) for value in values]

    if not any(name.lower() in _OURS for name in headers):
        return None
    problems = Problems()
    properties = _each(every(_PROPERTY, _OLD_PROPERTY), VariantProperty.parse, problems, at)
    label, named = (_only(name, every, problems, at) for name in (_LABEL, _HASH))
    metadata = VariantMetadata(
        namespaces=_namespaces(every, problems, at),
        feature_priorities=_each(_listed(_FEATURES, every), VariantFeature.parse, problems, at),
        property_priorities=_each(_listed(_PROPERTIES, every), VariantProperty.parse, problems, at),
        providers=MappingProxyType(_providers(every, problems, at)),
        variants=MappingProxyType(_variants(properties, label, named, problems, at)),
    )
    _check_namespaces(metadata, properties, problems, at)
    return VariantFields(
        label=label,
        hash=named,
        properties=properties,
        metadata=metadata,
        problems=tuple(problems.found),
    )


def _variants(
    properties: tuple[VariantProperty, ...],
    label: str | None,
    named: str | None,
    problems: Problems,
    at: str,
) -> dict[str, Variant]:
    """The one variant that properties, label and hash describe, by its label, if they do."""
    if not properties and label is None and named is None:
        return {}
    old_null = not properties and named == _OLD_NULL
    if named is not None and not old_null:
        if not properties:
            problems.add(f"Variant-Hash is {named!r}, and there are no properties", at=at)
        elif named != (rightly := variant_hash(properties)):
            problems.add(f"Variant-Hash is {named!r}, the properties give {rightly!r}", at=at)
    # Before there were labels, the hash stood for the variant in the filename.
    name = label or (NULL_LABEL if old_null else named)
    variant = problems.attempt(Variant.of, properties, name, at=at)
    return {} if variant is None else {variant.label: variant}


def _check_namespaces(
    metadata: VariantMetadata,
    properties: Iterable[VariantProperty],
    problems: Problems,
    at: str,
) -> None:
    """Where METADATA lists namespaces, it must list each that it speaks of."""
    if not metadata.namespaces:
        return
    for where, used in (
        (_PROPERTY, {one.namespace for one in properties}),
        (_REQUIRES, set(metadata.providers)),
        (_FEATURES, {one.namespace for one in metadata.feature_priorities}),
        (_PROPERTIES, {one.namespace for one in metadata.property_priorities}),
    ):
        for namespace in sorted(used - {*metadata.namespaces, ABI_DEPENDENCY}):
            problems.add(
                f"{where} has the namespace {namespace!r}, which is not in {_NAMESPACES}: "
                f"{', '.join(metadata.namespaces)}",
                at=at,
            )


def _only(name: str, every: Every, problems: Problems, at: str) -> str | None:
    values = every(name)
    if len(set(values)) > 1:
        problems.add(f"{name} has several values: {', '.join(values)}", at=at)
    return values[0] if values else None


def _each(
    texts: Iterable[str], parse: Callable[..., T], problems: Problems, at: str
) -> tuple[T, ...]:
    read = [problems.attempt(parse, text, at=at) for text in texts]
    return tuple(one for one in dict.fromkeys(read) if one is not None)


def _listed(name: str, every: Every) -> list[str]:
    return [part for value in every(name) for text in value.split(",") if (part := text.strip())]


def _namespaces(every: Every, problems: Problems, at: str) -> tuple[str, ...]:
    """In order, without malformed ones, and without the reserved one, which is not to be listed."""
    found = tuple(dict.fromkeys(_listed(_NAMESPACES, every)))
    for name in found:
        if not NAMESPACE.fullmatch(name):
            problems.add(f"malformed namespace {name!r} in {_NAMESPACES}", at=at)
    return tuple(name for name in found if NAMESPACE.fullmatch(name) and name != ABI_DEPENDENCY)


def _providers(every: Every, problems: Problems, at: str) -> dict[str, Provider]:
    """From ``Variant-Requires``, ``Variant-Plugin-API`` and ``Variant-Enable-If``, each ``ns: value``."""

    def by_namespace(name: str) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for text in every(name):
            namespace, colon, value = (part.strip() for part in text.partition(":"))
            if not colon or not value or not NAMESPACE.fullmatch(namespace):
                problems.add(
                    f"malformed {name}: {text!r}", at=at, hint="expected 'namespace: value'"
                )
            else:
                found.setdefault(namespace, []).append(value)
        return found

    def one_each(name: str) -> Mapping[str, str]:
        found = by_namespace(name)
        for namespace, values in found.items():
            if len(set(values)) > 1:
                problems.add(f"{name} of {namespace!r} has several values: {values}", at=at)
        return {namespace: values[0] for namespace, values in found.items()}

    requires, plugins, enable_if = by_namespace(_REQUIRES), one_each(_PLUGIN), one_each(_ENABLE_IF)
    found = {}
    for namespace in dict.fromkeys((*requires, *plugins, *enable_if)):
        table = Table(
            {
                _REQUIRES: list(dict.fromkeys(requires.get(namespace, ()))),
                _PLUGIN: plugins.get(namespace),
                _ENABLE_IF: enable_if.get(namespace),
            },
            at,
            (namespace,),
            problems,
        )
        found[namespace] = Provider(
            namespace=namespace,
            requires=requirements(table, _REQUIRES),
            plugin_api=object_reference(table, _PLUGIN, "expected 'module:attribute'"),
            enable_if=marker(table, _ENABLE_IF),
        )
    return found
