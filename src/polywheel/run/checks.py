"""After a build: is the wheel what the plan says, and does it agree with itself."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

from polywheel.errors import Problem, WheelError
from polywheel.examined import examine
from polywheel.model.matrix import Target
from polywheel.model.plan import Job
from polywheel.model.wheelname import WheelName

_CPYTHON = re.compile(r"cp3([0-9]+)")


def check_wheel(wheel: Path, job: Job, targets: list[Target]) -> None:
    """Raise WheelError, with everything that is wrong, for a wheel that is not what was planned."""
    examined = examine(wheel)
    problems = list(examined.disagreements)
    variant = examined.variant
    label = variant.label if variant is not None else None
    if label != job.label or (variant is not None and variant.properties != job.properties):
        problems.append(Problem(f"planned as {job.label!r}, stamped as {label!r}", at=job.id))
    name = WheelName.parse(wheel.name)
    unfit = [python for python in job.pythons if not _serves_python(name, python)]
    if unfit:
        problems.append(
            Problem(
                f"planned for Python {', '.join(unfit)}, which its tags "
                f"{name.python}-{name.abi} do not serve",
                at=wheel.name,
                hint='say what the wheels are for: [tool.polywheel.matrix] wheel-tag = "python"',
            )
        )
    problems += [
        Problem(
            f"planned for {target.name}, whose platform tags are "
            f"{', '.join(target.platform_tags)}; the wheel's is {name.platform}",
            at=wheel.name,
        )
        for target in targets
        if target.platform_tags and not _serves_target(name, target)
    ]
    if problems:
        raise WheelError.collected(problems)


def _serves_python(name: WheelName, python: str) -> bool:
    minor = int(python.partition(".")[2].removesuffix("t"))
    free_threaded = python.endswith("t")
    for tag in name.python.split("."):
        if tag in {"py3", f"py3{minor}"} and "none" in name.abi.split("."):
            return True
        found = _CPYTHON.fullmatch(tag)
        if found is None:
            continue
        floor, abis = int(found[1]), name.abi.split(".")
        if "abi3" in abis and not free_threaded and minor >= floor:
            return True
        exact = f"cp3{minor}{'t' if free_threaded else ''}"
        if minor == floor and (exact in abis or "none" in abis):
            return True
    return False


def _serves_target(name: WheelName, target: Target) -> bool:
    return any(
        platform == "any" or fnmatchcase(platform, glob)
        for platform in name.platform.split(".")
        for glob in target.platform_tags
    )
