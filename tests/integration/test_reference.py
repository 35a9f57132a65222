"""Settings are declared once: schema and reference are made of them, and agree with the readers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from polywheel.config.reference import generated

ROOT = Path(__file__).resolve().parents[2]


def test_the_generator_writes_both_files(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "matrix").mkdir()
    targets = (ROOT / "matrix" / "targets.toml").read_bytes()
    (tmp_path / "matrix" / "targets.toml").write_bytes(targets)
    command = [sys.executable, "-m", "polywheel.config.reference", str(tmp_path)]
    subprocess.run(command, check=True)
    for name in generated(ROOT):
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes()


def test_the_backend_does_without_it() -> None:
    code = "import sys; import polywheel.backend, polywheel.cli; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert "polywheel.config.project" in loaded
    assert not {f"polywheel.config.{name}" for name in ("shape", "reference", "json_schema")} & {
        *loaded
    }
