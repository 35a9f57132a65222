"""The journal of an output directory: one line for every wheel that a run makes there.

A line is written before the wheel gets its final name, and counts while the file of that name has
the content that it names. So a run that is killed at any moment loses what was in flight and nothing
else: neither is a finished job built again, nor is a wheel taken for somebody else's. A last line
that is cut short counts as not written. A wheel that was renamed or changed since does not count
either: it is built again. Damaged lines are skipped, and :attr:`Journal.notes` names them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from polywheel.errors import BuildError, PolywheelError, WheelError
from polywheel.model.wheelname import WheelName
from polywheel.system.files import sha256_of, unique_keys
from polywheel.system.locks import try_lock
from polywheel.system.source_files import JOURNAL

_SHAPE = 1
_CHUNK = 1024 * 1024
_MOST = 64 * 1024 * 1024
"""Bytes of a journal that are read, from its end: a hundred thousand wheels take less."""
_LONGEST_LINE = 64 * 1024
_LONGEST_NAME = 255
"""Bytes of a file name, in most file systems."""
_LONGEST = 1e9
"""Seconds."""
_LINE = re.compile(rb"[^\n]+")


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

    config: str = ""
    """The file whose tables the run read instead of the project's; empty without one."""

    setup: str = ""
    """The digest of what its variant asks of the build; empty where that is not known."""


class Journal:
    """What is finished in a directory; open for one run at a time."""

    def __init__(self, folder: Path, file: BinaryIO) -> None:
        self._folder = folder
        self._file = file
        self._entries: dict[str, Entry] = {}
        self._made: dict[tuple[str, str], Entry] = {}
        self._end = 0
        self.notes: tuple[str, ...] = ()
        """What was skipped, for people."""
        self._read()

    def _read(self) -> None:
        size = self._file.seek(0, os.SEEK_END)
        start = max(0, size - _MOST)
        self._file.seek(start)
        content = self._file.read(_MOST)
        # The front of a file of such a size is left alone, with the line that lies across.
        first = content.find(b"\n") + 1 if start else 0
        end = content.rfind(b"\n") + 1
        damaged: list[int] = []
        number, counted = 1, first
        for found in _LINE.finditer(content, first, end):
            number += content.count(b"\n", counted, found.start())
            counted = found.start()
            try:
                entry = _parsed(found.group())
            except (ValueError, TypeError, KeyError, RecursionError, PolywheelError):
                damaged.append(number)
            else:
                if entry is not None:
                    self._note(entry)
        self._end = start + end
        if self._end < size:
            self._file.truncate(self._end)
        self.notes = tuple(_notes(self._folder / JOURNAL, damaged, left_out=start))

    def _note(self, entry: Entry) -> None:
        self._entries[entry.job] = entry
        self._made[entry.file, entry.sha256] = entry

    def entry(self, job: str) -> Entry | None:
        """The newest line of a job."""
        return self._entries.get(job)

    def finished(self, job: str, key: str) -> Entry | None:
        """The entry of a job that need not be done again: its key holds, its file is unchanged."""
        entry = self._entries.get(job)
        if entry is None or entry.key != key:
            return None
        try:
            there = sha256_of(self._folder / entry.file)
        except OSError:  # no file, or no name for one in this file system
            return None
        return entry if there == entry.sha256 else None

    def maker(self, file: str, sha256: str) -> str | None:
        """The job that made a file with this content, in whichever run; None for a stranger's."""
        entry = self.origin(file, sha256)
        return entry.job if entry is not None else None

    def origin(self, file: str, sha256: str) -> Entry | None:
        """The line of a file with this content, of whichever run; None for a stranger's."""
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
                at=str(self._folder / JOURNAL),
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
        path = folder / JOURNAL
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


def _parsed(line: bytes) -> Entry | None:
    """The entry of a line; None for one of another version.

    Raises ValueError, TypeError, KeyError, RecursionError, and PolywheelError for one that no run
    has written.
    """
    if len(line) > _LONGEST_LINE:
        raise ValueError("too long")
    document = json.loads(line, object_pairs_hook=unique_keys)
    if not isinstance(document, dict) or type(shape := document.pop("shape")) is not int:
        raise TypeError("no object of a journal")
    if shape != _SHAPE:
        return None
    entry = Entry(**document)
    for text in (entry.job, entry.key, entry.file, entry.sha256, entry.config, entry.setup):
        if not isinstance(text, str) or not text.isprintable():
            raise TypeError("no text")
    WheelName.parse(entry.file)  # a name that leads to another folder is none of a wheel
    if len(entry.file.encode()) > _LONGEST_NAME:
        raise ValueError("the name is too long")
    if type(entry.seconds) not in {int, float} or not 0 <= entry.seconds < _LONGEST:
        raise ValueError("no time")
    return entry


def _notes(path: Path, damaged: Sequence[int], *, left_out: int) -> Iterator[str]:
    """What is said of lines that were skipped; ``left_out``: bytes in front that were not read."""
    if left_out:
        yield f"{path} is too large: only its last {_MOST >> 20} MiB are read"
    if damaged:
        where = f"line {damaged[0]}"
        if left_out:
            where = f"line {damaged[0]} of that part"
        if len(damaged) == 1:
            yield f"{path}: {where} is damaged and was skipped; its wheel may be built again"
        else:
            yield (
                f"{path}: {len(damaged)} lines are damaged and were skipped, the first is {where}; "
                "their wheels may be built again"
            )
