"""Mistakes of users end in a clear error without a traceback, and leave no files."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from support.builds import build
from support.projects import write_project

PROJECT = """
[build-system]
requires = ["polywheel", "flit-core"]
build-backend = "polywheel.backend"
[project]
name = "small"
version = "1.0"
description = "A module"
[tool.polywheel]
build-backend = "flit_core.buildapi"
[variant.default-priorities]
namespace = ["blas_lapack", "x86_64"]
[variant.providers.blas_lapack.static-properties]
library = ["openblas", "mkl"]
[variant.providers.x86_64]
requires = ["provider-variant-x86-64"]
[variant.variants.fast]
blas_lapack.library = ["mkl"]
"""
FAST = "-Cvariant-label=fast"


def failed(folder: Path, *arguments: str, pyproject: str = PROJECT, **files: str) -> str:
    """What a build that must fail says; it must leave no wheel behind."""
    sources = {"pyproject.toml": pyproject, "small.py": '"""A module."""\n'}
    sources |= {name.replace("__", "/") + ".py": text for name, text in files.items()}
    write_project(folder, sources)
    done = build(folder, "--wheel", *arguments, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    assert list((folder / "dist").rglob("*")) == []
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-Cvariant=x86_64::level"], ["malformed variant property 'x86_64::level'"]),
        (["-Cvariant=X86::level::v3"], ["the namespace 'X86'", "lower case"]),
        (["-Cvariant-label=fasst"], ["label 'fasst'", "did you mean 'fast'?"]),
        (["-Cvariant=x86_46::level::v3"], ["no provider", "did you mean 'x86_64'?"]),
        (["-Cvariant=blas_lapack::library::mlk"], ["does not know", "did you mean 'mkl'?"]),
        (["-Cvariant=blas_lapack::libary::mkl"], ["does not know", "did you mean 'library'?"]),
        (["-Cvariant-lable=fast"], ["unknown config setting", "did you mean 'variant-label'?"]),
        (["-Cnull-variant=true", "-Cvariant=x86_64::level::v3"], ["null variant has no prop"]),
        (["-Cvariant-label=a", "-Cvariant-label=b"], ["2 different labels: 'a', 'b'"]),
        (["-Cvariant-label=V3", "-Cvariant=x86_64::level::v3"], ["malformed variant label 'V3'"]),
        (["-Cvariant-label=null", "-Cvariant=x86_64::level::v3"], ["'null' is reserved"]),
        (["-Cvariant-label=fast", "-Cvariant=x86_64::level::v3"], ["declared with other"]),
        (["-Cvariant-filename=no", FAST], ["unknown value 'no'", "known: label, unlabelled"]),
    ],
)
def test_config_settings(arguments: list[str], expected: list[str], tmp_path: Path) -> None:
    said = failed(tmp_path, *arguments)
    assert "  at: config setting" in said
    for text in ["error: ", *expected]:
        assert text in said


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"flit_core.buildapi"', '"polywheel.backend"', ["polywheel itself", "build-backend"]),
        ('"flit_core.buildapi"', '"no_such_backend"', ["No module named 'no_such_backend'"]),
        ('"flit_core.buildapi"', '"flit_core.biuldapi"', ["can't be imported"]),
        ('"flit_core.buildapi"', "7", ["expected a string, found 7", "tool.polywheel.build-b"]),
        ('build-backend = "flit', 'biuld-backend = "flit', ["unknown key", "'build-backend'?"]),
        ('"mkl"]\n[variant.providers', '"mkl", "mkl"]\n[variant.providers', ["listed twice"]),
        ('namespace = ["blas_lapack", ', "namespace = [", ["missing from default-priorities"]),
        ("[variant.variants.fast]", "[variant.variants.Fast]", ["malformed variant label"]),
        ("blas_lapack.library", "blas_lapak.library", ["no provider", "'blas_lapack'?"]),
        ("[variant.default", "[variant]\nfoo = 1\n[variant.default", ["unknown key 'foo'"]),
    ],
)
def test_pyproject(old: str, new: str, expected: list[str], tmp_path: Path) -> None:
    assert old in PROJECT
    said = failed(tmp_path, FAST, pyproject=PROJECT.replace(old, new))
    for text in ["error: ", "  at: pyproject.toml: ", *expected]:
        assert text in said


def test_everything_wrong_in_pyproject_is_said_at_once(tmp_path: Path) -> None:
    text = PROJECT.replace('build-backend = "flit', 'biuld-backend = "flit')
    text = text.replace("blas_lapack.library", "blas_lapak.library")
    assert failed(tmp_path, FAST, pyproject=text).count("error: ") == 2


def test_several_backends_are_listed(tmp_path: Path) -> None:
    text = PROJECT.replace('build-backend = "flit_core.buildapi"', "")
    text = text.replace('"flit-core"]', '"flit-core", "setuptools"]')
    said = failed(tmp_path, FAST, pyproject=text)
    assert "flit-core, setuptools" in said
    assert '"flit_core.buildapi" or "setuptools.build_meta"' in said


def test_an_in_tree_backend_that_calls_polywheel_again_is_a_loop(tmp_path: Path) -> None:
    text = PROJECT.replace('"flit_core.buildapi"', '"again"\nbackend-path = ["."]')
    said = failed(
        tmp_path,
        FAST,
        pyproject=text,
        again="from polywheel.backend import *\nfrom polywheel.backend import build_wheel\n",
    )
    assert "which would never end" in said


@pytest.mark.parametrize("arguments", [[FAST], []], ids=["variant", "plain"])
def test_a_backend_that_fails_is_named(arguments: list[str], tmp_path: Path) -> None:
    text = PROJECT.replace('"flit_core.buildapi"', '"bad"\nbackend-path = ["."]')
    write_project(tmp_path, {"bad.py": "import sys\ndef build_wheel(*a):\n    sys.exit(7)\n"})
    said = failed(tmp_path, *arguments, pyproject=text)
    assert "the real backend 'bad' failed in build_wheel (exit code 7)" in said


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return 'x-1.0-py3-none-any.whl'", "names a wheel that is not there"),
        ("return '../x-1.0-py3-none-any.whl'", "not a name"),
        ("return None", "not a name"),
        ("return make('small-1.0.whl', b'')", "is not the name of a wheel"),
        ("return make('small-1.0-py3-none-any.whl', b'no zip')", "not a zip archive"),
        ("return archive({})", "no .dist-info"),
        ("return archive({'a-1.dist-info/x': '', 'b-1.dist-info/x': ''})", "several .dist-info"),
        ("return archive({'small-1.0.dist-info/METADATA': ''})", "dist-info/RECORD is missing"),
        (
            (
                "return archive({'small-1.0.dist-info/METADATA': '', "
                "'small-1.0.dist-info/RECORD': 'gone.py,,\\n'})"
            ),
            "RECORD",
        ),
        ("return archive({'../escape.py': '', 'small-1.0.dist-info/METADATA': ''})", "leads out"),
    ],
)
def test_a_wheel_that_is_none(body: str, expected: str, tmp_path: Path) -> None:
    backend = f"""
    import os, zipfile
    def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
        def make(name, content):
            with open(os.path.join(wheel_directory, name), "wb") as file:
                file.write(content)
            return name
        def archive(members):
            name = "small-1.0-py3-none-any.whl"
            with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as file:
                for path, text in members.items():
                    file.writestr(path, text)
            return name
        {body}
    """
    text = PROJECT.replace('"flit_core.buildapi"', '"bad"\nbackend-path = ["."]')
    write_project(tmp_path, {"bad.py": textwrap.dedent(backend)})
    assert expected in failed(tmp_path, FAST, pyproject=text)


def test_a_backend_path_that_leads_out_is_refused(tmp_path: Path) -> None:
    text = PROJECT.replace('"flit_core.buildapi"', '"bad"\nbackend-path = ["../elsewhere"]')
    said = failed(tmp_path, FAST, pyproject=text)
    assert "tool.polywheel.backend-path" in said


def test_a_variant_of_a_project_that_declares_none(tmp_path: Path) -> None:
    text = PROJECT[: PROJECT.index("[variant.default")]
    said = failed(tmp_path, "-Cnull-variant=", pyproject=text)
    assert "needs at least one namespace" in said


def test_the_same_feature_twice_is_allowed(tmp_path: Path) -> None:
    write_project(tmp_path, {"pyproject.toml": PROJECT, "small.py": '"""A module."""\n'})
    values = "-Cvariant=blas_lapack::library::mkl,blas_lapack::library::openblas"
    build(tmp_path, "--wheel", values)
    assert len(list((tmp_path / "dist").iterdir())) == 1
