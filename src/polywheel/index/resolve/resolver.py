"""Choose the wheel for a machine, and explain why the others are rejected.

The wheels of a release are tried in this order: variants in the order of PEP 825, with the null
variant as the last of them, then the non-variant wheels. Within each group the better platform
tag comes first, then the higher build tag. uv 0.13.9 does the same. If nothing in a release
fits, an older one is tried, unless the release has an sdist. If nothing in any final release
fits, pre-releases follow.

uv reads only the lower bounds of ``Requires-Python``. It ignores upper bounds and excluded
versions, and accepts some specifiers that are invalid under PEP 440 (``>=3.8.*``, ``!=3.0*``).
pip applies the whole specifier, and ignores an invalid one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, parse_tag
from packaging.version import Version

from polywheel.errors import ConfigError, nearest
from polywheel.formats.variant_order import RankedVariant, rank_properties, sort_variants
from polywheel.index.resolve.candidates import (
    CandidateFile,
    CandidateRelease,
    CandidateSource,
    ReleaseVariants,
    read_variants,
)
from polywheel.index.resolve.support import PluginRunner, SupportedProperties, find_support
from polywheel.index.resolve.systems import System, tag_mismatch
from polywheel.model.variant import Variant

_CLAUSE = re.compile(
    r"""\s*(?P<operator>===|~=|==|!=|<=|>=|<|>)\s*
    ['"]?v?(?P<release>[0-9]{1,9}(?:\.[0-9]{1,9}){0,9})(?:\.?(?:a|b|rc|dev|post)[0-9]{1,9}){0,3}
    (?:\.?\*)?['"]?\s*""",
    re.VERBOSE,
)
_LOWER = frozenset({"===", "~=", "==", ">=", ">"})


def uv_refusal(required: str, python: Version) -> str | None:
    """Return why uv refuses this Requires-Python, which may be empty; None if it does not."""
    bounds = _lower_bounds(required)
    if bounds is None:
        return f"its Requires-Python {required!r} can't be read"
    release = _strip_zeros(python.release)
    if any(release < lowest or (release == lowest and strict) for lowest, strict in bounds):
        return f"it requires Python {required}, and this is {python}"
    return None


@lru_cache(maxsize=1024)
def _lower_bounds(required: str) -> tuple[tuple[tuple[int, ...], bool], ...] | None:
    """Return the lower bounds of the clauses, and whether each bound itself is excluded.

    Returns None if a clause can't be parsed.
    """
    bounds = []
    for text in filter(str.strip, required.split(",")):
        clause = _CLAUSE.fullmatch(text)
        if clause is None:
            return None
        if clause["operator"] in _LOWER:
            release = tuple(map(int, clause["release"].split(".")))
            bounds.append((_strip_zeros(release), clause["operator"] == ">"))
    return tuple(bounds)


def _strip_zeros(release: tuple[int, ...]) -> tuple[int, ...]:
    """Remove trailing zeros: 3.11.0 becomes 3.11."""
    while release and not release[-1]:
        release = release[:-1]
    return release


def pip_refuses(required: str, python: Version) -> bool:
    """Return whether pip refuses this Requires-Python."""
    try:
        return not SpecifierSet(required).contains(python, prereleases=True)
    except ValueError:  # invalid, or a number with more digits than Python parses
        return False


_BUILD = re.compile(r"([0-9]{1,18})(.*)", re.DOTALL)
_MAX_TAGS = 1000
"""Maximum number of tags of one filename. Each part of it may be a list."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedWheel:
    """A wheel that the machine can't install, and all reasons."""

    file: CandidateFile
    of_variant: tuple[str, ...]
    """Reasons that apply to all wheels of its variant."""

    of_file: tuple[str, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        return (*self.of_variant, *self.of_file)


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedRelease:
    """The wheels of one release, ranked for one system."""

    release: CandidateRelease
    fitting: tuple[CandidateFile, ...]
    """In the order in which an installer tries them. It installs the first."""

    rejected: tuple[RejectedWheel, ...]
    """In the same order. Unsupported variants come after supported ones, by label."""

    sdist: CandidateFile | None
    """The sdist that an installer would build if no wheel fits."""

    variants: Mapping[str, Variant]
    """The variants by label."""

    notes: tuple[str, ...] = ()

    @property
    def chosen(self) -> CandidateFile | None:
        return self.fitting[0] if self.fitting else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolution:
    """The result for one system."""

    system: System
    releases: tuple[RankedRelease, ...]
    """The releases that were tried, in order. Only the last may have a wheel that fits."""

    @property
    def chosen(self) -> CandidateFile | None:
        return self.releases[-1].chosen

    @property
    def sdist(self) -> CandidateFile | None:
        """The sdist that would be built, if there is no wheel."""
        last = self.releases[-1]
        return last.sdist if last.chosen is None else None


class Resolver:
    """Chooses wheels of one project for any number of systems. Variant metadata is read once."""

    def __init__(
        self,
        source: CandidateSource,
        releases: Iterable[CandidateRelease],
        *,
        specifier: SpecifierSet | None = None,
        ask: PluginRunner | None = None,
    ) -> None:
        """``specifier``: the allowed versions. ``ask``: runs plugins; None if they must not run.

        Raises ConfigError if no version is allowed.
        """
        self.source = source
        self.releases, self._last_resort = _allowed_releases(
            list(releases), specifier or SpecifierSet()
        )
        # PEP 592: a yanked file is only for a request of exactly that version.
        self.pinned = any(
            clause.operator in {"==", "==="} and not clause.version.endswith(".*")
            for clause in specifier or ()
        )
        self._ask = ask
        self._variants: dict[Version, ReleaseVariants] = {}

    def resolve(self, system: System) -> Resolution:
        """Choose a wheel for the system. Raises ProviderError if a plugin fails."""
        tried = []
        for release in self.releases:
            ranked = self.rank(release, system)
            tried.append(ranked)
            if ranked.chosen is not None or ranked.sdist is not None:
                break
        else:
            # If nothing fits anywhere, explain the newest release.
            tried = tried[:1]
        last = tried[-1]
        if last.release.version in self._last_resort:
            note = f"{last.release} is a pre-release, chosen because no final release fits"
            tried[-1] = replace(last, notes=(*last.notes, note))
        return Resolution(system=system, releases=tuple(tried))

    def rank(self, release: CandidateRelease, system: System) -> RankedRelease:
        """Rank the wheels of one release for a system."""
        variants = self.variants(release)
        support = SupportedProperties(supported={}, because={})
        ordered: list[RankedVariant] = []
        unfit: list[RankedVariant] = []
        if variants.metadata is not None:
            support = find_support(system, variants.metadata, ask=self._ask)
            known = rank_properties(variants.metadata.namespaces, support.supported)
            # Only variants that have wheels.
            labels = {wheel.label for wheel in release.wheels}
            declared = variants.metadata.variants.items()
            ordered, unfit = sort_variants(
                (variant for label, variant in declared if label in labels), known
            )
        groups: dict[str | None, tuple[str, ...]] = {entry.variant.label: () for entry in ordered}
        groups |= {
            entry.variant.label: tuple(map(support.reason, entry.unsupported)) for entry in unfit
        }
        for label in sorted({wheel.label or "" for wheel in release.wheels} - {""}):
            groups.setdefault(label, (variants.unknown_label_reason(label),))
        groups[None] = ()
        fitting, rejected = self._sort_wheels(release, groups, system)
        ranked = RankedRelease(
            release=release,
            fitting=tuple(fitting),
            rejected=tuple(rejected),
            sdist=next((sdist for sdist in release.sdists if self._buildable(sdist, system)), None),
            variants=variants.metadata.variants if variants.metadata is not None else {},
            notes=(*variants.notes, *support.notes),
        )
        return self._check_best(ranked, system)

    def _check_best(self, ranked: RankedRelease, system: System) -> RankedRelease:
        """Check the best wheel, as an installer does, including its Requires-Python.

        If it can't be installed, uv takes nothing of the release, neither another wheel nor an
        sdist: it tries an older release, or ends with an error. pip ends with an error.
        """
        best, python = ranked.chosen, system.python
        if best is None:
            note = self._sdist_note(ranked, python)
            return replace(ranked, notes=(*ranked.notes, note)) if note else ranked
        inspection = self.source.inspect(best, ranked.variants.get(best.label or ""))
        required = best.link.requires_python or inspection.requires_python or ""
        refusal = inspection.refusal or uv_refusal(required, python)
        if refusal is None:
            notes = [*ranked.notes, *([inspection.note] if inspection.note else [])]
            if pip_refuses(required, python):
                notes.append(
                    f"pip refuses {best.filename}, which requires Python {required}; uv reads only "
                    f"the lower bound"
                )
            return replace(ranked, notes=tuple(notes))
        not_tried = f"it comes after {best.filename}, and uv then tries no other wheel"
        reasons = (refusal, *[not_tried] * (len(ranked.fitting) - 1))
        refused = [
            RejectedWheel(file=wheel, of_variant=(), of_file=(why,))
            for wheel, why in zip(ranked.fitting, reasons, strict=True)
        ]
        return replace(ranked, fitting=(), rejected=(*refused, *ranked.rejected), sdist=None)

    def _sdist_note(self, ranked: RankedRelease, python: Version) -> str | None:
        """Return a note if uv may refuse the sdist because of a wheel that does not fit.

        uv takes all metadata of the release, including Requires-Python, from the wheel whose tags
        are closest, and then builds the sdist. pip takes it from the sdist.
        """
        if ranked.sdist is None:
            return None
        for wheel in (rejected.file for rejected in ranked.rejected):
            required = wheel.link.requires_python
            if required is None:
                required = self.source.inspect(wheel, None).requires_python
            if required and uv_refusal(required, python) is not None:
                return (
                    f"uv may refuse {ranked.sdist.filename}, because it reads the metadata of a wheel "
                    f"that does not fit, and {wheel.filename} requires Python {required}; pip does not"
                )
        return None

    def variants(self, release: CandidateRelease) -> ReleaseVariants:
        """Return the variant metadata of a release."""
        if release.version not in self._variants:
            self._variants[release.version] = read_variants(self.source, release)
        return self._variants[release.version]

    def _buildable(self, sdist: CandidateFile, system: System) -> bool:
        """Return whether an sdist can be built, from the data of the index. It is not opened."""
        accepted = uv_refusal(sdist.link.requires_python or "", system.python) is None
        return accepted and (sdist.link.yanked is None or self.pinned)

    def _sort_wheels(
        self,
        release: CandidateRelease,
        groups: Mapping[str | None, tuple[str, ...]],
        system: System,
    ) -> tuple[list[CandidateFile], list[RejectedWheel]]:
        """Return the wheels that fit, in order, and the rejected wheels, both sorted by group."""
        tag_rank = _tag_rank(system.tags)
        # Among otherwise equal wheels, uv takes the last by filename of variant wheels, and the
        # first of non-variant wheels.
        non_variant = [wheel for wheel in release.wheels if wheel.label is None]
        labelled = [wheel for wheel in reversed(release.wheels) if wheel.label is not None]
        ranked = [(tag_rank(wheel), wheel) for wheel in (*labelled, *non_variant)]
        ranked.sort(key=lambda entry: _build_tag(entry[1]), reverse=True)
        ranked.sort(key=lambda entry: len(system.tags) if entry[0] is None else entry[0])
        by_label: dict[str | None, list[tuple[int | None, CandidateFile]]] = {}
        for rank, wheel in ranked:
            by_label.setdefault(wheel.label, []).append((rank, wheel))
        fitting: list[CandidateFile] = []
        rejected: list[RejectedWheel] = []
        for label, reasons in groups.items():
            for rank, wheel in by_label.get(label, ()):
                own = tuple(self._own_reasons(wheel, rank is None, system))
                if reasons or own:
                    rejected.append(RejectedWheel(file=wheel, of_variant=reasons, of_file=own))
                else:
                    fitting.append(wheel)
        return fitting, rejected

    def _own_reasons(self, wheel: CandidateFile, misfits: bool, system: System) -> Iterator[str]:
        """Return why this file can't be installed, apart from its variant."""
        name = wheel.name.wheel
        if misfits and name is not None:
            yield tag_mismatch(name.python, name.abi, name.platform, system.tags)
        if wheel.link.yanked is not None and not self.pinned:
            yield f"it is yanked: {wheel.link.yanked}" if wheel.link.yanked else "it is yanked"
        required = wheel.link.requires_python
        if required is not None and _lower_bounds(required) is None:
            yield f"uv ignores it: its Requires-Python {required!r} can't be read"


def _allowed_releases(
    releases: list[CandidateRelease], specifier: SpecifierSet
) -> tuple[list[CandidateRelease], frozenset[Version]]:
    """Return the releases that an installer tries, in order, and which of them are a last resort.

    A pre-release is a last resort if there are final releases, and ``specifier`` names no
    pre-release (PEP 440, "Handling of pre-releases"): pip and uv take it if no final release
    fits.
    """
    versions = [release.version for release in releases]
    allowed = set(specifier.filter(versions, prereleases=True))
    if not allowed:
        listed = ", ".join(str(version) for version in versions[:10])
        raise ConfigError(
            f"no version matches {specifier}",
            hint=nearest(str(specifier).lstrip("=<>!~"), map(str, versions))
            or f"available: {listed}",
        )
    first = set(specifier.filter(versions))
    last_resort = allowed - first
    allowed_releases = [release for release in releases if release.version in first]
    allowed_releases += [release for release in releases if release.version in last_resort]
    return allowed_releases, frozenset(last_resort)


def _build_tag(wheel: CandidateFile) -> tuple[int, str]:
    """Return the build tag; without one, a value that is lower than any."""
    name = wheel.name.wheel
    match = _BUILD.fullmatch(name.build) if name is not None and name.build is not None else None
    return (int(match[1]), match[2]) if match else (-1, "")


def _tag_rank(tags: Mapping[Tag, int]) -> Callable[[CandidateFile], int | None]:
    """Return a function that returns the rank of the best tag of a wheel; None if no tag fits.

    Its results are cached, because many wheels have the same tags.
    """

    @cache
    def best_rank(python: str, abi: str, platform: str) -> int | None:
        if (python.count(".") + 1) * (abi.count(".") + 1) * (platform.count(".") + 1) > _MAX_TAGS:
            return None
        fitting = parse_tag(f"{python}-{abi}-{platform}") & tags.keys()
        return min((tags[tag] for tag in fitting), default=None)

    def rank(wheel: CandidateFile) -> int | None:
        name = wheel.name.wheel
        return best_rank(name.python, name.abi, name.platform) if name is not None else None

    return rank
