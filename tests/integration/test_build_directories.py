"""Two variants never share object files, whatever directory the real backend keeps between builds."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.builds import build, build_wheel, snapshot, wide_registers
from support.projects import example

pytestmark = pytest.mark.usefixtures("x86_64_gcc")

KEPT = {
    "setuptools": [],  # keeps build/ without being asked
    "scikit-build-core": ["-Cbuild-dir=build/kept"],
    "meson": ["-Cbuild-dir=build/kept"],
}
# Where one of them shows it, too.
KEPT_QUICKLY = [
    one if one == "setuptools" else pytest.param(one, marks=pytest.mark.slow) for one in KEPT
]
LEVELS = {"v1": "-march=x86-64", "v3": "-march=x86-64-v3"}


def variant_wheel(source: Path, name: str, level: str, out: Path) -> Path:
    flags = {"CFLAGS": LEVELS[level], "CXXFLAGS": LEVELS[level]}
    return build_wheel(source, out, *KEPT[name], f"-Cvariant=x86_64::level::{level}", env=flags)


@pytest.mark.parametrize("name", KEPT)
def test_one_after_the_other_each_variant_holds_its_own_code(name: str, tmp_path: Path) -> None:
    """And writes only where the user keeps a directory."""
    source = example(name, tmp_path)
    before = snapshot(source)
    found = []
    for number, level in enumerate(["v1", "v3", "v1"]):
        wheel = variant_wheel(source, name, level, tmp_path / str(number))
        found.append(wide_registers(wheel, tmp_path / f"scratch{number}") > 0)
    assert found == [False, True, False]
    after = snapshot(source)
    new = {path for path in after if path != "build" and not path.startswith("build/")}
    assert new <= before.keys()
    assert {path: after[path] for path in before} == before
    if name == "scikit-build-core":  # the third build has the directory of the first
        kept = (source / "build/kept/polywheel").iterdir()
        folders = sorted(path.name.rpartition("-")[0] for path in kept)
        assert folders == ["x86_64_v1", "x86_64_v3"]


@pytest.mark.parametrize("name", KEPT_QUICKLY)
def test_two_at_the_same_time_each_hold_their_own_code(name: str, tmp_path: Path) -> None:
    source = example(name, tmp_path)
    with ThreadPoolExecutor(2) as pool:
        wheels = list(
            pool.map(
                lambda level: variant_wheel(source, name, level, tmp_path / level), ("v1", "v3")
            )
        )
    assert [wide_registers(wheel, tmp_path / "scratch") > 0 for wheel in wheels] == [False, True]


@pytest.mark.parametrize("name", KEPT_QUICKLY)
def test_without_a_directory_of_its_own_a_variant_holds_the_code_of_another(
    name: str, tmp_path: Path
) -> None:
    """The tests above would fail: the fault that the profiles' build directories are there for, seen to happen without them."""
    source = example(name, tmp_path)
    sabotage = tmp_path / "sabotage"
    sabotage.mkdir()
    # A hook of site.py: this interpreter's builds get profiles without a build directory.
    (sabotage / "sitecustomize.py").write_text(
        textwrap.dedent(
            """
            import sys
            if "polywheel" not in " ".join(sys.argv):
                from dataclasses import replace
                from polywheel.setup import profiles
                shipped = profiles.shipped_profiles
                profiles.shipped_profiles = lambda: tuple(
                    replace(one, build_directory=None, own_optimization=True) for one in shipped()
                )
            """
        ),
        encoding="utf-8",
    )
    found = []
    for level in ("v1", "v3"):
        flags = {"CFLAGS": LEVELS[level], "CXXFLAGS": LEVELS[level], "PYTHONPATH": str(sabotage)}
        wheel = build_wheel(
            source, tmp_path / level, *KEPT[name], f"-Cvariant-label=x86_64_{level}", env=flags
        )
        found.append(wide_registers(wheel, tmp_path / "scratch" / level) > 0)
    assert found == [False, False]


@pytest.mark.parametrize(
    "declared",
    ['[tool.scikit-build]\nbuild-dir = "build/{wheel_tag}"\n', None],
    ids=["pyproject", "environment"],
)
def test_a_directory_named_elsewhere_is_parted_too(declared: str | None, tmp_path: Path) -> None:
    source = example("scikit-build-core", tmp_path)
    env = {}
    if declared is None:
        env["SKBUILD_BUILD_DIR"] = str(source / "build")
    else:
        pyproject = source / "pyproject.toml"
        text = pyproject.read_text(encoding="utf-8")
        assert "[tool.scikit-build]\n" in text
        text = text.replace("[tool.scikit-build]\n", declared)
        pyproject.write_text(text, encoding="utf-8")
    found = []
    for level in ("v1", "v3"):
        flags = {"CXXFLAGS": LEVELS[level], **env}
        out = tmp_path / level
        wheel = build_wheel(source, out, f"-Cvariant-label=x86_64_{level}", env=flags)
        found.append(wide_registers(wheel, tmp_path / "scratch" / level) > 0)
    assert found == [False, True]
    assert list((source / "build").rglob("polywheel/x86_64_v1-*"))


def test_the_users_own_distutils_configuration_stays_in_force(tmp_path: Path) -> None:
    source = example("setuptools", tmp_path)
    theirs = tmp_path / "theirs.cfg"
    theirs.write_text("[build_ext]\ndefine = SET_BY_THE_USER\n", encoding="utf-8")
    done = build(
        source,
        "--wheel",
        "-Cvariant-label=x86_64_v1",
        env={"DIST_EXTRA_CONFIG": str(theirs)},
        out=tmp_path / "out",
    )
    assert "-DSET_BY_THE_USER" in done.stdout


def test_package_data_listed_only_in_the_manifest_of_an_sdist_is_kept(tmp_path: Path) -> None:
    """Setuptools takes what a VCS plugin listed from the egg-info of the unpacked sdist."""
    source = example("setuptools", tmp_path)
    package = source / "src" / "polywheel_example_setuptools"
    (package / "table.dat").write_bytes(b"data")
    egg_info = source / "src" / "polywheel_example_setuptools.egg-info"
    egg_info.mkdir()
    (egg_info / "SOURCES.txt").write_text(
        "pyproject.toml\nsrc/polywheel_example_setuptools/table.dat\n", encoding="utf-8"
    )
    wheel = build_wheel(source, tmp_path / "out", "-Cvariant-label=x86_64_v1")
    listing = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(wheel)],
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout
    assert "table.dat" in listing


def test_directories_that_setup_cfg_names_one_by_one_are_parted_too(tmp_path: Path) -> None:
    source = example("setuptools", tmp_path)
    text = "[build]\nbuild_lib = kept\n[build_ext]\nbuild_temp = kept-too\n"
    (source / "setup.cfg").write_text(text, encoding="utf-8")
    found = []
    for level in ("v1", "v3"):
        wheel = variant_wheel(source, "setuptools", level, tmp_path / level)
        found.append(wide_registers(wheel, tmp_path / "scratch" / level) > 0)
    assert found == [False, True]
    assert not (source / "kept").exists()


BUILD_SCRIPT = """
from pathlib import Path
from setuptools import Extension
def build(kwargs):
    kwargs["ext_modules"] = [Extension(
        "polywheel_example_setuptools._brighten", ["src/brighten.c"], extra_compile_args=["-O3"]
    )]
"""
SCRIPTED = {
    "poetry-core": (
        "poetry.core.masonry.api",
        (
            '[tool.poetry.build]\nscript = "compile_extension.py"\ngenerate-setup-file = true\n'
            '[tool.poetry]\npackages = [{ include = "polywheel_example_setuptools", from = "src" }]\n'
        ),
    ),
    "pdm-backend": ("pdm.backend", "[tool.pdm.build]\nrun-setuptools = true\n"),
}


def scripted(backend: str, into: Path) -> Path:
    """The setuptools example, its extension compiled by another backend's build script."""
    source = example("setuptools", into)
    module, tables = SCRIPTED[backend]
    pyproject = source / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    assert 'build-backend = "setuptools.build_meta"' in text
    text = text.replace('build-backend = "setuptools.build_meta"', f'build-backend = "{module}"')
    pyproject.write_text(f"{text}\n{tables}", encoding="utf-8")
    if backend == "poetry-core":
        (source / "setup.py").unlink()
        (source / "compile_extension.py").write_text(BUILD_SCRIPT, encoding="utf-8")
    return source


@pytest.mark.parametrize("backend", SCRIPTED)
def test_build_scripts_run_in_a_tree_of_their_own(backend: str, tmp_path: Path) -> None:
    source = scripted(backend, tmp_path)
    before = snapshot(source)

    def built(level: str) -> Path:
        return build_wheel(source, tmp_path / level, f"-Cvariant=x86_64::level::{level}")

    found = [wide_registers(built(level), tmp_path / "first") > 0 for level in ("v1", "v3")]
    assert found == [False, True]
    assert snapshot(source) == before
    if backend != "poetry-core":  # one of them shows the rest
        return
    for level in ("v1", "v3"):
        (tmp_path / level).rename(tmp_path / f"older-{level}")
    with ThreadPoolExecutor(2) as pool:
        wheels = list(pool.map(built, ("v1", "v3")))
    assert [wide_registers(wheel, tmp_path / "second") > 0 for wheel in wheels] == [False, True]
    assert snapshot(source) == before


HATCH_HOOK = """
import os
from pathlib import Path
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

class Hook(BuildHookInterface):
    def initialize(self, version, build_data):
        found = Path(self.root, "demo", "object.txt")
        if not found.exists():
            found.write_text(os.environ["CFLAGS"])
"""
HATCH_PROJECT = """
[build-system]
requires = ["polywheel", "hatchling"]
build-backend = "polywheel.backend"
[project]
name = "demo"
version = "1.0"
[tool.polywheel]
compiled = false
[tool.polywheel.setup."cpu :: level"]
cflags = ["-march={value}"]
[variant.default-priorities]
namespace = ["cpu"]
[variant.providers.cpu.static-properties]
level = ["v3", "v2"]
[variant.variants.v2.cpu]
level = ["v2"]
[variant.variants.v3.cpu]
level = ["v3"]
"""


def test_objects_of_a_hook_that_hatch_toml_declares_are_not_shared(tmp_path: Path) -> None:
    """The hook keeps an object beside its sources."""
    source = tmp_path / "source"
    (source / "demo").mkdir(parents=True)
    (source / "demo/__init__.py").touch()
    (source / "hatch_build.py").write_text(HATCH_HOOK, encoding="utf-8")
    (source / "pyproject.toml").write_text(HATCH_PROJECT, encoding="utf-8")
    (source / "hatch.toml").write_text("[build.hooks.custom]\n", encoding="utf-8")
    for level in ("v3", "v2"):
        out = tmp_path / level
        done = build(source, "--wheel", f"-Cvariant-label={level}", out=out)
        assert "no build hook" not in done.stdout
        (wheel,) = out.iterdir()
        with zipfile.ZipFile(wheel) as archive:
            assert archive.read("demo/object.txt").decode().endswith(f"-march={level}")
    assert not (source / "demo/object.txt").exists()
