"""Fixtures of the real builds."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

from polywheel.environments.interpreters import find_interpreter
from polywheel.system.locks import hold_lock
from support.containers import Machine, machine_for
from support.projects import HERE


@pytest.fixture(scope="session")
def wheelhouse(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with polywheel's own wheel, built from its sdist as a release is.

    Processes of pytest-xdist share it.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "wheelhouse"
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(root)]
    with hold_lock(folder.with_suffix(".lock"), stop=Event(), waiting=lambda: None):
        if not list(folder.glob("*.whl")):
            subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def isolated(wheelhouse: Path) -> dict[str, str]:
    """Environment in which an isolated build finds this polywheel beside the index's packages."""
    return {
        "PIP_FIND_LINKS": f"{wheelhouse} {os.environ.get('PIP_FIND_LINKS', '')}".strip(),
        "UV_FIND_LINKS": str(wheelhouse),
    }


@pytest.fixture(scope="session")
def python312() -> str:
    """A Python 3.12 or newer, from PATH or pyenv (whose shims are there for absent versions too)."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in (12, 13, 14):
        name = f"python3.{minor}"
        found = [str(path) for path in sorted(pyenv.glob(f"3.{minor}.*/bin/{name}"))]
        for candidate in [*found, shutil.which(name)]:
            if candidate and subprocess.run([candidate, "-c", ""], check=False).returncode == 0:
                return candidate
    pytest.skip("needs Python 3.12 or newer, and there is none on this machine")


@pytest.fixture(scope="session")
def x86_64_gcc() -> None:
    """For tests that compile for x86-64 levels and look at the instructions."""
    if platform.machine() not in {"x86_64", "AMD64"}:
        pytest.skip("looks at x86-64 instructions, and this is another machine")
    if sys.platform == "win32" or not shutil.which("objdump"):
        pytest.skip("needs a compiler that takes -march, and objdump")


@pytest.fixture(scope="session")
def machine(wheelhouse: Path) -> Machine:
    """What it takes to run cibuildwheel here, with this polywheel in reach of its containers."""
    return machine_for(wheelhouse)


@pytest.fixture(scope="session")
def second_python() -> str:
    """A Python that is not the one that runs the tests."""
    for version in ("3.12", "3.13", "3.14", "3.11"):
        if version != HERE and find_interpreter(version) is not None:
            return version
    pytest.skip("needs a second Python, and there is none on this machine")


@pytest.fixture
def git_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name and a time for commits, and no settings of the person who runs the tests."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
        monkeypatch.setenv(f"GIT_{role}_DATE", "2024-02-29T12:00:00Z")
