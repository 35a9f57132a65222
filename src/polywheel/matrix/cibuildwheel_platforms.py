"""The platforms, Pythons, and images of cibuildwheel, and the jobs that it can't build.

``matrix/cibuildwheel.toml`` has the lists of the pinned version, which generated workflows install.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from types import MappingProxyType
from typing import Any

from polywheel.data import data_folder
from polywheel.errors import ConfigError, Problem, closest
from polywheel.matrix.platforms import known_targets
from polywheel.model.matrix import WheelTests
from polywheel.model.plan import NON_VARIANT, Job

_PREFIXES = {
    "linux": "manylinux",
    "musllinux": "musllinux",
    "macos": "macosx",
    "windows": "win",
}
"""The start of the platform in build identifiers, by the system of a target."""
_WINDOWS = {"x86_64": "win_amd64", "x86": "win32", "i686": "win32"}
_SHORT_IMAGE = re.compile(r"(?:many|musl)linux[A-Za-z0-9_]*")
"""A name that cibuildwheel replaces by a pinned image, if it knows the name."""
_PYTHONS = "tool.polywheel.matrix.python"


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPlatform:
    """A platform of cibuildwheel."""

    platform: str
    """The value for ``--platform``."""

    arch: str
    """The value for ``--archs``."""

    suffix: str
    """The end of build identifiers: ``manylinux_x86_64``."""

    pythons: tuple[str, ...] = ()
    """The versions of CPython that are built without an option."""

    images: tuple[str, ...] = ()
    """The short names of its images."""

    default_image: str | None = None
    """The image of polywheel's target, in place of which cibuildwheel uses its own by default."""

    @property
    def in_container(self) -> bool:
        """Whether builds run in a container."""
        return self.platform == "linux"

    @property
    def image_option(self) -> str:
        """The option that selects the image."""
        return f"{self.suffix.replace('_', '-', 1)}-image"

    def identifier(self, python: str) -> str:
        """Return the build identifier of a Python."""
        return f"cp{python.replace('.', '')}-{self.suffix}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinned:
    """The content of ``matrix/cibuildwheel.toml``."""

    version: str
    platforms: Mapping[str, BuildPlatform]
    """By the suffix of build identifiers."""


@cache
def read_pinned() -> Pinned:
    """Read ``matrix/cibuildwheel.toml``."""
    path = data_folder("matrix") / "cibuildwheel.toml"
    document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    return Pinned(
        version=document.pop("version"),
        platforms={
            suffix: BuildPlatform(
                platform=table["platform"],
                arch=table["arch"],
                suffix=suffix,
                pythons=tuple(table["pythons"]),
                images=tuple(table.get("images", ())),
            )
            for suffix, table in document.items()
        },
    )


def build_platform(platform: str) -> BuildPlatform | None:
    """Return the platform of cibuildwheel for a SYSTEM-MACHINE; None if it has none."""
    system, _, machine = platform.partition("-")
    suffix = f"{_PREFIXES.get(system)}_{machine}"
    if system == "windows":
        suffix = _WINDOWS.get(machine, suffix)
    found = read_pinned().platforms.get(suffix)
    known = known_targets().get(platform)
    if found is None or known is None:
        return found
    return replace(found, default_image=known.settings.image)


def require_platform(name: str, *, at: str | None = None, hint: str | None = None) -> BuildPlatform:
    """Like :func:`build_platform`. Raises ConfigError if cibuildwheel does not support it."""
    platform = build_platform(name)
    if platform is None:
        raise ConfigError(f"cibuildwheel does not support the platform {name!r}", at=at, hint=hint)
    return platform


def skips_test(settings: WheelTests, job: Job, identifier: str | None) -> bool:
    """Whether ``test-skip`` selects a wheel, by its label, its job, or cibuildwheel's identifier of its build."""
    names = (job.label or NON_VARIANT, job.id, identifier or "")
    return any(fnmatchcase(name, glob) for glob in settings.test_skip or () for name in names)


def serves(here: str, name: str) -> bool:
    """Return whether cibuildwheel builds wheels for a platform on the machine ``here``.

    macOS builds for both of its architectures, Linux for both C libraries.
    """
    ours, other = build_platform(here), build_platform(name)
    if ours is None or other is None or ours.platform != other.platform:
        return False
    return ours.arch == other.arch or other.platform == "macos"


def check_jobs(
    jobs: Iterable[Job],
    platform: BuildPlatform,
    *,
    version: str | None = None,
    python_at: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Problem]:
    """Yield the problems of jobs that cibuildwheel does not build on a platform.

    ``version`` is that of cibuildwheel; None means the pinned one. ``python_at`` has the locations
    of the Pythons in the matrix, as far as they are known.
    """
    version = version or read_pinned().version
    for job in jobs:
        if job.id.startswith("any-"):
            yield Problem(
                f"cibuildwheel does not build {job.id}, because its wheel is for any platform",
                at=job.at,
                hint="build it with polywheel build, or in CI with polywheel ci github; if its wheel "
                'has compiled code, set wheel-tag = "python" in [tool.polywheel.matrix]',
            )
            continue
        for python in job.building_pythons:
            if python not in platform.pythons:
                yield Problem(
                    f"cibuildwheel {version} does not build Python {python} for {platform.suffix}",
                    at=python_at.get(python, _PYTHONS),
                    hint=f"it builds {', '.join(platform.pythons)}; remove {python} from the matrix, or "
                    "exclude it: [[tool.polywheel.matrix.exclude]] "
                    f'python = "{python}", target = "{job.target}"',
                )


def check_skip(
    jobs: Iterable[Job], platform: BuildPlatform, tables: Mapping[str, Any], *, at: str
) -> Iterator[Problem]:
    """Yield the problems of jobs that ``skip`` of ``[tool.cibuildwheel]`` leaves out.

    Patterns with braces are not evaluated: the generated workflow asks cibuildwheel itself.
    """
    skip = tables.get("skip")
    texts = [text for text in (skip if isinstance(skip, list) else [skip]) if isinstance(text, str)]
    patterns = [pattern for text in texts for pattern in text.split()]
    for identifier in dict.fromkeys(
        platform.identifier(p) for job in jobs for p in job.building_pythons
    ):
        for pattern in patterns:
            if fnmatchcase(identifier, pattern):
                yield Problem(
                    f"the matrix has jobs for {identifier}, and {pattern!r} skips them",
                    at=at,
                    hint="remove the pattern, or exclude these jobs in [tool.polywheel.matrix]",
                )


def check_image(image: str | None, platform: BuildPlatform, *, at: str) -> Iterator[Problem]:
    """Yield the problem of an image that looks like a short name, and is none of cibuildwheel."""
    if not image or not platform.in_container or image in platform.images:
        return
    if _SHORT_IMAGE.fullmatch(image):
        close = closest(image, platform.images)
        yield Problem(
            f"cibuildwheel {read_pinned().version} has no image {image!r} for {platform.suffix}",
            at=at,
            hint=(f"did you mean {close!r}? " if close else "")
            + f"its images are {', '.join(platform.images)}; any other image needs its full name, "
            "such as quay.io/pypa/…",
        )
