"""Check the Pythons of a matrix: polywheel must be able to build with them, and the project must allow them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from polywheel.config.reader import Problems
from polywheel.matrix.platforms import python_order
from polywheel.matrix.requires_python import RequiresPython
from polywheel.matrix.wheel_tag import WheelTag
from polywheel.model.matrix import LOWEST_PYTHON, Matrix, can_build, minor_version
from polywheel.model.plan import Job

_FREE_THREADED = 13
"""The minor version of the first free-threaded Python (PEP 703)."""


def check_pythons(
    requires: RequiresPython,
    matrix: Matrix,
    jobs: Sequence[Job],
    tag: WheelTag,
    problems: Problems,
) -> None:
    """Check that each Python of the jobs exists, that polywheel builds for it, and that the project allows it."""
    if requires.is_malformed:
        problems.add(f"malformed {requires}", at=requires.at, hint='for example ">=3.11"')
    of_wheels = {job.pythons for job in jobs}
    pythons = sorted({python for several in of_wheels for python in several}, key=python_order)
    without_build = set(_without_build(of_wheels, tag))
    for python in pythons:
        at, which = _declaration(matrix, python)
        if python.endswith("t") and minor_version(python) < _FREE_THREADED:
            problems.add(
                f"there is no free-threaded Python {python.removesuffix('t')}",
                at=at,
                hint=f"the first one is 3.{_FREE_THREADED}t",
            )
        elif not requires.allows(python):
            problems.add(
                f"{which} is not in {requires}",
                at=at,
                hint=f"remove it from the matrix, or change {requires.key}"
                if matrix.python
                else "set python in the matrix",
            )
        elif python in without_build:
            problems.add(
                f"nothing can be built with Python {python}: polywheel and its build backend need "
                f"Python {LOWEST_PYTHON} or newer",
                at=at,
                hint=_hint(tag, python, pythons),
            )


def _without_build(of_wheels: Iterable[Sequence[str]], tag: WheelTag) -> Iterator[str]:
    """The Pythons whose wheel no supported Python can build. ``of_wheels`` has the Pythons of each wheel.

    A wheel for several Pythons is built by one of them. An abi3 wheel is for the Python that builds it and
    newer ones, unless the settings of the backend name the lowest Python.
    """
    by_builder = tag.kind == "abi3" and not tag.floor
    for pythons in of_wheels:
        builder = next(filter(can_build, pythons), None)
        if builder is None:
            yield from pythons
        elif by_builder:
            yield from pythons[: pythons.index(builder)]


def _declaration(matrix: Matrix, python: str) -> tuple[str, str]:
    """The key path of a Python, and a text for messages."""
    if python in matrix.python:
        return f"{matrix.at}.python[{matrix.python.index(python)}]", f"Python {python}"
    return matrix.at, f"the matrix names no Python, and Python {python}, which runs polywheel,"


def _hint(tag: WheelTag, python: str, pythons: Sequence[str]) -> str:
    if tag.kind == "abi3" and not tag.floor and any(map(can_build, pythons)):
        version = minor_version(python)
        return (
            "remove it, or set the lowest Python in the settings of the backend, so that a newer one "
            f'builds its wheel: py-api = "cp3{version}" (scikit-build-core), '
            f'py-limited-api = "cp3{version}" (setuptools), the feature abi3-py3{version} (maturin)'
        )
    return "remove it from the matrix"
