"""Frontends other than ``python -m build``: uv and pip.

Wheels of ``uv build`` are those of test_examples.py.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from support.builds import read_wheel, run
from support.projects import example


def test_uv_build_makes_the_sdist_and_a_wheel_of_it(
    tmp_path: Path, isolated: dict[str, str]
) -> None:
    source = example("flit-core", tmp_path)
    run(
        ["uv", "build", "--python", sys.executable, "-Cvariant=blas_lapack::library::mkl"],
        cwd=source,
        env=isolated,
    )
    (path,) = (source / "dist").glob("*.whl")
    assert path.name.endswith("-mkl.whl")


def pip_wheel(source: Path, *arguments: str, env: dict[str, str], check: bool) -> str:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", "out"]
    return run([*command, *arguments, "."], cwd=source, env=env, check=check).stdout


def test_pip_wheel_is_told_how_before_anything_is_built(
    tmp_path: Path, isolated: dict[str, str]
) -> None:
    source = example("flit-core", tmp_path)
    said = pip_wheel(source, "-Cvariant-label=mkl", env=isolated, check=False)
    assert "error: pip rejects a wheel with a variant label in its filename" in said
    assert "-Cvariant-filename=unlabelled" in said
    assert "Traceback" not in said
    assert not list(source.rglob("*.whl"))


def test_pip_wheel_makes_a_stamped_wheel_with_a_plain_name(
    tmp_path: Path, isolated: dict[str, str]
) -> None:
    source = example("flit-core", tmp_path)
    settings = ["-Cvariant-label=mkl", "-Cvariant-filename=unlabelled"]
    pip_wheel(source, *settings, env=isolated, check=True)
    (path,) = (source / "out").glob("*.whl")
    assert "mkl" not in path.name
    assert read_wheel(path).metadata["Variant-Label"] == "mkl"


def test_pip_installs_a_variant_with_a_plain_name_from_the_source(
    tmp_path: Path, isolated: dict[str, str]
) -> None:
    source = example("hatchling", tmp_path)
    settings = ["-Cvariant-label=small", "-Cvariant-filename=unlabelled"]
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", "there"]
    run([*command, *settings, "."], cwd=source, env=isolated)
    (metadata,) = (source / "there").glob("*.dist-info/METADATA")
    assert "Variant-Label: small" in metadata.read_text(encoding="utf-8")


def test_an_editable_install_of_a_variant_works(tmp_path: Path, isolated: dict[str, str]) -> None:
    source = example("flit-core", tmp_path)
    run(["uv", "venv", "-q", "--python", sys.executable, tmp_path / "venv"], cwd=tmp_path)
    folder = "Scripts" if os.name == "nt" else "bin"
    python = tmp_path / "venv" / folder / "python"
    run(
        ["uv", "pip", "install", "--no-deps", "-Cvariant-label=mkl", "--python", python, "-e", "."],
        cwd=source,
        env=isolated,
    )
    code = "import polywheel_example_flit_core as m; print(m.__file__)"
    assert str(source) in run([python, "-c", code], cwd=tmp_path).stdout
