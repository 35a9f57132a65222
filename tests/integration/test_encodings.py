"""Commands whose standard output is not UTF-8."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from polywheel import backend
from polywheel.backend import __main__ as backend_main
from polywheel.cli import COMMANDS, main
from polywheel.errors import exit_code_of
from support.index_wheels import write_wheel

ENCODINGS = ("cp1252", "cp437", "ascii")
PROJECT = """\
[build-system]
requires = ["polywheel", "flit_core"]
build-backend = "polywheel.backend"
[project]
name = "demo"
version = "1.0"
[tool.polywheel]
build-backend = "flit_core.buildapi"
[tool.polywheel.matrix]
python = ["3.99"]
targets = ["linux-x86_64"]
plain = true
label = "{library}"
[tool.polywheel.matrix.axes.library]
mkl = ["blas :: library :: mkl"]
openblas = ["blas :: library :: openblas"]
[tool.polywheel.setup."blas :: library :: mkl"]
dependencies = ["mkl"]
[variant.default-priorities]
namespace = ["blas"]
[variant.providers.blas.static-properties]
library = ["openblas", "mkl"]
"""
SYSTEM = 'name = "größer → 漢字 [red]"\npython = "3.12"\nplatform = "manylinux_2_28_x86_64"\n'
REPORT = {"shape": 1, "project": "größer → 漢", "builds": [], "jobs": []}

RUNS: dict[str, tuple[list[str], int]] = {
    "init": (["init", "BARE", "--template", "blas", "--dry-run"], 0),
    "matrix": (["matrix", "PROJECT"], 0),
    "matrix --json": (["matrix", "PROJECT", "--json"], 0),
    "matrix --why": (["matrix", "PROJECT", "--why", "mkl"], 0),
    "matrix labels": (["matrix", "PROJECT", "--format", "labels"], 0),
    "matrix github": (["matrix", "PROJECT", "--format", "github"], 0),
    "matrix gitlab": (["matrix", "PROJECT", "--format", "gitlab"], 0),
    "ci github": (["ci", "github", "PROJECT", "-o", "-"], 0),
    "ci gitlab": (["ci", "gitlab", "PROJECT", "-o", "-"], 0),
    "ci check": (["ci", "gitlab", "PROJECT", "--check"], 1),
    "ci collect": (["ci", "collect", "PROJECT", "-o", "OUT"], 0),
    "providers": (["providers", "PROJECT"], 0),
    "providers --json": (["providers", "PROJECT", "--json"], 0),
    "build": (["build", "PROJECT", "-o", "OUT"], 1),
    "build --json": (["build", "PROJECT", "-o", "OUT", "--json"], 1),
    "build --dry-run": (["build", "PROJECT", "--dry-run"], 0),
    "label": (
        [
            "label",
            "WHEELS/demo-1.0-py3-none-any.whl",
            "--null",
            "--pyproject",
            "PROJECT/pyproject.toml",
            "-o",
            "OUT",
        ],
        0,
    ),
    "unlabel": (["unlabel", "WHEELS/demo-1.0-py3-none-any.whl", "-o", "OUT"], 0),
    "show": (["show", "WHEELS"], 0),
    "show --json": (["show", "WHEELS", "--json"], 0),
    "index": (["index", "WHEELS", "-o", "OUT", "--simple"], 0),
    "index --json": (["index", "WHEELS", "-o", "OUT", "--json"], 0),
    "explain": (["explain", "WHEELS", "--system", "WHEELS/system.toml"], 0),
    "explain all": (["explain", "WHEELS", "--all-systems", "WHEELS"], 0),
    "finalize": (["finalize", "WHEELS", "--plain", "-o", "OUT"], 0),
    "repair": (["repair", "--wheel", "WHEELS/demo-1.0-py3-none-any.whl", "--dest-dir", "OUT"], 0),
    "an error": (["matrix", "größer → 漢 \u202e"], 2),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A project, one without tables, and wheels, in a folder that no other alphabet has."""
    top = tmp_path_factory.mktemp("größer → 漢字 “x” \u202e \x1b[2J")
    for name in ("PROJECT", "BARE", "WHEELS"):
        (top / name).mkdir()
    text = PROJECT.split("[tool.polywheel]", maxsplit=1)[0].replace("polywheel", "flit_core")
    (top / "BARE" / "pyproject.toml").write_text(
        text.replace("flit_core.backend", "flit_core.buildapi"), encoding="utf-8"
    )
    (top / "PROJECT" / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (top / "PROJECT" / "demo.py").write_text('"""Demo."""\n', encoding="utf-8")
    (top / "PROJECT" / "report.json").write_text(json.dumps(REPORT), encoding="utf-8")
    (top / "WHEELS" / "system.toml").write_text(SYSTEM, encoding="utf-8")
    write_wheel(top / "WHEELS")
    return {path.name: path for path in top.iterdir()}


class Kept(io.BytesIO):
    """What was written, also after the stream over it is gone."""

    def close(self) -> None:
        """Stay readable."""


@contextmanager
def streams(encoding: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Kept]]:
    raw = [Kept(), Kept()]
    with monkeypatch.context() as patch:
        for name, one in zip(("stdout", "stderr"), raw, strict=True):
            patch.setattr(sys, name, io.TextIOWrapper(one, encoding=encoding))
        yield raw


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("command", ["", *COMMANDS, "ci github", "ci gitlab", "ci collect"])
def test_help(command: str, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with streams(encoding, monkeypatch) as (out, err):
        assert main([*command.split(), "--help"]) == 0
    assert out.getvalue().decode(encoding).startswith("usage: polywheel")
    assert not err.getvalue()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", RUNS)
def test_runs(
    name: str,
    encoding: str,
    places: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    arguments, code = RUNS[name]
    for place, path in {**places, "OUT": tmp_path / "→ out"}.items():
        arguments = [one.replace(place, str(path)) for one in arguments]
    with streams(encoding, monkeypatch) as raw:
        assert main(arguments) == code, raw[1].getvalue()
    out, err = (one.getvalue().decode(encoding) for one in raw)
    assert out or name in {"an error", "finalize"}
    assert not {"\u202e", "\x1b"} & {*out, *err}
    assert "internal error" not in err
    if "--json" in arguments and "build" not in arguments:
        json.loads(out)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_explain_of_the_backend(
    encoding: str, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(places["PROJECT"])
    arguments = ["explain", source, "-Cvariant=blas::library::mkl"]
    with streams(encoding, monkeypatch) as (out, err):
        assert exit_code_of(lambda: backend_main.main(arguments)) == 0
        backend.say("größer → 漢字")
    assert out.getvalue().decode(encoding).startswith("variant ")
    assert err.getvalue().decode(encoding).startswith("polywheel: ")


@pytest.mark.parametrize("command", ["polywheel", "polywheel.backend"])
def test_in_a_process_of_its_own(command: str, places: dict[str, Path], tmp_path: Path) -> None:
    """As PYTHONIOENCODING sets it, which streams in the tests above only stand for."""
    folder = tmp_path / "größer"
    shutil.copytree(places["WHEELS"], folder)
    arguments = {
        "polywheel": ["index", str(folder), "--simple"],
        "polywheel.backend": ["explain", str(places["PROJECT"]), "-Cnull-variant=true"],
    }
    done = subprocess.run(
        [sys.executable, "-m", command, *arguments[command]],
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("cp1252")
    assert b"Traceback" not in done.stderr
