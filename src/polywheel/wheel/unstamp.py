"""Restore the original wheel from a stamped one, with the help of undo data.

Most wheels need no undo data: METADATA without its variant fields is the original, and so is RECORD with
a new row for METADATA. Everything else (added dependencies, a dropped signature, headers that
zipfile would not have written, an odd RECORD) is kept as undo data: deflated, in an extra field of the entry of
variant.json in the central directory. Readers skip such fields, none of it is installed, and it disappears
with variant.json.

Anybody may have written the undo data of a wheel, and no hash in RECORD covers it. It is used only if it
does nothing but remove a stamp: each ``check`` function compares one part of it with the wheel.
"""

from __future__ import annotations

import base64
import json
import stat
import struct
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polywheel.errors import WheelError
from polywheel.system.files import refuse_constant, unique_keys
from polywheel.wheel.archive.archive import MAX_TRAILING, Neighbours
from polywheel.wheel.archive.entry import (
    CENTRAL,
    DEFLATED,
    FULL32,
    HAS_DESCRIPTOR,
    LOCAL,
    STORED,
    UNICODE_PATH,
    UTF8,
    Member,
    central,
    extra_fields,
    parse_entry,
)
from polywheel.wheel.archive.rewrite import LAST, plain_headers
from polywheel.wheel.dist_info import SIGNATURES, VARIANT_JSON, DistInfo
from polywheel.wheel.record import Record, is_canonical, parse_record, row_matches, updated_record

_FLAGS = HAS_DESCRIPTOR | UTF8 | 0b110
"""Those of a member: the last two say how much effort went into deflating it."""
_DOS_FOLDER = 0x10
_SPECIAL_MODES = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX


def only_removes_fields(now: bytes, former: bytes, strip: Callable[[bytes], bytes]) -> bool:
    """Whether METADATA was ``former`` before a stamp made it what it is ``now``.

    A stamp adds one run of whole fields: dependencies, and variant fields, which ``strip`` takes out.
    A last line that had no line break gets one.
    """
    if now == former:
        return True
    fields, rest = _fields(now)
    kept, former_rest = _fields(former)
    if former_rest != rest or strip(former) != former:
        return False
    if kept and fields and not kept[-1].endswith(b"\n") and kept[-1] != fields[-1]:
        kept[-1] += b"\r\n" if kept[0].endswith(b"\r\n") else b"\n"
    front = 0
    while front < min(len(kept), len(fields)) and kept[front] == fields[front]:
        front += 1
    back = len(kept) - front
    if len(fields) < len(kept) or kept[front:] != fields[len(fields) - back :]:
        return False
    return all(
        field.lower().startswith(b"requires-dist:") or not strip(field)
        for field in fields[front : len(fields) - back]
    )


def _fields(metadata: bytes) -> tuple[list[bytes], bytes]:
    """The headers of METADATA, each with its continuation lines, and what follows them."""
    fields: list[bytes] = []
    at = 0
    while at < len(metadata):
        end = metadata.find(b"\n", at) + 1 or len(metadata)
        line = metadata[at:end]
        if line in (b"\n", b"\r\n"):
            break
        if line.startswith((b" ", b"\t")) and fields:
            fields[-1] += line
        else:
            fields.append(line)
        at = end
    return fields, metadata[at:]


def lists_same_files(
    now: Record, former: Record, *, restored: Mapping[str, bytes], stamped: Collection[str]
) -> bool:
    """Whether two RECORDs list the same, but for files that a stamp changes.

    ``restored`` are the files that come back, by path: they are listed rightly, where they are.
    ``stamped`` are the paths that a stamp may change or add; those that do not come back are not
    listed.
    """
    rows, former_rows = ({row.path: row for row in record} for record in (now, former))
    for path in stamped:
        row = former_rows.pop(path, None)
        rows.pop(path, None)
        if row is not None and not (path in restored and row_matches(row, restored[path])):
            return False
    listed, former_listed = (
        {path: (row.hash, row.size) for path, row in each.items()} for each in (rows, former_rows)
    )
    return listed == former_listed


def is_restorable(
    path: str, content: bytes, entry: Member, around: Neighbours | None, *, now: Member | None
) -> bool:
    """Whether these headers are those of a regular file of this path and content.

    ``now`` is the entry that the file has; a mode that it has already is no addition.
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
    local = around.local
    if len(local) < LOCAL.size or len(around.trailing) > MAX_TRAILING:
        return False
    magic, _, flags, method, _, _, crc, compressed, size, name_length, extra_length = LOCAL.unpack(
        local[: LOCAL.size]
    )
    name = local[LOCAL.size : LOCAL.size + name_length]
    extra = local[LOCAL.size + name_length :]
    return (
        magic == b"PK\x03\x04"
        and (name, method) == (entry.raw_name, entry.method)
        and not flags & ~_FLAGS
        and (name.isascii() or not (flags ^ entry.flags) & UTF8)
        and len(extra) == extra_length
        and not any(kind == UNICODE_PATH for kind, _ in extra_fields(extra))
        and (
            bool(flags & HAS_DESCRIPTOR)
            or (
                crc == entry.crc
                and compressed in (entry.compressed, FULL32)
                and size in (entry.size, FULL32)
            )
        )
    )


UNDO_FIELD = 0x7770
"""The id of the extra field; PKWARE's list has nothing there."""
_SHAPE = 1
_MAX_FIELD = 60_000
_MAX_INFLATED = 8 * 1024 * 1024
"""Bytes of JSON; what is packed is mostly hashes and signatures, which hardly shrink."""
_PARTS = ("METADATA", "RECORD")


@dataclass(frozen=True, slots=True)
class OriginalFiles:
    """A member as it was: its content, its entry, and what stood around its data."""

    content: bytes
    entry: Member
    around: Neighbours | None
    """None where nobody knows."""


@dataclass(frozen=True, slots=True)
class OriginalWheel:
    """The non-variant wheel that is in a wheel; of one that is not stamped, the wheel itself."""

    metadata: OriginalFiles
    record: OriginalFiles
    signatures: dict[str, OriginalFiles] = field(default_factory=dict)
    """Signatures of RECORD, by path, which stamping drops."""

    before: dict[str, str] = field(default_factory=dict)
    """The member that followed them in the file, or :data:`~.rewrite.LAST`; in their order."""


Strip = Callable[[bytes], bytes]
"""METADATA without its variant fields."""


def original_wheel(found: DistInfo, strip: Strip) -> OriginalWheel:
    """The wheel without what was stamped into it.

    Raises WheelError for undo data that is malformed, or that does more than take a stamp off.
    """
    metadata, record = (found.member(found.path(name)) for name in _PARTS)
    if found.variant_json is not None:
        kept = _kept(found, strip)
        if kept is not None:
            return kept
    bare = strip(found.metadata)
    if found.variant_json is None and bare == found.metadata:
        return _itself(found)
    former_record = updated_record(
        found.record,
        own=found.path("RECORD"),
        changed={found.path("METADATA"): bare},
        dropped=(found.path(VARIANT_JSON),),
    )
    return OriginalWheel(
        OriginalFiles(bare, metadata, None), OriginalFiles(former_record, record, None)
    )


def _itself(found: DistInfo) -> OriginalWheel:
    archive, table = found.archive, found.archive.table

    def former(path: str, content: bytes) -> OriginalFiles:
        member = found.member(path)
        return OriginalFiles(content, member, archive.around(member))

    paths = [path for name in SIGNATURES if (path := found.path(name)) in table.position]
    signatures, before = {}, {}
    for path in sorted(paths, key=lambda one: table.offset(table.position[one])):
        content = archive.read(found.member(path), limit=_MAX_INFLATED)
        signatures[path] = former(path, content)
        behind = (
            table.names[number]
            for number in table.order
            if table.offset(number) > table.offset(table.position[path])
        )
        before[path] = next((name for name in behind if name not in paths), LAST)
    return OriginalWheel(
        former(found.path("METADATA"), found.metadata),
        former(found.path("RECORD"), found.record_content),
        signatures,
        before,
    )


def undo_field(
    found: DistInfo, plain: OriginalWheel, *, metadata: bytes, record: bytes, strip: Strip
) -> bytes | None:
    """The extra field that lets a stamped wheel become the plain one again; empty if none is needed.

    ``metadata`` and ``record`` are the stamped ones. None where it would be too large, or where the
    stamp does more than add to the plain wheel.
    """
    if not plain.signatures and strip(metadata) == plain.metadata.content and _usual(found, plain):
        return b""
    document = {
        "shape": _SHAPE,
        "parts": {
            "METADATA": _part(plain.metadata, metadata),
            "RECORD": _part(plain.record, record),
        },
        "signatures": [
            {"path": path, "before": plain.before[path], **_part(former, b"")}
            for path, former in plain.signatures.items()
        ],
    }
    at = str(found.archive.path)
    if _excess(found, plain, metadata, parse_record(record, at=at), strip) is not None:
        found.check()
        return None
    text = json.dumps(document, separators=(",", ":")).encode("ascii")
    packed = zlib.compress(text)
    if len(text) > _MAX_INFLATED or len(packed) > _MAX_FIELD:
        return None
    return struct.pack("<2H", UNDO_FIELD, len(packed)) + packed


def _usual(found: DistInfo, plain: OriginalWheel) -> bool:
    """Whether METADATA and RECORD would be written anew as they were."""
    for former in (plain.metadata, plain.record):
        if former.around is None:
            continue  # derived from a stamped wheel: it would be derived again
        entry, local = plain_headers(former.entry)
        if (entry, Neighbours(local, b"")) != (former.entry, former.around):
            return False
    if plain.record.content is not found.record_content:
        return plain.record.around is None
    path = found.path("METADATA")
    return is_canonical(found.record, found.record_content, path, plain.metadata.content)


def _part(former: OriginalFiles, now: bytes) -> dict[str, Any]:
    """A member as JSON: its content as a change to what now stands there."""
    was = former.content
    front = _agreeing(now, was)
    most = min(len(now), len(was)) - front
    back = min(most, _agreeing(now[::-1], was[::-1]))
    around = former.around
    return {
        "of": zlib.crc32(now),
        "front": front,
        "back": back,
        "between": _text(was[front : len(was) - back]),
        "entry": _text(central(former.entry)),
        "around": None if around is None else [_text(around.local), _text(around.trailing)],
    }


def _agreeing(one: bytes, other: bytes) -> int:
    """How many bytes two texts have in common at their front."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _kept(found: DistInfo, strip: Strip) -> OriginalWheel | None:
    """What the undo data says; None where there is none, or where the wheel was changed since.

    Raises WheelError, see :func:`original_wheel`.
    """
    member = found.member(found.path(VARIANT_JSON))
    packed = next((raw[4:] for kind, raw in extra_fields(member.extra) if kind == UNDO_FIELD), None)
    if packed is None:
        return None
    path = found.archive.path
    now = {"METADATA": found.metadata, "RECORD": found.record_content}
    try:
        document = _unpacked(packed)
        parts = document["parts"]
        if any(parts[name]["of"] != zlib.crc32(now[name]) for name in _PARTS):
            return None
        metadata, record = (_former(parts[name], now[name], path) for name in _PARTS)
        signatures = {one["path"]: _former(one, b"", path) for one in document["signatures"]}
        there = found.archive.table.position
        before = {
            one["path"]: one["before"] if one["before"] in there else LAST
            for one in document["signatures"]
        }
        plain = OriginalWheel(metadata, record, signatures, before)
        excess = _excess(found, plain, found.metadata, found.record, strip)
    except (
        ValueError,
        LookupError,
        TypeError,
        RecursionError,
        struct.error,
        zlib.error,
        WheelError,
    ):
        raise found.archive.broken("its undo data is malformed") from None
    if excess is not None:
        raise found.archive.broken(f"its undo data does more than take the variant off: {excess}")
    return plain


def _excess(
    found: DistInfo, plain: OriginalWheel, metadata: bytes, record: Record, strip: Strip
) -> str | None:
    """What the plain wheel has that is no rest of a stamped one; None where there is nothing.

    ``metadata`` and ``record`` are those of the stamped wheel. Raises WheelError for a RECORD that
    can't be read.
    """
    paths = {name: found.path(name) for name in (*_PARTS, VARIANT_JSON, *SIGNATURES)}
    if not {paths[name] for name in SIGNATURES} >= plain.signatures.keys():
        return "it adds files"
    restored = {paths["METADATA"]: plain.metadata, **plain.signatures}
    for path, former in {**restored, paths["RECORD"]: plain.record}.items():
        now = found.archive.member(path)
        if not is_restorable(path, former.content, former.entry, former.around, now=now):
            return f"{path} would have headers of another file"
    if not only_removes_fields(metadata, plain.metadata.content, strip):
        return "METADATA would get other content"
    listed = lists_same_files(
        record,
        parse_record(plain.record.content, at=str(found.archive.path)),
        restored={path: former.content for path, former in restored.items()},
        stamped=[paths[name] for name in ("METADATA", VARIANT_JSON, *SIGNATURES)],
    )
    return None if listed else "RECORD would list other files or hashes"


def _unpacked(packed: bytes) -> dict[str, Any]:
    inflater = zlib.decompressobj()
    text = inflater.decompress(packed, _MAX_INFLATED)
    document = json.loads(text, object_pairs_hook=unique_keys, parse_constant=refuse_constant)
    if not inflater.eof or inflater.unused_data or document["shape"] != _SHAPE:
        raise ValueError("not undo data of this shape")
    return dict(document)


def _former(part: dict[str, Any], now: bytes, path: Path) -> OriginalFiles:
    front, back = part["front"], part["back"]
    if (
        type(front) is not int
        or type(back) is not int
        or not 0 <= front <= len(now) - back <= len(now)
    ):
        raise ValueError("reaches beyond the content")
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
    return OriginalFiles(content, entry, around)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
