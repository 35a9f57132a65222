"""Stale wheels of an output directory: according to the plan, the journal, and the run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from polywheel.model.matrix import Target
from polywheel.model.plan import Job, Plan
from polywheel.run.journal import Entry, open_journal
from polywheel.run.stale_wheels import FullPlan, StaleWheel, find_outdated, find_stale, prune
from polywheel.system.files import sha256_of
from support.plans import job, plan_of

LINUX, MACOS = "linux-x86_64", "macos-arm64"


def plan(*jobs: Job) -> Plan:
    found = plan_of(*([one] for one in jobs))
    tags = {LINUX: ("linux_x86_64", "manylinux*_x86_64"), MACOS: ("macosx_*_arm64",)}
    targets = {name: Target(name=name, platform_tags=tags[name]) for name in found.targets}
    return replace(found, targets=targets)


def name(label: str | None, tag: str = "cp312-cp312-linux_x86_64", version: str = "1.0") -> str:
    return f"demo-{version}-{tag}{f'-{label}' if label else ''}.whl"


def stale(
    out: Path,
    journal: Sequence[tuple[Job, str]],
    *jobs: Job,
    made: Sequence[str],
    complete: bool = False,
    labels: Collection[str | None] | None = (),
    foreign: Sequence[str] = (),
) -> dict[str, str]:
    """Why wheels are stale, by name; ``journal`` has who made which file, the newest line last."""
    with open_journal(out) as opened:
        for maker, file in journal:
            (out / file).write_text(f"{maker.id} {file}", encoding="utf-8")
            digest = sha256_of(out / file)
            opened.add(Entry(job=maker.id, key="k", file=file, sha256=digest, seconds=1.0))
        for file in foreign:
            (out / file).touch()
        planned = FullPlan(plan=plan(*jobs), complete=complete, labels=lambda: labels)
        found = find_stale(out, opened, planned, made)
    assert all(one.own == (one.file not in foreign) for one in found)
    return {one.file: one.why for one in found}


V3, OLD, PLAIN = job("v3"), job("old"), job(None)


def test_labels(tmp_path: Path) -> None:
    there = [(V3, name("v3")), (OLD, name("old")), (PLAIN, name(None))]
    assert stale(tmp_path, there, V3, made=[name("v3")]) == {
        name("old"): "no variant 'old' is planned",
        name(None): "no non-variant wheel is planned",
    }


def test_labels_of_other_machines_are_planned(tmp_path: Path) -> None:
    there = [(V3, name("v3")), (OLD, name("old"))]
    assert stale(tmp_path, there, V3, made=[name("v3")], labels={"old"}) == {}
    assert stale(tmp_path, there, V3, made=[name("v3")], labels=None) == {}


def test_nothing_is_stale_where_the_release_is_not_known(tmp_path: Path) -> None:
    there = [(V3, name("v3")), (OLD, name("old"))]
    assert stale(tmp_path, there, V3, made=[]) == {}


def test_another_version_or_project_is_another_release(tmp_path: Path) -> None:
    there = [(V3, name("v3")), (OLD, name("old", version="0.9")), (OLD, "x-1.0-py3-none-any-a.whl")]
    assert stale(tmp_path, there, V3, made=[name("v3")]) == {}
    there = [(OLD, name("old", version="1.0.0"))]
    assert list(stale(tmp_path, there, V3, made=[name("v3")])) == [name("old", version="1.0.0")]


def test_a_job_that_makes_another_file_now(tmp_path: Path) -> None:
    """It is repaired since, say."""
    repaired = name("v3", "cp312-cp312-manylinux_2_28_x86_64")
    there = [(V3, name("v3")), (V3, repaired)]
    assert stale(tmp_path, there, V3, made=[repaired]) == {
        name("v3"): f"{V3.id} makes {repaired} now"
    }


def test_a_job_that_is_gone(tmp_path: Path) -> None:
    there = [(V3, name("v3")), (job("v3", "3.11"), name("v3", "cp311-cp311-linux_x86_64"))]
    assert stale(tmp_path, there, V3, made=[name("v3")]) == {}
    assert stale(tmp_path, there, V3, made=[name("v3")], complete=True) == {
        name("v3", "cp311-cp311-linux_x86_64"): f"no job {LINUX}-cp311-v3 is planned"
    }


def test_a_job_that_another_one_takes_the_place_of(tmp_path: Path) -> None:
    """The wheels were for all Pythons, and are for each now."""
    everywhere = replace(V3, id="any-py3-v3")
    there = [(everywhere, name("v3", "py3-none-any")), (V3, name("v3"))]
    assert stale(tmp_path, there, V3, made=[name("v3")]) == {
        name("v3", "py3-none-any"): f"v3 is in {name('v3')} now"
    }
    mac = job("v3", target=MACOS)
    there = [(mac, name("v3", "cp312-cp312-macosx_11_0_arm64")), (V3, name("v3"))]
    assert stale(tmp_path / "other", there, V3, made=[name("v3")]) == {}


def test_what_polywheel_did_not_make(tmp_path: Path) -> None:
    foreign = [name("strange"), name("v3", "cp311-cp311-linux_x86_64"), name(None)]
    found = stale(tmp_path, [(V3, name("v3"))], V3, made=[name("v3")], foreign=foreign)
    assert found == {name("strange"): "no variant 'strange' is planned"}


def test_prune(tmp_path: Path) -> None:
    (tmp_path / "a.whl").touch()
    (tmp_path / "b.whl").touch()
    own = StaleWheel(file="a.whl", why="gone", own=True)
    others = StaleWheel(file="b.whl", why="gone", own=False)
    absent = StaleWheel(file="c.whl", why="gone", own=True)
    found = prune(tmp_path, [own, others, absent])
    assert [one.removed for one in found] == [True, False, False]
    assert found[2].why.startswith("gone; it can't be removed: ")
    assert [path.name for path in tmp_path.iterdir()] == ["b.whl"]


def test_wheels_of_jobs_that_made_no_new_one(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        for maker, file in ((V3, name("v3")), (OLD, name("old"))):
            (tmp_path / file).write_text(file, encoding="utf-8")
            digest = sha256_of(tmp_path / file)
            journal.add(Entry(job=maker.id, key="k", file=file, sha256=digest, seconds=1.0))
        (tmp_path / name("old")).write_text("changed since", encoding="utf-8")
        found = find_outdated(journal, [V3.id, OLD.id, PLAIN.id])
    assert [(one.file, one.own) for one in found] == [(name("v3"), True)]
    assert "from an earlier run" in found[0].why
