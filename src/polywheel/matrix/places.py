"""Where a cell builds: a Python on a target, and what the marker variables are there."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property

from packaging.markers import Marker, default_environment

from polywheel.errors import ConfigError
from polywheel.model.matrix import Target


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
        """The marker variables (PEP 508): of CPython, the final release of its version."""
        version = self.python.removesuffix("t")
        return {
            **{name: str(value) for name, value in default_environment().items()},
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
        """Whether a marker holds here. Raises ConfigError where it has no meaning."""
        try:
            return Marker(marker).evaluate(dict(self.environment))
        except ValueError as error:  # such as os_name ~= "posix", or a variable that is not there
            raise ConfigError(f"the marker {marker!r} can't be evaluated: {error}", at=at) from None


def running_python() -> str:
    """The version of this interpreter, ``3.12`` or ``3.13t``."""
    free_threaded = "t" if "t" in getattr(sys, "abiflags", "") else ""
    return f"{sys.version_info.major}.{sys.version_info.minor}{free_threaded}"


@cache
def python_order(version: str) -> tuple[int, str]:
    """For sorting: 3.9 comes before 3.13, and 3.13 before 3.13t."""
    minor = version.partition(".")[2]
    return int(minor.removesuffix("t")), minor
