"""One wheel, looked at from all sides: its name, METADATA, variant.json and RECORD."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from polywheel.errors import PolywheelError, Problem, WheelError
from polywheel.formats.metadata_reader import VariantFields, parse_metadata, read_variant_fields
from polywheel.formats.variant_json_reader import read_variant_json
from polywheel.model.metadata import VariantMetadata
from polywheel.model.properties import ABI_DEPENDENCY
from polywheel.model.variant import Variant
from polywheel.model.wheelname import WheelName
from polywheel.wheel.archive import open_archive
from polywheel.wheel.dist_info import VARIANT_JSON, DistInfo, find_dist_info

_MAX_WHEEL_FILE = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """What stands in one wheel, and what of it does not agree."""

    path: Path
    name: WheelName
    size: int
    """Bytes of the file."""

    metadata: bytes
    """METADATA as it stands."""

    headers: Message
    """The headers of METADATA."""

    tags: tuple[str, ...]
    """``python-abi-platform``, as WHEEL lists them."""

    fields: VariantFields | None
    """The variant fields of METADATA; None where there is not one."""

    document: VariantMetadata | None
    """variant.json; None where there is none, or where it can't be read."""

    disagreements: tuple[Problem, ...]

    @property
    def declared(self) -> VariantMetadata | None:
        """variant.json, or what METADATA says in its place; None for a non-variant wheel."""
        if self.document is not None:
            return self.document
        return self.fields.metadata if self.fields is not None else None

    @property
    def variant(self) -> Variant | None:
        """The one variant that the wheel says it is; None where it says none, or several."""
        if self.declared is None or len(self.declared.variants) != 1:
            return None
        (variant,) = self.declared.variants.values()
        return variant

    @property
    def stamped_in(self) -> tuple[str, ...]:
        """Where variant data stands: ``filename``, ``METADATA``, ``variant.json``."""
        found = {
            "filename": self.name.label is not None,
            "METADATA": self.fields is not None,
            VARIANT_JSON: self.document is not None,
        }
        return tuple(where for where, is_there in found.items() if is_there)


def examine(path: Path) -> Examined:
    """Read a wheel and compare what its parts say.

    Of a large wheel, directory, METADATA, variant.json, WHEEL and RECORD are read: hashes of other
    members are not. Raises WheelError where the file can't be read as a wheel at all.
    """
    name = WheelName.parse(path.name)
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            archive = open_archive(file, path)
            info = find_dist_info(archive)
            wheel_file = archive.member(info.path("WHEEL"))
            if wheel_file is None:
                raise archive.broken(f"there is no {info.path('WHEEL')}")
            wheel = archive.read(wheel_file, limit=_MAX_WHEEL_FILE)
    except OSError as error:
        raise WheelError(
            f"{path.name} can't be read: {error.strerror or error}", at=str(path.parent)
        ) from None
    at = str(path)
    problems = [Problem(what, at) for what in info.disagreements()]
    headers = parse_metadata(info.metadata)
    fields = read_variant_fields(headers, at=f"{path.name}: METADATA")
    document = _document(info, path, problems)
    tags = tuple(
        " ".join(str(tag).split()) for tag in BytesParser().parsebytes(wheel).get_all("Tag", [])
    )
    examined = Examined(
        path=path,
        name=name,
        size=size,
        metadata=info.metadata,
        headers=headers,
        tags=tags,
        fields=fields,
        document=document,
        disagreements=(),
    )
    problems += fields.problems if fields is not None else ()
    problems += [Problem(what, at) for what in _disagreements(examined)]
    return replace(examined, disagreements=tuple(dict.fromkeys(problems)))


def _document(info: DistInfo, path: Path, problems: list[Problem]) -> VariantMetadata | None:
    if info.variant_json is None:
        return None
    try:
        return read_variant_json(info.variant_json, at=f"{path.name}: {VARIANT_JSON}")
    except PolywheelError as error:
        problems.extend(error.problems)
        return None


def _disagreements(wheel: Examined) -> Iterator[str]:
    yield from _of_names(wheel)
    yield from _of_tags(wheel)
    yield from _of_labels(wheel)
    if wheel.document is not None:
        yield from _of_document(wheel.document)
        if wheel.fields is not None:
            yield from _of_both(wheel.fields, wheel.document)


def _of_names(wheel: Examined) -> Iterator[str]:
    """Name and version of METADATA against those of the filename."""
    name, version = (str(wheel.headers.get(key, "")).strip() for key in ("Name", "Version"))
    if canonicalize_name(name) != canonicalize_name(wheel.name.distribution):
        yield f"METADATA names {name!r}, the filename {wheel.name.distribution!r}"
    try:
        same = Version(version) == Version(wheel.name.version)
    except InvalidVersion:
        same = version == wheel.name.version
    if not same:
        yield f"METADATA has version {version!r}, the filename {wheel.name.version!r}"


def _of_tags(wheel: Examined) -> Iterator[str]:
    """The tags of WHEEL against those of the filename, which may stand for several each."""
    named = {
        str(Tag(python, abi, platform))
        for python in wheel.name.python.split(".")
        for abi in wheel.name.abi.split(".")
        for platform in wheel.name.platform.split(".")
    }
    listed = {tag.lower() for tag in wheel.tags}
    if listed and listed != named:
        yield f"WHEEL lists the tags {', '.join(sorted(listed))}, the filename {', '.join(sorted(named))}"


def _of_labels(wheel: Examined) -> Iterator[str]:
    """The label of the filename against what is stamped."""
    label = wheel.name.label
    if label is not None and wheel.declared is None:
        yield f"the filename has the label {label!r}, and nothing is stamped"
    in_fields = wheel.fields.label or wheel.fields.hash if wheel.fields is not None else None
    stamped = {
        "METADATA": [] if in_fields is None else [in_fields],
        VARIANT_JSON: [] if wheel.document is None else list(wheel.document.variants),
    }
    for where, labels in stamped.items():
        if label is not None and labels and label not in labels:
            yield f"the filename has the label {label!r}, {where} {', '.join(map(repr, labels))}"
    if label is None and wheel.declared is not None:
        yield "the wheel is stamped, and the filename has no label"


def _of_document(document: VariantMetadata) -> Iterator[str]:
    """variant.json against itself."""
    if len(document.variants) != 1:
        yield f"variant.json of a wheel describes {len(document.variants)} variants in place of one"
    for variant in document.variants.values():
        for namespace in sorted(variant.namespaces - {*document.namespaces, ABI_DEPENDENCY}):
            yield f"the namespace {namespace!r} of the properties is not in default-priorities"


def _of_both(fields: VariantFields, document: VariantMetadata) -> Iterator[str]:
    """METADATA against variant.json."""
    metadata = fields.metadata
    if fields.label is not None and fields.label not in document.variants:
        yield f"METADATA has the label {fields.label!r}, variant.json {', '.join(document.variants)}"
    if len(document.variants) == 1:
        (variant,) = document.variants.values()
        ours, theirs = set(fields.properties), set(variant.properties)
        for prop in sorted(ours - theirs):
            yield f"METADATA has the property '{prop}', variant.json has not"
        for prop in sorted(theirs - ours):
            yield f"variant.json has the property '{prop}', METADATA has not"
    if metadata.namespaces and metadata.namespaces != document.namespaces:
        yield (
            f"METADATA has the namespaces {', '.join(metadata.namespaces)}, "
            f"variant.json {', '.join(document.namespaces)}"
        )
    for namespace, provider in metadata.providers.items():
        other = document.providers.get(namespace)
        if other is None:
            yield f"METADATA has a provider of {namespace!r}, variant.json has none"
        elif (provider.requires, provider.object_reference) != (
            other.requires,
            other.object_reference,
        ):
            yield f"METADATA and variant.json name different providers of {namespace!r}"
