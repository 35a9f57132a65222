"""The contents of one wheel as they were read, see :mod:`polywheel.wheel.inspect`."""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from polywheel.errors import Problem, WheelError
from polywheel.formats.metadata import VariantFields
from polywheel.model.variant import Variant, VariantMetadata, VariantProperty
from polywheel.model.wheelname import WheelName
from polywheel.wheel.dist_info import VARIANT_JSON

FILENAME, METADATA = "filename", "METADATA"


@dataclass(frozen=True, kw_only=True, slots=True)
class InspectedWheel:
    """The parts of one wheel, and their disagreements."""

    path: Path
    name: WheelName
    size: int
    """Bytes of the file."""

    dist_info: str
    """The name of the ``.dist-info`` folder."""

    metadata: bytes
    """METADATA, unchanged."""

    headers: Message
    """The headers of METADATA."""

    wheel_headers: Message
    """The headers of WHEEL."""

    fields: VariantFields | None
    """The variant fields of METADATA; None if there are none."""

    variant_json: bytes | None
    """variant.json, unchanged; None if there is none."""

    document: VariantMetadata | None
    """The content of variant.json; None if there is none, or if it has a fault."""

    faulty: VariantMetadata | None
    """The readable content of a variant.json with a fault: only for display."""

    disagreements: tuple[Problem, ...]

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags in WHEEL, as ``python-abi-platform``."""
        tags = self.wheel_headers.get_all("Tag", [])
        return tuple(" ".join(str(tag).split()) for tag in tags)

    @property
    def declared(self) -> VariantMetadata | None:
        """The content of variant.json, or else of METADATA; None for a non-variant wheel."""
        if self.document is not None:
            return self.document
        return self.fields.metadata if self.fields is not None else None

    @property
    def shown(self) -> VariantMetadata | None:
        """Like ``declared``, but uses a faulty variant.json before METADATA: only for display."""
        return self.document or self.faulty or self.declared

    @property
    def variant(self) -> Variant | None:
        """The variant of the wheel; None if it has none, or several."""
        return _only_variant(self.declared)

    @property
    def shown_variant(self) -> Variant | None:
        """Like ``variant``, for ``shown``."""
        return _only_variant(self.shown)

    @property
    def unsupported_properties(self) -> tuple[VariantProperty, ...]:
        """Properties that are not in the static properties of their provider. No machine supports them."""
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
            prop
            for prop in variant.properties
            if prop.namespace in namespaces
            and prop.value not in static.get((prop.namespace, prop.feature), ())
        )

    @property
    def stamped_in(self) -> tuple[str, ...]:
        """The parts with variant data, valid or not: ``filename``, ``METADATA``, ``variant.json``."""
        parts = {
            FILENAME: self.name.label is not None,
            METADATA: self.fields is not None,
            VARIANT_JSON: self.variant_json is not None,
        }
        return tuple(part for part, has_data in parts.items() if has_data)


def stamped_variant(wheel: InspectedWheel) -> Variant | None:
    """Return the variant in the variant.json of a wheel; None if no part of the wheel has variant data.

    Raises WheelError if only other parts have variant data, or if variant.json does not have one variant.
    """
    if not wheel.stamped_in:
        return None
    if wheel.variant_json is None:
        raise WheelError(
            f"{wheel.path.name} has a variant in {' and '.join(wheel.stamped_in)}, but no "
            f"{VARIANT_JSON}",
            at=str(wheel.path),
            hint="write its variant data again with polywheel label",
        )
    if wheel.document is None or wheel.variant is None:
        raise WheelError.collected(wheel.disagreements)
    return wheel.variant


def _only_variant(metadata: VariantMetadata | None) -> Variant | None:
    if metadata is None or len(metadata.variants) != 1:
        return None
    (variant,) = metadata.variants.values()
    return variant
