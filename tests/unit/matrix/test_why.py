"""The rule that made or removed a cell: file and key path."""

from __future__ import annotations

from pathlib import Path

import pytest

from polywheel.config.project import read_project
from polywheel.errors import ConfigError
from polywheel.matrix.why import Reason, cell_reasons, reasons_as_json, reasons_as_lines
from support.plans import HEAD, MATRIX, expanded

AT = "pyproject.toml: tool.polywheel.matrix."


def why(folder: Path, name: str, text: str = HEAD + MATRIX) -> tuple[Reason, ...]:
    plan = expanded(folder, text)
    return cell_reasons(read_project(folder, variants=True), plan, name)


def test_a_cell_of_the_axes_names_its_values(tmp_path: Path) -> None:
    one, *_ = why(tmp_path, "v3_mkl")
    assert (one.id, one.by, one.at) == ("linux-x86_64-cp311-v3_mkl", "made", f"{AT}axes")
    assert [(part.name, part.at) for part in one.axes] == [
        ("level = v3", f"{AT}axes.level.v3"),
        ("blas = mkl", f"{AT}axes.blas.mkl"),
    ]
    assert [(part.name, part.at) for part in one.properties] == [
        ("blas :: library :: mkl", f"{AT}axes.blas.mkl"),
        ("cpu :: level :: v3", f"{AT}axes.level.v3"),
    ]


def test_what_removed_cells_is_named_once_a_target(tmp_path: Path) -> None:
    found = [(one.by, one.at, one.targets, one.pythons) for one in why(tmp_path, "v2_mkl")]
    assert found == [
        ("made", f"{AT}axes", ("linux-x86_64",), ("3.12",)),
        ("when", f"{AT}axes.blas.mkl.when", ("windows-x86_64",), ("3.11", "3.12")),
        ("exclude", f"{AT}exclude[0]", ("linux-x86_64",), ("3.11",)),
    ]


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("null", f"{AT}null"),
        ("non-variant", f"{AT}plain"),
        ("v4", f"{AT}include[0]"),
        ("declared", "pyproject.toml: variant.variants.declared"),
    ],
)
def test_what_has_no_axes_names_what_declares_it(name: str, at: str, tmp_path: Path) -> None:
    text = HEAD + MATRIX.replace("null = true", 'variants = ["decl*"]\nnull = true')
    text += "[variant.variants.declared]\ncpu.level = ['v1']\n"
    found = why(tmp_path, name, text)
    assert {one.at for one in found} == {at}
    assert {one.by for one in found} == {"made"}


def test_properties_that_an_include_adds_name_it(tmp_path: Path) -> None:
    text = HEAD + MATRIX
    for level in ("v3", "v2"):
        text += f"[[tool.polywheel.matrix.include]]\nlevel = '{level}'\n"
        text += 'properties = ["cpu :: level :: v1"]\n'
    found = why(tmp_path, "v2_openblas", text)
    parts = {part.name: part.at for one in found for part in one.properties}
    assert parts["cpu :: level :: v1"] == f"{AT}include[2].properties"
    assert parts["cpu :: level :: v2"] == f"{AT}axes.level.v2"


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("linux-x86_64-cp312-v2_mkl", "made"),
        ("linux-x86_64-cp311-v2_mkl", "exclude"),
        ("windows-x86_64-cp311-v2_mkl", "when"),
    ],
)
def test_the_id_of_a_job_names_one_cell(name: str, by: str, tmp_path: Path) -> None:
    (one,) = why(tmp_path, name)
    assert one.by == by
    assert one.label == "v2_mkl"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("v3_mlk", "did you mean 'v3_mkl'?"),
        ("linux-x86_64-cp313-v3_mkl", "did you mean 'linux-x86_64-cp312-v3_mkl'?"),
    ],
)
def test_an_unknown_label_is_an_error_with_the_nearest(
    name: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        why(tmp_path, name)
    (problem,) = caught.value.problems
    assert (
        problem.what == f"{name!r} is no label and no job id of this matrix, and no rule removed it"
    )
    assert problem.hint == hint


def test_lines_and_json_say_the_same(tmp_path: Path) -> None:
    found = why(tmp_path, "v2_mkl")
    text = "\n".join(reasons_as_lines(found))
    document = reasons_as_json(found)
    for cell in document["cells"]:
        assert cell["at"] in text
        for part in cell["axes"]:
            assert part["at"] in text
    assert "v2_mkl on windows-x86_64, Python 3.11, 3.12: removed by when" in text


def test_each_cell_has_its_details_even_if_they_are_equal(tmp_path: Path) -> None:
    lines = [*reasons_as_lines(why(tmp_path, "v3_mkl"))]
    details = [
        f"  level = v3              {AT}axes.level.v3",
        f"  blas = mkl              {AT}axes.blas.mkl",
        f"  blas :: library :: mkl  {AT}axes.blas.mkl",
        f"  cpu :: level :: v3      {AT}axes.level.v3",
    ]
    assert lines[:10] == [
        f"linux-x86_64-cp311-v3_mkl: made by {AT}axes",
        *details,
        f"linux-x86_64-cp312-v3_mkl: made by {AT}axes",
        *details,
    ]


def test_a_stamp_of_another_build_says_so(tmp_path: Path) -> None:
    lines = [*reasons_as_lines(why(tmp_path, "linux-x86_64-cp311-null"))]
    assert lines == [
        f"linux-x86_64-cp311-null: made by {AT}null",
        "  stamped from the build linux-x86_64-cp311-non-variant",
    ]
