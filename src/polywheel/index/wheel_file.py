"""One file of a release: its name, and what an index says of it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from packaging.version import InvalidVersion, Version

from polywheel.errors import PolywheelError, Problem, WheelError
from polywheel.formats.variants_json import variants_json
from polywheel.index.documents import parse_single_variant
from polywheel.index.variant_member import UnusualError, read_variant_member
from polywheel.model.wheelname import WheelName

if TYPE_CHECKING:
    from polywheel.wheel.inspected_wheel import InspectedWheel


WHEEL = ".whl"
SDISTS = (".tar.gz", ".zip")
VARIANTS_JSON_SUFFIX = "-variants.json"

# "Names and normalization" of the specifications, which `packaging` has in a module that takes as
# long to import as all of this. Nor does its normalization refuse anything.
_NAME = re.compile(r"[A-Z0-9](?:[A-Z0-9._-]*[A-Z0-9])?", re.ASCII | re.IGNORECASE)
_SEPARATORS = re.compile(r"[-_.]+")
_TAG = re.compile(r"[A-Za-z0-9_.]+")
_MAX_SPECIFIER = 1000
_MAX_CORE_METADATA = 4 * 1024 * 1024


class FileName(NamedTuple):
    """The name of a wheel or an sdist that may be published."""

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
    """What an index says of a file. Where there are problems, the rest means nothing.

    Unless it was asked for, nothing but ``document`` is sure to be there.
    """

    name: FileName
    folder: Path
    size: int = 0
    sha256: str | None = None
    """Hexadecimal."""

    requires_python: str | None = None
    metadata: bytes | None = None
    """METADATA; None for an sdist, and where it is too long to keep."""

    document: bytes | None = None
    """variant.json, or what METADATA says in its form; None for a non-variant wheel and an sdist."""

    problems: tuple[Problem, ...] = ()

    @property
    def path(self) -> Path:
        return self.folder / self.name.filename


def parse_filename(filename: str) -> FileName | None:
    """Project and version of a wheel or an sdist; None for what is neither.

    Raises WheelError for the name of a wheel that no index can have.
    """
    if filename.endswith(WHEEL):
        return _of_wheel(filename)
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


def _of_wheel(filename: str) -> FileName:
    wheel = WheelName.parse(filename)
    try:
        version = _version(wheel.version)
    except InvalidVersion:
        raise WheelError(
            f"{filename!r} can't be in an index: {wheel.version!r} is not a version (PEP 440)",
            hint="rename the wheel to the version that its METADATA has",
        ) from None
    project = _project(wheel.distribution)
    if project is None:
        raise WheelError(
            f"{filename!r} can't be in an index: {wheel.distribution!r} is no name of a project",
            hint="a name holds letters, digits, '.', '_' and '-', and starts and ends with one of "
            "the first two",
        )
    tags = wheel.build or "0", wheel.python, wheel.abi, wheel.platform
    if not _TAG.fullmatch("".join(tags)):
        wrong = next(part for part in tags if not _TAG.fullmatch(part))
        raise WheelError(
            f"{filename!r} can't be in an index: {wrong!r} is no tag",
            hint="a tag holds letters, digits, '_' and '.'",
        )
    return FileName(filename=filename, project=project, version=version, wheel=wheel)


# Most files of a folder have a name and a version that another one has, too.
@lru_cache(maxsize=1024)
def _project(distribution: str) -> str | None:
    """The normalized name; None for what is no name."""
    plain = _NAME.fullmatch(distribution)
    return _SEPARATORS.sub("-", distribution).lower() if plain else None


@lru_cache(maxsize=1024)
def _version(text: str) -> Version:
    return Version(text)


def variants_json_filename(project: str, version: object) -> str:
    """The filename of the variants.json of a release (PEP 825, "Index-level metadata").

    ``project`` is the normalized name. It is written as in a wheel's filename.
    """
    return f"{project.replace('-', '_')}-{version}{VARIANTS_JSON_SUFFIX}"


def read_files(paths: Iterable[Path], *, hashed: bool) -> list[DistributionFile]:
    """Read wheels and sdists, as :func:`read_file`. Raises WheelError for the name of neither."""
    files = []
    for path in paths:
        name = parse_filename(path.name)
        if name is None:
            raise WheelError(f"{path.name} is neither a wheel nor an sdist", at=str(path.parent))
        is_file = path.is_file()
        files.append(read_file(path.parent, name, is_file=is_file, hashed=hashed))
    return files


def read_file(folder: Path, name: FileName, *, is_file: bool, hashed: bool) -> DistributionFile:
    """Read one file of a folder; what is wrong with it is told in its ``problems``.

    ``is_file``: not a folder of that name, nor a pipe. A wheel in which nothing is unusual is asked
    for its variant alone. ``hashed``: every wheel is looked at from all sides, and SHA-256,
    METADATA and Requires-Python are told too.
    """
    try:
        if not is_file:
            raise WheelError(f"{name.filename} is not a file", at=str(folder))
        return _read_through(folder, name) if hashed else _glanced_at(folder, name)
    except PolywheelError as error:
        problems = _placed(error.problems, folder / name.filename)
    except OSError as error:
        what = f"{name.filename} can't be read: {error.strerror or error}"
        problems = (Problem(what, str(folder)),)
    return DistributionFile(name=name, folder=folder, problems=problems)


def _glanced_at(folder: Path, name: FileName) -> DistributionFile:
    """A file, and of a wheel its variant. Raises WheelError and OSError."""
    document = None
    if name.wheel is not None:
        try:
            with FileIO(f"{folder}{os.sep}{name.filename}") as file:  # a Path takes as long as this
                document = read_variant_member(file, name.wheel)
            if document is not None:
                one = parse_single_variant(document)
                if one is None or one.label != name.label:
                    raise UnusualError
        except UnusualError:
            return _examined(folder, name)
    return DistributionFile(name=name, folder=folder, document=document)


def _read_through(folder: Path, name: FileName) -> DistributionFile:
    """A file with its hash, and a wheel from all sides. Raises WheelError and OSError."""
    path = folder / name.filename
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    read = (
        DistributionFile(name=name, folder=folder)
        if name.wheel is None
        else _examined(folder, name)
    )
    return read._replace(size=size, sha256=sha256)


def _examined(folder: Path, name: FileName) -> DistributionFile:
    """A wheel, looked at from all sides. Raises WheelError."""
    from polywheel.wheel.inspect import inspect_wheel  # few runs of a command need it

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


def _placed(problems: tuple[Problem, ...], path: Path) -> tuple[Problem, ...]:
    """Problems, each of which names the wheel."""
    return tuple(
        one if path.name in f"{one.what} {one.at}" else Problem(one.what, str(path), one.hint)
        for one in problems
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
