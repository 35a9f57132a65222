"""What goes into a generated file: any text comes out of it as it went in, and nothing else does."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def script(root: Path) -> ModuleType:
    """The script of the composite action."""
    path = root / ".github" / "actions" / "polywheel" / "run.py"
    spec = importlib.util.spec_from_file_location("polywheel_action", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_a_command_prints_is_no_command_to_the_runner(
    script: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = "import sys; print('::error::evil', flush=True); sys.exit(3)"
    assert script.run([script.sys.executable, "-c", code], tmp_path) == (3, "::error::evil\n")
    stop, said, _, resume, *_ = capfd.readouterr().out.split("\n")
    assert said == "::error::evil"
    assert stop.startswith("::stop-commands::")
    assert resume == f"::{stop.removeprefix('::stop-commands::')}::"
