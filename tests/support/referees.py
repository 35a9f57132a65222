"""Independent validators of generated CI files."""

from __future__ import annotations

import sys
from pathlib import Path

from support.builds import run
from support.projects import ROOT


def holds_to(schema: str, path: Path) -> None:
    transform = ["--data-transform", "gitlab-ci"] if "gitlab" in schema else []
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *transform]
    run([*command, path], cwd=path.parent)


def zizmor(*paths: Path) -> None:
    """Nothing at the default level, in files with all their comments."""
    scripts = Path(sys.executable).parent
    run([scripts / "zizmor", "--offline", "--no-progress", "--strict-collection", *paths], cwd=ROOT)
