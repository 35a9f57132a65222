"""The platforms of a matrix: targets and Pythons, with their marker variables."""

from __future__ import annotations

import platform
import re
import sys
import sysconfig
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property

from polywheel.config.matrix_table import MARKER_VARIABLES, TARGET_TABLE
from polywheel.config.reader import (
    Problems,
    Table,
    evaluate_marker,
    local_marker_environment,
    parse_marker,
)
from polywheel.data import data_folder
from polywheel.errors import ConfigError, closest, nearest
from polywheel.model.matrix import Matrix, Target, minor_version

_TARGET_VARIABLES = ("os_name", "sys_platform", "platform_machine", "platform_system")
"""Marker variables that the target has to define."""

_VARIABLES = re.compile(r"\"[^\"]*\"|'[^']*'|([a-z_]+)")


@dataclass(frozen=True, eq=False)
class Platform:
    """One Python on one target."""

    python: str
    target: Target

    @property
    def values(self) -> dict[str, str]:
        return {"python": self.python, "target": self.target.name}

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """The marker variables (PEP 508) of the target and of the first release of the CPython version.

        They do not depend on the machine that plans.
        """
        version = self.python.removesuffix("t")
        return {
            "platform_release": "",
            "platform_version": "",
            **self.target.markers,
            "python_version": version,
            "python_full_version": f"{version}.0",
            "implementation_name": "cpython",
            "implementation_version": f"{version}.0",
            "platform_python_implementation": "CPython",
        }

    def holds(self, marker: str, *, at: str) -> bool:
        """Whether a marker is true.

        Raises ConfigError if it can't be evaluated, and if the target does not define a variable of it.
        """
        for name in _TARGET_VARIABLES:
            if name in _variables(marker) and name not in self.environment:
                raise ConfigError(
                    f"the marker {marker!r} is about {name}, and the target "
                    f"{self.target.name!r} does not define it",
                    at=at,
                    hint=f"set it: [tool.polywheel.targets.{self.target.name}] "
                    f'markers = {{ {name} = "…" }}',
                )
        return evaluate_marker(marker, self.environment, at=at)


@cache
def _variables(marker: str) -> frozenset[str]:
    matches = _VARIABLES.finditer(str(parse_marker(marker)))
    return frozenset(match[1] for match in matches if match[1])


def running_python() -> str:
    """The version of this interpreter, for example ``3.12`` or ``3.13t``."""
    free_threaded = "t" if "t" in getattr(sys, "abiflags", "") else ""
    return f"{sys.version_info.major}.{sys.version_info.minor}{free_threaded}"


@cache
def python_order(version: str) -> tuple[int, str]:
    """A sort key: 3.9 is before 3.13, and 3.13 is before 3.13t."""
    return minor_version(version), version


_MACHINES = (
    *("x86_64", "i686", "aarch64", "arm64", "armv7l", "ppc64le", "riscv64", "s390x"),
    "loongarch64",
)
_PLATFORM = re.compile(rf"(linux|musllinux|macos|windows|[a-z]+bsd[0-9]*)-({'|'.join(_MACHINES)})")
_SPELLINGS = {"amd64": "x86_64", "x64": "x86_64"}
_SYSTEMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}


@cache
def known_targets() -> Mapping[str, Target]:
    """The targets of ``matrix/targets.toml``, by name."""
    path = data_folder("matrix") / "targets.toml"
    problems = Problems()
    tables = Table(tomllib.loads(path.read_text(encoding="utf-8")), path.name, (), problems)
    targets = {
        name: TARGET_TABLE.read_table(tables.table(name), platform=name)
        for name in tables.every_key()
    }
    problems.raise_all()
    return targets


def this_target() -> str:
    """The name of the target of this machine."""
    machine = platform.machine().lower()
    machine = _SPELLINGS.get(machine, machine)
    system = _SYSTEMS.get(sys.platform, sys.platform)
    if system == "linux" and "musl" in (sysconfig.get_config_var("HOST_GNU_TYPE") or ""):
        system = "musllinux"
    if system in {"macos", "windows"} and machine == "aarch64":
        machine = "arm64"
    return f"{system}-{machine}"


def _usual_spelling(name: str) -> str:
    """The name of a target, with the usual name of its machine: windows-x86_64 for windows-AMD64."""
    system, hyphen, machine = name.lower().rpartition("-")
    return f"{system}{hyphen}{_SPELLINGS.get(machine, machine)}"


def target_hint(name: str, matrix: Collection[str], declared: Collection[str]) -> str:
    """A hint about a target that a matrix does not have: add it if it exists, else the most similar name."""
    exists = name in known_targets() or name in declared
    close = None if exists else nearest(_usual_spelling(name), matrix)
    return close or f"add {name!r} to targets of the matrix"


def matrix_targets(
    matrix: Matrix, declared: Mapping[str, Target], problems: Problems
) -> dict[str, Target]:
    """The targets of a matrix by name. Unknown targets and declared targets without effect are problems.

    A matrix that names no targets is for this machine. Then a declared target may be for another machine.
    """
    names = {**known_targets(), **declared}
    for index, name in enumerate(matrix.targets):
        if name not in names:
            close = closest(_usual_spelling(name), names)
            problems.add(
                f"unknown target {name!r}",
                at=f"{matrix.at}.targets[{index}]",
                hint=f"did you mean {close!r}?"
                if close
                else f"known: {', '.join(names)}; declare others under "
                "[tool.polywheel.targets.NAME]",
            )
    for name, target in declared.items():
        if matrix.targets and name not in matrix.targets:
            problems.add(
                f"no job of the matrix is for the target {name!r}",
                at=target.at,
                # A target with a platform has a name of its own.
                hint=target_hint(name, matrix.targets, [name] if target.platform else ()),
            )
        elif not matrix.targets and target.platform and not _is_platform(name):
            problems.add(
                f"no job of the matrix is for the target {name!r}: without targets, the matrix is for this machine",
                at=target.at,
                hint=f'add it to the matrix: targets = ["{name}"]',
            )
        else:
            _check_platform(target, problems)
    return {name: _target(name, matrix, declared) for name in matrix.targets or (this_target(),)}


def all_targets(matrix: Matrix, declared: Mapping[str, Target]) -> dict[str, Target]:
    """Every possible target of a matrix that names none: that of this machine, and the known targets."""
    names = {this_target(): None, **known_targets()}
    return {name: _target(name, matrix, declared) for name in names}


def _is_platform(name: str) -> bool:
    return name in known_targets() or _PLATFORM.fullmatch(name) is not None or name == this_target()


def _check_platform(target: Target, problems: Problems) -> None:
    """Add a problem if it is unknown where a declared target can be built."""
    known = known_targets()
    if target.platform is None:
        if not _is_platform(target.name):
            example = closest(_usual_spelling(target.name), known) or "linux-x86_64"
            problems.add(
                f"the target {target.name!r} has no platform, so it is unknown which machines can build it",
                at=target.at,
                hint=f'add platform = "{example}"; known: {", ".join(known)}',
            )
    elif not _is_platform(target.platform):
        problems.add(
            f"unknown platform {target.platform!r}",
            at=f"{target.at}.platform",
            hint=nearest(target.platform, known) or f"known: {', '.join(known)}",
        )
    elif _is_platform(target.name) and target.platform != target.name:
        problems.add(
            f"{target.name!r} is a platform itself, found {target.platform!r}",
            at=f"{target.at}.platform",
            hint="remove platform, or give the target another name",
        )


def _target(name: str, matrix: Matrix, declared: Mapping[str, Target]) -> Target:
    """A target with the settings of the project. ``""`` removes a setting of a known target.

    Its place is the table of the project for it, whether it exists or not: there the user can change it.
    """
    known, own = known_targets(), declared.get(name)
    platform_name = name if own is None else own.platform or name
    if platform_name in known:
        target = replace(known[platform_name], name=name)
    elif platform_name == this_target():
        local = local_marker_environment()
        markers = {key: local[key] for key in _TARGET_VARIABLES}
        target = Target(name=name, platform=platform_name, markers=markers)
    elif own is None and (close := closest(_usual_spelling(name), known)):
        # Probably a misspelling. With these variables, its markers do not cause more errors.
        target = replace(known[close], name=name)
    else:
        target = Target(name=name, platform=platform_name)
    if own is None:
        file = matrix.at.partition(": ")[0]
        at = Table({}, file, ("tool", "polywheel", "targets"), Problems()).at(name)
        return replace(target, at=at)
    # Before targets had a platform, their marker variables were in their environment.
    markers = {k: v for k, v in own.settings.environment.items() if k in MARKER_VARIABLES}
    variables = {k: v for k, v in own.settings.environment.items() if k not in markers}
    return replace(
        target,
        settings=target.settings.updated(replace(own.settings, environment=variables)),
        platform_tags=own.platform_tags or target.platform_tags,
        markers={**target.markers, **markers, **own.markers},
        at=own.at,
    )
