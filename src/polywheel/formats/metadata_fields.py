"""The ``Variant-*`` fields of METADATA: the form of 2025, written beside variant.json."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from polywheel.model.metadata import VariantMetadata
from polywheel.model.variant import Variant

_FIELD = re.compile(rb"[!-9;-~]+:")
_OURS = re.compile(rb"variant-[!-9;-~]*:", re.IGNORECASE)


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


def with_variant_fields(content: bytes, fields: Iterable[tuple[str, str]]) -> bytes:
    """METADATA with these fields at the end of its headers, in place of older ``Variant-*`` ones.

    Every other byte stays: the headers, their continuation lines, the description.
    """
    lines = content.splitlines(keepends=True)
    newline = b"\r\n" if lines and lines[0].endswith(b"\r\n") else b"\n"
    kept: list[bytes] = []
    dropping = False
    body = len(lines)
    for number, line in enumerate(lines):
        if not line.strip(b"\r\n"):
            body = number
            break
        if _FIELD.match(line):
            dropping = bool(_OURS.match(line))
        if not dropping:
            kept.append(line)
    if kept and not kept[-1].endswith(b"\n"):
        kept[-1] += newline
    added = [f"{name}: {value}".encode() + newline for name, value in fields]
    return b"".join([*kept, *added, *lines[body:]])
