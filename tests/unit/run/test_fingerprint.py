"""What the key of a job depends on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from polywheel.environments.virtual_environments import Environment, Interpreter
from polywheel.model.matrix import BuildSettings
from polywheel.model.plan import Job
from polywheel.run.fingerprint import job_key
from support.setups import worker_context

JOB = Job(id="a", label="a", properties=(), axes={}, pythons=(), targets=(), build="", at="")


def key(settings: BuildSettings) -> str:
    return job_key(
        JOB,
        worker_context(Path("polywheel")),
        Interpreter(python="3.12", executable="python", identity="3.12"),
        Environment(folder=Path("env"), python="python", resolved=(), content=""),
        source_digest="",
        tools=(),
        build_settings=settings,
    )


def test_settings_of_a_build_that_change_its_wheel() -> None:
    settings = [
        BuildSettings(),
        BuildSettings(environment={"A": "1"}),
        BuildSettings(config_settings={"A": "1"}),
        BuildSettings(before_all="ls"),
        BuildSettings(before_build="ls"),
        BuildSettings(repair_command="ls"),
    ]
    assert len({*map(key, settings)}) == len(settings)
    same = replace(settings[0], runner=("x",), job_timeout=1.0, memory_per_job="1G")
    assert key(same) == key(settings[0])


@pytest.mark.parametrize(
    ("text", "matters"), [("$CI_COMMIT_TAG", True), ("$$CI_COMMIT_TAG", False)]
)
def test_variables_that_the_variables_of_a_build_contain(
    text: str, matters: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other variables of CI systems do not matter."""
    settings = BuildSettings(environment={"VERSION": text})
    monkeypatch.setenv("CI_COMMIT_TAG", "1.0")
    before = key(settings)
    monkeypatch.setenv("CI_COMMIT_TAG", "2.0")
    assert (key(settings) != before) == matters


def test_path_does_not_matter_if_a_build_only_adds_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The versions of the tools on it do."""
    settings = BuildSettings(environment={"PATH": "/opt/tool:$PATH"})
    before = key(settings)
    monkeypatch.setenv("PATH", "/usr/bin")
    assert key(settings) == before
    assert key(BuildSettings(environment={"PATH": "/opt/other:$PATH"})) != before
