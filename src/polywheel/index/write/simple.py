"""The simple repository API as files for a plain file server (PEP 503, 691, 700, 714).

``simple/{project}/index.html`` is the page for installers and for people. ``index.json`` is the
same for tools that request it by name, because a plain server does not negotiate the content
type. Wheels are beside ``simple/``, and linked from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
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
"""The suffix of a file with the METADATA of a wheel (PEP 658)."""

_ABOVE = "../../"


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedFile:
    """A file as the page of a project lists it."""

    filename: str
    sha256: str
    size: int
    requires_python: str | None = None
    core_metadata: str | None = None
    """The SHA-256 of ``{filename}.metadata``; None if there is no such file."""

    @property
    def url(self) -> str:
        """The URL, relative to the page of the project."""
        return _ABOVE + quote(self.filename)

    def as_json(self) -> dict[str, Any]:
        """Return the entry of the file (PEP 691)."""
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
    def from_json(cls, entry: dict[str, Any]) -> ListedFile:
        """Read an entry that :meth:`as_json` created."""
        return cls(
            filename=unquote(entry["url"].removeprefix(_ABOVE)),
            sha256=entry["hashes"]["sha256"],
            size=entry["size"],
            requires_python=entry.get("requires-python"),
            core_metadata=entry.get("core-metadata", {}).get("sha256"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedRelease:
    """A version as the page of a project lists it."""

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
    """Return the listing of a published release, whose files have been hashed."""
    files = [
        ListedFile(
            filename=file.name.filename,
            sha256=file.sha256 or "",
            size=file.size,
            requires_python=file.requires_python,
            core_metadata=None if file.metadata is None else _digest(file.metadata),
        )
        for file in release.files
    ]
    document = None
    if variants_json is not None:
        document = ListedFile(
            filename=release.variants_json, sha256=_digest(variants_json), size=len(variants_json)
        )
    return ListedRelease(
        version=release.version,
        files=tuple(zip((file.name for file in release.files), files, strict=True)),
        variants_json=document,
        metadata=release.metadata,
    )


def find_listed_release(release: Release, output: OutputFolder) -> ListedRelease | None:
    """Return a release as the page of an earlier run lists it; None if it is not listed."""
    content = output.read(f"{ROOT}/{release.project}/index.json")
    try:
        entries = json.loads(content or b"{}")["files"]
        listed = {file.filename: file for file in map(ListedFile.from_json, entries)}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # there is no page, or polywheel did not write it
    files: list[tuple[FileName, ListedFile]] = []
    for filename, file in listed.items():
        name = None
        with suppress(PolywheelError):
            name = parse_filename(filename)
        if (
            name is not None
            and (name.project, name.version) == (release.project, release.version)
            and (output.root / filename).is_file()
        ):
            files.append((name, file))
    if not files:
        return None
    document = listed.get(release.variants_json)
    content = output.read(release.variants_json) if document is not None else None
    metadata = None
    if content is not None:
        with suppress(PolywheelError):  # written by another version of polywheel
            metadata = read_variant_json(content, at="")
    return ListedRelease(
        version=release.version, files=tuple(files), variants_json=document, metadata=metadata
    )


def project_json(project: str, releases: Iterable[ListedRelease]) -> bytes:
    """Return ``simple/{project}/index.json`` (PEP 691, with the sizes and versions of PEP 700)."""
    ordered = sorted(releases, key=lambda release: release.version)
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
    """Return ``simple/index.json``, the names of all projects."""
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
