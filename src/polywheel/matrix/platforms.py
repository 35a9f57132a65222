"""Targets and Pythons: which are known, what a project says about them, and their marker values."""

from __future__ import annotations

import platform
import re
import sys
import sysconfig
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property

from packaging.markers import Marker

from polywheel.config.matrix_table import TARGET_TABLE
from polywheel.config.reader import Problems, Table, local_marker_environment
from polywheel.data import data_folder
from polywheel.errors import ConfigError, closest, nearest
from polywheel.model.matrix import Matrix, Target

TARGET_SAYS = ("os_name", "sys_platform", "platform_machine", "platform_system")
"""Marker variables that only the target knows; there is no telling them from its name."""

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
        """The marker variables (PEP 508): of the target, and of CPython in the first final release
        of its version. Nothing in them is of the machine that plans.
        """
        version = self.python.removesuffix("t")
        return {
            "platform_release": "",
            "platform_version": "",
            **self.target.environment,
            "python_version": version,
            "python_full_version": f"{version}.0",
            "implementation_name": "cpython",
            "implementation_version": f"{version}.0",
            "platform_python_implementation": "CPython",
        }

    def holds(self, marker: str, *, at: str) -> bool:
        """Whether a marker holds here. Raises ConfigError where it has no meaning, and where it is
        about something that the target does not say.
        """
        parsed, variables = _parse_marker(marker)
        for name in TARGET_SAYS:
            if name in variables and name not in self.environment:
                raise ConfigError(
                    f"the marker {marker!r} is about {name}, and the target "
                    f"{self.target.name!r} does not define it",
                    at=at,
                    hint=f"set it: [tool.polywheel.targets.{self.target.name}] "
                    f'environment = {{ {name} = "…" }}',
                )
        try:
            return parsed.evaluate(dict(self.environment))
        except ValueError as error:  # such as os_name ~= "posix"
            raise ConfigError(
                f"the marker {marker!r} can't be evaluated: {error}",
                at=at,
                hint="compare with ==, !=, in or not in",
            ) from None


@cache
def _parse_marker(marker: str) -> tuple[Marker, frozenset[str]]:
    """A marker, and the variables that it is about."""
    parsed = Marker(marker)
    names = (match[1] for match in _VARIABLES.finditer(str(parsed)))
    return parsed, frozenset(name for name in names if name)


def running_python() -> str:
    """The version of this interpreter, ``3.12`` or ``3.13t``."""
    free_threaded = "t" if "t" in getattr(sys, "abiflags", "") else ""
    return f"{sys.version_info.major}.{sys.version_info.minor}{free_threaded}"


@cache
def python_order(version: str) -> tuple[int, str]:
    """For sorting: 3.9 comes before 3.13, and 3.13 before 3.13t."""
    minor = version.partition(".")[2]
    return int(minor.removesuffix("t")), minor


_OVERRIDABLE = (
    *("runner", "image", "repair_command", "test_command", "memory_per_job", "job_timeout"),
)
"""What a project says in place of what polywheel knows."""
_SPELLINGS = {"amd64": "x86_64", "x64": "x86_64"}
_SYSTEMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}


@cache
def known_targets() -> Mapping[str, Target]:
    """The targets of ``matrix/targets.toml``, by name."""
    path = data_folder("matrix") / "targets.toml"
    problems = Problems()
    tables = Table(tomllib.loads(path.read_text(encoding="utf-8")), path.name, (), problems)
    found = {name: TARGET_TABLE.read_table(tables.table(name)) for name in tables.every_key()}
    problems.raise_all()
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
    """The targets of a matrix by name; one that nobody knows is noted, and one without effect.

    A matrix that names none is for this machine; what is declared may be meant for another one.
    """
    known = known_targets()
    names = {**known, **declared}
    for index, name in enumerate(matrix.targets):
        if name not in names:
            close = closest(name, names)
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
                hint=nearest(name, matrix.targets) or "add it to targets of the matrix",
            )
    return {
        name: _with_settings(known.get(name) or _nearest_target(name, declared), declared.get(name))
        for name in matrix.targets or (this_target(),)
    }


def _nearest_target(name: str, declared: Mapping[str, Target]) -> Target:
    """What a target with an unknown name probably is, so that its markers are no further errors."""
    close = closest(name, known_targets()) if name not in declared else None
    return replace(known_targets()[close], name=name) if close else _unknown(name)


def all_targets(declared: Mapping[str, Target]) -> dict[str, Target]:
    """Every target that a matrix may come to where it names none: it depends on the machine."""
    known = {**known_targets(), this_target(): known_targets().get(this_target())}
    return {
        name: _with_settings(one or _unknown(name), declared.get(name))
        for name, one in known.items()
    }


def _unknown(name: str) -> Target:
    """A target that polywheel knows nothing of, unless it is this machine."""
    if name != this_target():
        return Target(name=name)
    here = {key: value for key, value in local_marker_environment().items() if key in TARGET_SAYS}
    return Target(name=name, environment=here)


def _with_settings(target: Target, declared: Target | None) -> Target:
    """What polywheel knows, and what the project says in its place; "" says "none"."""
    if declared is None:
        return target
    said = {name: value for name in _OVERRIDABLE if (value := getattr(declared, name)) is not None}
    return replace(
        target,
        **said,
        platform_tags=declared.platform_tags or target.platform_tags,
        environment={**target.environment, **declared.environment},
        at=declared.at,
    )
