"""The files to choose from: the releases of a project, in a folder or on an index."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urljoin

from packaging.requirements import InvalidRequirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from polywheel.config.reader import parse_requirement
from polywheel.errors import ConfigError, PolywheelError, Problem, WheelError, nearest, os_error_as
from polywheel.formats.variant_json import MAX_SIZE, read_faulty_variant_json
from polywheel.index.resolve.uv_providers import uv_objection
from polywheel.index.resolve.web import Link, fetch_file, read_project_page
from polywheel.index.wheel_file import (
    VARIANTS_JSON_SUFFIX,
    FileName,
    list_folder,
    parse_filename,
    read_file,
    read_together,
    requires_python,
    variants_json_filename,
)
from polywheel.model.variant import Variant, VariantMetadata
from polywheel.system.files import open_regular
from polywheel.wheel.disagreements import name_disagreements
from polywheel.wheel.inspect import inspect_wheel
from polywheel.wheel.inspected_wheel import InspectedWheel

PYPI = "https://pypi.org/simple/"


@dataclass(frozen=True, slots=True)
class CandidateFile:
    """A wheel or an sdist of a release."""

    name: FileName
    link: Link

    @property
    def filename(self) -> str:
        return self.name.filename

    @property
    def label(self) -> str | None:
        return self.name.label


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateRelease:
    """The files of one version, sorted by filename."""

    project: str
    version: Version
    wheels: tuple[CandidateFile, ...]
    sdists: tuple[CandidateFile, ...]
    variants_json: Link | None

    @property
    def has_labels(self) -> bool:
        return any(wheel.label is not None for wheel in self.wheels)

    @property
    def variants_json_filename(self) -> str:
        return variants_json_filename(self.project, self.version)

    def __str__(self) -> str:
        return f"{self.project} {self.version}"


@dataclass(frozen=True, slots=True)
class ReleaseVariants:
    """The variant metadata of a release."""

    metadata: VariantMetadata | None
    at: str
    """The source of the metadata, for messages."""

    missing_reason: str | None = None
    """Why there is no metadata although wheels have labels."""

    notes: tuple[str, ...] = ()

    def unknown_label_reason(self, label: str) -> str:
        """Return why the variant of a label is unknown."""
        if self.metadata is None:
            return self.missing_reason or "there is no metadata for its label"
        return f"{self.at} has no variant {label!r}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """The result of opening the chosen wheel, as an installer does."""

    refusal: str | None = None
    """Why an installer refuses the wheel; None if it does not."""

    requires_python: str | None = None
    """Requires-Python in its METADATA; None if it is missing or was not read."""

    note: str | None = None
    """A problem that does not prevent the installation."""


class CandidateSource(Protocol):
    """A folder or an index with the files of a project."""

    at: str

    def links(self) -> list[Link]:
        """Return all files of any type."""

    def variants_json(self, link: Link) -> bytes:
        """Return the content of a variants.json. Raises WheelError or ConfigError."""

    def read_from_wheels(self, release: CandidateRelease) -> ReleaseVariants:
        """Return the variant metadata of a release without variants.json."""

    def inspect(self, wheel: CandidateFile, variant: Variant | None, /) -> Inspection:
        """Open the chosen wheel, as an installer does."""


class FolderSource:
    """A folder of wheels, as ``--find-links`` takes it."""

    def __init__(self, folder: Path) -> None:
        self.at = str(folder)
        self._folder = folder

    def links(self) -> list[Link]:
        """Return all files of any type. Raises ConfigError if the folder can't be listed."""
        names = list_folder(self._folder)
        return [Link(filename=name, url=str(self._folder / name)) for name in names]

    def variants_json(self, link: Link) -> bytes:
        """Return the content of a variants.json. Raises WheelError."""
        what = f"{link.filename} can't be read"
        with os_error_as(WheelError, what, at=self.at), open_regular(link.url) as file:
            return file.read(MAX_SIZE + 1)

    def read_from_wheels(self, release: CandidateRelease) -> ReleaseVariants:
        """Combine the variant.json of the wheels, which PEP 825, "Variant ordering", allows."""
        documents = {}
        for name in (wheel.name for wheel in release.wheels if wheel.label is not None):
            is_file = (self._folder / name.filename).is_file()
            file = read_file(self._folder, name, is_file=is_file, hashed=False)
            if file.problems:
                raise WheelError.collected(file.problems)
            if file.document is not None:
                documents[name.filename] = file.document
        metadata = read_together(documents, at=str(release)) if documents else None
        note = (
            f"{release.variants_json_filename} is missing, so the variant.json of each wheel was read. "
            "uv installs no variant wheel without that file; write it with `polywheel index`"
        )
        return ReleaseVariants(metadata, self.at, "no wheel has a variant.json", (note,))

    def inspect(self, wheel: CandidateFile, variant: Variant | None, /) -> Inspection:
        """Check the wheel, but not the content of its files, as installers do at this point."""
        try:
            inspected = inspect_wheel(Path(wheel.link.url))
        except PolywheelError as error:
            return Inspection(refusal=error.problems[0].what)
        names = inspected.headers, inspected.name, inspected.dist_info
        refusal = next(name_disagreements(*names), None)
        if refusal is None and variant is not None:
            refusal = _variant_mismatch(inspected, variant)
        note = None
        if inspected.disagreements:
            first = inspected.disagreements[0].what
            note = f"{wheel.filename} has a problem (see polywheel show): {first}"
        required = requires_python(inspected) or None
        return Inspection(refusal=refusal, requires_python=required, note=note)


class IndexSource:
    """The page of a project on an index."""

    def __init__(self, url: str) -> None:
        self.at = url

    def links(self) -> list[Link]:
        """Return all files of any type. Raises ConfigError and WheelError."""
        return read_project_page(self.at)

    def variants_json(self, link: Link) -> bytes:
        """Return the content of a variants.json. Raises WheelError and ConfigError."""
        return fetch_file(link, limit=MAX_SIZE)

    def read_from_wheels(self, release: CandidateRelease) -> ReleaseVariants:
        """Return no metadata, because every wheel would have to be downloaded."""
        return ReleaseVariants(None, self.at, f"the index has no {release.variants_json_filename}")

    def inspect(self, _: CandidateFile, __: Variant | None, /) -> Inspection:
        """Check nothing, because the wheel would have to be downloaded."""
        return Inspection()


def _variant_mismatch(wheel: InspectedWheel, variant: Variant) -> str | None:
    """Return why a wheel does not match the variant that the release lists for its label."""
    if wheel.variant_json is None:
        return "it has no variant.json"
    if wheel.document is None:
        return next(
            (problem.what for problem in wheel.disagreements), "its variant.json can't be read"
        )
    if wheel.variant != variant:
        return "its variant.json differs from the variant of the release"
    return None


def find_project_page(requirement: str, index_url: str) -> tuple[IndexSource, SpecifierSet, str]:
    """Find the page of a project that is given as a requirement: ``torch``, ``torch==2.9``.

    Returns the page, the specifier, and the name of the project. Raises ConfigError for other
    text.
    """
    try:
        parsed = parse_requirement(requirement)
    except InvalidRequirement:
        parsed = None
    if parsed is None or parsed.extras or parsed.url or parsed.marker:
        raise ConfigError(
            f"{requirement!r} is not a folder, a URL, or a project name",
            hint="for example dist, torch, torch==2.9, https://pypi.org/simple/torch/",
        )
    base = index_url if index_url.endswith("/") else f"{index_url}/"
    page = urljoin(base, f"{quote(canonicalize_name(parsed.name))}/")
    return IndexSource(page), parsed.specifier, parsed.name


def find_releases(source: CandidateSource, *, project: str | None = None) -> list[CandidateRelease]:
    """Return the releases of a project, newest first.

    ``project`` names the project if the source has several. Files with invalid names are
    ignored, as installers do. Raises ConfigError if there is no wheel, or not exactly one
    project.
    """
    links = source.links()
    files: dict[str, dict[Version, list[CandidateFile]]] = {}
    for link in links:
        try:
            filename = parse_filename(link.filename)
        except PolywheelError:
            continue
        if filename is not None:
            versions = files.setdefault(filename.project, {})
            versions.setdefault(filename.version, []).append(CandidateFile(filename, link))
    name = _select_project(files, project, source)
    documents = _variants_json_links(links, name)
    releases = []
    for version in sorted(files[name], reverse=True):
        ordered = sorted(files[name][version], key=lambda file: file.filename)
        releases.append(
            CandidateRelease(
                project=name,
                version=version,
                wheels=tuple(file for file in ordered if file.name.wheel is not None),
                sdists=tuple(file for file in ordered if file.name.wheel is None),
                variants_json=documents.get(version),
            )
        )
    return releases


def read_variants(source: CandidateSource, release: CandidateRelease) -> ReleaseVariants:
    """Read the variant metadata of a release. Errors are returned as notes, not raised.

    An installer should then ignore the variant wheels (PEP 825, "Implementation requirements").
    """
    if not release.has_labels:
        return ReleaseVariants(None, source.at)
    link = release.variants_json
    try:
        if link is None:
            return source.read_from_wheels(release)
        content = source.variants_json(link)
    except PolywheelError as error:
        name = link.filename if link is not None else "the metadata of the wheels"
        return _unusable_variants(name, error.problems)
    metadata, problems = read_faulty_variant_json(content, at=link.filename)
    if metadata is None:
        return _unusable_variants(link.filename, problems)
    note = None
    if problems:
        note = f"{link.filename} has problems; uv skips such a release:\n"
        note += _render_problems(problems)
    elif why := uv_objection(json.loads(content)):
        note = f"uv skips {release}, including non-variant wheels: {link.filename}: {why}"
    return ReleaseVariants(metadata, link.filename, notes=(note,) if note is not None else ())


def _unusable_variants(name: str, problems: Sequence[Problem]) -> ReleaseVariants:
    note = f"{name} can't be used; uv skips such a release:\n{_render_problems(problems)}"
    return ReleaseVariants(None, name, f"{name} can't be used: {problems[0].what}", (note,))


def _render_problems(problems: Iterable[Problem]) -> str:
    return "\n".join(problem.render() for problem in problems)


def _select_project(files: Iterable[str], project: str | None, source: CandidateSource) -> str:
    names = sorted(files)
    if not names:
        raise ConfigError(
            f"{source.at} contains no wheels",
            hint="pass a folder of wheels, or a project of an index",
        )
    if project is None:
        if len(names) > 1:
            raise ConfigError(
                f"{source.at} contains {len(names)} projects: {', '.join(names[:20])}",
                hint="choose one with --name",
            )
        return names[0]
    name = canonicalize_name(project)
    if name not in names:
        raise ConfigError(f"{source.at} does not contain {project!r}", hint=nearest(name, names))
    return name


def _variants_json_links(links: Iterable[Link], project: str) -> dict[Version, Link]:
    """Return links to ``{name}-{version}-variants.json`` by version (PEP 825, "Index-level
    metadata").
    """
    documents: dict[Version, Link] = {}
    for link in links:
        if not link.filename.endswith(VARIANTS_JSON_SUFFIX):
            continue
        name, dash, version = link.filename.removesuffix(VARIANTS_JSON_SUFFIX).rpartition("-")
        try:
            if dash and canonicalize_name(name) == project:
                documents.setdefault(Version(version), link)
        except ValueError:  # InvalidVersion, or a number of more digits than Python reads
            continue
    return documents
