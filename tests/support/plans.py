"""Plans for tests: written down, drawn by hypothesis, or expanded from the text of a project."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st

import polywheel
from polywheel.matrix.platforms import python_order
from polywheel.model.matrix import BuildSettings, Target
from polywheel.model.plan import NON_VARIANT, Build, Job, Plan
from polywheel.model.variant import VariantProperty

HEAD = """
[build-system]
requires = ["polywheel", "setuptools"]
build-backend = "polywheel.backend"
[project]
name = "Demo.Project"
version = "1.0"
[variant.default-priorities]
namespace = ["cpu", "blas"]
[variant.providers.cpu.static-properties]
level = ["v1", "v2", "v3", "v4"]
[variant.providers.blas.static-properties]
library = ["openblas", "mkl"]
[tool.polywheel.setup."cpu :: level"]
cflags = ["-march={value}"]
"""
MATRIX = """
[tool.polywheel.matrix]
python = ["3.11", "3.12"]
targets = ["linux-x86_64", "windows-x86_64"]
label = "{level}_{blas}"
null = true
plain = true
wheel-tag = "python"
[tool.polywheel.matrix.axes.level]
v2 = ["cpu :: level :: v2"]
v3 = ["cpu :: level :: v3"]
[tool.polywheel.matrix.axes.blas]
openblas = ["blas :: library :: openblas"]
mkl = { properties = ["blas :: library :: mkl"], when = "sys_platform == 'linux'" }
[[tool.polywheel.matrix.exclude]]
level = "v2"
blas = "mkl"
python = "3.11"
[[tool.polywheel.matrix.include]]
label = "v4"
python = "3.12"
properties = ["cpu :: level :: v4"]
"""


def expanded(folder: Path, text: str = HEAD + MATRIX) -> Plan:
    """The plan of a project with this pyproject.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return polywheel.expand(folder)


def job(
    label: str | None,
    python: str = "3.12",
    target: str = "linux-x86_64",
    *,
    axes: Mapping[str, str] | None = None,
    also: Sequence[str] = (),
) -> Job:
    """A job that serves one target, and ``also`` these Pythons."""
    properties = () if label in {None, "null"} else (VariantProperty("test", "label", str(label)),)
    tag = "abi3" if also else "cp" + python.replace(".", "")
    return Job(
        id=f"{target}-{tag}-{label or NON_VARIANT}",
        label=label,
        properties=properties,
        axes=axes or {},
        pythons=tuple(sorted([python, *also], key=python_order)),
        targets=(target,),
        build="",
        at="pyproject.toml: tool.polywheel.matrix.axes",
    )


def plan_of(*groups: Sequence[Job]) -> Plan:
    """A plan whose builds are these groups of jobs."""
    jobs: list[Job] = []
    builds = []
    for group in groups:
        ordered = sorted(group, key=_order)
        first = ordered[0]
        jobs += [replace(one, build=first.id) for one in ordered]
        names = tuple(one.id for one in ordered)
        builds.append(
            Build(
                id=first.id,
                python=first.python,
                target=first.target,
                jobs=names,
                settings=_settings(first.target),
            )
        )
    jobs.sort(key=_order)
    order = {one.id: number for number, one in enumerate(jobs)}
    axes: dict[str, dict[str, None]] = {}
    for one in jobs:
        for axis, value in one.axes.items():
            axes.setdefault(axis, {})[value] = None
    return Plan(
        project="demo",
        namespaces=("test",),
        targets={name: Target(name=name, settings=_settings(name)) for name in _targets(jobs)},
        axes={axis: tuple(sorted(values)) for axis, values in axes.items()},
        jobs=tuple(jobs),
        builds=tuple(sorted(builds, key=lambda one: order[one.id])),
        removed=(),
    )


def _settings(target: str) -> BuildSettings:
    return BuildSettings(runner=(f"on {target}",))


def _order(one: Job) -> tuple[object, ...]:
    return (one.target, python_order(one.python), one.label is not None, one.label or "")


def _targets(jobs: Iterable[Job]) -> list[str]:
    return sorted({target for one in jobs for target in one.targets})


LABELS = ("null", "v1", "v2", "v3", "v2_mkl", "v3_mkl")
PYTHONS = ("3.9", "3.11", "3.13", "3.13t")
TARGETS = ("linux-x86_64", "macos-arm64", "windows-x86_64")


_SETUPS: st.SearchStrategy[Mapping[str, tuple[str, ...]]] = st.sampled_from(
    ({}, {"cflags": ("-O2", "-g")}, {"env.CC": ("gcc",), "compiler.msvc.cflags": ()})
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plans of up to a few dozen jobs, their builds of one to several."""
    places = [(target, python) for target in TARGETS for python in PYTHONS]
    groups = []
    for target, python in draw(st.lists(st.sampled_from(places), unique=True, min_size=1)):
        kinds: dict[int, list[Job]] = {}
        for label in draw(st.sets(st.sampled_from((*LABELS, None)), min_size=1)):
            axes = {"level": label.partition("_")[0]} if label and label.startswith("v") else {}
            kinds.setdefault(draw(st.integers(0, 2)), []).append(
                job(label, python, target, axes=axes)
            )
        groups += [*kinds.values()]
    plan = plan_of(*groups)
    setups = draw(
        st.lists(st.none() | _SETUPS, min_size=len(plan.builds), max_size=len(plan.builds))
    )
    builds = [replace(build, setup=one) for build, one in zip(plan.builds, setups, strict=True)]
    return replace(plan, builds=tuple(builds), unshared=draw(st.none() | st.text()))
