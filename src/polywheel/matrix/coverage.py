"""The fewest jobs that have every value of the matrix: enough to build for a pull request.

A minimum set cover, found by branch and bound: take the value that the fewest jobs have, try each of
them, and give a branch up as soon as it can't be better than the best so far. That best is at first
what taking the job with most new values again and again gives, so there always is an answer; the
search ends, exact or not, after so many looks at a job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heapify, heapreplace

from polywheel.matrix.selection import narrowed
from polywheel.model.plan import NON_VARIANT, Job, Plan

LOOKS = 2_000_000
"""How often the search may look at a job: about a second."""
_DEEPEST = 500
"""Jobs of an answer that is searched to be bettered; Python goes not much deeper."""

Value = tuple[str, str]
"""What it is a value of, and the value."""


def values_of(job: Job) -> frozenset[Value]:
    """Every value that a job covers.

    All its Pythons and targets, since one wheel serves them; its axes; and its label where it has
    no axes: a declared variant, an include, the null variant, the non-variant wheel.
    """
    found = [("python", one) for one in job.pythons]
    found += [("target", one) for one in job.targets]
    found += [(f"axis {axis}", value) for axis, value in job.axes.items()]
    if not job.axes:
        found.append(("label", job.label or NON_VARIANT))
    return frozenset(found)


def pr_subset(plan: Plan, *, looks: int = LOOKS) -> Plan:
    """The plan with the fewest jobs that have every value which its jobs have."""
    chosen = smallest_cover([values_of(job) for job in plan.jobs], looks=looks)
    return narrowed(plan, {plan.jobs[number].id for number in chosen})


def smallest_cover(sets: Sequence[frozenset[Value]], *, looks: int = LOOKS) -> list[int]:
    """The fewest sets whose union is that of all, by their numbers in order.

    Where the search is cut short after ``looks``, more than the fewest. The same sets in the same
    order give the same answer.
    """
    values = sorted(set[Value]().union(*sets))
    bits = {value: 1 << number for number, value in enumerate(values)}
    kinds: dict[str, int] = {}
    for kind, name in values:
        kinds[kind] = kinds.get(kind, 0) | bits[kind, name]
    # Of equal sets the first stands for all.
    masks: dict[int, int] = {}
    for number, one in enumerate(sets):
        masks.setdefault(sum(bits[value] for value in one), number)
    search = _Search(list(masks), list(kinds.values()), looks)
    return sorted(masks[mask] for mask in search.found())


@dataclass(slots=True)
class _Search:
    """Sets and their values as bits."""

    masks: list[int]
    kinds: list[int]
    looks: int
    best: list[int] = field(default_factory=list)
    most: list[int] = field(default_factory=list)
    """For each kind, how many of its values one set may have."""

    having: dict[int, list[int]] = field(default_factory=dict)
    """For each value, the sets that have it."""

    def found(self) -> list[int]:
        everything = 0
        for mask in self.masks:
            everything |= mask
        self.most = [
            max((mask & kind).bit_count() for mask in self.masks) or 1 for kind in self.kinds
        ]
        for mask in self.masks:
            for bit in _bits(mask):
                self.having.setdefault(bit, []).append(mask)
        self.best = self._greedy(everything)
        if len(self.best) <= _DEEPEST:
            self._branch(everything, [])
        return self.best

    def _greedy(self, left: int) -> list[int]:
        taken = []
        # What a set has of the missing values gets less and less: so a set that still has what it
        # had, and comes first, is the one with most.
        waiting = [(-mask.bit_count(), number) for number, mask in enumerate(self.masks)]
        heapify(waiting)
        while left:
            before, number = waiting[0]
            new = self.masks[number] & left
            if new.bit_count() < -before:
                heapreplace(waiting, (-new.bit_count(), number))
                continue
            taken.append(self.masks[number])
            left &= ~new
        return taken

    def _at_least(self, left: int) -> int:
        """How many sets it takes at least: of some kind, values are left for so many."""
        return max(
            -(-(left & kind).bit_count() // most)
            for kind, most in zip(self.kinds, self.most, strict=True)
        )

    def _branch(self, left: int, taken: list[int]) -> None:
        if not left:
            self.best = list(taken)
            return
        if len(taken) + self._at_least(left) >= len(self.best) or self.looks <= 0:
            return
        rarest = min(_bits(left), key=lambda bit: len(self.having[bit]))
        for covered, mask in self._choices(rarest, left):
            taken.append(mask)
            self._branch(left & ~covered, taken)
            taken.pop()
            if self.looks <= 0 or len(taken) + self._at_least(left) >= len(self.best):
                return

    def _choices(self, bit: int, left: int) -> list[tuple[int, int]]:
        """What of the missing values each set with this one has, most first, and the set.

        What a set brings that another brings with more besides is no choice.
        """
        new: dict[int, int] = {}
        for mask in self.having[bit]:
            new.setdefault(mask & left, mask)
        self.looks -= len(self.having[bit])
        kept: list[tuple[int, int]] = []
        for covered, mask in sorted(new.items(), key=lambda one: -one[0].bit_count()):
            self.looks -= 1 + len(kept) // 8
            if not any(covered & other == covered for other, _ in kept):
                kept.append((covered, mask))
        return kept


def _bits(mask: int) -> list[int]:
    """Every bit of a number by itself, lowest first."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low)
        mask ^= low
    return found
