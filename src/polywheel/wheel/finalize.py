"""Add labels back to the filenames of stamped wheels.

auditwheel, pip, and cibuildwheel can't read a filename with a variant label. While they process a wheel, its
filename has no label, and only ``variant.json`` names the variant. Afterwards the wheel gets its label back.
"""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import Version

from polywheel.errors import PolywheelError, WheelError
from polywheel.model.variant import Variant, VariantProperty
from polywheel.model.wheelname import WheelName
from polywheel.system.files import rename
from polywheel.system.temporary import replacing
from polywheel.wheel.disagreements import disagreements_with_label
from polywheel.wheel.dist_info import VARIANT_JSON
from polywheel.wheel.inspect import inspect_wheel, read_variant
from polywheel.wheel.inspected_wheel import InspectedWheel
from polywheel.wheel.stamp import name_taken, output_folder

_Release = tuple[str, Version | str]
"""Project and version, normalized."""


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
    for refusal, paths in (*_contradictions(planned), *_collisions(planned, force=force)):
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
    if not inspected.stamped_in and plain:
        if inspected.disagreements:
            raise WheelError.collected(inspected.disagreements)
        return _Planned(wheel=wheel, target=folder / wheel.name, variant=None, state=state)
    variant = _variant(inspected)
    # A label in the filename must be right: a wrong one is not overwritten.
    labelled = inspected.name.label is not None
    problems = (
        inspected.disagreements if labelled else disagreements_with_label(inspected, variant.label)
    )
    if problems:
        raise WheelError.collected(problems)
    name = str(replace(inspected.name, label=variant.label))
    return _Planned(wheel=wheel, target=folder / name, variant=variant, state=state)


def _variant(wheel: InspectedWheel) -> Variant:
    """Return the variant in the variant.json of a wheel. Raises WheelError if there is none."""
    at = str(wheel.path)
    if wheel.variant_json is None:
        if not wheel.stamped_in:
            raise WheelError(
                f"{wheel.path.name} is not a variant wheel: it has no {VARIANT_JSON}",
                at=at,
                hint="use --plain if it is the non-variant wheel of the release; otherwise it was "
                "built without a variant",
            )
        raise WheelError(
            f"{wheel.path.name} has a variant in {' and '.join(wheel.stamped_in)}, but no "
            f"{VARIANT_JSON}",
            at=at,
            hint="write its variant data again with polywheel label",
        )
    if wheel.variant is None or wheel.document is None:
        if wheel.disagreements:
            raise WheelError.collected(wheel.disagreements)
        raise WheelError(f"{VARIANT_JSON} does not have exactly one variant", at=at)
    return wheel.variant


def _contradictions(planned: Sequence[_Planned]) -> Iterator[tuple[WheelError, set[Path]]]:
    """Yield an error for wheels of one release with the same label, or properties, but not both.

    One label stands for one set of properties in all wheels of a version (PEP 825, "Variant label"), and
    one set of properties has one label.
    """
    releases: dict[_Release, list[_Planned]] = {}
    for plan in planned:
        if plan.variant is not None:
            releases.setdefault(WheelName.parse(plan.target.name).release, []).append(plan)
    for release, group in releases.items():
        variants = {plan.wheel: plan.variant for plan in group if plan.variant is not None}
        given = {plan.wheel.resolve() for plan in group} | {plan.target.resolve() for plan in group}
        for folder in {plan.target.parent for plan in group}:
            variants.update(_variant_wheels(folder, release, besides=given))
        wheels = {plan.wheel for plan in group}
        by_label: dict[str, list[Path]] = {}
        by_properties: dict[tuple[VariantProperty, ...], list[Path]] = {}
        for path, variant in variants.items():
            by_label.setdefault(variant.label, []).append(path)
            by_properties.setdefault(variant.properties, []).append(path)
        for paths in (*by_label.values(), *by_properties.values()):
            first = paths[0]
            other = next((path for path in paths if variants[path] != variants[first]), None)
            if other is not None:
                error = _contradiction(first, variants[first], other, variants[other])
                yield error, wheels & set(paths)


def _contradiction(path: Path, variant: Variant, other: Path, of_other: Variant) -> WheelError:
    if variant.label == of_other.label:
        return WheelError(
            f"{path} and {other} have the label {variant.label!r}, with different "
            f"properties: {_describe(variant)}; {_describe(of_other)}",
            hint="a label stands for one set of properties; build one of them with another label",
        )
    return WheelError(
        f"{path} and {other} have the same properties, with the labels {variant.label!r} and "
        f"{of_other.label!r}: {_describe(variant)}",
        hint="a set of properties has one label in a release; build both with the same label, or "
        "remove one of them",
    )


def _variant_wheels(folder: Path, release: _Release, *, besides: set[Path]) -> dict[Path, Variant]:
    """Return the variant wheels of a release in a folder."""
    found = {}
    for path in sorted(folder.glob("*.whl")):
        try:
            name = WheelName.parse(path.name)
            if name.label is None or name.release != release or path.resolve() in besides:
                continue
            variant = read_variant(path)
        except WheelError:
            continue  # it is not known to be of this release
        if variant is not None:
            found[path] = variant
    return found


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
    except OSError as error:
        raise WheelError(
            f"{wheel.name} can't be renamed to {target.name}: {error.strerror or error}",
            at=str(target.parent),
        ) from None
    return FinalizedWheel(wheel=wheel, written=target, variant=plan.variant, changed=changed)


def _describe(variant: Variant | None) -> str:
    return ", ".join(map(str, variant.properties)) if variant and variant.properties else "none"
