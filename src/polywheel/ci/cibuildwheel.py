"""A workflow for GitHub Actions in which cibuildwheel builds: one run of it for each variant and target.

Unlike that of ``polywheel ci github`` it holds the matrix itself: what a run is told stands in its
``CIBW_*`` variables, and nothing but cibuildwheel has a part in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polywheel.ci.github import WorkflowSettings, template_values
from polywheel.ci.rendering import read_pins, render_template
from polywheel.errors import ConfigError
from polywheel.model.plan import NON_VARIANT

_MOST = 256
"""Jobs that GitHub makes of one matrix."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CibuildwheelRun:
    """One run of cibuildwheel."""

    target: str
    runner: str
    label: str | None
    """None for the non-variant wheels."""

    variables: Mapping[str, str]
    """The ``CIBW_*`` variables."""

    @property
    def artifact(self) -> str:
        """The folder of its wheels: with one for all, variants would write over each other."""
        return f"wheels-{self.target}-{self.label or NON_VARIANT}"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunGroup:
    """Runs of one target that are told the same, but for some variables."""

    id: str
    """The name of the job."""

    runs: tuple[CibuildwheelRun, ...]
    same: Mapping[str, str]
    """The variables of all of them. One that is not there differs from an empty one: that says "none"
    to cibuildwheel."""

    different: tuple[str, ...]
    """The names of the variables by which they differ; each of them has all of these."""

    @property
    def target(self) -> str:
        return self.runs[0].target

    @property
    def runner(self) -> str:
        return self.runs[0].runner


def cibuildwheel_workflow(
    settings: WorkflowSettings, runs: Sequence[CibuildwheelRun], *, plain: bool
) -> str:
    """The workflow. ``plain``: whether there are non-variant wheels. Raises ConfigError."""
    for run in runs:
        if not run.runner:
            raise ConfigError(
                f"the target {run.target!r} has no runner, so CI does not know where to build it",
                at=f"tool.polywheel.targets.{run.target}",
                hint=f'[tool.polywheel.targets.{run.target}] runner = "…"',
            )
    return render_template(
        "cibuildwheel.yml.j2",
        **template_values(settings),
        version=read_pins().packages["cibuildwheel"],
        groups=group_runs(runs),
        finalize=[
            *(f"collected/{run.artifact}" for run in runs),
            "--output=dist",
            *(["--plain"] if plain else []),
        ],
    )


def group_runs(runs: Sequence[CibuildwheelRun]) -> list[RunGroup]:
    """The runs by target, and by the names of their variables: a job of a matrix has all or none."""
    found: dict[tuple[str, tuple[str, ...]], list[CibuildwheelRun]] = {}
    for run in runs:
        members = found.setdefault((run.target, tuple(sorted(run.variables))), [])
        members.append(run)
    ids: set[str] = set()
    done = []
    for (target, names), members in found.items():
        for start in range(0, len(members), _MOST):
            some = members[start : start + _MOST]
            same = {
                name: some[0].variables[name]
                for name in names
                if len({run.variables[name] for run in some}) == 1
            }
            done.append(
                RunGroup(
                    id=_free(target, ids),
                    runs=tuple(some),
                    same=same,
                    different=tuple(name for name in names if name not in same),
                )
            )
    return done


def _free(target: str, taken: set[str]) -> str:
    """A name of a job (letters, digits, hyphens) that no other has; noted as taken."""
    base = "build-" + re.sub(r"[^A-Za-z0-9-]", "-", target)
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    taken.add(name)
    return name
