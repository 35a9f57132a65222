"""What would be wrong with a wheel under another name: one with a label, where it has none."""

from __future__ import annotations

from dataclasses import replace

from polywheel.errors import Problem
from polywheel.examined.disagreements import disagreements
from polywheel.examined.parts import Examined


def disagreements_as(wheel: Examined, label: str) -> tuple[Problem, ...]:
    """Everything that would disagree in this wheel if its filename had this label."""
    now = set(disagreements(wheel))
    renamed = replace(wheel, name=replace(wheel.name, label=label))
    kept = [one for one in wheel.disagreements if one.what not in now]
    return (*kept, *(Problem(what, str(wheel.path)) for what in disagreements(renamed)))
