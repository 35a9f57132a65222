"""Restore the original wheel from a stamped one, with the help of undo data.

Most wheels need no undo data: the original METADATA is METADATA without its variant fields, and the original
RECORD is RECORD with a new row for METADATA. Other changes (added dependencies, a dropped signature, headers
that zipfile would not have written, an unusual RECORD) need undo data. It is deflated and stored in an extra
field of the entry of variant.json in the central directory. Readers skip such fields, installers do not install
them, and they disappear with variant.json.

Undo data is untrusted, and no hash in RECORD covers it. It is used only if it removes a stamp and does nothing
else: :func:`only_removes_fields`, :func:`lists_same_files`, and :func:`is_restorable` compare it with the wheel.
"""

from __future__ import annotations

import base64
import json
import stat
import struct
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from polywheel.errors import WheelError
from polywheel.formats.metadata import newline_of, split_headers, strip_variant_fields
from polywheel.system.files import refuse_constant, unique_keys
from polywheel.wheel.archive.central_directory import (
    CENTRAL,
    DEFLATED,
    HAS_DESCRIPTOR,
    LOCAL,
    STORED,
    UNICODE_PATH,
    UTF8,
    Member,
    central,
    extra_fields,
    parse_entry,
    parse_local_header,
)
from polywheel.wheel.archive.reader import MAX_TRAILING, Neighbours
from polywheel.wheel.archive.rewrite import LAST, Change, NewMember, plain_headers
from polywheel.wheel.dist_info import SIGNATURES, VARIANT_JSON, DistInfo
from polywheel.wheel.record import Record, is_canonical, parse_record, row_matches, updated_record

_FLAGS = HAS_DESCRIPTOR | UTF8 | 0b110
"""The flags of a member. The last two bits are the effort of the compression."""
_DOS_FOLDER = 0x10
_SPECIAL_MODES = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX


def only_removes_fields(now: bytes, former: bytes) -> bool:
    """Whether ``former`` is a possible METADATA before a stamp, and ``now`` the METADATA after it.

    A stamp adds one block of complete fields: dependencies and variant fields. It also adds a line break if the
    last line has none.
    """
    if now == former:
        return True
    fields, rest = split_headers(now)
    kept, former_rest = split_headers(former)
    if former_rest != rest or strip_variant_fields(former) != former:
        return False
    if kept and fields and not kept[-1].endswith(b"\n") and kept[-1] != fields[-1]:
        kept[-1] += newline_of(former)
    front = _common_prefix(kept, fields)
    end = len(fields) - (len(kept) - front)
    return kept[front:] == fields[max(front, end) :] and all(
        field.lower().startswith(b"requires-dist:") or not strip_variant_fields(field)
        for field in fields[front:end]
    )


def lists_same_files(
    now: Record, former: Record, *, restored: Mapping[str, bytes], stamped: Collection[str]
) -> bool:
    """Whether two RECORDs list the same files, except for files that a stamp changes.

    ``restored`` are the restored files, by path. If ``former`` lists them, their hashes must match.
    ``stamped`` are the paths that a stamp may change or add. ``former`` must not list those that are not
    restored.
    """
    listed, former_listed = (
        {row.path: (row.hash, row.size) for row in record if row.path not in stamped}
        for record in (now, former)
    )
    return listed == former_listed and all(
        row.path in restored and row_matches(row, restored[row.path])
        for row in former
        if row.path in stamped
    )


def is_restorable(
    path: str, content: bytes, entry: Member, around: Neighbours | None, *, now: Member | None
) -> bool:
    """Whether these headers describe a regular file with this path and content.

    ``now`` is the current entry of the file. An unusual mode is accepted if the current entry has it too.
    """
    mode = entry.external >> 16
    regular = (
        stat.S_IFMT(mode) in (0, stat.S_IFREG)
        and not mode & _SPECIAL_MODES
        and not entry.external & _DOS_FOLDER
    )
    if (
        entry.name != path
        or entry.flags & ~_FLAGS
        or entry.method not in (STORED, DEFLATED)
        or not (regular or (now is not None and now.external == entry.external))
    ):
        return False
    if around is None:
        return True
    if (entry.crc, entry.size) != (zlib.crc32(content), len(content)):
        return False
    header = parse_local_header(around.local, entry)
    if header is None or len(around.trailing) > MAX_TRAILING:
        return False
    extra_start = LOCAL.size + header.name_length
    name, extra = around.local[LOCAL.size : extra_start], around.local[extra_start:]
    return (
        header.agrees
        and name == entry.raw_name
        and not header.flags & ~_FLAGS
        and (name.isascii() or not (header.flags ^ entry.flags) & UTF8)
        and len(extra) == header.extra_length
        and not any(kind == UNICODE_PATH for kind, _ in extra_fields(extra))
    )


UNDO_FIELD = 0x7770
"""The id of the extra field. PKWARE's list does not assign it."""
_SHAPE = 1
_MAX_FIELD = 60_000
_MAX_INFLATED = 8 * 1024 * 1024
"""Bytes of JSON. Most of it are hashes and signatures, which can hardly be compressed."""
_PARTS = ("METADATA", "RECORD")
_MALFORMED = (
    *(ValueError, LookupError, TypeError, RecursionError),
    *(struct.error, zlib.error, WheelError),
)


@dataclass(frozen=True, slots=True)
class OriginalFile:
    """An original member: its content, its directory entry, and the bytes around its data."""

    content: bytes
    entry: Member
    around: Neighbours | None
    """None if unknown."""

    before: str = LAST
    """For a signature: the member that followed it in the file, or :data:`~.rewrite.LAST`."""


@dataclass(frozen=True, slots=True)
class OriginalWheel:
    """The non-variant wheel that a wheel was made from. For a wheel without a stamp, the wheel itself."""

    metadata: OriginalFile
    record: OriginalFile
    signatures: dict[str, OriginalFile] = field(default_factory=dict)
    """Signatures of RECORD by path, in the order of the file. Stamping drops them."""


def original_wheel(info: DistInfo) -> OriginalWheel:
    """Return the original of a wheel.

    Raises WheelError if the undo data is malformed, or if it does more than remove a stamp.
    """
    if info.variant_json is not None and (original := _read_undo_data(info)) is not None:
        return original
    bare = strip_variant_fields(info.metadata)
    if info.variant_json is None and bare == info.metadata:
        return _unstamped(info)
    former_record = updated_record(
        info.record,
        own=info.path("RECORD"),
        changed={info.path("METADATA"): bare},
        dropped=(info.path(VARIANT_JSON),),
    )
    metadata, record = (info.member(info.path(name)) for name in _PARTS)
    return OriginalWheel(
        OriginalFile(bare, metadata, None), OriginalFile(former_record, record, None)
    )


def _unstamped(info: DistInfo) -> OriginalWheel:
    """Return the original of a wheel without a stamp: the wheel itself."""
    archive, table = info.archive, info.archive.table

    def original_file(path: str, content: bytes, before: str = LAST) -> OriginalFile:
        member = info.member(path)
        return OriginalFile(content, member, archive.around(member), before)

    signatures, before = {}, LAST
    paths = {info.path(name) for name in SIGNATURES} & table.position.keys()
    for number in reversed(table.order) if paths else ():
        path = table.names[number]
        if path in paths:
            content = archive.read_named(path, limit=_MAX_INFLATED)
            signatures[path] = original_file(path, content, before)
        else:
            before = path
    return OriginalWheel(
        original_file(info.path("METADATA"), info.metadata),
        original_file(info.path("RECORD"), info.record_content),
        dict(reversed(signatures.items())),
    )


def unstamp_change(info: DistInfo) -> Change:
    """Return the change that restores the non-variant wheel. It is empty if there is no stamp.

    Every member gets back its content, order, mode, and time. The archive is equal byte for byte if METADATA and
    RECORD were deflated with zlib's default level. Raises WheelError.
    """
    existing = info.archive.table.position
    variant_json = info.path(VARIANT_JSON)
    if variant_json not in existing and strip_variant_fields(info.metadata) == info.metadata:
        return Change({})
    original = original_wheel(info)

    def restored(path: str, file: OriginalFile) -> NewMember:
        return NewMember(path, file.content, file.entry, thorough=True, around=file.around)

    files = {info.path("METADATA"): original.metadata, info.path("RECORD"): original.record}
    added: dict[str, list[NewMember]] = {}
    for path, file in original.signatures.items():
        added.setdefault(file.before, []).append(restored(path, file))
    dropped = {variant_json, *(info.path(name) for name in SIGNATURES)} & existing.keys()
    return Change({path: restored(path, file) for path, file in files.items()}, added, dropped)


def undo_field(
    info: DistInfo, original: OriginalWheel, *, metadata: bytes, record: bytes
) -> bytes | None:
    """Return the extra field with the undo data of a stamped wheel. It is empty if none is needed.

    ``metadata`` and ``record`` are those of the stamped wheel. Returns None if the field would be too large,
    or if the stamp does more than add data to the original wheel.
    """
    if (
        not original.signatures
        and strip_variant_fields(metadata) == original.metadata.content
        and _needs_no_undo_data(info, original)
    ):
        return b""
    document = {
        "shape": _SHAPE,
        "parts": {
            "METADATA": _encode_file(original.metadata, metadata),
            "RECORD": _encode_file(original.record, record),
        },
        "signatures": [
            {"path": path, "before": file.before, **_encode_file(file, b"")}
            for path, file in original.signatures.items()
        ],
    }
    at = str(info.archive.path)
    if _find_excess(info, original, metadata, parse_record(record, at=at)) is not None:
        info.check()
        return None
    text = json.dumps(document, separators=(",", ":")).encode("ascii")
    packed = zlib.compress(text)
    if len(text) > _MAX_INFLATED or len(packed) > _MAX_FIELD:
        return None
    return struct.pack("<2H", UNDO_FIELD, len(packed)) + packed


def _needs_no_undo_data(info: DistInfo, original: OriginalWheel) -> bool:
    """Whether polywheel would write the original METADATA and RECORD again without undo data."""
    for file in (original.metadata, original.record):
        if file.around is None:
            continue  # derived from a stamped wheel: it would be derived again
        entry, local = plain_headers(file.entry)
        if (entry, Neighbours(local, b"")) != (file.entry, file.around):
            return False
    if original.record.content is not info.record_content:
        return original.record.around is None
    path = info.path("METADATA")
    return is_canonical(info.record, info.record_content, path, original.metadata.content)


def _encode_file(file: OriginalFile, now: bytes) -> dict[str, Any]:
    """Return an original file as JSON, with its content as a difference to the current content."""
    was = file.content
    front = _common_prefix(now, was)
    most = min(len(now), len(was)) - front
    back = min(most, _common_prefix(now[::-1], was[::-1]))
    around = file.around
    return {
        "of": zlib.crc32(now),
        "front": front,
        "back": back,
        "between": _text(was[front : len(was) - back]),
        "entry": _text(central(file.entry)),
        "around": None if around is None else [_text(around.local), _text(around.trailing)],
    }


def _common_prefix(first: Sequence[object], second: Sequence[object]) -> int:
    """Return the length of the common prefix of two texts or lists."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _read_undo_data(info: DistInfo) -> OriginalWheel | None:
    """Return the original wheel from the undo data; None if there is none, or if the wheel was changed.

    Raises WheelError, see :func:`original_wheel`.
    """
    member = info.member(info.path(VARIANT_JSON))
    packed = next((raw[4:] for kind, raw in extra_fields(member.extra) if kind == UNDO_FIELD), None)
    if packed is None:
        return None
    path = info.archive.path
    now = {"METADATA": info.metadata, "RECORD": info.record_content}
    try:
        document = _unpack(packed)
        parts = document["parts"]
        if any(parts[name]["of"] != zlib.crc32(now[name]) for name in _PARTS):
            return None
        metadata, record = (_decode_file(parts[name], now[name], path) for name in _PARTS)
        existing = info.archive.table.position
        signatures = {
            part["path"]: replace(
                _decode_file(part, b"", path),
                before=part["before"] if part["before"] in existing else LAST,
            )
            for part in document["signatures"]
        }
        original = OriginalWheel(metadata, record, signatures)
        excess = _find_excess(info, original, info.metadata, info.record)
    except _MALFORMED:
        raise info.archive.broken("its undo data is malformed") from None
    if excess is not None:
        raise info.archive.broken(f"its undo data does more than remove the variant: {excess}")
    return original


def _find_excess(
    info: DistInfo, original: OriginalWheel, metadata: bytes, record: Record
) -> str | None:
    """Return what restoring a wheel changes besides the removal of the stamp; None if nothing.

    ``metadata`` and ``record`` are those of the stamped wheel. Raises WheelError if RECORD can't be read.
    """
    signatures = {info.path(name) for name in SIGNATURES}
    if not signatures >= original.signatures.keys():
        return "it adds files"
    restored = {info.path("METADATA"): original.metadata, **original.signatures}
    for path, file in {**restored, info.path("RECORD"): original.record}.items():
        now = info.archive.member(path)
        if not is_restorable(path, file.content, file.entry, file.around, now=now):
            return f"{path} would have headers of another file"
    if not only_removes_fields(metadata, original.metadata.content):
        return "METADATA would get other content"
    listed = lists_same_files(
        record,
        parse_record(original.record.content, at=str(info.archive.path)),
        restored={path: file.content for path, file in restored.items()},
        stamped={info.path("METADATA"), info.path(VARIANT_JSON), *signatures},
    )
    return None if listed else "RECORD would list other files or hashes"


def _unpack(packed: bytes) -> dict[str, Any]:
    inflater = zlib.decompressobj()
    text = inflater.decompress(packed, _MAX_INFLATED)
    document = json.loads(text, object_pairs_hook=unique_keys, parse_constant=refuse_constant)
    if not inflater.eof or inflater.unused_data or document["shape"] != _SHAPE:
        raise ValueError("not undo data of this shape")
    return dict(document)


def _decode_file(part: dict[str, Any], now: bytes, path: Path) -> OriginalFile:
    front, back = part["front"], part["back"]
    numbers = type(front) is int and type(back) is int
    if not (numbers and 0 <= front <= len(now) - back <= len(now)):
        raise ValueError("it reaches beyond the content")
    content = now[:front] + _bytes(part["between"]) + now[len(now) - back :]
    raw = _bytes(part["entry"])
    if len(raw) < CENTRAL.size:
        raise ValueError("an entry is cut short")
    entry = parse_entry(raw, 0, path)
    if central(entry) != raw:
        raise ValueError("not an entry alone")
    around = None
    if part["around"] is not None:
        local, trailing = part["around"]
        around = Neighbours(_bytes(local), _bytes(trailing))
    return OriginalFile(content, entry, around)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
