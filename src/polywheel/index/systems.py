"""A machine, as far as it decides which wheel it gets: its tags, its Python, what it supports.

Either the one that polywheel runs on, or one that a TOML file describes (docs/systems.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from sysconfig import get_config_var
from typing import Any

from packaging.markers import default_environment
from packaging.tags import Tag
from packaging.utils import canonicalize_name
from packaging.version import Version

from polywheel.config.reader import Problems, Table, toml_document
from polywheel.errors import ConfigError
from polywheel.formats.ordering import Supported
from polywheel.index.platforms import environment_of, tags_here, tags_of
from polywheel.model.properties import ABI_DEPENDENCY, FEATURE, NAMESPACE, VALUE

_PYTHON = re.compile(r"(3)\.(0|[1-9][0-9]{0,2})(\.[0-9]{1,3})?(t?)")
_PLATFORM = re.compile(r"[a-z0-9_]+")
_MAX_SIZE = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """One machine with one Python."""

    name: str
    at: str | None
    """The file that describes it; None for the machine that this runs on."""

    python: Version
    tags: Mapping[Tag, int]
    """The platform compatibility tags that it takes, each with its place, best first."""

    environment: Mapping[str, str]
    """What markers are about (PEP 508)."""

    supported: Supported = field(default_factory=dict)
    """Described: all that it supports of namespaces whose provider has to be asked."""

    enabled: frozenset[str] = frozenset()
    """The namespaces whose provider is optional, and wanted all the same."""

    packages: Mapping[str, Version] = field(default_factory=dict)
    """What is installed, as the features of ``abi_dependency`` spell it."""

    @property
    def described(self) -> bool:
        return self.at is not None


def this_machine(*, enabled: Iterable[str] = ()) -> System:
    """The machine and the Python that this runs on; what it supports is for plugins to say."""
    environment = {key: str(value) for key, value in default_environment().items()}
    return System(
        name="this machine",
        at=None,
        python=Version(environment["python_full_version"].rstrip("+")),
        tags=tags_here(),
        environment=environment,
        enabled=frozenset(enabled),
        packages=_installed(),
    )


def read_system(path: Path) -> System:
    """The system that a TOML file describes. Raises ConfigError with everything that is wrong.

    What it does not say of Python and platform is that of this machine.
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
        tags=tags_of(python, platform, free_threaded=free_threaded)
        if "python" in root or platform is not None
        else tags_here(),
        environment=environment_of(python, platform),
        supported=_supported(root.table("supported")),
        enabled=frozenset(root.names("enabled", NAMESPACE)),
        packages=_packages(root.table("packages")) if "packages" in root else _installed(),
    )
    root.finish()
    problems.settle()
    return system


def read_systems(folder: Path) -> list[System]:
    """What every ``*.toml`` of a folder describes, by filename. Raises ConfigError."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".toml")
    except OSError as error:
        raise ConfigError(
            f"{folder} can't be listed: {error.strerror or error}",
            hint="name a folder of descriptions, one *.toml a machine",
        ) from None
    if not paths:
        raise ConfigError(
            f"{folder} holds no *.toml", hint="describe each machine in a file of its own"
        )
    problems = Problems()
    systems = [problems.attempt(read_system, path) for path in paths]
    problems.settle()
    found = [system for system in systems if system is not None]
    by_name: dict[str, str] = {}
    for system in found:
        if system.name in by_name:
            problems.add(
                f"the name {system.name!r} is that of {by_name[system.name]} too",
                at=f"{Path(system.at or '').name}: name",
            )
        by_name[system.name] = Path(system.at or "").name
    problems.settle()
    return found


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_SIZE + 1)
    except OSError as error:
        raise ConfigError(
            f"{path} can't be read: {error.strerror or error}",
            hint="docs/systems.md has an example",
        ) from None
    if len(content) > _MAX_SIZE:
        raise ConfigError(f"{path.name} has more than {_MAX_SIZE} bytes", at=str(path))
    return toml_document(content, str(path))


def _python(root: Table) -> tuple[Version, bool]:
    """The version, and whether that Python has no global lock."""
    text = root.string("python")
    if text is not None:
        found = _PYTHON.fullmatch(text)
        if found is not None:
            return Version(f"{found[1]}.{found[2]}{found[3] or '.0'}"), bool(found[4])
        root.wrong("python", f"{text!r} is no version of Python", "for example 3.12, 3.12.4, 3.13t")
    here = Version(default_environment()["python_full_version"].rstrip("+"))
    return here, bool(get_config_var("Py_GIL_DISABLED"))


def _supported(table: Table) -> dict[str, dict[str, tuple[str, ...]]]:
    found = {}
    for namespace in table.names_of_tables(NAMESPACE):
        if namespace == ABI_DEPENDENCY:
            table.wrong(
                namespace,
                f"{namespace} goes by what is installed",
                'write it under [packages]: torch = "2.9.1"',
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
                "list every feature once, or leave the order out: it is that of the keys then",
            )
        found[namespace] = {feature: values.get(feature, ()) for feature in order or values}
    return found


def _packages(table: Table) -> dict[str, Version]:
    found = {}
    for name in table.every_key():
        text = table.string(name)
        try:
            found[_feature(name)] = Version(text or "")
        except ValueError:  # InvalidVersion, or a number of more digits than Python reads
            if text is not None:
                table.wrong(name, f"{text!r} is no version (PEP 440)")
    return found


def _installed() -> dict[str, Version]:
    """The distributions beside this interpreter; the first of a name is the one that is imported."""
    found: dict[str, Version] = {}
    for distribution in distributions():
        metadata = distribution.metadata
        name, version = metadata["Name"], metadata["Version"]
        try:
            found.setdefault(_feature(name or ""), Version(version or ""))
        except ValueError:  # as above
            continue
    return found


def _feature(name: str) -> str:
    """A package as a feature of ``abi_dependency``, in which ``-`` can't stand."""
    return canonicalize_name(name).replace("-", "_")
