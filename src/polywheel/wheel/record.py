"""RECORD: the list of a wheel's files with their hashes and sizes (PEP 376, PEP 427)."""

from __future__ import annotations

import base64
import csv
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from polywheel.errors import WheelError

# SHA-256 or better (PEP 427); of what an interpreter has, some need a length, some do not run.
_ALGORITHMS = frozenset(
    {"sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512", "blake2b", "blake2s"}
)


@dataclass(frozen=True, slots=True)
class Row:
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
        lines = content.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise disagrees("RECORD is not UTF-8") from None
    rows: dict[str, Row] = {}
    for number, raw in enumerate(lines, start=1):
        if not raw.strip():
            continue
        try:
            (fields,) = csv.reader([raw.rstrip("\r")], strict=True)
        except (csv.Error, ValueError):
            raise disagrees(f"line {number} of RECORD is malformed: {raw!r}") from None
        if len(fields) != 3:
            raise disagrees(f"line {number} of RECORD does not hold three fields: {raw!r}")
        row = Row(raw, *fields)
        if row.path in rows:
            raise disagrees(f"RECORD lists {row.path!r} twice")
        rows[row.path] = row
    return tuple(rows.values())


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
    newline = "\r\n" if any(row.raw.endswith("\r") for row in rows) else "\n"
    listed = {row.path for row in rows}
    added = [_line(path, changed[path]) for path in changed if path not in listed]
    lines = []
    for row in rows:
        if row.path == own:
            lines += added
            added = []
        if row.path in changed:
            lines.append(_line(row.path, changed[row.path]))
        elif row.path not in dropped:
            lines.append(row.raw.rstrip("\r"))
    return "".join(line + newline for line in lines + added).encode("utf-8")


def _line(path: str, content: bytes) -> str:
    quoted = '"' + path.replace('"', '""') + '"' if '"' in path or "," in path else path
    return f"{quoted},{digest(content)},{len(content)}"
