"""The wheels and sdists of a release: their filenames, and what an index lists about them.

The variant.json documents of a release differ mostly in their variant. Documents with the same head
are joined into one document with all their variants, which is then validated once. If the joined
document has a problem, every document is read by itself, to name the wheel with the problem.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.version import InvalidVersion, Version

from polywheel.errors import ConfigError, PolywheelError, Problem, WheelError, os_error_as
from polywheel.formats.variant_json import parse_head, parse_single_variant, read_variant_json
from polywheel.formats.variants_json import merge_metadata, variants_json
from polywheel.model.wheelname import WheelName
from polywheel.wheel.variant_member import UnusualError, read_document

if TYPE_CHECKING:
    from polywheel.model.variant import VariantMetadata
    from polywheel.wheel.inspected_wheel import InspectedWheel


WHEEL = ".whl"
SDISTS = (".tar.gz", ".zip")
VARIANT_JSON = "variant.json"
VARIANTS_JSON_SUFFIX = "-variants.json"

# From the specification "Names and normalization". packaging has the pattern in a module that takes
# as long to import as everything here. Its own normalization refuses nothing.
_NAME = re.compile(r"[A-Z0-9](?:[A-Z0-9._-]*[A-Z0-9])?", re.ASCII | re.IGNORECASE)
_SEPARATORS = re.compile(r"[-_.]+")
_TAG = re.compile(r"[A-Za-z0-9_.]+")
_MAX_SPECIFIER = 1000
_MAX_CORE_METADATA = 4 * 1024 * 1024


class FileName(NamedTuple):
    """The filename of a wheel or an sdist that can be published."""

    filename: str
    project: str
    """Normalized."""

    version: Version
    wheel: WheelName | None
    """None for an sdist."""

    @property
    def label(self) -> str | None:
        return self.wheel.label if self.wheel is not None else None


class DistributionFile(NamedTuple):
    """A file as an index lists it. If it has problems, the other fields mean nothing.

    Only ``document`` is always read; the other fields need ``hashed``.
    """

    name: FileName
    folder: Path
    size: int = 0
    sha256: str | None = None
    """Hexadecimal."""

    requires_python: str | None = None
    metadata: bytes | None = None
    """METADATA; None for an sdist, or if it is too long."""

    document: bytes | None = None
    """variant.json, or the same data from METADATA; None for a non-variant wheel and an sdist."""

    problems: tuple[Problem, ...] = ()

    @property
    def path(self) -> Path:
        return self.folder / self.name.filename


def parse_filename(filename: str) -> FileName | None:
    """Parse the filename of a wheel or an sdist; None for other files.

    Raises WheelError for the filename of a wheel that can't be in an index.
    """
    if filename.endswith(WHEEL):
        return _parse_wheel_filename(filename)
    if not filename.endswith(SDISTS):
        return None
    from packaging.utils import InvalidSdistFilename, parse_sdist_filename

    try:
        project, version = parse_sdist_filename(filename)
    except InvalidSdistFilename:
        return None  # some other archive
    if not _NAME.fullmatch(project):
        return None
    return FileName(filename=filename, project=project, version=version, wheel=None)


def _parse_wheel_filename(filename: str) -> FileName:
    wheel = WheelName.parse(filename)
    project, version = _project(wheel.distribution), _version(wheel.version)
    tags = wheel.build or "0", wheel.python, wheel.abi, wheel.platform
    if version is None:
        why = f"{wheel.version!r} is not a version (PEP 440)"
        hint = "use the version in its METADATA"
    elif project is None:
        why = f"{wheel.distribution!r} is not a valid project name"
        hint = "a name consists of letters, digits, '.', '_', and '-', and starts and ends with a "
        hint += "letter or a digit"
    elif not _TAG.fullmatch("".join(tags)):
        why = f"{next(part for part in tags if not _TAG.fullmatch(part))!r} is not a valid tag"
        hint = "a tag consists of letters, digits, '_', and '.'"
    else:
        return FileName(filename=filename, project=project, version=version, wheel=wheel)
    raise WheelError(f"{filename!r} can't be in an index: {why}", hint=hint)


# Cached, because most files of a folder share their name and version with others.
@lru_cache(maxsize=1024)
def _project(distribution: str) -> str | None:
    """Return the normalized name; None if the name is invalid."""
    valid = _NAME.fullmatch(distribution)
    return _SEPARATORS.sub("-", distribution).lower() if valid else None


@lru_cache(maxsize=1024)
def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def variants_json_filename(project: str, version: object) -> str:
    """The filename of the variants.json of a release (PEP 825, "Index-level metadata").

    ``project`` is the normalized name. It is written as in a wheel's filename.
    """
    return f"{project.replace('-', '_')}-{version}{VARIANTS_JSON_SUFFIX}"


def list_folder(folder: Path, *, hint: str | None = None) -> dict[str, bool]:
    """List the names in a folder, sorted, each with whether it is a regular file.

    Raises ConfigError if the folder can't be listed.
    """
    what = f"{folder} can't be listed"
    with os_error_as(ConfigError, what, hint=hint), os.scandir(folder) as entries:
        return dict(sorted((entry.name, _is_file(entry)) for entry in entries))


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # for example a link to itself
        return False


def read_file(folder: Path, name: FileName, *, is_file: bool, hashed: bool) -> DistributionFile:
    """Read one file of a folder. Problems are returned in ``problems``.

    ``is_file``: the path is a regular file. ``hashed``: inspect wheels completely, and also read
    SHA-256, METADATA, and Requires-Python. Otherwise only the variant of a wheel is read, unless
    the wheel is unusual.
    """
    try:
        if not is_file:
            raise WheelError(f"{name.filename} is not a file", at=str(folder))
        return _read_with_hash(folder, name) if hashed else _read_variant(folder, name)
    except PolywheelError as error:
        problems = _name_file(error.problems, folder / name.filename)
    except OSError as error:
        message = f"{name.filename} can't be read: {error.strerror or error}"
        problems = (Problem(message, str(folder)),)
    return DistributionFile(name=name, folder=folder, problems=problems)


def _read_variant(folder: Path, name: FileName) -> DistributionFile:
    """Read the variant of a wheel, and nothing of an sdist. Raises WheelError and OSError."""
    document = None
    if name.wheel is not None:
        try:
            # Building the path with pathlib takes as long as the read.
            document = read_document(f"{folder}{os.sep}{name.filename}", name.wheel)
        except UnusualError:
            return _inspect(folder, name)
    return DistributionFile(name=name, folder=folder, document=document)


def _read_with_hash(folder: Path, name: FileName) -> DistributionFile:
    """Hash a file, and inspect a wheel completely. Raises WheelError and OSError."""
    path = folder / name.filename
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    distribution = (
        DistributionFile(name=name, folder=folder) if name.wheel is None else _inspect(folder, name)
    )
    return distribution._replace(size=size, sha256=sha256)


def _inspect(folder: Path, name: FileName) -> DistributionFile:
    """Inspect a wheel completely. Raises WheelError."""
    from polywheel.wheel.inspect import inspect_wheel  # most commands don't need it

    wheel = inspect_wheel(folder / name.filename)
    if wheel.disagreements:
        raise WheelError.collected(wheel.disagreements)
    document = wheel.variant_json
    if document is None and wheel.declared is not None:
        document = variants_json(wheel.declared)
    return DistributionFile(
        name=name,
        folder=folder,
        requires_python=_valid_requires_python(wheel),
        metadata=wheel.metadata if len(wheel.metadata) <= _MAX_CORE_METADATA else None,
        document=document,
    )


def _name_file(problems: tuple[Problem, ...], path: Path) -> tuple[Problem, ...]:
    """Add the path of the wheel to problems that do not name it."""
    return tuple(
        problem
        if path.name in f"{problem.what} {problem.at}"
        else Problem(problem.what, str(path), problem.hint)
        for problem in problems
    )


def requires_python(wheel: InspectedWheel) -> str:
    """Return the Requires-Python in METADATA as one line; empty if there is none."""
    return " ".join(str(wheel.headers.get("Requires-Python", "")).split())


def _valid_requires_python(wheel: InspectedWheel) -> str | None:
    """Return Requires-Python; None if it is missing, malformed, or too long for an index."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    text = requires_python(wheel)
    if not text or len(text) > _MAX_SPECIFIER:
        return None
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        return None
    return text


def read_together(documents: Mapping[str, bytes], *, at: str) -> VariantMetadata:
    """Combine the documents of one release, which are given by the filename of their wheel.

    ``at`` names the release in messages. Raises WheelError with all problems of the documents,
    and with all disagreements between wheels.
    """
    joined = _read_joined(frozenset(documents.values()))
    if joined is not None:
        return joined
    by_wheel = {
        wheel: read_variant_json(content, at=f"{wheel}: {VARIANT_JSON}")
        for wheel, content in documents.items()
    }
    return merge_metadata(by_wheel, at=at)


@lru_cache(maxsize=64)
def _read_joined(contents: frozenset[bytes]) -> VariantMetadata | None:
    """Read several documents as one; None if one has a problem, or if they disagree.

    Cached, because the releases of a project mostly have the same documents.
    """
    by_head: dict[bytes, dict[str, Any]] = {}
    for content in contents:
        document = parse_single_variant(content)
        if document is None:
            return None
        variants = by_head.setdefault(document.head, {})
        if variants.setdefault(document.label, document.variant) != document.variant:
            return None
    try:
        metadata = {}
        for number, (head, variants) in enumerate(by_head.items()):
            joined = {**(parse_head(head) or {}), "variants": variants}
            metadata[str(number)] = read_variant_json(json.dumps(joined).encode(), at="")
        return merge_metadata(metadata, at="")
    except (PolywheelError, RecursionError):
        return None
