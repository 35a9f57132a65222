"""The backend profiles of polywheel, and the profile of a project."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from polywheel.config.project import Project
from polywheel.config.reader import Problems, Table
from polywheel.config.setup_table import read_profile
from polywheel.errors import ConfigError
from polywheel.model.setup import BackendChoice, BackendProfile, BuildDirectory
from polywheel.setup.profiles import choose_backend, shipped_profiles
from support.setups import project_with_backend

PROFILES = shipped_profiles()


def chosen(choice: BackendChoice) -> tuple[str, tuple[str, ...] | None, str | None]:
    name = choice.profile.name if choice.profile else None
    return choice.build_backend, choice.backend_path, name


def test_every_file_is_a_profile(root: Path) -> None:
    assert [one.name for one in PROFILES] == [
        path.stem for path in sorted((root / "backends").glob("*.toml"))
    ]
    assert len(PROFILES) >= 9


def test_no_module_and_no_package_is_in_two_profiles() -> None:
    modules = Counter(module for one in PROFILES for module in one.modules)
    packages = Counter(package for one in PROFILES for package in one.packages)
    assert set((modules | packages).values()) == {1}


@pytest.mark.parametrize("profile", PROFILES, ids=lambda one: one.name)
def test_names_are_in_the_form_that_they_are_compared_in(profile: BackendProfile) -> None:
    assert [canonicalize_name(package) for package in profile.packages] == [*profile.packages]
    if profile.build_directory and profile.build_directory.since:
        assert canonicalize_name(Requirement(profile.build_directory.since).name) in (
            profile.packages
        )


GOOD = """
modules = ["fast.build"]
packages = ["fast-build"]
[build-directory]
via = "config-setting:build-dir"
kept-by = ["env:FAST_DIR", "pyproject:tool.fast.build-dir"]
default = "build"
editable-default = "build-editable"
since = "fast-build>=2"
"""


def read(text: str) -> BackendProfile:
    problems = Problems()
    profile = read_profile(Table(tomllib.loads(text), "fast.toml", (), problems), "fast")
    problems.raise_all()
    return profile


def test_the_whole_vocabulary() -> None:
    assert read(GOOD) == BackendProfile(
        name="fast",
        modules=("fast.build",),
        packages=("fast-build",),
        build_directory=BuildDirectory(
            via="config-setting:build-dir",
            kept_by=("env:FAST_DIR", "pyproject:tool.fast.build-dir"),
            default="build",
            editable_default="build-editable",
            since="fast-build>=2",
        ),
    )
    assert read(GOOD.partition("[build-directory]")[0]).build_directory is None


@pytest.mark.parametrize(
    ("old", "new", "at", "what"),
    [
        ('modules = ["fast.build"]\n', "", "modules", "missing key 'modules'"),
        ('packages = ["fast-build"]\n', "", "packages", "missing key 'packages'"),
        ('["fast.build"]', "[]", "modules", "at least one string"),
        ('["fast-build"]', "[]", "packages", "at least one string"),
        ("modules", "module = 1\nmodules", "module", "unknown key 'module'"),
        (
            'via = "config-setting:build-dir"\n',
            "",
            "build-directory.via",
            "missing key 'via'",
        ),
        (
            "config-setting:build-dir",
            "flag:x",
            "build-directory.via",
            "unknown delivery method 'flag:x'",
        ),
        ("env:FAST_DIR", "env:fast dir", "build-directory.kept-by[0]", "malformed name"),
        ('default = "build"', "default = 1", "build-directory.default", "found 1"),
        ("since", "sinse", "build-directory.sinse", "unknown key 'sinse'"),
    ],
)
def test_a_malformed_profile_is_refused(old: str, new: str, at: str, what: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        read(GOOD.replace(old, new, 1))
    (problem,) = caught.value.problems
    assert problem.at == f"fast.toml: {at}"
    assert what in problem.what


@pytest.mark.parametrize("module", [module for one in PROFILES for module in one.modules])
def test_a_backend_that_is_named_has_its_profile(module: str) -> None:
    for choice in (
        choose_backend(project_with_backend(real=module)),
        choose_backend(project_with_backend(module)),
    ):
        assert choice.build_backend == module
        assert choice.profile is not None
        assert module in choice.profile.modules


@pytest.mark.parametrize("profile", PROFILES, ids=lambda one: one.name)
def test_the_one_backend_that_is_required_is_inferred(profile: BackendProfile) -> None:
    for package in profile.packages:
        spelt = package.upper().replace("-", "_") + " >= 1"
        choice = choose_backend(project_with_backend(requires=("polywheel", spelt, "numpy")))
        assert choice == BackendChoice(
            build_backend=profile.modules[0], backend_path=None, profile=profile
        )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # what is named goes before what could be inferred
        (
            project_with_backend(requires=("meson-python", "setuptools"), real="mesonpy"),
            ("mesonpy", None, "meson-python"),
        ),
        (
            project_with_backend(requires=("setuptools",), real="flit_core.buildapi"),
            ("flit_core.buildapi", None, "flit-core"),
        ),
        # a backend without a profile builds too
        (project_with_backend(real="own.backend:api"), ("own.backend:api", None, None)),
        # in the tree
        (project_with_backend(real="own", real_path=("tools",)), ("own", ("tools",), None)),
        # polywheel itself in the tree: its path is not the real backend's
        (
            project_with_backend(backend_path=(".",), real="mesonpy"),
            ("mesonpy", None, "meson-python"),
        ),
        (
            project_with_backend("polywheel.backend:x", real="mesonpy"),
            ("mesonpy", None, "meson-python"),
        ),
        # a project that has not heard of polywheel: its own backend
        (
            project_with_backend("mesonpy", requires=("meson-python",)),
            ("mesonpy", None, "meson-python"),
        ),
        (project_with_backend("own", backend_path=("tools",)), ("own", ("tools",), None)),
        # the name of another one is similar
        (
            project_with_backend(
                requires=("setuptools", "setuptools2"), real="setuptools2.build_meta"
            ),
            ("setuptools2.build_meta", None, None),
        ),
        (project_with_backend(real="setuptols.build_meta"), ("setuptols.build_meta", None, None)),
        (project_with_backend("polywheelish.api"), ("polywheelish.api", None, None)),
        (
            project_with_backend("wrapper", real="flit_core.buildapi"),
            ("flit_core.buildapi", None, "flit-core"),
        ),
        # one that names none is built by setuptools, as before PEP 517
        (project_with_backend(None), ("setuptools.build_meta:__legacy__", None, "setuptools")),
        (
            project_with_backend(None, requires=("cython", "setuptools")),
            ("setuptools.build_meta:__legacy__", None, "setuptools"),
        ),
        (project_with_backend(None, real="mesonpy"), ("mesonpy", None, "meson-python")),
    ],
)
def test_the_real_backend(
    given: Project, expected: tuple[str, tuple[str, ...] | None, str | None]
) -> None:
    assert chosen(choose_backend(given)) == expected


@pytest.mark.parametrize(
    ("given", "at", "says"),
    [
        (
            project_with_backend(requires=("polywheel", "setuptools", "meson-python>=0.18")),
            "build-system.requires",
            [
                "several backends are required",
                "meson-python, setuptools",
                'build-backend = "mesonpy" or "setuptools.build_meta"',
            ],
        ),
        (
            project_with_backend(requires=("polywheel", "numpy")),
            "build-system.requires",
            ["no required package is a known backend", "mesonpy (meson-python)"],
        ),
        (
            project_with_backend(),
            "build-system.requires",
            ["no required package is a known backend", "uv_build (uv-build)"],
        ),
        (
            project_with_backend(requires=("not good!",)),
            "build-system.requires",
            ["malformed requirement 'not good!'"],
        ),
        (
            project_with_backend(requires=("meson-python",), real="polywheel.backend"),
            "tool.polywheel.build-backend",
            ["can't be polywheel itself", "mesonpy", "hatchling.build"],
        ),
        (
            project_with_backend(real="polywheel"),
            "tool.polywheel.build-backend",
            ["polywheel itself"],
        ),
        (
            project_with_backend(requires=("Setuptools>=77",), real="setuptols.build_meta"),
            "tool.polywheel.build-backend",
            ["unknown backend 'setuptols.build_meta'", "did you mean 'setuptools.build_meta'?"],
        ),
        (
            project_with_backend(real="polywheel.backend:x"),
            "tool.polywheel.build-backend",
            ["itself"],
        ),
    ],
)
def test_no_one_backend_is_left(given: Project, at: str, says: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_backend(given)
    (problem,) = caught.value.problems
    assert problem.at == f"pyproject.toml: {at}"
    for text in says:
        assert text in problem.render()
