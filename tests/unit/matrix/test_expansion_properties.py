"""Properties of every expansion: GitHub's rules, the order of tables, complete plans."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polywheel.config.matrix_table import read_matrix
from polywheel.config.reader import Problems
from polywheel.errors import ConfigError
from polywheel.matrix.cell import ExpansionState
from polywheel.matrix.combinations import expand_cells
from polywheel.matrix.expansion import expand_project
from polywheel.matrix.platforms import Platform, matrix_targets
from polywheel.model.plan import Plan
from support.matrices import AT, document, one_problem, project_of

Combination = dict[str, Any]

PYTHONS = ("3.9", "3.12", "3.13t")
TARGETS = ("linux-x86_64", "macos-arm64", "windows-x86_64")
AXES = {"a": ("a1", "a2", "a3"), "b": ("b1", "b2"), "c": ("c1", "c2")}
KEYS = {**AXES, "python": PYTHONS, "target": TARGETS}
EXTRA = tuple(f"extra :: e :: {n}" for n in range(4))
VARIANT = {
    "default-priorities": {"namespace": [*AXES, "extra"]},
    "providers": {
        **{axis: {"static-properties": {"f": list(values)}} for axis, values in AXES.items()},
        "extra": {"static-properties": {"e": [str(n) for n in range(4)]}},
    },
}


@st.composite
def matrices(draw: st.DrawFn, *, tame: bool = False) -> dict[str, Any]:
    """The table of a matrix over subsets of those axes, Pythons and targets.

    A tame one is likely to be a plan: its excludes are small, its includes everywhere.
    """
    chosen = {
        axis: draw(st.lists(st.sampled_from(values), min_size=1, unique=True))
        for axis, values in AXES.items()
        if draw(st.booleans()) or axis == "a"
    }
    python = draw(st.lists(st.sampled_from(PYTHONS), min_size=1, unique=True))
    target = draw(st.lists(st.sampled_from(TARGETS), min_size=1, unique=True))
    keys = {**chosen, "python": python, "target": target}

    @st.composite
    def patterns(draw: st.DrawFn, smallest: int, of: tuple[str, ...] = ()) -> dict[str, str]:
        names = draw(st.lists(st.sampled_from(of or [*keys]), min_size=smallest, unique=True))
        return {name: draw(st.sampled_from(keys[name])) for name in names}

    @st.composite
    def includes(draw: st.DrawFn) -> dict[str, Any]:
        properties = draw(
            st.lists(st.sampled_from(EXTRA), min_size=int(tame), max_size=2, unique=True)
        )
        pattern: dict[str, Any] = draw(
            patterns(1, of=(*chosen,)) if tame else patterns(0 if properties else 1)
        )
        return {**pattern, **({"properties": properties} if properties else {})}

    smallest = min(3, len(keys)) if tame else 1
    return {
        "python": python,
        "targets": target,
        "wheel-tag": "python",
        "axes": {axis: {v: [f"{axis} :: f :: {v}"] for v in vs} for axis, vs in chosen.items()},
        "exclude": draw(st.lists(patterns(smallest), max_size=3, unique_by=str)),
        "include": draw(st.lists(includes(), max_size=2 if tame else 4)),
    }


def github(matrix: Mapping[str, Any]) -> list[Combination]:
    """The combinations of a matrix, as GitHub's documentation has it, almost word by word.

    https://docs.github.com/en/actions/how-tos/write-workflows/choose-what-workflows-do/run-job-variations
    """
    keys = {
        **{axis: list(values) for axis, values in matrix["axes"].items()},
        "python": matrix["python"],
        "target": matrix["targets"],
    }
    every = [dict(zip(keys, values, strict=True)) for values in product(*keys.values())]
    # An excluded configuration "only has to be a partial match for it to be excluded".
    original = [
        one
        for one in every
        if not any(exclude.items() <= one.items() for exclude in matrix["exclude"])
    ]
    found = [{**one, "added": frozenset[str]()} for one in original]
    # Includes "are processed after" excludes.
    for include in matrix["include"]:
        pairs = {key: value for key, value in include.items() if key != "properties"}
        added = frozenset(include.get("properties", ()))
        fitting = False
        for one, combination in zip(original, found, strict=False):
            # Added where no pair would "overwrite any of the original matrix values".
            if all(one[key] == value for key, value in pairs.items()):
                combination["added"] |= added
                fitting = True
        # What "cannot be added to any of the matrix combinations" is a new one. Here it stands for
        # every Python and target that it leaves out.
        if not fitting:
            found += [
                {**pairs, "python": python, "target": target, "added": added}
                for python in matrix["python"]
                for target in matrix["targets"]
                if pairs.get("python", python) == python and pairs.get("target", target) == target
            ]
    return found


def expanded(matrix: Mapping[str, Any]) -> tuple[ExpansionState, Problems]:
    """The cells before they are held against each other."""
    project = project_of({"variant": VARIANT, "tool": {"polywheel": {"matrix": matrix}}})
    tables = read_matrix(project)
    read, declared = tables.matrix, tables.targets
    problems = Problems()
    targets = matrix_targets(read, declared, problems)
    platforms = [Platform(python, target) for target in targets.values() for python in read.python]
    return expand_cells(read, platforms, {}, variant_at={}, problems=problems), problems


def comparable(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return (tuple(sorted((k, v) for k, v in one.items() if k != "added")), sorted(one["added"]))


def readable(matrix: Mapping[str, Any]) -> bool:
    """Whether no exclude is listed twice: that is an error of its own."""
    excludes = [frozenset(one.items()) for one in matrix["exclude"]]
    return len(excludes) == len(set(excludes))


@settings(deadline=None)
@given(matrices().filter(readable))
def test_excludes_and_includes_are_githubs(matrix: dict[str, Any]) -> None:
    expansion, _ = expanded(matrix)
    found = [
        {
            **cell.axes,
            "python": cell.platform.python,
            "target": cell.platform.target.name,
            "added": frozenset(str(one) for one in cell.properties if one.namespace == "extra"),
        }
        for cell in expansion.cells
    ]
    assert Counter(map(str, map(comparable, found))) == Counter(
        map(str, map(comparable, github(matrix)))
    )
    for cell in expansion.cells:
        own = {f"{axis} :: f :: {value}" for axis, value in cell.axes.items()}
        assert {str(one) for one in cell.properties if one.namespace != "extra"} == own


def test_githubs_own_example() -> None:
    """Its fruit, animals, colours and shapes; a fruit of no axis is an error here, so it has one."""
    matrix = {
        "python": ["3.12"],
        "targets": ["linux-x86_64"],
        "axes": {
            "a": {"a1": ["a::f::a1"], "a2": ["a::f::a2"], "a3": ["a::f::a3"]},
            "b": {"b1": ["b::f::b1"], "b2": ["b::f::b2"]},
        },
        "exclude": [{"a": "a3"}],
        "include": [
            {"properties": ["extra::e::0"]},
            {"properties": ["extra::e::1"], "b": "b1"},
            {"a": "a1", "properties": ["extra::e::2"]},
            {"a": "a3", "label": "banana"},
            {"a": "a3", "b": "b1", "label": "banana_cat"},
        ],
    }
    expansion, problems = expanded(matrix)
    assert not problems.found
    found = [
        ({**cell.axes}, sorted(one.value for one in cell.properties if one.namespace == "extra"))
        for cell in expansion.cells
    ]
    assert found == [
        ({"a": "a1", "b": "b1"}, ["0", "1", "2"]),
        ({"a": "a1", "b": "b2"}, ["0", "2"]),
        ({"a": "a2", "b": "b1"}, ["0", "1"]),
        ({"a": "a2", "b": "b2"}, ["0"]),
        ({"a": "a3"}, []),
        ({"a": "a3", "b": "b1"}, []),
    ]


@settings(deadline=None)
@given(matrices().filter(readable))
def test_every_cell_is_there_or_has_been_removed_for_a_reason(matrix: dict[str, Any]) -> None:
    expansion, problems = expanded(matrix)
    removed = Counter(
        (*sorted(one.axes.items()), one.python, one.target) for one in expansion.removed
    )
    excludes = {f"{AT}.exclude[{n}]": one for n, one in enumerate(matrix["exclude"])}
    for one in expansion.removed:
        values = {**one.axes, "python": one.python, "target": one.target}
        assert one.by == "exclude"
        assert excludes[one.at].items() <= values.items()
    keys = [list(values) for values in matrix["axes"].values()]
    product_cells = Counter(
        (*sorted(zip(matrix["axes"], values, strict=True)), python, target)
        for values in product(*keys)
        for python in matrix["python"]
        for target in matrix["targets"]
    )
    original = Counter(
        (*sorted(cell.axes.items()), cell.platform.python, cell.platform.target.name)
        for cell in expansion.cells
        if cell.at == f"{AT}.axes"
    )
    assert original + removed == product_cells
    without_effect = {one.at for one in problems.found if "matches no cell" in one.what}
    assert without_effect == {
        at
        for at, one in excludes.items()
        if not any(cell_matches(one, cell) for cell in product_cells)
    }


def cell_matches(exclude: Mapping[str, str], cell: tuple[Any, ...]) -> bool:
    *axes, python, target = cell
    return exclude.items() <= {**dict(axes), "python": python, "target": target}.items()


# --- the order of the tables ---


@st.composite
def declared_matrices(draw: st.DrawFn) -> dict[str, Any]:
    """A whole pyproject.toml, with much of what a matrix may have."""
    matrix = draw(matrices(tame=True).filter(readable))
    axes = matrix["axes"]
    matrix["label"] = "_".join(f"{{{axis}}}" for axis in sorted(axes))
    for key in ("null", "plain"):
        matrix[key] = draw(st.booleans())
    matrix["wheel-tag"] = draw(st.sampled_from(["python", "py3-none", "py3-none-any", "abi3"]))
    if draw(st.booleans()):
        matrix["variants"] = draw(st.sampled_from([["*"], ["d1"], ["d*", "e1"]]))
    if len(axes) > 1 and draw(st.booleans()):
        first, second = list(axes)[:2]
        pairs = draw(
            st.lists(
                st.tuples(st.sampled_from([*axes[first]]), st.sampled_from([*axes[second]])),
                min_size=1,
                unique=True,
            )
        )
        matrix["rows"] = [{first: one, second: other} for one, other in pairs]
    if draw(st.booleans()):
        value = next(iter(axes["a"]))
        marker = "sys_platform == 'linux' or python_version >= '3.12'"
        axes["a"][value] = {"properties": axes["a"][value], "when": marker}
    keys = ["a", "label:a*", "*", "a :: f", *(f"{axis} :: f" for axis in axes)]
    rules = draw(st.lists(st.sampled_from(keys), max_size=2, unique=True))
    variants = {
        "d1": {"extra": {"e": ["0"]}},
        "d2": {"extra": {"e": ["1"]}},
        "e1": {"a": {"f": ["a1"]}},
    }
    return {
        "variant": {**VARIANT, "variants": variants},
        "tool": {
            "polywheel": {
                "matrix": matrix,
                "targets": {name: {"runner": f"my-{name}"} for name in matrix["targets"][:2]},
                "setup": {key: {"cflags": [f"-D{n}"]} for n, key in enumerate(rules)},
            }
        },
    }


def shuffled(value: Any, chance: random.Random) -> Any:
    """The same tables, and arrays whose order means nothing, in another order."""
    if isinstance(value, dict):
        items = [
            (key, inner if key in {"default-priorities", "properties"} else shuffled(inner, chance))
            for key, inner in value.items()
        ]
        chance.shuffle(items)
        return dict(items)
    if isinstance(value, list):
        inner = [shuffled(one, chance) for one in value]
        chance.shuffle(inner)
        return inner
    return value


def without_places(plan: Plan) -> dict[str, Any]:
    """A plan but for what names an index of an array, which is another in another order."""
    return {
        "jobs": [
            (one.id, one.label, one.properties, {**one.axes}, one.pythons, one.targets, one.build)
            for one in plan.jobs
        ],
        "builds": plan.builds,
        "removed": Counter(
            (one.label, *sorted(one.axes.items()), one.python, one.target, one.by)
            for one in plan.removed
        ),
        "targets": plan.targets,
        "axes": {axis: {*values} for axis, values in plan.axes.items()},
        "namespaces": plan.namespaces,
    }


def plan_or_mistakes(tables: Mapping[str, Any]) -> Any:
    try:
        return without_places(expand_project(project_of(tables)))
    except ConfigError as error:
        # Which of two is called the second one depends on the order; that something is wrong does not.
        return {"wrong": bool(error.problems)}


@settings(max_examples=50, deadline=None)
@given(declared_matrices(), st.randoms(use_true_random=False))
def test_a_plan_does_not_depend_on_the_order_of_the_tables(
    tables: dict[str, Any], chance: random.Random
) -> None:
    assert plan_or_mistakes(tables) == plan_or_mistakes(shuffled(tables, chance))


@settings(max_examples=50, deadline=None)
@given(declared_matrices())
def test_jobs_are_wheels_of_their_own_and_every_one_has_a_build(tables: dict[str, Any]) -> None:
    try:
        plan = expand_project(project_of(tables))
    except ConfigError:
        return
    assert len({job.id for job in plan.jobs}) == len(plan.jobs)
    assert [name for build in plan.builds for name in sorted(build.jobs)] == [
        job.id
        for build in plan.builds
        for job in sorted(plan.jobs, key=lambda one: one.id)
        if job.build == build.id
    ]
    by_label: dict[str, object] = {}
    for job in plan.jobs:
        if job.label is not None:
            assert by_label.setdefault(job.label, job.properties) == job.properties
    assert len(set(by_label.values())) == len(by_label)
    platforms = Counter(
        (job.label, python, target)
        for job in plan.jobs
        for python in job.pythons
        for target in job.targets
    )
    matrix = tables["tool"]["polywheel"]["matrix"]
    if matrix["wheel-tag"] != "py3-none-any":  # which is for platforms that nobody named, too
        assert set(platforms.values()) == {1}
    for build in plan.builds:
        (first, *others) = [job for job in plan.jobs if job.build == build.id]
        assert {(job.python, job.target) for job in others} <= {(first.python, first.target)}
        assert (build.id, build.python, build.target) == (first.id, first.python, first.target)


# --- the bound ---


@pytest.mark.parametrize(("axes", "values"), [(12, 10), (40, 10), (5000, 10), (2, 2000)])
def test_a_product_that_is_too_large_is_said_before_it_is_made(axes: int, values: int) -> None:
    """10¹² cells would take days, and 10⁵⁰⁰⁰ is a number that Python does not print."""
    text = "".join(
        f"[tool.polywheel.matrix.axes.x{n}]\n" + "".join(f"v{m} = []\n" for m in range(values))
        for n in range(axes)
    )
    problem = one_problem(f"label = 'x'\n{text}".partition("\n")[2])
    count = str(values**axes) if values**axes < 10**18 else f"more than {10**18}"
    assert problem.what.startswith(f"the matrix has {count} cells, more than the limit of 10000 (")
    assert problem.at == AT


def test_pythons_and_targets_alone_may_be_too_many() -> None:
    pythons = [f"3.{n}" for n in range(1000)]
    targets = [f"t{n}" for n in range(1000)]
    declared = "".join(f"[tool.polywheel.targets.t{n}]\nrunner = 'x'\n" for n in range(1000))
    text = f"python = {pythons}\ntargets = {targets}\nplain = true\n{declared}"
    problem = one_problem(text)
    assert problem.what == ("1000 Pythons on 1000 targets are more cells than the limit of 10000")


def test_includes_may_be_too_many_by_themselves() -> None:
    pythons = [f"3.{n}" for n in range(100)]
    includes = ",".join(f"{{label='x{n}', properties=['cpu::level::v1']}}" for n in range(2000))
    problem = one_problem(f"python = {pythons}\nvariants = []\ninclude = [{includes}]")
    assert "more than 10000 cells" in problem.what


def test_ten_thousand_cells_are_a_plan(tmp_path: Path) -> None:
    """The figure is measured in tests/benchmarks; here they only have to be right."""
    levels = "".join(f"v{n} = ['x :: level :: {n}']\n" for n in range(50))
    sizes = "".join(f"s{n} = ['x :: size :: {n}']\n" for n in range(10))
    values = [str(n) for n in range(50)]
    variant = (
        "[variant.default-priorities]\nnamespace = ['x']\n[variant.providers.x]\n"
        f"feature-order = ['level', 'size']\nstatic-properties.level = {values}\n"
        f"static-properties.size = {values[:10]}\n"
    )
    text = (
        "python = ['3.11', '3.12', '3.13', '3.14', '3.15']\nwheel-tag = 'python'\n"
        "targets = ['linux-x86_64', 'linux-aarch64', 'macos-arm64', 'windows-x86_64']\n"
        "label = '{level}_{size}'\n"
        f"[tool.polywheel.matrix.axes.level]\n{levels}[tool.polywheel.matrix.axes.size]\n{sizes}"
        "[tool.polywheel.setup.'x :: level']\ncflags = ['-O{value}']\n"
    )
    plan = expand_project(project_of(document(text, variant=variant), source=tmp_path))
    assert len(plan.jobs) == len({job.id for job in plan.jobs}) == 10_000
    assert len(plan.builds) == 50 * 20
