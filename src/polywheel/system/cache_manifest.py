"""Record the files of a cache folder, to detect files that are lost or truncated later.

A full disk, a cleanup program, or a person may have removed something. Comparing sizes and modification
times detects this at a small fraction of the cost of reading all content.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from polywheel.system.temporary import replacing

_NAME = "polywheel-files.json"

_Files = Mapping[str, tuple[int, int]]
"""By path: size in bytes, and modification time in nanoseconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderState:
    """The files that a folder has, and the files that were recorded."""

    recorded: _Files
    current: _Files

    @property
    def missing(self) -> list[str]:
        """Files that were recorded, and are missing or changed."""
        return [name for name, file in self.recorded.items() if self.current.get(name) != file]

    @property
    def new(self) -> list[str]:
        """Files that were not recorded, or changed since."""
        return [name for name, file in self.current.items() if self.recorded.get(name) != file]


def record_files(folder: Path, *, without: str | tuple[str, ...] = ()) -> None:
    """Record all files of a folder, except files whose names end with ``without``, in that folder.

    Raises OSError.
    """
    files = _files_in(folder).items()
    write_json(folder / _NAME, {name: file for name, file in files if not name.endswith(without)})


def record_new_files(folder: Path, state: FolderState, names: Iterable[str]) -> None:
    """Add files to the recorded files of a folder. Raises OSError."""
    write_json(folder / _NAME, {**state.recorded, **{name: state.current[name] for name in names}})


def is_intact(folder: Path) -> bool:
    """Whether a folder has all its recorded files, unchanged. Raises OSError."""
    state = read_folder_state(folder)
    return state is not None and not state.missing


def read_folder_state(folder: Path) -> FolderState | None:
    """Return the state of a folder; None if nothing was recorded for it. Raises OSError."""
    recorded = _read_record(folder)
    return None if recorded is None else FolderState(recorded=recorded, current=_files_in(folder))


def _read_record(folder: Path) -> _Files | None:
    try:
        document = json.loads((folder / _NAME).read_text(encoding="ascii"))
        return {str(name): (int(size), int(time)) for name, (size, time) in document.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def folder_size(folder: Path) -> int:
    """Return the bytes of the files in a folder: those that were recorded, otherwise those that it has.

    Reading a record is several times faster. Raises OSError.
    """
    recorded = _read_record(folder)
    files = _files_in(folder) if recorded is None else recorded
    return sum(size for size, _ in files.values())


def write_json(path: Path, document: object, *, indent: int | None = None) -> None:
    """Write a JSON file at once, and wait until the disk has it. Raises OSError.

    Names of files that are not UTF-8 are escaped, and read back unchanged.
    """
    separators = (",", ":") if indent is None else None
    with replacing(path) as part, part.open("w", encoding="ascii", newline="\n") as file:
        file.write(json.dumps(document, indent=indent, separators=separators))
        file.flush()
        os.fsync(file.fileno())


def _files_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the files and links below a folder, without the record of this module. Raises OSError.

    Other processes may be using the folder: files that disappear meanwhile are left out.
    """
    files = {}
    waiting = [("", folder)]
    while waiting:
        prefix, current = waiting.pop()
        with suppress(FileNotFoundError), os.scandir(current) as entries:
            for entry in entries:
                name = f"{prefix}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((f"{name}/", Path(entry.path)))
                elif name != _NAME:
                    with suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        files[name] = (status.st_size, status.st_mtime_ns)
    return files
