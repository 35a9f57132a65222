"""The ``Variant-*`` fields of METADATA: the format of early 2025.

They are written beside variant.json. Wheels of early 2025 have no other variant data.
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
# The very first wheels had `Variant` for what is `Variant-Property` now.
_VARIANT_LINE = re.compile(rb"variant(?:-[!-9;-~]*)?:", re.IGNORECASE)
_BLANKS = (b" ", b"\t")
"""What the continuation line of a field starts with."""


def variant_fields(variant: Variant, metadata: VariantMetadata) -> Iterator[tuple[str, str]]:
    """Names and values, in the order in which they are written."""
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
    """The ``Requires-Dist`` that METADATA has not got yet.

    One is there already where an unconditional one for the same package has the same specifier,
    or where the new one asks for no version and no extra that the older does not. What older tools
    wrote and no PEP 508 reader understands stands for nothing.
    """
    wanted = list(dependencies)
    if not wanted:
        return
    from email.parser import BytesParser  # takes long, and few variants have dependencies

    headers = BytesParser().parsebytes(content, headersonly=True)
    there = []
    for text in headers.get_all("Requires-Dist", []):
        with suppress(InvalidRequirement):
            # A header with bytes above ASCII is an object, and a folded one has line breaks.
            there.append(parse_requirement(" ".join(str(text).split())))
    for text in wanted:
        new = parse_requirement(text)
        if not any(_covers(old, new) for old in there):
            there.append(new)
            yield "Requires-Dist", text


def _covers(old: Requirement, new: Requirement) -> bool:
    """Whether whatever fulfils the old requirement fulfils the new one."""
    return (
        canonicalize_name(old.name) == canonicalize_name(new.name)
        and (old.marker is None or old.marker == new.marker)
        and {*map(canonicalize_name, new.extras)} <= {*map(canonicalize_name, old.extras)}
        and new.url in (None, old.url)
        and (not new.specifier or new.specifier == old.specifier)
    )


def with_variant_fields(content: bytes, fields: Iterable[tuple[str, str]]) -> bytes:
    """METADATA with these fields at the end of its headers, in place of older ``Variant-*`` ones.

    Every other byte stays: the headers, their continuation lines, the description. The fields come
    in front of a line that is no header, and older ones go from behind it as well.
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
    """The ``Variant-*`` fields of METADATA behind a line that is no header.

    That line ends the headers for the email package, which pip and packaging use; other readers skip
    it and read on to the blank line.
    """
    lines, place, _ = _header_lines(content)
    return [
        line.decode("utf-8", "replace").strip()
        for line, ours in lines[place:]
        if ours and not line.startswith(_BLANKS)
    ]


def _header_lines(content: bytes) -> tuple[list[tuple[bytes, bool]], int, bytes]:
    """The lines in front of the first blank one, each with whether it is part of a field of ours;
    the number of the first of them that is no header; and what follows them.
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
_VARIANT_FIELDS = frozenset(
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
            f"over the limit of {MAX_HEADERS} bytes and {MAX_LINES} lines",
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

    if not any(name.lower() in _VARIANT_FIELDS for name in headers):
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
