"""What is put into the wheels of a variant, and their names."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from polywheel.config.project import Project
from polywheel.errors import ConfigError
from polywheel.formats.metadata_fields import (
    new_dependencies,
    variant_fields,
    with_variant_fields,
)
from polywheel.formats.variant_json import variant_json
from polywheel.model.wheelname import WheelName
from polywheel.variant_setup import Asked
from polywheel.wheel.dist_info import VARIANT_JSON
from polywheel.wheel.stamp import stamp_wheel as write_stamped
from polywheel.wheel.stamping_change import EARLIEST, LATEST, Stamp

__all__ = ["VARIANT_JSON", "make_stamp", "stamp_wheel"]


def make_stamp(project: Project, asked: Asked) -> Stamp:
    """What is put into a wheel of a variant, and into its prepared metadata. Raises ConfigError."""
    wanted = project.settings.metadata_fields
    dependencies = [one.value for one in asked.setup.dependencies]

    def edited(content: bytes) -> bytes:
        fields = variant_fields(asked.variant, asked.metadata) if wanted else ()
        return with_variant_fields(content, [*new_dependencies(content, dependencies), *fields])

    return Stamp(
        metadata=edited,
        variant_json=variant_json(asked.variant, asked.metadata),
        epoch=source_date_epoch(),
        strip=strip_variant_fields,
    )


def stamp_wheel(
    built: Path, folder: Path, stamp: Stamp, *, label: str | None, notify: Callable[[str], None]
) -> str:
    """Write a plain wheel, stamped, into a folder; its new name, with a label or without one.

    Raises WheelError. The wheel appears under that name whole or not at all.
    """
    name = str(replace(WheelName.parse(built.name), label=label))
    write_stamped(built, folder / name, stamp, notify=notify)
    return name


def strip_variant_fields(metadata: bytes) -> bytes:
    """METADATA without its variant fields."""
    return with_variant_fields(metadata, ())


def source_date_epoch() -> int | None:
    """The variable SOURCE_DATE_EPOCH in seconds since 1970, at least :data:`EARLIEST`.

    None where it is not set, or empty. Blanks around the digits are allowed. Times before 1980 become
    1980, as in other tools that write archives: 0 and 1 are in common use. Raises ConfigError for
    any other text, and for times after 2107, which are mostly milliseconds.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "").strip()
    if not text:
        return None
    at = "environment variable SOURCE_DATE_EPOCH"
    shown = text if len(text) <= 40 else f"{text[:40]}…"
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(
            f"SOURCE_DATE_EPOCH is not a number of seconds: {shown!r}",
            at=at,
            hint="expected the seconds since 1970, as digits",
        )
    digits = text.lstrip("0") or "0"
    # Python converts at most 4300 digits.
    if len(digits) > len(str(LATEST)) or int(digits) > LATEST:
        raise ConfigError(
            f"SOURCE_DATE_EPOCH is {shown}: a time after 2107, which no wheel can express",
            at=at,
            hint="it is in seconds, not in milliseconds",
        )
    return max(int(digits), EARLIEST)
