"""What stands in one wheel."""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from polywheel.errors import Problem
from polywheel.formats.metadata_reader import VariantFields
from polywheel.model.metadata import VariantMetadata
from polywheel.model.properties import VariantProperty
from polywheel.model.variant import Variant
from polywheel.model.wheelname import WheelName
from polywheel.wheel.dist_info import VARIANT_JSON

FILENAME, METADATA = "filename", "METADATA"


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """What stands in one wheel, and what of it does not agree."""

    path: Path
    name: WheelName
    size: int
    """Bytes of the file."""

    dist_info: str
    """The name of the ``.dist-info`` folder."""

    metadata: bytes
    """METADATA as it stands."""

    headers: Message
    """The headers of METADATA."""

    wheel_headers: Message
    """The headers of WHEEL."""

    fields: VariantFields | None
    """The variant fields of METADATA; None where there is not one."""

    variant_json: bytes | None
    """variant.json as it stands; None where there is none."""

    document: VariantMetadata | None
    """variant.json; None where there is none, or where something is wrong with it."""

    faulty: VariantMetadata | None
    """What a variant.json with something wrong says: to be shown, not to be relied on."""

    disagreements: tuple[Problem, ...]

    @property
    def tags(self) -> tuple[str, ...]:
        """``python-abi-platform``, as WHEEL lists them."""
        tags = self.wheel_headers.get_all("Tag", [])
        return tuple(" ".join(str(tag).split()) for tag in tags)

    @property
    def declared(self) -> VariantMetadata | None:
        """variant.json, or what METADATA says in its place; None for a non-variant wheel."""
        if self.document is not None:
            return self.document
        return self.fields.metadata if self.fields is not None else None

    @property
    def shown(self) -> VariantMetadata | None:
        """As ``declared``, with what a faulty variant.json says before METADATA: to be shown."""
        return self.document or self.faulty or self.declared

    @property
    def variant(self) -> Variant | None:
        """The one variant that the wheel says it is; None where it says none, or several."""
        return _only_variant(self.declared)

    @property
    def shown_variant(self) -> Variant | None:
        """As ``variant``, of ``shown``."""
        return _only_variant(self.shown)

    @property
    def fits_nowhere(self) -> tuple[VariantProperty, ...]:
        """Properties that the static properties of their provider lack: no machine supports them."""
        metadata, variant = self.shown, self.shown_variant
        if metadata is None or variant is None:
            return ()
        static = {
            (namespace, feature): frozenset(values)
            for namespace, provider in metadata.providers.items()
            for feature, values in provider.static_properties.items()
        }
        namespaces = {namespace for namespace, _ in static}
        return tuple(
            one
            for one in variant.properties
            if one.namespace in namespaces
            and one.value not in static.get((one.namespace, one.feature), ())
        )

    @property
    def stamped_in(self) -> tuple[str, ...]:
        """Where variant data stands, right or wrong: ``filename``, ``METADATA``, ``variant.json``."""
        found = {
            FILENAME: self.name.label is not None,
            METADATA: self.fields is not None,
            VARIANT_JSON: self.variant_json is not None,
        }
        return tuple(where for where, is_there in found.items() if is_there)


def _only_variant(metadata: VariantMetadata | None) -> Variant | None:
    if metadata is None or len(metadata.variants) != 1:
        return None
    (variant,) = metadata.variants.values()
    return variant
