"""Whether a wheel that was made of another one is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from polywheel.errors import WheelError
from polywheel.examined.disagreements import tag_disagreements
from polywheel.examined.reading import examine_open


def refuse_disagreements(
    file: BinaryIO, target: Path, *, source: Path, notify: Callable[[str], None]
) -> None:
    """Raise WheelError for a new wheel whose parts disagree, before it is at ``target``.

    ``file`` holds the new wheel, which was made of ``source``. Tags of WHEEL that are not those of
    the filename are told to ``notify`` alone: many wheels on PyPI have them, and pip takes those.
    """
    found = examine_open(file, target)
    harmless = set(tag_disagreements(found))
    if wrong := [problem for problem in found.disagreements if problem.what not in harmless]:
        raise WheelError.collected(
            replace(
                problem,
                what=f"the new wheel would not be right: {problem.what}",
                hint=f"polywheel show --hashes {source.name} tells what is wrong already",
            )
            for problem in wrong
        )
    for what in harmless:
        notify(f"warning: {target.name}: {what}")
