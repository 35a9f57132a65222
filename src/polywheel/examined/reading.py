"""Reading a wheel from all sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from polywheel.errors import Problem, WheelError
from polywheel.examined.disagreements import disagreements
from polywheel.examined.parts import METADATA, Examined
from polywheel.examined.recorded import of_hashes, of_record
from polywheel.formats.metadata_reader import parse_metadata, read_variant_fields
from polywheel.formats.variant_json_reader import read_faulty_variant_json
from polywheel.model.metadata import VariantMetadata
from polywheel.model.wheelname import WheelName
from polywheel.system.files import open_regular
from polywheel.wheel.archive import Archive, open_archive
from polywheel.wheel.dist_info import VARIANT_JSON, find_dist_info

WHEEL = "WHEEL"
_MAX_WHEEL_FILE = 1024 * 1024
_MAX_VARIANT_JSON = 1024 * 1024
"""Bytes: what a wheel says of itself and its providers takes a thousandth."""


def examine(path: Path, *, hashes: bool = False) -> Examined:
    """Read a wheel and compare what its parts say.

    The directory, METADATA, variant.json, WHEEL and RECORD are read and compared; ``hashes`` reads
    every other member too, in little memory, and holds it against its hash in RECORD. Raises
    WheelError where the file can't be read as a wheel at all.
    """
    WheelName.parse(path.name)
    try:
        with open_regular(path) as file:
            return examine_open(file, path, hashes=hashes)
    except OSError as error:
        raise WheelError(
            f"{path.name} can't be read: {error.strerror or error}", at=str(path.parent)
        ) from None


def examine_open(file: BinaryIO, path: Path, *, hashes: bool = False) -> Examined:
    """As :func:`examine`, of an open file that is at ``path``, or will be. Raises OSError too."""
    name = WheelName.parse(path.name)
    size = file.seek(0, 2)
    archive = open_archive(file, path)
    info = find_dist_info(archive)
    wheel_file = _wheel_file(archive, info.path(WHEEL))
    contents = {METADATA: info.metadata, VARIANT_JSON: info.variant_json, WHEEL: wheel_file}
    recorded = list(of_record(info, contents))
    if hashes:
        recorded += of_hashes(info)
    headers = parse_metadata(info.metadata, at=f"{path}: {METADATA}")
    document, faults = _document(info.variant_json, f"{path.name}: {VARIANT_JSON}")
    examined = Examined(
        path=path,
        name=name,
        size=size,
        dist_info=info.folder,
        metadata=info.metadata,
        headers=headers,
        wheel_headers=parse_metadata(wheel_file, at=f"{path}: {WHEEL}"),
        fields=read_variant_fields(headers, at=f"{path.name}: {METADATA}"),
        variant_json=info.variant_json,
        document=None if faults else document,
        faulty=document if faults else None,
        disagreements=(),
    )
    found = dict.fromkeys(_problems(examined, recorded, faults))
    return replace(examined, disagreements=tuple(found))


def _wheel_file(archive: Archive, path: str) -> bytes:
    member = archive.member(path)
    if member is None:
        raise archive.broken(f"there is no {path}")
    return archive.read(member, limit=_MAX_WHEEL_FILE)


def _document(content: bytes | None, at: str) -> tuple[VariantMetadata | None, tuple[Problem, ...]]:
    if content is None:
        return None, ()
    return read_faulty_variant_json(content, at=at, limit=_MAX_VARIANT_JSON, strict=True)


def _problems(
    wheel: Examined, recorded: list[str], faults: tuple[Problem, ...]
) -> Iterator[Problem]:
    """Everything that is wrong: what can't be read first, then what does not agree."""
    at = str(wheel.path)
    yield from faults
    if wheel.fields is not None:
        yield from wheel.fields.problems
    for what in (*disagreements(wheel), *recorded):
        yield Problem(what, at)
