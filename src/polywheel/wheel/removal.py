"""Whether undo data says what it may: that a stamp is taken off, and nothing else.

It stands in the wheel, so anybody may have written it, and none of it is covered by a hash in RECORD.
Each function holds one part of what it describes against the wheel as it is.
"""

from __future__ import annotations

import stat
import zlib
from collections.abc import Callable, Collection, Mapping

from polywheel.wheel.archive import MAX_TRAILING, Around
from polywheel.wheel.layout import (
    DEFLATED,
    FULL32,
    HAS_DESCRIPTOR,
    LOCAL,
    STORED,
    UNICODE_PATH,
    UTF8,
    Member,
    extra_fields,
)
from polywheel.wheel.record import Record, agrees

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


def lists_the_same(
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
        if row is not None and not (path in restored and agrees(row, restored[path])):
            return False
    listed, former_listed = (
        {path: (row.hash, row.size) for path, row in each.items()} for each in (rows, former_rows)
    )
    return listed == former_listed


def may_come_back(
    path: str, content: bytes, entry: Member, around: Around | None, *, now: Member | None
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
