"""The simple repository API as files (PEP 503, 691, 700, 714): a plain file server can serve them.

``simple/{project}/index.html`` is the page for installers and the one for people, ``index.json`` the
same for tools that ask for it by name; no header of a plain server says which of the two is wanted.
Files lie beside ``simple/``, and are linked from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from packaging.version import Version

from polywheel.errors import PolywheelError
from polywheel.formats.variant_json import read_variant_json
from polywheel.index.wheel_file import FileName, parse_filename
from polywheel.index.write.output import ROOT, OutputFolder
from polywheel.index.write.releases import Release
from polywheel.model.variant import VariantMetadata

API_VERSION = "1.1"
CORE_METADATA = ".metadata"
"""Appended to the name of a wheel: its METADATA by itself (PEP 658)."""

_ABOVE = "../../"


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedFile:
    """One file as a project's page lists it."""

    filename: str
    sha256: str
    size: int
    requires_python: str | None = None
    core_metadata: str | None = None
    """The SHA-256 of ``{filename}.metadata``; None where there is no such file."""

    @property
    def url(self) -> str:
        """Relative to the project's page."""
        return _ABOVE + quote(self.filename)

    def as_json(self) -> dict[str, Any]:
        """The file in the form of PEP 691."""
        entry: dict[str, Any] = {
            "filename": self.filename,
            "url": self.url,
            "hashes": {"sha256": self.sha256},
            "size": self.size,
        }
        if self.requires_python is not None:
            entry["requires-python"] = self.requires_python
        if self.core_metadata is not None:
            entry["core-metadata"] = {"sha256": self.core_metadata}
        return entry

    @classmethod
    def of_json(cls, entry: dict[str, Any]) -> ListedFile:
        """What :meth:`as_json` made of a file."""
        return cls(
            filename=unquote(entry["url"].removeprefix(_ABOVE)),
            sha256=entry["hashes"]["sha256"],
            size=entry["size"],
            requires_python=entry.get("requires-python"),
            core_metadata=entry.get("core-metadata", {}).get("sha256"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedRelease:
    """One version on a project's page."""

    version: Version
    files: tuple[tuple[FileName, ListedFile], ...]
    variants_json: ListedFile | None
    metadata: VariantMetadata | None

    def all_files(self) -> Iterator[ListedFile]:
        for _, file in self.files:
            yield file
        if self.variants_json is not None:
            yield self.variants_json


def list_release(release: Release, variants_json: bytes | None) -> ListedRelease:
    """A release that is published; its files have been hashed."""
    files = [
        (
            file.name,
            ListedFile(
                filename=file.name.filename,
                sha256=file.sha256 or "",
                size=file.size,
                requires_python=file.requires_python,
                core_metadata=None if file.metadata is None else _digest(file.metadata),
            ),
        )
        for file in release.files
    ]
    return ListedRelease(
        version=release.version,
        files=tuple(files),
        variants_json=None
        if variants_json is None
        else ListedFile(
            filename=release.variants_json,
            sha256=_digest(variants_json),
            size=len(variants_json),
        ),
        metadata=release.metadata,
    )


def find_listed_release(release: Release, output: OutputFolder) -> ListedRelease | None:
    """A release that can't be published, as the page of an earlier run lists it; None if it does not."""
    content = output.read(f"{ROOT}/{release.project}/index.json")
    try:
        entries = json.loads(content or b"{}")["files"]
        there = [ListedFile.of_json(entry) for entry in entries]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # there is none, or it is none of ours
    files: list[tuple[FileName, ListedFile]] = []
    variants_json = None
    for file in there:
        if file.filename == release.variants_json:
            variants_json = file
        elif (name := _name(file.filename)) is not None and (
            (name.project, name.version) == (release.project, release.version)
            and (output.root / file.filename).is_file()
        ):
            files.append((name, file))
    if not files:
        return None
    return ListedRelease(
        version=release.version,
        files=tuple(files),
        variants_json=variants_json,
        metadata=_metadata_before(variants_json, output),
    )


def _name(filename: str) -> FileName | None:
    try:
        return parse_filename(filename)
    except PolywheelError:
        return None


def _metadata_before(file: ListedFile | None, output: OutputFolder) -> VariantMetadata | None:
    content = output.read(file.filename) if file is not None else None
    if content is None:
        return None
    try:
        return read_variant_json(content, at="")
    except PolywheelError:
        return None  # of a polywheel that wrote what this one does not understand


def project_json(project: str, releases: Iterable[ListedRelease]) -> bytes:
    """``simple/{project}/index.json`` (PEP 691, with sizes and versions of PEP 700)."""
    ordered = sorted(releases, key=lambda one: one.version)
    files = [file.as_json() for release in ordered for file in release.all_files()]
    return _json(
        {
            "meta": {"api-version": API_VERSION},
            "name": project,
            "versions": [str(release.version) for release in ordered],
            "files": files,
        }
    )


def root_json(projects: Iterable[str]) -> bytes:
    """``simple/index.json``: the names of all projects."""
    return _json(
        {
            "meta": {"api-version": API_VERSION},
            "projects": [{"name": project} for project in sorted(projects)],
        }
    )


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
