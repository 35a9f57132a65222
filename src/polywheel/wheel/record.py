"""RECORD: the list of a wheel's files with their hashes and sizes (PEP 376, PEP 427)."""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from polywheel.errors import WheelError

# SHA-256 or better (PEP 427); of what an interpreter has, some need a length, some do not run.
_ALGORITHMS = frozenset(
    {"sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512", "blake2b", "blake2s"}
)


class Row(NamedTuple):
    """One line as it stands in the file, and what it says; hash and size may be empty."""

    raw: str
    path: str
    hash: str
    size: str


def parse_record(content: bytes, *, at: str) -> tuple[Row, ...]:
    """Read RECORD. Raises WheelError where it is not UTF-8, not CSV or names a file twice."""

    def disagrees(what: str) -> WheelError:
        return WheelError(f"broken wheel: {what}", at=at)

    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise disagrees("RECORD is not UTF-8") from None
    lines = text.removesuffix("\n").split("\n")
    rows: list[Row] = []
    if '"' not in text and "\r" not in text and text.count(",") == 2 * len(lines):
        # As every tool writes it: nothing is quoted, and (it is hoped) each line has its two commas.
        with contextlib.suppress(ValueError, TypeError):
            rows = [Row(line, *line.split(",")) for line in lines]
    if not rows:
        rows = [
            _row(raw, number, disagrees) for number, raw in enumerate(lines, start=1) if raw.strip()
        ]
    if len({row.path for row in rows}) != len(rows):
        (path, _), *_ = Counter(row.path for row in rows).most_common(1)
        raise disagrees(f"RECORD lists {path!r} twice")
    return tuple(rows)


def _row(raw: str, number: int, disagrees: Callable[[str], WheelError]) -> Row:
    try:
        (fields,) = csv.reader([raw.rstrip("\r")], strict=True)
    except (csv.Error, ValueError):
        raise disagrees(f"line {number} of RECORD is malformed: {raw!r}") from None
    if len(fields) != 3:
        raise disagrees(f"line {number} of RECORD does not hold three fields: {raw!r}")
    return Row(raw, *fields)


def digest(content: bytes) -> str:
    """``sha256=…`` in the spelling of RECORD: URL-safe base64 without padding."""
    encoded = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return "sha256=" + encoded.rstrip(b"=").decode("ascii")


def agrees(row: Row, content: bytes) -> bool:
    """Whether a row's hash and size, where it gives them, are those of the content."""
    if row.size and row.size != str(len(content)):
        return False
    if not row.hash:
        return True
    name, _, value = row.hash.partition("=")
    if name not in _ALGORITHMS:
        return False
    encoded = base64.urlsafe_b64encode(hashlib.new(name, content).digest())
    return encoded.rstrip(b"=").decode("ascii") == value.rstrip("=")


def updated_record(
    rows: Collection[Row], *, own: str, changed: Mapping[str, bytes], dropped: Collection[str]
) -> bytes:
    """RECORD with new rows for the changed files; the other lines stay letter for letter.

    ``own`` is the path of RECORD itself: files that were not listed come in front of it.
    """
    crlf = any(row.raw.endswith("\r") for row in rows)
    places = {row.path: number for number, row in enumerate(rows)}
    lines = [row.raw.removesuffix("\r") for row in rows] if crlf else [row.raw for row in rows]
    added = [_line(path, content) for path, content in changed.items() if path not in places]
    for path, content in changed.items():
        if path in places:
            lines[places[path]] = _line(path, content)
    place = places.get(own, len(lines))
    for number in sorted((places[path] for path in dropped if path in places), reverse=True):
        del lines[number]
        place -= number < place
    lines[place:place] = added
    newline = "\r\n" if crlf else "\n"
    return (newline.join(lines) + newline).encode("utf-8")


def _line(path: str, content: bytes) -> str:
    quoted = '"' + path.replace('"', '""') + '"' if '"' in path or "," in path else path
    return f"{quoted},{digest(content)},{len(content)}"
