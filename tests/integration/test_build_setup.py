"""The build setup of a variant reaches the compiler, the environment, and the wheel."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import pytest

from support.builds import COMPILED, build, build_wheel, install, read_wheel, run, wide_registers
from support.projects import example, write_project

RESULTS = {
    "meson": "axpy(1.5, range(1000), range(1000, 2000)).tolist()",
    "scikit-build-core": "dot(range(1000), range(1000, 2000))",
    "setuptools": "list(brighten(bytes(i % 256 for i in range(1000)), 37))",
}
SMALL = """
[build-system]
requires = ["polywheel", "flit-core"]
build-backend = "polywheel.backend"
[project]
name = "small"
version = "1.0"
description = "A module"
dependencies = ["six>=1.16"]
[tool.polywheel]
build-backend = "flit_core.buildapi"
[variant.default-priorities]
namespace = ["blas_lapack"]
[variant.providers.blas_lapack.static-properties]
library = ["openblas", "mkl"]
[variant.variants.mkl]
blas_lapack.library = ["mkl"]
[tool.polywheel.setup."blas_lapack :: library :: mkl"]
requires = ["iniconfig"]
dependencies = ["mkl>=2024", "six >= 1.16", "six"]
"""
# Says what reached it; there is no better witness than a backend that is run.
WITNESS = """
import json, os, pathlib
from flit_core.buildapi import *
from flit_core import buildapi
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    said = {"environment": dict(os.environ), "settings": config_settings}
    pathlib.Path(os.environ["WITNESS"]).write_text(json.dumps(said))
    return buildapi.build_wheel(wheel_directory, config_settings, metadata_directory)
"""


def project(folder: Path, text: str = SMALL, **files: str) -> Path:
    sources = {f"{name}.py": content for name, content in files.items()}
    return write_project(
        folder, {"pyproject.toml": text, "small.py": '"""A module."""\n', **sources}
    )


def witnessed(folder: Path, *arguments: str, text: str, env: dict[str, str] | None = None) -> dict:  # type: ignore[type-arg]
    """What a real backend was run with."""
    text = text.replace('"flit_core.buildapi"', '"witness"\nbackend-path = ["."]')
    source = project(folder / "source", text, witness=WITNESS)
    said = folder / "said.json"
    build(source, "--wheel", *arguments, env={**(env or {}), "WITNESS": str(said)})
    return dict(json.loads(said.read_text(encoding="utf-8")))


@pytest.mark.usefixtures("x86_64_gcc")
@pytest.mark.parametrize("name", COMPILED)
def test_the_level_reaches_the_compiler_and_results_are_the_same(name: str, tmp_path: Path) -> None:
    source = example(name, tmp_path)
    results = {}
    for level in ("v1", "v3"):
        wheel = build_wheel(source, tmp_path / level, f"-Cvariant=x86_64::level::{level}")
        assert (wide_registers(wheel, tmp_path / "scratch") > 0) == (level == "v3")
        target = tmp_path / f"installed-{level}"
        plain = wheel.rename(wheel.with_name(wheel.name.replace(f"-x86_64_{level}", "")))
        install(target, plain)
        module = f"polywheel_example_{name.replace('-', '_')}"
        code = f"import sys; sys.path.insert(0, {str(target)!r}); from {module} import *"
        done = run([sys.executable, "-c", f"{code}; print({RESULTS[name]})"], cwd=tmp_path)
        results[level] = done.stdout
    assert results["v1"] == results["v3"]


@pytest.mark.usefixtures("x86_64_gcc")
@pytest.mark.parametrize(
    "name",
    [one if one == "setuptools" else pytest.param(one, marks=pytest.mark.slow) for one in COMPILED],
)
def test_without_rules_the_providers_flags_are_used(name: str, tmp_path: Path) -> None:
    source = example(name, tmp_path)
    pyproject = source / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    start = text.index("[tool.polywheel.setup")
    pyproject.write_text(text[:start], encoding="utf-8")
    done = build(source, "--wheel", "-Cvariant=x86_64::level::v3", out=tmp_path / "out")
    assert "-march=x86-64-v3  (provider x86_64 (get_build_setup))" in done.stdout
    (wheel,) = (tmp_path / "out").iterdir()
    assert wide_registers(wheel, tmp_path / "scratch") > 0


@pytest.mark.usefixtures("x86_64_gcc")
def test_a_rule_takes_the_place_of_the_providers_flags(tmp_path: Path) -> None:
    source = example("meson", tmp_path)
    done = build(source, "--wheel", "-Cvariant=x86_64::level::v3", out=tmp_path / "out")
    told = next(line for line in done.stdout.splitlines() if "passed to mesonpy" in line)
    assert told.count("CFLAGS += -march=x86-64-v3") == 1


@pytest.mark.usefixtures("x86_64_gcc")
def test_a_value_that_the_plugin_does_not_know_is_refused(tmp_path: Path) -> None:
    source = example("meson", tmp_path)
    done = build(source, "--wheel", "-Cvariant=x86_64::level::v9", check=False)
    assert done.returncode != 0
    assert "does not know" in done.stdout
    assert "Traceback" not in done.stdout
    assert not list(source.rglob("*.whl"))


@pytest.mark.parametrize("installer", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_requires_are_installed_and_dependencies_written_for_that_variant_alone(
    installer: str, tmp_path: Path, isolated: dict[str, str]
) -> None:
    witness = "import importlib.util as u; from flit_core.buildapi import *\nprint('iniconfig is'"
    witness += ", 'there' if u.find_spec('iniconfig') else 'absent')\n"
    text = SMALL.replace('"flit_core.buildapi"', '"witness"\nbackend-path = ["."]')
    source = project(tmp_path, text, witness=witness)
    command = [sys.executable, "-m", "build", "--wheel", "--installer", installer]
    for setting, there in (("-Cvariant-label=mkl", "there"), ("-Cnull-variant=", "absent")):
        done = run([*command, setting], cwd=source, env=isolated)
        assert f"iniconfig is {there}" in done.stdout
    dependencies = {
        path.name.rpartition("-")[2]: read_wheel(path).metadata.get_all("Requires-Dist")
        for path in (source / "dist").iterdir()
    }
    assert dependencies == {"mkl.whl": ["six>=1.16", "mkl>=2024"], "null.whl": ["six>=1.16"]}


def test_prepared_metadata_has_the_dependencies_too(tmp_path: Path) -> None:
    source = project(tmp_path / "source")
    code = (
        "import sys; from polywheel import backend\n"
        "print(backend.prepare_metadata_for_build_wheel(sys.argv[1], {'variant-label': 'mkl'}))"
    )
    run([sys.executable, "-c", code, tmp_path], cwd=source)
    prepared = (tmp_path / "small-1.0.dist-info" / "METADATA").read_text(encoding="utf-8")
    assert "Requires-Dist: mkl>=2024\n" in prepared


def test_the_real_backend_knows_its_variant(tmp_path: Path) -> None:
    setting = "-Cvariant=blas_lapack::library::mkl,blas_lapack::library::openblas"
    said = witnessed(tmp_path, setting, "-Cvariant-label=both", text=SMALL)
    assert said["environment"]["POLYWHEEL_VARIANT_LABEL"] == "both"
    assert said["environment"]["POLYWHEEL_VARIANT_PROPERTIES"].split("\n") == [
        "blas_lapack :: library :: mkl",
        "blas_lapack :: library :: openblas",
    ]


def test_variables_settings_and_flags_reach_the_real_backend(tmp_path: Path) -> None:
    rule = """
    cflags = ["-DBLAS={value}"]
    env = { BLAS_LABEL = "{label}" }
    config-settings = { theirs = ["from the rule"], one = "{feature}" }
    """
    said = witnessed(
        tmp_path,
        "-Cvariant-label=mkl",
        "-Ctheirs=from the user",
        text=SMALL.replace("[tool.polywheel]\n", "[tool.polywheel]\ncompiled = false\n")
        + textwrap.dedent(rule),
        env={"CFLAGS": "-DFIRST"},
    )
    assert said["environment"]["CFLAGS"] == "-DFIRST -DBLAS=mkl"
    assert said["environment"]["BLAS_LABEL"] == "mkl"
    assert said["settings"] == {"theirs": ["from the user", "from the rule"], "one": "library"}


def test_what_a_backend_cannot_be_told_is_a_warning_or_with_strict_an_error(tmp_path: Path) -> None:
    text = SMALL + 'defines = { WITH_MKL = "on" }\n'
    done = build(project(tmp_path / "lax", text), "--wheel", "-Cvariant-label=mkl")
    assert "warning: flit-core does not support defines 'on'" in done.stdout
    text = text.replace("[tool.polywheel]\n", "[tool.polywheel]\nstrict = true\n")
    strict = project(tmp_path / "strict", text)
    done = build(strict, "--wheel", "-Cvariant-label=mkl", check=False)
    assert "error: flit-core does not support defines 'on'" in done.stdout
    assert not (strict / "dist").exists() or not list((strict / "dist").iterdir())


def test_explain_prints_the_setup_with_origins_and_builds_nothing(tmp_path: Path) -> None:
    source = project(tmp_path)
    command = [sys.executable, "-m", "polywheel.backend", "explain", "-Cvariant-label=mkl"]
    lines = run(command, cwd=source).stdout
    origin = 'pyproject.toml: tool.polywheel.setup."blas_lapack :: library :: mkl"'
    assert f"dependencies mkl>=2024  ({origin})" in lines
    found = json.loads(run([*command, "--json"], cwd=source).stdout)
    assert found["setup"]["requires"] == [{"value": "iniconfig", "origin": origin}]
    assert found["variant"]["properties"] == ["blas_lapack :: library :: mkl"]
    assert sorted(path.name for path in source.iterdir()) == ["pyproject.toml", "small.py"]
    setting = "-Cnull-variant"  # frontends take a setting without a value, too
    found = json.loads(run([*command[:-1], setting, "--json"], cwd=source).stdout)
    assert found["variant"]["label"] == "null"
