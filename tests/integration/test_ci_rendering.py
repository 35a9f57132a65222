"""Commands in the script of the composite action: their output, signals, and containers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from support.containers import IMAGE, made_image
from support.projects import ROOT, write_project


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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_step_lets_the_command_end_by_itself(
    number: signal.Signals, tmp_path: Path
) -> None:
    """A build writes its report then, without which its wheels would not be collected."""
    command = "import signal, sys, time\n"
    command += f"signal.signal({number:d}, lambda *_: (print('ended'), sys.exit(3)))\n"
    command += "print('ready', flush=True)\ntime.sleep(60)"
    script = "import sys; from pathlib import Path; import run\n"
    script += f"sys.exit(run.run([sys.executable, '-c', {command!r}], Path('.'))[0])"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".github" / "actions" / "polywheel")},
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as step:
        assert step.stdout is not None
        while step.stdout.readline().strip() != "ready":
            assert step.poll() is None
        step.send_signal(number)
        output = step.stdout.read()
    assert step.returncode == 3
    assert "ended" in output


@pytest.mark.cibuildwheel
def test_a_command_runs_in_a_container_of_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for Alpine on ARM, where no action of GitHub runs in a container. podman is the engine."""
    configuration = made_image()
    write_project(tmp_path / "bin", {"docker": '#!/bin/sh\nexec podman "$@"\n'})
    (tmp_path / "bin" / "docker").chmod(0o755)
    workspace = write_project(tmp_path / "a workspace", {"pyproject.toml": "[project]\n"})
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    getattr(os, "chown")(workspace, 1234, 1234)  # noqa: B009  # Windows has none
    path = "/opt/python/cp312-cp312/bin:/usr/bin:/bin"
    variables = {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "CONTAINERS_CONF": str(configuration / "containers.conf"),
        "GITHUB_WORKSPACE": str(workspace),
        "RUNNER_TEMP": str(temporary),
        "GITHUB_OUTPUT": str(temporary / "output"),
        "POLYWHEEL_CACHE_DIR": str(tmp_path / "cache"),
        "POLYWHEEL_ACTION_COMMAND": "init",
        "POLYWHEEL_ACTION_ARGS": "--template=x86-64-levels\n--output=new.toml",
        "POLYWHEEL_ACTION_CAPTURE": "output",
        "POLYWHEEL_ACTION_IMAGE": IMAGE,
        "POLYWHEEL_ACTION_IMAGE_OPTIONS": f"--network=host --env 'PATH={path}'",
        "PYTHON_VERSION": "3.12",
    }
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    done = subprocess.run(
        [sys.executable, ROOT / ".github" / "actions" / "polywheel" / "run.py"],
        cwd=workspace,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "output<<" in (temporary / "output").read_text(encoding="utf-8")
    assert (workspace / "new.toml").exists()
    assert {path.stat().st_uid for path in [*workspace.rglob("*"), temporary / "output"]} == {1234}
