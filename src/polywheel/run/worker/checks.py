"""Check a built wheel against the plan, and against itself."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path

from packaging.tags import compatible_tags, cpython_tags

from polywheel.errors import Problem, WheelError
from polywheel.model.matrix import Target
from polywheel.model.plan import NON_VARIANT, Job
from polywheel.model.variant import VariantProperty
from polywheel.model.wheelname import WheelName
from polywheel.wheel.inspect import inspect_wheel


def check_planned_wheel(wheel: Path, job: Job, targets: Sequence[Target]) -> None:
    """Raise WheelError with all problems of a wheel that differs from the plan or from itself."""
    inspected = inspect_wheel(wheel)
    problems = list(inspected.disagreements)
    variant = inspected.variant
    label = variant.label if variant is not None else None
    properties = variant.properties if variant is not None else ()
    if (label, set(properties)) != (job.label, set(job.properties)):
        planned, stamped = _shown(job.label, job.properties), _shown(label, properties)
        problems.append(Problem(f"planned as {planned}, stamped as {stamped}", at=job.id))
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


def _shown(label: str | None, properties: Sequence[VariantProperty]) -> str:
    return f"{label or NON_VARIANT} ({', '.join(map(str, properties)) or 'no properties'})"


def _serves_python(name: WheelName, python: str) -> bool:
    """Whether a CPython supports these tags, without the platform."""
    minor = int(python.partition(".")[2].removesuffix("t"))
    abi = f"cp3{minor}t" if python.endswith("t") else f"cp3{minor}"
    tags = chain(
        cpython_tags((3, minor), [abi], ["any"]),
        compatible_tags((3, minor), f"cp3{minor}", ["any"]),
    )
    interpreters, abis = name.python.split("."), name.abi.split(".")
    return any(tag.interpreter in interpreters and tag.abi in abis for tag in tags)


def _serves_target(name: WheelName, target: Target) -> bool:
    return any(
        platform == "any" or fnmatchcase(platform, glob)
        for platform in name.platform.split(".")
        for glob in target.platform_tags
    )
