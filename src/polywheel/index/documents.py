"""The variant.json of the wheels of one release, read together.

They differ in their variant and in little else. So those that begin alike are put together before they
are read, as one document that has all their variants: it is checked as each of them would be, and once.
Where something is wrong with it, every wheel is read by itself, to say which one it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from polywheel.errors import PolywheelError
from polywheel.formats.variant_json import read_variant_json
from polywheel.formats.variants_json import merge_metadata
from polywheel.model.variant import VariantMetadata

VARIANT_JSON = "variant.json"
_VARIANTS = b'"variants"'


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key stands twice in one table")
    return table


_DECODER = json.JSONDecoder(object_pairs_hook=_table)


class SingleVariantDocument(NamedTuple):
    """A document with one variant, of which nothing else has been checked."""

    label: str
    variant: Any
    head: bytes
    """What stands in front of ``"variants"``, the last key."""


@lru_cache(maxsize=1024)
def parse_single_variant(content: bytes) -> SingleVariantDocument | None:
    """What a document is made of.

    None where it is no JSON, where it does not end with its variants, as those of every tool that
    is known do, and where they are not one.
    """
    head, _, tail = content.partition(_VARIANTS)
    if _rest(head) is None:
        return None
    try:
        # Both parts are objects: the document is one with the keys of both.
        (variants,) = _DECODER.decode('{"variants"' + tail.decode("utf-8")).values()
        ((label, variant),) = variants.items()
    except (ValueError, AttributeError, RecursionError):
        return None
    return SingleVariantDocument(label, variant, head)


@lru_cache(maxsize=64)
def _rest(head: bytes) -> dict[str, Any] | None:
    """A document without its variants; None where it does not end with them."""
    members = head.rstrip(b" \t\r\n")
    if not members.endswith(b","):
        return None
    try:
        rest = _DECODER.decode(members[:-1].decode("utf-8") + "}")
    except (ValueError, RecursionError):
        return None
    return rest if isinstance(rest, dict) and "variants" not in rest else None


def read_together(documents: Mapping[str, bytes], *, at: str) -> VariantMetadata:
    """What the documents of one release say, by the name of each wheel, as one.

    ``at`` says which release it is. Raises WheelError with everything that is wrong with a document,
    or on which wheels disagree, and names them.
    """
    together = _together(frozenset(documents.values()))
    if together is not None:
        return together
    each = {
        wheel: read_variant_json(content, at=f"{wheel}: {VARIANT_JSON}")
        for wheel, content in documents.items()
    }
    return merge_metadata(each, at=at)


@lru_cache(maxsize=64)
def _together(contents: frozenset[bytes]) -> VariantMetadata | None:
    """What documents say as one; None where something is wrong with one, or they disagree.

    The releases of a project say the same, mostly.
    """
    found: dict[bytes, dict[str, Any]] = {}
    for content in contents:
        one = parse_single_variant(content)
        if one is None:
            return None
        variants = found.setdefault(one.head, {})
        if variants.setdefault(one.label, one.variant) != one.variant:
            return None
    joined = [{**(_rest(head) or {}), "variants": variants} for head, variants in found.items()]
    try:
        read = [read_variant_json(json.dumps(one).encode(), at="") for one in joined]
        return merge_metadata({str(number): one for number, one in enumerate(read)}, at="")
    except (PolywheelError, RecursionError):
        return None
