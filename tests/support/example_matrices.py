"""The matrices of ``examples/matrices``, and changed copies of them."""

from __future__ import annotations

import shutil
from pathlib import Path

MATRICES = Path(__file__).resolve().parents[2] / "examples" / "matrices"


def changed(folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    """A copy of a matrix, with other texts in it."""
    source = folder / name
    shutil.copytree(MATRICES / name, source)
    path = source / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    return source
