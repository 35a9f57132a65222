"""Where a cell builds: a Python on a target, and what the marker variables are there."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property

from packaging.markers import Marker

from polywheel.errors import ConfigError
from polywheel.model.matrix import Target

TARGET_SAYS = ("os_name", "sys_platform", "platform_machine", "platform_system")
"""Marker variables that only the target knows; there is no telling them from its name."""

_VARIABLES = re.compile(r"\"[^\"]*\"|'[^']*'|([a-z_]+)")


@dataclass(frozen=True, eq=False)
class Place:
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
        parsed, variables = _parsed(marker)
        for name in TARGET_SAYS:
            if name in variables and name not in self.environment:
                raise ConfigError(
                    f"the marker {marker!r} is about {name}, and the target "
                    f"{self.target.name!r} does not say what that is",
                    at=at,
                    hint=f"say it: [tool.polywheel.targets.{self.target.name}] "
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
def _parsed(marker: str) -> tuple[Marker, frozenset[str]]:
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
