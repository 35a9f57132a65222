"""After a build: is the wheel what the plan says, and does it agree with itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from polywheel.errors import Problem, WheelError
from polywheel.model.matrix import Target
from polywheel.model.plan import NON_VARIANT, Job
from polywheel.model.wheelname import WheelName
from polywheel.wheel.inspect import inspect_wheel

_PYTHON = re.compile(r"(cp|py)3([0-9]*)")


def check_wheel(wheel: Path, job: Job, targets: Sequence[Target]) -> None:
    """Raise WheelError, with everything that is wrong, for a wheel that is not what was planned."""
    examined = inspect_wheel(wheel)
    problems = list(examined.disagreements)
    variant = examined.variant
    label = variant.label if variant is not None else None
    properties = variant.properties if variant is not None else ()
    if (label, set(properties)) != (job.label, set(job.properties)):
        stamped = ", ".join(map(str, properties)) or "no properties"
        problems.append(
            Problem(
                f"planned as {_planned(job)}, stamped as {label or NON_VARIANT} ({stamped})",
                at=job.id,
            )
        )
    problems += misfits(WheelName.parse(wheel.name), job, targets)
    if problems:
        raise WheelError.collected(problems)


def misfits(name: WheelName, job: Job, targets: Sequence[Target]) -> list[Problem]:
    """Where the tags in a filename do not serve what a job is planned for."""
    problems = []
    unfit = [python for python in job.pythons if not _serves_python(name, python)]
    if unfit:
        problems.append(
            Problem(
                f"planned for Python {', '.join(unfit)}, which its tags "
                f"{name.python}-{name.abi} do not serve",
                at=str(name),
                hint='say what the wheels are for: [tool.polywheel.matrix] wheel-tag = "python"',
            )
        )
    problems += [
        Problem(
            f"planned for {target.name}, whose platform tags are "
            f"{', '.join(target.platform_tags)}; the wheel's is {name.platform}",
            at=str(name),
            hint=f'others are declared: [tool.polywheel.targets.{target.name}] platform-tags = ["…"]',
        )
        for target in targets
        if target.platform_tags and not _serves_target(name, target)
    ]
    return problems


def remark(name: WheelName, job: Job) -> str | None:
    """What is odd about a wheel that serves what it is planned for: it serves everything else too."""
    if name.platform != "any" or job.id.startswith("any-"):
        return None
    return (
        f"note: {name.python}-{name.abi}-{name.platform}: nothing in it was compiled. "
        'If that is meant: [tool.polywheel.matrix] wheel-tag = "py3-none-any"'
    )


def _planned(job: Job) -> str:
    return f"{job.label or NON_VARIANT} ({', '.join(map(str, job.properties)) or 'no properties'})"


def _serves_python(name: WheelName, python: str) -> bool:
    """Whether a CPython takes a wheel with these tags (packaging's ``sys_tags``, platforms aside)."""
    minor = int(python.partition(".")[2].removesuffix("t"))
    free_threaded = python.endswith("t")
    abis = name.abi.split(".")
    for tag in name.python.split("."):
        found = _PYTHON.fullmatch(tag)
        if found is None:
            continue
        since = int(found[2] or 0)
        if found[1] == "py":
            # py3, and py311 from 3.11 on, without an ABI.
            fits = "none" in abis and since <= minor
        elif since == minor:
            fits = not {"none", f"{tag}t" if free_threaded else tag}.isdisjoint(abis)
            fits = fits or ("abi3" in abis and not free_threaded)
        else:
            fits = "abi3" in abis and since <= minor and not free_threaded
        if fits:
            return True
    return False


def _serves_target(name: WheelName, target: Target) -> bool:
    return any(
        platform == "any" or fnmatchcase(platform, glob)
        for platform in name.platform.split(".")
        for glob in target.platform_tags
    )
