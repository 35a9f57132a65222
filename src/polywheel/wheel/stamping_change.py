"""What stamping a wheel changes in it, and what taking the stamp off changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from polywheel.wheel.dist_info import SIGNATURES, VARIANT_JSON, DistInfo
from polywheel.wheel.layout import Member
from polywheel.wheel.new_member import NewMember
from polywheel.wheel.record import parse_record, updated_record
from polywheel.wheel.rewrite import Change
from polywheel.wheel.undo import Former, Strip, plain_wheel, undo_field

EARLIEST, LATEST = 315_532_800, 4_354_819_198
"""1980-01-01T00:00:00Z and 2107-12-31T23:59:58Z, in seconds since 1970: the first and the last moment
that an entry of a zip archive can name."""

Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What to put into a wheel."""

    metadata: Callable[[bytes], bytes]
    """From the METADATA that the wheel has to the one that it shall have."""

    variant_json: bytes
    epoch: int | None = None
    """SOURCE_DATE_EPOCH: the time of entries that are new; without it, that of METADATA."""

    strip: Strip = bytes
    """From a METADATA with variant fields to one without."""


def stamping(found: DistInfo, stamp: Stamp, *, name: str, notify: Notify) -> Change:
    """The change that stamps a wheel; a stamp that it has already is taken off before.

    A signature of RECORD is void with the old RECORD: it is left out, and ``notify`` is told;
    ``name`` is that of the new wheel, for messages.
    """
    plain = plain_wheel(found, stamp.strip)
    metadata, record = found.path("METADATA"), found.path("RECORD")
    variant_json = found.path(VARIANT_JSON)
    there = found.archive.table.position
    changed = {metadata: stamp.metadata(plain.metadata.content), variant_json: stamp.variant_json}
    dropped = tuple(path for one in SIGNATURES if (path := found.path(one)) in there)
    rows = found.record
    if plain.record.around is not None and plain.record.content is not found.record_content:
        rows = parse_record(plain.record.content, at=str(found.archive.path))
    gone = (*dropped, *plain.signatures)
    new_record = updated_record(rows, own=record, changed=changed, dropped=gone)
    new = {
        metadata: NewMember(metadata, changed[metadata], found.member(metadata)),
        record: NewMember(record, new_record, found.member(record)),
    }
    for path in dropped:
        notify(f"warning: {path} signed the old RECORD and is left out of {name}")
    undo = undo_field(
        found, plain, metadata=changed[metadata], record=new_record, strip=stamp.strip
    )
    if undo is None:
        notify(f"warning: polywheel unlabel will not give back all of what {name} was made from")
    like = found.member(variant_json if variant_json in there else metadata)
    if variant_json not in there:
        like = _dated(like, stamp.epoch)
    stamped = NewMember(variant_json, stamp.variant_json, like, extra=undo or b"")
    if variant_json in there:
        return Change({**new, variant_json: stamped}, {}, dropped)
    return Change(new, {record: [stamped]}, dropped)


def unstamping(found: DistInfo, strip: Strip) -> Change:
    """The change that gives the non-variant wheel back; an empty one where nothing is stamped."""
    there = found.archive.table.position
    variant_json = found.path(VARIANT_JSON)
    if variant_json not in there and strip(found.metadata) == found.metadata:
        return Change({})
    plain = plain_wheel(found, strip)
    replaced = {
        path: _coming_back(path, former)
        for path, former in (
            (found.path("METADATA"), plain.metadata),
            (found.path("RECORD"), plain.record),
        )
    }
    added: dict[str, list[NewMember]] = {}
    for path, former in plain.signatures.items():
        added.setdefault(plain.before[path], []).append(_coming_back(path, former))
    stale = {found.path(one) for one in SIGNATURES} & {*there}
    dropped = stale | ({variant_json} & {*there})
    return Change(replaced, added, sorted(dropped))


def _coming_back(path: str, former: Former) -> NewMember:
    return NewMember(path, former.content, former.entry, thorough=True, around=former.around)


def _dated(like: Member, epoch: int | None) -> Member:
    if epoch is None:
        return like
    moment = time.gmtime(min(max(epoch, EARLIEST), LATEST))
    return replace(
        like,
        date=(moment.tm_year - 1980) << 9 | moment.tm_mon << 5 | moment.tm_mday,
        time=moment.tm_hour << 11 | moment.tm_min << 5 | moment.tm_sec // 2,
    )
