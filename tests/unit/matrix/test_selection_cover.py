"""The smallest set of jobs that has every value."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polywheel.matrix.selection import Value, pr_subset, smallest_cover, values_of
from polywheel.model.plan import Plan
from support.plans import HEAD, expanded, job, plan_of, plans

SETS = st.lists(
    st.frozensets(
        st.tuples(st.sampled_from("ab"), st.sampled_from("1234567")), min_size=1, max_size=5
    ),
    min_size=1,
    max_size=11,
)


def everything(plan: Plan) -> set[Value]:
    return {value for one in plan.jobs for value in values_of(one)}


@given(plans(), st.sampled_from([0, 1, 50, 2_000_000]))
@settings(deadline=None)
def test_every_value_is_covered_however_short_the_search(plan: Plan, looks: int) -> None:
    found = pr_subset(plan, max_steps=looks)
    assert everything(found) == everything(plan)
    assert {one.id for one in found.jobs} <= {one.id for one in plan.jobs}
    assert pr_subset(plan, max_steps=looks) == found


@given(SETS)
@settings(deadline=None, max_examples=200)
def test_no_smaller_cover_exists(sets: list[frozenset[Value]]) -> None:
    found = smallest_cover(sets)
    wanted = frozenset[Value]().union(*sets)
    assert frozenset[Value]().union(*(sets[number] for number in found)) == wanted
    for some in combinations(sets, len(found) - 1):
        assert frozenset[Value]().union(*some) != wanted


def test_it_is_fewer_than_taking_the_best_again_and_again() -> None:
    """Where greed takes the four in the middle first, and then needs two more."""

    def numbers(*several: int) -> frozenset[Value]:
        return frozenset(("n", str(number)) for number in several)

    sets = [numbers(2, 3, 5, 6), numbers(1, 2, 3), numbers(4, 5, 6)]
    assert smallest_cover(sets, max_steps=0) == [0, 1, 2]
    assert smallest_cover(sets) == [1, 2]


def test_a_product_takes_as_many_jobs_as_its_longest_axis_has_values() -> None:
    cells = product("abcdefg", "xyz", ("3.11", "3.12", "3.13"), ("linux", "windows"))
    plan = plan_of(
        *(
            [job(f"{one}{other}", python, target, axes={"one": one, "other": other})]
            for one, other, python, target in cells
        )
    )
    assert len(plan.jobs) == 126
    assert len(pr_subset(plan).jobs) == 7


def test_one_wheel_for_several_pythons_covers_them_all() -> None:
    several = job("v1", "3.11", axes={"level": "v1"}, also=["3.12", "3.13"])
    plan = plan_of([several], [job("v1", "3.13t", axes={"level": "v1"})])
    assert len(pr_subset(plan).jobs) == 2
    assert pr_subset(plan_of([several])).jobs == plan_of([several]).jobs


def test_what_has_no_axes_is_covered_by_its_label(tmp_path: Path) -> None:
    plan = expanded(tmp_path)
    found = {one.label for one in pr_subset(plan).jobs if not one.axes}
    assert found == {None, "null", "v4"}
    declared = "[variant.variants.one]\ncpu.level = ['v1']\n[variant.variants.two]\n"
    declared += "cpu.level = ['v2']\n[tool.polywheel.matrix]\npython = ['3.11', '3.12', '3.13']\n"
    declared += "wheel-tag = 'python'\n"
    plan = expanded(tmp_path, HEAD + declared)
    found = {one.label for one in pr_subset(plan).jobs}
    assert found == {"one", "two"}
    assert {one.python for one in pr_subset(plan).jobs} == {"3.11", "3.12", "3.13"}


def test_builds_of_the_subset_hold_its_jobs(tmp_path: Path) -> None:
    found = pr_subset(expanded(tmp_path))
    assert sorted(name for one in found.builds for name in one.jobs) == sorted(
        one.id for one in found.jobs
    )


@pytest.mark.parametrize("count", [10, 200])
def test_a_search_that_is_cut_short_ends(count: int) -> None:
    """Sets as hard as they come: triples of a large ground set."""
    names = [("n", str(number)) for number in range(count)]
    sets = [
        frozenset(
            {names[number], names[(number * 7 + 3) % count], names[(number * 11 + 5) % count]}
        )
        for number in range(count)
    ]
    found = smallest_cover(sets, max_steps=20_000)
    assert frozenset[Value]().union(*(sets[number] for number in found)) == {*names}
