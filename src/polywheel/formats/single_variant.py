"""Split a variant.json into its only variant and the rest, without validating either.

Thousands of wheels have the same providers and priorities. Their documents differ in the last key,
``variants``, so the rest is parsed once.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, NamedTuple

from polywheel.system.files import unique_keys

_VARIANTS = b'"variants"'


_DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)


class SingleVariantDocument(NamedTuple):
    """A document with one variant. Nothing else has been validated."""

    label: str
    variant: Any
    head: bytes
    """The bytes in front of ``"variants"``, which is the last key."""


@lru_cache(maxsize=1024)
def parse_single_variant(content: bytes) -> SingleVariantDocument | None:
    """Split a document into its head and its only variant.

    Returns None if it is not JSON, does not end with ``variants`` (as the documents of all known
    tools do), or does not have exactly one variant.
    """
    head, _, tail = content.partition(_VARIANTS)
    if parse_head(head) is None:
        return None
    try:
        # Head and tail are both valid objects, so the document is the union of their keys.
        (variants,) = _DECODER.decode('{"variants"' + tail.decode("utf-8")).values()
        ((label, variant),) = variants.items()
    except (ValueError, AttributeError, RecursionError):
        return None
    return SingleVariantDocument(label, variant, head)


@lru_cache(maxsize=64)
def parse_head(head: bytes) -> dict[str, Any] | None:
    """Parse a document without its variants; None if it does not end with them."""
    members = head.rstrip(b" \t\r\n")
    if not members.endswith(b","):
        return None
    try:
        document = _DECODER.decode(members[:-1].decode("utf-8") + "}")
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and "variants" not in document else None
