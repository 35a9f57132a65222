"""The overrides that select a job, found with few comparisons: a big matrix has thousands of jobs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import translate

from polywheel.model.matrix import PLATFORM_KEYS, Override, Selector

_SPECIAL = re.compile(r"[*?\[\]]")


class OverrideIndex:
    """Overrides by the globs and values that select jobs."""

    def __init__(self, overrides: Sequence[Override]) -> None:
        self._overrides = overrides
        self._by_glob: dict[str, list[int]] = {}
        self._by_value: dict[tuple[str, str] | None, list[int]] = {}
        for number, override in enumerate(overrides):
            for glob in override.select.globs:
                self._by_glob.setdefault(glob, []).append(number)
            if not override.select.globs:
                for value in _index_values(override.select):
                    self._by_value.setdefault(value, []).append(number)
        self._globs = _GlobIndex(self._by_glob)
        self._by_label: dict[str, tuple[str, ...]] = {}
        """The globs that match a label, which many jobs have in common."""
        self._matched = set[int]()
        self._matched_globs = set[str]()
        self._listed = {
            number: keys
            for number, override in enumerate(overrides)
            if (keys := [key for key, values in override.select.values.items() if len(values) > 1])
        }
        """The keys with several values, by the number of the override."""
        self._matched_values = set[tuple[int, str, str]]()

    def selected_by(
        self, label: str, identifier: str, values: Mapping[str, str]
    ) -> tuple[Override, ...]:
        """Return the overrides that select a job, in their order.

        ``values`` are those of axes, ``python``, ``target``, and ``label``.
        """
        if label not in self._by_label:
            self._by_label[label] = tuple(self._globs.matching(label))
        globs = (*self._by_label[label], *self._globs.matching(identifier))
        numbers = {number for glob in globs for number in self._by_glob[glob]}
        self._matched_globs.update(globs)
        for value in (None, *values.items()):
            for number in self._by_value.get(value, ()):
                if _has_values(self._overrides[number].select, values):
                    numbers.add(number)
        self._matched |= numbers
        for number in self._listed.keys() & numbers:
            self._matched_values.update((number, key, values[key]) for key in self._listed[number])
        return tuple(self._overrides[number] for number in sorted(numbers))

    def unused(self) -> list[tuple[Override, int | None]]:
        """Return the overrides that selected no job so far, and the globs that did so, by their number."""
        unused: list[tuple[Override, int | None]] = []
        for number, override in enumerate(self._overrides):
            if number not in self._matched:
                unused.append((override, None))
            else:
                globs = enumerate(override.select.globs)
                unused += [(override, n) for n, glob in globs if glob not in self._matched_globs]
        return unused

    def unused_values(self) -> Iterator[tuple[Override, tuple[str, str]]]:
        """Yield the keys and values that no job has of those that their override selected so far."""
        for number in sorted(self._listed.keys() & self._matched):
            override = self._overrides[number]
            for key in self._listed[number]:
                for value in override.select.values[key]:
                    if (number, key, value) not in self._matched_values:
                        yield override, (key, value)


class _GlobIndex:
    """Globs by the text before their first and after their last wildcard."""

    def __init__(self, globs: Iterable[str]) -> None:
        self._by_ends: dict[
            tuple[int, int], dict[tuple[str, str], list[tuple[str, Callable[[str], object]]]]
        ] = {}
        """By the lengths of both texts, then by both texts."""
        for glob in globs:
            special = [match.start() for match in _SPECIAL.finditer(glob)]
            start, end = (glob[: special[0]], glob[special[-1] + 1 :]) if special else (glob, "")
            matches = re.compile(translate(glob)).match if special else glob.__eq__
            by_text = self._by_ends.setdefault((len(start), len(end)), {})
            by_text.setdefault((start, end), []).append((glob, matches))

    def matching(self, name: str) -> Iterator[str]:
        """Yield the globs that match a name, as ``fnmatchcase`` does."""
        for (start, end), by_text in self._by_ends.items():
            ends = (name[:start], name[len(name) - end :] if end <= len(name) else "")
            for glob, matches in by_text.get(ends, ()):
                if matches(name):
                    yield glob


def _index_values(select: Selector) -> Iterator[tuple[str, str] | None]:
    """The values by which an override is found, all for the same key."""
    # Labels distinguish most jobs, and platforms the fewest.
    keys = sorted(select.values, key=lambda key: (key in PLATFORM_KEYS, key != "label", key))
    if not keys:
        yield None
        return
    for value in dict.fromkeys(select.values[keys[0]]):
        yield keys[0], value


def _has_values(select: Selector, values: Mapping[str, str]) -> bool:
    return all(values.get(key) in allowed for key, allowed in select.values.items())
