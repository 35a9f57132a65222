"""The ``Variant-*`` fields of METADATA: the form of 2025, written beside variant.json."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from polywheel.model.metadata import VariantMetadata
from polywheel.model.variant import Variant

_FIELD = re.compile(rb"[!-9;-~]+:")
# The very first wheels had `Variant` for what is `Variant-Property` now.
_OURS = re.compile(rb"variant(?:-[!-9;-~]*)?:", re.IGNORECASE)


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
            there.append(Requirement(" ".join(str(text).split())))
    for text in wanted:
        new = Requirement(text)
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

    Every other byte stays: the headers, their continuation lines, the description.
    """
    kept: list[bytes] = []
    dropping = False
    newline = b"\r\n" if content.partition(b"\n")[0].endswith(b"\r") else b"\n"
    at = 0
    while at < len(content):
        end = content.find(b"\n", at) + 1 or len(content)
        line = content[at:end]
        if _FIELD.match(line):
            dropping = bool(_OURS.match(line))
        elif not line.startswith((b" ", b"\t")):
            break  # the blank line before the description, or what a parser takes for its start
        if not dropping:
            kept.append(line)
        at = end
    added = [f"{name}: {value}".encode() + newline for name, value in fields]
    if added and kept and not kept[-1].endswith(b"\n"):
        kept[-1] += newline
    return b"".join([*kept, *added, content[at:]])
