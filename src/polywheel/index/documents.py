"""Read the variant.json documents of all wheels of one release.

The documents differ mostly in their variant. Documents with the same head are joined into one
document with all their variants, which is then validated once. If the joined document has a
problem, every document is read by itself, to name the wheel with the problem.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from polywheel.errors import PolywheelError
from polywheel.formats.variant_json import parse_head, parse_single_variant, read_variant_json
from polywheel.formats.variants_json import merge_metadata
from polywheel.model.variant import VariantMetadata

VARIANT_JSON = "variant.json"


def read_together(documents: Mapping[str, bytes], *, at: str) -> VariantMetadata:
    """Combine the documents of one release, which are given by the filename of their wheel.

    ``at`` names the release in messages. Raises WheelError with all problems of the documents,
    and with all disagreements between wheels.
    """
    joined = _read_joined(frozenset(documents.values()))
    if joined is not None:
        return joined
    by_wheel = {
        wheel: read_variant_json(content, at=f"{wheel}: {VARIANT_JSON}")
        for wheel, content in documents.items()
    }
    return merge_metadata(by_wheel, at=at)


@lru_cache(maxsize=64)
def _read_joined(contents: frozenset[bytes]) -> VariantMetadata | None:
    """Read several documents as one; None if one has a problem, or if they disagree.

    Cached, because the releases of a project mostly have the same documents.
    """
    by_head: dict[bytes, dict[str, Any]] = {}
    for content in contents:
        document = parse_single_variant(content)
        if document is None:
            return None
        variants = by_head.setdefault(document.head, {})
        if variants.setdefault(document.label, document.variant) != document.variant:
            return None
    try:
        metadata = {}
        for number, (head, variants) in enumerate(by_head.items()):
            joined = {**(parse_head(head) or {}), "variants": variants}
            metadata[str(number)] = read_variant_json(json.dumps(joined).encode(), at="")
        return merge_metadata(metadata, at="")
    except (PolywheelError, RecursionError):
        return None
