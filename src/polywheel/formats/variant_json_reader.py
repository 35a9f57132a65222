"""Reading variant.json and ``{name}-{version}-variants.json``: what strangers wrote.

Both have one shape (PEP 825, "Variant metadata" and "Index-level metadata"), and it is that of the
``[variant]`` table of pyproject.toml, whose reader reads it. Keys that are not known are left alone:
a newer minor version may bring some.
"""

from __future__ import annotations

import json
import re
from typing import Any

from polywheel.config.reader import Problems, Table, type_name
from polywheel.config.variant_table import read_variant_table
from polywheel.errors import WheelError
from polywheel.model.metadata import VariantMetadata

MAX_SIZE = 16 * 1024 * 1024
"""Bytes: a thousand variants with a hundred properties each take less."""
_VERSION = re.compile(r"/v(\d{1,9})\.\d+(?:\.\d+)?\.json$")
_MAJOR = {"0", "1"}
"""Drafts are 0; the last of them becomes 1.0.0 (PEP 825, "Variant metadata")."""
_HINT = "write the wheel's variant data anew with polywheel label"


def read_variant_json(content: bytes, *, at: str) -> VariantMetadata:
    """The namespaces, providers and variants of a document, in the order in which it has them.

    ``at`` says where it stands, for messages. Raises WheelError for what is not JSON, is too
    large, or has another shape, with everything that is wrong.
    """
    document = _load(content, at)
    problems = Problems(closed=False)
    root = Table(document, at, (), problems)
    version = _VERSION.search(root.string("$schema") or "")
    if version is not None and version[1] not in _MAJOR:
        raise WheelError(
            f"variant metadata of the major version {version[1]}, which this polywheel does not know",
            at=root.at("$schema"),
            hint="use a newer polywheel",
        )
    if not root.table("default-priorities").data.get("namespace"):
        problems.add(
            "the list of namespaces is missing or empty",
            at=root.at("default-priorities", "namespace"),
        )
    if not isinstance(document.get("variants"), dict) or not document["variants"]:
        problems.add("expected a table of variants", at=root.at("variants"))
    metadata = problems.attempt(read_variant_table, root)
    if problems.found or metadata is None:
        raise WheelError.collected(problems.found)
    return metadata


def _load(content: bytes, at: str) -> dict[str, Any]:
    if len(content) > MAX_SIZE:
        raise WheelError(
            f"variant metadata of {len(content)} bytes, over the bound of {MAX_SIZE}", at=at
        )
    try:
        document = json.loads(
            content.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=_refused
        )
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise WheelError(f"variant metadata is not JSON: {what}", at=at, hint=_HINT) from None
    if not isinstance(document, dict):
        raise WheelError(f"expected a table, found {type_name(document)}", at=at, hint=_HINT)
    return document


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table; a key that stands twice means one thing to one reader and another to the next."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key stands twice in one table")
    return table


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no value")
