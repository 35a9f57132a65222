"""Expand the matrix of a project to a plan: cells, then jobs (wheels) and builds (runs of the backend)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from polywheel.config.matrix_table import read_matrix
from polywheel.config.project import Project, read_project
from polywheel.config.reader import Problems, Table
from polywheel.errors import ConfigError
from polywheel.matrix.builds import (
    BuildKeys,
    asked_namespaces,
    check_rules_are_used,
    why_variant_is_read,
)
from polywheel.matrix.cell import Cell, Labels
from polywheel.matrix.cells import Expansion
from polywheel.matrix.checks import check_labels, check_properties, check_used, merge_cells
from polywheel.matrix.equal_variants import equal_variants
from polywheel.matrix.platforms import (
    Platform,
    all_targets,
    matrix_targets,
    python_order,
    running_python,
)
from polywheel.matrix.wheel_tag import WheelTag, wheel_tag
from polywheel.model.matrix import Matrix, Target
from polywheel.model.plan import NON_VARIANT, Build, EqualVariants, Job, Plan, Removal
from polywheel.model.variant import Variant, VariantProperty
from polywheel.setup.profiles import choose_backend


@dataclass(frozen=True, kw_only=True, slots=True)
class Jobs:
    """The jobs of a matrix and their builds."""

    jobs: tuple[Job, ...]
    builds: tuple[Build, ...]
    same: tuple[tuple[str, ...], ...]
    """Sets of jobs, by id, that ask the same of their builds, whether or not they share one."""

    unshared: str | None
    """Why jobs that ask the same do not share a build; None where they do, or none do."""


def jobs_and_builds(
    cells: Sequence[Cell],
    keys: BuildKeys,
    tag: WheelTag,
    *,
    unshared: Callable[[], str | None],
    problems: Problems,
) -> Jobs:
    """Cells that are one wheel are one job; jobs that ask the same of the build are one build.

    ``unshared`` says why each job is a build of its own all the same, or None. It is asked if jobs
    would share a build.
    """
    wheels: dict[tuple[str | None, str | None, str], list[Cell]] = {}
    for cell in cells:
        python, target = cell.platform.python, cell.platform.target.name
        together = tag.serves_together(python)
        key = (cell.label, None if tag.any_target else target, together or python)
        wheels.setdefault(key, []).append(cell)
    builds: dict[tuple[object, ...], list[_Wheel]] = {}
    for (_, _, served), members in wheels.items():
        if len(members) > 1:
            # A platform of one of the cells: the lowest Python need not be there for the first target.
            members.sort(
                key=lambda one: (python_order(one.platform.python), one.platform.target.name)
            )
        wheel = _Wheel(members, served, tag)
        first = wheel.first
        asks = keys.of(first)
        other = next((one for one in members[1:] if keys.of(one) != asks), None)
        if other is not None:
            _note_two_builds(first, other, tag, problems)
        builds.setdefault((first.platform.target.name, first.platform.python, asks), []).append(
            wheel
        )
    groups = list(builds.values())
    for group in groups:
        group.sort(key=lambda one: one.order)
    groups.sort(key=lambda group: group[0].order)
    same = tuple(tuple(one.id for one in group) for group in groups if len(group) > 1)
    why = unshared() if len(groups) < len(wheels) else None
    if why is not None:
        groups = [[wheel] for group in groups for wheel in group]
    jobs, found = _ordered(groups)
    return Jobs(jobs=jobs, builds=found, same=same, unshared=why)


class _Wheel:
    """Cells that are one wheel: the first platform builds it."""

    __slots__ = ("first", "id", "members", "order")

    def __init__(self, members: Sequence[Cell], served: str, tag: WheelTag) -> None:
        self.members = members
        self.first = first = members[0]
        short = served if served in {"py3", "abi3"} else "cp" + served.replace(".", "")
        platform = "any" if tag.any_target else first.platform.target.name
        self.id = f"{platform}-{short}-{first.label or NON_VARIANT}"
        # Targets, then Pythons, then the non-variant wheel, the null variant, and labels.
        kind = 0 if first.label is None else 1 if not first.properties else 2
        python = python_order(first.platform.python)
        self.order = (first.platform.target.name, python, kind, first.label or "")

    def job(self, build: str) -> Job:
        first, platforms = self.first, [one.platform for one in self.members]
        targets = sorted({one.target.name for one in platforms})
        return Job(
            id=self.id,
            label=first.label,
            properties=first.properties,
            axes=first.axes,
            pythons=tuple(sorted({one.python for one in platforms}, key=python_order)),
            targets=tuple(dict.fromkeys((platforms[0].target.name, *targets))),
            build=build,
            at=first.at,
        )


def _note_two_builds(one: Cell, other: Cell, tag: WheelTag, problems: Problems) -> None:
    """Note a wheel that is to serve two platforms where setup rules ask different things."""
    problems.add(
        f"one wheel ({tag.kind}) of the variant {one.label!r} is for Python {one.platform.python} on "
        f"{one.platform.target.name} and Python {other.platform.python} on {other.platform.target.name}, "
        "but setup rules with `when` give them different build setups",
        at=one.at,
        hint='let the rules not depend on the platform, or set wheel-tag = "python"',
    )


def _ordered(groups: Iterable[list[_Wheel]]) -> tuple[tuple[Job, ...], tuple[Build, ...]]:
    """Jobs with the id of their build, and the builds; both in an order of their own."""
    wheels: list[tuple[_Wheel, str]] = []
    builds = []
    for group in groups:
        first = group[0]
        wheels += [(one, first.id) for one in group]
        platform = first.first.platform
        build = Build(
            id=first.id,
            python=platform.python,
            target=platform.target.name,
            jobs=tuple(one.id for one in group),
        )
        builds.append((first.order, build))
    wheels.sort(key=lambda one: one[0].order)
    builds.sort(key=lambda one: one[0])
    return tuple(one.job(build) for one, build in wheels), tuple(build for _, build in builds)


_PYTHONS = tuple(f"3.{minor}" for minor in range(8, 20))
"""Where a marker about Python may hold, for a matrix that names none."""
_CELLS_ANYWHERE = 100_000


def expand(source: str | Path, *, config: str | Path | None = None) -> Plan:
    """The plan of the project in a folder: what has to be built, where, and why.

    ``config`` is a file whose ``[variant]`` and ``[tool.polywheel]`` tables stand in place of the
    project's. Raises ConfigError with everything that is wrong.
    """
    project = read_project(Path(source), variants=True, config=Path(config) if config else None)
    return expand_project(project)


def expand_project(project: Project) -> Plan:
    """The plan of a project. Raises ConfigError with everything that is wrong."""
    matrix, declared = read_matrix(project)
    choice = choose_backend(project)
    profile = choice.profile.name if choice.profile else None
    here = _expanded(project, matrix, declared, rules=True)
    keys = BuildKeys(project, profile)
    tag = wheel_tag(project, profile, matrix.wheel_tag)
    problems = Problems()
    found = jobs_and_builds(
        here.cells, keys, tag, unshared=lambda: _unshared(project, matrix), problems=problems
    )
    problems.raise_all()
    # share-builds = false says that builds read their variant.
    same = found.same if matrix.share_builds is not False else ()
    equal = equal_variants(project, found.jobs, same, unshared=found.unshared is not None)
    if errors := [one.problem for one in equal if one.is_error]:
        raise ConfigError.collected(errors)
    return Plan(
        project=project.name,
        namespaces=project.metadata.namespaces,
        targets=here.targets,
        axes={axis: tuple(one.name for one in values) for axis, values in matrix.axes.items()},
        jobs=found.jobs,
        builds=found.builds,
        removed=tuple(here.removed),
        warnings=tuple(map(str, equal)),
        unshared=found.unshared,
    )


def equal_when_built(
    project: Project, jobs: Sequence[Job], same: Sequence[Sequence[str]]
) -> tuple[EqualVariants, ...]:
    """As in a plan, those of sets of jobs that a plan can't find, because it asks no plugins.

    ``same`` has the ids of jobs that asked the same of their builds, plugins asked. Raises ConfigError.
    """
    asked, by_id = asked_namespaces(project), {job.id: job for job in jobs}

    def of_plugins(identifier: str) -> frozenset[VariantProperty]:
        return frozenset(one for one in by_id[identifier].properties if one.namespace in asked)

    same = [one for one in same if len(set(map(of_plugins, one))) > 1]
    if not same:
        return ()
    matrix, _ = read_matrix(project)
    if matrix.share_builds is False:
        return ()
    unshared = _unshared(project, matrix) is not None
    return equal_variants(project, jobs, same, unshared=unshared)


def _unshared(project: Project, matrix: Matrix) -> str | None:
    """Why no builds are shared, where that is so."""
    if matrix.share_builds is True:
        return None
    if matrix.share_builds is False:
        return f"share-builds = false ({matrix.at})"
    return why_variant_is_read(project.source)


def matrix_variants(
    project: Project, properties: tuple[VariantProperty, ...] = ()
) -> dict[str, Variant]:
    """The variants of a project's matrix by label, those that are declared among them.

    Where ``properties`` are those of no variant of this Python and target, the variants of all
    others are among them: a set of properties has one label everywhere. Raises ConfigError.
    """
    matrix, declared = read_matrix(project)
    open_ended = bool(properties) and not (matrix.python and matrix.targets)
    try:
        found = _by_label(_expanded(project, matrix, declared, rules=False).cells)
    except ConfigError:
        if not open_ended:
            raise
        found = {}  # it may be that nothing of the matrix is for this machine
    if open_ended and all(one.properties != properties for one in found.values()):
        problems = Problems()
        there = _anywhere(project, matrix, declared, problems, rules=False)
        problems.raise_all()
        found = {**_by_label(there.cells), **found}
    return found


def is_machine_independent(project: Project) -> bool:
    """Whether a project's matrix names its Pythons and targets, so that its plan is the same on every
    machine.
    """
    matrix, _ = read_matrix(project)
    return bool(matrix.python and matrix.targets)


def labels_anywhere(project: Project) -> frozenset[str | None] | None:
    """The labels of a matrix with every Python and target that there may be.

    The label of the non-variant wheel is None. None where the cells are too many to say.
    """
    matrix, declared = read_matrix(project)
    there = _anywhere(project, matrix, declared, Problems(), rules=False)
    return None if there.too_large else frozenset(cell.label for cell in there.cells)


def _by_label(cells: Sequence[Cell]) -> dict[str, Variant]:
    return {
        cell.label: Variant(cell.properties, cell.label) for cell in cells if cell.label is not None
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Expanded:
    """Each (label, Python, target) once, what is not there, and where everything is."""

    cells: list[Cell]
    removed: list[Removal]
    too_large: bool
    targets: Mapping[str, Target] = field(default_factory=dict)


def _expanded(
    project: Project, matrix: Matrix, declared: Mapping[str, Target], *, rules: bool
) -> _Expanded:
    """The cells of a matrix, checked; with ``rules``, the project's setup rules too.

    A matrix without ``python`` or ``targets`` is for where it is read, and what is declared may have
    its effect elsewhere: a marker about Linux is no mistake on macOS. What seems wrong here is wrong
    only if it is wrong too with every Python and target that there may be. Raises ConfigError.
    """
    about_targets = Problems()
    targets = matrix_targets(matrix, declared, about_targets)
    pythons = matrix.python or (running_python(),)
    problems = Problems([*about_targets.found])
    here = _cells(project, matrix, _platforms(matrix, pythons, targets), problems, rules=rules)
    if problems.found and not (matrix.python and matrix.targets):
        anywhere = Problems()
        there = _anywhere(project, matrix, declared, anywhere, rules=rules)
        if not (here.too_large or there.too_large):
            problems = anywhere
            if not anywhere.found and not here.cells:
                problems.add(
                    f"nothing of the matrix is for {', '.join(targets)} with Python "
                    + ", ".join(matrix.python or (running_python(),)),
                    at=matrix.at,
                    hint="set targets and python; without them, polywheel uses this machine's",
                )
    problems.raise_all()
    return replace(here, targets=targets)


def _anywhere(
    project: Project,
    matrix: Matrix,
    declared: Mapping[str, Target],
    problems: Problems,
    *,
    rules: bool,
) -> _Expanded:
    """The cells of every Python and target that there may be, but for those that the matrix names."""
    wide = replace(matrix, max_cells=max(matrix.max_cells, _CELLS_ANYWHERE))
    targets = matrix_targets(matrix, declared, problems)
    pythons = matrix.python or tuple(dict.fromkeys((*_PYTHONS, running_python())))
    platforms = _platforms(wide, pythons, targets if matrix.targets else all_targets(declared))
    return _cells(project, wide, platforms, problems, rules=rules)


def _platforms(
    matrix: Matrix, pythons: Sequence[str], targets: Mapping[str, Target]
) -> list[Platform]:
    """Raises ConfigError where each of them alone would be too many cells."""
    if len(targets) * len(pythons) > matrix.max_cells:
        raise ConfigError(
            f"{len(pythons)} Pythons on {len(targets)} targets are more cells than the limit of "
            f"{matrix.max_cells}",
            at=matrix.at,
            hint="remove some, or raise max-cells",
        )
    return [Platform(python, target) for target in targets.values() for python in pythons]


def _cells(
    project: Project,
    matrix: Matrix,
    platforms: Sequence[Platform],
    problems: Problems,
    *,
    rules: bool,
) -> _Expanded:
    """The cells of these platforms; what is wrong is noted."""
    metadata = project.metadata
    at = {label: _variant_at(project, label) for label in metadata.variants}
    check_properties(matrix, project, problems)
    labels = Labels(matrix, metadata.variants, problems)
    expansion = Expansion(
        matrix, platforms, metadata.variants, variant_at=at, labels=labels, problems=problems
    )
    cells = merge_cells(expansion, problems)
    check_labels(cells, metadata, at, problems)
    if not problems.found:
        check_used(matrix, cells, expansion.removed, problems)
    if rules and cells:
        check_rules_are_used(project, cells, problems)
    return _Expanded(cells=cells, removed=expansion.removed, too_large=expansion.too_large)


def _variant_at(project: Project, label: str) -> str:
    return Table({}, project.file, ("variant", "variants"), Problems()).at(label)
