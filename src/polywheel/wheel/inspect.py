"""Read and compare all parts of a wheel, and check a new wheel before it is published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from polywheel.errors import Problem, WheelError, os_error_as
from polywheel.formats.metadata import parse_metadata, read_variant_fields
from polywheel.formats.variant_json import (
    read_faulty_variant_json,
    read_variant_json,
)
from polywheel.formats.variants_json import label_conflicts
from polywheel.model.variant import Variant, VariantMetadata
from polywheel.model.wheelname import Release, WheelName
from polywheel.system.files import open_regular
from polywheel.wheel.archive.reader import open_archive
from polywheel.wheel.disagreements import disagreements, tag_disagreements
from polywheel.wheel.dist_info import VARIANT_JSON, find_dist_info
from polywheel.wheel.inspected_wheel import METADATA, InspectedWheel
from polywheel.wheel.variant_member import UnusualError, read_document

_LIMIT = 1024 * 1024
"""Bytes of WHEEL or variant.json, which take about a thousandth of this."""


def inspect_wheel(path: Path, *, hashes: bool = False) -> InspectedWheel:
    """Read a wheel and compare its parts.

    The directory, METADATA, variant.json, WHEEL, and RECORD are read and compared. ``hashes`` also reads
    every other member, in little memory, and compares it with its hash in RECORD. Raises WheelError if the
    file can't be read as a wheel at all.
    """
    WheelName.parse(path.name)
    with (
        os_error_as(WheelError, f"{path.name} can't be read", at=path.parent),
        open_regular(path) as file,
    ):
        return inspect_open_wheel(file, path, hashes=hashes)


def inspect_open_wheel(file: BinaryIO, path: Path, *, hashes: bool = False) -> InspectedWheel:
    """Like :func:`inspect_wheel`, for an open file. ``path`` is its path or its future path. Raises OSError."""
    name = WheelName.parse(path.name)
    size = file.seek(0, 2)
    archive = open_archive(file, path)
    info = find_dist_info(archive)
    wheel_file = archive.read_named(info.path("WHEEL"), limit=_LIMIT)
    record_problems = list(info.disagreements(WHEEL=wheel_file))
    if hashes:
        record_problems += info.hash_disagreements()
    headers = parse_metadata(info.metadata, at=f"{path}: {METADATA}")
    document: VariantMetadata | None = None
    faults: tuple[Problem, ...] = ()
    if info.variant_json is not None:
        document, faults = read_faulty_variant_json(
            info.variant_json, at=f"{path.name}: {VARIANT_JSON}", limit=_LIMIT, strict=True
        )
    wheel = InspectedWheel(
        path=path,
        name=name,
        size=size,
        dist_info=info.folder,
        metadata=info.metadata,
        headers=headers,
        wheel_headers=parse_metadata(wheel_file, at=f"{path}: WHEEL"),
        fields=read_variant_fields(headers, at=f"{path.name}: {METADATA}"),
        variant_json=info.variant_json,
        document=None if faults else document,
        faulty=document if faults else None,
        disagreements=(),
    )
    problems = [*faults, *(wheel.fields.problems if wheel.fields is not None else ())]
    problems += [Problem(what, str(path)) for what in (*disagreements(wheel), *record_problems)]
    return replace(wheel, disagreements=tuple(dict.fromkeys(problems)))


def read_variant(wheel: Path) -> Variant | None:
    """Return the variant of a wheel; None for a non-variant wheel. Raises WheelError."""
    metadata = read_variant_metadata(wheel)
    return None if metadata is None else next(iter(metadata.variants.values()))


def read_variant_metadata(wheel: Path) -> VariantMetadata | None:
    """Return the variant metadata of a wheel, with its variant; None for a non-variant wheel.

    Only its variant.json is read, unless something about it is unusual: then all of its parts are
    compared. Raises WheelError if they disagree, or if it has several variants.
    """
    name = WheelName.parse(wheel.name)
    try:
        with os_error_as(WheelError, f"{wheel.name} can't be read", at=wheel.parent):
            document = read_document(wheel, name)
        metadata = None if document is None else read_variant_json(document, at=str(wheel))
    except UnusualError:
        inspected = inspect_wheel(wheel)
        if inspected.disagreements:
            raise WheelError.collected(inspected.disagreements) from None
        metadata = inspected.declared
    if metadata is None:
        return None
    if len(metadata.variants) != 1:
        what = f"{wheel.name} has {len(metadata.variants)} variants; expected one"
        raise WheelError(what, at=str(wheel.parent))
    return metadata


def release_conflicts(
    new: Mapping[Path, Variant],
    release: Release,
    folders: Iterable[Path],
    *,
    besides: Iterable[Path],
    every_wheel: bool = False,
) -> Iterator[tuple[Problem, set[str]]]:
    """Compare new wheels of one release with each other and with its other wheels in ``folders``.

    Yields the conflicts as :func:`label_conflicts`, with the paths of the wheels. ``besides`` are wheels in these
    folders that are replaced, or are sources of the new ones. Without ``every_wheel``, one wheel of each label that
    no new wheel has is compared, which is faster for a call for each of many new wheels.
    """
    variants = {str(path): variant for path, variant in new.items()}
    new_labels = {variant.label for variant in new.values()}
    compared: set[str] = set()
    ignored = {path.resolve() for path in (*new, *besides)}
    for path in (path for folder in folders for path in sorted(folder.glob("*.whl"))):
        try:
            name = WheelName.parse(path.name)
            if name.label is None or name.release != release:
                continue
            if not every_wheel and name.label in compared - new_labels:
                continue
            variant = None if path.resolve() in ignored else read_variant(path)
        except WheelError:
            continue  # it is not known to be of this release
        if variant is not None:
            compared.add(variant.label)
            variants[str(path)] = variant
    yield from label_conflicts(variants.items())


def refuse_disagreements(
    file: BinaryIO, target: Path, *, source: Path, notify: Callable[[str], None]
) -> None:
    """Raise WheelError if the parts of a new wheel disagree, before it is moved to ``target``.

    ``file`` holds the new wheel, which was made from ``source``. If WHEEL has other tags than the filename,
    ``notify`` gets a warning: many wheels on PyPI have such tags, and pip installs them.
    """
    wheel = inspect_open_wheel(file, target)
    harmless = set(tag_disagreements(wheel))
    if wrong := [problem for problem in wheel.disagreements if problem.what not in harmless]:
        raise WheelError.collected(
            replace(
                problem,
                what=f"the new wheel would be invalid: {problem.what}",
                hint=f"run polywheel show --hashes {source.name} to check the original wheel",
            )
            for problem in wrong
        )
    for what in harmless:
        notify(f"warning: {target.name}: {what}")
