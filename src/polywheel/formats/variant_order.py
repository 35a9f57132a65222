"""Which variants a system supports, and the order in which an installer tries them.

PEP 825, "Variant ordering". The supported properties of the system are an input.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from polywheel.model.variant import ABI_DEPENDENCY, Variant, VariantProperty

SupportedValues = Mapping[str, Mapping[str, Sequence[str]]]
"""By namespace its features, best first, and by feature its values, best first."""

Rank = tuple[int, int, int]
"""The positions of namespace, feature, and value in their lists (step 5)."""

Ranks = Mapping[tuple[str, str, str], Rank]
"""The rank of every supported property, by its parts."""

_END: Rank = (sys.maxsize, 0, 0)
"""The end of the ranks of a variant: if one list begins with another, the longer is first (step 7)."""


@dataclass(frozen=True, slots=True)
class RankedVariant:
    """A variant and its ranks on a system."""

    variant: Variant
    best: tuple[Rank, ...]
    """The rank of the best supported value of each supported feature, sorted (step 6)."""

    unsupported: tuple[tuple[VariantProperty, ...], ...] = ()
    """The features without a supported value, with all their values."""

    @property
    def fits(self) -> bool:
        """Whether at least one value of every feature is supported (PEP 825, "Variant properties")."""
        return not self.unsupported

    @property
    def sort_key(self) -> tuple[tuple[Rank, ...], str]:
        """Sorts the best variant first. Variants of equal rank are sorted by label."""
        return (*self.best, _END), self.variant.label


def rank_properties(namespaces: Sequence[str], supported: SupportedValues) -> Ranks:
    """Return the rank of every supported property.

    ``namespaces`` is ``default-priorities.namespace``. Other namespaces have no rank, so their properties
    are not supported. The exception is the reserved namespace, which must not be listed and comes last, as
    in variantlib.
    """
    return {
        (namespace, feature, value): (first, second, third)
        for first, namespace in enumerate([*namespaces, ABI_DEPENDENCY])
        for second, (feature, values) in enumerate(supported.get(namespace, {}).items())
        for third, value in enumerate(values)
    }


def rank_variant(variant: Variant, known: Ranks) -> RankedVariant:
    """Rank a variant on the system whose ranks are ``known`` (steps 4 to 6)."""
    best: dict[tuple[str, str], Rank | None] = {}
    for prop in variant.properties:
        feature = prop.namespace, prop.feature
        rank = known.get((*feature, prop.value))
        so_far = best.get(feature)
        if rank is None or (so_far is not None and so_far < rank):
            best.setdefault(feature, None)
        else:
            best[feature] = rank
    unsupported = tuple(
        tuple(prop for prop in variant.properties if (prop.namespace, prop.feature) == feature)
        for feature, rank in best.items()
        if rank is None
    )
    return RankedVariant(
        variant, tuple(sorted(rank for rank in best.values() if rank is not None)), unsupported
    )


def sort_variants(
    variants: Iterable[Variant], known: Ranks
) -> tuple[list[RankedVariant], list[RankedVariant]]:
    """Return the supported variants, best first, and the unsupported variants, by label.

    The null variant has no feature, so it is the last supported variant.
    """
    fitting: list[RankedVariant] = []
    others: list[RankedVariant] = []
    for variant in variants:
        ranked = rank_variant(variant, known)
        (fitting if ranked.fits else others).append(ranked)
    fitting.sort(key=lambda ranked: ranked.sort_key)
    others.sort(key=lambda ranked: ranked.variant.label)
    return fitting, others
