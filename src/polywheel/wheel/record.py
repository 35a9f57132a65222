"""RECORD: the list of a wheel's files with their hashes and sizes (PEP 376, PEP 427)."""

from __future__ import annotations

import base64
import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from polywheel.errors import WheelError

# SHA-256 or better (PEP 427). Other algorithms of hashlib need a length, or are not always available.
_ALGORITHMS = frozenset(
    {"sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512", "blake2b", "blake2s"}
)


class Row(NamedTuple):
    """One line of the file, unchanged, and its fields. Hash and size may be empty."""

    raw: str
    path: str
    hash: str
    size: str


class Record:
    """RECORD as columns. A wheel may have many thousand files, and only a few rows are needed."""

    def __init__(
        self, lines: list[str], paths: list[str], hashes: list[str], sizes: list[str]
    ) -> None:
        self.lines = lines
        self.paths = paths
        self.hashes = hashes
        self.sizes = sizes

    def __iter__(self) -> Iterator[Row]:
        columns = (self.lines, self.paths, self.hashes, self.sizes)
        return map(Row, *columns)

    def row(self, path: str) -> Row | None:
        """Return the row of a path; None if it is not listed."""
        try:
            number = self.paths.index(path)
        except ValueError:
            return None
        return Row(self.lines[number], path, self.hashes[number], self.sizes[number])


def parse_record(content: bytes, *, at: str) -> Record:
    """Parse RECORD. Raises WheelError if it is not UTF-8, not CSV, or lists a file twice."""

    def broken(what: str) -> WheelError:
        return WheelError(f"broken wheel: {what}", at=at)

    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise broken("RECORD is not UTF-8") from None
    lines = text.removesuffix("\n").split("\n")
    # In the RECORD of most tools nothing is quoted, and each line has two commas. So all lines can be split
    # at once: a fourth field is inserted between the lines, and must be every fourth field afterwards.
    fields = ",\n,".join(lines).split(",") if '"' not in text and "\r" not in text else []
    if len(fields) == 4 * len(lines) - 1 and set(fields[3::4]) <= {"\n"}:
        record = Record(lines, fields[0::4], fields[1::4], fields[2::4])
    else:
        rows = [
            _row(raw, number, broken) for number, raw in enumerate(lines, start=1) if raw.strip()
        ]
        columns = map(list, zip(*rows, strict=True)) if rows else ([], [], [], [])
        record = Record(*columns)
    if len(set(record.paths)) != len(record.paths):
        ((path, _),) = Counter(record.paths).most_common(1)
        raise broken(f"RECORD lists {path!r} twice")
    return record


def _row(raw: str, number: int, broken: Callable[[str], WheelError]) -> Row:
    try:
        (fields,) = csv.reader([raw.rstrip("\r")], strict=True)
    except (csv.Error, ValueError):
        raise broken(f"line {number} of RECORD is malformed: {raw!r}") from None
    if len(fields) != 3:
        raise broken(f"line {number} of RECORD does not have three fields: {raw!r}")
    return Row(raw, *fields)


def digest(content: bytes) -> str:
    """Return ``sha256=…`` in the format of RECORD: URL-safe base64 without padding."""
    return "sha256=" + _base64(hashlib.sha256(content).digest())


def _base64(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def row_matches(row: Row, content: bytes) -> bool:
    """Whether the hash and size of a row, if it has them, match the content."""
    if row.size and row.size != str(len(content)):
        return False
    return not row.hash or hash_disagreement(row.path, row.hash, [content]) is None


def hash_disagreement(path: str, listed: str, chunks: Iterable[bytes]) -> str | None:
    """Compare a file with its hash in RECORD. Return a message if they disagree.

    ``chunks`` is the content of the file. All of it is read, even if the hash is not valid.
    """
    name, _, value = listed.partition("=")
    hasher = hashlib.new(name, usedforsecurity=False) if name in _ALGORITHMS else None
    for chunk in chunks:
        if hasher is not None:
            hasher.update(chunk)
    if hasher is None:
        return f"RECORD gives {path!r} the hash {listed!r}, which is not SHA-256 or better"
    actual = _base64(hasher.digest())
    if actual == value.rstrip("="):
        return None
    return f"RECORD gives {path!r} the hash {listed!r}, its content has '{name}={actual}'"


def updated_record(
    record: Record, *, own: str, changed: Mapping[str, bytes], dropped: Collection[str]
) -> bytes:
    """Return RECORD with new rows for the changed files. The other lines are unchanged.

    ``own`` is the path of RECORD itself. Rows of new files are inserted before it.
    """
    crlf = any(line.endswith("\r") for line in record.lines)
    lines = [line.removesuffix("\r") for line in record.lines] if crlf else list(record.lines)
    paths = list(record.paths)
    for path in dropped:
        if path in paths:
            number = paths.index(path)
            del paths[number], lines[number]
    added = []
    for path, content in changed.items():
        if path in paths:
            lines[paths.index(path)] = _line(path, content)
        else:
            added.append(_line(path, content))
    number = paths.index(own) if own in paths else len(lines)
    lines[number:number] = added
    newline = "\r\n" if crlf else "\n"
    return (newline.join(lines) + newline).encode("utf-8")


def is_canonical(record: Record, content: bytes, path: str, file: bytes) -> bool:
    """Whether RECORD would be the same if polywheel wrote the row of ``path`` again.

    ``content`` is the content of RECORD, ``file`` the content of ``path``.
    """
    row = record.row(path)
    newlines = content.count(b"\n")
    return (
        row is not None
        and row.raw.removesuffix("\r") == _line(path, file)
        and content.endswith(b"\n")
        and newlines == len(record.lines)
        and content.count(b"\r") in (0, newlines)
        and content.count(b"\r\n") in (0, newlines)
    )


def _line(path: str, content: bytes) -> str:
    quoted = '"' + path.replace('"', '""') + '"' if '"' in path or "," in path else path
    return f"{quoted},{digest(content)},{len(content)}"
