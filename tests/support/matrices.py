"""Matrices for tests: projects from the text under ``[tool.polywheel.matrix]``, plans, problems."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from polywheel.config.matrix_table import read_matrix
from polywheel.config.project import Project, read_settings
from polywheel.config.reader import Problems, Table
from polywheel.config.variant_table import read_variant_table
from polywheel.errors import ConfigError, Problem
from polywheel.matrix.expansion import expand_project
from polywheel.model.matrix import Matrix, Target
from polywheel.model.plan import Job, Plan
from support.setups import project as bare_project

AT = "pyproject.toml: tool.polywheel.matrix"

# Static properties: nothing is asked while building, so that only rules tell builds apart.
VARIANT = """
[variant.default-priorities]
namespace = ["gpu", "cpu", "blas"]
[variant.providers.gpu.static-properties]
cuda = ["11.8", "12", "12.4", "12.6", "13"]
[variant.providers.cpu.static-properties]
level = ["v3", "v2", "v1"]
[variant.providers.blas.static-properties]
library = ["mkl", "openblas"]
"""
HERE = """
[tool.polywheel.matrix]
python = ["3.12"]
targets = ["linux-x86_64"]
"""


def document(text: str, *, variant: str = VARIANT, here: str = HERE) -> dict[str, Any]:
    """A pyproject.toml; ``text`` goes on in ``[tool.polywheel.matrix]``.

    A ``python`` or ``targets`` in the text stands in place of the one Python and target.
    """
    for key in ("python", "targets"):
        if re.search(rf"^{key} =", text, re.MULTILINE):
            here = re.sub(rf"^{key} = .*\n", "", here, flags=re.MULTILINE)
    return tomllib.loads(f"{variant}{here}{text}")


def project_of(tables: Mapping[str, Any], *, source: Path = Path("/nowhere")) -> Project:
    """What ``read_project`` makes of a document. Raises ConfigError."""
    problems = Problems()
    root = Table(tables, "pyproject.toml", (), problems)
    settings = read_settings(root.table("tool").table("polywheel"))
    metadata = read_variant_table(root.table("variant"))
    problems.raise_all()
    bare = bare_project(settings, source=source, document=tables)
    build_backend = tables.get("build-system", {}).get("build-backend", "mesonpy")
    return Project(
        source=source,
        build_system=type(bare.build_system)(
            build_backend=build_backend,
            requires=tuple(tables.get("build-system", {}).get("requires", ())),
        ),
        settings=settings,
        metadata=metadata,
        document=tables,
        tables=tables,
    )


def matrix_of(text: str, *, here: str = "\n[tool.polywheel.matrix]\n") -> Matrix:
    return read_matrix(project_of(document(text, here=here))).matrix


def targets_of(text: str) -> dict[str, Target]:
    return dict(read_matrix(project_of(tomllib.loads(text))).targets)


def plan_of(text: str, *, variant: str = VARIANT, source: Path = Path("/nowhere")) -> Plan:
    return expand_project(project_of(document(text, variant=variant), source=source))


def problems_of(text: str, *, variant: str = VARIANT, here: str = HERE) -> tuple[Problem, ...]:
    """What is wrong with a matrix; each with a place, and with a hint what to do."""
    with pytest.raises(ConfigError) as caught:
        expand_project(project_of(document(text, variant=variant, here=here)))
    assert caught.value.exit_code == 2
    for problem in caught.value.problems:
        assert str(problem.at).startswith("pyproject.toml: "), problem
        assert problem.render().count("\n") <= 2, problem
    return caught.value.problems


def one_problem(text: str, *, variant: str = VARIANT, here: str = HERE) -> Problem:
    problems = problems_of(text, variant=variant, here=here)
    assert len(problems) == 1, "\n".join(one.render() for one in problems)
    assert problems[0].hint, f"nothing says what to do: {problems[0].render()}"
    return problems[0]


def labels(plan: Plan) -> list[str | None]:
    """The labels of a plan, each once; None stands for the non-variant wheel."""
    return list(dict.fromkeys(job.label for job in plan.jobs))


def ids(jobs: Iterable[Job]) -> list[str]:
    return [job.id for job in jobs]


def builds(plan: Plan) -> list[list[str]]:
    """The labels that are stamped from each build."""
    named = {job.id: job.label or "non-variant" for job in plan.jobs}
    return sorted([named[name] for name in build.jobs] for build in plan.builds)


def toml(value: object) -> str:
    """A value as TOML: strings and lists of strings are as in JSON."""
    return json.dumps(value)


def write(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return folder
