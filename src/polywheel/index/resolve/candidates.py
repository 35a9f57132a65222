"""What there is to choose from: the releases of a project, in a folder or on an index."""

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
from polywheel.errors import ConfigError, PolywheelError, Problem, WheelError, nearest
from polywheel.formats.variant_json import MAX_SIZE, read_faulty_variant_json, read_variant_json
from polywheel.formats.variants_json import merge_metadata
from polywheel.index.resolve.uv_providers import uv_objection
from polywheel.index.resolve.web import Link, fetch_file, read_project_page
from polywheel.index.wheel_file import (
    VARIANTS_JSON_SUFFIX,
    FileName,
    parse_filename,
    read_files,
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
    """A wheel or an sdist that an installer may take."""

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
    """The files of one version, by filename."""

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
    """What is known of the variants of a release."""

    metadata: VariantMetadata | None
    at: str
    """Where it stands, for messages."""

    missing_reason: str | None = None
    """Why nothing is known, where there are labels."""

    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What an installer finds in a wheel once it has chosen it."""

    refusal: str | None = None
    """Why it does not install it."""

    requires_python: str | None = None
    """What its METADATA says; None where it says nothing, or was not read."""

    note: str | None = None
    """What is wrong with it without being in the way."""


class CandidateSource(Protocol):
    """Where files are."""

    at: str

    def links(self) -> list[Link]:
        """Every file, of whatever kind."""

    def variants_json(self, link: Link) -> bytes:
        """Its content. Raises WheelError or ConfigError."""

    def read_from_wheels(self, release: CandidateRelease) -> ReleaseVariants:
        """What is known where there is no variants.json."""

    def inspect(self, wheel: CandidateFile, variant: Variant | None, /) -> Inspection:
        """What an installer finds when it opens the wheel that it has chosen."""


class FolderSource:
    """A folder of wheels, as ``--find-links`` takes it."""

    def __init__(self, folder: Path) -> None:
        self.at = str(folder)
        self._folder = folder

    def links(self) -> list[Link]:
        """Every file, of whatever kind. Raises ConfigError where the folder can't be listed."""
        try:
            paths = sorted(self._folder.iterdir())
        except OSError as error:
            raise ConfigError(f"{self.at} can't be listed: {error.strerror or error}") from None
        return [Link(filename=path.name, url=str(path)) for path in paths]

    def variants_json(self, link: Link) -> bytes:
        """Its content. Raises WheelError."""
        try:
            with open_regular(link.url) as file:
                return file.read(MAX_SIZE + 1)
        except OSError as error:
            raise WheelError(
                f"{link.filename} can't be read: {error.strerror or error}", at=self.at
            ) from None

    def read_from_wheels(self, release: CandidateRelease) -> ReleaseVariants:
        """What the wheels say themselves (PEP 825, "Variant ordering": either source will do)."""
        paths = [Path(one.link.url) for one in release.wheels if one.label is not None]
        documents = {}
        for file in read_files(paths, hashed=False):
            if file.problems:
                raise WheelError.collected(file.problems)
            if file.document is not None:
                documents[file.path.name] = read_variant_json(file.document, at=file.path.name)
        metadata = merge_metadata(documents, at=str(release)) if documents else None
        note = (
            f"{release.variants_json_filename} is missing: what follows is what the wheels say themselves. uv "
            "takes no variant wheel without that file; `polywheel index` writes it"
        )
        return ReleaseVariants(metadata, self.at, "no wheel has a variant.json", (note,))

    def inspect(self, wheel: CandidateFile, variant: Variant | None, /) -> Inspection:
        """What stands in the wheel: all but the content of its files, which nobody reads here."""
        try:
            found = inspect_wheel(Path(wheel.link.url))
        except PolywheelError as error:
            return Inspection(refusal=error.problems[0].what)
        refusal = next(name_disagreements(found.headers, found.name, found.dist_info), None)
        if refusal is None and variant is not None:
            refusal = _variant_mismatch(found, variant)
        note = None
        if found.disagreements:
            first = found.disagreements[0].what
            note = f"{wheel.filename} is not as it should be (polywheel show): {first}"
        return Inspection(
            refusal=refusal, requires_python=requires_python(found) or None, note=note
        )


class IndexSource:
    """The page of a project on an index."""

    def __init__(self, url: str) -> None:
        self.at = url

    def links(self) -> list[Link]:
        """Every file, of whatever kind. Raises ConfigError and WheelError."""
        return read_project_page(self.at)

    def variants_json(self, link: Link) -> bytes:
        """Its content. Raises WheelError and ConfigError."""
        return fetch_file(link, limit=MAX_SIZE)

    def read_from_wheels(self, release: CandidateRelease) -> ReleaseVariants:
        """Nothing: for that every wheel would have to be fetched."""
        return ReleaseVariants(None, self.at, f"the index has no {release.variants_json_filename}")

    def inspect(self, _: CandidateFile, __: Variant | None, /) -> Inspection:
        """Nothing: for that the wheel would have to be fetched."""
        return Inspection()


def _variant_mismatch(wheel: InspectedWheel, variant: Variant) -> str | None:
    """Why a wheel is not of the variant that an index lists under its label."""
    if wheel.variant_json is None:
        return "there is no variant.json in it"
    if wheel.document is None:
        return next((one.what for one in wheel.disagreements), "its variant.json can't be read")
    if wheel.variant != variant:
        return "its variant.json describes another variant than that of the release"
    return None


def find_project_page(requirement: str, index_url: str) -> tuple[IndexSource, SpecifierSet, str]:
    """The page of a project that is named as a requirement: ``torch``, ``torch==2.9``.

    With it the versions that are wanted, and the name of the project. Raises ConfigError for anything else.
    """
    try:
        wanted = parse_requirement(requirement)
    except InvalidRequirement:
        wanted = None
    if wanted is None or wanted.extras or wanted.url or wanted.marker:
        raise ConfigError(
            f"{requirement!r} is no folder, no address and no name of a project",
            hint="for example dist, torch, torch==2.9, https://pypi.org/simple/torch/",
        )
    base = index_url if index_url.endswith("/") else f"{index_url}/"
    page = urljoin(base, f"{quote(canonicalize_name(wanted.name))}/")
    return IndexSource(page), wanted.specifier, wanted.name


def find_releases(source: CandidateSource, *, project: str | None = None) -> list[CandidateRelease]:
    """The releases of the one project that lies there, newest first.

    ``project`` names it where there are several. What has no usable name is left out, as installers
    do. Raises ConfigError where there is no wheel, or no single project.
    """
    links = source.links()
    files: dict[str, dict[Version, list[CandidateFile]]] = {}
    for link in links:
        try:
            name = parse_filename(link.filename)
        except PolywheelError:
            continue
        if name is not None:
            files.setdefault(name.project, {}).setdefault(name.version, []).append(
                CandidateFile(name, link)
            )
    chosen = _select_project(files, project, source)
    documents = _variants_json_links(links, chosen)
    return [
        _candidate_release(chosen, version, files[chosen][version], documents.get(version))
        for version in sorted(files[chosen], reverse=True)
    ]


def read_variants(source: CandidateSource, release: CandidateRelease) -> ReleaseVariants:
    """What is known of the variants of a release; nothing is raised for what can't be read.

    An installer should go on without the variant wheels then (PEP 825, "Implementation
    requirements").
    """
    if not release.has_labels:
        return ReleaseVariants(None, source.at)
    link = release.variants_json
    try:
        if link is None:
            return source.read_from_wheels(release)
        content = source.variants_json(link)
    except PolywheelError as error:
        what = link.filename if link is not None else "what the wheels say"
        return _unusable_variants(what, error.problems)
    metadata, problems = read_faulty_variant_json(content, at=link.filename)
    if metadata is None:
        return _unusable_variants(link.filename, problems)
    note = None
    if problems:
        note = f"{link.filename} is not as it should be, and uv passes over such a release:\n"
        note += _render_problems(problems)
    elif why := uv_objection(json.loads(content)):
        note = f"uv passes over {release}, wheels without variant too: {link.filename}: {why}"
    return ReleaseVariants(metadata, link.filename, notes=(note,) if note is not None else ())


def _unusable_variants(what: str, problems: Sequence[Problem]) -> ReleaseVariants:
    note = f"{what} can't be used; uv passes over such a release:\n{_render_problems(problems)}"
    return ReleaseVariants(None, what, f"{what} can't be used: {problems[0].what}", (note,))


def _render_problems(problems: Iterable[Problem]) -> str:
    return "\n".join(problem.render() for problem in problems)


def _select_project(files: Iterable[str], project: str | None, source: CandidateSource) -> str:
    there = sorted(files)
    if not there:
        raise ConfigError(
            f"{source.at} holds no wheel", hint="name a folder of wheels, or a project of an index"
        )
    if project is None:
        if len(there) > 1:
            raise ConfigError(
                f"{source.at} holds {len(there)} projects: {', '.join(there[:20])}",
                hint="choose one with --name",
            )
        return there[0]
    name = canonicalize_name(project)
    if name not in there:
        raise ConfigError(f"{source.at} holds no {project!r}", hint=nearest(name, there))
    return name


def _variants_json_links(links: Iterable[Link], project: str) -> dict[Version, Link]:
    """``{name}-{version}-variants.json`` by version (PEP 825, "Index-level metadata")."""
    found: dict[Version, Link] = {}
    for link in links:
        if not link.filename.endswith(VARIANTS_JSON_SUFFIX):
            continue
        name, dash, version = link.filename.removesuffix(VARIANTS_JSON_SUFFIX).rpartition("-")
        try:
            if dash and canonicalize_name(name) == project:
                found.setdefault(Version(version), link)
        except ValueError:  # InvalidVersion, or a number of more digits than Python reads
            continue
    return found


def _candidate_release(
    project: str, version: Version, files: Iterable[CandidateFile], document: Link | None
) -> CandidateRelease:
    ordered = sorted(files, key=lambda one: one.filename)
    return CandidateRelease(
        project=project,
        version=version,
        wheels=tuple(one for one in ordered if one.name.wheel is not None),
        sdists=tuple(one for one in ordered if one.name.wheel is None),
        variants_json=document,
    )
