"""The ``Variant-*`` fields of METADATA: the format of early 2025.

They are written in addition to variant.json. Wheels of early 2025 have no other variant data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
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
    requirements,
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
# The very first wheels had `Variant` instead of `Variant-Property`.
_VARIANT_LINE = re.compile(rb"variant(?:-[!-9;-~]*)?:", re.IGNORECASE)
_BLANKS = (b" ", b"\t")
"""The first character of the continuation line of a field."""


def variant_fields(variant: Variant, metadata: VariantMetadata) -> Iterator[tuple[str, str]]:
    """Yield the names and values of the fields in their order in METADATA."""
    yield "Variant-Label", variant.label
    if not variant.is_null:
        yield "Variant-Hash", variant.hash
    for prop in variant.properties:
        yield "Variant-Property", str(prop)
    for namespace in metadata.namespaces:
        provider = metadata.providers[namespace]
        if not provider.requires:
            continue
        for requirement in provider.requires:
            yield "Variant-Requires", f"{namespace}: {requirement}"
        if provider.enable_if is not None:
            yield "Variant-Enable-If", f"{namespace}: {provider.enable_if}"
        yield "Variant-Plugin-API", f"{namespace}: {provider.object_reference}"
    for kind, listed in (
        ("Namespace", metadata.namespaces),
        ("Feature", metadata.feature_priorities),
        ("Property", metadata.property_priorities),
    ):
        if listed:
            yield f"Variant-Default-{kind}-Priorities", ", ".join(map(str, listed))


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
    lines, place, rest = _header_lines(content)
    newline = b"\r\n" if content.partition(b"\n")[0].endswith(b"\r") else b"\n"
    front, back = (
        [line for line, ours in part if not ours] for part in (lines[:place], lines[place:])
    )
    added = [f"{name}: {value}".encode() + newline for name, value in fields]
    if added and front and not front[-1].endswith(b"\n"):
        front[-1] += newline
    return b"".join([*front, *added, *back, rest])


def hidden_fields(content: bytes) -> list[str]:
    """Return the ``Variant-*`` fields of METADATA after a line that is not a header.

    Such a line ends the headers for the email package, which pip and packaging use. Other readers skip it
    and continue until the blank line.
    """
    lines, place, _ = _header_lines(content)
    return [
        line.decode("utf-8", "replace").strip()
        for line, ours in lines[place:]
        if ours and not line.startswith(_BLANKS)
    ]


def _header_lines(content: bytes) -> tuple[list[tuple[bytes, bool]], int, bytes]:
    """Split METADATA at the first blank line.

    Return the lines before it, each with a flag that is true for lines of ``Variant-*`` fields, the number of
    the first line that is not a header, and the rest.
    """
    lines: list[tuple[bytes, bool]] = []
    place: int | None = None
    ours = False
    at = 0
    while at < len(content):
        end = content.find(b"\n", at) + 1 or len(content)
        line = content[at:end]
        if line in (b"\n", b"\r\n"):
            break
        if not line.startswith(_BLANKS):
            ours = bool(_VARIANT_LINE.match(line))
            if place is None and not _FIELD.match(line):
                place = len(lines)
        lines.append((line, ours))
        at = end
    return lines, len(lines) if place is None else place, content[at:]


T = TypeVar("T")
Every = Callable[..., list[str]]

MAX_HEADERS = 2 * 1024 * 1024
"""Bytes of headers. In old METADATA the description is a header."""
MAX_LINES = 100_000
"""Lines of headers. Each line may be a header, which takes hundreds of bytes of memory."""
_END = re.compile(rb"(?:\A|\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")

_LABEL, _HASH, _PROPERTY = "Variant-Label", "Variant-Hash", "Variant-Property"
_OLD_PROPERTY = "Variant"
"""The very first wheels had it instead of ``Variant-Property``."""
_OLD_NULL = "00000000"
"""The hash of the variant without properties before there were labels."""
_REQUIRES, _PLUGIN, _ENABLE_IF = "Variant-Requires", "Variant-Plugin-API", "Variant-Enable-If"
_NAMESPACES, _FEATURES, _PROPERTIES = (
    f"Variant-Default-{kind}-Priorities" for kind in ("Namespace", "Feature", "Property")
)
_VARIANT_FIELDS = frozenset(
    name.lower()
    for name in (
        *(_LABEL, _HASH, _PROPERTY, _OLD_PROPERTY, _REQUIRES, _PLUGIN, _ENABLE_IF),
        *(_NAMESPACES, _FEATURES, _PROPERTIES),
    )
)


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

    def every(*names: str) -> list[str]:
        # A header with non-ASCII bytes is an object, and a folded header has line breaks.
        values = [value for name in names for value in headers.get_all(name, [])]
        return [" ".join(str(value).split()) for value in values]

    if not any(name.lower() in _VARIANT_FIELDS for name in headers):
        return None
    problems = Problems()
    properties = _parse_each(every(_PROPERTY, _OLD_PROPERTY), VariantProperty.parse, problems, at)
    label, named = (_single_value(name, every, problems, at) for name in (_LABEL, _HASH))
    metadata = VariantMetadata(
        namespaces=_namespaces(every, problems, at),
        feature_priorities=_parse_each(
            _split_values(_FEATURES, every), VariantFeature.parse, problems, at
        ),
        property_priorities=_parse_each(
            _split_values(_PROPERTIES, every), VariantProperty.parse, problems, at
        ),
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
    """Return the variant that properties, label, and hash describe, by its label, if there is one."""
    if not properties and label is None and named is None:
        return {}
    old_null = not properties and named == _OLD_NULL
    if named is not None and not old_null:
        if not properties:
            problems.add(f"Variant-Hash is {named!r}, and there are no properties", at=at)
        elif named != (computed := variant_hash(properties)):
            problems.add(f"Variant-Hash is {named!r}, the properties give {computed!r}", at=at)
    # Before there were labels, filenames had the hash.
    name = label or (NULL_LABEL if old_null else named)
    variant = problems.attempt(Variant.of, properties, name, at=at)
    return {} if variant is None else {variant.label: variant}


def _check_namespaces(
    metadata: VariantMetadata,
    properties: Iterable[VariantProperty],
    problems: Problems,
    at: str,
) -> None:
    """If METADATA lists namespaces, check that it lists all namespaces that it uses."""
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


def _single_value(name: str, every: Every, problems: Problems, at: str) -> str | None:
    values = every(name)
    if len(set(values)) > 1:
        problems.add(f"{name} has several values: {', '.join(values)}", at=at)
    return values[0] if values else None


def _parse_each(
    texts: Iterable[str], parse: Callable[..., T], problems: Problems, at: str
) -> tuple[T, ...]:
    read = [problems.attempt(parse, text, at=at) for text in texts]
    return tuple(one for one in dict.fromkeys(read) if one is not None)


def _split_values(name: str, every: Every) -> list[str]:
    return [part for value in every(name) for text in value.split(",") if (part := text.strip())]


def _namespaces(every: Every, problems: Problems, at: str) -> tuple[str, ...]:
    """Return the namespaces in order, without malformed ones and the reserved one, which must not be listed."""
    found = tuple(dict.fromkeys(_split_values(_NAMESPACES, every)))
    for name in found:
        if not NAMESPACE.fullmatch(name):
            problems.add(f"malformed namespace {name!r} in {_NAMESPACES}", at=at)
    return tuple(name for name in found if NAMESPACE.fullmatch(name) and name != ABI_DEPENDENCY)


def _providers(every: Every, problems: Problems, at: str) -> dict[str, Provider]:
    """Return the providers from Variant-Requires, Variant-Plugin-API, and Variant-Enable-If (``ns: value``)."""

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
