"""The build backend knows the labels of a project's matrix, and reads tables from another file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.builds import build, build_wheel, read_wheel, run, snapshot
from support.projects import write_project

OWN = """
[build-system]
requires = ["polywheel", "flit-core>=3.12"]
build-backend = "polywheel.backend"
[project]
name = "sums"
version = "1.0"
requires-python = ">=3.11"
description = "Sums"
"""
TABLES = """
[variant.default-priorities]
namespace = ["cpu", "blas"]
[variant.providers.cpu.static-properties]
level = ["v3", "v2"]
[variant.providers.blas.static-properties]
library = ["mkl", "openblas"]
[variant.variants.declared]
cpu.level = ["v2"]
blas.library = ["mkl", "openblas"]
[tool.polywheel.setup."blas :: library"]
dependencies = ["{value}"]
[tool.polywheel.matrix]
python = ["3.11", "3.12"]
targets = ["linux-x86_64", "macos-arm64"]
label = "{level}_{blas}"
[tool.polywheel.matrix.axes.level]
v2 = ["cpu :: level :: v2"]
v3 = ["cpu :: level :: v3"]
[tool.polywheel.matrix.axes.blas]
openblas = ["blas :: library :: openblas"]
mkl = ["blas :: library :: mkl"]
[[tool.polywheel.matrix.exclude]]
level = "v2"
blas = "mkl"
[[tool.polywheel.matrix.include]]
label = "v3_only"
properties = ["cpu :: level :: v3"]
"""


@pytest.fixture
def with_tables(tmp_path: Path) -> Path:
    """A project whose pyproject.toml says everything."""
    files = {"pyproject.toml": OWN + TABLES, "sums.py": '"""Sums."""\n'}
    return write_project(tmp_path / "source", files)


@pytest.fixture
def without_tables(tmp_path: Path) -> Path:
    """A project that names the backend and nothing else; a file beside it says the rest."""
    write_project(tmp_path, {"variants.toml": TABLES})
    return write_project(tmp_path / "source", {"pyproject.toml": OWN, "sums.py": '"""Sums."""\n'})


def failed(done: subprocess.CompletedProcess[str]) -> str:
    """What a build that went wrong said, once, and without a traceback."""
    assert done.returncode != 0
    assert done.stdout.count("error: ") == 1
    assert 'File "' not in done.stdout.partition("error: ")[2].partition("\n  hint")[0]
    return done.stdout


def check(
    wheel: Path, label: str, properties: dict[str, dict[str, list[str]]], *needs: str
) -> None:
    assert wheel.name == f"sums-1.0-py3-none-any-{label}.whl"
    found = read_wheel(wheel)
    assert found.variant_json["variants"] == {label: properties}
    assert found.metadata["Variant-Label"] == label
    assert (found.metadata.get_all("Requires-Dist") or []) == [*needs]


def test_a_label_that_only_the_matrix_produces(with_tables: Path, tmp_path: Path) -> None:
    before = snapshot(with_tables)
    wheel = build_wheel(with_tables, tmp_path / "out", "-Cvariant-label=v3_mkl")
    check(wheel, "v3_mkl", {"blas": {"library": ["mkl"]}, "cpu": {"level": ["v3"]}}, "mkl")
    assert snapshot(with_tables) == before


@pytest.mark.parametrize(
    ("label", "properties", "needs"),
    [
        ("v3_only", {"cpu": {"level": ["v3"]}}, []),
        (
            "declared",
            {"blas": {"library": ["mkl", "openblas"]}, "cpu": {"level": ["v2"]}},
            ["mkl", "openblas"],
        ),
    ],
)
def test_labels_of_includes_and_of_declared_variants(
    label: str,
    properties: dict[str, dict[str, list[str]]],
    needs: list[str],
    with_tables: Path,
    tmp_path: Path,
) -> None:
    """Declared variants are built though the matrix, which has axes, does not take them."""
    wheel = build_wheel(with_tables, tmp_path / "out", f"-Cvariant-label={label}")
    check(wheel, label, properties, *needs)


@pytest.mark.parametrize(
    ("label", "hint"),
    [("v3_mlk", "did you mean 'v3_mkl'?"), ("v2_mkl", "did you mean 'v3_mkl'?")],
)
def test_a_label_that_the_matrix_does_not_produce(
    label: str, hint: str, with_tables: Path, tmp_path: Path
) -> None:
    """One is misspelt, one excluded."""
    done = build(with_tables, "-w", f"-Cvariant-label={label}", check=False, out=tmp_path / "out")
    said = failed(done)
    assert f"no variant with the label '{label}' is declared" in said
    assert hint in said


def test_properties_need_no_matrix(with_tables: Path, tmp_path: Path) -> None:
    wheel = build_wheel(
        with_tables, tmp_path / "out", "-Cvariant=cpu::level::v2,blas::library::mkl"
    )
    assert wheel.name.startswith("sums-1.0-py3-none-any-")
    assert not wheel.name.endswith("-v2_mkl.whl")


def test_a_mistake_in_the_matrix_is_said_when_its_labels_are_asked_for(
    with_tables: Path, tmp_path: Path
) -> None:
    path = with_tables / "pyproject.toml"
    path.write_text(path.read_text().replace('level = "v2"\nblas', 'levle = "v2"\nblas'))
    done = build(with_tables, "-w", "-Cvariant-label=v3_mkl", check=False, out=tmp_path / "out")
    said = failed(done)
    assert "unknown key 'levle'" in said
    assert "at: pyproject.toml: tool.polywheel.matrix.exclude[0].levle" in said
    # A plain wheel and a declared variant have nothing to do with it.
    build_wheel(with_tables, tmp_path / "plain")
    build_wheel(with_tables, tmp_path / "declared", "-Cvariant-label=declared")


@pytest.mark.parametrize("relative", [False, True])
def test_tables_of_another_file(relative: bool, without_tables: Path, tmp_path: Path) -> None:
    """A relative path begins where the build hooks run: at the root of the project (PEP 517)."""
    path = "../variants.toml" if relative else str(tmp_path / "variants.toml")
    env = {"POLYWHEEL_CONFIG": path}
    wheel = build_wheel(without_tables, tmp_path / "out", "-Cvariant-label=v3_mkl", env=env)
    check(wheel, "v3_mkl", {"blas": {"library": ["mkl"]}, "cpu": {"level": ["v3"]}}, "mkl")


def test_tables_of_another_file_stand_in_place_of_the_projects(
    with_tables: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.toml"
    other.write_text(TABLES.replace('label = "{level}_{blas}"', 'label = "x_{level}.{blas}"'))
    env = {"POLYWHEEL_CONFIG": str(other)}
    wheel = build_wheel(with_tables, tmp_path / "out", "-Cvariant-label=x_v3.mkl", env=env)
    assert wheel.name.endswith("-x_v3.mkl.whl")
    arguments = ("-w", "-Cvariant-label=v3_mkl")
    done = build(with_tables, *arguments, env=env, check=False, out=tmp_path / "no")
    assert "did you mean" in failed(done)


def test_a_plain_wheel_is_built_beside_another_file(without_tables: Path, tmp_path: Path) -> None:
    env = {"POLYWHEEL_CONFIG": str(tmp_path / "variants.toml")}
    wheel = build_wheel(without_tables, tmp_path / "out", env=env)
    assert wheel.name == "sums-1.0-py3-none-any.whl"
    assert not read_wheel(wheel).stamped
    assert wheel.read_bytes() == build_wheel(without_tables, tmp_path / "own").read_bytes()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no variants.toml in"),
        (b"a = ", "invalid TOML: Invalid value"),
        (b"\xff", "variants.toml is not UTF-8"),
        (b"[project]\nname = 'x'\n", "this file has [project]"),
        (b"[tool.ruff]\n", "unknown key 'ruff'"),
        (b"[variants.x]\n", "unknown key 'variants'"),
        (b"[tool.polywheel]\nmatrx = {}\n", "unknown key 'matrx'"),
    ],
)
@pytest.mark.parametrize("arguments", [("-Cvariant-label=v3_mkl",), ()], ids=["variant", "plain"])
def test_another_file_that_is_none(
    content: bytes | None,
    said: str,
    arguments: tuple[str, ...],
    without_tables: Path,
    tmp_path: Path,
) -> None:
    path = tmp_path / "variants.toml"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    env = {"POLYWHEEL_CONFIG": str(path)}
    # What a frontend asks first, without the frontend: it takes a second less.
    done = run(
        ["python", "-c", "from polywheel.backend import build_wheel as b; b('out', dict())"]
        if not arguments
        else ["python", "-m", "polywheel.backend", "explain", *arguments],
        cwd=without_tables,
        env=env,
        check=False,
    )
    assert done.returncode == 2
    shown = failed(done)
    assert said in shown
    assert "variants.toml" in shown
    if content is None:
        assert "--config, or of the variable POLYWHEEL_CONFIG" in shown


def test_another_file_that_is_not_there_is_said_by_a_frontend(
    without_tables: Path, tmp_path: Path
) -> None:
    env = {"POLYWHEEL_CONFIG": "not/there.toml"}
    done = build(without_tables, "-w", env=env, check=False, out=tmp_path / "out")
    assert "there is no there.toml in" in failed(done)
    assert not (tmp_path / "out").exists() or not [*(tmp_path / "out").iterdir()]


def test_a_label_is_explained_from_another_file(without_tables: Path, tmp_path: Path) -> None:
    done = run(
        ["python", "-m", "polywheel.backend", "explain", "-Cvariant-label=v3_openblas"],
        cwd=without_tables,
        env={"POLYWHEEL_CONFIG": str(tmp_path / "variants.toml")},
    )
    assert 'variants.toml: tool.polywheel.setup."blas :: library"' in done.stdout
