"""What the filename, METADATA, variant.json, WHEEL, and the dist-info folder say differently.

Every message names the parts and what each of them says.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from email.message import Message

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from polywheel.errors import Problem
from polywheel.formats.metadata import VariantFields, hidden_fields
from polywheel.model.variant import (
    ABI_DEPENDENCY,
    NULL_LABEL,
    Provider,
    VariantFeature,
    VariantMetadata,
    VariantProperty,
)
from polywheel.model.wheelname import WheelName
from polywheel.wheel.dist_info import VARIANT_JSON
from polywheel.wheel.inspected_wheel import FILENAME, METADATA, InspectedWheel

_NAMED = 8
"""How many of the names of one part are told."""


def disagreements(wheel: InspectedWheel) -> Iterator[str]:
    """What two parts of a wheel say differently; RECORD is not looked at."""
    yield from name_disagreements(wheel.headers, wheel.name, wheel.dist_info)
    yield from tag_disagreements(wheel)
    yield from _of_labels(wheel)
    if hidden := hidden_fields(wheel.metadata):
        yield (
            f"METADATA has {_some(map(repr, hidden))} behind a line that is no header: "
            "some readers see it, others do not"
        )
    document = wheel.document or wheel.faulty
    if document is not None:
        yield from _of_document(document)
        if wheel.fields is not None:
            yield from _of_variants(wheel.fields, document)
            yield from _of_priorities(wheel.fields.metadata, document)
            yield from _of_providers(wheel.fields.metadata, document)


def name_disagreements(headers: Message, filename: WheelName, dist_info: str) -> Iterator[str]:
    """Name and version of METADATA and of the dist-info folder against those of the filename."""
    name, version = (_text(headers, key) for key in ("Name", "Version"))
    if canonicalize_name(name) != canonicalize_name(filename.distribution):
        yield f"METADATA names {name!r}, the filename {filename.distribution!r}"
    if not same_version(version, filename.version):
        yield f"METADATA has the version {version!r}, the filename {filename.version!r}"
    # Its name agrees: it would not have been read otherwise.
    folder = dist_info.removesuffix(".dist-info").rpartition("-")[2]
    if not same_version(folder, filename.version):
        yield f"the folder {dist_info!r} has the version {folder!r}, the filename {filename.version!r}"


def same_version(one: str, other: str) -> bool:
    """Whether two texts stand for one version, in whichever spelling."""
    return one == other or not _forms(one).isdisjoint(_forms(other))


def is_build_of(version: str, declared: str) -> bool:
    """Whether a version is the declared one, or that with a pre, post, dev, or local part added.

    Backends add such a part to a version that pyproject.toml has: setuptools with ``tag_build``,
    poetry-core with the config setting ``local-version``.
    """
    if same_version(version, declared):
        return True
    return any(
        _adds(one, base)
        for one in _forms(version)
        for base in _forms(declared)
        if isinstance(one, Version) and isinstance(base, Version)
    )


def _adds(version: Version, base: Version) -> bool:
    """Whether all that ``base`` says is in the version too."""
    parts = zip(_optional(version), _optional(base), strict=True)
    same_release = Version(version.base_version) == Version(base.base_version)
    return same_release and all(ours in (part, None) for part, ours in parts)


def _optional(version: Version) -> tuple[object, ...]:
    return version.pre, version.post, version.dev, version.local


def _forms(version: str) -> set[Version | str]:
    """What a version may stand for: in names of files older tools wrote ``_`` for ``-`` and ``+``."""
    found: set[Version | str] = {re.sub(r"[^a-z0-9.]+", "_", version.lower())}
    for text in (version, version.replace("_", "-"), version.replace("_", "+", 1)):
        try:
            found.add(Version(text))
        except ValueError:  # InvalidVersion, or a number that is too long for an int
            continue
    return found


def tag_disagreements(wheel: InspectedWheel) -> Iterator[str]:
    """Tags and build of WHEEL against those of the filename, which may stand for several tags.

    A WHEEL without any tag contradicts nothing.
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


def _of_labels(wheel: InspectedWheel) -> Iterator[str]:
    """The label of the filename against what is stamped."""
    label = wheel.name.label
    stamped = _labels(wheel)
    where = " and ".join(one for one in wheel.stamped_in if one != FILENAME)
    if label is None:
        if where:
            known = dict.fromkeys(one for labels in stamped.values() for one in labels)
            variant = f"the variant {_some(map(repr, known))}" if known else "a variant"
            yield f"the filename has no label, {where} {variant}"
        return
    if not where:
        yield f"the filename has the label {label!r}, neither METADATA nor variant.json has a variant"
    for part, labels in stamped.items():
        if label not in labels:
            said = f"the label {_some(map(repr, labels))}" if labels else "no label and no property"
            yield f"the filename has the label {label!r}, {part} has {said}"
    fields = wheel.fields
    agreed = label in stamped.get(METADATA, (label,))
    if fields is not None and label == NULL_LABEL and fields.properties and agreed:
        yield f"the filename has the label 'null', METADATA the property '{fields.properties[0]}'"


def _labels(wheel: InspectedWheel) -> dict[str, Collection[str]]:
    """The labels that each part gives the wheel; a part that can't be read has no say."""
    found: dict[str, Collection[str]] = {}
    fields, document = wheel.fields, wheel.document or wheel.faulty
    if fields is not None:
        # Before there were labels, the hash stood in the filename.
        if named := fields.label or fields.hash:
            found[METADATA] = (named,)
        elif document is None:
            # Properties alone are a variant too: that of their hash.
            found[METADATA] = fields.metadata.variants
    if document is not None:
        found[VARIANT_JSON] = document.variants
    return found


def _of_document(document: VariantMetadata) -> Iterator[str]:
    """variant.json against itself, and what only that of an index may have."""
    if len(document.variants) != 1:
        yield (
            f"variant.json describes {len(document.variants)} variants, "
            f"{_some(map(repr, document.variants))}, a wheel is of one"
        )
    for namespace, provider in document.providers.items():
        if provider.build_requires:
            yield (
                f"variant.json has build-requires for the provider of {namespace!r}, which only "
                "pyproject.toml may have: a wheel has the static-properties that came of it"
            )
    for label, variant in document.variants.items():
        for namespace in sorted(variant.namespaces - {*document.namespaces, ABI_DEPENDENCY}):
            yield (
                f"variant.json has the namespace {namespace!r} in the variant {label!r}, "
                f"its default-priorities have {_some(document.namespaces)}"
            )


def _of_variants(fields: VariantFields, document: VariantMetadata) -> Iterator[str]:
    """Label, hash and properties of METADATA against variant.json."""
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
            yield f"{there} has the properties {named}, {lacks} has not"
    if fields.hash is not None and theirs and fields.hash != variant.hash:
        yield (
            f"METADATA has the hash {fields.hash!r}, "
            f"the properties of variant.json give {variant.hash!r}"
        )


def _of_priorities(metadata: VariantMetadata, document: VariantMetadata) -> Iterator[str]:
    """Priorities, where both have some: those of features and properties are of 2025 only.

    Their order counts within a namespace, or a feature of one.
    """
    if metadata.namespaces and metadata.namespaces != document.namespaces:
        yield _different("the namespaces", metadata.namespaces, document.namespaces)
    ours, theirs = metadata.feature_priorities, document.feature_priorities
    if ours and theirs and sorted(ours, key=_namespace) != sorted(theirs, key=_namespace):
        yield _different("the feature priorities", ours, theirs)
    best, other = metadata.property_priorities, document.property_priorities
    if best and other and sorted(best, key=_feature) != sorted(other, key=_feature):
        yield _different("the property priorities", best, other)


def _namespace(one: VariantFeature) -> str:
    return one.namespace


def _feature(one: VariantProperty) -> tuple[str, str]:
    return one.namespace, one.feature


def _of_providers(metadata: VariantMetadata, document: VariantMetadata) -> Iterator[str]:
    """Plugins: METADATA has no other providers, and those of 2025 without priorities none at all."""
    speaks = metadata.providers or metadata.namespaces
    for namespace in sorted({*metadata.providers, *document.providers}):
        ours, theirs = metadata.providers.get(namespace), document.providers.get(namespace)
        if ours is None and (not speaks or theirs is None or not theirs.requires):
            continue
        if ours is None or theirs is None or _plugin(ours) != _plugin(theirs):
            yield (
                f"METADATA has {_described(ours)} as provider of {namespace!r}, "
                f"variant.json {_described(theirs)}"
            )
        elif ours.enable_if and theirs.enable_if and ours.enable_if != theirs.enable_if:
            yield (
                f"METADATA enables the provider of {namespace!r} if {ours.enable_if!r}, "
                f"variant.json if {theirs.enable_if!r}"
            )


def _plugin(provider: Provider) -> tuple[list[str], str | None]:
    return [str(Requirement(text)) for text in provider.requires], provider.object_reference


def _described(provider: Provider | None) -> str:
    if provider is None:
        return "nothing"
    if provider.requires or provider.plugin_api:
        requires = _some(map(repr, provider.requires)) or "no requirement"
        return f"{requires} with the plugin {provider.object_reference!r}"
    return f"the builtin {provider.builtin!r}" if provider.builtin else "static properties"


def _different(what: str, ours: Sequence[object], theirs: Sequence[object]) -> str:
    return f"METADATA has {what} {_some(map(str, ours))}, variant.json {_some(map(str, theirs))}"


def _some(texts: Iterable[str]) -> str:
    """The first few, and how many there are besides."""
    found = list(texts)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more


def _text(headers: Message, name: str) -> str:
    return " ".join(str(headers.get(name, "")).split())


def disagreements_with_label(wheel: InspectedWheel, label: str) -> tuple[Problem, ...]:
    """Everything that would disagree in this wheel if its filename had this label."""
    now = set(disagreements(wheel))
    renamed = replace(wheel, name=replace(wheel.name, label=label))
    kept = [one for one in wheel.disagreements if one.what not in now]
    return (*kept, *(Problem(what, str(wheel.path)) for what in disagreements(renamed)))
