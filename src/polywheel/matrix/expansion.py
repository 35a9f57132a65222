"""Expand the matrix of a project to a plan: cells, then jobs (wheels) and builds (runs of the backend)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from polywheel.config.ci_table import read_ci
from polywheel.config.matrix_table import MatrixTables, read_matrix
from polywheel.config.project import Project, read_project
from polywheel.config.reader import Problems, Table
from polywheel.errors import ConfigError
from polywheel.formats.variant_json import require_namespaces
from polywheel.matrix.build_settings import ResolvedSettings, SettingsResolver, why_unmatched
from polywheel.matrix.builds import BuildKeys, namespaces_with_plugins, why_variant_is_read
from polywheel.matrix.cell import Cell
from polywheel.matrix.check_properties import check_properties
from polywheel.matrix.check_pythons import check_pythons
from polywheel.matrix.checks import (
    check_filenames,
    check_labels,
    check_rules_are_used,
    check_used,
    merge_cells,
    targets_without_builds,
    test_skip_warnings,
    unmatched_test_skips,
    unused_test_settings,
)
from polywheel.matrix.cibuildwheel_platforms import build_platform
from polywheel.matrix.combinations import expand_cells
from polywheel.matrix.equal_variants import equal_variants
from polywheel.matrix.platforms import (
    Platform,
    all_targets,
    matrix_targets,
    python_order,
    running_python,
)
from polywheel.matrix.requires_python import read_requires_python
from polywheel.matrix.wheel_tag import WheelTag, wheel_tag
from polywheel.model.matrix import (
    NO_SETTINGS,
    BuildSettings,
    Matrix,
    Target,
    WheelTests,
    can_build,
)
from polywheel.model.plan import NON_VARIANT, Build, EqualVariants, Job, Plan, Removal
from polywheel.model.variant import Variant, VariantProperty
from polywheel.setup.profiles import check_backend_path, choose_backend

_PYTHONS = tuple(f"3.{minor}" for minor in range(8, 20))
"""The Pythons for checks of a matrix that names none."""
_MAX_CHECKED_CELLS = 100_000
"""The maximum number of cells for all Pythons and targets."""


def expand(source: str | Path, *, config: str | Path | None = None) -> Plan:
    """The plan of the project in a folder: all wheels to build, and their builds.

    ``config`` is a file with ``[variant]`` and ``[tool.polywheel]`` tables that replace those of the
    project. Raises ConfigError with all problems.
    """
    project = read_project(Path(source), variants=True, config=Path(config) if config else None)
    return expand_project(project)


def expand_project(project: Project) -> Plan:
    """The plan of a project. Raises ConfigError with all problems."""
    tables = read_matrix(project)
    read_ci(project)  # for its problems
    matrix = tables.matrix
    choice = choose_backend(project)
    check_backend_path(project, choice)
    profile = choice.profile_name
    expansion = _expand_here(project, tables, strict=True)
    if any(cell.label is not None for cell in expansion.cells):
        require_namespaces(project.metadata)
    tag = wheel_tag(project, profile, matrix.wheel_tag)
    wheels = _wheels(expansion.cells, tag)
    settings = _build_settings(project, tables, wheels, tag)
    jobs = _group_wheels(
        wheels,
        settings,
        BuildKeys(project, profile),
        tag,
        why_unshared=lambda: _why_unshared(project.source, matrix),
    )
    problems = Problems()
    requires = read_requires_python(project, profile)
    check_pythons(requires, matrix, jobs.jobs, tag, problems)
    problems.raise_all()
    # share-builds = false means that builds read their variant.
    same = jobs.same if matrix.share_builds is not False else ()
    equal = equal_variants(project, jobs.jobs, same, unshared=jobs.unshared is not None)
    if errors := [variants.problem for variants in equal if variants.is_error]:
        raise ConfigError.collected(errors)
    return Plan(
        project=project.name,
        namespaces=project.metadata.namespaces,
        targets={platform.target.name: platform.target for platform in expansion.platforms},
        axes={axis: tuple(value.name for value in values) for axis, values in matrix.axes.items()},
        jobs=jobs.jobs,
        builds=jobs.builds,
        removed=tuple(expansion.removed),
        warnings=(
            *map(str, equal),
            *targets_without_builds(tables.targets, jobs.builds, jobs.jobs),
            *unused_test_settings(jobs.jobs, jobs.builds),
            *_unused_test_skips(project, tables, wheels, settings, tag),
        ),
        unshared=jobs.unshared,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Expansion:
    """The checked cells of a matrix on some platforms."""

    platforms: Sequence[Platform]
    cells: Sequence[Cell]
    removed: Sequence[Removal]
    too_large: bool
    """Whether there would be more cells than the limit. Then ``cells`` is empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Jobs:
    """The jobs of a matrix and their builds."""

    jobs: tuple[Job, ...]
    builds: tuple[Build, ...]
    same: tuple[tuple[str, ...], ...]
    """Sets of jobs with the same build setup, by id, also if they do not share a build."""

    unshared: str | None
    """Why jobs with the same build setup do not share a build; None if they do, or if there are none."""


class _Wheel:
    """The cells that one wheel serves. It is built on the platform of the first cell that can build."""

    __slots__ = ("cells", "first", "id", "order", "serves")

    def __init__(self, cells: Sequence[Cell], serves: str, tag: WheelTag) -> None:
        self.cells = cells
        self.serves = serves
        if not can_build((first := cells[0]).platform.python):
            first = next((cell for cell in cells if can_build(cell.platform.python)), first)
        self.first = first
        python = serves if serves in {"py3", "abi3"} else "cp" + serves.replace(".", "")
        target = first.platform.target.name
        self.id = f"{'any' if tag.any_target else target}-{python}-{first.label or NON_VARIANT}"
        # By target, then Python, then the non-variant wheel, the null variant, and labels.
        kind = 0 if first.label is None else 1 if not first.properties else 2
        self.order = (target, python_order(first.platform.python), kind, first.label or "")

    def names(self) -> list[str]:
        """What ``test-skip`` compares: the label, the id, and cibuildwheel's identifiers of the builds."""
        platforms = (cell.platform for cell in self.cells if can_build(cell.platform.python))
        identifiers = (
            found.identifier(platform.python)
            for platform in platforms
            if (found := build_platform(platform.target.platform or platform.target.name))
        )
        return [self.first.label or NON_VARIANT, self.id, *identifiers]

    def job(self, build: str, tests: WheelTests | None) -> Job:
        first = self.first
        targets = sorted({cell.platform.target.name for cell in self.cells})
        return Job(
            id=self.id,
            label=first.label,
            properties=first.properties,
            axes=first.axes,
            pythons=tuple(sorted({cell.platform.python for cell in self.cells}, key=python_order)),
            targets=tuple(dict.fromkeys((first.platform.target.name, *targets))),
            build=build,
            tests=tests,
            at=first.at,
        )


def _wheels(cells: Iterable[Cell], tag: WheelTag) -> list[_Wheel]:
    """Group cells to wheels, in the order of a plan."""
    by_wheel: dict[tuple[str | None, str | None, str], list[Cell]] = {}
    for cell in cells:
        target = None if tag.any_target else cell.platform.target.name
        python = cell.platform.python
        key = (cell.label, target, tag.serves_together(python) or python)
        by_wheel.setdefault(key, []).append(cell)
    wheels = []
    for (_, _, serves), members in by_wheel.items():
        if len(members) > 1:
            # The first target may not have a cell for the lowest Python.
            members.sort(
                key=lambda cell: (python_order(cell.platform.python), cell.platform.target.name)
            )
        wheels.append(_Wheel(members, serves, tag))
    return sorted(wheels, key=lambda wheel: wheel.order)


def _build_settings(
    project: Project, tables: MatrixTables, wheels: Sequence[_Wheel], tag: WheelTag
) -> dict[str, ResolvedSettings]:
    """The settings of the build of each wheel, by id. Raises ConfigError.

    An override that selects no build is an error, unless it selects one on another machine.
    """
    problems = Problems()
    resolver = SettingsResolver(tables, problems)
    settings = {wheel.id: resolver.resolve(wheel.id, wheel.first) for wheel in wheels}
    unused, named = resolver.unmatched(), wheels
    if unused and not _is_complete(tables.matrix):
        elsewhere = SettingsResolver(tables, Problems())
        named = _wheels_anywhere(project, tables, tag)
        for wheel in named:
            elsewhere.resolve(wheel.id, wheel.first)
        unused = elsewhere.unmatched() if named else []
    if not problems.found:
        labels = dict.fromkeys(wheel.first.label or NON_VARIANT for wheel in named)
        names = (*labels, *(wheel.id for wheel in named))
        problems.found += [why_unmatched(part, names) for part in unused]
    if not tag.any_target:
        check_filenames([(wheel.id, wheel.serves, wheel.first) for wheel in wheels], problems)
    problems.raise_all()
    return settings


def _wheels_anywhere(project: Project, tables: MatrixTables, tag: WheelTag) -> Sequence[_Wheel]:
    """The wheels with all possible Pythons and targets; none if there are too many."""
    return _wheels(_expand_anywhere(project, tables, Problems(), strict=False).cells, tag)


def _unused_test_skips(
    project: Project,
    tables: MatrixTables,
    wheels: Sequence[_Wheel],
    settings: Mapping[str, ResolvedSettings],
    tag: WheelTag,
) -> Iterable[str]:
    """Warnings about globs of ``test-skip`` that match no wheel, also none on another machine."""
    if not any(resolved.settings.test_command for resolved in settings.values()):
        return ()

    def skips(wheel: _Wheel, resolved: ResolvedSettings) -> tuple[list[str], Sequence[str], str]:
        target = tables.targets.get(wheel.first.platform.target.name)
        is_own = target is not None and target.settings.test_skip is not None
        at = target.at if target is not None and is_own else project.at("tool.polywheel")
        at = f"{resolved.set_by.get('test-skip', at)}.test-skip"
        return wheel.names(), resolved.settings.test_skip or (), at

    unmatched = unmatched_test_skips(skips(wheel, settings[wheel.id]) for wheel in wheels)
    if unmatched and not _is_complete(tables.matrix):
        wheels = _wheels_anywhere(project, tables, tag)
        resolver = SettingsResolver(tables, Problems())
        unmatched = unmatched_test_skips(
            skips(wheel, resolver.resolve(wheel.id, wheel.first)) for wheel in wheels
        )
    return test_skip_warnings(unmatched, (name for wheel in wheels for name in wheel.names()))


def _group_wheels(
    wheels: Sequence[_Wheel],
    settings: Mapping[str, ResolvedSettings],
    keys: BuildKeys,
    tag: WheelTag,
    *,
    why_unshared: Callable[[], str | None],
) -> _Jobs:
    """Group wheels to builds, one for each build setup and its settings.

    ``why_unshared`` is called if jobs could share a build. If it returns a reason, each job has its own build.
    """
    problems = Problems()
    by_build: dict[tuple[str, str, int, int], list[_Wheel]] = {}
    for wheel in wheels:
        first = wheel.first
        setup = keys.key_of(first)
        others = wheel.cells if len(wheel.cells) > 1 else ()
        other = next((cell for cell in others if keys.key_of(cell) != setup), None)
        if other is not None:
            _report_two_setups(first, other, tag, problems)
        key = (first.platform.target.name, first.platform.python, setup, settings[wheel.id].number)
        by_build.setdefault(key, []).append(wheel)
    problems.raise_all()
    groups = list(by_build.values())
    same = tuple(tuple(wheel.id for wheel in group) for group in groups if len(group) > 1)
    unshared = why_unshared() if same else None
    if unshared is not None:
        groups = [[wheel] for wheel in wheels]
    build_of = {wheel.id: group[0].id for group in groups for wheel in group}
    builds = [
        Build(
            id=group[0].id,
            python=group[0].first.platform.python,
            target=group[0].first.platform.target.name,
            jobs=tuple(wheel.id for wheel in group),
            settings=settings[group[0].id].settings,
            set_by=settings[group[0].id].set_by,
            setup=keys.setup_of(group[0].first),
        )
        for group in groups
    ]
    return _Jobs(
        jobs=tuple(
            wheel.job(
                build := build_of[wheel.id],
                _own_tests(settings[wheel.id].settings, settings[build].settings),
            )
            for wheel in wheels
        ),
        builds=tuple(builds),
        same=same,
        unshared=unshared,
    )


def _own_tests(settings: BuildSettings, of_build: BuildSettings) -> WheelTests | None:
    """The tests of a job; None if they are those of its build."""
    if settings is of_build or settings.tests == of_build.tests:
        return None
    return settings.tests


def _report_two_setups(cell: Cell, other: Cell, tag: WheelTag, problems: Problems) -> None:
    """Report a wheel for two platforms whose build setups differ."""
    platforms = (cell.platform, other.platform)
    first, second = (f"Python {one.python} on {one.target.name}" for one in platforms)
    problems.add(
        f"one wheel ({tag.kind}) of the variant {cell.label!r} is for {first} and {second}, "
        "but setup rules with `when` give them different build setups",
        at=cell.at,
        hint='remove `when` from these rules, or set wheel-tag = "python"',
    )


def equal_when_built(
    project: Project, jobs: Sequence[Job], same: Iterable[Sequence[str]]
) -> tuple[EqualVariants, ...]:
    """Like the equal variants of a plan, but for jobs that differ in properties of plugins.

    A plan does not ask plugins. ``same`` has the ids of jobs whose build setups are equal according to the
    plugins. Raises ConfigError.
    """
    namespaces, by_id = namespaces_with_plugins(project), {job.id: job for job in jobs}

    def of_plugins(identifier: str) -> frozenset[VariantProperty]:
        return frozenset(p for p in by_id[identifier].properties if p.namespace in namespaces)

    same = [ids for ids in same if len(set(map(of_plugins, ids))) > 1]
    if not same:
        return ()
    matrix = read_matrix(project).matrix
    if matrix.share_builds is False:
        return ()
    return equal_variants(
        project, jobs, same, unshared=_why_unshared(project.source, matrix) is not None
    )


def builds_read_variant(project: Project, source: Path) -> str | None:
    """Why builds of a project may read their label and their properties; None if they do not.

    ``source`` is the folder of the source that is built.
    """
    return _why_unshared(source, read_matrix(project).matrix)


def _why_unshared(source: Path, matrix: Matrix) -> str | None:
    """Why builds are not shared; None if they are."""
    if matrix.share_builds is True:
        return None
    if matrix.share_builds is False:
        return f"share-builds = false ({matrix.at})"
    return why_variant_is_read(source)


def matrix_variants(
    project: Project, properties: tuple[VariantProperty, ...] = ()
) -> dict[str, Variant]:
    """The variants of a project's matrix by label, including the declared ones.

    If no variant of this Python and target has the ``properties``, the variants of all Pythons and targets are
    included: a set of properties has the same label everywhere. Raises ConfigError.
    """
    tables = read_matrix(project)
    matrix = tables.matrix
    extend = bool(properties) and not _is_complete(matrix)
    try:
        variants = _by_label(_expand_here(project, tables, strict=False))
    except ConfigError:
        if not extend:
            raise
        variants = {}  # the matrix may have nothing for this machine
    if extend and all(variant.properties != properties for variant in variants.values()):
        problems = Problems()
        expansion = _expand_anywhere(project, tables, problems, strict=False)
        problems.raise_all()
        variants = _by_label(expansion) | variants
    return variants


def _by_label(expansion: _Expansion) -> dict[str, Variant]:
    cells = expansion.cells
    return {c.label: Variant(c.properties, c.label) for c in cells if c.label is not None}


def is_machine_independent(project: Project) -> bool:
    """Whether the plan of a project is the same on every machine."""
    return _is_complete(read_matrix(project).matrix)


def _is_complete(matrix: Matrix) -> bool:
    """Whether a matrix names its Pythons and targets."""
    return bool(matrix.python and matrix.targets)


def labels_anywhere(project: Project) -> frozenset[str | None] | None:
    """The labels of a matrix with all possible Pythons and targets; None if there are too many cells.

    The label of the non-variant wheel is None.
    """
    expansion = _expand_anywhere(project, read_matrix(project), Problems(), strict=False)
    return None if expansion.too_large else frozenset(cell.label for cell in expansion.cells)


def _expand_here(project: Project, tables: MatrixTables, *, strict: bool) -> _Expansion:
    """The checked cells of a matrix; with ``strict``, its setup rules and the properties of plugins too.

    The cells of a matrix without ``python`` or ``targets`` depend on the machine. A marker about Linux is not a
    mistake on macOS. So a problem of such a matrix counts only if the matrix with all possible Pythons and
    targets has problems too. Raises ConfigError.
    """
    problems, matrix = Problems(), tables.matrix
    targets = matrix_targets(matrix, tables.targets, problems)
    pythons = matrix.python or (running_python(),)
    platforms = _platforms(project, matrix, pythons, targets)
    expansion = _expand(project, matrix, platforms, problems, strict=strict)
    if problems.found and not _is_complete(matrix):
        problems_anywhere = Problems()
        anywhere = _expand_anywhere(project, tables, problems_anywhere, strict=strict)
        if not (expansion.too_large or anywhere.too_large):
            problems = problems_anywhere
            if not problems.found and not expansion.cells:
                problems.add(
                    f"nothing of the matrix is for {', '.join(targets)} with Python "
                    + ", ".join(pythons),
                    at=matrix.at,
                    hint="set targets and python; without them, polywheel uses this machine's",
                )
    problems.raise_all()
    return expansion


def _expand_anywhere(
    project: Project, tables: MatrixTables, problems: Problems, *, strict: bool
) -> _Expansion:
    """The cells for all Pythons if the matrix names none, and for all targets if it names none."""
    matrix, declared = tables.matrix, tables.targets
    matrix = replace(matrix, max_cells=max(matrix.max_cells, _MAX_CHECKED_CELLS))
    targets = matrix_targets(matrix, declared, problems)
    # The platform of this machine is first: messages give a cell of the first platform as an example.
    pythons = matrix.python or tuple(dict.fromkeys((running_python(), *_PYTHONS)))
    targets = targets if matrix.targets else all_targets(matrix, declared)
    platforms = _platforms(project, matrix, pythons, targets)
    return _expand(project, matrix, platforms, problems, strict=strict)


def _platforms(
    project: Project, matrix: Matrix, pythons: Sequence[str], targets: Mapping[str, Target]
) -> list[Platform]:
    """All pairs of Pythons and targets. Raises ConfigError if these alone are too many cells.

    The targets have the tests of the project, except for what they set themselves.
    """
    if len(targets) * len(pythons) > matrix.max_cells:
        raise ConfigError(
            f"{len(pythons)} Pythons on {len(targets)} targets are more cells than the limit of "
            f"{matrix.max_cells}",
            at=matrix.at,
            hint="remove some, or raise max-cells",
        )
    tests = NO_SETTINGS.updated(project.settings.tests)
    if tests != NO_SETTINGS:
        targets = {
            name: replace(target, settings=tests.updated(target.settings))
            for name, target in targets.items()
        }
    return [Platform(python, target) for target in targets.values() for python in pythons]


def _expand(
    project: Project,
    matrix: Matrix,
    platforms: Sequence[Platform],
    problems: Problems,
    *,
    strict: bool,
) -> _Expansion:
    """The cells for these platforms. Problems are added to ``problems``."""
    variants = project.metadata.variants
    table = Table({}, project.file, ("variant", "variants"), Problems())
    variant_at = {label: table.at(label) for label in variants}
    check_properties(matrix, project, variant_at, problems, strict=strict)
    state = expand_cells(matrix, platforms, variants, variant_at=variant_at, problems=problems)
    cells = merge_cells(state)
    check_labels(cells, project.metadata, variant_at, problems)
    if not problems.found:
        check_used(project.source, matrix, cells, state.removed, problems)
    if strict and cells:
        check_rules_are_used(project, cells, problems)
    return _Expansion(
        platforms=platforms, cells=cells, removed=state.removed, too_large=state.too_large
    )
