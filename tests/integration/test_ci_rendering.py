"""The output of commands in the script of the composite action."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest


def test_what_a_command_prints_is_no_command_to_the_runner(
    action_script: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = "import sys; print('::error::evil', flush=True); sys.exit(3)"
    assert action_script.run([action_script.sys.executable, "-c", code], tmp_path) == (
        3,
        "::error::evil\n",
    )
    stop, said, _, resume, *_ = capfd.readouterr().out.split("\n")
    assert said == "::error::evil"
    assert stop.startswith("::stop-commands::")
    assert resume == f"::{stop.removeprefix('::stop-commands::')}::"
