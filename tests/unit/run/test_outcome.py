"""Outcomes: variants that ask the same of their builds, plugins asked, and what a run makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from polywheel.errors import Problem
from polywheel.matrix.expansion import equal_when_built, expand_project
from polywheel.model.plan import EqualVariants
from polywheel.run.outcome import (
    Outcome,
    State,
    Wheel,
    group_by_setup,
    report_equal_setups,
    setups_of,
    with_audit_errors,
)
from polywheel.setup.digest import NO_SETUP, setup_digest
from polywheel.setup.rules import SetupSources
from support.matrices import document, project_of
from support.plans import job, plan_of
from support.setups import plugin_answer, rules, variant

PLUGIN = """
[variant.default-priorities]
namespace = ["cpu", "blas"]
[variant.providers.cpu]
requires = ["cpu-plugin"]
plugin-api = "cpu_plugin"
[variant.providers.blas.static-properties]
library = ["mkl", "openblas"]
"""
AXES = """
label = "{level}_{library}"
plain = true
null = true
[tool.polywheel.matrix.axes.level]
v2 = ["cpu :: level :: v2"]
v3 = ["cpu :: level :: v3"]
[tool.polywheel.matrix.axes.library]
mkl = ["blas :: library :: mkl"]
"""
PLACE = "linux-x86_64-cp312"
V2_V3 = (f"{PLACE}-v2_mkl", f"{PLACE}-v3_mkl")
WITH_NULL = (f"{PLACE}-non-variant", f"{PLACE}-null", *V2_V3)
MKL = '[tool.polywheel.setup."blas :: library"]\ncflags = ["-DMKL"]\n'


def compared(
    text: str, *same: tuple[str, ...], source: Path = Path("/nowhere")
) -> tuple[EqualVariants, ...]:
    project = project_of(document(text, variant=PLUGIN), source=source)
    return equal_when_built(project, expand_project(project).jobs, same)


def test_variants_of_plugins_are_named_with_advice(tmp_path: Path) -> None:
    (equal,) = compared(AXES + MKL, V2_V3, source=tmp_path)
    assert str(equal) == (
        "the variants 'v2_mkl', 'v3_mkl' ask the same of the build, so their wheels have the same "
        "content (pyproject.toml: tool.polywheel.matrix.axes); no build setup distinguishes the values of "
        "'cpu :: level': add rules; "
        '[tool.polywheel.setup."cpu :: level"] without fields declares that this is intended'
    )
    assert equal.jobs == V2_V3
    assert not equal.is_error


def test_the_non_variant_wheel_and_the_null_variant_are_variants_as_in_a_plan(
    tmp_path: Path,
) -> None:
    (equal,) = compared(AXES, WITH_NULL, source=tmp_path)
    assert "the variants 'non-variant', 'null', 'v2_mkl', 'v3_mkl' ask the same" in str(equal)
    assert compared(AXES, WITH_NULL[:2], source=tmp_path) == ()


def test_what_a_plan_says_already_is_not_said_again(tmp_path: Path) -> None:
    """These differ in no property of a plugin."""
    both = AXES.replace(
        'library :: mkl"]\n', 'library :: mkl"]\nopenblas = ["blas :: library :: openblas"]\n'
    )
    same = (f"{PLACE}-v3_mkl", f"{PLACE}-v3_openblas")
    project = project_of(document(both, variant=PLUGIN), source=tmp_path)
    plan = expand_project(project)
    assert any("'v2_mkl', 'v2_openblas'" in one for one in plan.warnings)
    assert equal_when_built(project, plan.jobs, [same]) == ()


def test_what_is_intended_and_what_reads_its_variant(tmp_path: Path) -> None:
    intended = '[tool.polywheel.setup."cpu :: level"]\n'
    assert compared(AXES + MKL + intended, V2_V3, source=tmp_path) == ()
    assert compared(f"share-builds = false\n{AXES}{MKL}", V2_V3, source=tmp_path) == ()
    strict = f"{AXES}{MKL}[tool.polywheel]\nstrict = true\n"
    (equal,) = compared(strict, V2_V3, source=tmp_path)
    assert equal.is_error
    (tmp_path / "build.rs").write_text('env!("POLYWHEEL_VARIANT_LABEL")', encoding="utf-8")
    (equal,) = compared(strict, V2_V3, source=tmp_path)
    assert "the same content unless it reads its variant" in str(equal)
    assert not equal.is_error


# --- the digest of a setup ------------------------------------------------------------------------


def digest(text: str, value: str, *, source: str = "/nowhere", **flags: list[str]) -> str:
    answers = {"cpu": plugin_answer(joint=flags)} if flags else {}
    sources = SetupSources(rules=rules(text), answers=answers, source=Path(source))
    return setup_digest(variant(f"cpu :: level :: {value}", label=value), sources)


def test_the_name_of_a_variant_is_no_part_of_a_digest() -> None:
    assert digest("", "v2") == digest("", "v3") == NO_SETUP
    assert digest("", "v2", cflags=["-a"]) == digest("", "v3", cflags=["-a"]) != NO_SETUP
    assert digest("", "v2", cflags=["-a"]) == digest('[cpu]\ncflags = ["-a"]', "v2")


@pytest.mark.parametrize(
    "rule",
    [
        'cflags = ["-m{value}"]',
        'env = { A = "{value}" }',
        'env = { A = ["/no/folder/{value}"] }',
        'config-settings = { a = "{value}" }',
        'config-settings = { a = ["{value}"] }',
        'defines = { A = "{value}" }',
        'requires = ["a-{value}"]',
        'dependencies = ["a-{value}"]',
    ],
)
def test_every_field_of_a_rule_is_part_of_a_digest(rule: str) -> None:
    assert digest(f"[cpu]\n{rule}", "v2") != digest(f"[cpu]\n{rule}", "v3")


def test_order_counts_and_where_the_source_lies_does_not(tmp_path: Path) -> None:
    assert digest("", "v3", cflags=["-a", "-b"]) != digest("", "v3", cflags=["-b", "-a"])
    folders = '[cpu]\nenv = { A = ["toolkit"] }'
    for name in ("one", "two"):
        (tmp_path / name / "toolkit").mkdir(parents=True)
    found = {digest(folders, "v3", source=str(tmp_path / name)) for name in ("one", "two")}
    assert found == {digest(folders, "v3")}


# --- outcomes -------------------------------------------------------------------------------------


PLAN = plan_of([job("v2")], [job("v3")], [job("v4")], [job("v3", target="macos-arm64")])
JOBS = tuple(one.id for one in PLAN.jobs)


def outcome(identifier: str, setup: str, state: State = State.BUILT) -> Outcome:
    wheel = Wheel(
        job=identifier, file=f"{identifier}.whl", size=1, sha256="", seconds=1, setup=setup
    )
    return Outcome(build=identifier, state=state, wheels=(wheel,), log=Path("a.log"))


def test_jobs_of_one_python_and_target_are_compared() -> None:
    outcomes = [outcome(one, "a") for one in JOBS[:2]] + [
        outcome(JOBS[2], ""),  # made by an older version
        outcome(JOBS[3], "a"),
    ]
    assert report_equal_setups(outcomes, ()) == outcomes
    v2, v3 = f"{PLACE}-v2", f"{PLACE}-v3"
    assert group_by_setup(PLAN, setups_of(outcomes)) == [(v2, v3)]


def test_wheels_that_ask_the_same_where_strict_are_no_success() -> None:
    v2, v3 = (f"{PLACE}-{label}" for label in ("v2", "v3"))
    equal = EqualVariants(jobs=(v2, v3), problem=Problem("what", "where", "hint"), is_error=True)
    failed = replace(outcome(v3, "a", State.FAILED), error="its own")
    found = report_equal_setups([outcome(v2, "a"), failed], [equal])
    assert [(one.state, one.wheels) for one in found] == [(State.FAILED, ())] * 2
    assert [one.error for one in found] == [
        "what (where); hint; strict = true makes this an error",
        "its own",
    ]
    assert [one.log for one in found] == [None, Path("a.log")]


def test_errors_of_audits_fail_the_build_and_keep_its_own_error() -> None:
    (v2, *_), failed = JOBS, Path("out/failed")
    good = outcome(v2, "a")
    assert with_audit_errors(good, [], failed) == good
    moved = f"\n  the wheel was moved to {failed}"
    found = with_audit_errors(good, ["one", "two"], failed)
    assert (found.state, found.error) == (State.FAILED, f"one\ntwo{moved}")
    assert (found.log, found.wheels) == (None, good.wheels)
    broken = replace(outcome(v2, "a", State.FAILED), error="its own")
    assert with_audit_errors(broken, ["one"], failed).error == f"its own\none{moved}"
    stopped = outcome(v2, "a", State.STOPPED)
    assert with_audit_errors(stopped, ["one"], failed) == stopped
