"""The settings of builds: targets, overrides, placeholders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomli_w

import polywheel
from polywheel.config.project import read_project
from polywheel.matrix.diff import difference
from polywheel.matrix.expansion import expand_project
from polywheel.matrix.plan_json import parse_plan, plan_as_json
from polywheel.matrix.shards import pack
from polywheel.matrix.why import cell_reasons, reasons_as_json, reasons_as_lines
from polywheel.model.matrix import Credentials
from polywheel.model.plan import Build, Plan
from support.matrices import document, labels, one_problem, plan_of, problems_of, project_of, write

CUDA = """
label = "{cuda}"
[tool.polywheel.matrix.axes.cuda]
cu12 = ["gpu :: cuda :: 12"]
cu13 = ["gpu :: cuda :: 13"]
"""
TWO_PYTHONS = 'python = ["3.11", "3.12"]\n'
OVERRIDES = "pyproject.toml: tool.polywheel.overrides"


def override(select: str, settings: str) -> str:
    return f"[[tool.polywheel.overrides]]\nselect = {select}\n{settings}\n"


def by_id(plan: Plan) -> dict[str, Build]:
    return {build.id.removeprefix("linux-x86_64-"): build for build in plan.builds}


# --- targets with names of their own ---


def test_a_target_with_a_platform_inherits_its_settings_and_is_built_there() -> None:
    text = 'targets = ["amd64-cuda12.9.2"]\n' + CUDA
    text += (
        '[tool.polywheel.targets."amd64-cuda12.9.2"]\nplatform = "linux-x86_64"\nimage = "cuda"\n'
    )
    plan = plan_of(text)
    target = plan.targets["amd64-cuda12.9.2"]
    assert target.settings.runner == ("ubuntu-24.04",)
    assert target.settings.image == "cuda"
    assert target.markers["platform_machine"] == "x86_64"
    assert target.platform_tags == ("manylinux*_x86_64", "linux_x86_64")
    assert plan.builds_for("linux-x86_64") == list(plan.builds) != []
    assert plan.builds_for("linux-aarch64") == plan.builds_for("amd64-cuda12.9.2") == []
    assert parse_plan(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("name", "settings", "what", "at", "hint"),
    [
        (
            "box",
            'runner = "x"',
            "the target 'box' has no platform",
            "",
            'platform = "linux-x86_64"',
        ),
        ("box", 'platform = "linux_x86_64"', "unknown platform", ".platform", "linux-x86_64"),
        ("linux-x86_64", 'platform = "macos-arm64"', "is a platform itself", ".platform", "remove"),
    ],
)
def test_a_platform_that_is_missing_or_wrong(
    name: str, settings: str, what: str, at: str, hint: str
) -> None:
    text = f'targets = ["{name}"]\n{CUDA}[tool.polywheel.targets.{name}]\n{settings}\n'
    problem = one_problem(text)
    assert what in problem.what
    assert problem.at == f"pyproject.toml: tool.polywheel.targets.{name}{at}"
    assert hint in str(problem.hint)


def test_marker_variables_of_a_target_are_read_from_both_tables() -> None:
    text = (
        'targets = ["box"]\n' + CUDA + '[tool.polywheel.targets.box]\nplatform = "linux-x86_64"\n'
    )
    text += 'environment = { platform_release = "6.1", A = "b" }\nmarkers = { os_name = "other" }\n'
    target = plan_of(text).targets["box"]
    assert target.markers["platform_release"] == "6.1"
    assert target.markers["os_name"] == "other"
    assert target.markers["sys_platform"] == "linux"
    assert target.settings.environment == {"A": "b"}


def two_targets(old: str, new: str, platform: str = "linux-x86_64") -> str:
    return f"""{CUDA}
[tool.polywheel.targets.old]
platform = "linux-x86_64"
{old}
[tool.polywheel.targets.new]
platform = "{platform}"
{new}
"""


TAGS = 'platform-tags = ["{}"]'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        (TAGS.format("manylinux_2_17*_x86_64"), ""),
        (TAGS.format("manylinux_2_28_x86_64"), TAGS.format("manylinux_2_*_x86_64")),
        (TAGS.format("manylinux_2_28_*"), TAGS.format("manylinux*_x86_64")),
        (TAGS.format("manylinux_2_[23]8_*"), TAGS.format("manylinux_?_2*_x86_64")),
    ],
)
def test_targets_whose_wheels_have_the_same_filename(old: str, new: str) -> None:
    check_same_filename(two_targets(old, new))


def test_targets_without_platform_tags_allow_every_tag() -> None:
    text = two_targets("", 'platform-tags = ["linux_riscv64"]', "linux-riscv64")
    check_same_filename(text.replace('"linux-x86_64"', '"linux-riscv64"'))


def check_same_filename(targets: str) -> None:
    text = 'targets = ["old", "new"]\n' + targets
    problem = one_problem(text)
    assert "would have the same filename" in problem.what
    assert problem.at == "pyproject.toml: tool.polywheel.targets.old"


def test_overlapping_tags_of_a_target_without_a_table() -> None:
    text = f"""targets = ["linux-x86_64", "new"]
{CUDA}
[tool.polywheel.targets.new]
platform = "linux-x86_64"
platform-tags = ["manylinux_2_34_x86_64"]
"""
    problem = one_problem(text)
    assert problem.at == "pyproject.toml: tool.polywheel.targets.new"
    tags = "manylinux*_x86_64, linux_x86_64 (linux-x86_64), and manylinux_2_34_x86_64 (new)"
    assert tags in str(problem.hint)


@pytest.mark.parametrize(
    ("old", "new", "platform"),
    [
        (TAGS.format("manylinux_2_17_*"), TAGS.format("manylinux_2_28_*"), "linux-x86_64"),
        (TAGS.format("manylinux_2_[!3]*"), TAGS.format("manylinux_?_3?_x86_64"), "linux-x86_64"),
        (TAGS.format("*_x86_64"), TAGS.format("*_X86_64"), "linux-x86_64"),
        ("", "", "musllinux-x86_64"),
        ("", "", "linux-aarch64"),
    ],
)
def test_targets_whose_wheels_have_different_filenames(old: str, new: str, platform: str) -> None:
    text = 'targets = ["old", "new"]\n' + two_targets(old, new, platform)
    assert len(plan_of(text).jobs) == 4


def test_targets_of_one_platform_for_different_variants() -> None:
    text = 'targets = ["old", "new"]\n' + two_targets("", "")
    for target, cuda in (("old", "cu13"), ("new", "cu12")):
        text += f'[[tool.polywheel.matrix.exclude]]\ntarget = "{target}"\ncuda = "{cuda}"\n'
    assert [job.id for job in plan_of(text).jobs] == ["new-cp312-cu13", "old-cp312-cu12"]


# --- overrides ---


@pytest.mark.parametrize(
    ("select", "selected"),
    [
        ('"cu12"', {"cp311-cu12", "cp312-cu12"}),
        ('"*-cp311-*"', {"cp311-cu12", "cp311-cu13"}),
        ('["cu13", "linux-x86_64-cp312-cu12"]', {"cp311-cu13", "cp312-cu13", "cp312-cu12"}),
        ('{ cuda = "cu12", python = "3.12" }', {"cp312-cu12"}),
        ('{ python = ["3.11", "3.12"], label = "cu13" }', {"cp311-cu13", "cp312-cu13"}),
        ('{ target = "linux-x86_64" }', {"cp311-cu12", "cp312-cu12", "cp311-cu13", "cp312-cu13"}),
    ],
)
def test_what_an_override_selects(select: str, selected: set[str]) -> None:
    plan = plan_of(TWO_PYTHONS + CUDA + override(select, 'runner = ["self-hosted", "gpu"]'))
    builds = {build.id: build for build in plan.builds}
    for job in plan.jobs:
        build = builds[job.build]
        given = job.id.removeprefix("linux-x86_64-") in selected
        assert build.settings.runner == (("self-hosted", "gpu") if given else ("ubuntu-24.04",))
        assert build.set_by == ({"runner": f"{OVERRIDES}[0]"} if given else {})


def test_later_overrides_win_and_environments_are_merged() -> None:
    text = (
        CUDA
        + '[tool.polywheel.targets.linux-x86_64]\nenvironment = { A = "target", B = "target" }\n'
    )
    text += override('"*"', 'image = "first"\nenvironment = { B = "first", C = "first" }')
    text += override('"cu13"', 'image = "second"\nenvironment = { C = "second" }')
    builds = by_id(plan_of(text))
    assert builds["cp312-cu12"].settings.image == "first"
    settings = builds["cp312-cu13"].settings
    assert settings.image == "second"
    assert settings.environment == {"A": "target", "B": "first", "C": "second"}
    assert builds["cp312-cu13"].set_by == {
        "image": f"{OVERRIDES}[1]",
        "environment.B": f"{OVERRIDES}[0]",
        "environment.C": f"{OVERRIDES}[1]",
    }


@pytest.mark.parametrize(
    ("select", "what", "at", "hint"),
    [
        ('"cu14"', "the override selects no build", ".select", "did you mean 'cu1"),
        ('"*-cp313-*"', "the override selects no build", ".select", "linux-x86_64-cp312-cu12"),
        (
            '["cu12", "cu9*"]',
            "no build has a label or an id that matches 'cu9*'",
            ".select[1]",
            "cu12",
        ),
        (
            '{ label = ["cu12", "cu14"] }',
            "no build of the override has the label 'cu14'",
            ".select.label",
            "did you mean 'cu1",
        ),
        (
            '{ cuda = ["cu12", "cu13"], label = "cu12" }',
            "no build of the override has the cuda 'cu13'",
            ".select.cuda",
            "remove it, or change the other values",
        ),
        ('{ label = "cu14" }', "the override selects no build", ".select", "did you mean 'cu1"),
        ('{ label = "cu*" }', "the override selects no build", ".select", "a table has no globs"),
        (
            '{ cuda = "cu*" }',
            "the matrix has no cuda 'cu*'",
            ".select.cuda",
            "a table has no globs",
        ),
        (
            '{ cuda = "cu12", label = "cu13" }',
            "the override selects no build",
            ".select",
            "no job has all of them",
        ),
        ('{ cuda = "cu14" }', "the matrix has no cuda 'cu14'", ".select.cuda", "cu1"),
        ('{ cuda = ["cu12", "cu14"] }', "has no cuda 'cu14'", ".select.cuda", "cu1"),
        ('{ cudaa = "cu12" }', "the matrix has no axis 'cudaa'", ".select.cudaa", "cuda"),
        ('{ python = "3.10" }', "the matrix has no python '3.10'", ".select.python", "3.12"),
        (
            '{ target = "linux" }',
            "the matrix has no target 'linux'",
            ".select.target",
            "linux-x86_64",
        ),
        ("3", "expected a glob, a list of globs, or a table", ".select", ""),
        (
            "{ python = 3.12 }",
            "expected a value, or a list of values, found 3.12",
            ".select.python",
            "write it in quotes",
        ),
        ("{}", "the table is empty", ".select", "axes"),
        ("[]", "expected at least one string", ".select", ""),
    ],
)
def test_an_override_without_effect(select: str, what: str, at: str, hint: str) -> None:
    problem = problems_of(CUDA + override(select, 'runner = "x"'))[0]
    assert what in problem.what
    assert problem.at == f"{OVERRIDES}[0]{at}"
    assert hint in str(problem.hint)


def test_overrides_that_are_one_table() -> None:
    text = '[tool.polywheel.overrides]\nselect = "*"\nrunner = "x"\n'
    problem = problems_of(CUDA + text)[0]
    assert problem.what == "expected a list of tables, found a table"
    assert (
        problem.hint == "write [[tool.polywheel.overrides]] in place of [tool.polywheel.overrides]"
    )


@pytest.mark.parametrize(
    ("settings", "what", "at"),
    [
        ("", "the override sets nothing", ""),
        ("environment = {}", "the override sets nothing", ""),
        ('platform-tags = ["x"]', "unknown key 'platform-tags'", ".platform-tags"),
        ('imag = "x"', "unknown key 'imag'", ".imag"),
        (
            'environment = { sys_platform = "x" }',
            "is a marker variable",
            ".environment.sys_platform",
        ),
        ('environment = { "a b" = "x" }', "malformed name", '.environment."a b"'),
        ('container-credentials = { username = "x" }', "missing key", ".password-secret"),
        (
            'container-credentials = { username = "x", password-secret = "a token" }',
            "malformed name of a secret",
            ".password-secret",
        ),
    ],
)
def test_settings_that_an_override_can_not_have(settings: str, what: str, at: str) -> None:
    problem = problems_of(CUDA + override('"*"', settings))[0]
    assert what in problem.what
    assert str(problem.at).endswith(at)


def test_an_override_for_other_machines_only() -> None:
    """The matrix names no targets, so it depends on the machine which builds there are."""
    text = CUDA + override('{ target = "macos-arm64" }', 'runner = "x"')
    text += override('"windows-*"', 'runner = "x"')
    here = '[tool.polywheel.matrix]\npython = ["3.12"]\n'
    plan = expand_project(project_of(document(text, here=here)))
    assert labels(plan) == ["cu12", "cu13"]
    problem = one_problem(text.replace("windows", "amiga"), here=here)
    assert problem.what == "the override selects no build"


# --- placeholders ---


def test_placeholders_have_the_values_of_the_job() -> None:
    text = TWO_PYTHONS + CUDA
    text += """[tool.polywheel.targets.linux-x86_64]
image = "cuda-{cuda}:py{python}"
environment = { CUDA = "{cuda}", OTHER = "${HOME} {x}" }
before-build = "echo {label} {platform} {target} {python_tag} ${X} {{}}"
repair-command = "auditwheel repair --plat {cuda} -w {dest_dir} {wheel}"
"""
    text += override('"cu13"', 'runner = ["gpu", "{cuda}"]\ncontainer-options = "{{x}}-{label}"')
    settings = by_id(plan_of(text))["cp311-cu13"].settings
    assert settings.image == "cuda-cu13:py3.11"
    assert settings.environment == {"CUDA": "cu13", "OTHER": "${HOME} {x}"}
    assert settings.before_build == "echo cu13 linux-x86_64 linux-x86_64 cp311 ${X} {{}}"
    assert settings.repair_command == "auditwheel repair --plat cu13 -w {dest_dir} {wheel}"
    assert settings.runner == ("gpu", "cu13")
    assert settings.container_options == "{x}-cu13"


def test_braces_without_a_placeholder() -> None:
    plan = plan_of(CUDA + override('"*"', 'runner = "a{{"\nbefore-build = "echo {{"'))
    assert plan.builds[0].settings.runner == ("a{",)
    assert plan.builds[0].settings.before_build == "echo {{"


def test_unknown_placeholders() -> None:
    text = CUDA + override('"*"', 'image = "a-{cudda}"')
    problem = one_problem(text)
    assert (problem.what, problem.at) == ("unknown placeholder {cudda}", f"{OVERRIDES}[0].image")
    assert problem.hint == "did you mean 'cuda'?"
    text = CUDA + '[tool.polywheel.targets.linux-x86_64]\nrunner = "a-{x}"\n'
    assert one_problem(text).at == "pyproject.toml: tool.polywheel.targets.linux-x86_64.runner"


def test_a_placeholder_of_an_axis_that_a_job_does_not_have() -> None:
    text = "null = true\n" + CUDA + override('"*"', 'image = "a-{cuda}"')
    problem = one_problem(text)
    assert (
        problem.what == "{cuda} has no value for linux-x86_64-cp312-null, a job without this axis"
    )
    plan = plan_of(text + override('"null"', 'image = "cpu"'))
    assert [build.settings.image for build in plan.builds] == ["cpu", "a-cu12", "a-cu13"]


def test_images_are_checked_with_the_values_of_their_placeholders() -> None:
    for text in ("a:{{cuda", "a-{python}:{cuda}:x", "{python_tag}/A", "${{{{ secrets.X }}}}"):
        problem = one_problem(CUDA + override('"*"', f'image = "{text}"'))
        assert "malformed image" in problem.what
        assert problem.at == f"{OVERRIDES}[0].image"


# --- builds ---


def test_jobs_with_different_settings_share_no_build() -> None:
    assert len(plan_of(CUDA).builds) == 1
    for setting in (
        'image = "x"',
        'environment = { X = "1" }',
        'before-build = "x"',
        "job-timeout = 1",
    ):
        assert len(plan_of(CUDA + override('"cu12"', setting)).builds) == 2
    assert len(plan_of(CUDA + override('"cu12"', 'test-command = "x"')).builds) == 1
    assert len(plan_of(CUDA + override('"*"', 'image = "{python}"')).builds) == 1


def test_settings_of_tests_without_a_test() -> None:
    text = CUDA + "[tool.polywheel]\ntest-requires = 'x'\nemulate = true\n"
    warnings = plan_of(text).warnings
    assert "emulate, test-requires: no effect, because no wheel has a test-command" in warnings[-1]
    assert plan_of(text + "test-command = 'y'\n").warnings == warnings[:-1]


def test_jobs_that_share_a_build_have_their_own_tests() -> None:
    text = CUDA + "[tool.polywheel]\ntest-command = ['a', 'b {label}']\ntest-extras = 'x, y'\n"
    plan = plan_of(text + override('"cu12"', "test-command = 'c'\ntest-groups = 'one two'"))
    assert len(plan.builds) == 1
    tests = {str(job.label): plan.settings_of(job).tests for job in plan.jobs}
    assert {label: one.test_command for label, one in tests.items()} == {
        label: "c" if label == "cu12" else f"a && b {label}" for label in tests
    }
    assert {one.test_extras for one in tests.values()} == {("x", "y")}
    assert tests["cu12"].test_groups == ("one", "two")
    assert plan.settings_of(plan.jobs[0]).image == plan.builds[0].settings.image


def test_builds_on_different_machines_share_no_ci_job() -> None:
    text = TWO_PYTHONS + CUDA + override('"cu12"', 'image = "cu12"')
    plan = plan_of(text)
    assert len(plan.builds) == 4
    packs = pack(plan, 2, {})
    assert [{build.settings.image for build in p.builds} for p in packs] == [
        {"cu12"},
        {"quay.io/pypa/manylinux_2_28_x86_64"},
    ]


def test_the_plan_has_the_settings_of_builds() -> None:
    text = CUDA + override('"cu12"', 'runner = ["a", "b"]\nenvironment = { X = "1" }')
    text += override(
        '"cu13"', 'container-credentials = { username = "{cuda}", password-secret = "T" }'
    )
    plan = plan_of(text)
    document = plan_as_json(plan)
    cu12, cu13 = document["builds"]
    assert cu12["settings"] == {"runner": ["a", "b"], "environment": {"X": "1"}}
    assert cu12["set_by"] == {"runner": f"{OVERRIDES}[0]", "environment.X": f"{OVERRIDES}[0]"}
    assert cu13["settings"] == {
        "container_credentials": {"username": "cu13", "password_secret": "T"}
    }
    again = parse_plan(json.dumps(document))
    assert again == plan
    assert again.builds[1].settings.container_credentials == Credentials(
        username="cu13", password_secret="T"
    )


def test_a_plan_of_shape_1() -> None:
    document = plan_as_json(plan_of(CUDA))
    document["shape"] = 1
    for target in document["targets"].values():
        target["environment"] = target.pop("markers")
        for key in ("platform", "container_options", "container_credentials", "before_all"):
            del target[key]
    for build in document["builds"]:
        del build["settings"], build["set_by"]
    plan = parse_plan(json.dumps(document))
    assert plan.targets["linux-x86_64"].markers["sys_platform"] == "linux"
    assert plan.targets["linux-x86_64"].settings.environment == {}
    assert plan.builds[0].settings.runner == ("ubuntu-24.04",)
    assert plan.builds_for("linux-x86_64") == list(plan.builds)
    assert not difference(plan, plan_of(CUDA))


def test_why_names_the_override_of_each_setting(tmp_path: Path) -> None:
    text = CUDA + override('"*"', 'image = "a"\nenvironment = { X = "{cuda}" }')
    text += override('"cu13"', 'image = "b-{cuda}"')
    write(tmp_path, tomli_w.dumps(document(text)))
    plan = polywheel.expand(tmp_path)
    reasons = cell_reasons(read_project(tmp_path, variants=True), plan, "cu13")
    assert [(part.name, part.at) for part in reasons[0].settings] == [
        ("image = b-cu13", f"{OVERRIDES}[1].image"),
        ("environment.X = cu13", f"{OVERRIDES}[0].environment.X"),
    ]
    assert reasons_as_json(reasons)["cells"][0]["settings"][0] == {
        "setting": "image = b-cu13",
        "at": f"{OVERRIDES}[1].image",
    }
    assert any(
        "image = b-cu13" in line and "[1].image" in line for line in reasons_as_lines(reasons)
    )


def test_a_python_whose_wheel_another_one_builds() -> None:
    text = TWO_PYTHONS + CUDA.replace("label =", 'wheel-tag = "abi3"\nlabel =')
    problem = one_problem(text + override('{ python = ["3.11", "3.12"] }', 'image = "x"'))
    assert problem.what == "no build of the override has the python '3.12'"
    assert "is built with the lowest" in str(problem.hint)


def test_a_target_that_a_matrix_without_targets_never_builds() -> None:
    text = CUDA + '[tool.polywheel.targets.box]\nplatform = "linux-x86_64"\n'
    problem = one_problem(text, here='[tool.polywheel.matrix]\npython = ["3.12"]\n')
    assert problem.what.startswith("no job of the matrix is for the target 'box': without targets")


def test_settings_of_a_target_whose_wheels_are_built_elsewhere() -> None:
    text = 'targets = ["linux-x86_64", "macos-arm64"]\n'
    text += CUDA.replace("label =", 'wheel-tag = "py3-none-any"\nlabel =')
    text += '[tool.polywheel.targets.macos-arm64]\nmarkers = { platform_release = "24" }\n'
    same = plan_of(text).warnings
    *others, warning = plan_of(text + 'before-build = "x"\nenvironment = { A = "1" }\n').warnings
    assert tuple(others) == same
    assert warning == (
        "environment, before-build of the target 'macos-arm64' have no effect: its wheels are for any platform, "
        "and are built on linux-x86_64 (pyproject.toml: tool.polywheel.targets.macos-arm64)"
    )


def test_globs_of_test_skip_that_match_nothing() -> None:
    def warnings(skip: str, more: str = "", *, complete: bool = True) -> list[str]:
        text = f"{CUDA}\n[tool.polywheel]\ntest-command = 'x'\ntest-skip = [{skip}]\n{more}"
        if complete:
            plan = plan_of(text)
        else:
            head = "\n[tool.polywheel.matrix]\n"
            plan = expand_project(project_of(document(text, here=head)))
        return [warning for warning in plan.warnings if warning.startswith("test-skip: ")]

    what = "matches no label, id of a job, or identifier of cibuildwheel"
    (warning,) = warnings("'cu12', '*-non-*', 'linux-*-cu13', 'cp3*-manylinux_x86_64'")
    at = "pyproject.toml: tool.polywheel.test-skip[1]"
    assert f"'*-non-*' {what} ({at}); known: cp312-manylinux_x86_64, cu12, " in warning
    (warning,) = warnings("'cu14'")
    assert "did you mean 'cu1" in warning
    (warning,) = warnings("'cp{38,39}-*'")
    assert "write a glob for each alternative" in warning
    # A matrix without targets has other wheels on other machines.
    (warning,) = warnings("'*-macosx_*', 'cp311-win*', 'cp36-*'", complete=False)
    assert "'cp36-*'" in warning
    # The list of an override replaces that of the project.
    skips = warnings("'cu13'", override('"cu12"', "test-skip = ['cu12', 'cu13']"))
    assert f"'cu13' {what} ({OVERRIDES}[0].test-skip[1])" in skips[0]
    (warning,) = warnings("", '[tool.polywheel.targets.linux-x86_64]\ntest-skip = "*-x"\n')
    assert "tool.polywheel.targets.linux-x86_64.test-skip[0]" in warning
    assert not warnings("'*'")
