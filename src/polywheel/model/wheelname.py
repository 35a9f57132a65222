"""The filename of a wheel, with or without a variant label (PEP 825, "Variant label")."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from polywheel.errors import WheelError
from polywheel.model.variant import LABEL

if TYPE_CHECKING:
    from packaging.version import Version

# What a component may hold: no separator of names or paths, nothing that a terminal would act on,
# nothing that can't be printed (the surrogates that stand for bytes of a name that is not UTF-8).
_COMPONENT = re.compile(r"[^\s/\\:*?\"<>|\x00-\x1f\x7f-\x9f\ud800-\udfff-]+")
_EXPECTED = "{name}-{version}(-{build})-{python}-{abi}-{platform}(-{label}).whl"


Release = tuple[str, "Version | str"]
"""Project and version, normalized."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelName:
    """The components as they stand in the filename; ``build`` and ``label`` may be absent."""

    distribution: str
    version: str
    build: str | None = None
    python: str
    abi: str
    platform: str
    label: str | None = None

    @classmethod
    def parse(cls, filename: str) -> WheelName:
        """Read a filename; raises WheelError.

        A build tag starts with a digit and a Python tag does not: that tells the two forms with
        six components apart.
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

        return canonicalize_name(self.distribution), _version(self.version)

    def with_label(self, label: str | None) -> str:
        """Return the filename with another label, or without one."""
        return str(replace(self, label=label))

    def __str__(self) -> str:
        parts = (
            *(self.distribution, self.version, self.build),
            *(self.python, self.abi, self.platform, self.label),
        )
        return "-".join(part for part in parts if part is not None) + ".whl"


def _version(text: str) -> Version | str:
    """A version in a filename, where older tools wrote ``_`` for ``-`` and ``+``."""
    from packaging.version import Version

    for spelling in (text, text.replace("_", "-"), text.replace("_", "+", 1)):
        try:
            return Version(spelling)
        except ValueError:  # InvalidVersion, or a number that is too long for an int
            continue
    return text.lower()
