"""Builds three wheels of one example in isolated environments and shows what they are.

The null variant, level v1 and level v3 come from one source tree; the extension of v3 alone holds
the wide (ymm) instructions of its level, by the rules in the example's pyproject.toml. Run by
`make demo`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "meson"
DIST = EXAMPLE / "dist"


def build(source: Path, out: Path, settings: list[str], environment: dict[str, str]) -> None:
    shown = " ".join([*settings, os.path.relpath(source)])
    print(f"\n$ python -m build --wheel {shown}", flush=True)
    command = [sys.executable, "-m", "build", "--wheel", "--installer", "uv", *settings]
    done = subprocess.run(
        [*command, "--outdir", str(out), str(source)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        print(done.stdout)
        raise SystemExit(done.returncode)
    print(done.stdout.strip().splitlines()[-1], flush=True)


def wide_instructions(wheel: zipfile.ZipFile) -> str:
    """How many instructions use the 256-bit registers of x86-64-v3."""
    if not shutil.which("objdump"):
        return "unknown (no objdump here)"
    with tempfile.TemporaryDirectory() as folder:
        (module,) = [name for name in wheel.namelist() if name.endswith((".so", ".pyd"))]
        path = wheel.extract(module, folder)
        listing = subprocess.run(["objdump", "-d", path], capture_output=True, check=True)
    return str(listing.stdout.count(b"%ymm"))


def show(path: Path) -> None:
    with zipfile.ZipFile(path) as wheel:
        (metadata,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
        print(f"\n{path.name}")
        for line in wheel.read(metadata).decode("utf-8").splitlines():
            if line.startswith("Variant-"):
                print(f"  {line}")
        print(f"  ymm instructions: {wide_instructions(wheel)}")


def main() -> None:
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as wheelhouse:
        # Isolated builds install polywheel as they install everything else: from a wheel.
        environment = {**os.environ, "UV_FIND_LINKS": wheelhouse}
        environment.setdefault("UV_CACHE_DIR", str(ROOT / ".cache" / "uv"))
        build(ROOT, Path(wheelhouse), [], environment)
        for label in ("null", "x86_64_v1", "x86_64_v3"):
            setting = "-Cnull-variant=true" if label == "null" else f"-Cvariant-label={label}"
            build(EXAMPLE, DIST, [setting], environment)
    for path in sorted(DIST.iterdir()):
        show(path)


if __name__ == "__main__":
    main()
