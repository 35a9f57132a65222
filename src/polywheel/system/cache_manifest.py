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
    found: _Files

    @property
    def missing(self) -> list[str]:
        """Files that were recorded, and are missing or changed."""
        return [name for name, file in self.recorded.items() if self.found.get(name) != file]

    @property
    def new(self) -> list[str]:
        """Files that were not recorded, or changed since."""
        return [name for name, file in self.found.items() if self.recorded.get(name) != file]


def record_files(folder: Path, *, without: str | None = None) -> None:
    """Record all files of a folder, except files whose names end with ``without``, in that folder.

    Raises OSError.
    """
    files = _files_in(folder)
    if without is not None:
        files = {name: file for name, file in files.items() if not name.endswith(without)}
    _write(folder, files)


def record_new_files(folder: Path, condition: FolderState, names: Iterable[str]) -> None:
    """Add files to the recorded files of a folder. Raises OSError."""
    _write(folder, {**condition.recorded, **{name: condition.found[name] for name in names}})


def is_intact(folder: Path) -> bool:
    """Whether a folder has all its recorded files, unchanged. Raises OSError."""
    state = read_folder_state(folder)
    return state is not None and not state.missing


def read_folder_state(folder: Path) -> FolderState | None:
    """Return the state of a folder; None if nothing was recorded for it. Raises OSError."""
    try:
        document = json.loads((folder / _NAME).read_text(encoding="ascii"))
        recorded = {str(name): (int(size), int(time)) for name, (size, time) in document.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return FolderState(recorded=recorded, found=_files_in(folder))


def write_synced(path: Path, text: str) -> None:
    """Write a file, and wait until the disk has it. Raises OSError."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _write(folder: Path, files: _Files) -> None:
    with replacing(folder / _NAME) as part:
        # Names that are not UTF-8 are escaped, and read back unchanged.
        write_synced(part, json.dumps(files, separators=(",", ":")))


def _files_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the files and links below a folder, without the record of this module. Raises OSError.

    Other processes may be using the folder: files that disappear meanwhile are left out.
    """
    found = {}
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
                        found[name] = (status.st_size, status.st_mtime_ns)
    return found
