"""A variant: a set of properties, its hash and its label (PEP 825, "Variant label")."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from polywheel.errors import ConfigError
from polywheel.model.properties import VariantProperty

LABEL = re.compile(r"[0-9a-z_.]+")
NULL_LABEL = "null"
HASH_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Variant:
    """Sorted properties without repeats, and the label that stands for them in a filename."""

    properties: tuple[VariantProperty, ...]
    label: str

    @classmethod
    def of(
        cls,
        properties: Iterable[VariantProperty],
        label: str | None = None,
        *,
        at: str | None = None,
    ) -> Variant:
        """The variant of these properties; without a label, ``null`` or the hash stands for it.

        Raises ConfigError where the label breaks the pattern, or where ``null`` and "no
        properties" do not go together.
        """
        ordered = tuple(sorted(set(properties)))
        if label is None:
            label = variant_hash(ordered) if ordered else NULL_LABEL
        check_label(label, at=at)
        if ordered and label == NULL_LABEL:
            raise ConfigError(
                "the label 'null' is reserved for the variant without properties",
                at=at,
                hint="choose another label, or drop the properties",
            )
        if not ordered and label != NULL_LABEL:
            raise ConfigError(
                f"label {label!r} has no properties; that is the null variant, "
                "whose label is always 'null'",
                at=at,
            )
        return cls(ordered, label)

    @property
    def is_null(self) -> bool:
        return not self.properties

    @property
    def hash(self) -> str:
        return variant_hash(self.properties)

    @property
    def namespaces(self) -> frozenset[str]:
        return frozenset(prop.namespace for prop in self.properties)

    def by_namespace(self) -> dict[str, dict[str, list[str]]]:
        """``{namespace: {feature: [values, sorted]}}``, the shape of variant.json."""
        nested: dict[str, dict[str, list[str]]] = {}
        for prop in self.properties:
            nested.setdefault(prop.namespace, {}).setdefault(prop.feature, []).append(prop.value)
        return nested


def variant_hash(properties: Iterable[VariantProperty]) -> str:
    """First 8 hex digits of SHA-256 over the sorted properties, a newline after each (PEP 817)."""
    text = "".join(f"{prop}\n" for prop in sorted(set(properties)))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:HASH_DIGITS]


def check_label(label: str, *, at: str | None = None) -> None:
    """Raise ConfigError unless the label matches ``^[0-9a-z_.]+$``."""
    if not LABEL.fullmatch(label):
        raise ConfigError(
            f"malformed variant label {label!r}",
            at=at,
            hint="a label may hold a-z, 0-9, _ and . only, and not be empty",
        )
