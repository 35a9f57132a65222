"""The releases of a folder: the files of each, and the variant metadata of its wheels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from packaging.version import Version

from polywheel.errors import PolywheelError, Problem
from polywheel.index.wheel_file import (
    DistributionFile,
    FileName,
    list_folder,
    parse_filename,
    read_file,
    read_together,
    variants_json_filename,
)

if TYPE_CHECKING:
    from polywheel.model.variant import VariantMetadata


_MAX_WORKERS = 16

_Entry = tuple[FileName, bool]
"""A filename, and whether it is a regular file."""


class Release(NamedTuple):
    """The files of one version of a project in a folder."""

    project: str
    """Normalized."""

    version: Version
    files: tuple[DistributionFile, ...]
    """Sorted by filename."""

    metadata: VariantMetadata | None
    """The combined metadata of the variant wheels; None if there are none, or if they disagree."""

    problems: tuple[Problem, ...]

    @property
    def variants_json(self) -> str:
        """The filename of its variants.json (PEP 825, "Index-level metadata")."""
        return variants_json_filename(self.project, self.version)

    def __str__(self) -> str:
        return f"{self.project} {self.version}"


class ExpectedRelease(Protocol):
    """The files of the release to index, from a plan or from reports."""

    def left_out(self, names: Sequence[FileName]) -> Mapping[str, str]:
        """Return the files that are not part of the release, with the reason."""

    def problems(self, releases: Sequence[Release]) -> Sequence[Problem]:
        """Return a problem for each missing file and for each file with other content."""


class FolderContent(NamedTuple):
    """The releases of a folder."""

    releases: Sequence[Release]
    """Sorted by name and version."""

    problems: Sequence[Problem]
    """Problems of invalid filenames, or of the expected release. Other problems are in releases."""

    left_out: Mapping[str, str] = {}
    """Files that are not part of the expected release, with the reason."""


def read_releases(
    folder: Path, *, hashed: bool, expected: ExpectedRelease | None = None
) -> FolderContent:
    """Read the releases of a folder; with ``expected``, only that one.

    Problems of a wheel, and of the expected release, are problems of the release. Raises
    ConfigError if the folder can't be listed.
    """
    entries, problems = _list_files(folder)
    left_out: Mapping[str, str] = {}
    if expected is not None:
        left_out = expected.left_out([name for name, _ in entries])
        entries = [entry for entry in entries if entry[0].filename not in left_out]
    grouped: dict[tuple[str, Version], list[DistributionFile]] = {}
    for file in _read_all(folder, entries, hashed=hashed):
        # 1.0 and 1.0.0 are the same version.
        grouped.setdefault((file.name.project, file.name.version), []).append(file)
    releases = [_release(tuple(grouped[key])) for key in sorted(grouped)]
    if expected is not None:
        # Invalid filenames are not part of the expected release.
        problems = list(expected.problems(releases))
        releases = [
            release._replace(problems=(*release.problems, *problems)) for release in releases
        ]
    return FolderContent(releases, problems, left_out)


def _list_files(folder: Path) -> tuple[list[_Entry], list[Problem]]:
    """List the wheels and sdists of a folder, sorted, and the problems of invalid filenames."""
    files: list[_Entry] = []
    invalid_names: list[Problem] = []
    for filename, is_file in list_folder(folder, hint="pass the folder with the wheels").items():
        if filename.startswith("."):
            continue  # temporary files, and hidden files of other tools
        try:
            name = parse_filename(filename)
        except PolywheelError as error:
            invalid_names += [
                Problem(problem.what, str(folder), problem.hint) for problem in error.problems
            ]
            continue
        if name is not None:
            files.append((name, is_file))
    return files, invalid_names


def _read_all(
    folder: Path, entries: Sequence[_Entry], *, hashed: bool
) -> Iterable[DistributionFile]:
    """Read every file, in the order of ``entries``.

    Hashing releases the GIL, so threads help. Reading only the variant does not need them.
    """

    def read(entry: _Entry) -> DistributionFile:
        name, is_file = entry
        return read_file(folder, name, is_file=is_file, hashed=hashed)

    if not hashed or len(entries) < 2:
        return map(read, entries)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MAX_WORKERS)) as executor:
        try:
            return list(executor.map(read, entries))
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise


def _release(files: tuple[DistributionFile, ...]) -> Release:
    problems = [problem for file in files for problem in file.problems]
    # Choose one spelling of the version, whatever the order of files.
    version = min(
        {file.name.version for file in files}, key=lambda version: (len(str(version)), str(version))
    )
    project = files[0].name.project
    metadata = None
    try:
        documents = {
            file.name.filename: file.document for file in files if file.document is not None
        }
        if documents:
            metadata = read_together(documents, at=f"{project} {version}")
    except PolywheelError as error:
        problems += error.problems
    return Release(
        project=project,
        version=version,
        files=files,
        metadata=None if problems else metadata,
        problems=tuple(dict.fromkeys(problems)),
    )
