"""variant.json (PEP 825, "Variant metadata"; draft PEP on providers, "Provider information")."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from polywheel.errors import ConfigError
from polywheel.model.metadata import Provider, VariantMetadata
from polywheel.model.variant import Variant

SCHEMA = "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json"
SCHEMA_WITHOUT_PROVIDERS = "https://variants-schema.wheelnext.dev/peps/825/v0.1.1.json"


def variant_json(variant: Variant, metadata: VariantMetadata) -> bytes:
    """The file for a wheel of this variant; the same input gives the same bytes.

    Raises ConfigError where no namespace is declared (PEP 825: the list must not be empty), or
    where a provider can't be written into a wheel.
    """
    if not metadata.namespaces:
        raise ConfigError(
            "a variant wheel needs at least one namespace, and none is declared",
            at="pyproject.toml: variant.default-priorities.namespace",
            hint="declare the namespaces of this project's variants and their providers",
        )
    return variant_document(metadata, [variant])


def variant_document(
    metadata: VariantMetadata, variants: Iterable[Variant], *, indent: int | None = 4
) -> bytes:
    """The JSON that a wheel and an index share: namespaces, providers, and these variants.

    The same input gives the same bytes, in one line where ``indent`` is None. Raises ConfigError
    where a provider can't be written.
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
