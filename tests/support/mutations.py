"""Mutated bytes and documents, for the tests of readers and for the endurance campaigns.

``chance`` decides what is done: hypothesis hands one over (``st.randoms``), and so does a campaign with
its seed. Nothing here knows what a reader makes of the result.
"""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from support import wheels
from support.wheels import FIELDS, INFO, KINDS, Part, assembled, parts, with_record

DOCUMENT: dict[str, Any] = {
    "$schema": "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json",
    "default-priorities": {"namespace": ["x86_64", "blas"], "feature": {"x86_64": ["level"]}},
    "providers": {
        "x86_64": {"requires": ["x86-provider >=1"], "plugin-api": "x86_provider:Plugin"},
        "blas": {"static-properties": {"library": ["mkl"], "more": ["a"]}, "optional": True},
    },
    "variants": {"v3": {"x86_64": {"level": ["v3"]}, "blas": {"library": ["mkl"]}}},
}
HEADERS = FIELDS + (
    b"Variant-Label: v3\nVariant-Hash: fa7c1393\nVariant-Property: x86_64 :: level :: v3\n"
    b"Variant-Requires: x86_64: x86-provider >=1; os_name == 'nt'\n"
    b"Variant-Plugin-API: x86_64: x86_provider:Plugin\n"
    b"Variant-Enable-If: x86_64: platform_machine == 'x86_64'\n"
    b"Variant-Default-Namespace-Priorities: x86_64, blas\n"
    b"Variant-Default-Feature-Priorities: x86_64 :: level\n"
    b"Variant-Default-Property-Priorities: x86_64 :: level :: v3, x86_64 :: level :: v2\n"
)
TAGS = b"Wheel-Version: 1.0\nTag: py3-none-any\n"
STAMPED = with_record(
    {
        "demo/__init__.py": b"value = 1\n" * 20,
        f"{INFO}/METADATA": HEADERS + b"\nA description\n",
        f"{INFO}/WHEEL": TAGS,
        f"{INFO}/variant.json": json.dumps(DOCUMENT).encode(),
    }
)
ARCHIVES = {
    **KINDS,
    "stamped": wheels.zipped(STAMPED),
    "stamped, streamed": wheels.zipped(STAMPED, streamed=True),
    "stamped, stored": wheels.zipped(STAMPED, method=0),
}

_NUMBERS = (0, 1, 2, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
_NOISE = (
    *(b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"),
    *(b"\x00" * 8, b"\xff" * 8, b"\x01\x00\x08\x00", b"../", b"\n", b'"', b"\\", b":", b"\r"),
)
_FIELDS_OF: tuple[tuple[bytes, range], ...] = (
    (b"PK\x01\x02", range(4, 46, 2)),
    (b"PK\x03\x04", range(4, 30, 2)),
    (b"PK\x05\x06", range(4, 22, 2)),
    (b"PK\x06\x06", range(4, 56, 4)),
    (b"PK\x06\x07", range(4, 20, 4)),
)
_ODD_NAMES = (
    *("../x", "/x", "a/../b", "demo//x", f"{INFO}/METADATA", f"{INFO}/RECORD", f"{INFO}/x", ""),
    *("other-1.0.dist-info/METADATA", "\x1b[2J", "a\\b", "e\u0301", "\u202e", "x" * 300, "C:x"),
    *("demo/\u2028x", "NUL", "demo/\x85", "demo/x.", "demo/\0"),
)
_LEAVES: tuple[object, ...] = (
    *(None, True, False, 0, -1, 1.5, 2**70, "", "v3", "x86_64", "V", "a b", "a>=1", "a:b", [], {}),
    *("\u202e", "a\nb", "::error::x", "x" * 300, "{value}", "{", "../x", "label:*", "*", "a :: b"),
    *("a :: b :: c", "'", "python_version >= '3'", ["v2", "v3"], [["v2"]], {"v3": ["a"]}, [None]),
)
_KEYS = ("x86_64", "level", "v3", "null", "A", "", "a b", "requires", "x" * 300, "a\nb", "*")


def number(chance: Random) -> int:
    """As a field of four bytes has it, more often than not one that matters."""
    return chance.choice(_NUMBERS) if chance.random() < 0.5 else chance.getrandbits(32)


def noise(chance: Random, extra: Sequence[bytes] = ()) -> bytes:
    """A few bytes: any, or ones that mean something to some reader."""
    if chance.random() < 0.5:
        return chance.getrandbits(8 * 12).to_bytes(12, "big")[: chance.randint(1, 12)]
    return chance.choice((*_NOISE, *extra))


def mutated(chance: Random, original: bytes, extra: Sequence[bytes] = ()) -> bytes:
    """Bytes flipped, cut out, put in, or moved within what was right; one to three times.

    ``extra`` are words of the format, which are put in like the noise that every format has.
    """
    content = original
    for _ in range(chance.randint(1, 3)):
        at = chance.randint(0, max(len(content) - 1, 0))
        end = at + chance.randint(0, 40)
        how = chance.choice(("write", "cut", "insert", "copy", "end"))
        if how == "write":
            new = noise(chance, extra)
            content = content[:at] + new + content[at + len(new) :]
        elif how == "cut":
            content = content[:at] + content[end:]
        elif how == "insert":
            content = content[:at] + noise(chance, extra) + content[at:]
        elif how == "copy":
            to = chance.randint(0, len(content))
            content = content[:to] + content[at:end] + content[to:]
        else:
            content = content[:at]
    return content


def spliced(chance: Random) -> bytes:
    """An archive with other numbers in the fields of its directory, its end or a local header."""
    content = bytearray(ARCHIVES[chance.choice(sorted(ARCHIVES))])
    for _ in range(chance.randint(1, 3)):
        magic, fields = chance.choice(_FIELDS_OF)
        found = [at for at in range(len(content)) if content.startswith(magic, at)]
        if not found:
            continue
        at = chance.choice(found) + chance.choice(fields)
        width = chance.choice(("<H", "<L"))
        if at + 4 <= len(content):
            value = number(chance)
            struct.pack_into(width, content, at, value & 0xFFFF if width == "<H" else value)
    return bytes(content)


def _few_bytes(chance: Random, most: int) -> bytes:
    return chance.getrandbits(8 * most).to_bytes(most, "big")[: chance.randint(0, most)]


_BOMB = wheels.deflated(bytes(3_000_000))
_CHANGES: Mapping[str, Callable[[Random], object]] = {
    "name": lambda chance: chance.choice(_ODD_NAMES),
    "raw_name": lambda chance: _few_bytes(chance, 20),
    "local_name": lambda chance: _few_bytes(chance, 20),
    "method": lambda chance: chance.choice((0, 8, 9, 99)),
    "flags": lambda chance: chance.choice((0, 1, 8, 0x800, 0x808, 0xFFFF)),
    "data": lambda chance: _BOMB if chance.random() < 0.1 else _few_bytes(chance, 40),
    "crc": number,
    "size": number,
    "compressed": number,
    "offset": number,
    "extra": lambda chance: (
        struct.pack("<HHQ", 1, 8, 2**64 - 1) if chance.random() < 0.3 else _few_bytes(chance, 30)
    ),
    "local_extra": lambda chance: _few_bytes(chance, 30),
    "behind": lambda chance: _few_bytes(chance, 30),
}


def changed_part(chance: Random, part: Part) -> Part:
    """A member that lies about one thing."""
    name = chance.choice(sorted(_CHANGES))
    # Names, numbers and bytes: each is of the type of its field.
    return replace(part, **{name: _CHANGES[name](chance)})  # type: ignore[arg-type]


def put_together(chance: Random) -> bytes:
    """An archive whose members lie about their names, sizes, offsets, methods and data."""
    members = list(parts(STAMPED).values())
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(members))
        changed = changed_part(chance, members[at])
        if chance.random() < 0.5:
            members[at] = changed
        else:
            members.insert(at, changed)
    return assembled(members, comment=chance.choice((b"", b"about", b"PK\x05\x06")))


def anything(chance: Random, depth: int = 3) -> object:
    """A value as JSON and TOML have them, of no particular shape."""
    kind = chance.random()
    if depth == 0 or kind < 0.6:
        return copy.deepcopy(chance.choice(_LEAVES))
    if kind < 0.8:
        return [anything(chance, depth - 1) for _ in range(chance.randint(0, 3))]
    keys = [chance.choice(_KEYS) for _ in range(chance.randint(0, 3))]
    return {key: anything(chance, depth - 1) for key in keys}


def misshapen(chance: Random, document: object = DOCUMENT, keys: Sequence[str] = ()) -> Any:
    """A right document in which one value, or a few, are something else, elsewhere, or gone.

    ``keys`` are names that a table may get in place of one that it has, beside odd ones.
    """
    changed = copy.deepcopy(document)
    for _ in range(chance.randint(1, 3)):
        places = list(_places(changed))
        if not places:
            continue
        holder, key = chance.choice(places)
        how = chance.choice(("value", "value", "rename", "drop", "swap", "twice"))
        if how == "value":
            holder[key] = anything(chance)
        elif how == "drop":
            del holder[key]
        elif how == "swap":
            other, second = chance.choice(places)
            holder[key], other[second] = copy.deepcopy((other[second], holder[key]))
        elif isinstance(holder, dict):
            value = holder.pop(key) if how == "rename" else copy.deepcopy(holder[key])
            holder[chance.choice((*_KEYS, "builtin", "x", "v9", *keys))] = value
        else:
            holder.insert(key, copy.deepcopy(holder[key]))
    return changed


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Every table or list of a document with each of its keys or indices."""
    found: list[tuple[Any, Any]] = []
    rest = [document]
    while rest:
        one = rest.pop()
        pairs = list(one.items() if isinstance(one, dict) else enumerate(one))
        found += [(one, key) for key, _ in pairs]
        rest += [value for _, value in pairs if isinstance(value, (dict, list))]
    return found


def refilled(chance: Random) -> bytes:
    """A right archive in which a file of dist-info says something else, listed in RECORD or not."""
    name = chance.choice(("METADATA", "WHEEL", "variant.json", "RECORD"))
    path = f"{INFO}/{name}"
    listed = {key: content for key, content in STAMPED.items() if not key.endswith("/RECORD")}
    made = dict(STAMPED)
    if name == "variant.json" and chance.random() < 0.5:
        made[path] = json.dumps(misshapen(chance)).encode()
    else:
        made[path] = mutated(chance, STAMPED[path])
    if name != "RECORD" and chance.random() < 0.5:
        made = with_record({**listed, path: made[path]})
    return wheels.zipped(made, method=0)


def bad_archive(chance: Random) -> bytes:
    """An archive that is wrong in one of the ways above."""
    how = chance.randrange(4)
    if how == 0:
        return mutated(chance, ARCHIVES[chance.choice(sorted(ARCHIVES))])
    return (spliced, put_together, refilled)[how - 1](chance)
