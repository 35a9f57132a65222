"""The journal of an output directory: one line for every wheel that a run makes there.

A line is written before the wheel gets its final name, and counts while the file of that name has
the content that it names. So a run that is killed at any moment loses what was in flight and nothing
else: neither is a finished job built again, nor is a wheel taken for somebody else's. A last line
that is cut short counts as not written. A wheel that was renamed or changed since does not count
either: it is built again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from polywheel.errors import BuildError, WheelError
from polywheel.system.locks import try_lock

NAME = ".polywheel-journal.jsonl"
_SHAPE = 1
_CHUNK = 1024 * 1024
_MOST = 64 * 1024 * 1024
"""Bytes of a journal: a hundred thousand wheels take less."""
_LONGEST = 1e9
"""Seconds."""
_WHEEL = re.compile(r"[^./\\:\0][^/\\:\0]*\.whl")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A wheel, and the job that made it."""

    job: str
    key: str
    """Everything that the wheel depends on, as one digest."""

    file: str
    sha256: str
    seconds: float
    """How long it took: of a build that made several, its share."""


class Journal:
    """What is finished in a directory; open for one run at a time."""

    def __init__(self, folder: Path, file: BinaryIO) -> None:
        self._folder = folder
        self._file = file
        self._entries: dict[str, Entry] = {}
        self._made: dict[tuple[str, str], str] = {}
        self._end = 0
        self._read()

    def _read(self) -> None:
        self._file.seek(0)
        content = self._file.read(_MOST + 1)
        if len(content) > _MOST:
            raise WheelError(
                f"a journal of more than {_MOST >> 20} MiB is none that a run has written",
                at=str(self._folder / NAME),
                hint="remove it: then every wheel is built again",
            )
        self._end = content.rfind(b"\n") + 1
        for line in content[: self._end].split(b"\n"):
            if (entry := _parsed(line)) is not None:
                self._note(entry)
        if self._end < len(content):
            self._file.truncate(self._end)

    def _note(self, entry: Entry) -> None:
        self._entries[entry.job] = entry
        self._made[entry.file, entry.sha256] = entry.job

    def entry(self, job: str) -> Entry | None:
        """The newest line of a job."""
        return self._entries.get(job)

    def finished(self, job: str, key: str) -> Entry | None:
        """The entry of a job that need not be done again: its key holds, its file is unchanged."""
        entry = self._entries.get(job)
        if entry is None or entry.key != key:
            return None
        path = self._folder / entry.file
        return entry if path.is_file() and sha256_of(path) == entry.sha256 else None

    def maker(self, file: str, sha256: str) -> str | None:
        """The job that made a file with this content, in whichever run; None for a stranger's."""
        return self._made.get((file, sha256))

    def seconds(self, job: str) -> float | None:
        """How long a job took the last time."""
        entry = self._entries.get(job)
        return entry.seconds if entry is not None else None

    def add(self, entry: Entry) -> None:
        """Write a line, and wait until the disk has it. Raises WheelError; then nothing is written."""
        line = json.dumps({"shape": _SHAPE, **asdict(entry)}, sort_keys=True) + "\n"
        rest = line.encode("utf-8")
        end = self._end + len(rest)
        try:
            self._file.seek(self._end)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._end)
            raise WheelError(
                f"the journal can't be written: {error.strerror or error}",
                at=str(self._folder / NAME),
            ) from None
        self._end = end
        self._note(entry)


@contextmanager
def opened_journal(folder: Path) -> Iterator[Journal]:
    """The journal of a directory, which is made; nobody else has it meanwhile.

    Raises BuildError where another run has it, WheelError where the directory can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / NAME
        path.touch()
        file = path.open("r+b", buffering=0)
    except OSError as error:
        raise _unwritable(folder, error) from None
    with file:
        try:
            if not try_lock(file):
                raise BuildError(
                    "another polywheel build is writing to this directory",
                    at=str(folder),
                    hint="wait for it, or choose another directory with -o",
                )
            journal = Journal(folder, file)
        except OSError as error:
            raise _unwritable(folder, error) from None
        yield journal


def _unwritable(folder: Path, error: OSError) -> WheelError:
    return WheelError(
        f"the output directory can't be written: {error.strerror or error}", at=str(folder)
    )


def sha256_of(path: Path) -> str:
    """Hexadecimal, of a file of any size."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def _parsed(line: bytes) -> Entry | None:
    """The entry of a line; None for one of another version, or of somebody else."""
    try:
        said = json.loads(line)
        if said.pop("shape") != _SHAPE:
            return None
        entry = Entry(**said)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    texts = (entry.job, entry.key, entry.file, entry.sha256)
    # A name that leads elsewhere is none that a run has written.
    fits = all(isinstance(text, str) for text in texts) and _WHEEL.fullmatch(entry.file) is not None
    timed = isinstance(entry.seconds, (int, float)) and 0 <= entry.seconds < _LONGEST
    return entry if fits and timed else None
