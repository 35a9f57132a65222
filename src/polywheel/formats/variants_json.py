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
from polywheel.errors import Problem, WheelError
from polywheel.formats.variant_json import variant_document
from polywheel.model.variant import ABI_DEPENDENCY, Provider, Variant, VariantMetadata

T = TypeVar("T")

_HINT = "build or label the wheels of a release from one [variant] table"
_LABEL_HINT = (
    "a label stands for one set of properties in a release; give one of them another label"
)
_PROPERTIES_HINT = (
    "a set of properties has one label in a release; give all its wheels the same label, or remove "
    "those with other labels"
)
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
    variants = [(wheel, v) for wheel, metadata in named for v in metadata.variants.values()]
    problems.found += [problem for problem, _ in label_conflicts(variants, at=at)]
    by_label = {variant.label: variant for _, variant in variants}
    united = VariantMetadata(
        namespaces=namespaces,
        providers=MappingProxyType(providers),
        variants=MappingProxyType({label: by_label[label] for label in sorted(by_label)}),
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
        values = _list_values(
            (", ".join(names) or "none", wheels) for names, wheels in lists.items()
        )
        problems.add(
            f"neither list of namespaces begins with the other: {values}", at=at, hint=_HINT
        )
    return longest


def _providers(
    named: Iterable[tuple[str, VariantMetadata]], problems: Problems, at: str
) -> dict[str, Provider]:
    """Return all providers. Providers of one namespace must be equal."""
    # The file has no markers. So a provider with a marker, in a wheel of 2025, equals one without it.
    by_namespace = _group_by_key(
        (
            namespace,
            wheel,
            provider if provider.enable_if is None else replace(provider, enable_if=None),
        )
        for wheel, metadata in named
        for namespace, provider in metadata.providers.items()
    )
    for namespace, groups in by_namespace.items():
        if len(groups) > 1:
            values = _list_values((_describe(provider), names) for provider, names in groups)
            what = f"the providers of {namespace!r} are not equal: {values}"
            problems.add(what, at=at, hint=_HINT)
    return {namespace: groups[0][0] for namespace, groups in sorted(by_namespace.items())}


def label_conflicts(
    variants: Iterable[tuple[str, Variant]], *, at: str | None = None
) -> Iterator[tuple[Problem, set[str]]]:
    """Yield the contradictions between the variants of one release, each with the names of its wheels.

    One label stands for one set of properties in all wheels of a version (PEP 825, "Variant label"), and one
    set of properties has one label. ``variants`` has the name of a wheel with each variant.
    """
    listed = [
        (variant.label, ", ".join(f"'{prop}'" for prop in variant.properties), wheel)
        for wheel, variant in variants
    ]
    by_label = _group_by_key((label, wheel, properties) for label, properties, wheel in listed)
    for label, groups in by_label.items():
        if len(groups) > 1:
            what = f"the label {label!r} stands for different properties: {_list_values(groups)}"
            yield (
                Problem(what, at, _LABEL_HINT),
                {wheel for _, wheels in groups for wheel in wheels},
            )
    by_properties = _group_by_key((properties, wheel, label) for label, properties, wheel in listed)
    for properties, groups in by_properties.items():
        if len(groups) > 1:
            values = _list_values((repr(label), wheels) for label, wheels in groups)
            what = (
                f"the same properties have {len(groups)} labels: {properties[:_MAX_TEXT]}: {values}"
            )
            yield (
                Problem(what, at, _PROPERTIES_HINT),
                {wheel for _, wheels in groups for wheel in wheels},
            )


def _group_by_key(values: Iterable[tuple[str, str, T]]) -> dict[str, list[tuple[T, list[str]]]]:
    """Return the different values of each key, each with the wheels that have it."""
    groups: dict[str, list[tuple[T, list[str]]]] = {}
    for key, wheel, value in values:
        group = groups.setdefault(key, [])
        wheels = next((wheels for other, wheels in group if other == value), None)
        if wheels is None:
            group.append((value, [wheel]))
        else:
            wheels.append(wheel)
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
