"""Caches damaged by a full disk or by a clean-up: the next run repairs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.build_command import Builds
from support.disks import fill_disk, small_disk
from support.projects import write_project

PYPROJECT = """\
[build-system]
requires = ["flit-core>=3.12"]
build-backend = "flit_core.buildapi"
[project]
name = "demo"
version = "1.0"
description = "demo"
[variant.default-priorities]
namespace = ["blas"]
[variant.providers.blas]
static-properties.library = ["mkl"]
[variant.variants.mkl]
blas.library = ["mkl"]
[tool.polywheel.matrix.axes.library]
mkl = ["blas :: library :: mkl"]
"""
MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system for the cache."""
    with small_disk(tmp_path / "disk", "32m") as folder:
        yield folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(
        tmp_path / "project", {"pyproject.toml": PYPROJECT, "demo.py": '"""Demo."""\n'}
    )


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(True, id="when it is filled", marks=pytest.mark.slow),
        pytest.param(False, id="afterwards"),
    ],
)
def test_after_a_full_disk_everything_works_again(
    first: bool, project: Path, disk: Path, tmp_path: Path
) -> None:
    """Wherever it was that there was no room: for packages, for compiled files, for notes."""
    builds = Builds(project, tmp_path / "out", {"POLYWHEEL_CACHE_DIR": str(disk / "cache")})
    if not first:
        builds()
        for path in (disk / "cache").rglob("*.pyc"):
            path.unlink()
    failed = 0
    for room in (0, MIB // 32, MIB // 4):
        ballast = fill_disk(disk, but=room)
        builds.out = tmp_path / f"full-{room}"
        with builds.start("--rebuild") as running:
            _, said = running.communicate(timeout=300)
        assert "\nTraceback" not in f"\n{said}"
        failed += running.returncode != 0
        ballast.unlink()
    assert failed, "there was room enough each time"
    builds.out = tmp_path / "again"
    builds()
    assert len(builds.wheels) == 1


@pytest.mark.parametrize("how", ["cut short", pytest.param("removed", marks=pytest.mark.slow)])
def test_what_is_damaged_is_repaired(how: str, project: Path, tmp_path: Path) -> None:
    """Each file that a build reads from the cache."""
    cache = tmp_path / "cache"
    builds = Builds(project, tmp_path / "out", {"POLYWHEEL_CACHE_DIR": str(cache)})
    builds()
    sources = (
        *(
            "served/*/polywheel/backend/pipeline.py",
            "*/*/lib/python*/site-packages/flit_core/wheel.py",
        ),
        *("sdists/*/*/demo.py", "snapshots/*/*/demo.py"),
    )
    compiled = (
        "served/*/packaging/__pycache__/version.*.pyc",
        "*/*/lib/python*/site-packages/flit_core/__pycache__/config.*.pyc",
    )
    for patterns in (compiled, sources):
        damaged = [path for pattern in patterns for path in cache.glob(pattern)]
        assert len(damaged) == len(patterns)
        for path in damaged:
            content = path.read_bytes()
            path.unlink()  # it may be linked to a file of the installer's own cache
            if how == "cut short":
                path.write_bytes(content[: len(content) // 2])
        builds.out = tmp_path / patterns[0].replace("/", " ").replace("*", "")
        builds()
        assert len(builds.wheels) == 1
