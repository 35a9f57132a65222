"""``{name}-{version}-variants.json``: what the wheels of one release say of variants, as one file.

PEP 825, "Index-level metadata" and "Metadata consistency". Both rules of the latter are symmetric, and so
is the one about providers (draft PEP on providers): the order of the wheels makes no difference,
neither to the result nor to what is said of a conflict.
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
"""How many of the wheels that say the same are named in a message, and how many sayings."""
_SAID = 300
"""Letters of each."""


def variants_json(metadata: VariantMetadata) -> bytes:
    """The file of a release, in one line; metadata that are equal give the same bytes.

    What has no place in it is left out: markers of providers, priorities of features and
    properties. Raises ConfigError where a provider can't be written.
    """
    return variant_document(metadata, metadata.variants.values(), indent=None)


def merge_metadata(wheels: Mapping[str, VariantMetadata], *, at: str) -> VariantMetadata:
    """What the variant wheels of one release say, by the name of each wheel, as one.

    The namespaces are the longest list, the variants and the providers the union of all.
    ``at`` says which release it is. Raises WheelError with everything on which wheels disagree,
    and names them.
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
    """The longest list; every other one must be its beginning."""
    lists: dict[tuple[str, ...], list[str]] = {}
    for wheel, metadata in named:
        lists.setdefault(metadata.namespaces, []).append(wheel)
    longest = max(lists, key=lambda one: (len(one), one), default=())
    if any(one != longest[: len(one)] for one in lists):
        said = _said((", ".join(one) or "none", found) for one, found in lists.items())
        problems.add(f"neither list of namespaces begins with the other: {said}", at=at, hint=_HINT)
    return longest


def _providers(
    named: Iterable[tuple[str, VariantMetadata]], problems: Problems, at: str
) -> dict[str, Provider]:
    """Every provider; those of one namespace must be equal."""
    # A marker has no place in the file: with one, a wheel of 2025 says the same as one without.
    found = _grouped(
        (namespace, wheel, provider if provider.enable_if is None else _unmarked(provider))
        for wheel, metadata in named
        for namespace, provider in metadata.providers.items()
    )
    for namespace, groups in found.items():
        if len(groups) > 1:
            said = _said((_described(provider), names) for provider, names in groups)
            problems.add(f"the providers of {namespace!r} are not equal: {said}", at=at, hint=_HINT)
    return {namespace: groups[0][0] for namespace, groups in sorted(found.items())}


def _unmarked(provider: Provider) -> Provider:
    return replace(provider, enable_if=None)


def _variants(
    named: Iterable[tuple[str, VariantMetadata]], problems: Problems, at: str
) -> dict[str, Variant]:
    """Every variant; a label must stand for the same properties everywhere, and alone for them."""
    every = [
        (label, wheel, variant)
        for wheel, metadata in named
        for label, variant in metadata.variants.items()
    ]
    found = _grouped(every)
    for label, groups in found.items():
        if len(groups) > 1:
            said = _said(
                (", ".join(f"'{prop}'" for prop in variant.properties), names)
                for variant, names in groups
            )
            problems.add(
                f"the label {label!r} stands for different properties: {said}", at=at, hint=_HINT
            )
    by_properties = _grouped(
        (", ".join(f"'{prop}'" for prop in variant.properties), wheel, label)
        for label, wheel, variant in every
    )
    for properties, labels in by_properties.items():
        if len(labels) > 1:
            said = _said((repr(label), names) for label, names in labels)
            problems.add(
                f"the same properties have {len(labels)} labels: {properties[:_SAID]}: {said}",
                at=at,
                hint="one set of properties has one label in a release; take the wheels of the "
                "others away",
            )
    return {label: groups[0][0] for label, groups in sorted(found.items())}


def _grouped(found: Iterable[tuple[str, str, T]]) -> dict[str, list[tuple[T, list[str]]]]:
    """By key, each value that differs from the others with the wheels that have it."""
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


def _said(groups: Iterable[tuple[str, list[str]]]) -> str:
    """``what in wheel and wheel; other in wheel``, no longer than a person reads."""
    parts = []
    for what, wheels in groups:
        names = wheels[:_NAMED]
        if len(wheels) > _NAMED:
            names = [*names, f"{len(wheels) - _NAMED} more"]
        parts.append(f"{what[:_SAID]} in {' and '.join(names)}")
    if len(parts) > _NAMED:
        parts[_NAMED:] = [f"{len(parts) - _NAMED} more"]
    return "; ".join(parts)


def _described(provider: Provider) -> str:
    """One provider in words, with everything in which two may differ."""
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
    """What the file must hold and no wheel says, or that a wheel says by halves."""
    if not united.namespaces:
        yield "no wheel has a list of namespaces"
    for namespace in united.namespaces:
        if united.providers and namespace not in united.providers:
            yield f"no wheel says what the provider of {namespace!r} is"
    for namespace, provider in united.providers.items():
        if namespace not in united.namespaces:
            yield f"the provider of {namespace!r} is there, and the namespace is in no list"
        if provider.build_requires or not (
            provider.requires or provider.static_properties or provider.builtin
        ):
            yield f"the provider of {namespace!r} can't be written: {_described(provider)}"


def _strangers(named: Iterable[tuple[str, VariantMetadata]]) -> Iterator[str]:
    """Namespaces that a wheel uses and does not list, whatever the others list."""
    for wheel, metadata in named:
        listed = {*metadata.namespaces, ABI_DEPENDENCY}
        for label, variant in metadata.variants.items():
            for namespace in sorted(variant.namespaces - listed):
                yield (
                    f"{wheel} does not list the namespace {namespace!r}, which its label {label!r} "
                    "stands for"
                )
