"""The releases of a folder: which files belong together, and what their wheels say of variants."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from packaging.version import Version

from polywheel.errors import ConfigError, PolywheelError, Problem
from polywheel.index.documents import read_together
from polywheel.index.wheel_file import (
    DistributionFile,
    FileName,
    parse_filename,
    read_file,
    variants_json_filename,
)

if TYPE_CHECKING:
    from polywheel.model.variant import VariantMetadata


_MAX_WORKERS = 16

_Entry = tuple[FileName, bool]
"""A name, and whether that of a file."""
LeaveOut = Callable[[Sequence[FileName]], Container[str]]


class Release(NamedTuple):
    """The files of one version of a project."""

    project: str
    """Normalized."""

    version: Version
    files: tuple[DistributionFile, ...]
    """Sorted by filename."""

    metadata: VariantMetadata | None
    """What the variant wheels say together; None where there are none, or where they disagree."""

    problems: tuple[Problem, ...]

    @property
    def variants_json(self) -> str:
        """The name of its file (PEP 825, "Index-level metadata"): normalized as in a wheel's."""
        return variants_json_filename(self.project, self.version)

    def __str__(self) -> str:
        return f"{self.project} {self.version}"


class ExpectedRelease(Protocol):
    """What belongs to the release that is indexed: by a plan, or by reports."""

    def left_out(self, names: Sequence[FileName]) -> Mapping[str, str]:
        """The files that do not belong to it, by name, and why."""

    def problems(self, releases: Sequence[Release]) -> Sequence[Problem]:
        """What is missing, and what is not the file that belongs to it."""


def read_releases(
    folder: Path, *, hashed: bool, leave_out: LeaveOut | None = None
) -> tuple[list[Release], list[Problem]]:
    """Every release of a folder, by name and version, and the names that belong to none.

    ``leave_out`` says which files are not looked at. What is wrong with one wheel is a problem of its
    release. Raises ConfigError where the folder can't be listed.
    """
    entries, strays = _entries(folder)
    if leave_out is not None:
        left_out = leave_out([name for name, _ in entries])
        entries = [entry for entry in entries if entry[0].filename not in left_out]
    grouped: dict[tuple[str, Version], list[DistributionFile]] = {}
    for file in _read_all(folder, entries, hashed=hashed):
        # 1.0 and 1.0.0 are one version.
        grouped.setdefault((file.name.project, file.name.version), []).append(file)
    return [_release(tuple(grouped[key])) for key in sorted(grouped)], strays


def _entries(folder: Path) -> tuple[list[_Entry], list[Problem]]:
    """What may be published of a folder, sorted; and what is wrong with other names."""
    found: list[_Entry] = []
    strays: list[Problem] = []
    try:
        with os.scandir(folder) as entries:
            is_file = {entry.name: entry.is_file() for entry in entries}
    except OSError as error:
        raise ConfigError(
            f"{folder} can't be listed: {error.strerror or error}",
            hint="name the folder in which the wheels are",
        ) from None
    for filename in sorted(is_file):
        if filename.startswith("."):
            continue  # what is being written, and what other tools hide
        try:
            name = parse_filename(filename)
        except PolywheelError as error:
            strays += [Problem(one.what, str(folder), one.hint) for one in error.problems]
            continue
        if name is not None:
            found.append((name, is_file[filename]))
    return found, strays


def _read_all(
    folder: Path, entries: Sequence[_Entry], *, hashed: bool
) -> Iterable[DistributionFile]:
    """Every file, in the order of ``entries``.

    To hash a large file is not Python's work, so threads help; to take a glance at one is.
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
    # One spelling of those that mean the same, whatever the order.
    version = min({file.name.version for file in files}, key=lambda one: (len(str(one)), str(one)))
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
