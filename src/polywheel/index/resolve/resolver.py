"""Which wheel a machine gets, and why not each of the others.

Per release: variants in the order of PEP 825, the null variant as the last of them, then the non-variant
wheels. Within each group the better platform tag comes first, and for equal tags the higher build tag. uv 0.13.9
does the same. If nothing in a release fits, an older one is taken, unless the release has an sdist. If nothing in any
final release fits, pre-releases follow.

uv reads only the lower bounds of ``Requires-Python``, ignores upper bounds and excluded versions, and accepts some
specifiers that PEP 440 does not know (``>=3.8.*``, ``!=3.0*``). pip applies the whole specifier, and
ignores an invalid one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.version import Version

from polywheel.errors import ConfigError, nearest
from polywheel.formats.ordering import RankedVariant, rank_properties, sort_variants
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


def is_read_by_uv(required: str) -> bool:
    """Whether uv can read a Requires-Python."""
    return _lower_bounds(required) is not None


def refused_by_uv(required: str, python: Version) -> str | None:
    """Why uv does not take what has this Requires-Python, perhaps empty; None where it does."""
    bounds = _lower_bounds(required)
    if bounds is None:
        return f"its Requires-Python {required!r} can't be read"
    release = _short(python.release)
    if any(release < lowest or (release == lowest and strict) for lowest, strict in bounds):
        return f"it requires Python {required}, and this is {python}"
    return None


@lru_cache(maxsize=1024)
def _lower_bounds(required: str) -> tuple[tuple[tuple[int, ...], bool], ...] | None:
    """The lowest versions that clauses allow, and whether each is itself excluded.

    None where a clause can't be read.
    """
    found = []
    for text in filter(str.strip, required.split(",")):
        clause = _CLAUSE.fullmatch(text)
        if clause is None:
            return None
        if clause["operator"] in _LOWER:
            release = tuple(map(int, clause["release"].split(".")))
            found.append((_short(release), clause["operator"] == ">"))
    return tuple(found)


def _short(release: tuple[int, ...]) -> tuple[int, ...]:
    """A release without zeros at its end: 3.11.0 is 3.11."""
    while release and not release[-1]:
        release = release[:-1]
    return release


def refused_by_pip(required: str, python: Version) -> bool:
    """Whether pip does not take it."""
    try:
        return not SpecifierSet(required).contains(python, prereleases=True)
    except ValueError:  # no specifier, or a number of more digits than Python reads
        return False


_BUILD = re.compile(r"([0-9]{1,18})(.*)", re.DOTALL)
_MOST_TAGS = 1000
"""Tags that one filename may stand for: each part of it may be a list."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedWheel:
    """A wheel that the machine can't have, and every reason for that."""

    file: CandidateFile
    of_variant: tuple[str, ...]
    """Reasons that hold for every wheel of its variant."""

    of_file: tuple[str, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        return (*self.of_variant, *self.of_file)


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedRelease:
    """How the wheels of one release stand to one system."""

    release: CandidateRelease
    fitting: tuple[CandidateFile, ...]
    """In the order in which an installer tries them: the first is the one that it takes."""

    rejected: tuple[RejectedWheel, ...]
    """In the same order, variants that are not supported after those that are, by label."""

    sdist: CandidateFile | None
    """What an installer would build where no wheel fits."""

    variants: Mapping[str, Variant]
    """What the labels stand for."""

    notes: tuple[str, ...] = ()

    @property
    def chosen(self) -> CandidateFile | None:
        return self.fitting[0] if self.fitting else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolution:
    """What one system gets of a project."""

    system: System
    choices: tuple[RankedRelease, ...]
    """The releases that were looked at, in order; only from the last one something may fit."""

    @property
    def chosen(self) -> CandidateFile | None:
        return self.choices[-1].chosen

    @property
    def sdist(self) -> CandidateFile | None:
        """What would be built, no wheel being there."""
        last = self.choices[-1]
        return last.sdist if last.chosen is None else None


class Resolver:
    """Answers for one project and any number of systems; variant metadata are read once."""

    def __init__(
        self,
        place: CandidateSource,
        found: Iterable[CandidateRelease],
        *,
        specifier: SpecifierSet | None = None,
        ask: PluginRunner | None = None,
    ) -> None:
        """``specifier``: the versions that are wanted; ``ask``: runs plugins, None if they may not.

        Raises ConfigError where no version is as wanted.
        """
        self.place = place
        self.releases, self._last_resort = _wanted(list(found), specifier or SpecifierSet())
        # PEP 592: a yanked file is for those who ask for exactly that version.
        self.pinned = any(
            one.operator in {"==", "==="} and not one.version.endswith(".*")
            for one in specifier or ()
        )
        self._ask = ask
        self._variants: dict[Version, ReleaseVariants] = {}

    def resolve(self, system: System) -> Resolution:
        """What the system gets. Raises ProviderError where a plugin fails."""
        looked_at = []
        for release in self.releases:
            choice = self.rank(release, system)
            looked_at.append(choice)
            if choice.chosen is not None or choice.sdist is not None:
                break
        else:
            # Nothing anywhere: the newest release is the one to explain.
            looked_at = looked_at[:1]
        last = looked_at[-1]
        if last.release.version in self._last_resort:
            note = f"{last.release} is a pre-release, and taken as nothing of a final release fits"
            looked_at[-1] = replace(last, notes=(*last.notes, note))
        return Resolution(system=system, choices=tuple(looked_at))

    def rank(self, release: CandidateRelease, system: System) -> RankedRelease:
        """How the wheels of one release stand to a system."""
        variants = self.variants(release)
        support = SupportedProperties(supported={}, because={})
        ordered: list[RankedVariant] = []
        unfit: list[RankedVariant] = []
        if variants.metadata is not None:
            support = find_support(system, variants.metadata, ask=self._ask)
            known = rank_properties(variants.metadata.namespaces, support.supported)
            # Only what is there to be taken.
            labels = {wheel.label for wheel in release.wheels}
            ordered, unfit = sort_variants(
                (one for label, one in variants.metadata.variants.items() if label in labels),
                known,
            )
        groups: dict[str | None, tuple[str, ...]] = {one.variant.label: () for one in ordered}
        groups |= {one.variant.label: tuple(map(support.reason, one.unsupported)) for one in unfit}
        for label in sorted({wheel.label or "" for wheel in release.wheels} - {""}):
            groups.setdefault(label, _unknown(label, variants))
        groups[None] = ()
        fitting, rejected = self._sorted(release, groups, system)
        choice = RankedRelease(
            release=release,
            fitting=tuple(fitting),
            rejected=tuple(rejected),
            sdist=next((one for one in release.sdists if self._buildable(one, system)), None),
            variants=variants.metadata.variants if variants.metadata is not None else {},
            notes=(*variants.notes, *support.notes),
        )
        return self._inspected(choice, system)

    def _inspected(self, choice: RankedRelease, system: System) -> RankedRelease:
        """The choice, the best wheel of which an installer looks at, its Requires-Python too.

        Where it can't be installed, uv takes nothing of the release, neither another wheel nor an
        sdist: it goes on to an older one, or ends with an error. pip ends with an error.
        """
        best, python = choice.chosen, system.python
        if best is None:
            return choice
        found = self.place.inspect(best, choice.variants.get(best.label or ""))
        required = best.link.requires_python or found.requires_python or ""
        refusal = found.refusal or refused_by_uv(required, python)
        if refusal is None:
            notes = [*choice.notes, *([found.note] if found.note else [])]
            if refused_by_pip(required, python):
                notes.append(
                    f"pip does not take {best.filename}, which requires Python {required}: uv goes "
                    f"by the lower bound alone"
                )
            return replace(choice, notes=tuple(notes))
        behind = f"it comes after {best.filename}, and uv looks for no other then"
        reasons = (refusal, *[behind] * (len(choice.fitting) - 1))
        refused = [
            RejectedWheel(file=wheel, of_variant=(), of_file=(why,))
            for wheel, why in zip(choice.fitting, reasons, strict=True)
        ]
        return replace(choice, fitting=(), rejected=(*refused, *choice.rejected), sdist=None)

    def variants(self, release: CandidateRelease) -> ReleaseVariants:
        """What is known of the variants of a release."""
        if release.version not in self._variants:
            self._variants[release.version] = read_variants(self.place, release)
        return self._variants[release.version]

    def _buildable(self, sdist: CandidateFile, system: System) -> bool:
        """As far as an index tells: the sdists of a folder are not opened."""
        required = sdist.link.requires_python or ""
        taken = refused_by_uv(required, system.python) is None
        return taken and (sdist.link.yanked is None or self.pinned)

    def _sorted(
        self,
        release: CandidateRelease,
        groups: Mapping[str | None, tuple[str, ...]],
        system: System,
    ) -> tuple[list[CandidateFile], list[RejectedWheel]]:
        """The wheels that fit, in order, and the others; both by group first."""
        places = _Places(system.tags)
        # Where nothing else tells them apart, uv takes the last of the variant wheels by filename, and
        # the first of the others.
        plain = [wheel for wheel in release.wheels if wheel.label is None]
        labelled = [wheel for wheel in reversed(release.wheels) if wheel.label is not None]
        placed = [(places.best(wheel), wheel) for wheel in (*labelled, *plain)]
        placed.sort(key=lambda one: _build(one[1]), reverse=True)
        placed.sort(key=lambda one: len(system.tags) if one[0] is None else one[0])
        by_label: dict[str | None, list[tuple[int | None, CandidateFile]]] = {}
        for place, wheel in placed:
            by_label.setdefault(wheel.label, []).append((place, wheel))
        fitting: list[CandidateFile] = []
        rejected: list[RejectedWheel] = []
        for label, reasons in groups.items():
            for place, wheel in by_label.get(label, ()):
                own = tuple(self._own_reasons(wheel, place is None, system))
                if reasons or own:
                    rejected.append(RejectedWheel(file=wheel, of_variant=reasons, of_file=own))
                else:
                    fitting.append(wheel)
        return fitting, rejected

    def _own_reasons(self, wheel: CandidateFile, misfits: bool, system: System) -> Iterator[str]:
        """Why this file can't be taken, whatever its variant."""
        name = wheel.name.wheel
        if misfits and name is not None:
            yield tag_mismatch(name.python, name.abi, name.platform, system.tags)
        if wheel.link.yanked is not None and not self.pinned:
            yield f"it is yanked: {wheel.link.yanked}" if wheel.link.yanked else "it is yanked"
        required = wheel.link.requires_python
        if required is not None and not is_read_by_uv(required):
            yield f"uv leaves it out: its Requires-Python {required!r} can't be read"


def _wanted(
    found: list[CandidateRelease], specifier: SpecifierSet
) -> tuple[list[CandidateRelease], frozenset[Version]]:
    """The releases that an installer looks at, in order, and which of them are a last resort.

    Those are pre-releases where there are final releases, and ``specifier`` names no pre-release
    (PEP 440, "Handling of pre-releases"): pip and uv take one where no final release will do.
    """
    versions = [one.version for one in found]
    allowed = set(specifier.filter(versions, prereleases=True))
    if not allowed:
        there = ", ".join(str(version) for version in versions[:10])
        raise ConfigError(
            f"no version is as wanted: {specifier}",
            hint=nearest(str(specifier).lstrip("=<>!~"), map(str, versions)) or f"there is {there}",
        )
    first = set(specifier.filter(versions))
    last_resort = allowed - first
    wanted = [one for one in found if one.version in first]
    wanted += [one for one in found if one.version in last_resort]
    return wanted, frozenset(last_resort)


def _unknown(label: str, variants: ReleaseVariants) -> tuple[str, ...]:
    """Why nothing is known of the variant of a label that wheels have."""
    if variants.metadata is None:
        return (variants.missing_reason or "nothing says what its label stands for",)
    return (f"{variants.at} has no variant {label!r}",)


def _build(wheel: CandidateFile) -> tuple[int, str]:
    """The build tag: -1 where there is none, which is lower than any."""
    name = wheel.name.wheel
    found = _BUILD.fullmatch(name.build) if name is not None and name.build is not None else None
    return (int(found[1]), found[2]) if found else (-1, "")


class _Places:
    """The best place that any tag of a wheel has; many wheels have the same ones."""

    def __init__(self, tags: Mapping[Tag, int]) -> None:
        self._tags = tags
        self._known: dict[tuple[str, str, str], int | None] = {}

    def best(self, wheel: CandidateFile) -> int | None:
        """None where no tag fits."""
        name = wheel.name.wheel
        if name is None:
            return None
        parts = name.python.lower(), name.abi.lower(), name.platform.lower()
        if parts not in self._known:
            self._known[parts] = self._best(*(part.split(".") for part in parts))
        return self._known[parts]

    def _best(self, pythons: list[str], abis: list[str], platforms: list[str]) -> int | None:
        if len(pythons) * len(abis) * len(platforms) > _MOST_TAGS:
            return None
        places = (
            self._tags.get(Tag(python, abi, platform))
            for python in pythons
            for abi in abis
            for platform in platforms
        )
        return min((place for place in places if place is not None), default=None)
