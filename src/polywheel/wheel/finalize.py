"""Add labels back to the filenames of stamped wheels.

auditwheel, pip, and cibuildwheel can't read a filename with a variant label. While they process a wheel, its
filename has no label, and only ``variant.json`` names the variant. Afterwards the wheel gets its label back.
"""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from polywheel.errors import PolywheelError, WheelError, os_error_as
from polywheel.model.variant import Variant
from polywheel.model.wheelname import Release, WheelName
from polywheel.system.files import rename
from polywheel.system.temporary import replacing
from polywheel.wheel.disagreements import disagreements_with_label
from polywheel.wheel.dist_info import VARIANT_JSON
from polywheel.wheel.inspect import inspect_wheel, release_conflicts
from polywheel.wheel.inspected_wheel import stamped_variant
from polywheel.wheel.stamp import name_taken, output_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class FinalizedWheel:
    """A wheel with its final name."""

    wheel: Path
    """The path that was given."""

    written: Path
    """The path of the finalized wheel. It is the same if the wheel had its final name already."""

    variant: Variant | None
    """None for a non-variant wheel, which keeps its name."""

    changed: bool
    """False if nothing had to be done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finalization:
    """The results for all wheels."""

    done: tuple[FinalizedWheel, ...]
    errors: tuple[PolywheelError, ...]
    """An error for each wheel, or set of wheels, that was not changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Planned:
    wheel: Path
    target: Path
    variant: Variant | None
    state: tuple[int, ...]
    """The state of the file when it was inspected."""

    @property
    def in_place(self) -> bool:
        return self.wheel.parent.resolve() == self.target.parent.resolve()


def finalize(
    wheels: Iterable[Path],
    out: Path | None = None,
    *,
    plain: bool = False,
    hashes: bool = False,
    force: bool = False,
) -> Finalization:
    """Add the label in the variant.json of each wheel to its filename. Return the results.

    A wheel is renamed, or copied to the folder ``out``, completely or not at all. A wheel that has its
    label already is kept or copied. All wheels are inspected before the first one is renamed.

    A wheel is refused, with an error, and left unchanged if

    - its parts disagree (with ``hashes``, the hashes of all files are compared with RECORD),
    - it is a non-variant wheel, and ``plain`` is false,
    - a wheel with other content has its final name, or would get it (``force`` overwrites an existing wheel),
    - another wheel of the release has the same label and other properties, or the same properties and
      another label.

    The other wheels are still finalized. Raises WheelError if ``out`` can't be created.
    """
    errors: list[PolywheelError] = []
    planned = []
    # A wheel may be given twice, and its old name is gone after the rename.
    for wheel in {path.parent.resolve() / path.name: path for path in wheels}.values():
        folder = output_folder(wheel, out)
        try:
            planned.append(_plan(wheel, folder, plain=plain, hashes=hashes))
        except PolywheelError as error:
            errors.append(error)
    refused: set[Path] = set()
    for refusal, paths in (*_label_conflicts(planned), *_collisions(planned, force=force)):
        errors.append(refusal)
        refused |= paths
    done = []
    for plan in planned:
        if plan.wheel in refused:
            continue
        try:
            done.append(_carry_out(plan, force=force))
        except PolywheelError as error:
            errors.append(error)
    return Finalization(done=tuple(done), errors=tuple(errors))


def _plan(wheel: Path, folder: Path, *, plain: bool, hashes: bool) -> _Planned:
    """Determine the final name of a wheel. Raises WheelError if it can't be finalized."""
    state = _state(wheel)
    inspected = inspect_wheel(wheel, hashes=hashes)
    variant = stamped_variant(inspected)
    if variant is None and not plain:
        raise WheelError(
            f"{wheel.name} is not a variant wheel: it has no {VARIANT_JSON}",
            at=str(wheel),
            hint="use --plain if it is the non-variant wheel of the release; otherwise it was built "
            "without a variant",
        )
    problems, target = inspected.disagreements, wheel.name
    # A label in the filename must be right: a wrong one is not overwritten.
    if variant is not None and inspected.name.label is None:
        problems = disagreements_with_label(inspected, variant.label)
        target = inspected.name.with_label(variant.label)
    if problems:
        raise WheelError.collected(problems)
    return _Planned(wheel=wheel, target=folder / target, variant=variant, state=state)


def _label_conflicts(planned: Sequence[_Planned]) -> Iterator[tuple[WheelError, set[Path]]]:
    """Yield an error for wheels of one release with the same label, or properties, but not both."""
    releases: dict[Release, list[_Planned]] = {}
    for plan in planned:
        if plan.variant is not None:
            releases.setdefault(WheelName.parse(plan.target.name).release, []).append(plan)
    for release, plans in releases.items():
        variants = {plan.wheel: plan.variant for plan in plans if plan.variant is not None}
        targets = [plan.target for plan in plans]
        folders = dict.fromkeys(target.parent for target in targets)
        for problem, paths in release_conflicts(
            variants, release, folders, besides=targets, every_wheel=True
        ):
            # It may be a conflict between older wheels of the release.
            refused = {wheel for wheel in variants if str(wheel) in paths}
            yield WheelError.collected([problem]), refused


def _collisions(
    planned: Sequence[_Planned], *, force: bool
) -> Iterator[tuple[WheelError, set[Path]]]:
    """Yield an error for wheels with different content that would get the same name."""
    groups: dict[Path, list[_Planned]] = {}
    for plan in planned:
        groups.setdefault(plan.target.parent.resolve() / plan.target.name, []).append(plan)
    for target, group in groups.items():
        wheels = [plan.wheel for plan in group]
        first = wheels[0]
        other = next((wheel for wheel in wheels[1:] if not _same(first, wheel)), None)
        if other is not None:
            what = f"{first} and {other} would both be named {target.name}, but they differ"
            hint: str | None = "they are two builds of one wheel: remove one of them"
        elif target.exists() and not force and not _same(first, target):
            what = f"{first} would be named {target.name}, but another wheel has that name"
            hint = name_taken(target).problems[0].hint
        else:
            continue
        yield WheelError(what, at=str(target.parent), hint=hint), set(wheels)


def _state(path: Path) -> tuple[int, ...]:
    """Return a value that changes with every change of a file. It is empty if there is no file."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _refuse_changed(plan: _Planned) -> None:
    """Raise WheelError if another process has changed the wheel since it was inspected."""
    if _state(plan.wheel) != plan.state:
        raise WheelError(
            f"{plan.wheel.name} was changed while finalize ran",
            at=str(plan.wheel.parent),
            hint="run the command again when nothing else changes the wheel",
        )


def _same(first: Path, second: Path) -> bool:
    try:
        return filecmp.cmp(first, second, shallow=False)
    except OSError:
        return False


def _carry_out(plan: _Planned, *, force: bool) -> FinalizedWheel:
    wheel, target = plan.wheel, plan.target
    changed = True
    _refuse_changed(plan)
    what = f"{wheel.name} can't be renamed to {target.name}"
    with os_error_as(WheelError, what, at=target.parent):
        try:
            if target.exists() and _same(wheel, target):
                # It is a copy, or one file with two names: a run may have been killed during a rename.
                changed = plan.in_place and wheel.name != target.name
                if changed:
                    wheel.unlink()
            elif plan.in_place:
                rename(wheel, target, overwrite=force)
            else:
                with replacing(target, overwrite=force) as part:
                    shutil.copy2(wheel, part)
                    _refuse_changed(plan)
        except FileExistsError:
            raise name_taken(target) from None
    return FinalizedWheel(wheel=wheel, written=target, variant=plan.variant, changed=changed)
