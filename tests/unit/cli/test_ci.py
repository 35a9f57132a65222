"""``polywheel ci``: what it says about a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from polywheel.cli import main

PROJECT = """
[build-system]
requires = ["polywheel", "setuptools"]
build-backend = "polywheel.backend"
[project]
name = "demo"
version = "1.0"
[variant.default-priorities]
namespace = ["demo"]
[variant.providers.demo.static-properties]
level = ["v1"]
[tool.polywheel]
build-backend = "setuptools.build_meta"
[tool.polywheel.matrix]
python = ["3.13"]
targets = ["linux-x86_64", "macos-arm64"]
wheel-tag = "python"
label = "{level}"
[tool.polywheel.matrix.axes.level]
v1 = ["demo :: level :: v1"]
[tool.polywheel.targets.macos-arm64]
test-command = "pytest {project}"
"""


@pytest.mark.parametrize(("kind", "warns"), [("github", 1), ("gitlab", 1), ("cibuildwheel", 0)])
def test_test_commands_that_only_cibuildwheel_runs(
    kind: str, warns: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    assert main(["ci", kind, str(tmp_path), "-o", "-"]) == 0
    output = capsys.readouterr()
    assert output.err.count("warning: the test-command") == warns
    assert ("pytest {package}" in output.out) is not bool(warns)
    warning = (
        "polywheel: warning: the test-command of macos-arm64 is not run: only cibuildwheel runs it, with "
        "`polywheel build --frontend cibuildwheel` or `polywheel ci cibuildwheel` "
        "(pyproject.toml: tool.polywheel.targets.macos-arm64.test-command)"
    )
    assert (warning in output.err) is bool(warns)
