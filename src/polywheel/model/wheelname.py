"""The filename of a wheel, with or without a variant label (PEP 825, "Variant label")."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from polywheel.errors import WheelError
from polywheel.model.variant import LABEL

if TYPE_CHECKING:
    from packaging.version import Version

# A component has no separator of names or paths, no control character, and nothing that can't be printed
# (surrogates, which stand for bytes of a name that is not UTF-8).
_COMPONENT = re.compile(r"[^\s/\\:*?\"<>|\x00-\x1f\x7f-\x9f\ud800-\udfff-]+")
_EXPECTED = "{name}-{version}(-{build})-{python}-{abi}-{platform}(-{label}).whl"


Release = tuple[str, "Version | str"]
"""Project and version, normalized."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelName:
    """The components of a filename, unchanged."""

    distribution: str
    version: str
    build: str | None = None
    python: str
    abi: str
    platform: str
    label: str | None = None

    @classmethod
    def parse(cls, filename: str) -> WheelName:
        """Parse a filename. Raises WheelError.

        A build tag starts with a digit, and a Python tag does not. This distinguishes the two forms with six
        components.
        """

        def malformed(why: str) -> WheelError:
            return WheelError(
                f"{filename!r} is not the name of a wheel: {why}", hint=f"expected {_EXPECTED}"
            )

        if not filename.endswith(".whl"):
            raise malformed("it does not end with .whl")
        parts = filename.removesuffix(".whl").split("-")
        build = parts.pop(2) if len(parts) > 5 and parts[2][:1].isdigit() else None
        label = parts.pop() if len(parts) == 6 else None
        if len(parts) != 5:
            raise malformed("it has too few or too many components")
        every = (*parts, build or "0")
        if not (all(every) and _COMPONENT.fullmatch("".join(every))):
            wrong = next(part for part in every if not _COMPONENT.fullmatch(part))
            raise malformed(f"{wrong!r} can't be a component")
        if parts[2][:1].isdigit():
            raise malformed(f"the Python tag {parts[2]!r} starts with a digit")
        if label is not None and not LABEL.fullmatch(label):
            raise malformed(f"the variant label {label!r} may contain only a-z, 0-9, _ and .")
        distribution, version, python, abi, platform = parts
        return cls(
            distribution=distribution,
            version=version,
            build=build,
            python=python,
            abi=abi,
            platform=platform,
            label=label,
        )

    @property
    def release(self) -> Release:
        """The release of the wheel: equal for ``Demo-1.0.0`` and ``demo-1.0`` (PEP 427, 440).

        A version that is not valid by PEP 440 is kept, in lower case.
        """
        # The import takes long, and few callers compare releases.
        from packaging.utils import canonicalize_name

        version = next(iter(_versions(self.version)), self.version.lower())
        return canonicalize_name(self.distribution), version

    def with_label(self, label: str | None) -> str:
        """Return the filename with another label, or without one."""
        return str(replace(self, label=label))

    def __str__(self) -> str:
        parts = (
            *(self.distribution, self.version, self.build),
            *(self.python, self.abi, self.platform, self.label),
        )
        return "-".join(part for part in parts if part is not None) + ".whl"


def same_version(first: str, second: str) -> bool:
    """Whether two texts are spellings of one version."""
    return first == second or not _readings(first).isdisjoint(_readings(second))


def is_build_of(version: str, declared: str) -> bool:
    """Whether a version is the declared one, possibly with a pre, post, dev, or local part added.

    Backends add such a part to the version of pyproject.toml: setuptools with ``tag_build``, poetry-core
    with the config setting ``local-version``.
    """
    return same_version(version, declared) or any(
        _extends(reading, base) for reading in _versions(version) for base in _versions(declared)
    )


def _extends(version: Version, base: Version) -> bool:
    """Whether a version has all parts of ``base``."""
    from packaging.version import Version

    parts = (
        (version.pre, base.pre),
        (version.post, base.post),
        (version.dev, base.dev),
        (version.local, base.local),
    )
    same_release = Version(version.base_version) == Version(base.base_version)
    return same_release and all(base_part in (part, None) for part, base_part in parts)


def _readings(text: str) -> set[Version | str]:
    return {re.sub(r"[^a-z0-9.]+", "_", text.lower()), *_versions(text)}


def _versions(text: str) -> list[Version]:
    """Return the possible versions of a text. Older tools wrote ``_`` for ``-`` and ``+`` in filenames."""
    from packaging.version import Version

    versions = []
    for spelling in (text, text.replace("_", "-"), text.replace("_", "+", 1)):
        with suppress(ValueError):  # InvalidVersion, or a number that is too long for an int
            versions.append(Version(spelling))
    return versions
