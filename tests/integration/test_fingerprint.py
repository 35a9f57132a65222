"""The versions of the tools that builds may use, from real programs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from polywheel.config.project import read_project
from polywheel.model.matrix import BuildSettings
from polywheel.run.fingerprint import ToolVersions
from support.projects import fake_project
from support.setups import worker_context

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the tools are shell scripts")


def write_tool(path: Path, version: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {path.name} {version}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, []),
        ({"CC": "DIR/tool"}, ["tool 1"]),
        ({"TOOLS": "DIR", "CXX": "$TOOLS/tool -m32"}, ["tool 1"]),
        ({"PATH": "DIR:$PATH", "CC": "tool"}, ["tool 1", "cmake 1"]),
        ({"PATH": "DIR:$PATH"}, ["cmake 1"]),
        ({"CFLAGS": "DIR/tool"}, []),
    ],
)
def test_tools_that_the_variables_of_a_build_choose(
    variables: dict[str, str], expected: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "tools"
    tool = write_tool(folder / "tool", "1")
    cmake = write_tool(folder / "cmake", "1")
    project = read_project(fake_project(tmp_path / "demo", "one"), variants=True)
    texts = {name: text.replace("DIR", str(folder)) for name, text in variables.items()}

    def versions() -> tuple[str, ...]:
        tools = ToolVersions(project, worker_context(tmp_path), ["installed"])
        return tools.of(BuildSettings(environment=texts))

    before = versions()
    assert before[0] == "installed"
    assert all(any(text in version for version in before) for text in expected)
    write_tool(tool, "2")
    write_tool(cmake, "2")
    assert (versions() != before) == bool(expected)


def test_compilers_of_rules_and_tools_of_the_repair_command(tmp_path: Path) -> None:
    tool = write_tool(tmp_path / "tool", "1")
    repair = write_tool(tmp_path / "auditwheel", "1")
    rule = f'[tool.polywheel.setup."demo :: kind"]\nenv = {{ CC = "{tool}" }}\n'
    source = fake_project(tmp_path / "demo", "one", more=rule)
    project = read_project(source, variants=True)

    settings = BuildSettings(
        environment={"PATH": f"{tmp_path}:$PATH"}, repair_command="auditwheel repair {wheel}"
    )
    versions = ToolVersions(project, worker_context(tmp_path)).of(settings)
    assert {f"{tool}: {tool}: tool 1", f"auditwheel: {repair}: auditwheel 1"} <= {*versions}
