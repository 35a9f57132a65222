"""`python tests/benchmarks/matrix.py`: expanding matrices, and the command on one of 1,000 cells."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import polywheel

RUNS = 9
HEAD = """
[build-system]
requires = ["polywheel", "meson-python"]
build-backend = "polywheel.backend"
[project]
name = "demo"
version = "1.0"
[variant.default-priorities]
namespace = ["cpu", "blas"]
[tool.polywheel.setup."cpu :: level"]
cflags = ["-march={value}"]
[tool.polywheel.setup."blas :: library"]
dependencies = ["{value}"]
"""


def write_project(folder: Path, levels: int, libraries: int, pythons: int) -> Path:
    """A matrix of two axes on two targets, every cell asking something else of its build."""
    axes = {
        "level": ("cpu", "level", [f"v{number}" for number in range(levels)]),
        "blas": ("blas", "library", [f"blas{number}" for number in range(libraries)]),
    }
    text = HEAD
    for namespace, feature, values in axes.values():
        text += f"[variant.providers.{namespace}.static-properties]\n{feature} = {values}\n"
    text += "[tool.polywheel.matrix]\nlabel = '{level}_{blas}'\n"
    text += f"python = {[f'3.{number}' for number in range(11, 11 + pythons)]}\n"
    text += 'targets = ["linux-x86_64", "macos-arm64"]\n'
    for axis, (namespace, feature, values) in axes.items():
        text += f"[tool.polywheel.matrix.axes.{axis}]\n"
        text += "".join(f'{one} = ["{namespace} :: {feature} :: {one}"]\n' for one in values)
    folder.mkdir()
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return folder


def median(what: Callable[[], object]) -> float:
    """Seconds; a first time, for files and bytecode to come into caches, does not count."""
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        what()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def command(arguments: Sequence[str]) -> None:
    line = [sys.executable, "-m", "polywheel", "matrix", *arguments]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def report(what: str, seconds: float, bound: float | None = None) -> None:
    if bound is None:
        print(f"      {what:<58} {seconds:>10.3f} s", flush=True)
    else:
        mark = "ok  " if seconds < bound else "OVER"
        print(f"{mark}  {what:<58} {seconds:>10.3f} s   bound {bound} s", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="polywheel-bench-") as name:
        large = write_project(Path(name) / "large", 25, 40, 5)
        small = write_project(Path(name) / "small", 10, 10, 5)
        tall = write_project(Path(name) / "tall", 25, 20, 1)
        for source, count in ((large, 10_000), (small, 1000), (tall, 1000)):
            found = len(polywheel.expand(source).jobs)
            if found != count:
                raise SystemExit(f"{source.name} has {found} cells, not {count}")
        report("10,000 cells, expanded", median(lambda: polywheel.expand(large)), 0.3)
        report("polywheel matrix, 1,000 cells", median(lambda: command([str(small)])), 0.5)
        report("the same, a row for every two", median(lambda: command([str(tall)])), 0.5)
        for options in (
            ["--json"],
            ["--format", "github"],
            ["--pr-subset"],
            ["--shard", "1/7", "--json"],
        ):
            line = " ".join(options)
            seconds = median(lambda options=options: command([str(small), *options]))  # type: ignore[misc]
            report(f"polywheel matrix {line}, 1,000 cells", seconds, 0.5)
        report("polywheel --version", median(start))


def start() -> None:
    subprocess.run(
        [sys.executable, "-m", "polywheel", "--version"], check=True, stdout=subprocess.DEVNULL
    )


if __name__ == "__main__":
    main()
