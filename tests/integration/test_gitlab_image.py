"""The image with polywheel in docs/ci.md, and a plan and a build of ``polywheel ci gitlab`` in it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from support.builds import read_wheel, run
from support.containers import IMAGE, made_image
from support.gitlab_jobs import load_pipeline, script_of, variables_of
from support.projects import ROOT, example

pytestmark = [
    pytest.mark.gitlab,
    pytest.mark.skipif(sys.platform != "linux", reason="the image is for Linux"),
]
NAME = "localhost/polywheel-gitlab:test"
TABLES = """
[tool.polywheel.matrix]
python = ["3.12"]
targets = ["linux-x86_64"]
[tool.polywheel.ci.gitlab]
install = false
"""


def test_jobs_use_the_polywheel_of_the_image_of_the_docs(wheelhouse: Path, tmp_path: Path) -> None:
    podman = {"CONTAINERS_CONF": str(made_image() / "containers.conf")}
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    (dockerfile,) = re.findall(r"```dockerfile\n(.*?)```", text, re.DOTALL)
    (tmp_path / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    (wheel,) = wheelhouse.glob("*.whl")
    requirement = f"polywheel[cli] @ file:///wheelhouse/{wheel.name}"
    command = ["podman", "build", "--network=host", f"--volume={wheelhouse}:/wheelhouse:ro"]
    command += [f"--build-arg=BASE={IMAGE}", f"--build-arg=REQUIREMENT={requirement}"]
    run([*command, f"--tag={NAME}", "."], cwd=tmp_path, env=podman)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    project = example("setuptools", checkout)
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(TABLES)
    run(["git", "init", "-q"], cwd=checkout)
    run([sys.executable, "-m", "polywheel", "ci", "gitlab", project], cwd=checkout)
    pipeline = load_pipeline((checkout / ".gitlab" / "polywheel.yml").read_text(encoding="utf-8"))

    def job(name: str, **given: str) -> str:
        variables = {**variables_of(name, pipeline), **given, "PIP_FIND_LINKS": "/wheelhouse"}
        command = ["podman", "run", "--rm", "--network=host", "--workdir=/builds"]
        command += [f"--volume={checkout}:/builds", f"--volume={wheelhouse}:/wheelhouse:ro"]
        command += [f"--env={key}={text}" for key, text in variables.items()]
        script = ["sh", "-e", "-c", script_of(name, pipeline)]
        return run([*command, NAME, *script], cwd=checkout, env=podman).stdout

    try:
        job("polywheel-plan")
        jobs = json.loads((checkout / "polywheel-jobs.yml").read_text(encoding="utf-8"))
        pipeline.update(jobs)
        name = "linux-x86_64-cp312-x86_64_v3"
        job(name, CI_JOB_ID="7")
        (wheel,) = (checkout / "polywheel-out" / "7" / "wheels").glob("*.whl")
        assert read_wheel(wheel).stamped
        assert (checkout / ".polywheel-cache" / "environments.tar").stat().st_size > 1_000_000
        assert (
            "twine version"
            in run(
                [
                    "podman",
                    "run",
                    "--rm",
                    NAME,
                    "/opt/polywheel/bin/python",
                    "-m",
                    "twine",
                    "--version",
                ],
                cwd=checkout,
                env=podman,
            ).stdout
        )
    finally:
        run(["podman", "rmi", "--force", NAME], cwd=tmp_path, env=podman, check=False)
