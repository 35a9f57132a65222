"""The platform compatibility tags and the markers of a machine that may be another one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from packaging.markers import default_environment
from packaging.tags import (
    Tag,
    compatible_tags,
    cpython_tags,
    mac_platforms,
    platform_tags,
    sys_tags,
)
from packaging.version import Version

_GLIBC = re.compile(r"manylinux_2_([0-9]{1,2})_([a-z0-9_]+)")
_MUSL = re.compile(r"musllinux_1_([0-9]{1,2})_([a-z0-9_]+)")
_MACOS = re.compile(r"macosx_([0-9]{1,2})_([0-9]{1,2})_(x86_64|arm64)")
_OLDER = re.compile(r"(manylinux[0-9]{1,4})_([a-z0-9_]+)")
_OLDER_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""What manylinux_2_17 and its like were called before PEP 600."""
_OLDEST_GLIBC = {"x86_64": 5, "i686": 5}
_OLDEST_GLIBC_ELSEWHERE = 17
"""Where manylinux begins on an architecture (PEP 571, PEP 599)."""
_SYSTEMS = (
    ("win", "nt", "win32", "Windows"),
    ("macosx_", "posix", "darwin", "Darwin"),
    ("manylinux", "posix", "linux", "Linux"),
    ("musllinux_", "posix", "linux", "Linux"),
    ("linux_", "posix", "linux", "Linux"),
)
"""How the platform tags of a system begin, and its ``os_name``, ``sys_platform``, ``platform_system``."""


def tags_here() -> Mapping[Tag, int]:
    """The tags of this Python on this machine, each with its place, best first."""
    return _places(_plain_linux_last(sys_tags()))


def _plain_linux_last(tags: Iterable[Tag]) -> Iterator[Tag]:
    """Tags, those of ``linux_*`` behind the manylinux and musllinux ones of a Python and ABI.

    So uv has it. `packaging` 26.4, and pip with it, puts a wheel that was built on this very
    machine first.
    """
    for _, group in groupby(tags, key=lambda tag: (tag.interpreter, tag.abi)):
        yield from sorted(group, key=lambda tag: tag.platform.startswith("linux_"))


def tags_of(python: Version, platform: str | None, *, free_threaded: bool) -> Mapping[Tag, int]:
    """The tags of a CPython on ``platform``, a platform tag; None is this machine."""
    platforms = list(platform_tags() if platform is None else _platforms(platform))
    release = python.major, python.minor
    interpreter = f"cp{python.major}{python.minor}"
    abi = f"{interpreter}t" if free_threaded else interpreter
    specific = cpython_tags(release, [abi], platforms)
    return _places(
        _plain_linux_last([*specific, *compatible_tags(release, interpreter, platforms)])
    )


def _places(tags: Iterable[Tag]) -> dict[Tag, int]:
    return {tag: place for place, tag in enumerate(dict.fromkeys(tags))}


def _platforms(platform: str) -> Iterator[str]:
    """A platform tag and the older ones that fit where it does, best first."""
    if (found := _OLDER.fullmatch(platform)) and found[1] in _OLDER_NAMES.values():
        minor = next(minor for minor, name in _OLDER_NAMES.items() if name == found[1])
        platform = f"manylinux_2_{minor}_{found[2]}"
    if found := _MACOS.fullmatch(platform):
        yield from mac_platforms((int(found[1]), int(found[2])), found[3])
    elif found := _GLIBC.fullmatch(platform):
        oldest = _OLDEST_GLIBC.get(found[2], _OLDEST_GLIBC_ELSEWHERE)
        for minor in range(int(found[1]), oldest - 1, -1):
            yield f"manylinux_2_{minor}_{found[2]}"
            if minor in _OLDER_NAMES:
                yield f"{_OLDER_NAMES[minor]}_{found[2]}"
        yield f"linux_{found[2]}"
    elif found := _MUSL.fullmatch(platform):
        for minor in range(int(found[1]), -1, -1):
            yield f"musllinux_1_{minor}_{found[2]}"
        yield f"linux_{found[2]}"
    else:
        yield platform


def environment_of(python: Version, platform: str | None) -> Mapping[str, str]:
    """The marker variables (PEP 508), those that follow from Python and platform tag set to them."""
    environment = {key: str(value) for key, value in default_environment().items()}
    environment |= {
        "python_version": f"{python.major}.{python.minor}",
        "python_full_version": str(python),
        "implementation_version": str(python),
    }
    for start, os_name, sys_platform, system in _SYSTEMS:
        if platform is not None and platform.startswith(start):
            machine = re.sub(r"^[a-z]+([0-9]+_|(_[0-9]+){1,2}_|_)", "", platform)
            environment |= {
                "os_name": os_name,
                "sys_platform": sys_platform,
                "platform_system": system,
                "platform_machine": _machine(platform, machine),
                "platform_release": "",
                "platform_version": "",
            }
    return environment


def _machine(platform: str, machine: str) -> str:
    """``platform_machine`` as Windows spells it, or another system."""
    if platform.startswith("win"):
        return {"win32": "x86", "amd64": "AMD64", "arm64": "ARM64"}.get(machine, machine)
    return machine


def misfit(python: str, abi: str, platform: str, tags: Mapping[Tag, int]) -> str:
    """Why a wheel with these parts of a filename, of which none fits, does not."""
    best = next(iter(tags))
    for part, had, taken in (
        ("platform", platform, {tag.platform for tag in tags}),
        ("Python", python, {tag.interpreter for tag in tags}),
        ("ABI", abi, {tag.abi for tag in tags}),
    ):
        if taken.isdisjoint(had.lower().split(".")):
            return f"its {part} {had} does not fit {best}"
    return f"its tags {python}-{abi}-{platform} do not fit {best}"
