"""Find cibuildwheel and a container engine on this machine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from packaging.version import Version

from polywheel.config.project import PYPROJECT
from polywheel.errors import ConfigError
from polywheel.matrix.cibuildwheel_platforms import BuildPlatform, read_pinned
from polywheel.system.processes import capture_output
from polywheel.system.temporary import temporary_folder

_OLDEST = Version("4.3")
_VERSION = "import importlib.metadata; print(importlib.metadata.version('cibuildwheel'))"
ENGINE = "CIBW_CONTAINER_ENGINE"
"""The variable that selects the container engine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Installation:
    """An installed cibuildwheel."""

    command: tuple[str, ...]
    version: str


def find_cibuildwheel() -> Installation:
    """Return the cibuildwheel in polywheel's environment, else the one on PATH.

    Raises ConfigError if it is missing or too old.
    """
    try:
        version = installed_version("cibuildwheel")
        executable = [sys.executable, "-m", "cibuildwheel"]
    except PackageNotFoundError:
        path = shutil.which("cibuildwheel")
        if path is None:
            raise ConfigError(
                "cibuildwheel was not found",
                at="--frontend",
                hint="python -m pip install cibuildwheel",
            ) from None
        executable, version = [path], _version_beside(Path(path).resolve())
    try:
        old = Version(version) < _OLDEST
    except ValueError:  # InvalidVersion, or a number of more digits than Python reads
        old = False  # unknown
    if old:
        raise ConfigError(
            f"cibuildwheel {version} is too old: {_OLDEST} or newer is needed",
            at="--frontend",
            hint="python -m pip install --upgrade cibuildwheel",
        )
    return Installation(command=tuple(executable), version=version)


def _version_beside(path: Path) -> str:
    """Return the version of cibuildwheel that the Python next to its executable reports."""
    python = path.with_name("python.exe" if sys.platform == "win32" else "python")
    output = capture_output([str(python), "-I", "-c", _VERSION], seconds=30)
    return "unknown" if output is None else output.decode("utf-8", "replace").strip()


def installed_platform(installation: Installation, platform: BuildPlatform) -> BuildPlatform:
    """Return the platform with the Pythons that an installed cibuildwheel knows.

    They include Pythons that it builds only with the option ``enable``. If it does not answer, they
    are those of the pinned version.
    """
    if installation.version == read_pinned().version:
        return platform
    with temporary_folder() as folder:
        (folder / PYPROJECT).touch()
        output = capture_output(
            [
                *installation.command,
                *("--platform", platform.platform, "--archs", platform.arch),
                *("--enable", "all", "--print-build-identifiers", str(folder)),
            ],
            folder=folder,
            environment={
                **{name: text for name, text in os.environ.items() if not name.startswith("CIBW_")},
                "CIBW_BUILD": f"cp3*-{platform.suffix}",
            },
            seconds=60,
        )
    identifiers = (output or b"").decode("utf-8", "replace").split()
    pythons = [f"3.{name.removeprefix('cp3').partition('-')[0]}" for name in identifiers]
    return replace(platform, pythons=tuple(pythons) or platform.pythons)


def selected_engine(tables: Mapping[str, Any], environ: Mapping[str, str]) -> str | None:
    """Return the container engine that the user selects, with its options, as cibuildwheel reads it.

    ``tables`` is the project's ``[tool.cibuildwheel]``.
    """
    if ENGINE in environ:
        return environ[ENGINE]
    for table in (tables.get("linux"), tables):
        selected = table.get("container-engine") if isinstance(table, dict) else None
        if isinstance(selected, str):
            return selected
        if isinstance(selected, dict):
            fields = [
                f"{key}: {shlex.quote(str(text))}"
                for key, value in selected.items()
                if key != "name"
                for text in (value if isinstance(value, list) else [value])
            ]
            return "; ".join([str(selected.get("name")), *fields])
    return None


def container_engine(tables: Mapping[str, Any]) -> dict[str, str]:
    """Return the variable that selects podman if docker is missing and the user selects no engine.

    Raises ConfigError if there is no container engine that works.
    """
    selected = selected_engine(tables, os.environ)
    names = ["docker", "podman"] if selected is None else [re.split(r"[;:\s]", selected.strip())[0]]
    name = next(filter(shutil.which, names), None)
    if name is None:
        raise ConfigError(
            f"no container engine was found: {' or '.join(names)}",
            at="--frontend",
            hint=f"install docker or podman, or name another engine with {ENGINE}",
        )
    _check_engine(name)
    return {} if selected is not None or name == "docker" else {ENGINE: name}


def _check_engine(name: str) -> None:
    """Raise ConfigError if a container engine does not work, for example without its daemon."""
    try:
        process = subprocess.run(
            [shutil.which(name) or name, "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=60,
            check=False,
        )
        if process.returncode == 0:
            return
        reason = "".join(process.stderr.strip().splitlines()[-1:]) or "no error message"
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    raise ConfigError(
        f"{name} does not work: {reason}",
        at="--frontend",
        hint=f"start {name}, or name another container engine with {ENGINE}",
    )
