"""Which variants fit a system, and in which order an installer tries them.

PEP 825, "Variant ordering". Nothing here asks anybody: what a system supports is given.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from polywheel.model.variant import ABI_DEPENDENCY, Variant, VariantProperty

SupportedValues = Mapping[str, Mapping[str, Sequence[str]]]
"""By namespace its features, best first, and by feature its values, best first."""

Rank = tuple[int, int, int]
"""The places of namespace, feature and value in their lists (step 5)."""

Ranks = Mapping[tuple[str, str, str], Rank]
"""The rank of every supported property, by its parts."""

_END: Rank = (sys.maxsize, 0, 0)
"""Behind the ranks of a variant: where one list begins another, the longer goes first (step 7)."""


@dataclass(frozen=True, slots=True)
class RankedVariant:
    """A variant, and how it stands to a system."""

    variant: Variant
    best: tuple[Rank, ...]
    """The rank of the best value of each feature, sorted (step 6); of those that are supported."""

    unsupported: tuple[tuple[VariantProperty, ...], ...] = ()
    """The features of which no value is supported, with all their values."""

    @property
    def fits(self) -> bool:
        """Whether at least one value of every feature is supported (PEP 825, "Variant properties")."""
        return not self.unsupported

    @property
    def sort_key(self) -> tuple[tuple[Rank, ...], str]:
        """Best first; by the label where nothing else tells two variants apart."""
        return (*self.best, _END), self.variant.label


def rank_properties(namespaces: Sequence[str], supported: SupportedValues) -> Ranks:
    """The rank of every supported property.

    ``namespaces`` is ``default-priorities.namespace``. A namespace that is not in it has no rank,
    so nothing of it is supported; but for the reserved one, which is not to be listed and comes
    after all others, as variantlib has it.
    """
    return {
        (namespace, feature, value): (first, second, third)
        for first, namespace in enumerate([*namespaces, ABI_DEPENDENCY])
        for second, (feature, values) in enumerate(supported.get(namespace, {}).items())
        for third, value in enumerate(values)
    }


def rank_variant(variant: Variant, known: Ranks) -> RankedVariant:
    """How a variant stands to the system whose ranks are ``known`` (steps 4 to 6)."""
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
    """The variants that fit, best first, and those that do not, by label.

    The null variant has no feature, so it is the last of those that fit.
    """
    fitting: list[RankedVariant] = []
    others: list[RankedVariant] = []
    for variant in variants:
        one = rank_variant(variant, known)
        (fitting if one.fits else others).append(one)
    fitting.sort(key=lambda one: one.sort_key)
    others.sort(key=lambda one: one.variant.label)
    return fitting, others
