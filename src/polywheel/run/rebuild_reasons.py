"""Say why a wheel is built again: compare its key with that of the wheel before.

The journal has the digests of the parts of a key. What belongs to a part is in the cache, so that a folder of wheels
has no secrets and stays small. Without it, a reason names only the part.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from polywheel.run.build_key import ENVIRONMENT, NOT_KNOWN, Key, Part
from polywheel.run.journal import Entry
from polywheel.system.cache import cache_directory
from polywheel.system.files import MAX_ANSWER, read_regular
from polywheel.system.temporary import replacing

ORIGIN = "origin"
_FOLDER = "parts"
_MOST_SHOWN = 3
"""Differences of one part."""
_MOST_CHARACTERS = 60
"""Of a value."""
_DIGESTS = ("profile", "rules", "metadata", "variant.json", "code", "audit")
"""Values that are digests, which are not shown."""


def rebuild_reasons(entry: Entry | None, key: Key) -> tuple[str, ...]:
    """Return why a wheel has to be built or stamped again, given the newest line of its job in the journal.

    Empty if nothing has changed that it depends on.
    """
    if entry is None:
        return ("it was not built in this folder before",)
    if not entry.parts:
        return ("an earlier version of polywheel built it",)
    reasons: list[str] = []
    if key.parts["source"].digest != entry.parts.get("source"):
        reasons.extend(_source_reasons(entry, key))
    for name in dict.fromkeys((*key.parts, *entry.parts)):
        part, before = key.parts.get(name), entry.parts.get(name)
        # The time is that of the newest file.
        if (
            part is None
            or part.digest == before
            or name == "source"
            or (name == "epoch" and reasons)
        ):
            continue
        reasons.extend(_differences(name, _read(before) if before else None, part.values))
    if ENVIRONMENT not in key.parts and not reasons:
        reasons.append("environment: it has to be created")
    return tuple(reasons)


def _source_reasons(entry: Entry, key: Key) -> Iterator[str]:
    """Yield the files that have changed: those that the user edits, or those of the sdist."""
    before = entry.parts.get(ORIGIN)
    if key.origin is not None and before is not None and key.origin.digest != before:
        yield from _differences("source", _read(before), key.origin.values)
        return
    if NOT_KNOWN in key.parts["source"].values:
        epoch = key.parts.get("epoch")
        if epoch is None or epoch.digest == entry.parts.get("epoch"):
            yield "source: its sdist has to be made again"
        return
    source = entry.parts.get("source")
    yield from _differences("source", _read(source) if source else None, key.parts["source"].values)


def parts_for_journal(key: Key) -> dict[str, str]:
    """Return the digests of the parts of a key, for a line of the journal. Their content goes to the cache."""
    _remember(key)
    digests = dict(key.digests)
    return digests if key.origin is None else {**digests, ORIGIN: key.origin.digest}


def _remember(key: Key) -> None:
    """Write what belongs to the parts of a key to the cache, unless it is there."""
    for part in filter(None, (*key.parts.values(), key.origin)):
        path = _path(part.digest)
        # Without it, a later reason names only the part.
        with suppress(OSError):
            if path.exists():
                os.utime(path)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as new:
                new.touch(mode=0o600)
                new.write_text(json.dumps(dict(part.values)), encoding="utf-8")


def _path(digest: str) -> Path:
    return cache_directory() / _FOLDER / f"{digest[:32]}.json"


def _read(digest: str) -> Mapping[str, str] | None:
    """What belongs to the part of this digest; None if it is not known."""
    try:
        document = json.loads(read_regular(_path(digest), limit=MAX_ANSWER))
        values = {str(name): str(text) for name, text in document.items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return values if Part(values).digest == digest else None


def _differences(
    name: str, before: Mapping[str, str] | None, values: Mapping[str, str]
) -> Iterator[str]:
    """Yield the differences of a part, of which the first ones are shown."""
    if before is None:
        yield f"{name}: changed"
        return
    differing = sorted(item for item in {*before, *values} if before.get(item) != values.get(item))
    describe = _DESCRIPTIONS.get(name, _describe_value)
    texts = [describe(item, before.get(item), values.get(item)) for item in differing]
    title = "" if name == "variables" else f"{name}: "
    yield from (f"{title}{text}" for text in texts[:_MOST_SHOWN])
    if len(texts) > _MOST_SHOWN:
        yield f"{title}{len(texts) - _MOST_SHOWN} more"


def _describe_value(item: str, before: str | None, value: str | None) -> str:
    if before is None or value is None:
        return f"{item} {'added' if before is None else 'removed'}"
    if item in _DIGESTS:
        return f"{item} changed"
    return f"{item}: {_shorten(before)} → {_shorten(value)}"


def _describe_file(item: str, before: str | None, value: str | None) -> str:
    if before is None or value is None:
        return f"{item} {'added' if before is None else 'removed'}"
    return f"{item} changed"


def _describe_distribution(item: str, before: str | None, value: str | None) -> str:
    if before is None or value is None:
        return f"{item} {'added' if before is None else 'removed'}"
    old, new = before.partition(" ")[0], value.partition(" ")[0]
    return f"{item} {old} → {new}" if old != new else f"{item} {new} has other files"


def _describe_variable(item: str, before: str | None, value: str | None) -> str:
    return f"variable {_describe_file(item, before, value)}"


def _describe_polywheel(item: str, before: str | None, value: str | None) -> str:
    return "its code changed" if item == "code" else f"{before} → {value}"


_DESCRIPTIONS: Mapping[str, Callable[[str, str | None, str | None], str]] = {
    "source": _describe_file,
    "polywheel": _describe_polywheel,
    ENVIRONMENT: _describe_distribution,
    "variables": _describe_variable,
}


def _shorten(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"
