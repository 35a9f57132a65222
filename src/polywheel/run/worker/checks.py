"""Check a built wheel against the plan, and against itself."""

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


def check_planned_wheel(wheel: Path, job: Job, targets: Sequence[Target]) -> None:
    """Raise WheelError with all problems of a wheel that differs from the plan or from itself."""
    inspected = inspect_wheel(wheel)
    problems = list(inspected.disagreements)
    variant = inspected.variant
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
    problems += tag_problems(WheelName.parse(wheel.name), job, targets)
    if problems:
        raise WheelError.collected(problems)


def tag_problems(name: WheelName, job: Job, targets: Sequence[Target]) -> list[Problem]:
    """The planned Pythons and targets that the tags of a filename do not support, as problems."""
    problems = []
    unsupported = [python for python in job.pythons if not _serves_python(name, python)]
    if unsupported:
        problems.append(
            Problem(
                f"planned for Python {', '.join(unsupported)}, which its tags "
                f"{name.python}-{name.abi} do not support",
                at=str(name),
                hint='set [tool.polywheel.matrix] wheel-tag = "python"',
            )
        )
    problems += [
        Problem(
            f"planned for {target.name}, whose platform tags are "
            f"{', '.join(target.platform_tags)}; the wheel's is {name.platform}",
            at=str(name),
            hint=f'to allow other tags, set [tool.polywheel.targets.{target.name}] platform-tags = ["…"]',
        )
        for target in targets
        if target.platform_tags and not _serves_target(name, target)
    ]
    return problems


def pure_wheel_note(name: WheelName, job: Job) -> str | None:
    """A note about a wheel without compiled code that was planned for one platform; None for others."""
    if name.platform != "any" or job.id.startswith("any-"):
        return None
    return (
        f"note: {name.python}-{name.abi}-{name.platform}: it has no compiled code. "
        'If this is intended, set [tool.polywheel.matrix] wheel-tag = "py3-none-any"'
    )


def _planned(job: Job) -> str:
    return f"{job.label or NON_VARIANT} ({', '.join(map(str, job.properties)) or 'no properties'})"


def _serves_python(name: WheelName, python: str) -> bool:
    """Whether a CPython supports these tags, without the platform (as ``sys_tags`` of packaging)."""
    minor = int(python.partition(".")[2].removesuffix("t"))
    free_threaded = python.endswith("t")
    abis = name.abi.split(".")
    for tag in name.python.split("."):
        match = _PYTHON.fullmatch(tag)
        if match is None:
            continue
        since = int(match[2] or 0)
        if match[1] == "py":
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
