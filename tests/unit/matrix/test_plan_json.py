"""Writing and reading plans as JSON; errors name the place."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from polywheel.errors import ConfigError
from polywheel.matrix.plan_json import plan_as_json, read_plan
from polywheel.model.plan import Job, Plan
from support.plans import HEAD, MATRIX, expanded, job, plan_of, plans

MORE = """
[variant.variants.declared]
cpu.level = ["v1"]
blas.library = ["openblas", "mkl"]
[tool.polywheel.targets.linux-x86_64]
runner = "self hosted ünd \\"quoted\\""
platform-tags = ["manylinux_2_28_x86_64"]
repair-command = "auditwheel repair {wheel} -w {dest_dir}"
test-command = ["python -c pass", "pytest"]
test-extras = "one, two"
test-environment = { X = "$Y" }
test-timeout = 1.5
emulate = true
emulator = ["sde64", "--"]
[[tool.polywheel.overrides]]
select = "v3_*"
test-command = "python -c 0"
"""


def written(plan: Plan, folder: Path) -> Path:
    path = folder / "plan.json"
    path.write_text(json.dumps(plan_as_json(plan)), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "matrix",
    [
        MATRIX,
        MATRIX + MORE,
        MATRIX.replace('wheel-tag = "python"', 'wheel-tag = "abi3"'),
        MATRIX.replace('wheel-tag = "python"', 'wheel-tag = "py3-none-any"'),
        # One wheel for both targets, built on the first of them with 3.12, though it is for 3.11.
        MATRIX.replace('wheel-tag = "python"', 'wheel-tag = "py3-none-any"')
        + '[[tool.polywheel.matrix.exclude]]\ntarget = "linux-x86_64"\npython = "3.11"\n',
    ],
)
def test_a_plan_that_is_read_again_is_the_same(matrix: str, tmp_path: Path) -> None:
    plan = expanded(tmp_path, HEAD + matrix)
    assert plan.jobs
    assert plan.removed
    assert read_plan(written(plan, tmp_path)) == plan


@given(plans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_plan_that_is_read_again_is_the_same(tmp_path: Path, plan: Plan) -> None:
    assert read_plan(written(plan, tmp_path)) == plan


def test_builds_share_setups(tmp_path: Path) -> None:
    document = plan_as_json(expanded(tmp_path))
    assert {build["setup"] for build in document["builds"]} == {None, *document["setups"]}
    assert 0 < len(document["setups"]) < len(document["builds"])
    for build in document["builds"]:
        del build["setup"]  # as in a plan of an earlier version
    del document["setups"]
    path = tmp_path / "older.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    plan = read_plan(path)
    assert {build.setup for build in plan.builds} == {None}
    assert plan_as_json(plan) == {**document, "setups": {}}


def test_a_job_is_looked_up_and_not_searched_for() -> None:
    class Jobs(tuple[Job, ...]):
        walks = 0

        def __iter__(self) -> Iterator[Job]:
            Jobs.walks += 1
            return super().__iter__()

    plan = plan_of([job(None), job("null")], [job("v2")], [job("v3")])
    plan = replace(plan, jobs=Jobs(plan.jobs))
    walks = Jobs.walks
    for identifier in [one for build in plan.builds for one in build.jobs]:
        found = plan.job(identifier)
        assert found is not None
        assert found.id == identifier
    assert plan.job("none") is None
    assert Jobs.walks == walks


def test_every_field_of_the_documentation_is_there_and_no_other(root: Path, tmp_path: Path) -> None:
    text = (root / "docs" / "plan.md").read_text(encoding="utf-8")
    document = plan_as_json(expanded(tmp_path))
    keys = {*document, *document["targets"]["linux-x86_64"]}
    for part in ("jobs", "builds", "removed"):
        keys |= {*document[part][0]}
    for key in keys:
        assert f"`{key}`" in text
    example = text.split("```json\n")[1].split("```")[0]
    (tmp_path / "example.json").write_text(example, encoding="utf-8")
    assert read_plan(tmp_path / "example.json").jobs


Spoil = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("spoil", "what", "at"),
    [
        (lambda plan: plan.pop("shape"), "shape is missing", "shape"),
        (lambda plan: plan.update(shape=3), "expected the shape 2", "shape"),
        (lambda plan: plan.update(shape="1"), "expected the shape 2", "shape"),
        (lambda plan: plan.pop("jobs"), "jobs is missing", "jobs"),
        (lambda plan: plan.update(job=[]), "unknown key 'job'", "job"),
        (lambda plan: plan.update(builds={}), "expected a list, found a table", "builds"),
        (lambda plan: plan["jobs"].append(3), "expected a table, found 3", "jobs[21]"),
        (lambda plan: plan["jobs"][0].pop("label"), "label is missing", "jobs[0].label"),
        (lambda plan: plan["jobs"][0].pop("at"), "at is missing", "jobs[0].at"),
        (
            lambda plan: plan["jobs"][3].update(id="../../etc-cp311-v3_mkl"),
            "malformed id '../../etc-cp311-v3_mkl'",
            "jobs[3].id",
        ),
        (
            lambda plan: plan["builds"][0].update(settings={"before_build": "echo \0"}),
            "can't hold",
            "builds[0].settings.before_build",
        ),
        (
            lambda plan: plan["targets"]["linux-x86_64"].update(environment={"A": "\ud800"}),
            "can't hold",
            "targets.linux-x86_64.environment.A",
        ),
        (
            lambda plan: plan["targets"]["linux-x86_64"].update(runner=["a", "\0"]),
            "can't hold",
            "targets.linux-x86_64.runner[1]",
        ),
        (
            lambda plan: plan["builds"][0].update(settings={"config_settings": {"a\0": "b"}}),
            "can't hold",
            'config_settings."a\\u0000"',
        ),
        (lambda plan: plan["jobs"][3].update(id=".x-cp311-v3"), "malformed id", "jobs[3].id"),
        (lambda plan: plan["jobs"][3].update(label="V3"), "malformed label 'V3'", "jobs[3].label"),
        (
            lambda plan: plan["jobs"][3].update(label="v9"),
            "does not end in its label",
            "jobs[3].id",
        ),
        (
            lambda plan: plan["jobs"][3].update(properties=["cpu :: level"]),
            "malformed variant property 'cpu :: level'",
            "jobs[3].properties[0]",
        ),
        (lambda plan: plan["jobs"][3].update(properties=[]), "no prop", "jobs[3].properties"),
        (lambda plan: plan["jobs"][3].update(pythons=[]), "at least one", "jobs[3].pythons"),
        (lambda plan: plan["jobs"][3].update(pythons=["2.7"]), "malformed", "jobs[3].pythons[0]"),
        (lambda plan: plan["jobs"][3].update(targets=["moon"]), "no target 'moon'", "targets"),
        (lambda plan: plan["jobs"][3]["axes"].update(level="v7"), "'level'", "axes.level"),
        (lambda plan: plan["jobs"].append(copy.deepcopy(plan["jobs"][3])), "twice", "jobs[21].id"),
        (lambda plan: plan["jobs"].pop(), "the plan has no job 'windows", "jobs"),
        (lambda plan: plan["builds"].pop(), "no build lists the job", "build"),
        (lambda plan: plan["builds"][0].update(python="3.12"), "not for", "builds[0].python"),
        (lambda plan: plan["builds"][0].update(target="x"), "not for", "builds[0].target"),
        (lambda plan: plan["builds"][0]["jobs"].reverse(), "of its first job", "builds[0].id"),
        (lambda plan: plan["builds"][0].update(setup="0"), "no setup '0'", "builds[0].setup"),
        (lambda plan: plan["builds"][0].update(setup=[]), "expected a string", "builds[0].setup"),
        (lambda plan: plan.update(setups={"0": {"cflags": "-g"}}), "a list", "setups.0.cflags"),
        (lambda plan: plan["removed"][0].update(by="magic"), "malformed by 'magic'", "by"),
        (lambda plan: plan["removed"][0].update(why=""), "unknown key 'why'", "removed[0].why"),
    ],
)
def test_what_is_wrong_is_named_with_its_key_path(
    spoil: Spoil, what: str, at: str, tmp_path: Path
) -> None:
    document = plan_as_json(expanded(tmp_path))
    assert len(document["jobs"]) == 21
    spoil(document)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_plan(path)
    problems = caught.value.problems
    assert any(what in one.what and str(one.at).endswith(at) for one in problems), (
        caught.value.render()
    )


def test_a_setting_that_is_null_is_not_set(tmp_path: Path) -> None:
    plan = expanded(tmp_path, HEAD + MATRIX)
    document = plan_as_json(plan)
    keys = ("environment", "config_settings")
    assert not any(document["targets"]["linux-x86_64"][key] for key in keys)
    for table in (document["targets"]["linux-x86_64"], document["builds"][0]["settings"]):
        table.update(dict.fromkeys(keys))
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    assert read_plan(path) == plan


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "invalid JSON: Expecting value"),
        (b"{", "invalid JSON"),
        (b"[]", "expected a table, found a list"),
        (b"\xff", "not UTF-8: byte 0 can't be decoded"),
        (b'{"shape": 1, "shape": 1}', "the same key twice"),
        (b'{"shape": NaN}', "NaN is not a JSON value"),
        (b'{"shape": ' + b"9" * 5000 + b"}", "invalid JSON"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
def test_what_is_no_json_object_is_refused_in_words(
    content: bytes, what: str, tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_plan(path)
    assert what in caught.value.render()
    assert "plan.json" in caught.value.render()


def test_a_file_full_of_faults_gets_a_short_answer(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"shape": 1, "jobs": [{}] * 1000}), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_plan(path)
    assert len(caught.value.problems) <= 26
    assert "more" in caught.value.problems[-1].what


def test_a_plan_that_is_not_there_is_told_how_to_get(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="polywheel matrix --json writes one"):
        read_plan(tmp_path / "absent.json")
    with pytest.raises(ConfigError, match="can't be read"):
        read_plan(tmp_path)
