"""The journal of an output directory: one line for every finished job.

A line is written after the wheel has its final name, so a run that is killed loses what was in flight
and nothing else. A last line that is cut short counts as not written.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from polywheel.errors import BuildError, WheelError

NAME = ".polywheel-journal.jsonl"
_SHAPE = 1
_CHUNK = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A finished job."""

    job: str
    key: str
    """Everything that the wheel depends on, as one digest."""

    file: str
    sha256: str
    seconds: float
    """How long its build took."""


class Journal:
    """What is finished in a directory; open for one run at a time."""

    def __init__(self, folder: Path, file: BinaryIO) -> None:
        self._folder = folder
        self._file = file
        self.entries: dict[str, Entry] = {}
        """The newest line of each job."""
        self._read()

    def _read(self) -> None:
        self._file.seek(0)
        good = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            entry = _parsed(line)
            if entry is not None:
                self.entries[entry.job] = entry
            good += len(line)
        self._file.truncate(good)
        self._file.seek(good)

    def finished(self, job: str, key: str) -> Entry | None:
        """The entry of a job that need not be done again: its key holds, its file is unchanged."""
        entry = self.entries.get(job)
        if entry is None or entry.key != key:
            return None
        path = self._folder / entry.file
        return entry if path.is_file() and sha256_of(path) == entry.sha256 else None

    def seconds(self, job: str) -> float | None:
        """How long the build of a job took the last time."""
        entry = self.entries.get(job)
        return entry.seconds if entry is not None else None

    def add(self, entry: Entry) -> None:
        """Write a line, and wait until the disk has it."""
        line = json.dumps({"shape": _SHAPE, **asdict(entry)}, sort_keys=True) + "\n"
        self._file.write(line.encode("utf-8"))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.entries[entry.job] = entry


@contextmanager
def opened_journal(folder: Path) -> Iterator[Journal]:
    """The journal of a directory, which is made; nobody else has it meanwhile.

    Raises BuildError where another run has it, WheelError where the directory can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / NAME
        path.touch()
        file = path.open("r+b")
    except OSError as error:
        raise WheelError(
            f"the output directory can't be written: {error.strerror or error}", at=str(folder)
        ) from None
    with file:
        if not _locked(file):
            raise BuildError(
                "another polywheel build is writing to this directory",
                at=str(folder),
                hint="wait for it, or choose another directory with -o",
            )
        yield Journal(folder, file)


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
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    texts = (entry.job, entry.key, entry.file, entry.sha256)
    plain = all(isinstance(text, str) for text in texts) and isinstance(entry.seconds, (int, float))
    # A name that leads elsewhere is none that a run has written.
    return entry if plain and Path(entry.file).name == entry.file else None


def _locked(file: BinaryIO) -> bool:
    """Take the lock of a file, which goes with this process; False where somebody has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(1 << 30)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
