"""Finding interpreters: by what they report, not by their names."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from polywheel.environments import interpreters
from polywheel.environments.installers import find_uv
from polywheel.environments.interpreters import find_interpreter, install_interpreter, probe
from polywheel.errors import BuildError

THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
posix = pytest.mark.skipif(sys.platform == "win32", reason="scripts that stand for Pythons")


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Pythons but the one that runs; a folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setattr(interpreters, "find_uv", lambda: None)
    return folder


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def pretending(path: Path, version: str, **more: object) -> Path:
    """An executable that says it were a Python of this version."""
    said = {
        "executable": str(path),
        "python": version,
        "implementation": "cpython",
        "version": f"{version}.1 (main)",
        "platform": "linux-x86_64",
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "machine": platform.machine(),
        **more,
    }
    text = str(said).replace("'", '"')
    return script(path, f"echo '{text}'")


def test_the_one_that_runs() -> None:
    found = find_interpreter(THIS)
    assert found is not None
    assert found.python == THIS
    said = subprocess.run(
        [found.executable, "-c", "import platform; print(platform.python_version())"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    assert said == platform.python_version()
    assert platform.python_version() in found.identity


def test_a_version_that_is_not_there(nowhere: Path) -> None:
    assert not list(nowhere.iterdir())
    assert find_interpreter("3.99") is None


@posix
def test_on_path_behind_one_that_does_not_run(nowhere: Path, tmp_path: Path) -> None:
    """As pyenv's shims do for a version that is installed and not chosen."""
    script(nowhere / "python3.99", "echo 'pyenv: python3.99: command not found' >&2; exit 127")
    real = pretending(tmp_path / "usr" / "python3.99", "3.99")
    os.environ["PATH"] += os.pathsep + str(real.parent)
    found = find_interpreter("3.99")
    assert found is not None
    assert found.executable == str(real)


@posix
@pytest.mark.parametrize("name", ["python3", "python"])
def test_under_a_name_without_a_version(nowhere: Path, name: str) -> None:
    pretending(nowhere / name, "3.99")
    found = find_interpreter("3.99")
    assert found is not None
    assert found.executable == str(nowhere / name)


@posix
def test_the_newest_of_pyenv(nowhere: Path, tmp_path: Path) -> None:
    assert nowhere.is_dir()
    for version in ("3.99.9", "3.99.10", "3.99.2"):
        pretending(tmp_path / "pyenv/versions" / version / "bin/python3.99", "3.99")
    found = find_interpreter("3.99")
    assert found is not None
    assert "3.99.10" in found.executable


@posix
def test_free_threaded_is_another_one(nowhere: Path) -> None:
    pretending(nowhere / "python3.99", "3.99t")
    assert find_interpreter("3.99") is None
    pretending(nowhere / "python3.99t", "3.99t")
    found = find_interpreter("3.99t")
    assert found is not None
    assert found.python == "3.99t"


@posix
@pytest.mark.parametrize(
    "more",
    [
        {"implementation": "pypy"},
        {"bits": 31},
        {"machine": "other"},
        {"executable": ""},
        {"python": "3.9"},
    ],
    ids=lambda one: next(iter(one)),
)
def test_what_is_another_kind_of_python(nowhere: Path, more: dict[str, object]) -> None:
    pretending(nowhere / "python3.99", "3.99", **more)
    assert find_interpreter("3.99") is None


@posix
@pytest.mark.parametrize(
    "does", ["echo Python 3.99.1", "exit 1", "echo '[]'", "printf '\\377'", "kill -9 $$"]
)
def test_what_only_has_the_name_of_one(nowhere: Path, does: str) -> None:
    script(nowhere / "python3.99", does)
    assert find_interpreter("3.99") is None


@posix
def test_one_that_hangs(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreters, "_SECONDS", 0.3)
    script(nowhere / "python3.99", "exec /bin/sleep 60")
    assert find_interpreter("3.99") is None


@pytest.mark.skipif(sys.platform != "linux", reason="puts a Python where uv keeps them on Linux")
def test_of_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real uv finds what it has installed itself, here put there by hand."""
    other = next((one for one in ("3.12", "3.13") if one != THIS and find_interpreter(one)), None)
    found = find_interpreter(other) if other else None
    uv = find_uv()
    if other is None or found is None or uv is None:
        pytest.skip("needs uv, and a second Python")
    base = Path(found.executable).resolve().parents[1]
    number = found.identity.split()[0]
    kept = tmp_path / "uv" / f"cpython-{number}-linux-{platform.machine()}-gnu"
    kept.mkdir(parents=True)
    for name in ("bin", "lib"):
        (kept / name).symlink_to(base / name)
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    monkeypatch.setattr(interpreters, "find_uv", lambda: None)
    if find_interpreter(other) is not None:
        pytest.skip("it is found without uv")
    monkeypatch.setattr(interpreters, "find_uv", lambda: uv)
    again = find_interpreter(other)
    assert again is not None
    assert again.python == other


def test_an_executable_that_is_not_there(tmp_path: Path) -> None:
    assert probe(str(tmp_path / "nothing")) is None
    assert probe(str(tmp_path)) is None


@pytest.mark.usefixtures("nowhere")
def test_installing_without_uv() -> None:
    with pytest.raises(BuildError, match="uv was not found"):
        install_interpreter("3.99", notify=print)


def test_installing_what_uv_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    said: list[str] = []
    with pytest.raises(BuildError, match=r"uv can't install Python 3\.99: .*3\.99"):
        install_interpreter("3.99", notify=said.append)
    assert said == ["installing Python 3.99 with uv"]


@posix
def test_installing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A uv that puts a Python into its place, as the real one does from the network."""
    place = tmp_path / "python3.99"
    source = pretending(tmp_path / "kept" / "python3.99", "3.99")
    uv = script(
        tmp_path / "uv",
        f'if [ "$2" = install ]; then /bin/cp {source} {place}; else echo {place}; fi',
    )
    monkeypatch.setattr(interpreters, "find_uv", lambda: str(uv))
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    found = install_interpreter("3.99", notify=lambda _: None)
    assert found.python == "3.99"
