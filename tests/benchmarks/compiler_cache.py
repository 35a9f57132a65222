"""`python tests/benchmarks/compiler_cache.py`: ccache for 3 Pythons and 3 levels of a C++ project."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from polywheel.environments.interpreters import find_interpreter

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.11", "3.12", "3.13")
LEVELS = ("v1", "v2", "v3")
UNITS = 20
WITH_PYTHON = 5
FLAGS = ("-O3", "-DNDEBUG", "-std=gnu++20", "-fPIC")

MATRIX = """
[variant.variants.x86_64_v2]
x86_64.level = ["v2"]
[tool.polywheel.setup."x86_64 :: level :: v2"]
cxxflags = ["-march=x86-64-v2"]
compiler.msvc.cxxflags = []
[tool.polywheel.matrix]
python = [{pythons}]
variants = ["*"]
"""
UNIT = """
#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>
{python}

namespace unit_{number} {{

template <int N> double reduce(std::vector<double> const &values) {{
    std::map<int, std::vector<double>> groups;
    for (std::size_t i = 0; i < values.size(); ++i) groups[i % (N + {number})].push_back(values[i]);
    double sum = 0;
    for (auto &[key, group] : groups) {{
        std::sort(group.begin(), group.end());
        sum += key * std::accumulate(group.begin(), group.end(), 0.0);
    }}
    return sum + reduce<N - 1>(values);
}}
template <> double reduce<0>(std::vector<double> const &) {{ return {number}; }}

double compute(std::string const &text) {{
    std::mt19937 random({number});
    std::uniform_real_distribution<double> distribution;
    std::vector<double> values(1000);
    std::generate(values.begin(), values.end(), [&] {{ return distribution(random); }});
    return reduce<8>(values) + static_cast<double>(text.size());
}}

}}  // namespace unit_{number}

extern "C" double unit_{number}_compute(char const *text) {{ return unit_{number}::compute(text); }}
{use}
"""
USE = """
extern "C" PyObject *unit_{number}_python(void) {{ return PyFloat_FromDouble(unit_{number}_compute("a")); }}
"""


def project(folder: Path) -> Path:
    """The scikit-build-core example with 20 translation units, five of which include Python.h."""
    ignored = shutil.ignore_patterns("dist", "build", "__pycache__")
    example = ROOT / "examples" / "scikit-build-core"
    source = Path(shutil.copytree(example, folder / "units", ignore=ignored))
    with (source / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(MATRIX.format(pythons=", ".join(f'"{python}"' for python in PYTHONS)))
    names = ["src/dot.cpp"]  # includes Python.h
    for number in range(1, UNITS):
        python = number < WITH_PYTHON
        text = UNIT.format(
            number=number,
            python="#include <Python.h>" if python else "",
            use=USE.format(number=number) if python else "",
        )
        name = f"src/unit_{number}.cpp"
        (source / name).write_text(text, encoding="utf-8")
        names.append(name)
    cmake = source / "CMakeLists.txt"
    text = cmake.read_text(encoding="utf-8")
    cmake.write_text(text.replace("src/dot.cpp", " ".join(names)), encoding="utf-8")
    return source


def include_folder(python: str) -> str:
    interpreter = find_interpreter(python)
    if interpreter is None:
        raise SystemExit(f"Python {python} is not installed")
    code = "import sysconfig; print(sysconfig.get_path('include'))"
    command = [interpreter.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


INCLUDES = {python: include_folder(python) for python in PYTHONS}


class Stopwatch:
    """Wall time, and processor time of child processes, in seconds."""

    def __init__(self) -> None:
        self.began = self.now()

    def now(self) -> tuple[float, float]:
        if sys.platform == "win32":
            sys.exit("it has no getrusage")
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.perf_counter(), used.ru_utime + used.ru_stime

    def read(self) -> tuple[float, float]:
        (wall, processor), (wall_before, processor_before) = self.now(), self.began
        return wall - wall_before, processor - processor_before


def distinct_objects(source: Path, folder: Path) -> tuple[float, float]:
    """The time to compile each distinct object once, without a cache, on all processors."""
    commands = []
    for level in LEVELS:
        march = "-march=x86-64" if level == "v1" else f"-march=x86-64-{level}"
        for path in sorted((source / "src").glob("*.cpp")):
            text = path.read_text(encoding="utf-8")
            for python in PYTHONS if "Python.h" in text else PYTHONS[:1]:
                include = INCLUDES[python]
                target = folder / f"{path.stem}-{level}-{python}.o"
                commands.append(
                    ["c++", *FLAGS, march, f"-I{include}", "-c", str(path), "-o", str(target)]
                )
    watch = Stopwatch()
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        list(pool.map(lambda command: subprocess.run(command, check=True), commands))
    print(f"{len(commands)} distinct objects of {len(LEVELS) * len(PYTHONS) * UNITS}")
    return watch.read()


def build(
    source: Path, out: Path, environment: Mapping[str, str], *options: str
) -> tuple[tuple[float, float], dict[str, int], dict[str, str]]:
    """The time, the hits and misses, and the hash of each wheel."""
    # Without the wheels of earlier builds, which would be used.
    for path in (out, Path(environment["POLYWHEEL_CACHE_DIR"], "wheels")):
        shutil.rmtree(path, ignore_errors=True)
    report = out.with_suffix(".json")
    command = [sys.executable, "-m", "polywheel", "build", str(source), "-o", str(out)]
    watch = Stopwatch()
    done = subprocess.run(
        [*command, "--report", str(report), *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    took = watch.read()
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    uses = [item["compiler-cache"] for item in json.loads(report.read_text())["builds"]]
    total = {key: sum(use[key] for use in uses if use) for key in ("hits", "misses")}
    wheels = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.glob("*.whl")
    }
    return took, total, wheels


def report(what: str, figure: str, bound: str, *, holds: bool) -> None:
    print(f"{'ok  ' if holds else 'OVER'}  {what:<58} {figure:>18}   bound {bound}", flush=True)


def report_time(
    what: str, took: tuple[float, float], distinct: tuple[float, float], bound: float
) -> None:
    for kind, mine, theirs in zip(("wall", "processor"), took, distinct, strict=True):
        text = f"{what}, over the distinct objects, {kind} time"
        figure, ratio = f"{mine:.0f}/{theirs:.0f} s = {mine / theirs:.2f} x", mine / theirs
        report(text, figure, f"{bound} x", holds=ratio <= bound)


def main() -> None:
    if shutil.which("ccache") is None:
        print("skipped: ccache is not installed")
        return
    with tempfile.TemporaryDirectory(prefix="polywheel-bench-") as name:
        folder = Path(name)
        source = project(folder)
        out = folder / "out"
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("CCACHE_")},
            "CCACHE_DIR": str(folder / "ccache"),
            "POLYWHEEL_CACHE_DIR": str(folder / "cache"),
        }
        # Creates the build environments, which do not count.
        some = ("--select", "x86_64_v3")
        _, _, expected = build(source, out, {**environment, "CCACHE_DISABLE": "1"}, *some)
        (folder / "objects").mkdir()
        distinct = distinct_objects(source, folder / "objects")
        for what, least, bound in (("an empty ccache", 0.4, 2), ("a warm ccache", 0.95, 1.5)):
            took, use, wheels = build(source, out, environment, "--compiler-cache=ccache")
            report_time(what, took, distinct, bound)
            rate = use["hits"] / sum(use.values())
            report(f"{what}: hits", f"{rate:.1%}", f"{least:.0%}", holds=rate >= least)
            same = expected.items() <= wheels.items()
            report(f"{what}: wheels of a build without one", str(same), "True", holds=same)


if __name__ == "__main__":
    main()
