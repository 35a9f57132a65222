"""`python tests/benchmarks/index.py`: 1,000 small wheels, ours beside variantlib's, in one run."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

RUNS = 11
FILES = 30
"""Members besides ``*.dist-info``."""
# Each as its script in bin/ starts it.
VARIANTLIB = "from variantlib.commands.main import main; main()"
POLYWHEEL = "import sys; from polywheel.cli import main; sys.exit(main())"


def write_wheel(folder: Path, project: str, python: str, label: str) -> None:
    """A wheel as one that `build` makes of a small project: a few modules, both forms of data."""
    tag, info = f"{python}-{python}-linux_x86_64", f"{project}-1.0.dist-info"
    document = {
        "$schema": "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json",
        "default-priorities": {"namespace": ["x86_64"]},
        "providers": {"x86_64": {"requires": ["x86-64-variant-provider"]}},
        "variants": {label: {"x86_64": {"level": [label]}}},
    }
    digest = hashlib.sha256(f"x86_64 :: level :: {label}\n".encode()).hexdigest()[:8]
    metadata = (
        f"Metadata-Version: 2.4\nName: {project}\nVersion: 1.0\nRequires-Python: >=3.10\n"
        f"Variant-Label: {label}\nVariant-Hash: {digest}\n"
        f"Variant-Property: x86_64 :: level :: {label}\n"
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
    path = folder / f"{project}-1.0-{tag}-{label}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def releases(folder: Path) -> None:
    """50 releases with 20 variants each, the same for all."""
    for number in range(50):
        for level in range(20):
            write_wheel(folder, f"demo{number}", "cp312", f"v{level}")


def one_release(folder: Path) -> None:
    """One release with 250 variants, for four Pythons each."""
    for python in ("cp311", "cp312", "cp313", "cp314"):
        for level in range(250):
            write_wheel(folder, "demo", python, f"v{level}")


def all_different(folder: Path) -> None:
    """50 releases with 20 variants each; no variant is one of another release, too."""
    for number in range(50):
        for level in range(20):
            write_wheel(folder, f"demo{number}", "cp312", f"v{number}_{level}")


def elapsed(code: str, *arguments: str | Path, environment: dict[str, str]) -> float:
    """Seconds of a process, its start included; what it says is no part of it."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    start = time.perf_counter()
    subprocess.run(
        command,
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def compare(make: Callable[[Path], None], environment: dict[str, str], *, bound: int) -> None:
    """The same folder by both, in turn; what each wrote is gone before the next."""
    with tempfile.TemporaryDirectory(prefix="polywheel-bench-") as name:
        folder = Path(name)
        make(folder)

        def run(code: str, *arguments: str) -> float:
            for path in folder.glob("*.json"):
                path.unlink()
            return elapsed(code, *arguments, environment=environment)

        theirs = ("generate-index-json", "-d", name)
        pairs = [(run(VARIANTLIB, *theirs), run(POLYWHEEL, "index", name)) for _ in range(RUNS + 1)]
        ratio = statistics.median(slow / fast for slow, fast in pairs[1:])
        what = (make.__doc__ or "").partition(".")[0].partition("\n")[0]
        told = f"bound {bound} x" if bound else ""
        mark = "    " if not bound else "ok  " if ratio >= bound else "OVER"
        print(f"{mark}  {what:<64} {ratio:>6.1f} x   {told}")
        slow, fast = (statistics.median(column) for column in zip(*pairs[1:], strict=True))
        print(f"      generate-index-json {slow:.3f} s, ours {fast:.3f} s")
        if make is releases:
            times = []
            for _ in range(3):
                shutil.rmtree(folder / "simple", ignore_errors=True)
                times.append(run(POLYWHEEL, "index", name, "--simple"))
            print(f"      ours with --simple {statistics.median(times):.3f} s")


def main() -> None:
    print("index of 1,000 small wheels: variantlib's generate-index-json over ours")
    with tempfile.TemporaryDirectory(prefix="polywheel-bench-") as compiled:
        # As installed: no module of either is compiled again, whatever the checkout is kept from.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        compare(releases, environment, bound=5)
        compare(one_release, environment, bound=5)
        compare(all_different, environment, bound=0)
        with tempfile.TemporaryDirectory(prefix="polywheel-bench-") as one:
            write_wheel(Path(one), "demo", "cp312", "v1")
            starts = [
                elapsed(POLYWHEEL, "index", one, environment=environment) for _ in range(RUNS)
            ]
            alone = [elapsed("pass", environment=environment) for _ in range(RUNS)]
        print(f"      of ours, one wheel alone {statistics.median(starts):.3f} s,", end=" ")
        print(f"python -c pass {statistics.median(alone):.3f} s")


if __name__ == "__main__":
    main()
