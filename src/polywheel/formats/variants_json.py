"""``{name}-{version}-variants.json``: the variant metadata of all wheels of one release.

PEP 825, "Index-level metadata" and "Metadata consistency". The rules of the latter, and the rule for providers
(draft PEP on providers), are symmetric: the order of the wheels changes neither the result nor the messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

from polywheel.config.reader import Problems
from polywheel.errors import WheelError
from polywheel.formats.variant_json import variant_document
from polywheel.model.variant import ABI_DEPENDENCY, Provider, Variant, VariantMetadata

T = TypeVar("T")

_HINT = "build or label the wheels of a release from one [variant] table"
_NAMED = 3
"""The number of wheels per value, and of values, that a message lists."""
_MAX_TEXT = 300
"""Letters of each value in a message."""


def variants_json(metadata: VariantMetadata) -> bytes:
    """Return the file of a release, in one line. Equal metadata gives the same bytes.

    Markers of providers, and priorities of features and properties, are left out: the format does not have
    them. Raises ConfigError if a provider can't be written.
    """
    return variant_document(metadata, metadata.variants.values(), indent=None)


def merge_metadata(wheels: Mapping[str, VariantMetadata], *, at: str) -> VariantMetadata:
    """Merge the metadata of the variant wheels of one release, given by the names of the wheels.

    The namespaces are the longest list. The variants and the providers are the union of all. ``at`` names
    the release. Raises WheelError with all disagreements and the names of the wheels.
    """
    named = sorted(wheels.items())
    problems = Problems()
    namespaces = _namespaces(named, problems, at)
    providers = _providers(named, problems, at)
    variants = _variants(named, problems, at)
    united = VariantMetadata(
        namespaces=namespaces,
        providers=MappingProxyType(providers),
        variants=MappingProxyType(variants),
    )
    if not problems.found:
        for what in (*_gaps(united), *_strangers(named)):
            problems.add(what, at=at, hint=_HINT)
    if problems.found:
        raise WheelError.collected(problems.found)
    return united


def _namespaces(
    named: Iterable[tuple[str, VariantMetadata]], problems: Problems, at: str
) -> tuple[str, ...]:
    """Return the longest list. It must begin with every other list."""
    lists: dict[tuple[str, ...], list[str]] = {}
    for wheel, metadata in named:
        lists.setdefault(metadata.namespaces, []).append(wheel)
    longest = max(lists, key=lambda names: (len(names), names), default=())
    if any(names != longest[: len(names)] for names in lists):
        values = _list_values((", ".join(names) or "none", found) for names, found in lists.items())
        problems.add(
            f"neither list of namespaces begins with the other: {values}", at=at, hint=_HINT
        )
    return longest


def _providers(
    named: Iterable[tuple[str, VariantMetadata]], problems: Problems, at: str
) -> dict[str, Provider]:
    """Return all providers. Providers of one namespace must be equal."""
    # The file has no markers. So a provider with a marker, in a wheel of 2025, equals one without it.
    found = _group_by_key(
        (namespace, wheel, provider if provider.enable_if is None else _without_marker(provider))
        for wheel, metadata in named
        for namespace, provider in metadata.providers.items()
    )
    for namespace, groups in found.items():
        if len(groups) > 1:
            values = _list_values((_describe(provider), names) for provider, names in groups)
            what = f"the providers of {namespace!r} are not equal: {values}"
            problems.add(what, at=at, hint=_HINT)
    return {namespace: groups[0][0] for namespace, groups in sorted(found.items())}


def _without_marker(provider: Provider) -> Provider:
    return replace(provider, enable_if=None)


def _variants(
    named: Iterable[tuple[str, VariantMetadata]], problems: Problems, at: str
) -> dict[str, Variant]:
    """Return all variants. A label must have the same properties in all wheels, and be their only label."""
    every = [
        (label, wheel, variant)
        for wheel, metadata in named
        for label, variant in metadata.variants.items()
    ]
    found = _group_by_key(every)
    for label, groups in found.items():
        if len(groups) > 1:
            values = _list_values(
                (", ".join(f"'{prop}'" for prop in variant.properties), names)
                for variant, names in groups
            )
            problems.add(
                f"the label {label!r} stands for different properties: {values}", at=at, hint=_HINT
            )
    by_properties = _group_by_key(
        (", ".join(f"'{prop}'" for prop in variant.properties), wheel, label)
        for label, wheel, variant in every
    )
    for properties, labels in by_properties.items():
        if len(labels) > 1:
            values = _list_values((repr(label), names) for label, names in labels)
            problems.add(
                f"the same properties have {len(labels)} labels: {properties[:_MAX_TEXT]}: {values}",
                at=at,
                hint="a set of properties has one label in a release; remove the wheels with the "
                "other labels",
            )
    return {label: groups[0][0] for label, groups in sorted(found.items())}


def _group_by_key(found: Iterable[tuple[str, str, T]]) -> dict[str, list[tuple[T, list[str]]]]:
    """Return the different values of each key, each with the wheels that have it."""
    groups: dict[str, list[tuple[T, list[str]]]] = {}
    for key, wheel, value in found:
        known = groups.setdefault(key, [])
        for other, wheels in known:
            if other == value:
                wheels.append(wheel)
                break
        else:
            known.append((value, [wheel]))
    return groups


def _list_values(groups: Iterable[tuple[str, list[str]]]) -> str:
    """Return ``value in wheel and wheel; other in wheel``, shortened for a message."""
    parts = []
    for what, wheels in groups:
        names = wheels[:_NAMED]
        if len(wheels) > _NAMED:
            names = [*names, f"{len(wheels) - _NAMED} more"]
        parts.append(f"{what[:_MAX_TEXT]} in {' and '.join(names)}")
    if len(parts) > _NAMED:
        parts[_NAMED:] = [f"{len(parts) - _NAMED} more"]
    return "; ".join(parts)


def _describe(provider: Provider) -> str:
    """Describe a provider with all fields that are compared."""
    static = " ".join(
        f"{name}=[{', '.join(has)}]" for name, has in provider.static_properties.items()
    )
    parts = {
        "requires": ", ".join(provider.requires),
        "build-requires": ", ".join(provider.build_requires),
        "static-properties": static,
        "feature-order": ", ".join(provider.feature_order),
        "builtin": provider.builtin,
        "plugin-api": provider.plugin_api,
        "optional": "true" if provider.optional else "",
    }
    return ", ".join(f"{key} {value!r}" for key, value in parts.items() if value) or "nothing"


def _gaps(united: VariantMetadata) -> Iterator[str]:
    """Yield messages for required data that is missing or incomplete in all wheels."""
    if not united.namespaces:
        yield "no wheel has a list of namespaces"
    for namespace in united.namespaces:
        if united.providers and namespace not in united.providers:
            yield f"no wheel has a provider for {namespace!r}"
    for namespace, provider in united.providers.items():
        if namespace not in united.namespaces:
            yield f"there is a provider of {namespace!r}, but no list has that namespace"
        if provider.build_requires or not (
            provider.requires or provider.static_properties or provider.builtin
        ):
            yield f"the provider of {namespace!r} can't be written: {_describe(provider)}"


def _strangers(named: Iterable[tuple[str, VariantMetadata]]) -> Iterator[str]:
    """Yield messages for namespaces that a wheel uses but does not list."""
    for wheel, metadata in named:
        listed = {*metadata.namespaces, ABI_DEPENDENCY}
        for label, variant in metadata.variants.items():
            for namespace in sorted(variant.namespaces - listed):
                yield (
                    f"{wheel} does not list the namespace {namespace!r}, which its label {label!r} "
                    "uses"
                )
