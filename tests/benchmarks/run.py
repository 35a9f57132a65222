"""`make bench`: figures as ratios in one run, each beside the bound that design and issues set."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = """
[variant.default-priorities]
namespace = ["x86_64"]
[variant.providers.x86_64]
requires = ["provider-variant-x86-64"]
plugin-api = "provider_variant_x86_64.plugin:X8664Plugin"
"""
# What the pipeline does with a finished wheel, by itself.
STAMP = """
import resource, sys, time
from pathlib import Path
from polywheel.config.project import read_project
from polywheel.formats.metadata import variant_fields, with_variant_fields
from polywheel.formats.variant_json import variant_json
from polywheel.model.variant import VariantProperty
from polywheel.model.variant import Variant
from polywheel.wheel.stamp import stamp_wheel
from polywheel.wheel.stamp import Stamp
source, target, folder = map(Path, sys.argv[1:])
start = time.perf_counter()
metadata = read_project(folder, variants=True).metadata
variant = Variant.of([VariantProperty.parse("x86_64::level::v3")])
stamp = Stamp(
    metadata=lambda content: with_variant_fields(content, variant_fields(variant, metadata)),
    variant_json=variant_json(variant, metadata),
)
stamp_wheel(source, target, stamp, notify=print)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def median(measure: Callable[[], float], runs: int) -> float:
    measure()  # files and bytecode come into the caches
    return statistics.median(measure() for _ in range(runs))


def elapsed(command: list[str], **options: object) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    return time.perf_counter() - start


def report(what: str, figure: str, bound: str, *, holds: bool) -> None:
    print(f"{'ok  ' if holds else 'OVER'}  {what:<58} {figure:>12}   bound {bound}", flush=True)


def large_wheel(folder: Path) -> Path:
    """The largest wheel at hand that has 150 MB, else one of members that hardly compress."""
    places = [Path(place) for place in os.environ.get("PIP_FIND_LINKS", "").split()]
    wheels = [path for place in places if place.is_dir() for path in place.glob("*.whl")]
    largest = max(wheels, key=lambda path: path.stat().st_size, default=None)
    if largest is not None and largest.stat().st_size >= 150_000_000:
        return Path(shutil.copy(largest, folder))
    path = folder / "large-1.0-py3-none-any.whl"
    noise = random.Random(1)
    names = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(19):
            names.append(f"large/{number}.bin")
            archive.writestr(names[-1], noise.randbytes(10_000_000))
        info = "large-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: large\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        listed = [*names, f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD"]
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in listed))
    return path


def labelling(folder: Path) -> None:
    wheel = large_wheel(folder)
    (folder / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    target = folder / "out" / f"{wheel.stem}-fa7c1393.whl"
    target.parent.mkdir()
    print(f"labelling {wheel.name}, {wheel.stat().st_size / 1e6:.0f} MB")
    peak = 0

    def ours() -> float:
        nonlocal peak
        target.unlink(missing_ok=True)
        command = [sys.executable, "-c", STAMP, str(wheel), str(target), str(folder)]
        seconds, kilobytes = subprocess.run(
            command, check=True, capture_output=True, encoding="utf-8"
        ).stdout.split()
        peak = max(peak, int(kilobytes))
        return float(seconds)

    def copy() -> float:
        target.unlink(missing_ok=True)
        return elapsed(["cp", str(wheel), str(target)])

    def variantlib() -> float:
        target.unlink(missing_ok=True)
        command = [
            *(sys.executable, "-m", "variantlib.commands.main", "make-variant"),
            *("-f", str(wheel), "-o", str(target.parent), "--skip-plugin-validation"),
            *("--pyproject-toml", str(folder / "pyproject.toml"), "-p", "x86_64::level::v3"),
        ]
        code = "from variantlib.commands.main import main; main()"
        return elapsed([sys.executable, "-c", code, *command[3:]])

    pairs = [(ours(), copy()) for _ in range(12)][2:]
    ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    seconds = statistics.median(mine for mine, _ in pairs)
    report("stamping, over cp of the same file", f"{ratio:.2f} x", "1.3 x", holds=ratio <= 1.3)
    slower = variantlib() / seconds
    report("variantlib make-variant, over ours", f"{slower:.0f} x", "25 x", holds=slower >= 25)
    megabytes = peak / 1024
    report("peak memory", f"{megabytes:.0f} MB", "60 MB", holds=megabytes < 60)


def overhead(folder: Path) -> None:
    source = shutil.copytree(
        ROOT / "examples" / "meson", folder / "meson", ignore=shutil.ignore_patterns("dist")
    )
    code = (
        "import sys, time\n"
        "from pyproject_hooks import BuildBackendHookCaller, quiet_subprocess_runner\n"
        "hooks = BuildBackendHookCaller('.', sys.argv[1], runner=quiet_subprocess_runner)\n"
        "settings = {'variant-label': sys.argv[3]} if sys.argv[3:] else {}\n"
        "start = time.perf_counter()\n"
        "hooks.get_requires_for_build_wheel(settings)\n"
        "asked = time.perf_counter()\n"
        "hooks.build_wheel(sys.argv[2], settings)\n"
        "print(time.perf_counter() - asked, time.perf_counter() - start)"
    )
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }

    def built(backend: str, *label: str) -> tuple[float, float]:
        """Seconds of build_wheel, and of both hooks."""
        with tempfile.TemporaryDirectory(dir=folder) as out:
            command = [sys.executable, "-c", code, backend, out, *label]
            done = subprocess.run(
                command,
                cwd=source,
                env=environment,
                check=True,
                capture_output=True,
                encoding="utf-8",
            )
            wheel, both = done.stdout.split()[-2:]
            return float(wheel), float(both)

    rounds = [
        (
            built("polywheel.backend", "null"),
            built("polywheel.backend", "x86_64_v3"),
            built("mesonpy"),
        )
        for _ in range(9)
    ][1:]
    alone = statistics.median(theirs[0] for *_, theirs in rounds)
    print(f"meta backend, meson example, no isolation ({alone:.2f} s for mesonpy's build_wheel)")
    for what, which, hooks, bound in (
        ("build_wheel over mesonpy's, null variant", 0, 0, 0.2),
        ("the same, one provider asked", 1, 0, 0.35),
        ("get_requires and build_wheel, one provider asked", 1, 1, 0.35),
    ):
        extra = statistics.median(one[which][hooks] - one[2][hooks] for one in rounds)
        report(what, f"{extra:.3f} s", f"{bound} s", holds=extra <= bound)


def provider_query() -> None:
    code = (
        "import sys; from polywheel.providers.client import ask_plugins\n"
        "from polywheel.model.plugin_answers import PluginQuery\n"
        "from polywheel.model.variant import VariantProperty\n"
        "import time; start = time.perf_counter()\n"
        "v3 = (VariantProperty('x86_64', 'level', 'v3'),)\n"
        "ask_plugins([PluginQuery(namespace='x86_64', at='', properties=v3, setup=v3,\n"
        "    reference='provider_variant_x86_64.plugin:X8664Plugin',\n"
        "    requires=('provider-variant-x86-64',))], python=sys.executable, notify=print)\n"
        "print(time.perf_counter() - start)"
    )

    def asked() -> float:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
        return float(done.stdout.split()[-1])

    pairs = [(asked(), elapsed([sys.executable, "-c", "pass"])) for _ in range(12)][2:]
    extra = statistics.median(mine - theirs for mine, theirs in pairs)
    report("a provider query, over python -c pass", f"{extra:.3f} s", "0.15 s", holds=extra <= 0.15)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="polywheel-bench-") as name:
        folder = Path(name)
        labelling(folder)
        provider_query()
        overhead(folder)


if __name__ == "__main__":
    main()
