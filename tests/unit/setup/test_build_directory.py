"""The build directory of a variant: its path, and its inputs."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polywheel.config.project import look_up
from polywheel.config.selection import ConfigSettings
from polywheel.errors import ConfigError
from polywheel.model.setup import FLAG_FIELDS, BackendProfile, BuildDirectory
from polywheel.model.variant import Variant
from polywheel.setup.build_directory import OwnDirectory, _digest, own_build_directory
from polywheel.setup.flags_and_settings import deliver
from polywheel.setup.presets import load_preset, preset_names
from polywheel.setup.profiles import shipped_profiles
from polywheel.setup.rules import SetupSources, merge_rules
from support.setups import project, variant

PROFILES = {one.name: one for one in shipped_profiles()}
V3 = variant("cpu::level::v3", label="v3")


def own(
    backend: str | BackendProfile | None,
    *,
    built: Variant = V3,
    settings: ConfigSettings | None = None,
    environment: Mapping[str, str] | None = None,
    document: Mapping[str, Any] | None = None,
    source: Path = Path("/source"),
    scratch: Path = Path("/scratch"),
    editable: bool = False,
    variables: tuple[str, ...] = (),
) -> OwnDirectory:
    return own_build_directory(
        PROFILES[backend] if isinstance(backend, str) else backend,
        project(source=source, document=document),
        built,
        settings or {},
        environment=environment or {},
        scratch=scratch,
        editable=editable,
        variables=variables,
    )


def folder(found: OwnDirectory) -> str:
    """The one directory that is told, without the digest at its end."""
    (path,) = (*found.environment.values(), *found.config_settings.values())
    name, _, digest = path.rpartition("-")
    assert len(digest) == 8
    assert int(digest, 16) >= 0
    return name.replace("\\", "/")


# --- where ---------------------------------------------------------------------------------------


def scikit(**table: object) -> dict[str, Any]:
    return {"tool": {"scikit-build": table}}


@pytest.mark.parametrize(
    ("backend", "given", "name", "expected"),
    [
        (
            "meson-python",
            {"settings": {"build-dir": "kept"}},
            "build-dir",
            "/source/kept/polywheel/v3",
        ),
        ("meson-python", {"settings": {"builddir": "/abs"}}, "build-dir", "/abs/polywheel/v3"),
        ("meson-python", {"editable": True}, "build-dir", "/source/build/polywheel/v3"),
        (
            "scikit-build-core",
            {"settings": {"build-dir": "a"}, "document": scikit(**{"build-dir": "b"})},
            "SKBUILD_BUILD_DIR",
            "/source/a/polywheel/v3",
        ),
        (
            "scikit-build-core",
            {"settings": {"skbuild.build-dir": "a"}},
            "SKBUILD_BUILD_DIR",
            "/source/a/polywheel/v3",
        ),
        (
            "scikit-build-core",
            {"environment": {"SKBUILD_BUILD_DIR": "/env"}, "settings": {"build-dir": "a"}},
            "SKBUILD_BUILD_DIR",
            "/env/polywheel/v3",
        ),
        (
            "scikit-build-core",
            {"document": scikit(**{"build-dir": "build/{wheel_tag}"})},
            "SKBUILD_BUILD_DIR",
            "/source/build/{wheel_tag}/polywheel/v3",
        ),
        (
            "scikit-build-core",
            {"document": scikit(overrides=[{"if": {}}, {"build-dir": "o"}])},
            "SKBUILD_BUILD_DIR",
            "/source/o/polywheel/v3",
        ),
        ("maturin", {}, "CARGO_TARGET_DIR", "/source/target/polywheel/v3"),
        (
            "maturin",
            {"environment": {"CARGO_TARGET_DIR": "/t"}},
            "CARGO_TARGET_DIR",
            "/t/polywheel/v3",
        ),
    ],
)
def test_a_directory_that_is_kept_gets_a_folder_for_the_variant(
    backend: str, given: dict[str, Any], name: str, expected: str
) -> None:
    found = own(backend, **given)
    assert [*found.environment, *found.config_settings] == [name]
    assert folder(found) == expected


@pytest.mark.parametrize(
    ("backend", "given"),
    [
        ("meson-python", {}),  # a new temporary directory each time
        ("scikit-build-core", {}),
        ("scikit-build-core", {"document": scikit(**{"build-dir": ""})}),
        ("scikit-build-core", {"document": scikit(**{"build-dir": 1})}),
        ("hatchling", {"environment": {"CARGO_TARGET_DIR": "/t"}}),
        ("setuptools", {"editable": True}),
        (None, {"editable": True}),
    ],
)
def test_where_nothing_is_kept_nothing_is_told(backend: str | None, given: dict[str, Any]) -> None:
    assert own(backend, **given) == OwnDirectory()


def test_the_users_own_keys_are_replaced_by_ours() -> None:
    found = own("meson-python", settings={"builddir": "kept"})
    assert found.replaced == {"build-dir", "builddir"}
    assert own("maturin").replaced == frozenset()


def test_a_backend_that_is_too_old_to_be_told_is_refused() -> None:
    directory = BuildDirectory(via="env:DIR", default="build", since="packaging>=9999")
    profile = BackendProfile(name="old", modules=(), packages=(), build_directory=directory)
    with pytest.raises(ConfigError) as caught:
        own(profile)
    (problem,) = caught.value.problems
    assert "can't be given a build directory for each variant" in problem.what
    assert problem.hint == "require packaging>=9999"


@pytest.mark.parametrize("since", ["packaging>=1", "no-such-distribution>=1"])
def test_one_that_is_new_enough_or_missing_is_not(since: str) -> None:
    directory = BuildDirectory(via="env:DIR", default="build", since=since)
    profile = BackendProfile(name="new", modules=(), packages=(), build_directory=directory)
    assert folder(own(profile)) == "/source/build/polywheel/v3"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"a": {"b": 1}}, 1),
        ({"a": [{"c": 2}, {"b": 3}, {"b": 4}]}, 3),
        ({"a": {"c": 2}}, None),
        ({"a": 1}, None),
        ({}, None),
    ],
)
def test_a_dotted_path_is_looked_up(document: object, expected: object) -> None:
    assert look_up(document, "a.b") == expected


# --- setuptools ----------------------------------------------------------------------------------


def configuration(found: OwnDirectory) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser()  # as distutils/dist.py reads it
    parser.read(found.environment["DIST_EXTRA_CONFIG"], encoding="utf-8")
    return {section: dict(parser[section]) for section in parser.sections()}


def test_setuptools_is_told_by_a_configuration_file_of_its_own(tmp_path: Path) -> None:
    source, scratch = tmp_path / "source", tmp_path / "100% scratch"
    (source / "src" / "demo.egg-info").mkdir(parents=True)
    (source / "src" / "demo.egg-info" / "SOURCES.txt").write_text("a", encoding="utf-8")
    (source / "no.egg-info").touch()
    scratch.mkdir()
    theirs = tmp_path / "theirs.cfg"
    theirs.write_text(
        "[build]\nbuild_base = x\ndebug = 1\n[MyCommand]\nKey = é\n", encoding="utf-8"
    )
    found = own(
        "setuptools",
        source=source,
        scratch=scratch,
        environment={"DIST_EXTRA_CONFIG": str(theirs)},
    )
    build = scratch / "build"
    lib, temp = str(build / "lib"), str(build / "temp")
    assert configuration(found) == {
        "build": {"build_base": str(build), "build_lib": lib, "build_temp": temp, "debug": "1"},
        "build_ext": {"build_lib": lib, "build_temp": temp, "force": "true"},
        "build_clib": {"build_temp": temp},
        "egg_info": {"egg_base": str(scratch / "egg-info")},
        "MyCommand": {"key": "é"},
    }
    assert Path(found.environment["DIST_EXTRA_CONFIG"]).read_text("utf-8").count("Key = é") == 1
    copied = [path.relative_to(scratch / "egg-info") for path in scratch.glob("egg-info/**/*")]
    assert sorted(copied) == [Path("demo.egg-info"), Path("demo.egg-info", "SOURCES.txt")]


@pytest.mark.parametrize("known", [False, True])
def test_a_backend_that_nobody_knows_may_be_setuptools(known: bool, tmp_path: Path) -> None:
    unknown = BackendProfile(name="own", modules=(), packages=())
    found = own(unknown if known else None, source=tmp_path, scratch=tmp_path)
    build = tmp_path / "build"
    lib, temp = str(build / "lib"), str(build / "temp")
    assert configuration(found) == {
        "build": {"build_base": str(build), "build_lib": lib, "build_temp": temp},
        "build_ext": {"build_lib": lib, "build_temp": temp, "force": "true"},
        "build_clib": {"build_temp": temp},
    }
    meson = replace(unknown, own_optimization=True)
    assert own(meson, source=tmp_path, scratch=tmp_path) == OwnDirectory()


@pytest.mark.parametrize("content", [b"no section\n", b"[a]\nb\n= c\n[a\n", b"[a]\nb = \xff\n"])
def test_a_broken_configuration_of_the_user_is_named(content: bytes, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.cfg"
    theirs.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        own(
            "setuptools",
            source=tmp_path,
            scratch=tmp_path,
            environment={"DIST_EXTRA_CONFIG": str(theirs)},
        )
    (problem,) = caught.value.problems
    assert "theirs.cfg can't be read" in problem.what
    assert problem.at == "environment variable DIST_EXTRA_CONFIG"


# --- copies of the source tree -------------------------------------------------------------------

HOOKS = {"hatch": {"build": {"hooks": {"custom": {}}}}, "pdm": {"build": {"run-setuptools": True}}}
SOURCE = (
    *("a.c", "a.so", "pkg/build/data.py", "pkg/dist/data.py", "pkg/a.o", "pkg/__pycache__/a.pyc"),
    *("dist/old.whl", "venv/pyvenv.cfg", "venv/lib/big", ".polywheel-x/wheel"),
)


@pytest.mark.parametrize("backend", ["hatchling", "pdm-backend"])
def test_a_copy_has_the_sources_alone_and_nothing_in_it_looks_compiled_already(
    backend: str, tmp_path: Path
) -> None:
    """A folder named build in a package is source; an extension of another build is outdated."""
    source = tmp_path / "source"
    for name in SOURCE:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name, encoding="utf-8")
    copy = own(
        backend, source=source, scratch=tmp_path / "scratch", document={"tool": HOOKS}
    ).source
    assert copy is not None
    names = [path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()]
    assert sorted(names) == ["a.c", "a.so", "pkg/a.o", "pkg/build/data.py", "pkg/dist/data.py"]
    for compiled in ("a.so", "pkg/a.o"):
        assert (copy / compiled).stat().st_mtime < (copy / "a.c").stat().st_mtime
        assert (copy / compiled).read_text(encoding="utf-8") == compiled


def test_a_hatchling_project_without_hooks_is_built_in_its_own_tree(tmp_path: Path) -> None:
    assert own("hatchling", source=tmp_path, scratch=tmp_path) == OwnDirectory()


# --- the digest ----------------------------------------------------------------------------------

BASE_ENVIRONMENT = {"CFLAGS": "-O2", "PATH": "/bin", "MKL_ROOT": "/a"}
BASE_SETTINGS: ConfigSettings = {"build-dir": "kept", "setup-args": ["-Da=1", "-Db=2"]}


def digest(
    *,
    built: Variant = V3,
    settings: ConfigSettings = BASE_SETTINGS,
    environment: Mapping[str, str] | None = None,
    variables: tuple[str, ...] = (),
    **python: tuple[str, str],
) -> str:
    more = environment or {}
    return _digest(built, settings, {**BASE_ENVIRONMENT, **more}, variables, **python)


@pytest.mark.parametrize("name", [*FLAG_FIELDS, "cppflags", "cudaflags"])
def test_other_flags_are_another_directory(name: str) -> None:
    assert digest(environment={name.upper(): "-x"}) != digest()


@pytest.mark.parametrize(
    "changed",
    [
        {"environment": {"CC": "clang"}},
        {"environment": {"CXX": "clang++"}},
        {"environment": {"CUDA_HOME": "/cuda"}},
        {"environment": {"CFLAGS": ""}},
        {"environment": {"MKL_ROOT": "/b"}, "variables": ("MKL_ROOT",)},
        {"settings": {**BASE_SETTINGS, "new": "1"}},
        {"settings": {**BASE_SETTINGS, "build-dir": "other"}},
        {"settings": {**BASE_SETTINGS, "setup-args": ["-Db=2", "-Da=1"]}},
        {"settings": {}},
        {"built": variant("cpu::level::v2", label="v3")},
        {"built": variant("cpu::level::v3", "cpu::aes::on", label="v3")},
        {"built": variant()},
        {"python": ("cpython-399", ".cpython-399.so")},
    ],
)
def test_other_input_is_another_directory(changed: dict[str, Any]) -> None:
    given = {"variables": changed.get("variables", ())}
    assert digest(**changed) != digest(**given)


@pytest.mark.parametrize(
    "changed",
    [
        {"environment": {"PATH": "/usr/bin"}},
        {"environment": {"TERM": "xterm", "HOME": "/root"}},
        {"environment": {"MKL_ROOT": "/b"}},  # nobody told it
        {"settings": dict(reversed(list(BASE_SETTINGS.items())))},
        {"built": variant("cpu::level::v3", label="other")},  # the folder has the label itself
    ],
)
def test_nothing_else_is_another_directory(changed: dict[str, Any]) -> None:
    assert digest(**changed) == digest()


def test_two_calls_find_the_same_folder() -> None:
    assert own("maturin") == own("maturin")
    assert own("maturin", environment={"RUSTFLAGS": "-C"}) != own("maturin")
    told = own("maturin", environment={"A": "1"}, variables=("A",))
    assert told != own("maturin", environment={"A": "2"}, variables=("A",))


@pytest.mark.parametrize("name", preset_names())
def test_whatever_a_preset_delivers_is_in_the_digest(name: str) -> None:
    preset = load_preset(name, at="here")
    for feature_name, feature in preset.features.items():
        for value in feature.values[:3]:
            built = variant(f"{name}::{feature_name}::{value}", label="x")
            for backend in ("meson-python", "scikit-build-core"):
                setup = merge_rules(built, SetupSources(presets=[preset], backend=backend))
                found = deliver(
                    setup,
                    PROFILES[backend],
                    compiler="gnu",
                    environment={},
                    settings={},
                    consumed_by_hooks=False,
                    strict=False,
                )
                for variable in found.environment:
                    one = _digest(built, {}, {variable: "1"}, ())
                    assert one != _digest(built, {}, {variable: "2"}, ()), variable
    variables = {variable for rule in preset.rules for variable in rule.fields.env}
    for variable in variables:
        assert _digest(V3, {}, {variable: "1"}, ()) != _digest(V3, {}, {}, ()), variable
