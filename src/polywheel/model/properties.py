"""Variant features and properties (PEP 825, "Variant properties")."""

from __future__ import annotations

import re
from dataclasses import dataclass

from polywheel.errors import ConfigError

NAMESPACE = re.compile(r"[a-z0-9_]+")
FEATURE = NAMESPACE
VALUE = re.compile(r"[a-z0-9_.]+")

ABI_DEPENDENCY = "abi_dependency"
"""The reserved namespace that no provider governs (draft PEP on providers, "ABI Dependency")."""

# One to three components of a release segment, as `=={value}.*` compares them.
ABI_VALUE = re.compile(r"[0-9]+(\.[0-9]+){0,2}")


@dataclass(frozen=True, order=True, slots=True)
class VariantFeature:
    """``namespace :: feature``, both matching ``^[a-z0-9_]+$``."""

    namespace: str
    feature: str

    def __str__(self) -> str:
        return f"{self.namespace} :: {self.feature}"

    @classmethod
    def parse(cls, text: str, *, at: str | None = None) -> VariantFeature:
        """Read ``ns::feature``, blanks around ``::`` optional. Raises ConfigError."""
        namespace, feature = _parts(text, ("namespace", "feature"), at)
        return cls(namespace, feature)


@dataclass(frozen=True, order=True, slots=True)
class VariantProperty:
    """``namespace :: feature :: value``; the value matches ``^[a-z0-9_.]+$``."""

    namespace: str
    feature: str
    value: str

    def __str__(self) -> str:
        return f"{self.namespace} :: {self.feature} :: {self.value}"

    @classmethod
    def parse(cls, text: str, *, at: str | None = None) -> VariantProperty:
        """Read ``ns::feature::value``, blanks around ``::`` optional. Raises ConfigError."""
        namespace, feature, value = _parts(text, ("namespace", "feature", "value"), at)
        return cls(namespace, feature, value)


_PATTERNS = {"namespace": NAMESPACE, "feature": FEATURE, "value": VALUE}


def _parts(text: str, names: tuple[str, ...], at: str | None) -> list[str]:
    expected = " :: ".join(names)
    kind = "property" if len(names) == 3 else "feature"
    parts = [part.strip(" \t") for part in text.split("::")]
    if len(parts) != len(names):
        raise ConfigError(
            f"malformed variant {kind} {text!r}", at=at, hint=f"expected '{expected}'"
        )
    for name, part in zip(names, parts, strict=True):
        if not _PATTERNS[name].fullmatch(part):
            allowed = "a-z, 0-9 and _" + (" and ." if name == "value" else "")
            raise ConfigError(
                f"malformed variant {kind} {text!r}: the {name} {part!r} "
                f"may hold {allowed} only, and not be empty",
                at=at,
                hint=f"expected '{expected}' in lower case",
            )
    return parts
