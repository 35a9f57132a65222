"""What must hold of the cells of a matrix, each against the others and against what is declared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from polywheel.config.project import Project
from polywheel.config.reader import Problems
from polywheel.matrix.cell import Cell
from polywheel.matrix.cells import Expansion
from polywheel.model.matrix import Matrix
from polywheel.model.plan import Removal
from polywheel.model.variant import VariantMetadata, VariantProperty
from polywheel.setup.presets import check_against_preset, load_preset, preset_names


def check_properties(matrix: Matrix, project: Project, problems: Problems) -> None:
    """Every property against what is declared of its namespace, or its preset where that decides."""
    found: list[tuple[VariantProperty, str]] = []
    for values in matrix.axes.values():
        found += [(prop, value.at) for value in values for prop in value.properties]
    for one in matrix.include:
        found += [(prop, f"{one.pattern.at}.properties") for prop in one.properties]
    for prop, at in found:
        problems.attempt(project.metadata.check, prop, at=at)
        override = project.settings.providers.get(prop.namespace)
        if override and override.query == "preset" and prop.namespace in preset_names():
            preset = load_preset(prop.namespace, at=at)
            problems.attempt(check_against_preset, [prop], preset, at=at)


def merge_cells(expansion: Expansion, problems: Problems) -> list[Cell]:
    """The cells without repeats: a declared variant may come from the axes as well, which come first."""
    found: dict[tuple[str | None, str, str], Cell] = {}
    repeats: dict[tuple[str | None, str, str], list[Cell]] = {}
    for cell in expansion.cells:
        key = (cell.label, cell.platform.python, cell.platform.target.name)
        older = found.setdefault(key, cell)
        if older is not cell:
            repeats.setdefault(key, [older]).append(cell)
    noted = set[str | None]()
    for (label, _, _), cells in repeats.items():
        first, *others = [one for one in cells if one.axes] or cells
        other = next((one for one in others if one.axes != first.axes), None)
        # With other properties it is another mistake.
        if other and other.properties == first.properties and label not in noted:
            noted.add(label)
            problems.add(
                f"two cells are both {label!r}: {_describe_cell(first)}; and {_describe_cell(other)}",
                at=other.at,
                hint="exclude one of them, or give it properties",
            )
    _check_includes(expansion, repeats, problems)
    return list(found.values())


def _check_includes(
    expansion: Expansion,
    repeats: Mapping[tuple[str | None, str, str], Sequence[Cell]],
    problems: Problems,
) -> None:
    """Note an include of whose own cells every one is there without it."""
    needed = set[str]()
    for cell in expansion.cells if repeats else ():
        key = (cell.label, cell.platform.python, cell.platform.target.name)
        if len({one.at for one in repeats.get(key, ())}) < 2:
            needed.add(cell.at)
    doubled = {cell.at for cells in repeats.values() for cell in cells}
    for one in expansion.matrix.include:
        if one.pattern.at in doubled - needed:
            problems.add(
                "the include adds nothing: all its cells exist already",
                at=one.pattern.at,
                hint="leave it out",
            )


def check_labels(
    cells: Sequence[Cell],
    metadata: VariantMetadata,
    variant_at: Mapping[str, str],
    problems: Problems,
) -> None:
    """One label stands for one set of properties, one set of properties for one label."""
    by_label: dict[str, tuple[tuple[VariantProperty, ...], str]] = {}
    by_properties: dict[tuple[VariantProperty, ...], tuple[str, str]] = {}
    for label, variant in metadata.variants.items():
        at = variant_at[label]
        by_label[label] = (variant.properties, at)
        other, where = by_properties.setdefault(variant.properties, (label, at))
        if other != label:
            _two_labels(other, where, label, at, problems)
    noted = set[tuple[str, tuple[VariantProperty, ...]]]()
    for cell in cells:
        if cell.label is None:
            continue
        properties, at = by_label.setdefault(cell.label, (cell.properties, cell.at))
        other, where = by_properties.setdefault(cell.properties, (cell.label, cell.at))
        fits = properties == cell.properties and other == cell.label
        if fits or (cell.label, cell.properties) in noted:
            continue  # once for all Pythons and targets
        noted.add((cell.label, cell.properties))
        if properties != cell.properties:
            problems.add(
                f"the label {cell.label!r} stands for different properties: "
                f"{_listed(properties)} ({at}), and {_listed(cell.properties)} ({_describe_cell(cell)})",
                at=cell.at,
                hint="a label must have the same properties on every Python and target",
            )
        if other != cell.label:
            _two_labels(other, where, cell.label, cell.at, problems)


def _two_labels(one: str, where: str, other: str, at: str, problems: Problems) -> None:
    problems.add(
        f"the same properties have two labels: {one!r} ({where}) and {other!r}",
        at=at,
        hint="use one label for one set of properties",
    )


def check_used(
    matrix: Matrix,
    cells: Sequence[Cell],
    removed: Sequence[Removal],
    problems: Problems,
) -> None:
    """Nothing that is declared may be without effect in silence."""
    if not cells:
        start = "declare [tool.polywheel.matrix.axes] or [variant.variants]; or run polywheel init"
        problems.add("the matrix is empty", at=matrix.at, hint=_removers(removed) or start)
        return
    used = {(key, value) for cell in cells for key, value in cell.values.items()}
    declared = [
        ("python", name, f"{matrix.at}.python[{index}]") for index, name in enumerate(matrix.python)
    ]
    declared += [
        ("target", name, f"{matrix.at}.targets[{index}]")
        for index, name in enumerate(matrix.targets)
    ]
    for axis, values in matrix.axes.items():
        declared += [(axis, value.name, value.at) for value in values]
    for key, name, at in declared:
        if (key, name) in used:
            continue
        about = [
            one
            for one in removed
            if {**one.axes, "python": one.python, "target": one.target}.get(key) == name
        ]
        hint = _removers(about) or "no row or include uses it; remove it"
        problems.add(f"no cell is left with the {key} {name!r}", at=at, hint=hint)
    origins = {cell.at for cell in cells}
    for row in matrix.rows:
        if row.at not in origins:
            about = [one for one in removed if row.matches(one.axes)]
            problems.add("no cell of this row is left", at=row.at, hint=_removers(about))


def _removers(removed: Iterable[Removal]) -> str | None:
    """Hint: what removed these."""
    found = dict.fromkeys(one.at.rpartition(": ")[2] for one in removed)
    if not found:
        return None
    first = list(found)[:3]
    return "removed by " + ", ".join(first) + (", …" if len(found) > len(first) else "")


def _listed(properties: Sequence[VariantProperty]) -> str:
    return ", ".join(map(str, properties)) or "none"


def _describe_cell(cell: Cell) -> str:
    return ", ".join(f"{key} = {value}" for key, value in cell.values.items() if key != "label")
