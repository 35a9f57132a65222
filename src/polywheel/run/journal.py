"""The journal of an output directory: one line for every wheel that a run makes there.

A line is written before the wheel gets its final name. It is valid while the file of that name has
the content that the line names. So a killed run loses only unfinished builds: no finished job is
built again, and no finished wheel is taken for a file of another origin. A truncated last line is
ignored. A wheel that was renamed or changed is built again. Damaged lines are skipped, and
:attr:`Journal.notes` names them.

If most lines are no longer needed when the journal is opened, a shorter file replaces it. So its size is
bounded by the number of jobs and wheels. Windows can't replace an open file; there the journal only grows.
"""

from __future__ import annotations

import io
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from polywheel.errors import BuildError, PolywheelError, WheelError
from polywheel.model.wheelname import WheelName
from polywheel.system.files import read_regular, sha256_of, unique_keys
from polywheel.system.locks import try_lock
from polywheel.system.source_files import JOURNAL
from polywheel.system.temporary import replacing

FAILED_WHEELS = "failed"
"""The folder of wheels whose test failed."""
_SHAPE = 1
_MAX_SIZE = 64 * 1024 * 1024
"""Bytes at the end of a journal that are read. A hundred thousand wheels take less."""
_MAX_LINE = 64 * 1024
"""Bytes."""
_MAX_NAME = 255
"""Bytes of a file name, in most file systems."""
_MAX_SECONDS = 1e9
_FEW_LINES = 20
"""So many lines that are no longer needed may stay."""
_LINE = re.compile(rb"[^\n]+")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A wheel, and the job that made it."""

    job: str
    key: str
    """The digest of everything that the wheel depends on."""

    file: str
    sha256: str
    seconds: float
    """How long the wheel took. If its build made several wheels: its share."""

    config: str = ""
    """The name of the ``--config`` file of the run; empty without one."""

    setup: str = ""
    """The digest of the build setup of its variant; empty if it is not known."""

    test: str = ""
    """``passed``, ``failed``, or why the test was skipped; empty if the wheel was not tested."""

    test_key: str = ""
    """The digest of the settings of the test."""

    parts: Mapping[str, str] = field(default_factory=dict)
    """The digests of the parts of the key, by name (:class:`polywheel.run.build_key.Key`); empty in lines of
    earlier versions."""

    contained: Mapping[str, str] = field(default_factory=dict)
    """The digests of files of the source that the wheel contains and the key does not, such as pyproject.toml with
    the tables of polywheel."""


class Journal:
    """The finished wheels of a directory. One run at a time can open it."""

    def __init__(self, folder: Path, file: BinaryIO) -> None:
        self._folder = folder
        self._file = file
        self._entries: dict[str, Entry] = {}
        self._by_content: dict[tuple[str, str], Entry] = {}
        self._lines: list[tuple[bytes, Entry | None]] = []
        """The lines that were read, until :meth:`shorten`; lines of another version have no entry."""
        self._end = 0
        self.notes: tuple[str, ...] = ()
        """Messages about skipped lines."""
        self._read()

    def _read(self) -> None:
        size = self._file.seek(0, os.SEEK_END)
        start = max(0, size - _MAX_SIZE)
        self._file.seek(start)
        content = self._file.read(_MAX_SIZE)
        # The front of a larger file is skipped, with the line at the border.
        first = content.find(b"\n") + 1 if start else 0
        end = content.rfind(b"\n") + 1
        damaged: list[int] = []
        number, counted = 1, first
        for match in _LINE.finditer(content, first, end):
            number += content.count(b"\n", counted, match.start())
            counted = match.start()
            try:
                entry = _parse_line(match.group())
            except (ValueError, TypeError, KeyError, RecursionError, PolywheelError):
                damaged.append(number)
            else:
                self._lines.append((match.group(), entry))
                if entry is not None:
                    self._index(entry)
        self._end = start + end
        if self._end < size:
            self._file.truncate(self._end)
        self.notes = tuple(_notes(self._folder / JOURNAL, damaged, unread=start))

    def _index(self, entry: Entry) -> None:
        self._entries[entry.job] = entry
        self._by_content[entry.file, entry.sha256] = entry

    def entry(self, job: str) -> Entry | None:
        """Return the newest line of a job."""
        return self._entries.get(job)

    def finished(self, job: str, key: str) -> Entry | None:
        """Return the entry of a job if its key is ``key`` and its file is unchanged, else None."""
        entry = self._entries.get(job)
        if entry is None or entry.key != key:
            return None
        return entry if self._has_content(self._folder / entry.file, entry.sha256) else None

    def failed(self, job: str, key: str) -> Path | None:
        """Return the wheel of a job if its key is ``key`` and its test failed, else None."""
        entry = self._entries.get(job)
        if entry is None or entry.key != key:
            return None
        path = self._folder / FAILED_WHEELS / entry.file
        return path if self._has_content(path, entry.sha256) else None

    @staticmethod
    def _has_content(path: Path, sha256: str) -> bool:
        try:
            return sha256_of(path) == sha256
        except OSError:  # no file, or a name that this file system does not support
            return False

    def origin(self, file: str, sha256: str) -> Entry | None:
        """Return the line of a file with this content, of any run; None if no run made it."""
        return self._by_content.get((file, sha256))

    def seconds(self, job: str) -> float | None:
        """Return how long a job took the last time; None if that is not known."""
        entry = self._entries.get(job)
        return entry.seconds if entry is not None else None

    def shorten(self) -> bool:
        """Replace the file by one without the lines that no later run needs, if most lines are so.

        The newest line of each job is needed, and the line of each wheel in the directory. Returns whether
        the file was replaced; this journal still has the old one. Raises OSError, and then the file is
        unchanged.
        """
        lines, self._lines = self._lines, []
        path = self._folder / JOURNAL
        existing = set(os.listdir(self._folder))  # noqa: PTH208  # names only
        files = {file for file, _ in self._by_content} & existing
        most = 2 * (len(self._entries) + len(files)) + _FEW_LINES
        if sum(entry is not None for _, entry in lines) <= most or os.name == "nt":
            return False
        needed = {id(entry) for entry in (*self._entries.values(), *self._entries_of(files))}
        with replacing(path.resolve()) as part:
            with part.open("wb") as file:
                for line, entry in lines:
                    if entry is None or id(entry) in needed:
                        file.write(line + b"\n")
                file.flush()
                os.fsync(file.fileno())
            part.chmod(stat.S_IMODE(path.stat().st_mode))
        return True

    def _entries_of(self, files: Iterable[str]) -> Iterator[Entry]:
        """Yield the lines of the wheels that have their content."""
        for file in files:
            with suppress(OSError):
                if entry := self.origin(file, sha256_of(self._folder / file)):
                    yield entry

    def add(self, entry: Entry) -> None:
        """Append a line and sync it to disk. Raises WheelError, and then nothing is written."""
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
        self._index(entry)


def read_journal(folder: Path) -> Journal:
    """Read the journal of a directory, without a lock. Nothing can be added. Raises WheelError."""
    try:
        content = read_regular(folder / JOURNAL, limit=_MAX_SIZE)
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise WheelError(
            f"the journal can't be read: {error.strerror or error}", at=str(folder / JOURNAL)
        ) from None
    return Journal(folder, io.BytesIO(content))


@contextmanager
def open_journal(folder: Path) -> Iterator[Journal]:
    """Create a directory, lock its journal, and yield it.

    Raises BuildError if another run has it, and WheelError if the directory can't be written.
    """
    with ExitStack() as files:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            journal = Journal(folder, _open_locked(folder, files))
            shortened = False
            with suppress(OSError):  # for example, the disk is full: the old file is as good
                shortened = journal.shorten()
            if shortened:  # lines for the replaced file would be lost
                notes = journal.notes
                journal = Journal(folder, _open_locked(folder, files))
                journal.notes = notes
        except OSError as error:
            raise _write_error(folder, error) from None
        yield journal


def _open_locked(folder: Path, files: ExitStack) -> BinaryIO:
    """Open and lock the journal of a directory. Raises BuildError if another run has it, and OSError."""
    path = folder / JOURNAL
    while True:
        path.touch()
        file = files.enter_context(path.open("r+b", buffering=0))
        if not try_lock(file):
            raise BuildError(
                "another polywheel build is writing to this directory",
                at=str(folder),
                hint="wait for it, or choose another directory with -o",
            )
        # Another run may have replaced the file before it was locked.
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file


def _write_error(folder: Path, error: OSError) -> WheelError:
    return WheelError(
        f"the output directory can't be written: {error.strerror or error}", at=str(folder)
    )


def _parse_line(line: bytes) -> Entry | None:
    """Return the entry of a line; None for a line of another version.

    Raises ValueError, TypeError, KeyError, RecursionError, or PolywheelError for a damaged line.
    """
    if len(line) > _MAX_LINE:
        raise ValueError("too long")
    document = json.loads(line, object_pairs_hook=unique_keys)
    if not isinstance(document, dict) or type(shape := document.pop("shape")) is not int:
        raise TypeError("not an entry of a journal")
    if shape != _SHAPE:
        return None
    entry = Entry(**document)
    for text in (
        entry.job,
        entry.key,
        entry.file,
        entry.sha256,
        entry.config,
        entry.setup,
        entry.test,
        entry.test_key,
    ):
        if not isinstance(text, str) or not text.isprintable():
            raise TypeError("not a printable string")
    WheelName.parse(entry.file)  # rejects a name with a path
    if len(entry.file.encode()) > _MAX_NAME:
        raise ValueError("the name is too long")
    for table in (entry.parts, entry.contained):
        if not isinstance(table, dict) or not all(map(_DIGEST.fullmatch, table.values())):
            raise TypeError("not a table of digests")
    if type(entry.seconds) not in {int, float} or not 0 <= entry.seconds < _MAX_SECONDS:
        raise ValueError("not a duration")
    return entry


def _notes(path: Path, damaged: Sequence[int], *, unread: int) -> Iterator[str]:
    """Yield messages about skipped lines; ``unread`` is the number of bytes skipped in front."""
    if unread:
        yield f"{path} is too large: only its last {_MAX_SIZE >> 20} MiB are read"
    if damaged:
        where = f"line {damaged[0]}"
        if unread:
            where = f"line {damaged[0]} of that part"
        if len(damaged) == 1:
            yield f"{path}: {where} is damaged and was skipped; its wheel may be built again"
        else:
            yield (
                f"{path}: {len(damaged)} lines are damaged and were skipped, the first is {where}; "
                "their wheels may be built again"
            )
