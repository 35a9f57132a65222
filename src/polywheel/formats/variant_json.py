"""Write and read variant.json and ``{name}-{version}-variants.json``.

Both have the same format (PEP 825, "Variant metadata" and "Index-level metadata"; draft PEP on providers,
"Provider information"), which is also that of the ``[variant]`` table of pyproject.toml, so one reader reads
all of them. Unknown keys are ignored: a newer minor version may add keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from polywheel.config.reader import Problems, Table, type_name
from polywheel.config.variant_table import read_variant_table
from polywheel.errors import ConfigError, Problem, WheelError
from polywheel.model.variant import ABI_DEPENDENCY, Provider, Variant, VariantMetadata
from polywheel.system.files import refuse_constant, unique_keys

SCHEMA = "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json"
SCHEMA_WITHOUT_PROVIDERS = "https://variants-schema.wheelnext.dev/peps/825/v0.1.1.json"


def variant_json(variant: Variant, metadata: VariantMetadata) -> bytes:
    """Return the file for a wheel of this variant. The same input gives the same bytes.

    Raises ConfigError if no namespace is declared (PEP 825: the list must not be empty), or if a provider
    can't be written to a wheel.
    """
    require_namespaces(metadata)
    return variant_document(metadata, [variant])


def require_namespaces(metadata: VariantMetadata) -> None:
    """Raise ConfigError if a project declares no namespace."""
    if not metadata.namespaces:
        raise ConfigError(
            "a variant wheel needs at least one namespace, and none is declared",
            at="pyproject.toml: variant.default-priorities.namespace",
            hint="declare the namespaces of this project's variants and their providers; "
            f"{ABI_DEPENDENCY} does not count, because it has no provider",
        )


def variant_document(
    metadata: VariantMetadata, variants: Iterable[Variant], *, indent: int | None = 4
) -> bytes:
    """Return the JSON document of a wheel or an index: namespaces, providers, and these variants.

    The same input gives the same bytes. It is one line if ``indent`` is None. Raises ConfigError if a
    provider can't be written.
    """
    document: dict[str, Any] = {
        "$schema": SCHEMA if metadata.providers else SCHEMA_WITHOUT_PROVIDERS,
        "default-priorities": {"namespace": list(metadata.namespaces)},
        "variants": {variant.label: variant.by_namespace() for variant in variants},
    }
    if metadata.providers:
        document["providers"] = {
            namespace: _provider(provider) for namespace, provider in metadata.providers.items()
        }
    return (json.dumps(document, indent=indent, sort_keys=True) + "\n").encode("utf-8")


def _provider(provider: Provider) -> dict[str, Any]:
    if provider.build_requires:
        raise ConfigError(
            f"the static properties of {provider.namespace!r} have not been asked for",
            at=f"pyproject.toml: variant.providers.{provider.namespace}.build-requires",
            hint="give static-properties in place of build-requires",
        )
    written: dict[str, Any] = {}
    if provider.requires:
        written["requires"] = list(provider.requires)
        if provider.plugin_api is not None:
            written["plugin-api"] = provider.plugin_api
    elif provider.builtin is not None:
        written["builtin"] = provider.builtin
    else:
        written["static-properties"] = {
            feature: list(values) for feature, values in provider.static_properties.items()
        }
        if provider.feature_order:
            written["feature-order"] = list(provider.feature_order)
    if provider.optional:
        written["optional"] = True
    return written


MAX_SIZE = 16 * 1024 * 1024
"""Bytes: a thousand variants with a hundred properties each take less."""
MAX_PROBLEMS = 25
"""Reading stops after this number of problems, to limit memory and time."""
_MAX_KEY = 1000
"""Letters of a key. Every message about its table repeats the key."""
_VERSION = re.compile(r"/v(\d{1,9})\.\d+(?:\.\d+)?\.json$")
_UNVERSIONED = {"https://variants-schema.wheelnext.dev/", "https://variants-schema.wheelnext.dev"}
"""The values in the first wheels of 2025."""
_MAJOR = {"0", "1"}
"""Drafts have 0. The final version is 1.0.0 (PEP 825, "Variant metadata")."""
_TABLES = ("default-priorities", "providers", "static-properties", "variants")
_DEPTH = 4
_HINT = "write the wheel's variant data again with polywheel label"


def read_variant_json(content: bytes, *, at: str, limit: int = MAX_SIZE) -> VariantMetadata:
    """Return the namespaces, providers, and variants of a document, in its order.

    ``at`` is its location, for messages. ``limit`` is in bytes. Raises WheelError with all problems if the
    document is not JSON, too large, or has another format.
    """
    metadata, problems = read_faulty_variant_json(content, at=at, limit=limit)
    if problems or metadata is None:
        raise WheelError.collected(problems)
    return metadata


def read_faulty_variant_json(
    content: bytes, *, at: str, limit: int = MAX_SIZE, strict: bool = False
) -> tuple[VariantMetadata | None, tuple[Problem, ...]]:
    """Return the readable content of a document, for display, and all its problems.

    With ``strict``, a ``$schema`` that is missing or has no version is a problem too, although installers
    ignore it. The content is None if a variant can't be read. Raises nothing.
    """
    problems = Problems(found=_FirstFew(), closed=False)
    metadata = None
    try:
        document = _load(content, at, limit)
        root = Table(document, at, (), problems)
        _check_version(root)
        if strict:
            _check_schema(root)
        _check_whole(root)
        metadata = problems.attempt(read_variant_table, root)
        if metadata is not None and metadata.variants.keys() != _keys(document.get("variants")):
            metadata = None
    except WheelError as error:
        return None, error.problems
    except _EnoughError:
        metadata = None
    return metadata, tuple(dict.fromkeys(problems.found))


def _keys(table: object) -> set[str]:
    return set(table) if isinstance(table, dict) else set()


class _EnoughError(Exception):
    """Stops reading. It is not a PolywheelError, so that it is not collected as a problem."""


class _FirstFew(list[Problem]):
    """The first problems of one document. Raises _EnoughError if there are more."""

    def append(self, problem: Problem, /) -> None:
        if len(self) == MAX_PROBLEMS:
            super().append(Problem("more is wrong than is listed here", hint=_HINT))
        if len(self) > MAX_PROBLEMS:
            raise _EnoughError
        super().append(problem)

    def extend(self, problems: Iterable[Problem], /) -> None:
        for problem in problems:
            self.append(problem)


def _check_version(root: Table) -> None:
    version = _VERSION.search(root.string("$schema") or "")
    if version is not None and version[1] not in _MAJOR:
        raise WheelError(
            f"variant metadata of the major version {version[1]}, which this polywheel does not know",
            at=root.at("$schema"),
            hint="use a newer polywheel",
        )


def _check_schema(root: Table) -> None:
    """Add a problem if ``$schema`` does not name the version of the format (PEP 825: it is required)."""
    schema = root.data.get("$schema")
    if schema is None:
        root.problems.add(f"$schema is missing: expected {SCHEMA!r}", at=root.at("$schema"))
    elif isinstance(schema, str) and not (
        (schema.startswith("https://") and _VERSION.search(schema)) or schema in _UNVERSIONED
    ):
        root.problems.add(
            f"$schema is {schema[:200]!r}, which is not the URL of a version: expected {SCHEMA!r}",
            at=root.at("$schema"),
        )


def _check_whole(root: Table) -> None:
    """Add problems for missing required keys."""
    if not root.table("default-priorities").data.get("namespace"):
        root.problems.add(
            "the list of namespaces is missing or empty",
            at=root.at("default-priorities", "namespace"),
        )
    variants = root.data.get("variants")
    if not isinstance(variants, dict) or not variants:
        root.problems.add("expected a table of variants", at=root.at("variants"))
    # The reader of TOML, which has no null, would treat null as a missing key.
    for path in _nulls({key: root.data.get(key, {}) for key in _TABLES}):
        if path[0] != "providers" or len(path) != 3:  # optional keys of a provider may be null
            root.problems.add("null is not allowed here", at=root.at(*path))


def _nulls(table: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths of null in a table and its inner tables, up to the depth of the format."""
    for key, value in table.items():
        if value is None:
            yield *path, key
        elif isinstance(value, dict) and len(path) < _DEPTH:
            yield from _nulls(value, (*path, key))


def _load(content: bytes, at: str, limit: int) -> dict[str, Any]:
    if len(content) > limit:
        raise WheelError(
            f"variant metadata of {len(content)} bytes, over the limit of {limit}", at=at
        )
    try:
        document = json.loads(
            content.decode("utf-8"), object_pairs_hook=_table, parse_constant=refuse_constant
        )
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise WheelError(f"variant metadata is not JSON: {what}", at=at, hint=_HINT) from None
    if not isinstance(document, dict):
        raise WheelError(f"expected a table, found {type_name(document)}", at=at, hint=_HINT)
    return document


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = unique_keys(pairs)
    if max(map(len, table), default=0) > _MAX_KEY:
        raise ValueError(f"a key has more than {_MAX_KEY} letters")
    return table


_VARIANTS = b'"variants"'
_DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)


class SingleVariantDocument(NamedTuple):
    """A variant.json with one variant, split but not validated.

    Thousands of wheels have the same providers and priorities. Their documents differ in the last key,
    ``variants``, so the rest is parsed once.
    """

    label: str
    variant: Any
    head: bytes
    """The bytes in front of ``"variants"``, which is the last key."""


@lru_cache(maxsize=1024)
def parse_single_variant(content: bytes) -> SingleVariantDocument | None:
    """Split a document into its head and its only variant.

    Returns None if it is not JSON, does not end with ``variants`` (as the documents of all known tools do), or
    does not have exactly one variant.
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
