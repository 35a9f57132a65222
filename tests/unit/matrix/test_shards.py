"""Shards and packs: complete, without repetition or split builds, balanced, reproducible."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polywheel.errors import ConfigError
from polywheel.matrix.shards import Shard, build_seconds, pack, read_durations, shard
from polywheel.model.plan import Plan
from support.plans import job, plan_of, plans

TIMES = st.floats(0, 10_000, allow_nan=False)


def shards(plan: Plan, count: int, seconds: dict[str, float]) -> list[Plan]:
    return [shard(plan, Shard(number, count), seconds) for number in range(1, count + 1)]


@st.composite
def timed(draw: st.DrawFn) -> tuple[Plan, dict[str, float]]:
    """A plan, and how long some of its jobs took."""
    plan = draw(plans())
    ids = [one.id for one in plan.jobs]
    return plan, draw(st.dictionaries(st.sampled_from(ids), TIMES))


@given(timed(), st.integers(1, 9))
@settings(deadline=None)
def test_shards_are_a_partition_that_splits_no_build(
    what: tuple[Plan, dict[str, float]], count: int
) -> None:
    plan, seconds = what
    found = shards(plan, count, seconds)
    builds = [build for one in found for build in one.builds]
    assert sorted(builds, key=lambda one: one.id) == sorted(plan.builds, key=lambda one: one.id)
    assert sorted(job.id for one in found for job in one.jobs) == sorted(
        job.id for job in plan.jobs
    )


@given(timed(), st.integers(1, 9))
@settings(deadline=None)
def test_no_shard_has_more_to_do_than_the_least_busy_by_over_a_build(
    what: tuple[Plan, dict[str, float]], count: int
) -> None:
    plan, seconds = what
    weights = build_seconds(plan, seconds)
    loads = [sum(weights[one.id] for one in share.builds) for share in shards(plan, count, seconds)]
    assert max(loads) - min(loads) <= max(weights.values()) + 1e-6


@given(timed(), st.integers(1, 9), st.randoms())
@settings(deadline=None)
def test_the_order_of_a_plan_does_not_matter(
    what: tuple[Plan, dict[str, float]], count: int, random: object
) -> None:
    plan, seconds = what
    builds = list(plan.builds)
    random.shuffle(builds)  # type: ignore[attr-defined]
    for one, other in zip(
        shards(plan, count, seconds),
        shards(replace(plan, builds=tuple(builds)), count, dict(reversed(seconds.items()))),
        strict=True,
    ):
        assert one == other


def test_the_longest_go_first() -> None:
    groups = [[job(f"v{number}")] for number in range(5)]
    plan = plan_of(*groups)
    seconds = {f"linux-x86_64-cp312-v{n}": s for n, s in enumerate((5.0, 4.0, 3.0, 3.0, 3.0))}
    found = shards(plan, 2, seconds)
    assert [[one.label for one in share.jobs] for share in found] == [
        ["v0", "v3"],
        ["v1", "v2", "v4"],
    ]


def test_without_a_report_shards_differ_by_one_build_at_most() -> None:
    plan = plan_of(*([job(f"v{number}"), job(f"w{number}")] for number in range(10)))
    assert [len(one.builds) for one in shards(plan, 4, {})] == [3, 3, 2, 2]


def test_builds_that_take_no_time_are_shared_out_too() -> None:
    plan = plan_of(*([job(f"v{number}")] for number in range(6)))
    zero = {one.id: 0.0 for one in plan.jobs}
    assert [len(one.builds) for one in shards(plan, 3, zero)] == [2, 2, 2]


def test_a_build_is_as_long_as_its_jobs_and_an_unknown_one_as_the_median() -> None:
    plan = plan_of([job("v1"), job("v2")], [job("v3")], [job("v4")], [job("v5")])
    seconds = {"v1": 10.0, "v2": 1.0, "v3": 2.0, "v4": 6.0}
    found = build_seconds(plan, {f"linux-x86_64-cp312-{key}": one for key, one in seconds.items()})
    assert [*found.values()] == [11, 2, 6, 6]


def test_more_shards_than_builds_leave_some_empty() -> None:
    found = shards(plan_of([job("v1")]), 3, {})
    assert [len(one.jobs) for one in found] == [1, 0, 0]
    assert found[1].builds == ()


@pytest.mark.parametrize(
    "text", ["", "1", "0/2", "3/2", "1/0", "a/b", "1/2/3", "-1/2", "1/²", "٣/٤"]
)
def test_a_malformed_shard_is_told_the_form(text: str) -> None:
    with pytest.raises(ConfigError, match="expected I/N"):
        Shard.parse(text)


@given(timed(), st.integers(3, 20))
@settings(deadline=None)
def test_packs_are_a_partition_of_few_enough_each_of_one_target(
    what: tuple[Plan, dict[str, float]], most: int
) -> None:
    plan, seconds = what
    packs = pack(plan, most, seconds)
    assert len(packs) == min(most, len(plan.builds))
    assert sorted((one for pack in packs for one in pack.builds), key=lambda one: one.id) == sorted(
        plan.builds, key=lambda one: one.id
    )
    places = {(one.target, one.python) for one in plan.builds}
    for one in packs:
        assert {build.target for build in one.builds} == {one.target}
        assert len(one.pythons) == 1 or len(places) > most


def test_more_packs_go_where_there_is_more_to_do() -> None:
    slow = [[job(f"v{number}", target="a")] for number in range(6)]
    fast = [[job(f"v{number}", target="b")] for number in range(6)]
    plan = plan_of(*slow, *fast)
    seconds = {one.id: 90.0 if one.target == "a" else 10.0 for one in plan.jobs}
    packs = pack(plan, 4, seconds)
    assert [(one.target, len(one.builds)) for one in packs] == [
        *(("a", 2), ("a", 2), ("a", 2), ("b", 6)),
    ]


def test_more_targets_than_packs_is_an_error() -> None:
    plan = plan_of(*([job(f"v{n}", target=name)] for name in "abc" for n in range(2)))
    assert len(pack(plan, 3, {})) == 3
    with pytest.raises(ConfigError, match="3 targets and images do not fit into 2 jobs"):
        pack(plan, 2, {})


def written(folder: Path, document: object) -> Path:
    path = folder / "report.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_durations_are_read_and_the_rest_of_a_report_left_alone(tmp_path: Path) -> None:
    jobs = [
        {"id": "a", "seconds": 1.5, "outcome": "built"},
        {"id": "b", "seconds": 2},
        {"id": "c", "outcome": "skipped"},
        {"id": "d", "seconds": None},
    ]
    path = written(tmp_path, {"shape": 1, "jobs": jobs, "machine": {"cores": 2}})
    assert read_durations(path) == {"a": 1.5, "b": 2.0}


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ([], "expected a table, found a list"),
        ({"jobs": []}, "shape is missing"),
        ({"shape": 7, "jobs": []}, "expected the shape 1"),
        ({"shape": 1}, "jobs is missing"),
        ({"shape": 1, "jobs": [7]}, "expected a table, found 7"),
        ({"shape": 1, "jobs": [{"seconds": 1}]}, "id is missing"),
        ({"shape": 1, "jobs": [{"id": 1, "seconds": 1}]}, "expected a string, found 1"),
        ({"shape": 1, "jobs": [{"id": "a", "seconds": "1"}]}, "expected a number"),
        ({"shape": 1, "jobs": [{"id": "a", "seconds": -1}]}, "expected seconds, found -1"),
        ({"shape": 1, "jobs": [{"id": "a", "seconds": 1e999}]}, "is not a JSON value"),
        ({"shape": 1, "jobs": [{"id": "a", "seconds": 1}] * 2}, "is listed twice"),
    ],
)
def test_a_report_of_another_shape_is_refused(document: object, what: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_durations(written(tmp_path, document))
    assert what in caught.value.render()
    assert "report.json" in caught.value.render()


@pytest.mark.parametrize("number", ["1e999", "9" * 4000])
def test_a_number_that_overflows_is_no_duration(number: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    text = f'{{"shape": 1, "jobs": [{{"id": "a", "seconds": {number}}}]}}'
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_durations(path)
    assert caught.value.problems[0].at == f"{path}: jobs[0].seconds"
