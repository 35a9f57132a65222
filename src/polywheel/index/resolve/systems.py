"""A machine with a Python: its tags, markers, and supported properties decide which wheel fits.

It is the current machine, or a machine that a TOML file describes (docs/systems.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import distributions
from itertools import chain, groupby
from pathlib import Path
from sysconfig import get_config_var
from typing import Any

from packaging.tags import (
    Tag,
    compatible_tags,
    cpython_tags,
    mac_platforms,
    platform_tags,
    sys_tags,
)
from packaging.utils import canonicalize_name
from packaging.version import Version

from polywheel.config.reader import Problems, Table, local_marker_environment, toml_document
from polywheel.errors import ConfigError, os_error_as
from polywheel.formats.variant_order import SupportedValues
from polywheel.index.wheel_file import list_folder
from polywheel.model.variant import ABI_DEPENDENCY, FEATURE, NAMESPACE, VALUE

_GLIBC = re.compile(r"manylinux_2_([0-9]{1,2})_([a-z0-9_]+)")
_MUSL = re.compile(r"musllinux_1_([0-9]{1,2})_([a-z0-9_]+)")
_MACOS = re.compile(r"macosx_([0-9]{1,2})_([0-9]{1,2})_(x86_64|arm64)")
_LEGACY_GLIBC = re.compile(r"(manylinux[0-9]{1,4})_([a-z0-9_]+)")
_LEGACY_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""The names of manylinux_2_17, manylinux_2_12, and manylinux_2_5 before PEP 600."""
_OLDEST_GLIBC = {"x86_64": 5, "i686": 5}
_OLDEST_GLIBC_ELSEWHERE = 17
"""The oldest glibc of manylinux on other architectures (PEP 571, PEP 599)."""
_SYSTEMS = (
    ("win", "nt", "win32", "Windows"),
    ("macosx_", "posix", "darwin", "Darwin"),
    ("manylinux", "posix", "linux", "Linux"),
    ("musllinux_", "posix", "linux", "Linux"),
    ("linux_", "posix", "linux", "Linux"),
)
"""The prefix of the platform tags of a system, and its ``os_name``, ``sys_platform``, and
``platform_system``.
"""
_WINDOWS_MACHINES = {"win32": "x86", "amd64": "AMD64", "arm64": "ARM64"}


def current_tags() -> Mapping[Tag, int]:
    """Return the tags of this Python on this machine with their rank, best first."""
    return _tag_ranks(sys_tags())


def supported_tags(
    python: Version, platform: str | None, *, free_threaded: bool
) -> Mapping[Tag, int]:
    """Return the tags of a CPython on ``platform``, a platform tag; None means this machine."""
    platforms = list(platform_tags() if platform is None else _platforms(platform))
    release = python.major, python.minor
    interpreter = f"cp{python.major}{python.minor}"
    abi = f"{interpreter}t" if free_threaded else interpreter
    specific = cpython_tags(release, [abi], platforms)
    return _tag_ranks(chain(specific, compatible_tags(release, interpreter, platforms)))


def _tag_ranks(tags: Iterable[Tag]) -> dict[Tag, int]:
    """Return the ranks of tags, with ``linux_*`` behind other tags of the same Python and ABI.

    uv does this. `packaging` 26.4, and with it pip, puts a wheel that was built on this very
    machine first.
    """
    ordered: dict[Tag, None] = {}
    for _, group in groupby(tags, key=lambda tag: (tag.interpreter, tag.abi)):
        by_platform = sorted(group, key=lambda tag: tag.platform.startswith("linux_"))
        ordered |= dict.fromkeys(by_platform)
    return {tag: rank for rank, tag in enumerate(ordered)}


def _platforms(platform: str) -> Iterator[str]:
    """Yield a platform tag and the older compatible ones, best first."""
    if (match := _LEGACY_GLIBC.fullmatch(platform)) and match[1] in _LEGACY_NAMES.values():
        minor = next(minor for minor, name in _LEGACY_NAMES.items() if name == match[1])
        platform = f"manylinux_2_{minor}_{match[2]}"
    if match := _MACOS.fullmatch(platform):
        yield from mac_platforms((int(match[1]), int(match[2])), match[3])
    elif match := _GLIBC.fullmatch(platform):
        oldest = _OLDEST_GLIBC.get(match[2], _OLDEST_GLIBC_ELSEWHERE)
        for minor in range(int(match[1]), oldest - 1, -1):
            yield f"manylinux_2_{minor}_{match[2]}"
            if minor in _LEGACY_NAMES:
                yield f"{_LEGACY_NAMES[minor]}_{match[2]}"
        yield f"linux_{match[2]}"
    elif match := _MUSL.fullmatch(platform):
        for minor in range(int(match[1]), -1, -1):
            yield f"musllinux_1_{minor}_{match[2]}"
        yield f"linux_{match[2]}"
    else:
        yield platform


def marker_environment(python: Version, platform: str | None) -> Mapping[str, str]:
    """Return the marker variables (PEP 508) for a Python version and a platform tag.

    Variables that do not follow from them are those of this machine.
    """
    environment = local_marker_environment(str(python))
    for start, os_name, sys_platform, system in _SYSTEMS:
        if platform is not None and platform.startswith(start):
            machine = re.sub(r"^[a-z]+([0-9]+_|(_[0-9]+){1,2}_|_)", "", platform)
            if start == "win":
                machine = _WINDOWS_MACHINES.get(machine, machine)
            environment |= {
                "os_name": os_name,
                "sys_platform": sys_platform,
                "platform_system": system,
                "platform_machine": machine,
                "platform_release": "",
                "platform_version": "",
            }
    return environment


def tag_mismatch(python: str, abi: str, platform: str, tags: Mapping[Tag, int]) -> str:
    """Return why a wheel with these tags, none of which fits, does not fit."""
    best = next(iter(tags))
    for part, tag, supported in (
        ("platform", platform, {tag.platform for tag in tags}),
        ("Python", python, {tag.interpreter for tag in tags}),
        ("ABI", abi, {tag.abi for tag in tags}),
    ):
        if supported.isdisjoint(tag.lower().split(".")):
            return f"its {part} {tag} does not fit {best}"
    return f"its tags {python}-{abi}-{platform} do not fit {best}"


_PYTHON = re.compile(r"(3)\.(0|[1-9][0-9]{0,2})(\.[0-9]{1,3})?(t?)")
_PLATFORM = re.compile(r"[a-z0-9_]+")
_MAX_SIZE = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """A machine with a Python."""

    name: str
    at: str | None
    """The file that describes the machine; None for this machine."""

    python: Version
    tags: Mapping[Tag, int]
    """The supported platform compatibility tags with their rank, best first."""

    environment: Mapping[str, str]
    """The variables of environment markers (PEP 508)."""

    supported: SupportedValues = field(default_factory=dict)
    """The supported properties of a described machine, for namespaces whose plugin would have to
    run.
    """

    enabled: frozenset[str] = frozenset()
    """Namespaces whose optional provider is enabled."""

    packages: Mapping[str, Version] = field(default_factory=dict)
    """Installed packages, in the spelling of features of ``abi_dependency``."""

    @property
    def described(self) -> bool:
        return self.at is not None


def this_machine(*, enabled: Iterable[str] = ()) -> System:
    """Return this machine with this Python. Plugins determine what it supports."""
    environment = local_marker_environment()
    return System(
        name="this machine",
        at=None,
        python=Version(environment["python_full_version"].rstrip("+")),
        tags=current_tags(),
        environment=environment,
        enabled=frozenset(enabled),
        packages=_installed_packages(),
    )


def read_system(path: Path) -> System:
    """Read the description of a system. Raises ConfigError with all problems.

    Python and platform are those of this machine if the file does not set them.
    """
    problems = Problems()
    root = Table(_load(path), path.name, (), problems)
    name = root.string("name")
    python, free_threaded = _python(root)
    platform = root.string("platform")
    if platform is not None and not _PLATFORM.fullmatch(platform):
        root.wrong(
            "platform",
            f"malformed platform tag {platform!r}",
            "for example manylinux_2_28_x86_64, macosx_14_0_arm64, win_amd64",
        )
        platform = None
    system = System(
        name=name or path.stem,
        at=str(path),
        python=python,
        tags=supported_tags(python, platform, free_threaded=free_threaded)
        if "python" in root or platform is not None
        else current_tags(),
        environment=marker_environment(python, platform),
        supported=_supported(root.table("supported")),
        enabled=frozenset(root.names("enabled", NAMESPACE)),
        packages=_packages(root.table("packages")) if "packages" in root else _installed_packages(),
    )
    root.finish()
    problems.raise_all()
    return system


def read_systems(folder: Path) -> list[System]:
    """Read every ``*.toml`` of a folder, sorted by filename. Raises ConfigError."""
    names = list_folder(folder, hint="pass a folder with one *.toml for each machine")
    paths = [folder / name for name in names if Path(name).suffix == ".toml"]
    if not paths:
        raise ConfigError(
            f"{folder} contains no *.toml", hint="describe each machine in its own file"
        )
    problems = Problems()
    systems: list[System] = []
    files: dict[str, Path] = {}
    for path in paths:
        system = problems.attempt(read_system, path)
        if system is None:
            continue
        systems.append(system)
        first = files.setdefault(system.name, path)
        if first != path:
            problems.add(
                f"the name {system.name!r} is also used in {first.name}", at=f"{path.name}: name"
            )
    problems.raise_all()
    return systems


def _load(path: Path) -> dict[str, Any]:
    hint = "docs/systems.md has an example"
    with os_error_as(ConfigError, f"{path} can't be read", hint=hint), path.open("rb") as file:
        content = file.read(_MAX_SIZE + 1)
    if len(content) > _MAX_SIZE:
        raise ConfigError(f"{path.name} has more than {_MAX_SIZE} bytes", at=str(path))
    return toml_document(content, str(path))


def _python(root: Table) -> tuple[Version, bool]:
    """Return the version of Python, and whether it is free-threaded."""
    text = root.string("python")
    if text is not None:
        match = _PYTHON.fullmatch(text)
        if match is not None:
            return Version(f"{match[1]}.{match[2]}{match[3] or '.0'}"), bool(match[4])
        root.wrong("python", f"{text!r} is not a Python version", "for example 3.12, 3.12.4, 3.13t")
    current = Version(local_marker_environment()["python_full_version"].rstrip("+"))
    return current, bool(get_config_var("Py_GIL_DISABLED"))


def _supported(table: Table) -> dict[str, dict[str, tuple[str, ...]]]:
    supported = {}
    for namespace in table.names_of_tables(NAMESPACE):
        if namespace == ABI_DEPENDENCY:
            table.wrong(
                namespace,
                f"{namespace} depends on installed packages",
                'list them in [packages]: torch = "2.9.1"',
            )
        features = table.table(namespace)
        order = features.names("feature-order", FEATURE)
        values = {
            feature: features.names(feature, VALUE)
            for feature in features.data
            if feature != "feature-order" and FEATURE.fullmatch(feature)
        }
        features.finish()
        if order and set(order) != set(values):
            features.wrong(
                "feature-order",
                f"feature-order lists {', '.join(order)}; there are {', '.join(values) or 'none'}",
                "list every feature once, or omit feature-order to use the order of the keys",
            )
        supported[namespace] = {feature: values.get(feature, ()) for feature in order or values}
    return supported


def _packages(table: Table) -> dict[str, Version]:
    packages = {}
    for name in table.every_key():
        text = table.string(name)
        try:
            packages[_feature_name(name)] = Version(text or "")
        except ValueError:  # InvalidVersion, or a number of more digits than Python reads
            if text is not None:
                table.wrong(name, f"{text!r} is not a version (PEP 440)")
    return packages


def _installed_packages() -> dict[str, Version]:
    """Return the installed packages of this Python. The first of each name is the one that is
    imported.
    """
    packages: dict[str, Version] = {}
    for distribution in distributions():
        metadata = distribution.metadata
        name, version = metadata["Name"], metadata["Version"]
        try:
            packages.setdefault(_feature_name(name or ""), Version(version or ""))
        except ValueError:  # as above
            continue
    return packages


def _feature_name(name: str) -> str:
    """Return a package name as a feature of ``abi_dependency``, which can't contain ``-``."""
    return canonicalize_name(name).replace("-", "_")
