"""The ``Variant-*`` fields of METADATA: the form of 2025, written beside variant.json."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from polywheel.config.checks import parse_requirement
from polywheel.model.metadata import VariantMetadata
from polywheel.model.variant import Variant

_FIELD = re.compile(rb"[!-9;-~]+:")
# The very first wheels had `Variant` for what is `Variant-Property` now.
_OURS = re.compile(rb"variant(?:-[!-9;-~]*)?:", re.IGNORECASE)
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
            ours = bool(_OURS.match(line))
            if place is None and not _FIELD.match(line):
                place = len(lines)
        lines.append((line, ours))
        at = end
    return lines, len(lines) if place is None else place, content[at:]
