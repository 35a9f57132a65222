"""The scripts of the GitLab include: plan, two jobs of the child pipeline, and collect."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.build_command import CACHE
from support.builds import read_wheel, run
from support.projects import HERE, example
from support.workflows import load

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="runs scripts in sh, as on Linux")


def job(name: str, pipeline: Mapping[str, Any], checkout: Path, **said: str) -> None:
    """Run the scripts of a job, in one shell as GitLab does, with its variables and nothing else."""
    own = pipeline[name]
    around = pipeline.get(own.get("extends", ""), {})
    base = pipeline.get(around.get("extends", ""), {})
    variables: dict[str, Any] = {}
    for one in (base, around, own):
        variables |= one.get("variables", {})
    script = [
        *(around.get("before_script") or base.get("before_script")),
        *(own.get("script") or around["script"]),
    ]
    subprocess.run(
        ["sh", "-e", "-c", "\n".join(script)],
        cwd=checkout,
        env={
            **{key: text for key, text in os.environ.items() if "POLYWHEEL" not in key},
            "POLYWHEEL_CACHE_DIR": str(CACHE),
            "TMPDIR": str(checkout.parent),
            "PIP_NO_COMPILE": "1",
            **{
                key: one["value"] if isinstance(one, dict) else str(one)
                for key, one in variables.items()
            },
            **said,
        },
        stdin=subprocess.DEVNULL,
        check=True,
    )


def test_the_scripts_end_with_wheels_and_an_index(wheelhouse: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    name = "it's; $(touch broken) * x"
    project = example("flit-core", checkout).rename(checkout / name)
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(f'[tool.polywheel.matrix]\npython = ["{HERE}"]\n')
    run(["git", "init", "-q"], cwd=checkout)
    (wheel,) = wheelhouse.glob("*.whl")
    requirement = f"polywheel[cli] @ {wheel.as_uri()}"
    bare = {"POLYWHEEL_REQUIREMENT": f"polywheel @ {wheel.as_uri()}"}  # enough, and quicker
    command: list[str | Path] = [sys.executable, "-m", "polywheel", "ci", "gitlab", project]
    command.append("--max-jobs=1")
    run([*command, "--requirement", requirement], cwd=checkout)
    pipeline = load((checkout / ".gitlab" / "polywheel.yml").read_text(encoding="utf-8"))
    job("polywheel:plan", pipeline, checkout, **bare)
    jobs = json.loads((checkout / "polywheel-jobs.yml").read_text(encoding="utf-8"))
    assert len(jobs) == 1, "both builds in one job"
    (checkout / "polywheel-jobs.yml").unlink()
    for number, identifier in enumerate(jobs):
        job(identifier, {**pipeline, **jobs}, checkout, CI_JOB_ID=str(number))
    out = checkout / "polywheel-out"
    assert sorted(one.name for one in (out / "0").iterdir()) == ["logs", "report.json", "wheels"]
    shutil.rmtree(project)  # the job that collects needs no more than artifacts
    job("polywheel:collect", pipeline, checkout, **bare)
    wheels = sorted((checkout / "dist").glob("*.whl"))
    assert [one.stem.rpartition("-")[2] for one in wheels] == ["mkl", "openblas"]
    assert all(read_wheel(one).stamped for one in wheels)
    assert [*(checkout / "dist").glob("*-variants.json")]
    assert "2 wheels" in (checkout / "summary.md").read_text(encoding="utf-8")
    assert not [*tmp_path.rglob("broken")]
