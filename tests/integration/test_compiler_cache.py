"""Builds with ccache: objects are shared, and wheels are those of a build without it."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from support.build_command import CACHE, Builds, Run, workplaces
from support.builds import build_wheel
from support.projects import HERE, example

places = pytest.fixture(autouse=True)(workplaces)
pytestmark = [
    pytest.mark.skipif(shutil.which("ccache") is None, reason="ccache is not installed"),
    pytest.mark.skipif(sys.platform == "win32", reason="the options are those of GCC and Clang"),
    pytest.mark.usefixtures("x86_64_gcc"),
]


@pytest.fixture(autouse=True)
def ccache_is_enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CCACHE_DISABLE")


MATRIX = """
[tool.polywheel]
build-backend = "mesonpy"
compiler-cache = "ccache"
[tool.polywheel.matrix]
python = [{pythons}]
variants = ["*"]
"""
V3 = ("--select", "x86_64_v3")


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def remove_wheels() -> None:
    """Remove the wheels of earlier builds from polywheel's cache, which would be used."""
    shutil.rmtree(CACHE / "wheels", ignore_errors=True)


def uses(run: Run) -> dict[str, tuple[int, int]]:
    """Hits and misses by build, without the target."""
    return {
        build["id"].partition("-cp")[2]: (
            build["compiler-cache"]["hits"],
            build["compiler-cache"]["misses"],
        )
        for build in run.report["builds"]
    }


def test_objects_are_shared_and_wheels_are_those_of_a_build_without_ccache(
    tmp_path: Path, second_python: str
) -> None:
    source = example("meson", tmp_path)
    # A file that does not include Python.h.
    (source / "src" / "square.c").write_text("double square(double x) { return x * x; }\n")
    change(source / "meson.build", "'src/axpy.c',", "['src/axpy.c', 'src/square.c'],")
    pythons = ", ".join(f'"{python}"' for python in (HERE, second_python))
    tables = MATRIX.format(pythons=pythons)
    change(source / "pyproject.toml", '[tool.polywheel]\nbuild-backend = "mesonpy"\n', tables)
    cold = Builds(source, tmp_path / "cold", {"CCACHE_DIR": str(tmp_path / "ccache")})
    # One after the other: at the same time, both would compile the file.
    run = cold("-j", "1", *V3)
    assert sorted(uses(run).values()) == [(0, 2), (1, 1)]
    assert "compiler cache: 1 hits, 3 misses" in run.out
    assert "compiler cache: CC = ccache " in cold.log("x86_64_v3")

    remove_wheels()
    clean = replace(cold, out=tmp_path / "clean")
    assert {*uses(clean(*V3)).values()} == {(2, 0)}

    # Meson finds ccache by itself.
    without = replace(cold, out=tmp_path / "without", env={"CCACHE_DISABLE": "1"})
    remove_wheels()
    run = without("--compiler-cache", "off", *V3)
    assert {build["compiler-cache"] for build in run.report["builds"]} == {None}
    assert cold.wheels == clean.wheels == without.wheels
    # The compiler cache is not a part of what a wheel depends on.
    assert {*without(*V3).states.values()} == {"up-to-date"}


def test_the_build_hooks_use_it_too(tmp_path: Path) -> None:
    """In a folder with the same path each time, and not in a new temporary folder."""
    for number in (1, 2):
        statistics = tmp_path / f"statistics{number}"
        variables = {
            "POLYWHEEL_COMPILER_CACHE": "ccache",
            "POLYWHEEL_CACHE_DIR": str(tmp_path / "cache"),
            "CCACHE_DIR": str(tmp_path / "ccache"),
            "CCACHE_STATSLOG": str(statistics),
        }
        source = tmp_path / "setuptools"
        if number == 1:
            example("setuptools", tmp_path)
        build_wheel(source, tmp_path / str(number), "-Cvariant-label=x86_64_v3", env=variables)
    first, second = ((tmp_path / f"statistics{number}").read_text() for number in (1, 2))
    assert "cache_miss" in first
    assert "direct_cache_hit" in second
    assert "cache_miss" not in second
    (lock,) = (tmp_path / "cache" / "hooks").glob("*/*/lock")
    assert (lock.parent.name, [*lock.parent.iterdir()]) == ("1", [lock])
