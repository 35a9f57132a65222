"""Real builds of wheels, and an independent reader for the wheels."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tomllib
import traceback
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from pyproject_hooks import (
    BackendUnavailable,
    BuildBackendHookCaller,
    HookMissing,
    UnsupportedOperation,
)

from polywheel.model.plugin_answers import PluginQuery
from polywheel.providers.client import ask_plugins
from polywheel.system.locks import hold_lock
from support.fake_backend import wheel_content
from support.projects import ROOT

COMPILED = ("meson", "scikit-build-core", "setuptools")
PURE = ("hatchling", "flit-core")


def run(
    command: Iterable[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a command. With ``check``, a failure shows the output."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{done.args} ended with {done.returncode}:\n{done.stdout}")
    return done


def build(
    source: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    out: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Build as ``python -m build`` does without isolation, with the backends of the test environment.

    The hook runs in a process of its own, as there; the process of the frontend is spared.
    """
    kinds = {"--wheel": "wheel", "-w": "wheel", "--sdist": "sdist"}
    (kind,) = {kinds[one] for one in arguments if one in kinds}
    settings: dict[str, str | list[str]] = {}
    for one in arguments:
        if one not in kinds:
            name, _, value = one.removeprefix("-C").partition("=")
            before = settings.get(name, [])
            known = [before] if isinstance(before, str) else before
            settings[name] = [*known, value] if known else value
    printed: list[str] = []

    def runner(
        cmd: Sequence[str],
        cwd: str | None = None,
        extra_environ: Mapping[str, str] | None = None,
    ) -> None:
        more = {**(env or {}), **(extra_environ or {})}
        done = run(cmd, cwd=Path(cwd or source), env=more, check=False)
        printed.append(done.stdout)
        done.check_returncode()

    code = 0
    table = tomllib.loads((source / "pyproject.toml").read_text("utf-8")).get("build-system", {})
    backend = table.get("build-backend", "setuptools.build_meta:__legacy__")
    folder = out or source / "dist"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        hooks = BuildBackendHookCaller(str(source), backend, table.get("backend-path"), runner)
        getattr(hooks, f"build_{kind}")(str(folder), settings)
    except subprocess.CalledProcessError:
        code = 1
    except (BackendUnavailable, HookMissing, UnsupportedOperation) as error:
        printed += traceback.format_exception(error, limit=-1)
        code = 1
    said = "".join(printed)
    if check and code:
        raise AssertionError(f"a build of {source} with {arguments} failed:\n{said}")
    return subprocess.CompletedProcess(arguments, code, said)


def build_wheel(
    source: Path, out: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> Path:
    """Build one wheel into the new folder ``out``; return its path."""
    build(source, "--wheel", *arguments, env=env, out=out)
    (wheel,) = out.iterdir()
    return wheel


def install(into: Path, *wheels: Path) -> None:
    """Install wheels without dependencies into a folder. With uv, because pip takes a second."""
    command = ["uv", "pip", "install", "-q", "--no-deps", "--no-index", "--python", sys.executable]
    run([*command, "--target", into, *wheels], cwd=into.parent)


def write_wheel(path: Path, files: Mapping[str, str]) -> Path:
    """Write a wheel with these files. Project and version are those of the filename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    project = "-".join(path.name.split("-")[:2])
    path.write_bytes(wheel_content(files, project=project))
    return path


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """The content of every file of a tree; None for folders."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@dataclass(frozen=True)
class Wheel:
    """A wheel as an independent reader (zipfile, email) sees it."""

    path: Path
    members: dict[str, bytes]
    dist_info: str

    @property
    def metadata(self) -> Message:
        return BytesParser().parsebytes(self.members[f"{self.dist_info}/METADATA"])

    @property
    def variant_json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.members[f"{self.dist_info}/variant.json"])
        return document

    @property
    def stamped(self) -> bool:
        return f"{self.dist_info}/variant.json" in self.members


def read_wheel(path: Path) -> Wheel:
    """Read a wheel and check every line of its RECORD."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len(names) == len(set(names))
        members = {name: archive.read(name) for name in names if not name.endswith("/")}
    (dist_info,) = {
        name.split("/")[0] for name in members if name.split("/")[0].endswith(".dist-info")
    }
    listed = set()
    for name, digest, size in csv.reader(
        io.StringIO(members[f"{dist_info}/RECORD"].decode("utf-8"), newline="")
    ):
        assert name not in listed
        listed.add(name)
        if name == f"{dist_info}/RECORD":
            assert not digest
            assert not size
            continue
        kind, _, value = digest.partition("=")
        expected = base64.urlsafe_b64encode(hashlib.new(kind, members[name]).digest())
        assert value == expected.rstrip(b"=").decode()
        assert int(size) == len(members[name])
    assert listed == set(members)
    return Wheel(path, members, dist_info)


def extension(wheel: Wheel, into: Path) -> Path:
    """The one extension module of a wheel, unpacked."""
    (name,) = [name for name in wheel.members if name.endswith((".so", ".pyd"))]
    into.mkdir(parents=True, exist_ok=True)
    path = into / Path(name).name
    path.write_bytes(wheel.members[name])
    return path


def wide_registers(wheel: Path, scratch: Path) -> int:
    """How many instructions of the extension name a ymm register: none below x86-64-v3."""
    module = extension(read_wheel(wheel), scratch / wheel.name)
    return run(["objdump", "-d", module], cwd=scratch).stdout.count("%ymm")


@contextmanager
def downloads(name: str) -> Iterator[Path]:
    """A folder of the checkout for what tests download, for one process at a time."""
    folder = ROOT / ".cache" / name
    with hold_lock(folder / ".lock", stop=Event(), waiting=lambda: None):
        yield folder


def downloaded_sdist(project: str, python: str) -> Path:
    """The sdist of ``name==version`` from PyPI, kept in the checkout.

    pip asks the sdist for its metadata, so ``python`` must be one that the project supports.
    """
    name, _, version = project.partition("==")
    with downloads("sdists") as folder:
        found = folder / f"{name}-{version}.tar.gz"
        if not found.exists():
            download = [python, "-m", "pip", "download", "-q", "--no-deps", f"--no-binary={name}"]
            done = run([*download, "--dest", str(folder), project], cwd=folder, check=False)
            if not found.exists():
                pytest.skip(f"{project} can't be downloaded: {done.stdout[-300:]}")
    return found


def downloaded_wheel(project: str) -> Path:
    """The wheel of ``name==version`` from PyPI for this Python, kept in the checkout."""
    name, _, version = project.partition("==")
    name = re.sub("[-.]", "?", name)  # as every tool spells it in a filename
    with downloads(f"wheels/py{sys.version_info.major}{sys.version_info.minor}") as folder:
        pattern = f"{name}-{version}-*.whl"
        if not list(folder.glob(pattern)):
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
            command += ["--only-binary=:all:", "--dest", str(folder), project]
            done = run(command, cwd=folder, check=False)
            if done.returncode:
                pytest.skip(f"{project} can't be downloaded: {done.stdout[-300:]}")
        (found,) = folder.glob(pattern)
    return found


def levels_of_this_machine() -> list[str]:
    """The x86-64 levels of this machine, best first, from a plugin (not from uv)."""
    query = PluginQuery(
        namespace="x86_64",
        reference="provider_variant_x86_64.plugin:X8664Plugin",
        requires=("provider-variant-x86-64",),
        at="",
        supported=True,
    )
    (answer,) = ask_plugins([query], python=sys.executable, notify=print)
    return [v for one in answer.supported or () if one.name == "level" for v in one.values]
