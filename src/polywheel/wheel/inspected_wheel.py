"""The contents of one wheel, and its RECORD compared with its members: rows, sizes, hashes."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from polywheel.errors import Problem, WheelError
from polywheel.formats.metadata import VariantFields
from polywheel.model.variant import Variant, VariantMetadata, VariantProperty
from polywheel.model.wheelname import WheelName
from polywheel.wheel.archive.entry import DEFLATED, STORED, Member
from polywheel.wheel.archive.reader import Archive
from polywheel.wheel.dist_info import SIGNATURES, VARIANT_JSON, DistInfo

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


def _only_variant(metadata: VariantMetadata | None) -> Variant | None:
    if metadata is None or len(metadata.variants) != 1:
        return None
    (variant,) = metadata.variants.values()
    return variant


RECORD = "RECORD"
_CHUNK = 1024 * 1024
_MIN_DIGEST = 32
"""Bytes: SHA-256 or better (PEP 427)."""


def record_disagreements(info: DistInfo, contents: Mapping[str, bytes | None]) -> Iterator[str]:
    """Yield missing rows, extra rows, wrong sizes, and wrong hashes of the ``contents`` of dist-info.

    A hash may be left out.
    """
    yield from info.differences()
    for name, content in contents.items():
        path = info.path(name)
        row = info.record.row(path)
        if content is None or row is None or not row.hash:
            continue
        hasher = _hasher_for(row.hash)
        if hasher is not None:
            hasher.update(content)
        yield from _compare_hash(path, row.hash, hasher)


def hash_disagreements(info: DistInfo) -> Iterator[str]:
    """Read every member in the order of the file, and compare it with its hash in RECORD.

    A member that can't be read is a disagreement. The others are still read.
    """
    archive = info.archive
    unhashed = {info.path(name) for name in (RECORD, *SIGNATURES)}
    hashes = dict(zip(info.record.paths, info.record.hashes, strict=True))
    for _, end, number in archive.table.extents():
        member = archive.table.member(number)
        listed = hashes.get(member.name, "")
        hasher = _hasher_for(listed)
        try:
            for chunk in _content(archive, member, end):
                if hasher is not None:
                    hasher.update(chunk)
        except WheelError as error:
            yield error.problems[0].what
            continue
        if listed:
            yield from _compare_hash(member.name, listed, hasher)
        elif member.name in hashes and member.name not in unhashed:
            yield f"RECORD gives {member.name!r} no hash"


def _compare_hash(path: str, listed: str, hasher: hashlib._Hash | None) -> Iterator[str]:
    if hasher is None:
        yield f"RECORD gives {path!r} the hash {listed!r}, which is not SHA-256 or better"
        return
    digest = base64.urlsafe_b64encode(hasher.digest()).rstrip(b"=").decode("ascii")
    if digest != listed.partition("=")[2].rstrip("="):
        found = f"{listed.partition('=')[0]}={digest}"
        yield f"RECORD gives {path!r} the hash {listed!r}, its content has {found!r}"


def _hasher_for(listed: str) -> hashlib._Hash | None:
    """Return a hash object for the algorithm that RECORD names; None if it is unknown or too weak."""
    algorithm = listed.partition("=")[0]
    if algorithm not in hashlib.algorithms_guaranteed:
        return None
    hasher = hashlib.new(algorithm, usedforsecurity=False)
    return hasher if hasher.digest_size >= _MIN_DIGEST else None  # shake_128 has 0


def _content(archive: Archive, member: Member, end: int) -> Iterator[bytes]:
    """Yield the content of a member in chunks. ``end`` is the start of the next member.

    Raises WheelError as soon as the content differs from the directory.
    """
    archive.file.seek(start := archive.data_offset(member))
    if start + member.compressed > end:
        raise archive.broken(f"{member.name} overlaps what follows it")
    if member.method == STORED:
        chunks = _raw_chunks(archive, member)
    elif member.method == DEFLATED:
        chunks = _inflated_chunks(archive, member)
    else:
        raise archive.broken(f"{member.name} is compressed by the unknown method {member.method}")
    size, crc = 0, 0
    different = f"{member.name} differs from its entry in the archive's directory"
    for chunk in chunks:
        size += len(chunk)
        if size > member.size:
            raise archive.broken(different)
        crc = zlib.crc32(chunk, crc)
        yield chunk
    if size != member.size or crc != member.crc:
        raise archive.broken(different)


def _raw_chunks(archive: Archive, member: Member) -> Iterator[bytes]:
    remaining = member.compressed
    while remaining:
        chunk = archive.file.read(min(remaining, _CHUNK))
        if not chunk:
            raise archive.broken(f"{member.name} is cut short")
        remaining -= len(chunk)
        yield chunk


def _inflated_chunks(archive: Archive, member: Member) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    raw_chunks = _raw_chunks(archive, member)
    while not inflater.eof:
        raw = inflater.unconsumed_tail or next(raw_chunks, b"")
        try:
            chunk = inflater.decompress(raw, _CHUNK)
        except zlib.error as error:
            raise archive.broken(f"{member.name} can't be inflated: {error}") from None
        if not raw and not chunk and not inflater.eof:
            raise archive.broken(f"{member.name} is cut short")
        yield chunk
    if inflater.unused_data or next(raw_chunks, None) is not None:
        raise archive.broken(f"{member.name} ends before its data")
