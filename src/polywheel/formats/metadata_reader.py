"""Reading the ``Variant-*`` fields of METADATA, the only variant data of the wheels of early 2025."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from types import MappingProxyType
from typing import TypeVar

from polywheel.config.reader import Problems
from polywheel.errors import Problem
from polywheel.model.metadata import Provider, VariantMetadata
from polywheel.model.properties import NAMESPACE, VariantFeature, VariantProperty
from polywheel.model.variant import Variant

T = TypeVar("T")


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


def parse_metadata(content: bytes) -> Message:
    """The headers of METADATA; whatever the bytes are, some message comes of it."""
    return BytesParser().parsebytes(content, headersonly=True)


def read_variant_fields(headers: Message, *, at: str) -> VariantFields | None:
    """The variant fields among the headers of METADATA; None where there is not one.

    Raises nothing: what can't be read is told in ``problems``.
    """

    def every(*names: str) -> list[str]:
        # A header with bytes above ASCII is an object, and a folded one has line breaks.
        values = [value for name in names for value in headers.get_all(name, [])]
        return [" ".join(str(value).split()) for value in values]

    if not any(
        name.lower() == "variant" or name.lower().startswith("variant-") for name in headers
    ):
        return None
    problems = Problems()
    # The very first wheels had `Variant` for what soon became `Variant-Property`.
    properties = _each(every("Variant-Property", "Variant"), VariantProperty.parse, problems, at)
    label = _only("Variant-Label", every, problems, at)
    named = _only("Variant-Hash", every, problems, at)
    variants: dict[str, Variant] = {}
    # Before there were labels, the hash stood for the variant in the filename.
    variant = problems.attempt(Variant.of, properties, label or named, at=at)
    if variant is not None:
        variants[variant.label] = variant
        if named is not None and not variant.is_null and named != variant.hash:
            problems.add(f"Variant-Hash is {named!r}, its properties give {variant.hash}", at=at)
        if named is not None and variant.is_null:
            problems.add("the null variant has no Variant-Hash", at=at)
    metadata = VariantMetadata(
        namespaces=_namespaces(every("Variant-Default-Namespace-Priorities"), problems, at),
        feature_priorities=_each(
            _split(every("Variant-Default-Feature-Priorities")), VariantFeature.parse, problems, at
        ),
        property_priorities=_each(
            _split(every("Variant-Default-Property-Priorities")),
            VariantProperty.parse,
            problems,
            at,
        ),
        providers=MappingProxyType(_providers(every, problems, at)),
        variants=MappingProxyType(variants),
    )
    return VariantFields(
        label=label,
        hash=named,
        properties=properties,
        metadata=metadata,
        problems=tuple(problems.found),
    )


def _only(name: str, every: Callable[..., list[str]], problems: Problems, at: str) -> str | None:
    values = every(name)
    if len(set(values)) > 1:
        problems.add(f"{name} has several values: {', '.join(values)}", at=at)
    return values[0] if values else None


def _each(
    texts: Iterable[str], parse: Callable[..., T], problems: Problems, at: str
) -> tuple[T, ...]:
    read = [problems.attempt(parse, text, at=at) for text in texts]
    return tuple(one for one in dict.fromkeys(read) if one is not None)


def _split(values: Iterable[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _namespaces(values: list[str], problems: Problems, at: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(_split(values)))
    for name in found:
        if not NAMESPACE.fullmatch(name):
            problems.add(
                f"malformed namespace {name!r} in Variant-Default-Namespace-Priorities", at=at
            )
    return found


def _providers(every: Callable[..., list[str]], problems: Problems, at: str) -> dict[str, Provider]:
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

    requires = by_namespace("Variant-Requires")
    plugin_api = by_namespace("Variant-Plugin-API")
    enable_if = by_namespace("Variant-Enable-If")
    return {
        namespace: Provider(
            namespace=namespace,
            requires=tuple(requires.get(namespace, ())),
            plugin_api=next(iter(plugin_api.get(namespace, ())), None),
            enable_if=next(iter(enable_if.get(namespace, ())), None),
        )
        for namespace in dict.fromkeys((*requires, *plugin_api, *enable_if))
    }
