"""Which requirements are installed beside the running interpreter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from json import loads
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from polywheel.config.reader import parse_requirement


@dataclass(frozen=True, slots=True)
class MissingRequirement:
    """A requirement that is not installed."""

    text: str
    other_version: str | None = None
    """The installed version, if it is not one of the required versions."""

    def __str__(self) -> str:
        return (
            f"{self.text} ({self.other_version} is installed)" if self.other_version else self.text
        )


def missing_requirements(requirements: Iterable[str]) -> tuple[MissingRequirement, ...]:
    """Return the requirements that apply here and are not installed, each once.

    If a requirement has extras, it also needs the requirements of these extras. Other requirements of installed
    distributions are not checked: that is the task of the installer. A requirement with a URL needs a distribution
    from this URL. Raises InvalidRequirement.
    """
    seen = set[tuple[str, str]]()
    missing = (
        one for text in requirements for one in _missing(parse_requirement(text), text, seen)
    )
    return tuple(dict.fromkeys(missing))


def _missing(
    requirement: Requirement, text: str, seen: set[tuple[str, str]]
) -> Iterator[MissingRequirement]:
    """``seen`` has the distributions and extras that were checked: extras can require each other."""
    if not _applies(requirement, extra=""):
        return
    installed = _find(requirement.name)
    if installed is None or not _is_from(installed, requirement.url):
        yield MissingRequirement(text)
        return
    version = installed.version
    if not _matches(requirement, version):
        yield MissingRequirement(text, version)
        return
    for extra in sorted(requirement.extras):
        key = canonicalize_name(requirement.name), canonicalize_name(extra)
        if key not in seen:
            seen.add(key)
            for more in _requirements_of_extra(installed, extra):
                yield from _missing(more, str(more), seen)


def _applies(requirement: Requirement, *, extra: str) -> bool:
    try:
        return requirement.marker is None or requirement.marker.evaluate({"extra": extra})
    except ValueError:  # a comparison that is not defined: the installer reports it
        return True


def _find(name: str) -> Distribution | None:
    """The first distribution of a name on ``sys.path``: the one that is imported."""
    try:
        found = distribution(name)
        # Without METADATA, this is None or raises, depending on the version of Python.
        return found if isinstance(found.version, str) else None
    except (PackageNotFoundError, TypeError, KeyError, AttributeError, ValueError, OSError):
        return None


def _matches(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(Version(version), prereleases=True)
    except ValueError:  # the version is not one of PEP 440
        return False


def _is_from(installed: Distribution, url: str | None) -> bool:
    """Whether a distribution was installed from a URL. Hosts are not compared: they may contain a password.

    For a version control system, the recorded URL has no revision (PEP 610), so the revision is not compared.
    """
    if url is None:
        return True
    with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
        recorded = loads(installed.read_text("direct_url.json") or "{}")["url"]
        return _path(url).startswith(_path(recorded))
    return False


def _path(url: str) -> str:
    return unquote(urlsplit(url).path).rstrip("/")


def _requirements_of_extra(installed: Distribution, extra: str) -> Iterator[Requirement]:
    """The requirements of one extra of a distribution, without markers."""
    for text in installed.requires or ():
        with suppress(InvalidRequirement):
            requirement = parse_requirement(text)
            if _applies(requirement, extra=extra) and not _applies(requirement, extra=""):
                requirement.marker = None
                yield requirement
