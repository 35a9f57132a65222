"""From what a project declares of its matrix to the plan: every cell, checked, and its build."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from packaging.utils import canonicalize_name

from polywheel.config.matrix_table import read_matrix
from polywheel.config.project import Project, read_project
from polywheel.config.reader import Problems
from polywheel.errors import ConfigError, nearest
from polywheel.matrix.builds import BuildKeys, check_rules_are_used
from polywheel.matrix.cells import Cell, Expansion
from polywheel.matrix.labels import Labels
from polywheel.matrix.places import Place, python_order, running_python
from polywheel.matrix.targets import matrix_targets
from polywheel.matrix.wheel_tag import WheelTag, wheel_tag
from polywheel.model.matrix import Matrix, Target
from polywheel.model.metadata import VariantMetadata
from polywheel.model.plan import NON_VARIANT, Build, Job, Plan
from polywheel.model.properties import VariantProperty
from polywheel.model.variant import Variant
from polywheel.setup.profiles import choose_backend


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
    problems = Problems()
    choice = choose_backend(project)
    profile = choice.profile.name if choice.profile else None
    targets = matrix_targets(matrix, declared, problems)
    cells, expansion = _cells(project, matrix, targets, problems)
    check_rules_are_used(project, cells, problems)
    problems.settle()
    keys = BuildKeys(project, profile)
    tag = wheel_tag(project, profile, matrix.wheel_tag)
    jobs, builds = _jobs(cells, keys, tag, share=matrix.share_builds)
    name = project.document.get("project", {}).get("name")
    return Plan(
        project=canonicalize_name(name) if isinstance(name, str) else None,
        namespaces=project.metadata.namespaces,
        targets=targets,
        axes={axis: tuple(one.name for one in values) for axis, values in matrix.axes.items()},
        jobs=jobs,
        builds=builds,
        removed=tuple(expansion.removed),
    )


def matrix_variants(project: Project) -> dict[str, Variant]:
    """The variants of a project's matrix by label, those that are declared among them."""
    matrix, declared = read_matrix(project)
    problems = Problems()
    cells, _ = _cells(project, matrix, matrix_targets(matrix, declared, problems), problems)
    problems.settle()
    return {
        cell.label: Variant(cell.properties, cell.label) for cell in cells if cell.label is not None
    }


def _cells(
    project: Project, matrix: Matrix, targets: Mapping[str, Target], problems: Problems
) -> tuple[list[Cell], Expansion]:
    """The cells of the matrix, each (label, Python, target) once; what is wrong is noted."""
    metadata = project.metadata
    pythons = matrix.python or (running_python(),)
    places = [Place(python, target) for target in targets.values() for python in pythons]
    _check_properties(matrix, metadata, problems)
    labels = Labels(matrix, metadata.variants, problems)
    expansion = Expansion(matrix, places, metadata.variants, labels, problems)
    cells = _merged(expansion.cells, problems)
    _check_labels(cells, metadata, problems)
    if not problems.found:
        _check_used(matrix, targets, cells, problems)
    return cells, expansion


def _check_properties(matrix: Matrix, metadata: VariantMetadata, problems: Problems) -> None:
    """Every property against what is declared of its namespace."""
    found: list[tuple[VariantProperty, str]] = []
    for values in matrix.axes.values():
        found += [(prop, value.at) for value in values for prop in value.properties]
    for one in matrix.include:
        found += [(prop, f"{one.pattern.at}.properties") for prop in one.properties]
    for prop, at in found:
        problems.attempt(metadata.check, prop, at=at)


def _merged(cells: Iterable[Cell], problems: Problems) -> list[Cell]:
    """The cells without repeats: a declared variant may come from the axes as well."""
    found: dict[tuple[str | None, str, str], Cell] = {}
    for cell in cells:
        older = found.setdefault((cell.label, cell.place.python, cell.place.target.name), cell)
        both = older.axes and cell.axes and older.axes != cell.axes
        if both and cell.properties and older.properties == cell.properties:
            problems.add(
                f"two cells are both {cell.label!r}: {_spelled(older)} and {_spelled(cell)}",
                at=cell.at,
                hint="one of them is enough: exclude the other",
            )
        if older is not cell and not older.axes:
            found[cell.label, cell.place.python, cell.place.target.name] = cell
    return list(found.values())


def _check_labels(cells: Sequence[Cell], metadata: VariantMetadata, problems: Problems) -> None:
    """One label stands for one set of properties, one set of properties for one label."""
    by_label: dict[str, tuple[tuple[VariantProperty, ...], str]] = {}
    by_properties: dict[tuple[VariantProperty, ...], tuple[str, str]] = {}
    for label, variant in metadata.variants.items():
        at = f"variant.variants.{label}"
        by_label[label] = (variant.properties, at)
        other, where = by_properties.setdefault(variant.properties, (label, at))
        if other != label:
            _two_labels(other, where, label, at, problems)
    for cell in cells:
        if cell.label is None:
            continue
        properties, at = by_label.setdefault(cell.label, (cell.properties, cell.at))
        if properties != cell.properties:
            problems.add(
                f"the label {cell.label!r} stands for different properties: "
                f"{_listed(properties)} ({at}), and {_listed(cell.properties)} ({_spelled(cell)})",
                at=cell.at,
                hint="one label stands for one set of properties, on every Python and target",
            )
        other, where = by_properties.setdefault(cell.properties, (cell.label, cell.at))
        if other != cell.label:
            _two_labels(other, where, cell.label, cell.at, problems)


def _two_labels(one: str, where: str, other: str, at: str, problems: Problems) -> None:
    problems.add(
        f"the same properties have two labels: {one!r} ({where}) and {other!r}",
        at=at,
        hint="a variant is built once, under one label",
    )


def _check_used(
    matrix: Matrix, targets: Mapping[str, Target], cells: Sequence[Cell], problems: Problems
) -> None:
    """Nothing that is declared may be without effect in silence."""
    if not cells:
        problems.add(
            "the matrix is empty",
            at=matrix.at,
            hint="declare [tool.polywheel.matrix.axes] or [variant.variants]; "
            "polywheel init writes a start",
        )
        return
    used = {(key, value) for cell in cells for key, value in cell.values.items()}
    origins = {cell.at for cell in cells}
    declared = [("python", name, f"{matrix.at}.python") for name in matrix.python]
    declared += [("target", name, f"{matrix.at}.targets") for name in targets]
    for axis, values in matrix.axes.items():
        declared += [(axis, value.name, value.at) for value in values]
    for key, name, at in declared:
        if (key, name) not in used:
            problems.add(f"no cell is left that has the {key} {name!r}", at=at)
    for row in matrix.rows:
        if row.at not in origins:
            problems.add("no cell is left of this row", at=row.at)


def _jobs(
    cells: Sequence[Cell], keys: BuildKeys, tag: WheelTag, *, share: bool
) -> tuple[tuple[Job, ...], tuple[Build, ...]]:
    """Cells that are one wheel are one job; jobs that ask the same of the build are one build."""
    wheels: dict[tuple[str | None, str | None, str], list[Cell]] = {}
    for cell in cells:
        python, target = cell.place.python, cell.place.target.name
        together = tag.serves_together(python)
        key = (cell.label, None if tag.any_target else target, together or python)
        wheels.setdefault(key, []).append(cell)
    builds: dict[tuple[object, ...], list[Job]] = {}
    for (label, _, served), members in wheels.items():
        first = min(
            members, key=lambda one: (one.place.target.name, python_order(one.place.python))
        )
        pythons = sorted({one.place.python for one in members}, key=python_order)
        targets = sorted({one.place.target.name for one in members})
        short = served if served in {"py3", "abi3"} else "cp" + served.replace(".", "")
        place = "any" if tag.any_target else targets[0]
        identifier = f"{place}-{short}-{label or NON_VARIANT}"
        asks: object = keys.of(first) if share else identifier
        job = Job(
            id=identifier,
            label=label,
            properties=first.properties,
            axes=first.axes,
            pythons=tuple(pythons),
            targets=tuple(targets),
            build="",
            at=first.at,
        )
        builds.setdefault((job.target, python_order(job.python), asks), []).append(job)
    return _numbered(builds.values())


def _numbered(groups: Iterable[list[Job]]) -> tuple[tuple[Job, ...], tuple[Build, ...]]:
    """Jobs with the id of their build, and the builds; both in an order of their own."""
    jobs, builds = [], []
    for group in groups:
        ordered = sorted(group, key=_order)
        first = ordered[0]
        jobs += [replace(job, build=first.id) for job in ordered]
        builds.append(
            Build(
                id=first.id,
                python=first.python,
                target=first.target,
                jobs=tuple(job.id for job in ordered),
            )
        )
    jobs.sort(key=_order)
    order = {job.id: number for number, job in enumerate(jobs)}
    builds.sort(key=lambda one: order[one.id])
    return tuple(jobs), tuple(builds)


def _order(job: Job) -> tuple[object, ...]:
    """Targets, then Pythons, then the non-variant wheel, the null variant, and labels."""
    kind = 0 if job.label is None else 1 if not job.properties else 2
    return (job.target, python_order(job.python), kind, job.label or "")


def _listed(properties: Sequence[VariantProperty]) -> str:
    return ", ".join(map(str, properties)) or "none"


def _spelled(cell: Cell) -> str:
    return ", ".join(f"{key} = {value}" for key, value in cell.values.items() if key != "label")


def unknown_label(label: str, plan: Plan) -> ConfigError:
    """The error for a label that no job has."""
    labels = {job.label for job in plan.jobs if job.label is not None}
    return ConfigError(f"no job has the label {label!r}", hint=nearest(label, labels))
