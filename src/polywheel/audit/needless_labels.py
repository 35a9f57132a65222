"""Labels that make no difference: levels whose instructions no code uses, and labels with the same content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

from polywheel.audit.findings import Check, Finding, Severity
from polywheel.errors import WheelError, os_error_as
from polywheel.formats.metadata import strip_variant_fields
from polywheel.model.variant import NULL_LABEL
from polywheel.model.wheelname import WheelName
from polywheel.system.files import open_regular
from polywheel.wheel.archive.reader import open_archive
from polywheel.wheel.dist_info import SIGNATURES, VARIANT_JSON, find_dist_info


def check_unused_extensions(
    added: Mapping[str, AbstractSet[str]], used: AbstractSet[str]
) -> Iterator[Finding]:
    """Yield notes about properties of a label whose instructions no code of the wheel uses.

    ``added`` are the extensions that a property adds to those of the property below it, by property:
    AVX2, FMA, and others for ``x86_64 :: level :: v3``. ``used`` are all extensions in the code.
    """
    for prop, extensions in added.items():
        if extensions and not extensions & used:
            what = f"the label declares '{prop}', but no code uses its instructions"
            hint = f"it would allow {', '.join(sorted(extensions))}"
            yield Finding(severity=Severity.NOTE, check=Check.UNUSED_LEVEL, what=what, hint=hint)


@dataclass(frozen=True, slots=True)
class WheelContent:
    """What a wheel installs."""

    path: Path
    name: WheelName
    label: str | None
    """None for a non-variant wheel."""

    digest: bytes
    """Equal for wheels that differ only in what polywheel writes into them."""


def read_content(wheel: Path, label: str | None) -> WheelContent:
    """Read what a wheel with a label installs, from its RECORD and METADATA. Raises WheelError."""
    name = WheelName.parse(wheel.name)
    with (
        os_error_as(WheelError, f"{wheel.name} can't be read", at=wheel.parent),
        open_regular(wheel) as file,
    ):
        archive = open_archive(file, wheel)
        info = find_dist_info(archive)
    ignored = {info.path(other) for other in ("METADATA", "RECORD", VARIANT_JSON, *SIGNATURES)}
    bill_of_materials = info.path("sboms/")  # PEP 770; it may have the time of the build
    hashes = dict(zip(info.record.paths, info.record.hashes, strict=True))
    files = sorted(
        (member.name, member.size, member.crc, hashes.get(member.name, ""))
        for member in archive.members
        if member.name not in ignored and not member.name.startswith(bill_of_materials)
    )
    content = hashlib.sha256(repr(files).encode("utf-8", "backslashreplace"))
    content.update(strip_variant_fields(info.metadata))
    return WheelContent(wheel, name, label, content.digest())


def check_same_content(wheels: Iterable[WheelContent]) -> dict[Path, list[Finding]]:
    """Return warnings about wheels with the same content under different labels, by their paths.

    Only wheels of one release, build, and platform are compared. A non-variant wheel and the null variant may
    have the same content.
    """
    groups: dict[tuple[WheelName, bytes], list[WheelContent]] = {}
    for wheel in wheels:
        groups.setdefault((replace(wheel.name, label=None), wheel.digest), []).append(wheel)
    findings: dict[Path, list[Finding]] = {}
    for group in groups.values():
        if len({wheel.label or NULL_LABEL for wheel in group}) > 1:
            finding = _same_content({wheel.label for wheel in group})
            for wheel in group:
                findings.setdefault(wheel.path, []).append(finding)
    return findings


def _same_content(labels: AbstractSet[str | None]) -> Finding:
    names = [f"'{label}'" for label in sorted(label for label in labels if label is not None)]
    if None in labels:
        names.append("the wheel without a label")
    what = f"the same content has several labels: {', '.join(names)}"
    hint = "the labels change nothing in the build: check its setup, or leave a variant out"
    return Finding(severity=Severity.WARNING, check=Check.SAME_CONTENT, what=what, hint=hint)
