"""Which files a folder of the cache has: so that one that lost a file, or a part of one, is noticed.

A full disk, a program that cleans up, or a person may have taken something away. Sizes and times of
modification say so at a small fraction of what it costs to read all content.
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
"""By path: bytes, and time of modification in nanoseconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """What a folder has, compared with what was recorded."""

    recorded: _Files
    found: _Files

    @property
    def missing(self) -> list[str]:
        """What was recorded, and is not there, or not unchanged."""
        return [name for name, file in self.recorded.items() if self.found.get(name) != file]

    @property
    def new(self) -> list[str]:
        """What was not recorded, or not as it is now."""
        return [name for name, file in self.found.items() if self.recorded.get(name) != file]


def record_files(folder: Path, *, without: str | None = None) -> None:
    """Note what is in a folder, in that folder: all files, but those whose names end in ``without``.

    Raises OSError.
    """
    files = _files_in(folder)
    if without is not None:
        files = {name: file for name, file in files.items() if not name.endswith(without)}
    _write(folder, files)


def record_more(folder: Path, condition: Condition, names: Iterable[str]) -> None:
    """Count files among what is in a folder from now on. Raises OSError."""
    _write(folder, {**condition.recorded, **{name: condition.found[name] for name in names}})


def is_intact(folder: Path) -> bool:
    """Whether a folder has everything that was recorded of it, unchanged. Raises OSError."""
    condition = look(folder)
    return condition is not None and not condition.missing


def look(folder: Path) -> Condition | None:
    """The condition of a folder; None where nothing was recorded of it. Raises OSError."""
    try:
        document = json.loads((folder / _NAME).read_text(encoding="ascii"))
        recorded = {str(name): (int(size), int(time)) for name, (size, time) in document.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return Condition(recorded=recorded, found=_files_in(folder))


def write_synced(path: Path, text: str) -> None:
    """Write a file, and wait until the disk has it. Raises OSError."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _write(folder: Path, files: _Files) -> None:
    with replacing(folder / _NAME) as part:
        # Names that are no UTF-8 are escaped, and come back as they were.
        write_synced(part, json.dumps(files, separators=(",", ":")))


def _files_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Files and links below a folder, without the note of this module. Raises OSError.

    Others may be at work in it: what disappears meanwhile is not there.
    """
    found = {}
    left = [("", folder)]
    while left:
        prefix, place = left.pop()
        with suppress(FileNotFoundError), os.scandir(place) as entries:
            for entry in entries:
                name = f"{prefix}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    left.append((f"{name}/", Path(entry.path)))
                elif name != _NAME:
                    with suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        found[name] = (status.st_size, status.st_mtime_ns)
    return found
