"""The overrides that select a job: the same as a comparison with each of them, and faster."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from polywheel.matrix.override_index import OverrideIndex
from polywheel.model.matrix import Override, Selector

_TEXTS = st.text("ab-]", max_size=5)
_GLOBS = st.text("ab-*?[]!", min_size=1, max_size=6)
_KEYS = st.sampled_from(["python", "target", "label", "axis"])
_SELECTORS = st.builds(
    lambda globs: Selector(globs=tuple(globs)), st.lists(_GLOBS, min_size=1, max_size=3)
) | st.builds(
    lambda values: Selector(values={key: tuple(texts) for key, texts in values.items()}),
    st.dictionaries(_KEYS, st.lists(_TEXTS, min_size=1, max_size=3), max_size=3),
)


def overrides_of(*selectors: Selector) -> list[Override]:
    return [Override(select=select, at=str(number)) for number, select in enumerate(selectors)]


def is_selected(select: Selector, label: str, identifier: str, values: Mapping[str, str]) -> bool:
    if select.globs:
        return any(fnmatchcase(name, glob) for glob in select.globs for name in (label, identifier))
    return all(values.get(key) in texts for key, texts in select.values.items())


@given(
    st.lists(_SELECTORS, max_size=5),
    st.lists(st.tuples(_TEXTS, _TEXTS, st.dictionaries(_KEYS, _TEXTS)), max_size=5),
)
def test_overrides_and_unused_globs(
    selectors: list[Selector], jobs: list[tuple[str, str, dict[str, str]]]
) -> None:
    overrides = overrides_of(*selectors)
    index = OverrideIndex(overrides)
    for job in jobs:
        expected = [one for one in overrides if is_selected(one.select, *job)]
        assert [*index.selected_by(*job)] == expected
    unused: list[tuple[Override, int | None]] = []
    for one in overrides:
        if not any(is_selected(one.select, *job) for job in jobs):
            unused.append((one, None))
            continue
        for number, glob in enumerate(one.select.globs):
            if not any(is_selected(Selector(globs=(glob,)), *job) for job in jobs):
                unused.append((one, number))
    assert index.unused() == unused


def calls_for(selectors: list[Selector]) -> int:
    """The number of calls for 100 jobs."""
    index, calls = OverrideIndex(overrides_of(*selectors)), 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event.endswith("call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for number in range(100):
            label, identifier = f"n{number}_cuda", f"linux-x86_64-cp312-n{number}_cuda"
            index.selected_by(label, identifier, {"n": str(number), "label": label})
    finally:
        sys.setprofile(before)
    return calls


def test_a_job_is_compared_with_few_overrides() -> None:
    for kinds in (
        [Selector(globs=(f"n{number}_*",)) for number in range(200)],
        [Selector(globs=(f"*-n{number}_cuda",)) for number in range(200)],
        [Selector(globs=(f"n{number}_cuda",)) for number in range(200)],
        [Selector(values={"n": (str(number),)}) for number in range(200)],
    ):
        assert calls_for(kinds) < 2 * calls_for(kinds[:1]) + 1000
