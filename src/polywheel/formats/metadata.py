"""The ``Variant-*`` fields of METADATA: the format of early 2025.

They are written in addition to variant.json. Wheels of early 2025 have no other variant data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from itertools import pairwise
from types import MappingProxyType
from typing import TypeVar

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from polywheel.config.reader import (
    Problems,
    Table,
    marker,
    object_reference,
    parse_requirement,
    requirement,
)
from polywheel.errors import Problem, WheelError
from polywheel.model.variant import (
    ABI_DEPENDENCY,
    NAMESPACE,
    NULL_LABEL,
    Provider,
    Variant,
    VariantFeature,
    VariantMetadata,
    VariantProperty,
    variant_hash,
)

_FIELD = re.compile(rb"[!-9;-~]+:")
_VARIANT_LINE = re.compile(rb"variant(?:-[!-9;-~]*)?:", re.IGNORECASE)
_BLANKS = (b" ", b"\t")
"""The first character of the continuation line of a field."""

_LABEL, _HASH, _PROPERTY = "Variant-Label", "Variant-Hash", "Variant-Property"
_OLD_PROPERTY = "Variant"
"""The very first wheels had it instead of ``Variant-Property``."""
_REQUIRES, _PLUGIN, _ENABLE_IF = "Variant-Requires", "Variant-Plugin-API", "Variant-Enable-If"
_PRIORITIES = _NAMESPACES, _FEATURES, _PROPERTIES = (
    "Variant-Default-Namespace-Priorities",
    "Variant-Default-Feature-Priorities",
    "Variant-Default-Property-Priorities",
)
_ALL = (_LABEL, _HASH, _PROPERTY, _OLD_PROPERTY, _REQUIRES, _PLUGIN, _ENABLE_IF, *_PRIORITIES)
T = TypeVar("T")


def variant_fields(variant: Variant, metadata: VariantMetadata) -> Iterator[tuple[str, str]]:
    """Yield the names and values of the fields in their order in METADATA."""
    yield _LABEL, variant.label
    if not variant.is_null:
        yield _HASH, variant.hash
    for prop in variant.properties:
        yield _PROPERTY, str(prop)
    for namespace in metadata.namespaces:
        provider = metadata.providers[namespace]
        if not provider.requires:
            continue
        for text in provider.requires:
            yield _REQUIRES, f"{namespace}: {text}"
        if provider.enable_if is not None:
            yield _ENABLE_IF, f"{namespace}: {provider.enable_if}"
        yield _PLUGIN, f"{namespace}: {provider.object_reference}"
    for name, priorities in zip(
        _PRIORITIES,
        (metadata.namespaces, metadata.feature_priorities, metadata.property_priorities),
        strict=True,
    ):
        if priorities:
            yield name, ", ".join(map(str, priorities))


def new_dependencies(content: bytes, dependencies: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the ``Requires-Dist`` fields that METADATA does not have yet.

    A dependency exists already if a requirement of the same package without a marker, or with the same one,
    covers it: it has the extras of the new one, and the same specifier, or the new one has no specifier.
    Requirements of older tools that are not valid by PEP 508 are ignored.
    """
    required = list(dependencies)
    if not required:
        return

    headers = BytesParser().parsebytes(content, headersonly=True)
    existing = []
    for text in headers.get_all("Requires-Dist", []):
        with suppress(InvalidRequirement):
            # A header with non-ASCII bytes is an object, and a folded header has line breaks.
            existing.append(parse_requirement(" ".join(str(text).split())))
    for text in required:
        new = parse_requirement(text)
        if not any(_covers(old, new) for old in existing):
            existing.append(new)
            yield "Requires-Dist", text


def _covers(old: Requirement, new: Requirement) -> bool:
    """Whether everything that satisfies the old requirement satisfies the new one."""
    return (
        canonicalize_name(old.name) == canonicalize_name(new.name)
        and (old.marker is None or old.marker == new.marker)
        and {*map(canonicalize_name, new.extras)} <= {*map(canonicalize_name, old.extras)}
        and new.url in (None, old.url)
        and (not new.specifier or new.specifier == old.specifier)
    )


def with_variant_fields(content: bytes, fields: Iterable[tuple[str, str]]) -> bytes:
    """Return METADATA with these fields at the end of its headers, without older ``Variant-*`` fields.

    All other bytes are unchanged: the headers, their continuation lines, the description. If there is a line
    that is not a header, the fields are inserted before it. Older fields after it are removed too.
    """
    headers, rest = split_headers(content)
    end = _end_of_headers(headers)
    front, back = (
        [header for header in part if not _VARIANT_LINE.match(header)]
        for part in (headers[:end], headers[end:])
    )
    newline = newline_of(content)
    added = [f"{name}: {value}".encode() + newline for name, value in fields]
    if added and front and not front[-1].endswith(b"\n"):
        front[-1] += newline
    return b"".join([*front, *added, *back, rest])


def strip_variant_fields(content: bytes) -> bytes:
    """Return METADATA without its ``Variant-*`` fields."""
    return with_variant_fields(content, ())


def hidden_fields(content: bytes) -> list[str]:
    """Return the ``Variant-*`` fields of METADATA after a line that is not a header.

    Such a line ends the headers for the email package, which pip and packaging use. Other readers skip it
    and continue until the blank line.
    """
    headers, _ = split_headers(content)
    return [
        header.partition(b"\n")[0].decode("utf-8", "replace").strip()
        for header in headers[_end_of_headers(headers) :]
        if _VARIANT_LINE.match(header)
    ]


def split_headers(content: bytes) -> tuple[list[bytes], bytes]:
    """Split METADATA at the first blank line. Return the headers, with their continuation lines, and the rest."""
    starts: list[int] = []
    at = 0
    while at < len(content) and not content.startswith((b"\n", b"\r\n"), at):
        if not starts or not content.startswith(_BLANKS, at):
            starts.append(at)
        at = content.find(b"\n", at) + 1 or len(content)
    return [content[start:end] for start, end in pairwise([*starts, at])], content[at:]


def _end_of_headers(headers: Sequence[bytes]) -> int:
    """Return the number of headers before the first line that is not a header."""
    return next(
        (
            number
            for number, header in enumerate(headers)
            if not header.startswith(_BLANKS) and not _FIELD.match(header)
        ),
        len(headers),
    )


def newline_of(content: bytes) -> bytes:
    """Return the line break of METADATA: that of its first line."""
    return b"\r\n" if content.partition(b"\n")[0].endswith(b"\r") else b"\n"


MAX_HEADERS = 2 * 1024 * 1024
"""Bytes of headers. In old METADATA the description is a header."""
MAX_LINES = 100_000
"""Lines of headers. Each line may be a header, which takes hundreds of bytes of memory."""
_END = re.compile(rb"(?:\A|\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_OLD_NULL = "00000000"
"""The hash of the variant without properties before there were labels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantFields:
    """The variant fields of METADATA. A missing field is None or empty."""

    label: str | None
    hash: str | None
    properties: tuple[VariantProperty, ...]
    """In the order of the file, not sorted."""

    metadata: VariantMetadata
    """Priorities and providers. ``variants`` has the variant that the fields describe, if there is one."""

    problems: tuple[Problem, ...]
    """Unreadable and contradictory fields."""


def parse_metadata(content: bytes, *, at: str = "METADATA") -> Message:
    """Parse the headers of METADATA or WHEEL. Any bytes give a message.

    Raises WheelError if there are too many headers.
    """
    end = _END.search(content)
    headers = content[: end.end()] if end is not None else content
    lines = headers.count(b"\n") + headers.count(b"\r")
    if len(headers) > MAX_HEADERS or lines > MAX_LINES:
        raise WheelError(
            f"{len(headers)} bytes of headers in {lines} lines, "
            f"over the limit of {MAX_HEADERS} bytes and {MAX_LINES} lines",
            at=at,
        )
    return BytesParser().parsebytes(headers, headersonly=True)


def read_variant_fields(headers: Message, *, at: str) -> VariantFields | None:
    """Return the variant fields in the headers of METADATA; None if there are none.

    Raises nothing: unreadable fields are listed in ``problems``.
    """
    names = {name.lower() for name in _ALL}
    if not any(name.lower() in names for name in headers):
        return None
    reader = _FieldReader(headers, at)
    properties = reader.parse(VariantProperty.parse, reader.values(_PROPERTY, _OLD_PROPERTY))
    label, hash_field = reader.single_value(_LABEL), reader.single_value(_HASH)
    metadata = VariantMetadata(
        namespaces=reader.namespaces(),
        feature_priorities=reader.parse(VariantFeature.parse, reader.parts(_FEATURES)),
        property_priorities=reader.parse(VariantProperty.parse, reader.parts(_PROPERTIES)),
        providers=MappingProxyType(reader.providers()),
        variants=MappingProxyType(reader.variants(properties, label, hash_field)),
    )
    reader.check_namespaces(metadata, properties)
    return VariantFields(
        label=label,
        hash=hash_field,
        properties=properties,
        metadata=metadata,
        problems=tuple(reader.problems.found),
    )


class _FieldReader:
    """Reads headers and collects their problems."""

    def __init__(self, headers: Message, at: str) -> None:
        self._headers = headers
        self._at = at
        self.problems = Problems()

    def _add(self, what: str, hint: str | None = None) -> None:
        self.problems.add(what, at=self._at, hint=hint)

    def values(self, *names: str) -> list[str]:
        """Return the values of all fields with these names."""
        values = [value for name in names for value in self._headers.get_all(name, [])]
        # A header with non-ASCII bytes is an object, and a folded header has line breaks.
        return [" ".join(str(value).split()) for value in values]

    def parts(self, name: str) -> list[str]:
        """Return the parts of fields that are separated by commas."""
        texts = [text.strip() for value in self.values(name) for text in value.split(",")]
        return [text for text in texts if text]

    def single_value(self, name: str) -> str | None:
        values = self.values(name)
        if len(set(values)) > 1:
            self._add(f"{name} has several values: {', '.join(values)}")
        return values[0] if values else None

    def parse(self, parse: Callable[..., T], texts: Iterable[str]) -> tuple[T, ...]:
        """Return the parsed texts, each once, without unreadable ones."""
        parsed = [self.problems.attempt(parse, text, at=self._at) for text in texts]
        return tuple(value for value in dict.fromkeys(parsed) if value is not None)

    def namespaces(self) -> tuple[str, ...]:
        """Return the namespaces in order, without malformed ones and the reserved one, which must not be listed."""
        listed = dict.fromkeys(self.parts(_NAMESPACES))
        for name in listed:
            if not NAMESPACE.fullmatch(name):
                self._add(f"malformed namespace {name!r} in {_NAMESPACES}")
        return tuple(
            name for name in listed if NAMESPACE.fullmatch(name) and name != ABI_DEPENDENCY
        )

    def variants(
        self, properties: tuple[VariantProperty, ...], label: str | None, hash_field: str | None
    ) -> dict[str, Variant]:
        """Return the variant that properties, label, and hash describe, by its label, if there is one."""
        if not properties and label is None and hash_field is None:
            return {}
        old_null = not properties and hash_field == _OLD_NULL
        if hash_field is not None and not old_null:
            if not properties:
                self._add(f"Variant-Hash is {hash_field!r}, and there are no properties")
            elif hash_field != (computed := variant_hash(properties)):
                self._add(f"Variant-Hash is {hash_field!r}, the properties give {computed!r}")
        # Before there were labels, filenames had the hash.
        name = label or (NULL_LABEL if old_null else hash_field)
        variant = self.problems.attempt(Variant.of, properties, name, at=self._at)
        return {} if variant is None else {variant.label: variant}

    def check_namespaces(
        self, metadata: VariantMetadata, properties: Iterable[VariantProperty]
    ) -> None:
        """If METADATA lists namespaces, check that it lists all namespaces that it uses."""
        if not metadata.namespaces:
            return
        for name, used in (
            (_PROPERTY, {prop.namespace for prop in properties}),
            (_REQUIRES, set(metadata.providers)),
            (_FEATURES, {feature.namespace for feature in metadata.feature_priorities}),
            (_PROPERTIES, {prop.namespace for prop in metadata.property_priorities}),
        ):
            for namespace in sorted(used - {*metadata.namespaces, ABI_DEPENDENCY}):
                self._add(
                    f"{name} has the namespace {namespace!r}, which is not in {_NAMESPACES}: "
                    f"{', '.join(metadata.namespaces)}"
                )

    def providers(self) -> dict[str, Provider]:
        """Return the providers from Variant-Requires, Variant-Plugin-API, and Variant-Enable-If."""
        fields = {name: self._by_namespace(name) for name in (_REQUIRES, _PLUGIN, _ENABLE_IF)}
        for name in (_PLUGIN, _ENABLE_IF):
            for namespace, values in fields[name].items():
                if len(set(values)) > 1:
                    self._add(f"{name} of {namespace!r} has several values: {values}")
        providers = {}
        for namespace in dict.fromkeys(
            key for by_namespace in fields.values() for key in by_namespace
        ):
            requires, plugins, markers = (fields[name].get(namespace, []) for name in fields)
            data = {
                _REQUIRES: list(dict.fromkeys(requires)),
                _PLUGIN: next(iter(plugins), None),
                _ENABLE_IF: next(iter(markers), None),
            }
            table = Table(data, self._at, (namespace,), self.problems)
            providers[namespace] = Provider(
                namespace=namespace,
                requires=table.several(_REQUIRES, requirement),
                plugin_api=table.parsed(_PLUGIN, object_reference),
                enable_if=table.parsed(_ENABLE_IF, marker),
            )
        return providers

    def _by_namespace(self, name: str) -> dict[str, list[str]]:
        """Return the values of fields of the form ``namespace: value``."""
        by_namespace: dict[str, list[str]] = {}
        for text in self.values(name):
            namespace, colon, value = (part.strip() for part in text.partition(":"))
            if colon and value and NAMESPACE.fullmatch(namespace):
                by_namespace.setdefault(namespace, []).append(value)
            else:
                self._add(f"malformed {name}: {text!r}", "expected 'namespace: value'")
        return by_namespace
