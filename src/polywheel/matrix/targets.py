"""Targets: those that polywheel knows, and what a project says of them."""

from __future__ import annotations

import platform
import sys
import sysconfig
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from polywheel.config.matrix_table import read_target
from polywheel.config.reader import Problems, Table
from polywheel.data import data_folder
from polywheel.errors import nearest
from polywheel.model.matrix import Matrix, Target

_SPELLINGS = {"amd64": "x86_64", "x64": "x86_64"}
_SYSTEMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}


@cache
def known_targets() -> Mapping[str, Target]:
    """The targets of ``matrix/targets.toml``, by name."""
    path = data_folder("matrix") / "targets.toml"
    problems = Problems()
    tables = Table(tomllib.loads(path.read_text(encoding="utf-8")), path.name, (), problems)
    found = {name: read_target(tables.table(name), name) for name in tables.every_key()}
    problems.settle()
    return found


def this_target() -> str:
    """The name of the target that this machine is."""
    machine = platform.machine().lower()
    machine = _SPELLINGS.get(machine, machine)
    system = _SYSTEMS.get(sys.platform, sys.platform)
    if system == "linux" and "musl" in (sysconfig.get_config_var("HOST_GNU_TYPE") or ""):
        system = "musllinux"
    if system in {"macos", "windows"} and machine == "aarch64":
        machine = "arm64"
    return f"{system}-{machine}"


def matrix_targets(
    matrix: Matrix, declared: Mapping[str, Target], problems: Problems
) -> dict[str, Target]:
    """The targets of a matrix by name; one that nobody knows is noted, and one without effect."""
    known = known_targets()
    names = matrix.targets or (this_target(),)
    found = {}
    for name in names:
        if name not in known and name not in declared and matrix.targets:
            problems.add(
                f"unknown target {name!r}",
                at=f"{matrix.at}.targets",
                hint=nearest(name, {*known, *declared})
                or f"declare it under [tool.polywheel.targets.{name}]",
            )
        found[name] = _with(known.get(name, Target(name=name)), declared.get(name))
    for name, target in declared.items():
        if name not in names:
            problems.add(
                f"no job of the matrix is for the target {name!r}",
                at=target.at,
                hint=nearest(name, names),
            )
    return found


def _with(target: Target, declared: Target | None) -> Target:
    """What polywheel knows, and what the project says in its place."""
    if declared is None:
        return target
    said = {
        name: value
        for name in ("runner", "image", "platform_tags", "repair_command", "test_command")
        if (value := getattr(declared, name))
    }
    environment = {**target.environment, **declared.environment}
    return replace(target, **said, environment=environment, at=declared.at)
