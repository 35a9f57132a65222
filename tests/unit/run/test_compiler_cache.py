"""The compiler cache of a run: which one, the variables of a build, and its hits and misses."""

from __future__ import annotations

from pathlib import Path

import pytest

from polywheel.config.project import Project, read_project
from polywheel.errors import ConfigError
from polywheel.run.compiler_cache import (
    choose_compiler_cache,
    cibuildwheel_cache_variables,
    compiler_cache_variables,
    count_statistics,
    read_cache_use,
    total_use,
)
from polywheel.run.outcome import CacheUse

STATISTICS = """\
# src/a.cpp
cache_miss
direct_cache_miss
local_storage_miss
preprocessed_cache_miss
# src/b.cpp
direct_cache_hit
local_storage_hit
# src/c.cpp
direct_cache_miss
preprocessed_cache_hit
local_storage_hit
# /venv/share/cmake/Modules/CMakeCXXCompilerABI.cpp
cache_miss
# /scratch/build/CMakeFiles/CMakeScratch/TryCompile-a1b2c3/src.cxx
cache_miss
# /scratch/build/meson-private/tmp12345678/testfile.c
cache_miss
# a.o
called_for_link
"""


def project(folder: Path, more: str = "") -> Project:
    text = f'[project]\nname = "demo"\nversion = "1"\n{more}'
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return read_project(folder, variants=False)


def test_checks_of_build_systems_do_not_count() -> None:
    assert count_statistics(STATISTICS) == CacheUse(hits=2, misses=1)
    assert count_statistics("cache_miss\n\0\n#\ndirect_cache_hit") == CacheUse(hits=1, misses=1)


def test_the_statistics_are_in_the_work_folder(tmp_path: Path) -> None:
    given = compiler_cache_variables("ccache", tmp_path, {})
    assert given["CCACHE_BASEDIR"] == str(tmp_path)
    path = Path(given["CCACHE_STATSLOG"])
    path.parent.mkdir()
    assert read_cache_use("ccache", tmp_path) is None
    path.write_text(STATISTICS, encoding="utf-8")
    assert read_cache_use("ccache", tmp_path) == CacheUse(hits=2, misses=1)
    assert read_cache_use("off", tmp_path) is None


def test_a_build_without_a_compiler_cache_gets_only_this_answer(tmp_path: Path) -> None:
    assert compiler_cache_variables("off", tmp_path, {}) == {"POLYWHEEL_COMPILER_CACHE": "off"}


def test_variables_of_the_user_stay(tmp_path: Path) -> None:
    own = {"CCACHE_BASEDIR": "/", "CCACHE_STATSLOG": "/log"}
    given = compiler_cache_variables("auto", tmp_path, own)
    assert given == {"POLYWHEEL_COMPILER_CACHE": "auto"}


def test_containers_see_the_folders_of_the_machine_in_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("CCACHE_DIR", "SCCACHE_DIR", "CCACHE_STATSLOG"):
        monkeypatch.delenv(name, raising=False)
    given = cibuildwheel_cache_variables("auto", tmp_path, in_container=True)
    assert given == {
        "POLYWHEEL_COMPILER_CACHE": "auto",
        "CCACHE_DIR": f"/host{tmp_path / 'cache' / 'ccache'}",
        "SCCACHE_DIR": f"/host{tmp_path / 'cache' / 'sccache'}",
        "CCACHE_STATSLOG": f"/host{tmp_path / 'scratch' / 'ccache-statistics'}",
    }
    monkeypatch.setenv("CCACHE_DIR", "/my/cache")
    given = cibuildwheel_cache_variables("auto", tmp_path, in_container=True)
    assert given["CCACHE_DIR"] == "/host/my/cache"
    here = cibuildwheel_cache_variables("auto", tmp_path, in_container=False)
    assert here["CCACHE_STATSLOG"] == str(tmp_path / "scratch" / "ccache-statistics")
    assert "CCACHE_DIR" not in here
    off = cibuildwheel_cache_variables("off", tmp_path, in_container=True)
    assert off == {"POLYWHEEL_COMPILER_CACHE": "off"}


def test_the_option_comes_before_the_variable_and_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POLYWHEEL_COMPILER_CACHE", raising=False)
    assert choose_compiler_cache(project(tmp_path), None, here=False) == "off"
    declared = project(tmp_path, '[tool.polywheel]\ncompiler-cache = "ccache"\n')
    assert choose_compiler_cache(declared, None, here=False) == "ccache"
    monkeypatch.setenv("POLYWHEEL_COMPILER_CACHE", "auto")
    assert choose_compiler_cache(declared, None, here=False) == "auto"
    assert choose_compiler_cache(declared, "sccache", here=False) == "sccache"


def test_an_error_names_the_place_of_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("POLYWHEEL_COMPILER_CACHE", raising=False)
    declared = project(tmp_path, '[tool.polywheel]\ncompiler-cache = "ccache"\n')
    with pytest.raises(ConfigError, match=r"pyproject\.toml: tool\.polywheel\.compiler-cache"):
        choose_compiler_cache(declared, None, here=True)
    with pytest.raises(ConfigError, match="--compiler-cache"):
        choose_compiler_cache(declared, "sccache", here=True)
    monkeypatch.setenv("POLYWHEEL_COMPILER_CACHE", "ccahe")
    with pytest.raises(ConfigError, match="variable POLYWHEEL_COMPILER_CACHE"):
        choose_compiler_cache(declared, None, here=False)


def test_the_sum_is_unknown_if_no_build_is_known() -> None:
    assert total_use([None, None]) is None
    use = CacheUse(hits=1, misses=2)
    assert total_use([use, None, use]) == CacheUse(hits=2, misses=4)
