"""The generator of the schema and the reference."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from polywheel.config.reference import REFERENCE, generated

ROOT = Path(__file__).resolve().parents[2]


def test_the_generator_writes_both_files(tmp_path: Path) -> None:
    """The schema, and the tables of the reference, whatever they were before."""
    for name in ("docs", "matrix/schema"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(ROOT / "matrix/targets.toml", tmp_path / "matrix")
    text, tables = re.subn(
        r"(?<=-->\n\n)(\|.*\n)+", "| old |\n", (ROOT / REFERENCE).read_text(encoding="utf-8")
    )
    assert tables > 5
    (tmp_path / REFERENCE).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "polywheel.config.reference", str(tmp_path)]
    subprocess.run(command, check=True)
    for name in generated(ROOT):
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes()
