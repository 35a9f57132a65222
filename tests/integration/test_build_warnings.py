"""Warnings and notes of builds are shown at the end of a run and in its report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polywheel.matrix.platforms import this_target
from support.build_command import Builds, workplaces
from support.projects import HERE, demo, write_project

_workplaces = pytest.fixture(autouse=True, scope="module")(workplaces)
FLIT = f"""
[build-system]
requires = ["flit-core>=3.11"]
build-backend = "flit_core.buildapi"
[project]
name = "small"
version = "1.0"
description = "A module"
[tool.polywheel.setup."demo :: kind :: b"]
defines = {{ WITH_MKL = "on" }}
[tool.polywheel.setup."demo :: kind :: c"]
defines = {{ WITH_MKL = "on" }}
env = {{ C = "1" }}
[variant.default-priorities]
namespace = ["demo"]
feature.demo = ["kind"]
[variant.providers.demo.static-properties]
kind = ["a", "b", "c"]
[variant.variants.a]
demo.kind = ["a"]
[variant.variants.b]
demo.kind = ["b"]
[variant.variants.c]
demo.kind = ["c"]
[tool.polywheel.matrix]
python = ["{HERE}"]
null = true
"""
LOST = (
    "flit-core does not support defines 'on' for 'WITH_MKL' "
    '(from pyproject.toml: tool.polywheel.setup."demo :: kind :: {}")'
)
NOTHING_SAID = "no rule, provider, or preset has build setup for 'demo :: kind :: a'"
LEFT_OUT = (
    "default-priorities.feature: variant.json no longer has a field for this; "
    "it is written only in METADATA"
)


def test_what_a_backend_can_not_be_told(tmp_path: Path) -> None:
    source = write_project(tmp_path / "small", {"pyproject.toml": FLIT, "small.py": '"""One."""\n'})
    builds = Builds(source, tmp_path / "out")
    run = builds()
    found = [(one["level"], one["text"], one["jobs"]) for one in run.report["warnings"]]
    assert found == [
        ("warning", LOST.format("b"), ["any-py3-b"]),
        ("warning", LOST.format("c"), ["any-py3-c"]),
        ("note", LEFT_OUT, ["any-py3-null", "any-py3-a", "any-py3-b", "any-py3-c"]),
        ("note", NOTHING_SAID, ["any-py3-a"]),
    ]
    lines = run.out.splitlines()
    end = next(number for number, line in enumerate(lines) if line.startswith("builds: "))
    assert f"warning: {LOST.format('b')}" in lines[:end]
    assert lines[lines.index(f"warning: {LOST.format('c')}") + 1] == "  jobs: any-py3-c"
    assert "  jobs: any-py3-null, any-py3-a, any-py3-b and 1 more" in lines[:end]
    # The second run builds nothing: there is nothing new to be said.
    assert builds().report["warnings"] == []


def test_a_build_that_fails_has_its_warnings_too(tmp_path: Path) -> None:
    source = demo(tmp_path / "demo", "a", "b", does={"b": "fail"})
    tables = source / "pyproject.toml"
    text = tables.read_text("utf-8")
    rule = '[tool.polywheel.setup."label:b"]\ndefines = { X = "1" }\n'
    tables.write_text(text.replace("[tool.polywheel.matrix]", f"{rule}[tool.polywheel.matrix]"))
    run = Builds(source, tmp_path / "out")("--json", code=1)
    job = f"{this_target()}-cp{HERE.replace('.', '')}-b"
    warning = {
        "level": "warning",
        "text": "a backend without a profile does not support defines '1' for 'X' "
        '(from pyproject.toml: tool.polywheel.setup."label:b")',
        "jobs": [job],
    }
    assert warning in run.report["warnings"]
    ends = {one.get("build"): one for one in run.events if one["event"] == "end"}
    assert warning in ends[job]["warnings"]
    assert warning in run.events[-1]["warnings"]
    assert json.loads(run.out.splitlines()[-1])["event"] == "finish"
