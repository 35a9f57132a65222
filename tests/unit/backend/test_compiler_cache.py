"""The compiler cache of a build hook, from its variable."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from polywheel.backend.compiler_cache import launchers_of, stable_folder
from polywheel.backend.hook_call import HookCall
from polywheel.errors import ConfigError


@pytest.fixture(autouse=True)
def folder_with_ccache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("ccache", "ccache.exe"):
        (folder / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("POLYWHEEL_COMPILER_CACHE", "ccache")
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "cache"))
    for name in [*os.environ]:
        if name.startswith(("CCACHE_", "CMAKE_")):
            monkeypatch.delenv(name)
    return folder


def hook_call(folder: Path, backend: str, notes: list[str]) -> HookCall:
    path = 'backend-path = ["."]' if backend == "backend" else ""
    (folder / "pyproject.toml").write_text(
        f'[build-system]\nrequires = []\nbuild-backend = "{backend}"\n{path}\n'
        '[project]\nname = "demo"\nversion = "1"\n',
        encoding="utf-8",
    )
    return HookCall.read(folder, None, notify=notes.append)


def test_the_log_has_the_launchers(tmp_path: Path) -> None:
    notes: list[str] = []
    call = hook_call(tmp_path, "scikit_build_core.build", notes)
    given = launchers_of(call, os.environ, tmp_path / "scratch")
    assert given["CMAKE_C_COMPILER_LAUNCHER"] == "ccache"
    assert given["CCACHE_BASEDIR"] == str(tmp_path / "scratch")
    assert "CMAKE_C_COMPILER_LAUNCHER = ccache" in notes[0]


def test_the_base_directory_of_the_user_stays(tmp_path: Path) -> None:
    source = tmp_path / "work" / "source"
    source.mkdir(parents=True)
    environment = {**os.environ, "CCACHE_BASEDIR": "/", "CC": "gcc", "CXX": "g++"}
    call = hook_call(source, "setuptools.build_meta", [])
    given = launchers_of(call, environment, source.with_name("scratch"))
    assert given["CCACHE_BASEDIR"] == "/"
    assert given["CC"] == "ccache gcc"  # this PATH has no gcc


@pytest.mark.parametrize("value", [None, "", "off"])
def test_without_the_variable_nothing_is_set(
    value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is None:
        monkeypatch.delenv("POLYWHEEL_COMPILER_CACHE")
    else:
        monkeypatch.setenv("POLYWHEEL_COMPILER_CACHE", value)
    call = hook_call(tmp_path, "scikit_build_core.build", [])
    assert launchers_of(call, os.environ, tmp_path) == {}


def test_a_backend_that_gets_no_launcher_is_named(tmp_path: Path) -> None:
    notes: list[str] = []
    assert launchers_of(hook_call(tmp_path, "backend", notes), os.environ, tmp_path) == {}
    assert notes == ["note: no compiler cache for backend: set [tool.polywheel.backend] launchers"]
    # This one compiles nothing.
    assert launchers_of(hook_call(tmp_path, "uv_build", notes), os.environ, tmp_path) == {}
    assert len(notes) == 1


def test_ccache_for_rust_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    launchers_of(hook_call(tmp_path, "maturin", notes), os.environ, tmp_path)
    assert notes[0] == "note: ccache can't cache Rust; compiler-cache = 'sccache' or 'auto' can"
    monkeypatch.setenv("POLYWHEEL_COMPILER_CACHE", "auto")
    notes.clear()
    launchers_of(hook_call(tmp_path, "maturin", notes), os.environ, tmp_path)
    assert not [line for line in notes if line.startswith("note: ")]


def test_a_missing_compiler_cache_is_an_error_of_the_build(
    tmp_path: Path, folder_with_ccache: Path
) -> None:
    for path in folder_with_ccache.iterdir():
        path.unlink()
    call = hook_call(tmp_path, "scikit_build_core.build", [])
    with pytest.raises(ConfigError, match="POLYWHEEL_COMPILER_CACHE"):
        launchers_of(call, os.environ, tmp_path)


def test_a_build_at_the_same_time_gets_another_folder(tmp_path: Path) -> None:
    call = hook_call(tmp_path, "scikit_build_core.build", [])
    with stable_folder(call) as first:
        (first / "file").touch()
        with stable_folder(call) as second:
            assert second != first
            assert (first / "file").exists()
    assert not first.exists()
    with stable_folder(call) as again:
        assert again == first
        assert [*again.iterdir()] == []
