"""`python tests/benchmarks/build.py`: `polywheel build` against loops of `python -m build -w`."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event

from polywheel.run.scheduler import Limits, Task, run_all

ROOT = Path(__file__).resolve().parents[2]
LEVELS = ("v1", "v2", "v3", "v4")
MATRIX = """
[tool.polywheel.setup."x86_64 :: level :: v2"]
cflags = ["-march=x86-64-v2"]
[tool.polywheel.setup."x86_64 :: level :: v4"]
cflags = ["-march=x86-64-v4"]
[tool.polywheel.setup."tuning :: unrolled :: on"]
cflags = ["-funroll-loops"]
[tool.polywheel.setup."tuning :: unrolled :: off"]
cflags = ["-fno-unroll-loops"]
[variant.providers.tuning.static-properties]
unrolled = ["on", "off"]
[tool.polywheel.matrix]
variants = []
label = "{level}_{unrolled}"
[tool.polywheel.matrix.axes.level]
%s
[tool.polywheel.matrix.axes.unrolled]
on = ["tuning :: unrolled :: on"]
off = ["tuning :: unrolled :: off"]
"""


def report(what: str, figure: str, bound: str, *, holds: bool) -> None:
    print(f"{'ok  ' if holds else 'OVER'}  {what:<58} {figure:>12}   bound {bound}", flush=True)


def meson_project(folder: Path) -> Path:
    """The meson example with a matrix of 8 variants, each of them a build of its own."""
    ignored = shutil.ignore_patterns("dist", "build", "__pycache__")
    source = Path(shutil.copytree(ROOT / "examples" / "meson", folder / "meson", ignore=ignored))
    path = source / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    text = text.replace('namespace = ["x86_64"]', 'namespace = ["x86_64", "tuning"]')
    levels = "\n".join(f'{level} = ["x86_64 :: level :: {level}"]' for level in LEVELS)
    path.write_text(text + MATRIX % levels, encoding="utf-8")
    return source


def timed(command: Sequence[str | Path], environment: Mapping[str, str], cwd: Path) -> float:
    start = time.perf_counter()
    done = subprocess.run(
        list(map(str, command)),
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return seconds


def wheelhouse(folder: Path) -> Path:
    """A folder with polywheel's wheel, where isolated builds find it."""
    house = folder / "wheelhouse"
    command: list[str | Path] = [sys.executable, "-m", "build", "--wheel", "-n", "-o", house, ROOT]
    timed(command, os.environ, folder)
    return house


def ours(
    source: Path, out: Path, environment: Mapping[str, str], *more: str
) -> tuple[float, dict[str, object]]:
    """Seconds of `polywheel build`, and its report."""
    report_file = out.with_suffix(".json")
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "polywheel",
        "build",
        source,
        "-o",
        out,
        "-j2",
        *more,
    ]
    seconds = timed([*command, REPORT, report_file], environment, source.parent)
    return seconds, json.loads(report_file.read_text(encoding="utf-8"))


def loop(source: Path, folder: Path, environment: Mapping[str, str], *installer: str) -> float:
    """Seconds of `for … in …; do python -m build -w -Cvariant-label=…; done`."""
    total = 0.0
    for level in LEVELS:
        for unrolled in ("on", "off"):
            command: list[str | Path] = [
                sys.executable,
                "-m",
                "build",
                "-w",
                *installer,
                "--outdir",
                str(folder),
            ]
            label = f"-Cvariant-label={level}_{unrolled}"
            total += timed([*command, label, str(source)], environment, source.parent)
    return total


def matrix_of_eight(folder: Path, house: Path) -> None:
    source = meson_project(folder)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "POLYWHEEL_CACHE_DIR": str(folder / "cache"),
        "PIP_FIND_LINKS": f"{house} {os.environ.get('PIP_FIND_LINKS', '')}".strip(),
        "UV_FIND_LINKS": str(house),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    # Downloads come into the caches of pip and uv, for all alike.
    ours(source, folder / "first", environment)
    command = [sys.executable, "-m", "build", "-w", "--outdir", str(folder / "first"), str(source)]
    timed(command, environment, folder)
    timed([*command, "--installer", "uv"], environment, folder)
    shutil.rmtree(folder / "cache")

    print("8 variants of the meson example on one Python, -j2, packages downloaded already")
    cold, _ = ours(source, folder / "out", environment)
    nothing, _ = ours(source, folder / "out", environment)
    warm, _ = ours(source, folder / "again", environment, "--rebuild")
    _, said = ours(source, folder / "in turn", environment, "-j1", "--rebuild")
    with_uv = loop(source, folder / "uv", environment, "--installer", "uv")
    with_pip = loop(source, folder / "pip", environment)
    names = [sorted(one.name for one in (folder / place).glob("*.whl")) for place in ("out", "uv")]
    if names[0] != names[1] or len(names[0]) != 8:
        raise SystemExit(f"other wheels: {names}")
    print(f"      ours {cold:.1f} s, environment and all ({warm:.1f} s with it kept)")
    for what, seconds, bound in (
        ("python -m build -w in a loop, over ours", with_pip, 4.0),
        ("the same with --installer uv, over ours", with_uv, 2.5),
    ):
        ratio = seconds / cold
        figure = f"{ratio:.1f} x"
        report(f"{what} ({seconds:.0f} s)", figure, f"{bound} x", holds=ratio >= bound)
    report("a second run, nothing to do", f"{nothing:.2f} s", "1 s", holds=nothing < 1)
    overhead(said)
    edits_of_tables(source, folder, environment)


def edits_of_tables(source: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """Edits of the matrix after its 8 wheels were built: what is built again, and how long the run takes."""
    out, path = folder / "out", source / "pyproject.toml"

    def edit(old: str, new: str) -> tuple[float, Counter[object]]:
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        seconds, said = ours(source, out, environment)
        builds = said["builds"]
        assert isinstance(builds, list)
        return seconds, Counter(build["state"] for build in builds)

    seconds, states = edit("[project]", "# a comment\n[project]")
    holds = states == {"up-to-date": 8}
    report("a comment in pyproject.toml", f"{states['built']} builds", "0 builds", holds=holds)
    seconds, states = edit('label = "{level}_', 'label = "x_{level}_')
    figure = f"{seconds:.2f} s"
    holds = seconds < 1.5 and states == {"stamped": 8}
    report("another label for each of the 8 variants", figure, "1.5 s", holds=holds)
    added = '[tool.polywheel.matrix]\ninclude = [{ label = "more", properties = ["x86_64 :: level :: v2"] }]'
    seconds, states = edit("[tool.polywheel.matrix]", added)
    holds = states == {"up-to-date": 8, "built": 1}
    report("one more variant", f"{states['built']} build", "1 build", holds=holds)
    elsewhere, said = ours(source, folder / "elsewhere", environment)
    builds = said["builds"]
    assert isinstance(builds, list)
    holds = all(build["state"] == "stamped" for build in builds)
    report("the 9 wheels in another directory", f"{elsewhere:.2f} s", "no build", holds=holds)


def overhead(said: dict[str, object]) -> None:
    """What of a job is not the real backend's hook; one at a time, or it would wait for processors."""
    jobs = said["builds"]
    assert isinstance(jobs, list)
    extra = sum(one["seconds"] - one["hook-seconds"] for one in jobs) / len(jobs)
    report("a job, over its hooks (-j1)", f"{extra:.3f} s", "0.15 s", holds=extra < 0.15)


def fake_jobs() -> None:
    """1,000 jobs through the scheduler, and 1,000 again: memory must not grow with them."""
    stop = Event()

    def work(task: Task) -> str:
        stop.wait(0.001)
        return task.id

    def once() -> float:
        tasks = [Task(id=str(number), seconds=float(number % 7)) for number in range(1000)]
        start = time.perf_counter()
        found = run_all(
            tasks, work, limits=Limits(max_parallel=2), stop=stop, failed=lambda _: False
        )
        assert len(found) == 1000
        return time.perf_counter() - start

    seconds = once()
    if sys.platform == "win32":
        return  # it has no getrusage
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    once()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    report("1,000 fake jobs of 1 ms, 2 at once", f"{seconds:.2f} s", "10 s", holds=seconds < 10)
    report("memory that 1,000 more take", f"{grown:.1f} MB", "5 MB", holds=grown < 5)


REPORT = "--report"


def main() -> None:
    fake_jobs()
    with tempfile.TemporaryDirectory(prefix="polywheel-bench-") as name:
        folder = Path(name).resolve()
        matrix_of_eight(folder, wheelhouse(folder))


if __name__ == "__main__":
    main()
