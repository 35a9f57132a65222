"""``[tool.polywheel.matrix]`` and ``[tool.polywheel.targets]``: every key, and every mistake."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polywheel.config.matrix_table import read_matrix
from polywheel.config.reader import parse_size
from polywheel.errors import ConfigError, Problem
from polywheel.matrix.platforms import known_targets
from polywheel.model.matrix import (
    AxisValue,
    BuildSettings,
    Credentials,
    Inclusion,
    Matrix,
    Pattern,
    Target,
)
from polywheel.model.variant import VariantProperty
from support.matrices import AT, matrix_of, project_of, targets_of

EVERYTHING = """
python = ["3.9", "3.13", "3.13t"]
targets = ["linux-x86_64", "my.own_machine-2"]
variants = ["cu*", "x[!0-9]?"]
label = "{level}_{blas}"
null = true
plain = true
max-cells = 77
wheel-tag = "abi3"
share-builds = false
rows = [{ level = "v2", blas = "none" }, { level = "v3", blas = "mkl" }]
exclude = [{ level = "v2", python = "3.9" }, { label = "v3_mkl", target = "linux-x86_64" }]
include = [
    { level = "v3", blas = "mkl", properties = ["blas::library::mkl"] },
    { label = "special", python = "3.9", target = "linux-x86_64", properties = ["cpu::level::v1"] },
]
[tool.polywheel.matrix.axes.level]
v2 = ["cpu :: level :: v2"]
v3 = { properties = ["cpu::level::v3", "cpu :: level :: v2"], when = " python_version > '3.9' " }
[tool.polywheel.matrix.axes.blas]
none = []
nothing = {}
mkl = { when = "sys_platform == 'linux'" }
"""


def prop(text: str) -> VariantProperty:
    return VariantProperty.parse(text)


def test_every_key() -> None:
    level, blas = f"{AT}.axes.level", f"{AT}.axes.blas"
    v2, v3 = prop("cpu::level::v2"), prop("cpu::level::v3")
    assert matrix_of(EVERYTHING) == Matrix(
        python=("3.9", "3.13", "3.13t"),
        targets=("linux-x86_64", "my.own_machine-2"),
        variants=("cu*", "x[!0-9]?"),
        axes={
            "level": (
                AxisValue(name="v2", properties=(v2,), at=f"{level}.v2"),
                AxisValue(
                    name="v3", properties=(v3, v2), when="python_version > '3.9'", at=f"{level}.v3"
                ),
            ),
            "blas": (
                AxisValue(name="none", at=f"{blas}.none"),
                AxisValue(name="nothing", at=f"{blas}.nothing"),
                AxisValue(name="mkl", when="sys_platform == 'linux'", at=f"{blas}.mkl"),
            ),
        },
        rows=(
            Pattern(values={"level": "v2", "blas": "none"}, at=f"{AT}.rows[0]"),
            Pattern(values={"level": "v3", "blas": "mkl"}, at=f"{AT}.rows[1]"),
        ),
        exclude=(
            Pattern(values={"level": "v2", "python": "3.9"}, at=f"{AT}.exclude[0]"),
            Pattern(values={"label": "v3_mkl", "target": "linux-x86_64"}, at=f"{AT}.exclude[1]"),
        ),
        include=(
            Inclusion(
                pattern=Pattern(values={"level": "v3", "blas": "mkl"}, at=f"{AT}.include[0]"),
                properties=(prop("blas::library::mkl"),),
            ),
            Inclusion(
                pattern=Pattern(
                    values={"label": "special", "python": "3.9", "target": "linux-x86_64"},
                    at=f"{AT}.include[1]",
                ),
                properties=(prop("cpu::level::v1"),),
            ),
        ),
        label="{level}_{blas}",
        null=True,
        plain=True,
        max_cells=77,
        wheel_tag="abi3",
        share_builds=False,
        at=AT,
    )


def test_nothing_need_be_said() -> None:
    assert matrix_of("") == Matrix(at=AT)


def test_no_globs_are_not_the_same_as_none_given() -> None:
    assert matrix_of("").variants is None
    assert matrix_of("variants = []").variants == ()


def test_a_target() -> None:
    text = """
    [tool.polywheel.targets.box]
    platform = "linux-x86_64"
    runner = "self-hosted"
    image = ""
    platform-tags = ["manylinux_*_x86_64", "linux_x86_64"]
    markers = { platform_release = "6.1" }
    environment = { CUDA_HOME = "/usr/local/cuda" }
    container-options = "--gpus all"
    container-credentials = { username = "me", password-secret = "TOKEN" }
    before-all = "dnf install -y cuda"
    before-build = "pip list"
    repair-command = "auditwheel repair {wheel} -w {dest_dir}"
    test-command = "pytest {project}"
    memory-per-job = "2G"
    job-timeout = 1.5
    [tool.polywheel.targets."other.one"]
    runner = ["self-hosted", "gpu"]
    """
    assert targets_of(text) == {
        "box": Target(
            name="box",
            platform="linux-x86_64",
            platform_tags=("manylinux_*_x86_64", "linux_x86_64"),
            markers={"platform_release": "6.1"},
            settings=BuildSettings(
                runner=("self-hosted",),
                image="",
                container_options="--gpus all",
                container_credentials=Credentials(username="me", password_secret="TOKEN"),
                environment={"CUDA_HOME": "/usr/local/cuda"},
                before_all="dnf install -y cuda",
                before_build="pip list",
                repair_command="auditwheel repair {wheel} -w {dest_dir}",
                test_command="pytest {project}",
                memory_per_job="2G",
                job_timeout=1.5,
            ),
            at="pyproject.toml: tool.polywheel.targets.box",
        ),
        "other.one": Target(
            name="other.one",
            settings=BuildSettings(runner=("self-hosted", "gpu")),
            at='pyproject.toml: tool.polywheel.targets."other.one"',
        ),
    }


def test_the_targets_that_polywheel_knows_say_everything() -> None:
    for name, target in known_targets().items():
        assert target.name == name
        assert target.settings.runner
        assert target.platform_tags
        assert {"os_name", "sys_platform", "platform_system", "platform_machine"} == {
            *target.markers
        }
        assert bool(target.settings.image) == name.startswith(("linux", "musllinux"))


AXIS = '[tool.polywheel.matrix.axes.level]\nv2 = ["cpu::level::v2"]\nv3 = []\n'


@pytest.mark.parametrize(
    ("text", "at", "what", "hint"),
    [
        ("python = '3.12'", "python", "expected a list of strings, found a string", ""),
        (
            "python = ['3.12', 3.10]",
            "python[1]",
            "expected a string, found 3.1",
            "write it in quotes",
        ),
        ("python = ['3.12', 3]", "python[1]", "expected a string, found 3", ""),
        ("python = ['3.12', '3.12']", "python[1]", "'3.12' is listed twice", ""),
        ("python = ['3.12.1']", "python[0]", "malformed version of Python '3.12.1'", "'3.12'?"),
        ("python = ['2.7']", "python[0]", "malformed version of Python '2.7'", 'write "3.13"'),
        ("python = ['3.x']", "python[0]", "malformed version of Python '3.x'", 'write "3.13"'),
        ("python = ['pypy3.11']", "python[0]", "'pypy3.11'", "PyPy is not supported"),
        ("python = ['cp312']", "python[0]", "malformed version of Python 'cp312'", "'3.12'?"),
        ("python = ['cp313t']", "python[0]", "malformed version of Python 'cp313t'", "'3.13t'?"),
        ("python = ['3.12\\n']", "python[0]", "of Python '3.12\\\\n'", 'write "3.13"'),
        ('python = ["3.12\\n"]', "python[0]", "of Python '3.12\\n'", 'write "3.13"'),
        ("python = []", "python", "expected at least one string", "remove the key"),
        ("targets = []", "targets", "expected at least one string", "remove the key"),
        ("targets = ['a b']", "targets[0]", "malformed name 'a b'", "^[A-Za-z0-9]["),
        ("targets = ['../x']", "targets[0]", "malformed name '../x'", "^[A-Za-z0-9]["),
        ("targets = ['-x']", "targets[0]", "malformed name '-x'", "^[A-Za-z0-9]["),
        ("targets = ['a', 'a']", "targets[1]", "'a' is listed twice", ""),
        ("python = []", "python", "expected at least one string, found an empty list", ""),
        ("targets = []", "targets", "expected at least one string, found an empty list", ""),
        ("targets = {}", "targets", "expected a list of strings, found a table", ""),
        ("variants = '*'", "variants", "expected a list of strings, found a string", ""),
        ("variants = ['CU*']", "variants[0]", "malformed name 'CU*'", "it must match"),
        ("variants = ['a', 'a']", "variants[1]", "'a' is listed twice", ""),
        ("label = 1", "label", "expected a string, found 1", ""),
        ("null = 'yes'", "null", "expected true or false, found a string", ""),
        ("plain = 1", "plain", "expected true or false, found 1", ""),
        ("share-builds = 0", "share-builds", "true or false, found 0", ""),
        ("max-cells = '9'", "max-cells", "expected a number, found a string", ""),
        ("max-cells = true", "max-cells", "expected a number, found a boolean", ""),
        ("max-cells = 0", "max-cells", "a whole number from 1 to 1000000, found 0", ""),
        ("max-cells = -1", "max-cells", "a whole number from 1 to 1000000, found -1", ""),
        ("max-cells = 1.5", "max-cells", "a whole number from 1 to 1000000, found 1.5", ""),
        ("max-cells = 1000001", "max-cells", "from 1 to 1000000, found 1e+06", ""),
        ("max-cells = inf", "max-cells", "expected a number, found inf", ""),
        ("max-cells = nan", "max-cells", "expected a number, found nan", ""),
        (f"max-cells = 1{'0' * 400}", "max-cells", "expected a number, found a long number", ""),
        ("wheel-tag = 'abi'", "wheel-tag", "unknown wheel tag 'abi'", "did you mean 'abi3'?"),
        ("wheel-tag = 'x'", "wheel-tag", "unknown wheel tag 'x'", "known: "),
        ("wheel-tag = []", "wheel-tag", "expected a string, found a list", ""),
        ("share_builds = true", "share_builds", "unknown key 'share_builds'", "'share-builds'?"),
        ("exclud = []", "exclud", "unknown key 'exclud'", "did you mean 'exclude'?"),
        ("axes = []", "axes", "expected a table, found a list", ""),
        ("axes = { level = 1 }", "axes.level", "expected a table, found 1", ""),
        ("axes = { level = {} }", "axes.level", "the axis 'level' has no values", "add a value"),
        ("axes = { 'a b' = { x = [] } }", 'axes."a b"', "malformed name 'a b'", "it must match"),
        ("axes = { python = { x = [] } }", "axes.python", "can't be called 'python'", "reserved"),
        ("axes = { target = { x = [] } }", "axes.target", "can't be called 'target'", "reserved"),
        ("axes = { project = { x = [] } }", "axes.project", "called 'project'", "placeholders"),
        ("axes = { platform = { x = [] } }", "axes.platform", "called 'platform'", "placeholders"),
        ("axes = { label = { x = [] } }", "axes.label", "can't be called 'label'", "reserved"),
        ("axes = { a = { 'x y' = [] } }", 'axes.a."x y"', "malformed name 'x y'", "it must match"),
        ("axes = { a = { x = 1 } }", "axes.a.x", "a list of properties, or a table with", ""),
        ("axes = { a = { x = 'cpu' } }", "axes.a.x", "with properties, found a string", ""),
        ("axes = { a = { x = [1] } }", "axes.a.x[0]", "expected a string, found 1", ""),
        ("axes = { a = { x = ['cpu'] } }", "axes.a.x[0]", "malformed variant property", "expected"),
        (
            "axes = { a = { x = { properties = ['b::c::d', 'b :: c :: d'] } } }",
            "axes.a.x.properties[1]",
            "'b :: c :: d' is listed twice",
            "",
        ),
        ("axes = { a = { x = { propertys = [] } } }", "axes.a.x.propertys", "unknown key", "'prop"),
        (
            "axes = { a = { x = { when = 'os_nam == 1' } } }",
            "axes.a.x.when",
            "malformed marker",
            "",
        ),
        ("axes = { a = { x = { when = 1 } } }", "axes.a.x.when", "expected a string, found 1", ""),
        (
            "rows = {}",
            "rows",
            "expected a list of tables, found a table",
            "write [[tool.polywheel.matrix.rows]] in place of [tool.polywheel.matrix.rows]",
        ),
        ("rows = [1]", "rows[0]", "expected a table, found 1", ""),
        (f"rows = [{{ }}]\n{AXIS}", "rows[0]", "the table is empty", "add values"),
        (f"rows = [{{ level = 1 }}]\n{AXIS}", "rows[0].level", "expected a string, found 1", ""),
        (f"rows = [{{ level = 'v4' }}]\n{AXIS}", "rows[0].level", "no value 'v4'", "known: v2, v3"),
        (f"rows = [{{ levl = 'v2' }}]\n{AXIS}", "rows[0].levl", "unknown key 'levl'", "'level'?"),
        (
            f"rows = [{{ level = 'v2', python = '3.12' }}]\n{AXIS}",
            "rows[0].python",
            "unknown key 'python'",
            "",
        ),
        (
            f"rows = [{{ level = 'v2' }}, {{ level = 'v2' }}]\n{AXIS}",
            "rows[1]",
            "duplicate of rows[0]",
            "leave it out",
        ),
        (
            (
                f"rows = [{{ level = 'v2' }}, {{ a = 'x' }}]\n{AXIS}\n"
                "[tool.polywheel.matrix.axes.a]\nx = []"
            ),
            "rows[0]",
            "the row has no value for the axis 'a'",
            "every row",
        ),
        ("exclude = [[]]", "exclude[0]", "expected a table, found a list", ""),
        ("exclude = 'v2'", "exclude", "expected a list, found a string", ""),
        ("exclude = [{}]", "exclude[0]", "the table is empty", "add values"),
        (
            f"exclude = [{{ level = 'v1' }}]\n{AXIS}",
            "exclude[0].level",
            "no value 'v1'",
            "known: v2, v3",
        ),
        (f"exclude = [{{ levle = 'v2' }}]\n{AXIS}", "exclude[0].levle", "unknown key", "'level'?"),
        (
            "exclude = [{ python = 3.12 }]",
            "exclude[0].python",
            "expected a string, found 3.12",
            "in quotes",
        ),
        ("exclude = [{ python = 3 }]", "exclude[0].python", "expected a string, found 3", ""),
        ("exclude = [{ when = 'x' }]", "exclude[0].when", "unknown key 'when'", ""),
        (
            "exclude = [{ level = 'v2', python = '3.9' }, { python = '3.9', level = 'v2' }]\n"
            + AXIS,
            "exclude[1]",
            "duplicate of exclude[0]",
            "leave it out",
        ),
        ("include = [7]", "include[0]", "expected a table, found 7", ""),
        ("include = [{}]", "include[0]", "the table is empty", "add values"),
        ("include = [{ labl = 'x' }]", "include[0].labl", "unknown key 'labl'", "'label'?"),
        (
            "include = [{ label = 'X-y' }]",
            "include[0].label",
            "malformed variant label 'X-y'",
            "a-z",
        ),
        ("include = [{ label = '' }]", "include[0].label", "malformed variant label ''", "a-z"),
        (
            "include = [{ label = 'x', properties = 'a::b::c' }]",
            "include[0].properties",
            "expected a list of strings, found a string",
            "",
        ),
        (
            "include = [{ label = 'x', properties = ['a::b'] }]",
            "include[0].properties[0]",
            "malformed variant property 'a::b'",
            "expected",
        ),
        (
            f"include = [{{ level = 'v1' }}]\n{AXIS}",
            "include[0].level",
            "no value 'v1'",
            "known: v2, v3",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, at: str, what: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        matrix_of(text)
    found = [one for one in caught.value.problems if what in one.what]
    assert len(found) == 1, caught.value.render()
    assert found[0].at == f"{AT}.{at}"
    assert hint in (found[0].hint or "")
    assert found[0].render().count("\n") <= 2


@pytest.mark.parametrize(
    ("text", "at", "what", "hint"),
    [
        ("targets = 1", "", "expected a table, found 1", ""),
        ("targets.x = 'y'", ".x", "expected a table, found a string", ""),
        ("targets.'x y' = {}", '."x y"', "malformed name 'x y'", "it must match"),
        ("targets.x.runner = 1", ".x.runner", "expected a label, or a list of labels, found 1", ""),
        ("targets.x.image = false", ".x.image", "expected a string, found a boolean", ""),
        ("targets.x.platform-tags = 'a'", ".x.platform-tags", "expected a list of strings", ""),
        ("targets.x.platform_tags = []", ".x.platform_tags", "unknown key", "'platform-tags'?"),
        (r'targets.x.before-build = "a\u0000"', ".x.before-build", "can't hold", ""),
        (r'targets.x.environment.A = "\u0000"', ".x.environment.A", "can't hold", ""),
        ("targets.x.repair-comand = ''", ".x.repair-comand", "unknown key", "'repair-command'?"),
        ("targets.x.environment = ''", ".x.environment", "expected a table", ""),
        ("targets.x.environment.os_name = 1", ".x.environment.os_name", "expected a string", ""),
        (
            "targets.x.environment.platform_machin = 'x'",
            ".x.environment.platform_machin",
            "unknown marker variable 'platform_machin'",
            "did you mean 'platform_machine'?",
        ),
        (
            "targets.x.environment.python_version = '3.1'",
            ".x.environment.python_version",
            "python_version is a marker variable",
            "",
        ),
    ],
)
def test_what_is_wrong_with_a_target(text: str, at: str, what: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        targets_of(f"[tool.polywheel]\n{text}")
    (problem,) = caught.value.problems
    assert problem.at == f"pyproject.toml: tool.polywheel.targets{at}"
    assert what in problem.what
    assert hint in (problem.hint or "")


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        matrix_of("null = 1\nplain = 2\npython = ['x']\n[tool.polywheel.targets.a]\nb = 3")
    assert len(caught.value.problems) == 4


KEYS = st.sampled_from(
    (
        *("python", "targets", "variants", "axes", "rows", "exclude", "include", "label", "null"),
        *("plain", "max-cells", "wheel-tag", "share-builds", "level", "v3", "properties", "when"),
        *("environment", "runner", "a\nb", ""),
    )
)
TEXTS = st.sampled_from(("3.12", "v3", "linux-x86_64", "cpu::level::v3", "{level}", "", "\n", "*"))
ANY = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.datetimes() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(KEYS, ANY, max_size=5) | ANY, st.dictionaries(KEYS, ANY, max_size=2) | ANY)
def test_any_table_is_a_matrix_or_a_config_error(matrix: Any, targets: Any) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        read = read_matrix(
            project_of({"tool": {"polywheel": {"matrix": matrix, "targets": targets}}})
        )
        assert isinstance(read.matrix, Matrix)
    except ConfigError as error:
        problems = error.problems
    for problem in problems:
        assert str(problem.at).startswith("pyproject.toml: tool.polywheel.")
        assert problem.render().count("\n") <= 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2G", 2 << 30),
        ("1.5 GiB", 3 << 29),
        ("512mb", 512 << 20),
        ("7", 7),
        *((text, None) for text in ("", "0", "G", "-1G", "1e9", "1,5G", "1.G", "2 x", "2G G")),
    ],
)
def test_sizes(text: str, found: int | None) -> None:
    assert parse_size(text) == found


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('memory-per-job = "much"', "expected a size such as '2G' or '512M', found 'much'"),
        ("job-timeout = 0", "expected seconds, more than 0 and at most 10000000, found 0"),
        ('job-timeout = "1h"', "expected a number"),
    ],
)
def test_limits_of_a_target_that_are_none(line: str, what: str) -> None:
    with pytest.raises(ConfigError) as raised:
        targets_of(f"[tool.polywheel.targets.box]\n{line}\n")
    assert what in raised.value.render()
    assert "tool.polywheel.targets.box." in raised.value.render()
