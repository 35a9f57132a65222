"""``polywheel index --release``: a plan or reports say which wheels belong to the release."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polywheel.cli import index
from polywheel.errors import ConfigError
from polywheel.matrix.plan_json import plan_as_json
from polywheel.model.matrix import Target
from polywheel.model.plan import Job
from polywheel.model.variant import VariantProperty
from support.index_wheels import MKL, V1, V2, listing, variant, write_wheel
from support.plans import job, plan_of

TAG = "cp312-cp312-linux_x86_64"
ONE, TWO = variant("one", V1), variant("two", V2)
OLD = variant("old", V1, MKL)


def planned(label: str | None, *properties: str, python: str = "3.12") -> Job:
    parsed = tuple(map(VariantProperty.parse, properties))
    return replace(job(label, python), properties=parsed)


def write_plan(path: Path, *jobs: Job) -> Path:
    plan = plan_of(*([one] for one in jobs))
    targets = {
        name: Target(name=name, platform_tags=("linux_x86_64",), at="") for name in plan.targets
    }
    plan = replace(plan, namespaces=("x86_64", "blas"), targets=targets)
    path.write_text(json.dumps(plan_as_json(plan)), encoding="utf-8")
    return path


def write_report(path: Path, *wheels: Path, states: Mapping[str, str] | None = None) -> Path:
    """A report of these wheels, and of jobs without one."""
    none = {"label": "x", "properties": [], "pythons": [], "targets": [], "build": "b", "size": 1}
    jobs = [
        {
            **none,
            "id": f"job-of-{wheel.name}",
            "state": "built",
            "file": wheel.name,
            "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
            "seconds": 1.0,
        }
        for wheel in wheels
    ]
    jobs += [
        {**none, "id": name, "state": state, "file": None, "sha256": None, "seconds": None}
        for name, state in (states or {}).items()
    ]
    document = {"shape": 1, "project": "demo", "exit-code": 0, "builds": [], "jobs": jobs}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """Two wheels of a release, one that is stale, and what has nothing to do with it."""
    folder = tmp_path / "dist"
    write_wheel(folder, ONE, tag=TAG)
    write_wheel(folder, TWO, tag=TAG)
    write_wheel(folder, OLD, tag=TAG)
    write_wheel(folder, ONE, tag=TAG, version="0.9")
    write_wheel(folder, ONE, tag=TAG, name="other")
    for sdist in ("demo-1.0.tar.gz", "demo-0.9.tar.gz"):
        (folder / sdist).write_bytes(b"")
    (folder / "not a wheel.whl").write_bytes(b"")
    return folder


def wheel(dist: Path, label: str, version: str = "1.0") -> Path:
    return dist / f"demo-{version}-{TAG}-{label}.whl"


def run(
    capsys: pytest.CaptureFixture[str],
    dist: Path,
    *files: Path,
    code: int = 0,
    simple: bool = False,
) -> Any:  # a JSON document
    options = [text for file in files for text in ("--release", str(file))]
    options += ["--simple"] if simple else []
    assert index.run([str(dist), *options, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def labels(dist: Path) -> list[str]:
    document = json.loads((dist / "demo-1.0-variants.json").read_text(encoding="utf-8"))
    return sorted(document["variants"])


LEFT_OUT_BY_PLAN = {
    "demo-0.9.tar.gz": "version 0.9; the newest is 1.0",
    f"demo-0.9-{TAG}-one.whl": "version 0.9; the newest is 1.0",
    f"demo-1.0-{TAG}-old.whl": "no variant 'old' is planned",
    f"other-1.0-{TAG}-one.whl": "it is not of the project demo",
}


@pytest.mark.parametrize("simple", [False, True])
def test_a_plan(
    simple: bool, dist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = write_plan(tmp_path / "plan.json", planned("one", V1), planned("two", V2))
    done = run(capsys, dist, plan, simple=simple)
    assert {one["file"]: one["why"] for one in done["left_out"]} == LEFT_OUT_BY_PLAN
    assert [one["name"] for one in done["releases"]] == ["demo"]
    assert done["releases"][0]["files"] == [
        wheel(dist, "one").name,
        wheel(dist, "two").name,
        "demo-1.0.tar.gz",
    ]
    assert labels(dist) == ["one", "two"]
    assert [name for name in listing(dist) if "variants.json" in name] == ["demo-1.0-variants.json"]
    if simple:
        page = json.loads((dist / "simple/demo/index.json").read_text(encoding="utf-8"))
        assert {one["filename"] for one in page["files"]} >= {wheel(dist, "one").name}
        assert "old" not in (dist / "simple/demo/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("simple", [False, True])
def test_a_report(
    simple: bool, dist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = write_report(tmp_path / "r.json", wheel(dist, "one"), wheel(dist, "two"))
    done = run(capsys, dist, report, simple=simple)
    assert {one["file"]: one["why"] for one in done["left_out"]} == dict.fromkeys(
        LEFT_OUT_BY_PLAN, "it is in no report"
    )
    assert labels(dist) == ["one", "two"]


def test_reports_of_several_machines(
    dist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write_report(
        tmp_path / "1.json",
        wheel(dist, "one"),
        states={f"job-of-{wheel(dist, 'two').name}": "elsewhere"},
    )
    second = write_report(tmp_path / "2.json", wheel(dist, "two"))
    assert index.run([str(dist), "--release", str(first)]) == 0
    assert "the reports of other machines are missing: job-of-" in capsys.readouterr().err
    assert labels(dist) == ["one"]
    done = run(capsys, dist, first, second)
    assert done["problems"] == []
    assert labels(dist) == ["one", "two"]


def test_a_wheel_that_is_missing(
    dist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an earlier run wrote of the release stays."""
    plan = write_plan(tmp_path / "plan.json", planned("one", V1), planned("two", V2))
    report = write_report(tmp_path / "r.json", wheel(dist, "one"), wheel(dist, "two"))
    run(capsys, dist, plan)
    before = (dist / "demo-1.0-variants.json").read_bytes()
    wheel(dist, "two").unlink()
    for file, said in (
        (plan, "the wheel of linux-x86_64-cp312-two is missing"),
        (report, f"{wheel(dist, 'two').name} is in the report, but it does not exist"),
    ):
        done = run(capsys, dist, file, code=4)
        assert [one["what"] for one in done["problems"]] == [said]
        assert [one["published"] for one in done["releases"]] == [False]
        assert (dist / "demo-1.0-variants.json").read_bytes() == before
    for path in dist.glob("demo-*.whl"):
        path.unlink()
    assert run(capsys, dist, plan, code=4)["releases"] == []


@pytest.mark.parametrize("simple", [False, True])
def test_a_wheel_that_has_changed_since_it_was_reported(
    simple: bool, dist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = write_report(tmp_path / "r.json", wheel(dist, "one"), wheel(dist, "two"))
    write_wheel(dist, TWO, tag=TAG, headers="Summary: another\n")
    done = run(capsys, dist, report, code=4, simple=simple)
    assert "has changed since the report was written" in done["problems"][0]["what"]


@pytest.mark.parametrize("state", ["failed", "not-started", "no-python", "stopped"])
def test_a_report_of_a_job_that_has_no_wheel(
    state: str, dist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = write_report(tmp_path / "r.json", wheel(dist, "one"), states={"job": state})
    done = run(capsys, dist, report, code=4)
    assert [one["what"] for one in done["problems"]] == [
        f"the wheel of job is missing: {state.replace('-', ' ')}"
    ]


def test_other_properties_than_planned(
    dist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wheel from before the properties of its variant changed."""
    plan = write_plan(tmp_path / "plan.json", planned("one", V1), planned("two", V2, MKL))
    done = run(capsys, dist, plan, code=4)
    assert [one["what"] for one in done["problems"]] == [
        f"two has {MKL}, {V2} in the plan, but {V2} in its wheels"
    ]


def test_wheels_for_another_python_than_planned(
    dist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = write_plan(tmp_path / "plan.json", planned("one", V1, python="3.13"))
    done = run(capsys, dist, plan, code=4)
    left_out = {one["file"]: one["why"] for one in done["left_out"]}
    assert left_out[wheel(dist, "one").name] == "no job of the plan has its tags"
    assert [one["what"] for one in done["problems"]] == [
        "the wheel of linux-x86_64-cp313-one is missing"
    ]


def test_what_is_no_release(dist: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.json", planned("one", V1))
    report = write_report(tmp_path / "r.json", wheel(dist, "one"))
    nameless = {**json.loads(plan.read_text("utf-8")), "project": None}
    (tmp_path / "nameless.json").write_text(json.dumps(nameless), encoding="utf-8")
    bad = {**json.loads(report.read_text("utf-8")), "jobs": [{"id": "a", "state": "odd"}]}
    (tmp_path / "bad.json").write_text(json.dumps(bad), encoding="utf-8")
    (tmp_path / "none.json").write_text("{}", encoding="utf-8")
    for files, said in (
        ([plan, report], "only reports can be combined"),
        ([tmp_path / "nameless.json"], "the plan has no project name"),
        ([tmp_path / "bad.json"], "expected a state of a report"),
        ([tmp_path / "none.json"], "this is not a plan or report"),
        ([tmp_path / "absent.json"], "absent.json does not exist"),
    ):
        options = [text for file in files for text in ("--release", str(file))]
        with pytest.raises(ConfigError, match=said):
            index.run([str(dist), *options])


def test_nothing_is_removed_where_a_release_is_not_all_there(dist: Path, tmp_path: Path) -> None:
    (dist / "not a wheel.whl").unlink()
    assert index.run([str(dist)]) == 0
    before = {path.name: path.read_bytes() for path in dist.glob("*-variants.json")}
    assert "demo-1.0-variants.json" in before
    failed = write_report(tmp_path / "failed.json", states={"j": "failed"})
    nothing = write_report(tmp_path / "nothing.json")
    for report in (failed, nothing):
        assert index.run([str(dist), "--release", str(report)]) == 4
        assert {path.name: path.read_bytes() for path in dist.glob("*-variants.json")} == before


def test_documents_of_other_releases_stay_while_their_wheels_are_there(
    dist: Path, tmp_path: Path
) -> None:
    (dist / "not a wheel.whl").unlink()
    assert index.run([str(dist)]) == 0
    wheels = [path for path in dist.glob("demo-1.0-*.whl") if "-old" not in path.name]
    report = write_report(tmp_path / "report.json", *wheels)
    assert index.run([str(dist), "--release", str(report)]) == 0
    assert (dist / "demo-0.9-variants.json").is_file()
