"""The difference between two plans: added, removed, and changed jobs, and the reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from polywheel.matrix.diff import difference, difference_as_json, difference_as_lines
from polywheel.model.plan import Plan
from support.plans import HEAD, MATRIX, expanded, job, plan_of


def both(tmp_path: Path, change: tuple[str, str], matrix: str = MATRIX) -> tuple[Plan, Plan]:
    """The plan of a matrix, and that of the matrix with a change."""
    after = (HEAD + matrix).replace(*change)
    assert after != HEAD + matrix
    return expanded(tmp_path, HEAD + matrix), expanded(tmp_path, after)


def test_equal_plans_have_no_difference(tmp_path: Path) -> None:
    found = difference(expanded(tmp_path), expanded(tmp_path))
    assert not found
    assert [*difference_as_lines(found)] == [
        "added 0, removed 0, changed 0; jobs 21 → 21; builds 14 → 14"
    ]


def test_where_a_rule_stands_makes_no_difference(tmp_path: Path) -> None:
    second = '[[tool.polywheel.matrix.exclude]]\nlevel = "v3"\nblas = "mkl"\npython = "3.11"\n'
    before, after = both(
        tmp_path,
        ("[[tool.polywheel.matrix.exclude]]", second + "[[tool.polywheel.matrix.exclude]]"),
    )
    assert before.removed != after.removed
    found = difference(before, after)
    assert [one.id for one, _ in found.removed] == ["linux-x86_64-cp311-v3_mkl"]
    assert not found.added
    assert not found.changed


def test_a_new_python_adds_and_an_old_one_removes(tmp_path: Path) -> None:
    before, after = both(tmp_path, ('["3.11", "3.12"]', '["3.11", "3.12", "3.13"]'))
    found = difference(before, after)
    assert {one.python for one in found.added} == {"3.13"}
    assert not found.removed
    back = difference(after, before)
    assert [one for one, _ in back.removed] == [*found.added]
    assert not back.added


def test_what_removed_a_job_is_told(tmp_path: Path) -> None:
    before, after = both(tmp_path, ('python = "3.11"\n[[', "[["))
    found = difference(before, after)
    ((gone, rule),) = found.removed
    assert gone.id == "linux-x86_64-cp312-v2_mkl"
    assert rule is not None
    assert (rule.by, rule.at) == ("exclude", "pyproject.toml: tool.polywheel.matrix.exclude[0]")
    lines = [*difference_as_lines(found)]
    assert lines[0] == (
        "- linux-x86_64-cp312-v2_mkl  blas :: library :: mkl, cpu :: level :: v2  "
        "(exclude: pyproject.toml: tool.polywheel.matrix.exclude[0])"
    )


def test_other_properties_under_a_label_are_a_change(tmp_path: Path) -> None:
    before, after = both(
        tmp_path,
        (
            'properties = ["cpu :: level :: v4"]',
            'properties = ["cpu :: level :: v4", "blas :: library :: mkl"]',
        ),
    )
    found = difference(before, after)
    assert {*found.changed} == {"linux-x86_64-cp312-v4", "windows-x86_64-cp312-v4"}
    (change,) = found.changed["linux-x86_64-cp312-v4"]
    assert change.what == "properties"
    assert change.before == "cpu :: level :: v4"
    assert change.after == "blas :: library :: mkl, cpu :: level :: v4"


def test_pythons_that_a_wheel_serves_are_a_change(tmp_path: Path) -> None:
    matrix = MATRIX.replace('wheel-tag = "python"', 'wheel-tag = "abi3"').split("[[")[0]
    before, after = both(tmp_path, ('["3.11", "3.12"]', '["3.11", "3.12", "3.13"]'), matrix)
    found = difference(before, after)
    assert not found.added
    assert len(found.changed) == len(after.jobs)
    (change,) = found.changed["linux-x86_64-abi3-null"]
    assert (change.what, change.before, change.after) == (
        "pythons",
        "3.11, 3.12",
        "3.11, 3.12, 3.13",
    )


def test_a_build_of_its_own_is_a_change_for_those_that_shared_it() -> None:
    a, b, c, new = job("a"), job("b"), job("c"), job("0")
    before, after = plan_of([a, b], [c]), plan_of([a], [b, c])
    changed = difference(before, after).changed
    assert [(one.before, one.after) for one in changed["linux-x86_64-cp312-b"]] == [
        ("linux-x86_64-cp312-a", "linux-x86_64-cp312-c")
    ]
    # One job more in a build changes none of the others, though the build has another id.
    assert not difference(plan_of([a, b]), plan_of([a, b, new])).changed


def test_a_target_that_runs_elsewhere_is_told(tmp_path: Path) -> None:
    target = '[tool.polywheel.targets.linux-x86_64]\nrunner = "big"\n[tool.polywheel.matrix]'
    before, after = both(tmp_path, ("[tool.polywheel.matrix]", target))
    found = difference(before, after)
    assert not found.changed
    (change,) = found.targets["linux-x86_64"]
    assert (change.what, change.before, change.after) == ("runner", "ubuntu-24.04", "big")
    assert "~ linux-x86_64" in [*difference_as_lines(found)]


def test_the_json_holds_all_of_it(tmp_path: Path) -> None:
    before, after = both(tmp_path, ('python = "3.11"\n[[', "[["))
    document = json.loads(json.dumps(difference_as_json(difference(before, after))))
    assert document["shape"] == 1
    assert document["jobs"] == {"before": 21, "after": 20}
    (gone,) = document["removed"]
    assert gone["label"] == "v2_mkl"
    assert gone["removed_by"] == "exclude"
    document = difference_as_json(difference(after, before))
    assert [one["id"] for one in document["added"]] == [gone["id"]]


FLAGS = 'cflags = ["-march={value}"]\n'
"""The only setup rule, for ``cpu :: level``."""


def with_rule(tmp_path: Path, before: str, after: str) -> tuple[Plan, Plan]:
    """The plans of the matrix with these fields of its setup rule."""
    first, second = (expanded(tmp_path, (HEAD + MATRIX).replace(FLAGS, t)) for t in (before, after))
    return first, second


def test_changed_setup_rules_are_shown(tmp_path: Path) -> None:
    folders = 'env = { CUDA_HOME = ["/a", "/b"] }\n'
    before, after = with_rule(
        tmp_path,
        FLAGS + folders,
        FLAGS.replace("-march", "-mtune") + folders.replace("/b", "/c"),
    )
    found = difference(before, after)
    assert found
    assert {*found.changed} == {
        job.id for job in after.jobs if any(prop.feature == "level" for prop in job.properties)
    }
    changes = found.changed["linux-x86_64-cp312-v3_mkl"]
    assert [(one.what, one.before, one.after) for one in changes] == [
        ("setup.cflags", "-march=v3", "-mtune=v3"),
        ("setup.env.CUDA_HOME", "/a, /b", "/a, /c"),
    ]
    # Jobs with the same changes are in one line.
    jobs = [one for one, changed in found.changed.items() if changed == changes]
    assert len(jobs) > 3
    assert f"~ {', '.join(jobs[:3])} and {len(jobs) - 3} more" in [*difference_as_lines(found)]
    document = difference_as_json(found)
    assert {one["id"] for one in document["changed"]} == {*found.changed}


def test_setup_rules_for_families_of_compilers(tmp_path: Path) -> None:
    msvc = FLAGS + 'compiler.msvc.cflags = ["/x"]\n'

    def changes(before: str) -> list[tuple[str, str, str]]:
        found = difference(*with_rule(tmp_path, before, msvc)).changed["linux-x86_64-cp312-v4"]
        return [(one.what, one.before, one.after) for one in found if "setup" in one.what]

    assert changes('ldflags = ["-y"]\n') == [
        ("setup.cflags", "", "-march=v4"),
        ("setup.compiler.msvc.cflags", "", "/x"),
        ("setup.ldflags", "-y", ""),
    ]
    # Values for MSVC that the plan does not list are those for other compilers.
    assert changes(FLAGS) == [("setup.compiler.msvc.cflags", "-march=v4", "/x")]


def test_setups_that_an_older_plan_does_not_have_are_no_change(tmp_path: Path) -> None:
    before, after = with_rule(tmp_path, FLAGS, FLAGS + 'ldflags = ["-y"]\n')
    assert difference(before, after)
    builds = tuple(replace(build, setup=None) for build in before.builds)
    assert not difference(replace(before, builds=builds), after)


IMAGE = """
[[tool.polywheel.overrides]]
select = "v3*"
image = "img:{python}"
environment = { A = "1" }
[tool.polywheel.targets.linux-x86_64]
job-timeout = 60
"""


def test_changed_overrides_are_shown(tmp_path: Path) -> None:
    before = expanded(tmp_path, HEAD + MATRIX + IMAGE)
    changed = IMAGE.replace("img:", "new:").replace("60", "90")
    after = expanded(tmp_path, HEAD + MATRIX + changed)
    found = difference(before, after)
    assert {job.label for job in after.jobs if job.id in found.changed} == {"v3_mkl", "v3_openblas"}
    (change,) = found.changed["linux-x86_64-cp312-v3_mkl"]
    assert (change.what, change.before, change.after) == ("image", "img:3.12", "new:3.12")
    # A change of a target is shown once, and not for each of its jobs.
    assert [one.what for one in found.targets["linux-x86_64"]] == ["job-timeout"]


def test_the_order_of_the_namespaces_is_shown(tmp_path: Path) -> None:
    before, after = both(tmp_path, ('namespace = ["cpu", "blas"]', 'namespace = ["blas", "cpu"]'))
    found = difference(before, after)
    assert found
    assert [*difference_as_lines(found)][:2] == [
        "~ variant.default-priorities",
        "    namespaces: cpu, blas → blas, cpu",
    ]
    assert difference_as_json(found)["priorities"] == [
        {"what": "namespaces", "before": "cpu, blas", "after": "blas, cpu"}
    ]
