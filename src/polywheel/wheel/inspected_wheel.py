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
from polywheel.wheel.archive.archive import Archive
from polywheel.wheel.archive.entry import DEFLATED, STORED, Member
from polywheel.wheel.dist_info import SIGNATURES, VARIANT_JSON, DistInfo

FILENAME, METADATA = "filename", "METADATA"


@dataclass(frozen=True, kw_only=True, slots=True)
class InspectedWheel:
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


RECORD = "RECORD"
_CHUNK = 1024 * 1024
_LEAST_DIGEST = 32
"""Bytes: SHA-256 or better (PEP 427)."""


def record_disagreements(info: DistInfo, contents: Mapping[str, bytes | None]) -> Iterator[str]:
    """Rows that lack, rows too many, wrong sizes, and hashes of the ``contents`` of dist-info.

    A hash may be left out.
    """
    yield from info.differences()
    for name, content in contents.items():
        path = info.path(name)
        row = info.record.row(path)
        if content is None or row is None or not row.hash:
            continue
        hashed = _hash_like(row.hash)
        if hashed is not None:
            hashed.update(content)
        yield from _of_hash(path, row.hash, hashed)


def hash_disagreements(info: DistInfo) -> Iterator[str]:
    """Every member, read through in the order of the file, against its hash in RECORD.

    A member that can't be read is told of, and the others are read all the same.
    """
    archive = info.archive
    unhashed = {info.path(name) for name in (RECORD, *SIGNATURES)}
    hashes = dict(zip(info.record.paths, info.record.hashes, strict=True))
    for _, end, number in archive.table.extents():
        member = archive.table.member(number)
        listed = hashes.get(member.name, "")
        hashed = _hash_like(listed)
        try:
            for chunk in _content(archive, member, end):
                if hashed is not None:
                    hashed.update(chunk)
        except WheelError as error:
            yield error.problems[0].what
            continue
        if listed:
            yield from _of_hash(member.name, listed, hashed)
        elif member.name in hashes and member.name not in unhashed:
            yield f"RECORD gives {member.name!r} no hash"


def _of_hash(path: str, listed: str, hashed: hashlib._Hash | None) -> Iterator[str]:
    if hashed is None:
        yield f"RECORD gives {path!r} the hash {listed!r}, which is not SHA-256 or better"
        return
    digest = base64.urlsafe_b64encode(hashed.digest()).rstrip(b"=").decode("ascii")
    if digest != listed.partition("=")[2].rstrip("="):
        found = f"{listed.partition('=')[0]}={digest}"
        yield f"RECORD gives {path!r} the hash {listed!r}, its content has {found!r}"


def _hash_like(listed: str) -> hashlib._Hash | None:
    """What takes a hash of the kind that RECORD names; None where that kind is not to be used."""
    kind = listed.partition("=")[0]
    if kind not in hashlib.algorithms_guaranteed:
        return None
    made = hashlib.new(kind, usedforsecurity=False)
    return made if made.digest_size >= _LEAST_DIGEST else None  # of shake_128 it is 0


def _content(archive: Archive, member: Member, end: int) -> Iterator[bytes]:
    """The content of a member in pieces; ``end`` is where the next one starts.

    Raises WheelError where it is not what the directory says, before there is more of it.
    """
    archive.file.seek(start := archive.data_offset(member))
    if start + member.compressed > end:
        raise archive.broken(f"{member.name} overlaps what follows it")
    if member.method == STORED:
        chunks = _pieces(archive, member)
    elif member.method == DEFLATED:
        chunks = _inflated(archive, member)
    else:
        raise archive.broken(f"{member.name} is compressed by the unknown method {member.method}")
    size, crc = 0, 0
    lies = f"{member.name} is not what the archive's directory says of it"
    for chunk in chunks:
        size += len(chunk)
        if size > member.size:
            raise archive.broken(lies)
        crc = zlib.crc32(chunk, crc)
        yield chunk
    if size != member.size or crc != member.crc:
        raise archive.broken(lies)


def _pieces(archive: Archive, member: Member) -> Iterator[bytes]:
    left = member.compressed
    while left:
        piece = archive.file.read(min(left, _CHUNK))
        if not piece:
            raise archive.broken(f"{member.name} is cut short")
        left -= len(piece)
        yield piece


def _inflated(archive: Archive, member: Member) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    pieces = _pieces(archive, member)
    while not inflater.eof:
        raw = inflater.unconsumed_tail or next(pieces, b"")
        try:
            chunk = inflater.decompress(raw, _CHUNK)
        except zlib.error as error:
            raise archive.broken(f"{member.name} can't be inflated: {error}") from None
        if not raw and not chunk and not inflater.eof:
            raise archive.broken(f"{member.name} is cut short")
        yield chunk
    if inflater.unused_data or next(pieces, None) is not None:
        raise archive.broken(f"{member.name} ends before its data do")
