"""Labels back into the names of wheels that were built, repaired and tested under plain ones.

auditwheel, pip and cibuildwheel can't read a filename with a variant label. Under them a wheel has a
plain name, and says in its ``variant.json`` what it is. When they are done, it gets the label back.
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
from polywheel.system.temporary import remove_abandoned_once, replacing
from polywheel.wheel.disagreements import disagreements_with_label
from polywheel.wheel.dist_info import VARIANT_JSON
from polywheel.wheel.inspect import inspect_wheel, read_variant
from polywheel.wheel.inspected_wheel import InspectedWheel
from polywheel.wheel.stamp import name_taken

_Release = tuple[str, Version | str]
"""Project and version, normalized."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinalizedWheel:
    """A wheel that has its final name."""

    wheel: Path
    """As it was given."""

    written: Path
    """Where it is now; the same, where it had that name already."""

    variant: Variant | None
    """None for a non-variant wheel, which keeps its name."""

    changed: bool
    """False where all was done already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finalization:
    """What became of each wheel."""

    done: tuple[FinalizedWheel, ...]
    errors: tuple[PolywheelError, ...]
    """One for each wheel, or set of wheels, that was left as it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Planned:
    wheel: Path
    target: Path
    variant: Variant | None
    state: tuple[int, ...]
    """That of the file when it was looked at."""

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
    """Give each wheel the name that has the label in its variant.json.

    It is renamed where it lies, or copied to the folder ``out``, whole or not at all; one that has
    its label is taken over as it is. Nothing is renamed before all are looked at. A wheel is
    refused, with an error, and left as it is, where its parts disagree (with ``hashes``, any file
    with its hash in RECORD), where it is of no variant (unless ``plain`` lets such wheels pass),
    where its name is wanted or had by a wheel of other content (a wheel that is there already is
    written over with ``force``), or where its label has other properties, or its properties another
    label, in another wheel of the release. The others are done all the same. Raises WheelError where
    ``out`` can't be made.
    """
    if out is not None:
        _make(out)
    errors: list[PolywheelError] = []
    planned = []
    # A wheel that is named twice must not be missed once it is renamed.
    for wheel in {one.parent.resolve() / one.name: one for one in wheels}.values():
        remove_abandoned_once(wheel.parent if out is None else out)
        try:
            planned.append(_plan(wheel, out, plain=plain, hashes=hashes))
        except PolywheelError as error:
            errors.append(error)
    refused: set[Path] = set()
    for refusal, of in (*_contradictions(planned), *_collisions(planned, force=force)):
        errors.append(refusal)
        refused |= of
    done = []
    for one in planned:
        if one.wheel in refused:
            continue
        try:
            done.append(_carry_out(one, force=force))
        except PolywheelError as error:
            errors.append(error)
    return Finalization(done=tuple(done), errors=tuple(errors))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WheelError(
            f"the folder can't be made: {error.strerror or error}", at=str(folder)
        ) from None


def _plan(wheel: Path, out: Path | None, *, plain: bool, hashes: bool) -> _Planned:
    """The name that a wheel is to have. Raises WheelError for one that is not fit for any."""
    state = _state(wheel)
    found = inspect_wheel(wheel, hashes=hashes)
    folder = wheel.parent if out is None else out
    if not found.stamped_in and plain:
        if found.disagreements:
            raise WheelError.collected(found.disagreements)
        return _Planned(wheel=wheel, target=folder / wheel.name, variant=None, state=state)
    variant = _variant(found)
    # A label that is in the name already must be right: it is no mistake to write over.
    labelled = found.name.label is not None
    problems = found.disagreements if labelled else disagreements_with_label(found, variant.label)
    if problems:
        raise WheelError.collected(problems)
    name = str(replace(found.name, label=variant.label))
    return _Planned(wheel=wheel, target=folder / name, variant=variant, state=state)


def _variant(found: InspectedWheel) -> Variant:
    """What the wheel says in its variant.json that it is. Raises WheelError where it does not."""
    at = str(found.path)
    if found.variant_json is None:
        if not found.stamped_in:
            raise WheelError(
                f"{found.path.name} is of no variant: there is no {VARIANT_JSON} in it",
                at=at,
                hint="if it is the non-variant wheel of the release, let it pass with --plain; if "
                "not, its build was not told of a variant",
            )
        raise WheelError(
            f"{found.path.name} has a variant in {' and '.join(found.stamped_in)}, but there is no "
            f"{VARIANT_JSON} in it",
            at=at,
            hint="write its variant data anew with polywheel label",
        )
    if found.variant is None or found.document is None:
        if found.disagreements:
            raise WheelError.collected(found.disagreements)
        raise WheelError(f"{VARIANT_JSON} does not say which one variant this is", at=at)
    return found.variant


def _contradictions(planned: Sequence[_Planned]) -> Iterator[tuple[WheelError, set[Path]]]:
    """Wheels of one release that differ in label or properties alone, and the error for them.

    One label means one set of properties, for every wheel of a version (PEP 825, "Variant label"),
    and one set of properties has one label.
    """
    releases: dict[_Release, list[_Planned]] = {}
    for one in planned:
        if one.variant is not None:
            releases.setdefault(WheelName.parse(one.target.name).release, []).append(one)
    for release, group in releases.items():
        found = {one.wheel: one.variant for one in group if one.variant is not None}
        given = {one.wheel.resolve() for one in group} | {one.target.resolve() for one in group}
        for folder in {one.target.parent for one in group}:
            found.update(_there(folder, release, besides=given))
        ours = {one.wheel for one in group}
        by_label: dict[str, list[Path]] = {}
        by_properties: dict[tuple[VariantProperty, ...], list[Path]] = {}
        for path, variant in found.items():
            by_label.setdefault(variant.label, []).append(path)
            by_properties.setdefault(variant.properties, []).append(path)
        for paths in (*by_label.values(), *by_properties.values()):
            first = paths[0]
            other = next((one for one in paths if found[one] != found[first]), None)
            if other is not None:
                yield _contradiction(first, found[first], other, found[other]), ours & set(paths)


def _contradiction(path: Path, variant: Variant, other: Path, of_other: Variant) -> WheelError:
    if variant.label == of_other.label:
        return WheelError(
            f"{path} and {other} have the label {variant.label!r}, with different "
            f"properties: {_described(variant)}; {_described(of_other)}",
            hint="one label stands for one set of properties; build one of them with another label",
        )
    return WheelError(
        f"{path} and {other} have the same properties, with the labels {variant.label!r} and "
        f"{of_other.label!r}: {_described(variant)}",
        hint="one set of properties has one label in a release; build both with the same label, or "
        "take one of them away",
    )


def _there(folder: Path, release: _Release, *, besides: set[Path]) -> dict[Path, Variant]:
    """The variant wheels of a folder that are of a release."""
    found = {}
    for path in sorted(folder.glob("*.whl")):
        try:
            name = WheelName.parse(path.name)
            if name.label is None or name.release != release or path.resolve() in besides:
                continue
            variant = read_variant(path)
        except WheelError:
            continue  # whatever it is, it is not known to be of this release
        if variant is not None:
            found[path] = variant
    return found


def _collisions(
    planned: Sequence[_Planned], *, force: bool
) -> Iterator[tuple[WheelError, set[Path]]]:
    """Wheels of different content that would have one name, and the error for them."""
    groups: dict[Path, list[_Planned]] = {}
    for one in planned:
        groups.setdefault(one.target.parent.resolve() / one.target.name, []).append(one)
    for target, group in groups.items():
        first = group[0].wheel
        for one in group[1:]:
            if not _same(first, one.wheel):
                yield (
                    WheelError(
                        f"{first} and {one.wheel} would both be {target.name}, and they are not "
                        "the same",
                        at=str(target.parent),
                        hint="two builds of one wheel: take one of them away",
                    ),
                    {each.wheel for each in group},
                )
                break
        else:
            if target.exists() and not force and not _same(first, target):
                was = name_taken(target).problems[0]
                what = (
                    f"{first} would be {target.name}, which is there already, and is not the same"
                )
                yield WheelError(what, at=was.at, hint=was.hint), {each.wheel for each in group}


def _state(path: Path) -> tuple[int, ...]:
    """Another one after every change of a file; empty where there is none."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _refuse_changed(one: _Planned) -> None:
    """Raise WheelError where another run has changed the wheel since it was looked at."""
    if _state(one.wheel) != one.state:
        raise WheelError(
            f"{one.wheel.name} was changed while finalize ran",
            at=str(one.wheel.parent),
            hint="run the command again when nothing else changes the wheel",
        )


def _same(one: Path, other: Path) -> bool:
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _carry_out(one: _Planned, *, force: bool) -> FinalizedWheel:
    changed = True
    _refuse_changed(one)
    try:
        if one.target.exists() and _same(one.wheel, one.target):
            # One file of two names, where a run was killed while it gave the second, or a copy.
            changed = one.in_place and one.wheel.name != one.target.name
            if changed:
                one.wheel.unlink()
        elif one.in_place:
            rename(one.wheel, one.target, overwrite=force)
        else:
            _copy(one, overwrite=force)
    except FileExistsError:
        raise name_taken(one.target) from None
    except OSError as error:
        raise WheelError(
            f"{one.wheel.name} can't become {one.target.name}: {error.strerror or error}",
            at=str(one.target.parent),
        ) from None
    return FinalizedWheel(wheel=one.wheel, written=one.target, variant=one.variant, changed=changed)


def _copy(one: _Planned, *, overwrite: bool) -> None:
    """A copy under its final name, whole or not at all. Raises OSError and WheelError."""
    with replacing(one.target, overwrite=overwrite) as part:
        shutil.copy2(one.wheel, part)
        _refuse_changed(one)


def _described(variant: Variant | None) -> str:
    return ", ".join(map(str, variant.properties)) if variant and variant.properties else "none"
