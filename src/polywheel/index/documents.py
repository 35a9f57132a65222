"""The variant.json of the wheels of one release, read together.

They differ in their variant and in little else. So those that have the rest in common are put together
before they are read, as one document that has all their variants: it is checked as each of them would
be, and once. Where something is wrong with it, every wheel is read by itself, to say which one it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from polywheel.errors import PolywheelError
from polywheel.formats.variant_json_reader import read_variant_json
from polywheel.formats.variants_json import unite
from polywheel.model.metadata import VariantMetadata


VARIANT_JSON = "variant.json"


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key stands twice in one table")
    return table


_DECODER = json.JSONDecoder(object_pairs_hook=_table)


class OneVariant(NamedTuple):
    """A document with one variant, of which nothing else has been checked."""

    label: str
    variant: Any
    rest: str
    """The document without variants: equal texts are equal documents."""


@lru_cache(maxsize=1024)
def one_variant(content: bytes) -> OneVariant | None:
    """What a document is made of; None where it is no JSON, or has no variant, or several."""
    try:
        document = _DECODER.decode(content.decode("utf-8"))
        ((label, variant),) = document.pop("variants").items()
        return OneVariant(label, variant, json.dumps(document))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def read_together(documents: Mapping[str, bytes], *, at: str) -> VariantMetadata:
    """What the documents of one release say, by the name of each wheel, as one.

    ``at`` says which release it is. Raises WheelError with everything that is wrong with a document,
    or on which wheels disagree, and names them.
    """
    joined = _joined(documents.values())
    if joined is not None:
        try:
            return unite({str(number): _read(one) for number, one in enumerate(joined)}, at=at)
        except PolywheelError:
            pass  # of which wheel it is true is said below
    each = {
        wheel: read_variant_json(content, at=f"{wheel}: {VARIANT_JSON}")
        for wheel, content in documents.items()
    }
    return unite(each, at=at)


@lru_cache(maxsize=128)
def _read(content: bytes) -> VariantMetadata:
    """Releases of one project say the same of their variants, mostly. Raises WheelError."""
    return read_variant_json(content, at="")


def _joined(contents: Iterable[bytes]) -> list[bytes] | None:
    """As few documents as say the same; None where that can't be told."""
    found: dict[str, dict[str, Any]] = {}
    for content in contents:
        one = one_variant(content)
        if one is None:
            return None
        if found.setdefault(one.rest, {}).setdefault(one.label, one.variant) != one.variant:
            return None
    return [
        json.dumps({**json.loads(rest), "variants": variants}).encode()
        for rest, variants in found.items()
    ]
