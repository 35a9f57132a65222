"""From a matrix to its plan: cells, builds, and every mistake."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from polywheel.config.reader import Problems, local_marker_environment
from polywheel.errors import ConfigError
from polywheel.matrix import expansion, platforms
from polywheel.matrix.expansion import expand, expand_project, matrix_variants
from polywheel.matrix.platforms import known_targets, running_python, this_target
from polywheel.model.matrix import Matrix
from polywheel.model.plan import NON_VARIANT, Build, Job, Removal
from polywheel.model.variant import VariantProperty
from support.matrices import (
    AT,
    HERE,
    VARIANT,
    builds,
    document,
    ids,
    labels,
    one_problem,
    plan_of,
    problems_of,
    project_of,
    write,
)

LEVEL = """
[tool.polywheel.matrix.axes.level]
v2 = ["cpu :: level :: v2"]
v3 = ["cpu :: level :: v3"]
"""
BLAS = """
[tool.polywheel.matrix.axes.blas]
openblas = ["blas :: library :: openblas"]
mkl = ["blas :: library :: mkl"]
"""
CUDA = """
[tool.polywheel.matrix.axes.cuda]
cpu = []
cu12 = ["gpu :: cuda :: 12"]
cu13 = ["gpu :: cuda :: 13"]
"""
BOTH = 'label = "{level}_{blas}"\n' + LEVEL + BLAS
DECLARED = """
[variant.variants.cu12]
gpu.cuda = ["12"]
[variant.variants.cu13]
gpu.cuda = ["13"]
[variant.variants.fast]
cpu.level = ["v3"]
"""


def prop(text: str) -> VariantProperty:
    return VariantProperty.parse(text)


# --- which cells there are ---


def test_a_product_of_axes_for_every_python_and_target() -> None:
    plan = plan_of(
        'python = ["3.11", "3.13", "3.13t"]\ntargets = ["windows-x86_64", "linux-x86_64"]\n'
        'wheel-tag = "python"\n' + BOTH
    )
    assert labels(plan) == ["v2_mkl", "v2_openblas", "v3_mkl", "v3_openblas"]
    assert len(plan.jobs) == len({job.id for job in plan.jobs}) == 4 * 3 * 2
    assert ids(plan.jobs[:5]) == [
        "linux-x86_64-cp311-v2_mkl",
        "linux-x86_64-cp311-v2_openblas",
        "linux-x86_64-cp311-v3_mkl",
        "linux-x86_64-cp311-v3_openblas",
        "linux-x86_64-cp313-v2_mkl",
    ]
    assert plan.jobs[-1].id == "windows-x86_64-cp313t-v3_openblas"
    assert plan.jobs[0] == Job(
        id="linux-x86_64-cp311-v2_mkl",
        label="v2_mkl",
        properties=(prop("blas::library::mkl"), prop("cpu::level::v2")),
        axes={"level": "v2", "blas": "mkl"},
        pythons=("3.11",),
        targets=("linux-x86_64",),
        build="linux-x86_64-cp311-v2_mkl",
        at=f"{AT}.axes",
    )
    assert plan.axes == {"level": ("v2", "v3"), "blas": ("openblas", "mkl")}
    assert plan.namespaces == ("gpu", "cpu", "blas")
    assert set(plan.targets) == {"windows-x86_64", "linux-x86_64"}
    at = "pyproject.toml: tool.polywheel.targets.linux-x86_64"
    assert plan.targets["linux-x86_64"] == replace(known_targets()["linux-x86_64"], at=at)
    assert plan.removed == ()


def test_a_value_without_properties_is_the_null_variant() -> None:
    plan = plan_of('label = "{cuda}"\n' + CUDA)
    assert [(job.label, job.axes) for job in plan.jobs] == [
        ("null", {"cuda": "cpu"}),
        ("cu12", {"cuda": "cu12"}),
        ("cu13", {"cuda": "cu13"}),
    ]


def test_a_value_without_properties_beside_others_takes_the_template() -> None:
    plan = plan_of('label = "{cuda}_{level}"\n' + CUDA + LEVEL)
    job = plan.job("linux-x86_64-cp312-cpu_v2")
    assert job is not None
    assert job.properties == (prop("cpu::level::v2"),)
    assert len(plan.jobs) == 6


def test_null_and_plain() -> None:
    plan = plan_of("null = true\nplain = true\n" + 'label = "{level}"\n' + LEVEL)
    assert labels(plan) == [None, "null", "v2", "v3"]
    plain, null = plan.jobs[:2]
    assert (plain.id, plain.at) == (f"linux-x86_64-cp312-{NON_VARIANT}", f"{AT}.plain")
    assert (null.id, null.at) == ("linux-x86_64-cp312-null", f"{AT}.null")
    assert (plain.properties, plain.axes, null.properties, null.axes) == ((), {}, (), {})


def test_null_is_one_wheel_where_the_axes_have_it_too() -> None:
    plan = plan_of('null = true\nlabel = "{cuda}"\n' + CUDA)
    assert labels(plan) == ["null", "cu12", "cu13"]
    assert plan.jobs[0].axes == {"cuda": "cpu"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["cu12", "cu13", "fast"]),
        ("variants = ['cu*']", ["cu12", "cu13"]),
        ("variants = ['*2', 'fa?t']", ["cu12", "fast"]),
        ("variants = ['cu1[!2]', '*']", ["cu12", "cu13", "fast"]),
        ("variants = []\nnull = true", ["null"]),
        ('label = "{blas}"\n' + BLAS, ["mkl", "openblas"]),
        ('variants = ["cu*"]\nlabel = "{blas}"\n' + BLAS, ["cu12", "cu13", "mkl", "openblas"]),
    ],
)
def test_declared_variants_are_taken_by_glob(text: str, expected: list[str]) -> None:
    plan = plan_of(text, variant=VARIANT + DECLARED)
    assert labels(plan) == expected


def test_a_declared_variant_says_where_it_stands() -> None:
    variant = VARIANT + '[variant.variants."v3.1"]\ncpu.level = ["v3"]\n'
    (job,) = plan_of("", variant=variant).jobs
    assert job.at == 'pyproject.toml: variant.variants."v3.1"'


def test_a_declared_variant_is_one_wheel_where_the_axes_have_it_too() -> None:
    text = 'variants = ["fast"]\nlabel = "{level}"\n' + LEVEL.replace("v3 =", "fast =")
    plan = plan_of(text, variant=VARIANT + DECLARED)
    assert labels(plan) == ["fast", "v2"]
    assert plan.jobs[0].axes == {"level": "fast"}


def test_without_a_template_a_cell_has_the_label_of_its_declared_variant_or_the_hash() -> None:
    plan = plan_of(LEVEL, variant=VARIANT + DECLARED)
    assert labels(plan) == [hashlib.sha256(b"cpu :: level :: v2\n").hexdigest()[:8], "fast"]


def test_rows_take_the_place_of_the_product() -> None:
    text = (
        'label = "{cuda}_{blas}_{level}"\n'
        'rows = [{ cuda = "cu12", blas = "openblas" }, { blas = "mkl", cuda = "cu13" }, '
        '{ blas = "mkl", cuda = "cpu" }]\n' + CUDA + BLAS + LEVEL
    )
    plan = plan_of(text)
    assert labels(plan) == [
        *("cpu_mkl_v2", "cpu_mkl_v3", "cu12_openblas_v2", "cu12_openblas_v3"),
        *("cu13_mkl_v2", "cu13_mkl_v3"),
    ]
    job = plan.job("linux-x86_64-cp312-cu13_mkl_v3")
    assert job is not None
    assert job.at == f"{AT}.rows[1]"
    assert job.axes == {"cuda": "cu13", "blas": "mkl", "level": "v3"}


def test_axes_that_move_together_are_told_apart_by_one_of_them() -> None:
    rows = 'rows = [{ cuda = "cu12", blas = "openblas" }, { cuda = "cu13", blas = "mkl" }]\n'
    text = 'label = "{cuda}"\n' + rows + CUDA.replace("cpu = []\n", "") + BLAS
    assert labels(plan_of(text)) == ["cu12", "cu13"]


def test_when_is_about_target_and_python() -> None:
    text = (
        'python = ["3.11", "3.12", "3.13t"]\ntargets = ["linux-x86_64", "macos-arm64"]\n'
        'wheel-tag = "python"\nlabel = "{level}_{blas}"\n' + LEVEL + "[tool.polywheel.matrix.axes."
        "blas]\nopenblas = ['blas::library::openblas']\nmkl = { properties = "
        """['blas::library::mkl'], when = "platform_machine == 'x86_64' and python_version """
        """>= '3.12'" }"""
    )
    plan = plan_of(text)
    mkl = [job.id for job in plan.jobs if "mkl" in str(job.label)]
    assert mkl == [
        f"linux-x86_64-cp3{minor}-{level}_mkl" for minor in ("12", "13t") for level in ("v2", "v3")
    ]
    assert len(plan.jobs) == 12 + 4
    assert len(plan.removed) == 8
    assert {(one.by, one.at) for one in plan.removed} == {("when", f"{AT}.axes.blas.mkl.when")}
    assert (
        Removal(
            label="v2_mkl",
            axes={"level": "v2", "blas": "mkl"},
            python="3.11",
            target="linux-x86_64",
            by="when",
            at=f"{AT}.axes.blas.mkl.when",
        )
        in plan.removed
    )


@pytest.mark.parametrize(
    ("marker", "targets"),
    [
        ("sys_platform == 'linux'", {"linux-x86_64", "musllinux-aarch64"}),
        ("os_name == 'posix'", {"linux-x86_64", "musllinux-aarch64", "macos-arm64"}),
        ("platform_system == 'Windows'", {"windows-x86_64"}),
        ("platform_machine in 'AMD64 x86_64'", {"linux-x86_64", "windows-x86_64"}),
        ("platform_machine == 'arm64'", {"macos-arm64"}),
        ("implementation_name == 'cpython' and os.name == 'nt'", {"windows-x86_64"}),
    ],
)
def test_markers_are_about_the_target_and_not_this_machine(marker: str, targets: set[str]) -> None:
    text = (
        'targets = ["linux-x86_64", "musllinux-aarch64", "macos-arm64", "windows-x86_64"]\n'
        f'plain = true\nlabel = "{{a}}"\n[tool.polywheel.matrix.axes.a]\n'
        f'x = {{ properties = ["cpu::level::v3"], when = "{marker}" }}'
    )
    plan = plan_of(text)
    assert {job.target for job in plan.jobs if job.label == "x"} == targets


def test_a_target_of_ones_own_says_what_its_markers_are() -> None:
    text = (
        'targets = ["linux-riscv64"]\nlabel = "{a}"\n[tool.polywheel.matrix.axes.a]\nw = []\n'
        "x = { properties = ['cpu::level::v3'], when = \"platform_machine == 'riscv64'\" }\n"
        "[tool.polywheel.targets.linux-riscv64]\nrunner = 'self-hosted'\n"
    )
    problem = one_problem(text)
    assert (
        "is about platform_machine, and the target 'linux-riscv64' does not define it"
        in problem.what
    )
    assert problem.at == f"{AT}.axes.a.x.when"
    assert "targets.linux-riscv64] markers = { platform_machine" in str(problem.hint)
    said = plan_of(text + 'markers = { platform_machine = "riscv64" }')
    assert labels(said) == ["null", "x"]
    assert said.targets["linux-riscv64"].settings.runner == ("self-hosted",)


def test_what_a_project_says_of_a_known_target() -> None:
    text = (
        LEVEL + '[tool.polywheel.targets.linux-x86_64]\nrunner = "big"\nimage = ""\n'
        'environment = { platform_release = "6.1", LEVEL = "{l}" }\n'
    )
    target = plan_of(text).targets["linux-x86_64"]
    known = known_targets()["linux-x86_64"]
    assert target == replace(
        known,
        settings=replace(known.settings, runner=("big",), image="", environment={"LEVEL": "{l}"}),
        markers={**known.markers, "platform_release": "6.1"},
        at="pyproject.toml: tool.polywheel.targets.linux-x86_64",
    )


# --- exclude and include ---


def test_the_non_variant_wheel_can_be_excluded() -> None:
    text = "python = ['3.11', '3.12']\nplain = true\n"
    text += f"exclude = [{{ label = 'non-variant', python = '3.11' }}]\n{BOTH}"
    plan = plan_of(text)
    assert [job.python for job in plan.jobs if job.label is None] == ["3.12"]
    assert [removal.label for removal in plan.removed] == [None]


def test_an_exclude_need_name_only_part_of_a_cell() -> None:
    text = (
        'python = ["3.11", "3.12"]\nwheel-tag = "python"\nexclude = [{ level = "v2", blas = "mkl" }'
        ', { python = "3.11", level = "v3" }]\n' + BOTH
    )
    plan = plan_of(text)
    assert ids(plan.jobs) == [
        "linux-x86_64-cp311-v2_openblas",
        "linux-x86_64-cp312-v2_openblas",
        "linux-x86_64-cp312-v3_mkl",
        "linux-x86_64-cp312-v3_openblas",
    ]
    assert [(one.label, one.python, one.by, one.at) for one in plan.removed] == [
        ("v2_mkl", "3.11", "exclude", f"{AT}.exclude[0]"),
        ("v2_mkl", "3.12", "exclude", f"{AT}.exclude[0]"),
        ("v3_openblas", "3.11", "exclude", f"{AT}.exclude[1]"),
        ("v3_mkl", "3.11", "exclude", f"{AT}.exclude[1]"),
    ]


def test_an_exclude_by_label_reaches_everything() -> None:
    text = 'null = true\nexclude = [{ label = "null" }, { label = "cu12" }, { label = "v3_mkl" }]\n'
    text += 'variants = ["cu*"]\n' + BOTH
    plan = plan_of(text, variant=VARIANT + DECLARED)
    assert labels(plan) == ["cu13", "v2_mkl", "v2_openblas", "v3_openblas"]


def test_an_include_adds_properties_to_the_cells_that_it_fits() -> None:
    text = 'include = [{ level = "v3", properties = ["gpu::cuda::12"] }]\n' + BOTH
    plan = plan_of(text)
    with_gpu = [job.label for job in plan.jobs if prop("gpu::cuda::12") in job.properties]
    assert with_gpu == ["v3_mkl", "v3_openblas"]
    assert len(plan.jobs) == 4


def test_what_an_include_adds_changes_the_hash() -> None:
    text = 'include = [{ level = "v2", properties = ["gpu::cuda::12"] }]\n' + LEVEL
    spelled = b"cpu :: level :: v2\ngpu :: cuda :: 12\n"
    assert hashlib.sha256(spelled).hexdigest()[:8] in labels(plan_of(text))


def test_a_cell_to_which_properties_are_added_is_not_null_any_more() -> None:
    text = (
        'label = "{cuda}"\ninclude = [{ cuda = "cpu", properties = ["cpu::level::v3"] }]\n' + CUDA
    )
    assert labels(plan_of(text)) == ["cpu", "cu12", "cu13"]


def test_an_include_adds_to_all_cells_but_null_and_plain() -> None:
    text = 'null = true\nplain = true\ninclude = [{ properties = ["gpu::cuda::12"] }]\n' + BOTH
    plan = plan_of(text)
    without = [job.label for job in plan.jobs if prop("gpu::cuda::12") not in job.properties]
    assert without == [None, "null"]


def test_a_declared_null_variant_takes_nothing_either() -> None:
    text = 'variants = ["null"]\ninclude = [{ properties = ["gpu::cuda::12"] }]\n' + BOTH
    plan = plan_of(text, variant=VARIANT + "[variant.variants.null]\n")
    assert [job.label for job in plan.jobs if not job.properties] == ["null"]


def test_an_include_that_fits_no_cell_is_one() -> None:
    text = (
        'python = ["3.11", "3.12"]\nwheel-tag = "python"\n'
        'include = [{ label = "v3_gpu", python = "3.12", level = "v3", '
        'properties = ["gpu::cuda::12"] }]\n' + BOTH
    )
    plan = plan_of(text)
    (job,) = [job for job in plan.jobs if job.label == "v3_gpu"]
    assert job.id == "linux-x86_64-cp312-v3_gpu"
    assert job.properties == (prop("cpu::level::v3"), prop("gpu::cuda::12"))
    assert job.axes == {"level": "v3"}
    assert job.at == f"{AT}.include[0]"
    assert len(plan.jobs) == 8 + 1


def test_a_cell_of_its_own_stands_for_every_python_and_target_that_it_leaves_out() -> None:
    text = (
        'python = ["3.11", "3.12"]\ntargets = ["linux-x86_64", "macos-arm64"]\n'
        'wheel-tag = "python"\ninclude = [{ label = "a", properties = ["gpu::cuda::12"] }, '
        '{ label = "b", target = "macos-arm64", properties = ["gpu::cuda::13"] }]\n' + BOTH
    )
    own = [job.id for job in plan_of(text).jobs if job.label in {"a", "b"}]
    assert own == [
        *("linux-x86_64-cp311-a", "linux-x86_64-cp312-a"),
        *("macos-arm64-cp311-a", "macos-arm64-cp311-b"),
        *("macos-arm64-cp312-a", "macos-arm64-cp312-b"),
    ]


def test_an_include_brings_back_what_was_excluded() -> None:
    text = (
        'python = ["3.11", "3.12"]\nwheel-tag = "python"\nexclude = [{ level = "v3" }]\n'
        'include = [{ level = "v3", blas = "mkl", python = "3.12" }]\n' + BOTH
    )
    plan = plan_of(text)
    (job,) = [job for job in plan.jobs if job.axes["level"] == "v3"]
    assert (job.id, job.at) == ("linux-x86_64-cp312-v3_mkl", f"{AT}.include[0]")


def test_a_cell_that_an_include_made_takes_nothing_from_those_that_follow() -> None:
    text = (
        'exclude = [{ level = "v3" }]\ninclude = [{ level = "v3", blas = "mkl" }, '
        '{ level = "v3", label = "more", properties = ["gpu::cuda::13"] }, '
        '{ blas = "mkl", properties = ["gpu::cuda::12"] }]\n' + BOTH
    )
    properties = {job.label: job.properties for job in plan_of(text).jobs}
    assert properties["v3_mkl"] == (prop("blas::library::mkl"), prop("cpu::level::v3"))
    assert properties["more"] == (prop("cpu::level::v3"), prop("gpu::cuda::13"))
    assert prop("gpu::cuda::12") in properties["v2_mkl"]


def test_an_include_can_add_the_null_variant_for_one_python() -> None:
    text = (
        'python = ["3.11", "3.12"]\nwheel-tag = "python"\n'
        'include = [{ label = "null", python = "3.12" }]\n' + BOTH
    )
    null = [job for job in plan_of(text).jobs if job.label == "null"]
    assert ids(null) == ["linux-x86_64-cp312-null"]


def test_a_cell_of_its_own_is_only_where_its_values_exist() -> None:
    text = (
        'targets = ["linux-x86_64", "macos-arm64"]\nlabel = "{blas}"\n'
        'include = [{ label = "both", blas = "mkl", properties = ["cpu::level::v3"] }]\n'
        "[tool.polywheel.matrix.axes.blas]\nopenblas = ['blas::library::openblas']\n"
        "mkl = { properties = ['blas::library::mkl'], when = \"sys_platform == 'linux'\" }\n"
    )
    plan = plan_of(text)
    assert [job.id for job in plan.jobs if job.label == "both"] == ["linux-x86_64-cp312-both"]
    assert [(one.label, one.target, one.by) for one in plan.removed] == [
        ("mkl", "macos-arm64", "when"),
        ("both", "macos-arm64", "when"),
    ]


# --- what is wrong ---

FIVE = 'python = ["3.11", "3.12"]\ntargets = ["linux-x86_64", "macos-arm64"]\n'


@pytest.mark.parametrize(
    ("text", "at", "what", "hint"),
    [
        # matches nothing
        (
            f"exclude = [{{ python = '3.1' }}]\n{BOTH}",
            "exclude[0].python",
            "the matrix has no python '3.1'",
            "did you mean '3.12'?",
        ),
        (
            f"exclude = [{{ target = 'linux-aarch64' }}]\n{BOTH}",
            "exclude[0].target",
            "the matrix has no target 'linux-aarch64'",
            "did you mean 'linux-x86_64'?",
        ),
        (
            f"exclude = [{{ label = 'v3_mlk' }}]\n{BOTH}",
            "exclude[0]",
            "the exclude matches no cell: label = 'v3_mlk'",
            "did you mean 'v3_mkl'?",
        ),
        (
            f"exclude = [{{ level = 'v2', label = 'v3_mkl' }}]\n{BOTH}",
            "exclude[0]",
            "the exclude matches no cell: level = 'v2', label = 'v3_mkl'",
            "no cell has all these values",
        ),
        (
            f"plain = true\nexclude = [{{ label = 'non-varant' }}]\n{BOTH}",
            "exclude[0]",
            "the exclude matches no cell: label = 'non-varant'",
            "did you mean 'non-variant'?",
        ),
        (
            (
                "rows = [{ level = 'v2', blas = 'mkl' }, { level = 'v3', blas = 'openblas' }]\n"
                f"exclude = [{{ level = 'v3', blas = 'mkl' }}]\n{BOTH}"
            ),
            "exclude[0]",
            "the exclude matches no cell: level = 'v3', blas = 'mkl'",
            "no cell has all these values",
        ),
        (
            (
                "label = '{a}'\nexclude = [{ a = 'x', target = 'linux-x86_64' }]\n"
                "targets = ['linux-x86_64', 'macos-arm64']\n[tool.polywheel.matrix.axes.a]\n"
                "w = []\nx = { properties = ['cpu::level::v3'], when = \"sys_platform == 'darwin'\" }"
            ),
            "exclude[0]",
            "the exclude matches no cell: a = 'x', target = 'linux-x86_64'",
            "a `when` has already removed it",
        ),
        (
            (
                "label = '{a}'\n[tool.polywheel.matrix.axes.a]\nw = []\n"
                "x = { properties = ['cpu::level::v3'], when = \"sys_platform == 'linx'\" }"
            ),
            "axes.a.x.when",
            "the marker \"sys_platform == 'linx'\" is false for every target and Python",
            "add a target",
        ),
        (
            (
                "label = '{a}'\n[tool.polywheel.matrix.axes.a]\nw = []\n"
                "x = { properties = ['cpu::level::v3'], when = \"os_name ~= 'posix'\" }"
            ),
            "axes.a.x.when",
            "can't be evaluated",
            "compare with",
        ),
        (
            "variants = ['cu1*', 'rocm*']",
            "variants[1]",
            "no declared variant has a label that matches 'rocm*'",
            "known: cu12, cu13, fast",
        ),
        (
            f"variants = ['cu2']\nlabel = '{{blas}}'\n{BLAS}",
            "variants[0]",
            "no declared variant has a label that matches 'cu2'",
            "did you mean 'cu12'?",
        ),
        (
            (
                "rows = [{ level = 'v2', blas = 'mkl' }, { level = 'v3', blas = 'openblas' }, "
                "{ level = 'v3', blas = 'mkl' }]\n"
                f"exclude = [{{ level = 'v3', blas = 'mkl' }}]\n{BOTH}"
            ),
            "rows[2]",
            "no cell of this row is left",
            "removed by tool.polywheel.matrix.exclude[0]",
        ),
        (
            "rows = [{ level = 'v2', blas = 'mkl' }, { level = 'v2', blas = 'openblas' }]\n" + BOTH,
            "axes.level.v3",
            "no cell is left with the level 'v3'",
            "no row",
        ),
        (
            f"exclude = [{{ level = 'v3' }}]\n{BOTH}",
            "axes.level.v3",
            "no cell is left with the level 'v3'",
            "removed by tool.polywheel.matrix.exclude[0]",
        ),
        (
            f"{FIVE}exclude = [{{ python = '3.12' }}]\n{BOTH}",
            "python[1]",
            "no cell is left with the python '3.12'",
            "removed by tool.polywheel.matrix.exclude[0]",
        ),
        (
            f"{FIVE}exclude = [{{ target = 'macos-arm64' }}]\n{BOTH}",
            "targets[1]",
            "no cell is left with the target 'macos-arm64'",
            "removed by tool.polywheel.matrix.exclude[0]",
        ),
        (
            f"include = [{{ level = 'v3' }}]\n{BOTH}",
            "include[0]",
            "the include adds nothing",
            "add properties",
        ),
        (
            f"include = [{{ level = 'v3', properties = ['cpu::level::v3'] }}]\n{BOTH}",
            "include[0]",
            "the include adds nothing",
            "add properties",
        ),
        (
            (
                "include = [{ level = 'v3', properties = ['gpu::cuda::12'] }, "
                f"{{ blas = 'mkl', level = 'v3', properties = ['gpu::cuda::12'] }}]\n{BOTH}"
            ),
            "include[1]",
            "the include adds nothing",
            "add properties",
        ),
        (
            (
                "include = [{ blas = 'mkl', level = 'v3', properties = ['gpu::cuda::12'] }, "
                f"{{ level = 'v3', properties = ['gpu::cuda::12'] }}]\n{BOTH}"
            ),
            "include[0]",
            "the include adds nothing",
            "add properties",
        ),
        (
            f"include = [{{ python = '3.13', level = 'v3' }}]\n{BOTH}",
            "include[0].python",
            "the matrix has no python '3.13'",
            "did you mean '3.12'?",
        ),
        (
            (
                f"{FIVE}include = [{{ label = 'x', properties = ['gpu::cuda::12'] }}, "
                f"{{ label = 'x', python = '3.12', properties = ['gpu::cuda::12'] }}]\n{BOTH}"
            ),
            "include[1]",
            "the include adds nothing: all its cells exist already",
            "leave it out",
        ),
        (
            (
                f"{FIVE}include = [{{ label = 'x', python = '3.12', properties = ['gpu::cuda::12'] }}, "
                f"{{ label = 'x', properties = ['gpu::cuda::12'] }}]\n{BOTH}"
            ),
            "include[0]",
            "the include adds nothing: all its cells exist already",
            "leave it out",
        ),
        (
            f"include = [{{ label = 'v3_mlk' }}]\n{BOTH}",
            "include[0]",
            "no cell has the label 'v3_mlk', and the include has no properties",
            "did you mean 'v3_mkl'?",
        ),
        (
            (
                "targets = ['linux-x86_64', 'macos-arm64']\nlabel = '{a}'\n"
                "include = [{ a = 'x', target = 'linux-x86_64', label = 'y' }]\n"
                "[tool.polywheel.matrix.axes.a]\nw = []\n"
                "x = { properties = ['cpu::level::v3'], when = \"sys_platform == 'darwin'\" }"
            ),
            "include[0]",
            "the include creates no cell: 'x' does not exist there",
            "sys_platform == 'darwin'",
        ),
        # labels and properties
        (
            (
                f"include = [{{ label = 'v3_mkl', python = '3.12', properties = ['gpu::cuda::12'] }}]\n"
                f"{FIVE}{BOTH}"
            ),
            "axes",
            (
                "the label 'v3_mkl' stands for different properties: blas :: library :: mkl, "
                "cpu :: level :: v3 ("
            ),
            "a label must have the same properties",
        ),
        (
            (
                "variants = ['fast']\nlabel = 'fast'\n[tool.polywheel.matrix.axes.level]\n"
                "v2 = ['cpu::level::v2']"
            ),
            "axes",
            (
                "the label 'fast' stands for different properties: cpu :: level :: v3 (pyproject.toml: "
                "variant.variants.fast), and cpu :: level :: v2 (level = v2, python = 3.12"
            ),
            "a label must have the same properties",
        ),
        (
            f"label = '{{level}}'\n{LEVEL}",
            "axes",
            (
                "the same properties have two labels: 'fast' (pyproject.toml: variant.variants.fast) "
                "and 'v3'"
            ),
            "use one label for one set of properties",
        ),
        (
            (
                "label = '{level}'\n[tool.polywheel.matrix.axes.level]\n"
                "v2 = ['cpu::level::v2']\nlow = ['cpu::level::v2']"
            ),
            "axes",
            (
                "the same properties have two labels: 'v2' (pyproject.toml: tool.polywheel.matrix.axes) "
                "and 'low'"
            ),
            "use one label for one set of properties",
        ),
        (
            "[tool.polywheel.matrix.axes.cuda]\ncpu = []\nnone = []\ncu12 = ['gpu::cuda::12']",
            "axes",
            (
                "two cells are both 'null': cuda = cpu, python = 3.12, target = linux-x86_64; and "
                "cuda = none"
            ),
            "exclude one of them",
        ),
        (
            "label = '{level}'\n[tool.polywheel.matrix.axes.level]\nAVX2 = ['cpu::level::v2']",
            "label",
            (
                "the label template gives 'AVX2', and a label may contain only a-z, 0-9, _ and . (cell: level "
                "= 'AVX2')"
            ),
            "rename the value",
        ),
        (
            "label = '{level}-x'\n[tool.polywheel.matrix.axes.level]\nv2 = ['cpu::level::v2']",
            "label",
            "the label template gives 'v2-x'",
            "rename the value",
        ),
        (
            "label = '{level'\n[tool.polywheel.matrix.axes.level]\nv2 = ['cpu::level::v2']",
            "label",
            "the label template gives '{level'",
            "rename the value",
        ),
        (
            "label = '{level}'\n[tool.polywheel.matrix.axes.level]\nnull = ['cpu::level::v2']",
            "label",
            "the label template gives the label 'null' to a variant with properties",
            "rename the value",
        ),
        (
            f"label = '{{level}}'\n{LEVEL.replace('v3', 'v1')}{BLAS}",
            "label",
            "no placeholder of the label template distinguishes the values of 'blas'",
            "add {blas} to the template",
        ),
        (
            (
                "label = '{blas}'\nrows = [{ level = 'v2', blas = 'mkl' }, { level = 'v3', blas = 'mkl' }, "
                f"{{ level = 'v1', blas = 'openblas' }}]\n{LEVEL}v1 = ['cpu :: level :: v1']\n{BLAS}"
            ),
            "label",
            "no placeholder of the label template distinguishes the values of 'level'",
            "add {level} to the template",
        ),
        (
            f"label = '{{levl}}_{{blas}}_{{level}}'\n{LEVEL}{BLAS}",
            "label",
            "the label template names {levl}, which is not an axis",
            "did you mean 'level'?",
        ),
        (
            "label = 'x'\nvariants = ['fast']",
            "label",
            "the label template has no effect without axes",
            "declared variants keep their labels",
        ),
        (
            (
                f"include = [{{ level = 'v3', target = 'linux-x86_64', properties = ['gpu::cuda::12'] "
                f"}}]\nexclude = [{{ level = 'v3' }}]\n{BOTH}"
            ),
            "include[0]",
            "the label template needs {blas}, which this cell does not have (cell: level = 'v3')",
            "give its blas, or a label",
        ),
        (
            f"include = [{{ label = 'null', properties = ['gpu::cuda::12'] }}]\n{BOTH}",
            "include[0].label",
            "the include gives the label 'null' to a variant with properties",
            "reserved",
        ),
        # properties
        (
            "[tool.polywheel.matrix.axes.a]\nx = ['cpu::level::v2', 'cpus::level::v3']",
            "axes.a.x",
            "the namespace 'cpus' has no provider",
            "did you mean 'cpu'?",
        ),
        (
            "[tool.polywheel.matrix.axes.a]\nx = ['cpu::levels::v2']",
            "axes.a.x",
            "the provider of 'cpu' does not know the feature 'levels'",
            "did you mean 'level'?",
        ),
        (
            f"include = [{{ label = 'x', properties = ['cpu::level::v9'] }}]\n{BOTH}",
            "include[0].properties",
            "the provider of 'cpu' does not know the value of 'cpu :: level :: v9'",
            "v3",
        ),
        (
            "[tool.polywheel.matrix.axes.a]\nx = ['abi_dependency::torch::2.9.1.1']",
            "axes.a.x",
            "is not a version of one to three components",
            "abi_dependency :: torch :: 2.9",
        ),
        # places
        (
            f"targets = ['linux-x86']\n{LEVEL}",
            "targets[0]",
            "unknown target 'linux-x86'",
            "did you mean 'linux-x86_64'?",
        ),
        (
            f"targets = ['Windows-AMD64']\n{LEVEL}",
            "targets[0]",
            "unknown target 'Windows-AMD64'",
            "did you mean 'windows-x86_64'?",
        ),
        (
            f"targets = ['solaris']\n{LEVEL}",
            "targets[0]",
            "unknown target 'solaris'",
            "declare others under [tool.polywheel.targets.NAME]",
        ),
        # nothing
        ("variants = []", "", "the matrix is empty", "polywheel init"),
        (
            "exclude = [{ python = '3.12' }]\nvariants = ['fast']",
            "",
            "the matrix is empty",
            "removed by tool.polywheel.matrix.exclude[0]",
        ),
        (
            f"max-cells = 3\n{BOTH}",
            "",
            "has 4 cells, more than the limit of 3 (2 of level",
            "max-cells",
        ),
        (
            f"max-cells = 15\n{FIVE}{BOTH}",
            "",
            (
                "the matrix has 16 cells, more than the limit of 15 (2 of level, 2 of blas, 2 of python, 2 "
                "of targets)"
            ),
            "rows",
        ),
        ("max-cells = 2", "", "has 3 cells, more than the limit of 2 (3 of declared", "max-cells"),
        (
            f"max-cells = 4\ninclude = [{{ label = 'x', properties = ['gpu::cuda::12'] }}]\n{BOTH}",
            "",
            "the matrix has more than 4 cells, more than the limit of 4 (1 of include)",
            "max-cells",
        ),
    ],
)
def test_what_is_wrong_with_a_matrix(text: str, at: str, what: str, hint: str) -> None:
    """A declared variant has the properties of the value v3: without a template both are one."""
    declared = "fast" in text or "variants" in text or "max-cells = 2" in text or "'fast'" in what
    problem = one_problem(text, variant=VARIANT + (DECLARED if declared else ""))
    assert what in problem.what
    assert problem.at == (f"{AT}.{at}" if at else AT)
    assert hint in str(problem.hint)


def test_the_cells_of_a_message_are_of_this_machine_if_the_matrix_names_none() -> None:
    text = "[tool.polywheel.matrix.axes.cuda]\ncpu = []\nnone = []\ncu12 = ['gpu::cuda::12']\n"
    here = f"python = {running_python()}, target = {this_target()}"
    assert one_problem(text, here="").what == (
        f"two cells are both 'null': cuda = cpu, {here}; and cuda = none, {here}"
    )


def test_the_bound_holds_what_fits_exactly() -> None:
    assert len(plan_of(f"max-cells = 16\nwheel-tag = 'python'\n{FIVE}{BOTH}").jobs) == 16
    include = "include = [{ label = 'x', properties = ['gpu::cuda::12'] }]"
    assert len(plan_of(f"max-cells = 5\n{include}\n{BOTH}").jobs) == 5


def test_no_matrix_and_no_variant_is_an_empty_matrix() -> None:
    with pytest.raises(ConfigError, match="the matrix is empty"):
        expand_project(project_of({}))


def test_the_tables_for_an_sdist_are_in_another_file(tmp_path: Path) -> None:
    project = replace(project_of({}), source=tmp_path)
    (tmp_path / "PKG-INFO").touch()
    with pytest.raises(ConfigError) as caught:
        expand_project(project)
    hint = str(caught.value.problems[0].hint)
    assert hint.endswith("in a file, and pass it with --config FILE")


def test_two_declared_variants_with_the_same_properties() -> None:
    variant = VARIANT + DECLARED + '[variant.variants."v.3"]\ncpu.level = ["v3"]\n'
    problem = one_problem("", variant=variant)
    assert problem.at == 'pyproject.toml: variant.variants."v.3"'
    assert problem.what == (
        "the same properties have two labels: 'fast' (pyproject.toml: variant.variants.fast) "
        "and 'v.3'"
    )


def test_a_namespace_that_is_absent_from_the_priorities() -> None:
    variant = VARIANT.replace('["gpu", "cpu", "blas"]', '["gpu", "cpu"]')
    problem = one_problem(BOTH, variant=variant)
    assert problem.what == "the namespace 'blas' is missing from default-priorities.namespace"
    assert problem.at == "pyproject.toml: variant.providers.blas"


def test_a_mistake_is_said_once_and_not_for_every_cell() -> None:
    pythons = [f"3.{minor}" for minor in range(9, 15)]
    text = f'python = {pythons}\nlabel = "{{level}}"\n[tool.polywheel.matrix.axes.level]\n'
    text += "".join(f"v{n} = ['cpu::level::v2']\n" for n in range(20))
    assert len(problems_of(text)) == 19


def test_a_misspelt_target_is_one_error() -> None:
    text = "targets = ['linux-x86-64']\n[tool.polywheel.matrix.axes.library]\n"
    text += """mkl = { properties = ["blas :: library :: mkl"], when = "platform_machine == 'x86_64'" }"""
    assert one_problem(text).hint == "did you mean 'linux-x86_64'?"


def test_mistakes_are_said_together() -> None:
    text = (
        "exclude = [{ label = 'nothing' }]\nvariants = ['nothing']\nlabel = 'x'\n"
        "targets = ['nowhere']\n" + BOTH.partition("\n")[2]
    )
    assert len(problems_of(text)) >= 5


RULES = [
    (
        '"blas :: libraries"',
        "no variant of the matrix has a property that the rule 'blas :: libraries' is about",
        "did you mean 'blas :: library'?",
    ),
    (
        '"blas :: library :: atlas"',
        "no variant of the matrix has a property that the rule 'blas :: library :: atlas' is about",
        "did you mean 'blas :: library :: mkl'?",
    ),
    (
        "gpu",
        "no variant of the matrix has a property that the rule 'gpu' is about",
        "did you mean 'cpu'?",
    ),
    (
        '"label:v4*"',
        "no variant of the matrix has a label that matches 'v4*'",
        "known: v2_mkl",
    ),
]


@pytest.mark.parametrize(("key", "what", "hint"), RULES)
def test_a_setup_rule_without_effect(key: str, what: str, hint: str) -> None:
    problem = one_problem(BOTH + f"[tool.polywheel.setup.{key}]\ncflags = ['-x']")
    assert problem.what == what
    assert problem.at == f"pyproject.toml: tool.polywheel.setup.{key}"
    assert hint in str(problem.hint)


@pytest.mark.parametrize("key", ['"blas :: library :: mkl"', '"label:*mkl"'])
def test_a_rule_whose_marker_holds_nowhere_that_its_variants_are_for(key: str) -> None:
    """It holds on macOS, and the matrix is for macOS: but what the rule is about is not."""
    text = (
        "targets = ['linux-x86_64', 'macos-arm64']\n"
        "exclude = [{ blas = 'mkl', target = 'macos-arm64' }]\n" + BOTH
    )
    rule = f"[tool.polywheel.setup.{key}]\nwhen = \"sys_platform == '%s'\"\ncflags = ['-x']"
    assert plan_of(text + rule % "linux").jobs
    problem = one_problem(text + rule % "darwin")
    assert "holds for no variant that the rule" in problem.what
    assert problem.at == f"pyproject.toml: tool.polywheel.setup.{key}.when"
    assert problem.hint == "they are for Python 3.12 on linux-x86_64"


def test_a_rule_about_what_a_target_does_not_say() -> None:
    text = (
        "targets = ['linux-x86_64', 'linux-s390x']\n"
        + BOTH
        + '[tool.polywheel.targets.linux-s390x]\nrunner = "x"\n'
        "[tool.polywheel.setup.blas]\nwhen = \"sys_platform == 'linux'\"\ncflags = ['-x']"
    )
    problem = one_problem(text)
    assert "the target 'linux-s390x' does not define it" in problem.what
    assert problem.at == "pyproject.toml: tool.polywheel.setup.blas.when"


def test_a_provider_of_a_namespace_that_is_not_there() -> None:
    problem = one_problem(BOTH + "[tool.polywheel.providers.blass]\nquery = 'never'")
    assert problem.at == "pyproject.toml: tool.polywheel.providers.blass"
    assert problem.hint == "did you mean 'blas'?"


def test_a_target_that_exists_and_is_not_in_the_matrix() -> None:
    hint = "add 'linux-aarch64' to targets of the matrix"
    problem = one_problem(BOTH + "[tool.polywheel.targets.linux-aarch64]\nrunner = 'x'")
    assert problem.what == "no job of the matrix is for the target 'linux-aarch64'"
    assert problem.hint == hint
    selected = "[[tool.polywheel.overrides]]\nselect.target = 'linux-aarch64'\nrunner = 'x'"
    problem = one_problem(BOTH + selected)
    assert problem.what == "the matrix has no target 'linux-aarch64'"
    assert problem.hint == hint
    named = "[tool.polywheel.targets.linux-a]\nplatform = 'linux-x86_64'"
    assert one_problem(BOTH + named).hint == "add 'linux-a' to targets of the matrix"


def test_a_declared_target_without_a_job() -> None:
    problem = one_problem(BOTH + "[tool.polywheel.targets.linux-x86_65]\nrunner = 'x'")
    assert problem.what == "no job of the matrix is for the target 'linux-x86_65'"
    assert problem.at == "pyproject.toml: tool.polywheel.targets.linux-x86_65"
    assert problem.hint == "did you mean 'linux-x86_64'?"


# --- a matrix that does not say where it is for ---

ANYWHERE = "\n[tool.polywheel.matrix]\n"
ELSEWHERE = f"sys_platform == '{'linux' if sys.platform == 'win32' else 'win32'}'"


def test_it_is_for_this_machine_and_this_python() -> None:
    plan = expand_project(project_of(document(LEVEL, here=ANYWHERE)))
    assert {(job.target, job.python) for job in plan.jobs} == {(this_target(), running_python())}


def test_a_marker_about_another_machine_is_no_mistake() -> None:
    text = (
        "label = '{a}'\nexclude = [{ python = '3.8' }]\n[tool.polywheel.matrix.axes.a]\n"
        "w = ['cpu::level::v2']\n"
        f'x = {{ properties = ["cpu::level::v3"], when = "{ELSEWHERE}" }}\n'
        "[tool.polywheel.setup.'cpu :: level :: v3']\ncflags = ['-x']\n"
        "[tool.polywheel.targets.windows-x86_64]\nrunner = 'big'\n"
    )
    project = project_of(document(text, here=ANYWHERE))
    plan = expand_project(project)
    assert labels(plan) == ["w"]
    assert [one.by for one in plan.removed] == ["when"]
    assert set(matrix_variants(project)) == {"w"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("when = \"sys_platform == 'linx'\"", "is false for every target and Python"),
        ("when = \"python_version < '3'\"", "is false for every target and Python"),
        ("propertis = []", "unknown key"),
    ],
)
def test_a_marker_that_holds_nowhere_is_one(text: str, what: str) -> None:
    text = f"[tool.polywheel.matrix.axes.a]\nw = []\nx = {{ {text} }}\n"
    assert what in problems_of(text, here=ANYWHERE)[0].what


@pytest.mark.parametrize(
    "include", ["", "include = [{ label = 'x', properties = ['gpu::cuda::12'] }]\n"]
)
def test_too_large_is_too_large_here(include: str) -> None:
    """What would be allowed anywhere else does not matter."""
    text = f"max-cells = {3 if not include else 4}\n{include}{BOTH}"
    assert "more than the limit of" in one_problem(text, here=ANYWHERE).what


def test_an_unknown_machine_has_its_own_markers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name resembles that of a known target, but it is no misspelling."""
    monkeypatch.setattr(platforms, "this_target", lambda: "linux-ppc64le")
    targets = platforms.matrix_targets(Matrix(), {}, Problems())
    (target,) = targets.values()
    assert target.name == "linux-ppc64le"
    local = local_marker_environment()
    assert target.markers == {name: local[name] for name in target.markers}
    assert "platform_machine" in target.markers


def test_a_target_that_nobody_knows_is_one_without_pythons_too() -> None:
    here = "\n[tool.polywheel.matrix]\ntargets = ['linux-x86']\n"
    assert "unknown target" in one_problem(BOTH, here=here).what


def test_a_matrix_of_which_nothing_is_for_this_machine() -> None:
    text = f'[tool.polywheel.matrix.axes.a]\nx = {{ properties = ["cpu::level::v3"], when = "{ELSEWHERE}" }}\n'
    problem = one_problem(text, here=ANYWHERE)
    here = f"{this_target()} with Python {running_python()}"
    assert problem.what == f"nothing of the matrix is for {here}"
    assert problem.at == AT


# --- jobs ---


def tagged(tag: str) -> list[tuple[str, ...]]:
    plan = plan_of(
        "python = ['3.11', '3.12', '3.13t']\ntargets = ['linux-x86_64', 'macos-arm64']\n"
        f"wheel-tag = '{tag}'\nlabel = '{{level}}'\n{LEVEL}"
    )
    return [(job.id, *job.pythons, *job.targets) for job in plan.jobs if job.label == "v3"]


def test_one_wheel_for_every_python_and_platform() -> None:
    assert tagged("py3-none-any") == [
        ("any-py3-v3", "3.11", "3.12", "3.13t", "linux-x86_64", "macos-arm64")
    ]


def test_one_wheel_is_built_where_there_is_a_cell_of_it() -> None:
    text = (
        "python = ['3.11', '3.12']\ntargets = ['linux-x86_64', 'macos-arm64']\n"
        "wheel-tag = 'py3-none-any'\nlabel = '{level}'\n"
        "exclude = [{ python = '3.11', target = 'linux-x86_64' }]\n" + LEVEL
    )
    (first, second) = plan_of(text).jobs
    for job in (first, second):
        assert (job.pythons, job.targets) == (("3.11", "3.12"), ("macos-arm64", "linux-x86_64"))
        assert (job.python, job.target) == ("3.11", "macos-arm64")


def test_one_wheel_for_every_python() -> None:
    assert tagged("py3-none") == [
        (f"{target}-py3-v3", "3.11", "3.12", "3.13t", target)
        for target in ("linux-x86_64", "macos-arm64")
    ]


def test_the_stable_abi_is_not_for_free_threaded_pythons() -> None:
    assert tagged("abi3")[:2] == [
        ("linux-x86_64-abi3-v3", "3.11", "3.12", "linux-x86_64"),
        ("linux-x86_64-cp313t-v3", "3.13t", "linux-x86_64"),
    ]


def test_the_stable_abi_begins_somewhere() -> None:
    backend = (
        "[build-system]\nbuild-backend = 'scikit_build_core.build'\n"
        "[tool.scikit-build]\nwheel.py-api = 'cp312'\n"
    )
    text = document(
        "python = ['3.11', '3.12', '3.13']\nlabel = '{level}'\n" + LEVEL, variant=VARIANT + backend
    )
    plan = expand_project(project_of(text))
    assert [(job.id, job.pythons) for job in plan.jobs if job.label == "v3"] == [
        ("linux-x86_64-cp311-v3", ("3.11",)),
        ("linux-x86_64-abi3-v3", ("3.12", "3.13")),
    ]


@pytest.mark.parametrize(
    ("backend", "settings", "files", "expected"),
    [
        ("flit_core.buildapi", "", (), "any-py3-"),
        ("uv_build", "", (), "any-py3-"),
        ("hatchling.build", "", (), "any-py3-"),
        ("hatchling.build", "[tool.hatch.build.hooks.custom]", (), "linux-x86_64-cp312-"),
        ("hatchling.build", "[tool.hatch.build.targets.wheel.hooks.x]", (), "linux-x86_64-cp312-"),
        ("poetry.core.masonry.api", "", (), "any-py3-"),
        ("poetry.core.masonry.api", "[tool.poetry]\nbuild = 'b.py'", (), "linux-x86_64-cp312-"),
        ("pdm.backend", "", (), "any-py3-"),
        ("pdm.backend", "[tool.pdm.build]\nis-purelib = false", (), "linux-x86_64-cp312-"),
        ("pdm.backend", "[tool.pdm.build]\nrun-setuptools = true", (), "linux-x86_64-cp312-"),
        ("pdm.backend", "", ("pdm_build.py",), "linux-x86_64-cp312-"),
        ("setuptools.build_meta", "", (), "any-py3-"),
        ("setuptools.build_meta", "", ("setup.py",), "linux-x86_64-cp312-"),
        ("setuptools.build_meta", "", ("setup.cfg=[metadata]",), "linux-x86_64-cp312-"),
        ("setuptools.build_meta", "", ("setup.cfg=[egg_info]\ntag_build =",), "any-py3-"),
        ("hatchling.build", "[tool.hatch.build.hooks.vcs]\nversion-file = 'v'", (), "any-py3-"),
        (
            "setuptools.build_meta",
            "[[tool.setuptools.ext-modules]]\nname = 'x'",
            (),
            "linux-x86_64-cp312-",
        ),
        (
            "setuptools.build_meta",
            "[tool.distutils.bdist_wheel]\npy-limited-api = 'cp311'",
            ("setup.py",),
            "linux-x86_64-abi3-",
        ),
        ("mesonpy", "", (), "linux-x86_64-cp312-"),
        ("mesonpy", "[tool.meson-python]\nlimited-api = true", (), "linux-x86_64-abi3-"),
        ("scikit_build_core.build", "", (), "linux-x86_64-cp312-"),
        (
            "scikit_build_core.build",
            "[tool.scikit-build.wheel]\npy-api = 'py3'",
            (),
            "linux-x86_64-py3-",
        ),
        ("maturin", "", (), "linux-x86_64-cp312-"),
        ("maturin", "[tool.maturin]\nfeatures = ['pyo3/abi3-py39']", (), "linux-x86_64-abi3-"),
        ("maturin", "[tool.maturin]\nfeatures = 'abi3'", (), "linux-x86_64-cp312-"),
        ("maturin", "", ("Cargo.toml=[dependencies]\npyo3 = '0.22'",), "linux-x86_64-cp312-"),
        ("maturin", "", ("Cargo.toml=[dependencies.pyo3]",), "linux-x86_64-cp312-"),
        ("maturin", "", ("Cargo.toml=[dependencies]\nlibc = '1'",), "linux-x86_64-py3-"),
        ("maturin", "[tool.maturin]\nbindings = 'cffi'", (), "linux-x86_64-py3-"),
        ("maturin", "[tool.maturin]\nbindings = 'pyo3'", (), "linux-x86_64-cp312-"),
        ("somebody.elses", "", (), "linux-x86_64-cp312-"),
    ],
)
def test_what_a_wheel_is_for_is_told_from_the_backends_settings(
    backend: str, settings: str, files: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    for file in files:
        name, _, content = file.partition("=")
        (tmp_path / name).write_text(content, encoding="utf-8")
    tables = f"[build-system]\nbuild-backend = '{backend}'\n{settings}\n"
    plan = plan_of(f"label = '{{level}}'\n{LEVEL}", variant=VARIANT + tables, source=tmp_path)
    assert [job.id for job in plan.jobs] == [f"{expected}v2", f"{expected}v3"]


def test_a_hook_in_hatch_toml_makes_wheels_for_one_python(tmp_path: Path) -> None:
    tables = f"{VARIANT}{HERE}label = '{{level}}'\n{LEVEL}"
    tables += "[build-system]\nbuild-backend = 'hatchling.build'\n"
    (tmp_path / "pyproject.toml").write_text(tables, encoding="utf-8")
    assert expand(tmp_path).jobs[0].id == "any-py3-v2"
    (tmp_path / "hatch.toml").write_text("[build.hooks.custom]\n", encoding="utf-8")
    assert expand(tmp_path).jobs[0].id == "linux-x86_64-cp312-v2"


@pytest.mark.parametrize(
    ("requires", "pure"),
    [
        (["setuptools>=77", "wheel", "setuptools_scm[toml]>=8", "polywheel"], True),
        (["setuptools", "setuptools-rust"], False),
        (["setuptools", "Cython>=3"], False),
        (["setuptools", "cffi;python_version>'3'"], False),
    ],
)
def test_setuptools_with_what_makes_extension_modules(requires: list[str], pure: bool) -> None:
    tables = f"[build-system]\nbuild-backend = 'setuptools.build_meta'\nrequires = {requires}\n"
    plan = plan_of(f"label = '{{level}}'\n{LEVEL}", variant=VARIANT + tables)
    assert plan.jobs[0].id.startswith("any-py3-" if pure else "linux-x86_64-cp312-")


@pytest.mark.parametrize("tag", ["py3-none-any", "py3-none", "abi3"])
def test_one_wheel_cannot_serve_places_where_rules_ask_different_things(tag: str) -> None:
    text = (
        f"python = ['3.11', '3.12']\nwheel-tag = '{tag}'\nlabel = '{{level}}'\n"
        + LEVEL
        + "[tool.polywheel.setup.cpu]\nwhen = \"python_version >= '3.12'\"\ncflags = ['-x']"
    )
    problems = problems_of(text)
    assert [one.at for one in problems] == [f"{AT}.axes"] * 2
    assert "is for Python 3.11 on linux-x86_64 and Python 3.12 on linux-x86_64" in problems[0].what
    assert 'wheel-tag = "python"' in str(problems[0].hint)
    assert plan_of(text.replace(tag, "python")).jobs


# --- builds ---


def built(rules: str, text: str = "", *, variant: str = VARIANT) -> list[list[str]]:
    return builds(plan_of(f"null = true\nplain = true\n{text}{BOTH}{rules}", variant=variant))


ALL = ["non-variant", "null", "v2_mkl", "v2_openblas", "v3_mkl", "v3_openblas"]


def test_variants_that_only_stamp_are_one_build() -> None:
    plan = plan_of(f"null = true\nplain = true\n{BOTH}")
    assert plan.builds == (
        Build(
            id="linux-x86_64-cp312-non-variant",
            python="3.12",
            target="linux-x86_64",
            jobs=tuple(f"linux-x86_64-cp312-{label}" for label in ALL),
            settings=known_targets()["linux-x86_64"].settings,
            setup={},
        ),
    )
    assert {job.build for job in plan.jobs} == {"linux-x86_64-cp312-non-variant"}


def test_pythons_and_targets_are_builds_of_their_own() -> None:
    plan = plan_of(f"{FIVE}wheel-tag = 'python'\n{BOTH}")
    assert [(one.target, one.python, len(one.jobs)) for one in plan.builds] == [
        ("linux-x86_64", "3.11", 4),
        ("linux-x86_64", "3.12", 4),
        ("macos-arm64", "3.11", 4),
        ("macos-arm64", "3.12", 4),
    ]


def test_pythons_that_one_wheel_serves_are_one_build() -> None:
    plan = plan_of(f"{FIVE}wheel-tag = 'py3-none-any'\n{BOTH}")
    assert (len(plan.builds), len(plan.jobs)) == (1, 4)
    plan = plan_of(f"{FIVE}wheel-tag = 'abi3'\n{BOTH}")
    assert (len(plan.builds), len(plan.jobs)) == (2, 8)


BY_LEVEL = [["non-variant", "null"], ["v2_mkl", "v2_openblas"], ["v3_mkl", "v3_openblas"]]
ONE_LEVEL = [["non-variant", "null", "v2_mkl", "v2_openblas"], ["v3_mkl", "v3_openblas"]]
EACH = [[label] for label in ALL if label not in {"non-variant", "null"}]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("['cpu :: level']\ncflags = ['-m{value}']", BY_LEVEL),
        ("['cpu']\ndefines = { level = '{value}' }", BY_LEVEL),
        ("['cpu']\ncflags = ['-same']", [ALL[:2], ALL[2:]]),
        ("['cpu :: level :: v3']\ncflags = ['-x']", ONE_LEVEL),
        ("['cpu :: level :: v3']\nenv = { A = 'x' }", ONE_LEVEL),
        ("['cpu :: level :: v3']\nenv = { A = ['/not/there', '/nor/there'] }", ONE_LEVEL),
        ("['cpu :: level']\nenv = { A = ['/not/there/{value}'] }", BY_LEVEL),
        ("['cpu :: level :: v3']\nconfig-settings = { a = ['x'] }", ONE_LEVEL),
        ("['cpu :: level :: v3']\ndefines = { a = 'x' }", ONE_LEVEL),
        ("['cpu :: level :: v3']\nrequires = ['x']", ONE_LEVEL),
        ("['cpu :: level :: v3']\ndependencies = ['x']", ONE_LEVEL),
        ("['cpu :: level :: v3']\ncompiler.msvc.cflags = ['/x']", ONE_LEVEL),
        ("['cpu :: level :: v3']\nbackend.meson-python.cflags = ['-x']", ONE_LEVEL),
        ("['cpu :: level :: v3']\nbackend.setuptools.cflags = ['-x']", [ALL]),
        ("['cpu :: level :: v3']\ncflags = []", [ALL]),
        ("['cpu :: level :: v3']\nenv = { A = [] }", [ALL]),
        ("['label:v3*']\ncflags = ['-x']", ONE_LEVEL),
        ("['label:*']\ncflags = ['-x']", [["non-variant"], ALL[1:]]),
        ("['label:v*']\ncflags = ['-{label}']", [*EACH, ALL[:2]]),
        ("['*']\ncflags = ['-x']", [["non-variant"], ALL[1:]]),
        ("['*']\ndefines = { name = '{label}' }", [["non-variant"], ["null"], *EACH]),
        (
            "['cpu :: level :: v3']\nwhen = \"python_version >= '3.12'\"\ncflags = ['-x']",
            ONE_LEVEL,
        ),
    ],
)
def test_what_rules_ask_of_a_build_tells_builds_apart(
    rules: str, expected: list[list[str]]
) -> None:
    key, _, fields = rules.partition("]\n")
    assert built(f"[tool.polywheel.setup.{key[1:]}]\n{fields}") == sorted(expected)


def test_folders_are_not_looked_for_where_the_plan_is_made(tmp_path: Path) -> None:
    """The first folder that exists is taken while building, on whatever machine that is."""
    (tmp_path / "v2").mkdir()
    rule = f"[tool.polywheel.setup.'cpu :: level']\nenv = {{ A = ['{tmp_path.as_posix()}/{{value}}'] }}"
    assert built(rule) == sorted(BY_LEVEL)


def test_two_lists_of_folders_do_not_contradict_each_other_before_they_are_looked_for() -> None:
    rules = (
        "[tool.polywheel.setup.'cpu :: level']\nenv = { A = ['/not/there/{value}'] }\n"
        "[tool.polywheel.setup.'blas :: library']\nenv = { A = ['/nor/there/{value}'] }"
    )
    assert built(rules) == sorted([ALL[:2], *EACH])


def test_toolkits_of_a_preset_are_told_apart_where_none_is_installed() -> None:
    variant = """
    [variant.default-priorities]
    namespace = ["nvidia"]
    [variant.providers.nvidia]
    requires = ["nvidia-variant-provider"]
    [tool.polywheel]
    presets = ["nvidia"]
    [tool.polywheel.providers.nvidia]
    query = "preset"
    """
    text = "".join(
        f"cu{version.replace('.', '')} = ['nvidia :: cuda_version_lower_bound :: {version}']\n"
        for version in ("12.8", "13.0")
    )
    plan = plan_of(
        f"label = '{{cuda}}'\n[tool.polywheel.matrix.axes.cuda]\n{text}", variant=variant
    )
    assert builds(plan) == [["cu128"], ["cu130"]]


def test_a_marker_splits_builds_only_where_it_holds() -> None:
    text = (
        f"{FIVE}wheel-tag = 'python'\n{BOTH}[tool.polywheel.setup.'cpu :: level']\n"
        "when = \"sys_platform == 'linux'\"\ncflags = ['-m{value}']"
    )
    found = [(one.target, len(one.jobs)) for one in plan_of(text).builds]
    assert found == [("linux-x86_64", 2)] * 4 + [("macos-arm64", 4)] * 2


def test_contradicting_rules_are_an_error_with_both_places() -> None:
    rules = (
        "[tool.polywheel.setup.'cpu :: level']\nenv = { A = '{value}' }\n"
        "[tool.polywheel.setup.'blas :: library']\nenv = { A = '{value}' }"
    )
    with pytest.raises(ConfigError, match=r"two values for env 'A'.*setup\.\"cpu :: level\""):
        built(rules)


def test_a_project_may_say_that_builds_are_not_shared() -> None:
    assert built("", "share-builds = false\n") == sorted([label] for label in ALL)
    plan = plan_of(f"share-builds = false\n{BOTH}")
    assert plan.unshared == "share-builds = false (pyproject.toml: tool.polywheel.matrix)"
    assert plan.warnings == ()


@pytest.mark.parametrize("setting", ["", 'share-builds = "auto"\n'])
def test_builds_of_a_source_that_mentions_the_variant_are_not_shared(
    setting: str, tmp_path: Path
) -> None:
    text = document(setting + BOTH)
    (tmp_path / "build.rs").write_text('env!("POLYWHEEL_VARIANT_LABEL")', encoding="utf-8")
    plan = expand_project(project_of(text, source=tmp_path))
    assert builds(plan) == [[label] for label in ALL[2:]]
    assert plan.unshared == "build.rs mentions POLYWHEEL_VARIANT_, so a build may read its variant"
    # The mention may be in a text about polywheel: what looks like a mistake is said all the same.
    (warning,) = plan.warnings
    assert "ask the same of the build" in warning
    assert "the same content unless it reads its variant from the environment" in warning
    strict = document(f"{setting}{BOTH}[tool.polywheel]\nstrict = true\n")
    assert expand_project(project_of(strict, source=tmp_path)).warnings == plan.warnings
    told = expand_project(project_of(document(f"share-builds = true\n{BOTH}"), source=tmp_path))
    assert builds(told) == builds(plan_of(BOTH))
    assert told.unshared is None


def test_sets_of_equal_variants_without_the_same_rules_have_one_warning() -> None:
    (warning,) = plan_of(
        f"{BOTH}[tool.polywheel.setup.'cpu :: level']\ncflags = ['-m{{value}}']"
    ).warnings
    assert warning == (
        "the variants 'v2_mkl', 'v2_openblas' ask the same of the build, so their wheels have the same content; "
        "the same holds for 1 other set of variants (pyproject.toml: tool.polywheel.matrix.axes); "
        "no build setup distinguishes the values of 'blas :: library': add rules; "
        '[tool.polywheel.setup."blas :: library"] without fields declares that this is intended'
    )


def test_where_no_builds_would_be_shared_no_source_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expansion, "why_variant_is_read", lambda _: pytest.fail("it was searched"))
    rules = "[tool.polywheel.setup.'cpu :: level']\ncflags = ['-m{value}']"
    plan = plan_of(f"label = '{{level}}'\n{LEVEL}{rules}", source=tmp_path)
    assert builds(plan) == [["v2"], ["v3"]]
    assert plan.unshared is None


PLUGIN = VARIANT.replace(
    '[variant.providers.cpu.static-properties]\nlevel = ["v3", "v2", "v1"]',
    '[variant.providers.cpu]\nrequires = ["%s"]',
)


@pytest.mark.parametrize(
    ("requirement", "settings", "shared"),
    [
        ("provider-cpu", "", False),
        # what is installed here is not asked: it is about the machine that builds
        ("provider-cpu; sys_platform == 'nowhere'", "", False),
        ("provider-cpu", 'query = "plugin"', False),
        ("provider-cpu", 'requires = ["other"]', False),
        ("provider-cpu", 'query = "never"', True),
        ("provider-cpu", 'query = "preset"', True),
    ],
)
def test_what_a_plugin_may_give_flags_for_is_a_build_of_its_own(
    requirement: str, settings: str, shared: bool
) -> None:
    variant = PLUGIN % requirement
    if settings:
        variant += f"[tool.polywheel.providers.cpu]\n{settings}\n"
    assert built("", variant=variant) == ([ALL] if shared else sorted(BY_LEVEL))


def test_abi_dependencies_are_known_without_a_provider() -> None:
    text = (
        "label = '{torch}'\n[tool.polywheel.matrix.axes.torch]\n"
        "torch29 = ['abi_dependency :: torch :: 2.9']\n"
        "torch210 = ['abi_dependency :: torch :: 2.10']\n"
        "[tool.polywheel.setup.'abi_dependency :: torch']\nrequires = ['torch=={value}.*']"
    )
    assert builds(plan_of(text)) == [["torch210"], ["torch29"]]


# --- the faces ---


def test_a_project_in_a_folder(tmp_path: Path) -> None:
    write(
        tmp_path,
        '[project]\nname = "My.Project"\n[build-system]\nrequires = ["flit-core"]\n'
        f'build-backend = "flit_core.buildapi"\n{VARIANT}{DECLARED}',
    )
    for source in (tmp_path, str(tmp_path)):
        plan = expand(source)
        assert plan.project == "my-project"
        assert labels(plan) == ["cu12", "cu13", "fast"]


def test_tables_of_another_file(tmp_path: Path) -> None:
    write(tmp_path, "[project]\nname = 'x'\n[tool.polywheel.matrix]\nnonsense = 1")
    other = tmp_path / "other.toml"
    other.write_text(
        f"{VARIANT}{DECLARED}[tool.polywheel.matrix]\nexclude = [{{ python = 'x' }}]\n"
    )
    with pytest.raises(ConfigError) as caught:
        expand(tmp_path, config=other)
    (problem,) = caught.value.problems
    assert problem.at == "other.toml: tool.polywheel.matrix.exclude[0].python"
    other.write_text(f"{VARIANT}{DECLARED}")
    plan = expand(tmp_path, config=str(other))
    assert {job.at for job in plan.jobs} == {
        f"other.toml: variant.variants.{label}" for label in ("cu12", "cu13", "fast")
    }


@pytest.mark.parametrize("project", ["{ name = 3 }", "{}"])
def test_a_project_without_a_name(project: str, tmp_path: Path) -> None:
    write(tmp_path, f"project = {project}\n{VARIANT}{DECLARED}")
    assert expand(tmp_path).project is None


@pytest.mark.parametrize("project", ["3", "'x'", "[1]"])
def test_a_project_table_that_is_none(project: str, tmp_path: Path) -> None:
    write(tmp_path, f"project = {project}\n{VARIANT}{DECLARED}")
    with pytest.raises(ConfigError, match="expected a table") as caught:
        expand(tmp_path)
    assert [problem.at for problem in caught.value.problems] == ["pyproject.toml: project"]


def test_the_variants_of_a_matrix_by_label() -> None:
    text = f"variants = ['fast']\nnull = true\nplain = true\nlabel = '{{blas}}'\n{BLAS}"
    found = matrix_variants(project_of(document(text, variant=VARIANT + DECLARED)))
    assert {
        label: [str(one) for one in variant.properties] for label, variant in found.items()
    } == {
        "mkl": ["blas :: library :: mkl"],
        "openblas": ["blas :: library :: openblas"],
        "fast": ["cpu :: level :: v3"],
        "null": [],
    }


def test_the_variants_of_a_matrix_need_no_rules() -> None:
    """A build of one label is not held up by a rule that is about no cell."""
    text = document(f"{BOTH}[tool.polywheel.setup.gpu]\ncflags = ['-x']")
    assert len(matrix_variants(project_of(text))) == 4


@pytest.mark.parametrize(
    ("matrix", "rule", "warned"),
    [
        ("null = true", "", "'null', 'v3'"),
        ("plain = true", "", "'non-variant', 'v3'"),
        ("null = true\nplain = true", "", "'non-variant', 'null', 'v3'"),
        ("", "", ""),
        ("null = true", '["cpu :: level"]', ""),
        ("null = true", "[cpu]", ""),
        ("null = true", '["cpu :: level :: v3"]\ncflags = ["-x"]', ""),
        ("null = true", '["cpu :: level :: v3"]\ndependencies = ["x"]', ""),
        ("null = true", '["cpu :: level :: v3"]\ncflags = []', "'null', 'v3'"),
        ("null = true\nshare-builds = false", "", ""),
    ],
)
def test_a_variant_that_asks_for_nothing(matrix: str, rule: str, warned: str) -> None:
    text = f'{matrix}\nlabel = "{{level}}"\naxes.level.v3 = ["cpu :: level :: v3"]\n'
    text += f"[tool.polywheel.setup.{rule[1:]}\n" if rule else ""
    warnings = plan_of(text).warnings
    assert len(warnings) == bool(warned)
    assert not warned or f"the variants {warned} ask" in warnings[0]


def test_variants_of_abi_dependencies_alone_are_refused_before_anything_is_built() -> None:
    axis = """
    [tool.polywheel.matrix.axes.torch]
    torch26 = ["abi_dependency :: torch :: 2.6"]
    """
    problem = one_problem(axis, variant="[variant]\n")
    assert problem.what == "a variant wheel needs at least one namespace, and none is declared"
    assert "abi_dependency does not count" in str(problem.hint)
    assert labels(plan_of("plain = true\n", variant="[variant]\n")) == [None]
