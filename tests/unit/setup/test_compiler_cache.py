"""The compiler cache of a build, and the variables by which each backend launches its compilers with it."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest

from polywheel.errors import ConfigError
from polywheel.model.setup import BackendProfile
from polywheel.setup.compiler_cache import (
    CompilerCaches,
    find_compiler_caches,
    launcher_variables,
)
from polywheel.setup.profiles import shipped_profiles

posix = pytest.mark.skipif(sys.platform == "win32", reason="compilers on Windows have no default")
CCACHE = CompilerCaches(c="ccache")
BOTH = CompilerCaches(c="ccache", rust="sccache")
BASE = Path("/work/job")


def profile(name: str) -> BackendProfile:
    return next(one for one in shipped_profiles() if one.name == name)


def variables(
    name: str,
    environment: dict[str, str] | None = None,
    caches: CompilerCaches = CCACHE,
    *,
    compiler: str = "gnu",
    scratch: Path = BASE / "scratch",
    work_folder: Path | None = BASE,
) -> dict[str, str]:
    return launcher_variables(
        profile(name),
        caches,
        compiler=compiler,
        environment=environment or {},
        scratch=scratch,
        work_folder=work_folder,
    )


def programs(folder: Path, *names: str) -> str:
    for name in names:
        for path in (folder / name, folder / f"{name}.exe"):  # Windows needs a suffix
            path.touch(mode=0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("setting", "installed", "expected"),
    [
        ("off", ("ccache", "sccache"), CompilerCaches()),
        ("auto", (), CompilerCaches()),
        ("auto", ("ccache",), CompilerCaches(c="ccache")),
        ("auto", ("sccache",), CompilerCaches(c="sccache", rust="sccache")),
        ("auto", ("ccache", "sccache"), BOTH),
        ("ccache", ("ccache", "sccache"), CompilerCaches(c="ccache")),
        ("sccache", ("ccache", "sccache"), CompilerCaches(c="sccache", rust="sccache")),
    ],
)
def test_auto_uses_what_is_installed(
    setting: str, installed: tuple[str, ...], expected: CompilerCaches, tmp_path: Path
) -> None:
    path = programs(tmp_path, *installed)
    assert find_compiler_caches(setting, at="here", search_path=path) == expected


@pytest.mark.parametrize("setting", ["ccache", "sccache"])
def test_a_compiler_cache_that_is_named_and_missing_is_an_error(
    setting: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        find_compiler_caches(setting, at="here", search_path=str(tmp_path))
    text = error.value.render()
    assert f"the compiler cache '{setting}' was not found on PATH" in text
    assert f"install {setting}" in text


def test_an_unknown_compiler_cache_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="unknown compiler cache 'cache'"):
        find_compiler_caches("cache", at="here", search_path="")
    with pytest.raises(ConfigError) as error:
        find_compiler_caches("ccahe", at="here", search_path="")
    assert "ccache" in error.value.render()


def test_cmake_gets_a_launcher_for_each_language() -> None:
    languages = ("C", "CXX", "OBJC", "OBJCXX", "CUDA", "HIP")
    assert variables("scikit-build-core") == {
        **{f"CMAKE_{language}_COMPILER_LAUNCHER": "ccache" for language in languages},
        "CCACHE_BASEDIR": str(BASE / "scratch"),
    }


@posix
def test_setuptools_gets_a_script_with_the_name_and_the_options_of_the_compiler(
    tmp_path: Path,
) -> None:
    path = programs(tmp_path, "clang", "g++")
    environment = {"CC": "clang -m32 '-DA=b c'", "CXX": "g++", "PATH": path}
    given = variables("setuptools", environment, compiler="clang", scratch=tmp_path)
    script = tmp_path / "launchers" / "clang"
    assert given["CC"] == f"{script} -m32 '-DA=b c'"
    assert script.read_text().splitlines() == [
        "#!/bin/sh",
        f'exec ccache {tmp_path / "clang"} -fdebug-prefix-map={BASE}=. "$@"',
    ]
    assert script.stat().st_mtime_ns == (tmp_path / "clang").stat().st_mtime_ns
    assert given["CXX"] == str(tmp_path / "launchers" / "g++")
    again = variables("setuptools", environment, scratch=tmp_path, work_folder=None)
    assert again["CC"] == given["CC"]
    assert "prefix-map" not in script.read_text()


@posix
def test_without_a_variable_it_is_the_compiler_of_python(tmp_path: Path) -> None:
    command = str(sysconfig.get_config_var("CC")).split()
    path = programs(tmp_path, command[0])
    given = variables("setuptools", {"PATH": path}, scratch=tmp_path)
    assert given["CC"].split() == [str(tmp_path / "launchers" / command[0]), *command[1:]]


@pytest.mark.parametrize("compiler", ["no-such-compiler", "env A=b gcc", "'gcc"])
def test_a_command_that_no_script_can_start_gets_a_prefix(compiler: str, tmp_path: Path) -> None:
    assert variables("setuptools", {"CC": compiler}, scratch=tmp_path)["CC"] == f"ccache {compiler}"
    folder = tmp_path / "a folder"
    assert variables("setuptools", {"CC": "gcc"}, scratch=folder)["CC"] == "ccache gcc"


@posix
def test_meson_gets_the_compiler_that_it_would_find(tmp_path: Path) -> None:
    path = programs(tmp_path, "gcc", "clang", "c++", "g++")
    given = variables("meson-python", {"PATH": path})
    assert given == {
        "CC": "ccache gcc",
        "CXX": "ccache c++",
        "CCACHE_BASEDIR": str(BASE / "scratch"),
    }


@posix
def test_cargo_gets_sccache_and_the_crate_cc_gets_ccache(tmp_path: Path) -> None:
    path = programs(tmp_path, "cc", "c++")
    given = variables("maturin", {"PATH": path}, BOTH)
    assert given["RUSTC_WRAPPER"] == "sccache"
    assert given["CC"] == "ccache cc"
    assert "RUSTC_WRAPPER" not in variables("maturin", {"PATH": path}, CCACHE)


def test_msvc_without_a_variable_gets_no_launcher_from_a_prefix() -> None:
    assert variables("setuptools", compiler="msvc") == {}
    assert "CMAKE_CXX_COMPILER_LAUNCHER" in variables("scikit-build-core", compiler="msvc")


@pytest.mark.parametrize("own", ["sccache", "/usr/bin/distcc", "ccache"])
def test_the_launcher_of_the_user_stays(own: str, tmp_path: Path) -> None:
    cmake = {"CMAKE_CXX_COMPILER_LAUNCHER": own}
    assert "CMAKE_CXX_COMPILER_LAUNCHER" not in variables("scikit-build-core", cmake)
    assert "CMAKE_C_COMPILER_LAUNCHER" in variables("scikit-build-core", cmake)
    compiler = {"CXX": f"{own} g++", "CC": "gcc", "PATH": str(tmp_path)}
    assert "CMAKE_CXX_COMPILER_LAUNCHER" not in variables("scikit-build-core", compiler)
    assert "CXX" not in variables("setuptools", compiler)
    assert variables("setuptools", compiler)["CC"].startswith("ccache gcc")
    assert "RUSTC_WRAPPER" not in variables("maturin", {"RUSTC_WRAPPER": own}, BOTH)


def test_sccache_needs_no_variables_of_ccache() -> None:
    own = {"CC": "gcc", "CXX": "g++", "PATH": "/nowhere"}
    given = variables("setuptools", own, CompilerCaches(c="sccache"))
    assert given == {"CC": "sccache gcc", "CXX": "sccache g++"}


def test_backends_without_a_compile_step_get_nothing() -> None:
    assert variables("flit-core") == {}
    assert variables("uv-build") == {}
    nothing = launcher_variables(None, CCACHE, compiler="gnu", environment={}, scratch=BASE)
    assert nothing == {}
