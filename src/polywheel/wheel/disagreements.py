"""Disagreements between the filename, METADATA, variant.json, WHEEL, and the dist-info folder.

Every message names the two parts and their values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from email.message import Message
from operator import attrgetter

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from polywheel.errors import Problem
from polywheel.formats.metadata import VariantFields, hidden_fields
from polywheel.model.variant import (
    ABI_DEPENDENCY,
    NULL_LABEL,
    Provider,
    VariantMetadata,
)
from polywheel.model.wheelname import WheelName, same_version
from polywheel.system.terminal import join_first
from polywheel.wheel.dist_info import VARIANT_JSON
from polywheel.wheel.inspected_wheel import FILENAME, METADATA, InspectedWheel

_MAX_NAMED = 8
"""Names of one part that a message lists."""


def disagreements(wheel: InspectedWheel) -> Iterator[str]:
    """Yield the disagreements between two parts of a wheel, without RECORD."""
    yield from name_disagreements(wheel.headers, wheel.name, wheel.dist_info)
    yield from tag_disagreements(wheel)
    yield from _compare_labels(wheel)
    if hidden := hidden_fields(wheel.metadata):
        yield (
            f"METADATA has {_some(map(repr, hidden))} after a line that is not a header: "
            "some readers see it, others do not"
        )
    document = wheel.document or wheel.faulty
    if document is not None:
        yield from _check_document(document)
        if wheel.fields is not None:
            yield from _compare_variants(wheel.fields, document)
            yield from _compare_priorities(wheel.fields.metadata, document)
            yield from _compare_providers(wheel.fields.metadata, document)


def name_disagreements(headers: Message, filename: WheelName, dist_info: str) -> Iterator[str]:
    """Compare name and version of METADATA and of the dist-info folder with the filename."""
    name, version = (_text(headers, key) for key in ("Name", "Version"))
    if canonicalize_name(name) != canonicalize_name(filename.distribution):
        yield f"METADATA names {name!r}, the filename {filename.distribution!r}"
    if not same_version(version, filename.version):
        yield f"METADATA has the version {version!r}, the filename {filename.version!r}"
    # The name of the folder agrees, otherwise it would not have been read.
    folder = dist_info.removesuffix(".dist-info").rpartition("-")[2]
    if not same_version(folder, filename.version):
        yield f"the folder {dist_info!r} has the version {folder!r}, the filename {filename.version!r}"


def tag_disagreements(wheel: InspectedWheel) -> Iterator[str]:
    """Compare tags and build number of WHEEL with the filename, which may have several tags.

    A WHEEL file without tags agrees with every filename.
    """
    name = wheel.name
    pythons, abis, platforms = (
        set(part.lower().split(".")) for part in (name.python, name.abi, name.platform)
    )
    named = {
        f"{python}-{abi}-{platform}" for python in pythons for abi in abis for platform in platforms
    }
    listed = {tag.lower() for tag in wheel.tags}
    if listed and listed != named:
        yield f"WHEEL lists the tags {_some(sorted(listed))}, the filename {_some(sorted(named))}"
    build = _text(wheel.wheel_headers, "Build")
    if build and name.build and build != name.build:
        yield f"WHEEL has the build {build!r}, the filename {name.build!r}"


def _compare_labels(wheel: InspectedWheel) -> Iterator[str]:
    """Compare the label of the filename with the variant data in the wheel."""
    label = wheel.name.label
    stamped = _labels(wheel)
    parts = " and ".join(part for part in wheel.stamped_in if part != FILENAME)
    if label is None:
        if parts:
            known = dict.fromkeys(known for labels in stamped.values() for known in labels)
            variant = f"the variant {_some(map(repr, known))}" if known else "a variant"
            yield f"the filename has no label, {parts} {variant}"
        return
    if not parts:
        yield f"the filename has the label {label!r}, neither METADATA nor variant.json has a variant"
    for part, labels in stamped.items():
        if label not in labels:
            value = (
                f"the label {_some(map(repr, labels))}" if labels else "no label and no property"
            )
            yield f"the filename has the label {label!r}, {part} has {value}"
    fields = wheel.fields
    agreed = label in stamped.get(METADATA, (label,))
    if fields is not None and label == NULL_LABEL and fields.properties and agreed:
        yield f"the filename has the label 'null', METADATA the property '{fields.properties[0]}'"


def _labels(wheel: InspectedWheel) -> dict[str, Collection[str]]:
    """Return the labels in each part of the wheel. Unreadable parts are left out."""
    labels: dict[str, Collection[str]] = {}
    fields, document = wheel.fields, wheel.document or wheel.faulty
    if fields is not None:
        # Before there were labels, filenames had the hash.
        if label := fields.label or fields.hash:
            labels[METADATA] = (label,)
        elif document is None:
            # Properties alone are a variant too. Its label is their hash.
            labels[METADATA] = fields.metadata.variants
    if document is not None:
        labels[VARIANT_JSON] = document.variants
    return labels


def _check_document(document: VariantMetadata) -> Iterator[str]:
    """Check variant.json alone, and for data that only the file of an index may have."""
    if len(document.variants) != 1:
        names = ", ".join(
            filter(
                None, (f"{len(document.variants)} variants", _some(map(repr, document.variants)))
            )
        )
        yield f"variant.json describes {names}; expected one"
    for namespace, provider in document.providers.items():
        if provider.build_requires:
            yield (
                f"variant.json has build-requires for the provider of {namespace!r}, which only "
                "pyproject.toml may have; a wheel has static-properties instead"
            )
    for label, variant in document.variants.items():
        for namespace in sorted(variant.namespaces - {*document.namespaces, ABI_DEPENDENCY}):
            yield (
                f"variant.json has the namespace {namespace!r} in the variant {label!r}, "
                f"its default-priorities have {_some(document.namespaces)}"
            )


def _compare_variants(fields: VariantFields, document: VariantMetadata) -> Iterator[str]:
    """Compare label, hash, and properties of METADATA with variant.json."""
    if fields.label is not None and fields.label not in document.variants:
        yield (
            f"METADATA has the label {fields.label!r}, "
            f"variant.json {_some(map(repr, document.variants))}"
        )
    if len(document.variants) != 1:
        return
    (variant,) = document.variants.values()
    ours, theirs = set(fields.properties), set(variant.properties)
    for there, lacks, properties in (
        (METADATA, VARIANT_JSON, ours - theirs),
        (VARIANT_JSON, METADATA, theirs - ours),
    ):
        if properties:
            named = _some(f"'{prop}'" for prop in sorted(properties))
            yield f"{there} has the properties {named}, {lacks} does not"
    if fields.hash is not None and theirs and fields.hash != variant.hash:
        yield (
            f"METADATA has the hash {fields.hash!r}, "
            f"the properties of variant.json give {variant.hash!r}"
        )


def _compare_priorities(metadata: VariantMetadata, document: VariantMetadata) -> Iterator[str]:
    """Compare priorities if both have some. Only wheels of 2025 have those of features and properties.

    The order counts only within a namespace, or within a feature.
    """
    if metadata.namespaces and metadata.namespaces != document.namespaces:
        yield _different("the namespaces", metadata.namespaces, document.namespaces)
    ours, theirs = metadata.feature_priorities, document.feature_priorities
    by_namespace = attrgetter("namespace")
    if ours and theirs and sorted(ours, key=by_namespace) != sorted(theirs, key=by_namespace):
        yield _different("the feature priorities", ours, theirs)
    best, other = metadata.property_priorities, document.property_priorities
    by_feature = attrgetter("namespace", "feature")
    if best and other and sorted(best, key=by_feature) != sorted(other, key=by_feature):
        yield _different("the property priorities", best, other)


def _compare_providers(metadata: VariantMetadata, document: VariantMetadata) -> Iterator[str]:
    """Compare plugins. METADATA has no other providers; if it has no priorities, it may have none."""
    has_providers = metadata.providers or metadata.namespaces
    for namespace in sorted({*metadata.providers, *document.providers}):
        ours, theirs = metadata.providers.get(namespace), document.providers.get(namespace)
        if ours is None and (not has_providers or theirs is None or not theirs.requires):
            continue
        if ours is None or theirs is None or _plugin(ours) != _plugin(theirs):
            yield (
                f"METADATA has {_describe(ours)} as provider of {namespace!r}, "
                f"variant.json {_describe(theirs)}"
            )
        elif ours.enable_if and theirs.enable_if and ours.enable_if != theirs.enable_if:
            yield (
                f"METADATA enables the provider of {namespace!r} if {ours.enable_if!r}, "
                f"variant.json if {theirs.enable_if!r}"
            )


def _plugin(provider: Provider) -> tuple[list[str], str | None]:
    return [str(Requirement(text)) for text in provider.requires], provider.object_reference


def _describe(provider: Provider | None) -> str:
    if provider is None:
        return "nothing"
    if provider.requires or provider.plugin_api:
        requires = _some(map(repr, provider.requires)) or "no requirement"
        return f"{requires} with the plugin {provider.object_reference!r}"
    return f"the builtin {provider.builtin!r}" if provider.builtin else "static properties"


def _different(what: str, ours: Sequence[object], theirs: Sequence[object]) -> str:
    return f"METADATA has {what} {_some(map(str, ours))}, variant.json {_some(map(str, theirs))}"


def _some(texts: Iterable[str]) -> str:
    """List the first few texts and the number of the others."""
    return join_first(texts, _MAX_NAMED)


def _text(headers: Message, name: str) -> str:
    return " ".join(str(headers.get(name, "")).split())


def disagreements_with_label(wheel: InspectedWheel, label: str) -> tuple[Problem, ...]:
    """Return the disagreements that the wheel would have if its filename had this label."""
    current = set(disagreements(wheel))
    renamed = replace(wheel, name=replace(wheel.name, label=label))
    kept = [problem for problem in wheel.disagreements if problem.what not in current]
    return (*kept, *(Problem(what, str(wheel.path)) for what in disagreements(renamed)))
