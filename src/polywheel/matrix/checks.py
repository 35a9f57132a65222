"""Check the cells of a matrix against each other, and against what the project declares."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from polywheel.config.matrix_table import MARKER_VARIABLES
from polywheel.config.project import Project
from polywheel.config.reader import Problems
from polywheel.errors import ConfigError, nearest
from polywheel.matrix.build_settings import AFTER_THE_BUILD, set_keys
from polywheel.matrix.cell import Cell, ExpansionState
from polywheel.matrix.platforms import Platform
from polywheel.model.matrix import Matrix, Target, WheelTests
from polywheel.model.plan import Build, Job, Removal
from polywheel.model.setup import SetupRule
from polywheel.model.variant import VariantMetadata, VariantProperty
from polywheel.setup.unused_rules import check_backends
from polywheel.system.terminal import join_first

_MAX_NAMED_RULES = 3
_MAX_NAMED_PLATFORMS = 4
_MAX_NAMED_WHEELS = 6
_TAG_CHARACTERS = string.ascii_lowercase + string.digits + "_"
"""The characters of platform tags."""
_GLOB_PART = re.compile(r"\[!?\]?[^\]]*\]|.", re.DOTALL)


def merge_cells(state: ExpansionState) -> list[Cell]:
    """The cells without duplicates: a declared variant may have the properties of a combination.

    Cells of combinations come first and are kept.
    """
    by_key: dict[tuple[str | None, str, str], list[Cell]] = {}
    for cell in state.cells:
        by_key.setdefault(cell.key, []).append(cell)
    repeated = {key: cells for key, cells in by_key.items() if len(cells) > 1}
    reported = set[str | None]()
    for (label, _, _), cells in repeated.items():
        first, *others = [cell for cell in cells if cell.axes] or cells
        other = next((cell for cell in others if cell.axes != first.axes), None)
        # Different properties are another problem; see check_labels.
        if other and other.properties == first.properties and label not in reported:
            reported.add(label)
            state.problems.add(
                f"two cells are both {label!r}: {_describe_cell(first)}; and {_describe_cell(other)}",
                at=other.at,
                hint="exclude one of them, or give it properties",
            )
    if repeated:
        _check_includes(state, repeated)
    return [cells[0] for cells in by_key.values()]


def _check_includes(
    state: ExpansionState, repeated: Mapping[tuple[str | None, str, str], Sequence[Cell]]
) -> None:
    """Report each include whose new cells all exist without it."""
    needed = {
        cell.at
        for cell in state.cells
        if len({other.at for other in repeated.get(cell.key, ())}) < 2
    }
    redundant = {cell.at for cells in repeated.values() for cell in cells} - needed
    for include in state.matrix.include:
        if include.pattern.at in redundant:
            state.problems.add(
                "the include adds nothing: all its cells exist already",
                at=include.pattern.at,
                hint="leave it out",
            )


def check_labels(
    cells: Sequence[Cell],
    metadata: VariantMetadata,
    variant_at: Mapping[str, str],
    problems: Problems,
) -> None:
    """Check that each label has one set of properties, and each set of properties has one label."""
    by_label: dict[str, tuple[tuple[VariantProperty, ...], str]] = {}
    by_properties: dict[tuple[VariantProperty, ...], tuple[str, str]] = {}

    def check_label_of(properties: tuple[VariantProperty, ...], label: str, at: str) -> None:
        first, first_at = by_properties.setdefault(properties, (label, at))
        if first != label:
            problems.add(
                f"the same properties have two labels: {first!r} ({first_at}) and {label!r}",
                at=at,
                hint="use one label for one set of properties",
            )

    for label, variant in metadata.variants.items():
        by_label[label] = (variant.properties, variant_at[label])
        check_label_of(variant.properties, label, variant_at[label])
    seen = set[tuple[str, tuple[VariantProperty, ...]]]()
    for cell in cells:
        # One report for all Pythons and targets.
        if cell.label is None or (cell.label, cell.properties) in seen:
            continue
        seen.add((cell.label, cell.properties))
        properties, at = by_label.setdefault(cell.label, (cell.properties, cell.at))
        if properties != cell.properties:
            problems.add(
                f"the label {cell.label!r} stands for different properties: {_listed(properties)} ({at}), "
                f"and {_listed(cell.properties)} ({_describe_cell(cell)})",
                at=cell.at,
                hint="a label must have the same properties on every Python and target",
            )
        check_label_of(cell.properties, cell.label, cell.at)


def check_filenames(wheels: Iterable[tuple[str, str, Cell]], problems: Problems) -> None:
    """Check that no two targets give wheels with the same filename.

    ``wheels`` are ids, the Pythons that they serve, and their first cells.
    """
    seen: dict[tuple[str | None, str, str | None], list[tuple[str, Target]]] = {}
    reported = set[frozenset[str]]()
    for identifier, serves, cell in wheels:
        target = cell.platform.target
        others = seen.setdefault((cell.label, serves, target.platform), [])
        for other, other_target in others:
            names = frozenset((target.name, other_target.name))
            if names not in reported and _tags_overlap(target, other_target):
                reported.add(names)
                problems.add(
                    f"the wheels of {other} and {identifier} would have the same filename",
                    at=target.at,
                    hint=f"both targets are for {target.platform}, and a tag can match the platform-tags of both: "
                    f"{_described_tags(other_target)}, and {_described_tags(target)}; give them globs that "
                    "do not overlap, or exclude one",
                )
        others.append((identifier, target))


def _described_tags(target: Target) -> str:
    return f"{', '.join(target.platform_tags) or 'any tag'} ({target.name})"


def _tags_overlap(first: Target, second: Target) -> bool:
    """Whether a platform tag may match the globs of both targets. Without globs, all tags are allowed."""
    if not first.platform_tags or not second.platform_tags:
        return True
    return any(
        _globs_overlap(_glob_parts(one), _glob_parts(other))
        for one in first.platform_tags
        for other in second.platform_tags
    )


_GlobPart = frozenset[str] | None
"""A part of a glob: the characters that it stands for, or None for a ``*``."""


@cache
def _glob_parts(glob: str) -> tuple[_GlobPart, ...]:
    """The parts of a glob for platform tags."""
    parts = (match[0] for match in _GLOB_PART.finditer(glob))
    return tuple(
        None if part == "*" else frozenset(c for c in _TAG_CHARACTERS if fnmatchcase(c, part))
        for part in parts
    )


@cache
def _globs_overlap(one: tuple[_GlobPart, ...], other: tuple[_GlobPart, ...]) -> bool:
    """Whether a text matches both globs."""
    waiting, seen = [(0, 0)], set[tuple[int, int]]()
    while waiting:
        # A text matches the first parts of one glob and the first parts of the other.
        first, second = place = waiting.pop()
        if place == (len(one), len(other)):
            return True
        if place in seen:
            continue
        seen.add(place)
        part = one[first] if first < len(one) else frozenset()
        other_part = other[second] if second < len(other) else frozenset()
        if part is None:
            waiting += [(first + 1, second), *([(first, second + 1)] if other_part else [])]
        if other_part is None:
            waiting += [(first, second + 1), *([(first + 1, second)] if part else [])]
        if part and other_part and part & other_part:
            waiting.append((first + 1, second + 1))
    return False


def check_used(
    source: Path,
    matrix: Matrix,
    cells: Sequence[Cell],
    removed: Sequence[Removal],
    problems: Problems,
) -> None:
    """Check that each Python, target, axis value, and row has a cell."""
    if not cells:
        start = "declare [tool.polywheel.matrix.axes] or [variant.variants]"
        # Only sdists have this file.
        is_sdist = (source / "PKG-INFO").is_file()
        start += (
            " in a file, and pass it with --config FILE" if is_sdist else "; or run polywheel init"
        )
        problems.add("the matrix is empty", at=matrix.at, hint=_removed_by(removed) or start)
        return
    used = {item for cell in cells for item in cell.values.items()}
    declared = [("python", n, f"{matrix.at}.python[{i}]") for i, n in enumerate(matrix.python)]
    declared += [("target", n, f"{matrix.at}.targets[{i}]") for i, n in enumerate(matrix.targets)]
    for axis, values in matrix.axes.items():
        declared += [(axis, value.name, value.at) for value in values]
    for key, name, at in declared:
        if (key, name) not in used:
            removals = [
                removal
                for removal in removed
                if {**removal.axes, "python": removal.python, "target": removal.target}.get(key)
                == name
            ]
            hint = _removed_by(removals) or "no row or include uses it; remove it"
            problems.add(f"no cell is left with the {key} {name!r}", at=at, hint=hint)
    used_at = {cell.at for cell in cells}
    for row in matrix.rows:
        if row.at not in used_at:
            removals = [removal for removal in removed if row.matches(removal.axes)]
            problems.add("no cell of this row is left", at=row.at, hint=_removed_by(removals))


def _removed_by(removals: Iterable[Removal]) -> str | None:
    """A hint with the key paths that removed cells."""
    keys = dict.fromkeys(removal.at.rpartition(": ")[2] for removal in removals)
    return f"removed by {join_first(keys, _MAX_NAMED_RULES)}" if keys else None


def check_rules_are_used(project: Project, cells: Sequence[Cell], problems: Problems) -> None:
    """Check that each setup rule is for a cell of the matrix, and each provider for a namespace."""
    for namespace in project.settings.providers:
        at = project.at(f"tool.polywheel.providers.{namespace}")
        problems.attempt(project.metadata.require_provider, namespace, at=at)
    check_backends(project, problems)
    by_target = _platforms_by_target(cells)
    variants = [(cell.label, cell.platform) for cell in cells if cell.label is not None]
    for rule in project.settings.setup:
        if rule.label_glob is not None:
            glob = rule.label_glob
            platforms = {platform for label, platform in variants if fnmatchcase(label, glob)}
            what = f"no variant of the matrix has a label that matches {glob!r}"
            hint = nearest(glob, {label for label, _ in variants})
        else:
            platforms = by_target.get(rule.target, set())
            what = f"no variant of the matrix has a property that the rule {rule.key!r} is about"
            names = {" :: ".join(key) for key in by_target if len(key) == len(rule.target)}
            hint = nearest(rule.key, names)
        if not platforms:
            problems.add(what, at=rule.at, hint=hint or "leave it out, or declare such a variant")
        elif rule.when is not None and not _holds_anywhere(rule, rule.when, platforms, problems):
            named = sorted({f"Python {one.python} on {one.target.name}" for one in platforms})
            problems.add(
                f"the marker {rule.when!r} holds for no variant that the rule {rule.key!r} is about",
                at=f"{rule.at}.when",
                hint=f"they are for {join_first(named, _MAX_NAMED_PLATFORMS)}",
            )


def targets_without_builds(
    declared: Mapping[str, Target], builds: Iterable[Build], jobs: Iterable[Job]
) -> Iterator[str]:
    """Yield a warning for each declared target whose settings no build has: its wheels are built elsewhere."""
    built = {build.target for build in builds}
    elsewhere = {name: job.targets[0] for job in jobs for name in job.targets}
    for name, target in declared.items():
        # Markers of a target may be in its environment.
        names = (key.partition(".") for key in set_keys(target.settings))
        keys = dict.fromkeys(key for key, _, name in names if name not in MARKER_VARIABLES)
        own = [key for key in keys if key.replace("-", "_") not in AFTER_THE_BUILD]
        if own and name in elsewhere and name not in built:
            yield (
                f"{', '.join(own)} of the target {name!r} have no effect: its wheels are for any platform, and are "
                f"built on {elsewhere[name]} ({target.at})"
            )


def unused_test_settings(jobs: Iterable[Job], builds: Iterable[Build]) -> Iterator[str]:
    """Yield a warning if there are settings of tests, and no test."""
    settings = [*(build.settings for build in builds), *(job.tests for job in jobs if job.tests)]
    keys = {
        field.name.replace("_", "-")
        for tests in {id(one): one for one in settings}.values()
        for field in fields(WheelTests)
        if getattr(tests, field.name)
    }
    if keys and "test-command" not in keys:
        yield (
            f"{', '.join(sorted(keys))}: no effect, because no wheel has a test-command; add it to "
            "[tool.polywheel], a target, or an override"
        )


def unmatched_test_skips(
    wheels: Iterable[tuple[Sequence[str], Sequence[str], str]],
) -> dict[tuple[str, int], str]:
    """Return the globs of ``test-skip`` that match no wheel, by their location and number.

    ``wheels`` are the names of each wheel, the globs of its ``test-skip``, and the location of these.
    """
    matched = set[tuple[str, int]]()
    globs: dict[tuple[str, int], str] = {}
    for names, own_globs, at in wheels:
        for place, glob in (((at, number), glob) for number, glob in enumerate(own_globs)):
            globs.setdefault(place, glob)
            if place not in matched and any(fnmatchcase(name, glob) for name in names):
                matched.add(place)
    return {place: glob for place, glob in globs.items() if place not in matched}


def test_skip_warnings(
    unmatched: Mapping[tuple[str, int], str], names: Iterable[str]
) -> Iterator[str]:
    """Yield a warning for each glob of :func:`unmatched_test_skips`. ``names`` are those of all wheels."""
    known = tuple(dict.fromkeys(names))
    for (at, number), glob in unmatched.items():
        hint = nearest(glob, known) or f"names of wheels are {join_first(known, _MAX_NAMED_WHEELS)}"
        if "{" in glob:
            hint = "braces are not expanded: write a glob for each alternative"
        yield (
            f"test-skip: {glob!r} matches no label, id of a job, or identifier of cibuildwheel "
            f"({at}[{number}]); {hint}"
        )


def _platforms_by_target(cells: Iterable[Cell]) -> dict[tuple[str, ...], set[Platform]]:
    """The platforms of cells, by the possible targets of rules: (namespace, feature, value)."""
    by_property: dict[VariantProperty, set[Platform]] = {}
    by_target: dict[tuple[str, ...], set[Platform]] = {(): set()}
    for cell in cells:
        if cell.label is not None:
            by_target[()].add(cell.platform)
        for prop in cell.properties:
            by_property.setdefault(prop, set()).add(cell.platform)
    for prop, platforms in by_property.items():
        parts = (prop.namespace, prop.feature, prop.value)
        for length in (1, 2, 3):
            by_target.setdefault(parts[:length], set()).update(platforms)
    return by_target


def _holds_anywhere(
    rule: SetupRule, marker: str, platforms: Iterable[Platform], problems: Problems
) -> bool:
    try:
        # Every platform is checked, because the marker may be undefined for one of them.
        return bool(sum(platform.holds(marker, at=f"{rule.at}.when") for platform in platforms))
    except ConfigError as error:
        problems.found.extend(error.problems)
        return True


def _listed(properties: Sequence[VariantProperty]) -> str:
    return ", ".join(map(str, properties)) or "none"


def _describe_cell(cell: Cell) -> str:
    return ", ".join(f"{key} = {value}" for key, value in cell.values.items() if key != "label")
