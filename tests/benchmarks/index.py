"""`python tests/benchmarks/index.py`: 1,000 small wheels, ours beside variantlib's, in one run."""

from __future__ import annotations

import base64
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

RUNS = 9
PYTHONS = [f"cp3{minor}" for minor in (10, 11, 12, 13, 14)]
LEVELS = [f"v{number}" for number in (1, 2, 3, 4)]
FILES = 30
"""Members besides ``*.dist-info``."""
VARIANTLIB = "from variantlib.commands.main import main; main()"


def write_wheel(folder: Path, project: str, python: str, level: str) -> None:
    """A wheel as one that `build` makes of a small project: a few modules, both forms of data."""
    tag, info = f"{python}-{python}-linux_x86_64", f"{project}-1.0.dist-info"
    document = {
        "$schema": "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json",
        "default-priorities": {"namespace": ["x86_64"]},
        "providers": {"x86_64": {"requires": ["x86-64-variant-provider"]}},
        "variants": {level: {"x86_64": {"level": [level]}}},
    }
    digest = hashlib.sha256(f"x86_64 :: level :: {level}\n".encode()).hexdigest()[:8]
    metadata = (
        f"Metadata-Version: 2.4\nName: {project}\nVersion: 1.0\nRequires-Python: >=3.10\n"
        f"Variant-Label: {level}\nVariant-Hash: {digest}\n"
        f"Variant-Property: x86_64 :: level :: {level}\n"
        "Variant-Requires: x86_64: x86-64-variant-provider\n"
        "Variant-Plugin-API: x86_64: x86_64_variant_provider\n"
        "Variant-Default-Namespace-Priorities: x86_64\n"
    )
    files = {f"{project}/m{number}.py": "value = 1\n" * 50 for number in range(FILES)}
    files |= {
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n",
        f"{info}/variant.json": json.dumps(document, indent=4, sort_keys=True) + "\n",
    }
    rows = []
    for name, text in files.items():
        hashed = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
        rows.append(f"{name},sha256={hashed.rstrip('=')},{len(text)}\n")
    files[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"])
    path = folder / f"{project}-1.0-{tag}-{level}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def elapsed(command: list[str]) -> float:
    """Seconds of a process, its start included; what it says is no part of it."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def median(measure: Callable[[], float]) -> float:
    return statistics.median([measure() for _ in range(RUNS + 1)][1:])


def compare(folder: Path, what: str) -> None:
    """The same folder by both, in turn; what each wrote is gone before the next."""
    ours_alone = [sys.executable, "-m", "polywheel", "index", str(folder)]
    theirs_alone = [sys.executable, "-c", VARIANTLIB, "generate-index-json", "-d", str(folder)]

    def run(command: list[str]) -> float:
        for path in folder.glob("*.json"):
            path.unlink()
        return elapsed(command)

    pairs = [(run(theirs_alone), run(ours_alone)) for _ in range(RUNS + 1)][1:]
    theirs, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(slow / fast for slow, fast in pairs)
    report(f"generate-index-json over ours, {what}", f"{ratio:.1f} x", "5 x", holds=ratio >= 5)
    print(f"      variantlib {theirs:.3f} s, ours {ours:.3f} s")


def report(what: str, figure: str, bound: str, *, holds: bool) -> None:
    print(f"{'ok  ' if holds else 'OVER'}  {what:<58} {figure:>12}   bound {bound}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="polywheel-bench-") as name:
        folder = Path(name)
        wheels = folder / "wheels"
        wheels.mkdir()
        for number in range(1000 // (len(PYTHONS) * len(LEVELS))):
            for python in PYTHONS:
                for level in LEVELS:
                    write_wheel(wheels, f"demo{number}", python, level)
        compare(wheels, "1,000 small wheels")
        one = folder / "one"
        one.mkdir()
        write_wheel(one, "demo", PYTHONS[0], LEVELS[0])
        start = median(lambda: elapsed([sys.executable, "-m", "polywheel", "index", str(one)]))
        print(f"      of ours, starting and one wheel: {start:.3f} s")


if __name__ == "__main__":
    main()
