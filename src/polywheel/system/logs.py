"""The logs of builds: the output of their processes, up to a limit, and the logs of build tools."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from polywheel.system.files import open_regular

MAX_LOG_SIZE = 256 * 1024 * 1024
"""Bytes of a log. The middle of a larger log is removed."""
_FRONT = 64 * 1024 * 1024
_END = 1024 * 1024
"""Bytes at the front and at the end that are kept."""
_TAIL = 64 * 1024
"""Bytes at the end of a log that are searched for its last lines."""
_TOOL_LOGS = ("meson-log.txt", "CMakeConfigureLog.yaml", "CMakeError.log")
"""The logs of the checks of Meson and CMake. CMake writes the first since 3.26, before that the second."""
_MAX_TOOL_LOG = 16 * 1024 * 1024
"""Bytes at the end of such a log that are kept."""
_NOTICE = "\npolywheel: this log had more than {} bytes, and a part of it was removed here\n\n"


@dataclass(frozen=True, slots=True)
class Log:
    """An open log. Children write to its descriptor directly."""

    path: Path
    file: FileIO

    def shorten(self) -> None:
        """Remove the middle of a log that is too large. Call this from time to time.

        Writers do not have to wait, and continue behind the kept end. Raises OSError.
        """
        size = os.fstat(self.file.fileno()).st_size
        if size <= MAX_LOG_SIZE:
            return
        end = b""
        with (
            suppress(OSError),
            open_regular(self.path) as reader,
        ):  # the command may have replaced it
            reader.seek(size - _END)
            end = reader.read(_END)
        self.file.truncate(_FRONT)
        # On Windows the position is shared with the writers.
        self.file.seek(0, os.SEEK_END)
        self.file.write(_NOTICE.format(MAX_LOG_SIZE).encode() + end)


@contextmanager
def open_log(path: Path) -> Iterator[Log]:
    """Open a log for appending. Raises OSError."""
    with path.open("ab", buffering=0) as file:
        log = Log(path, file)
        yield log
        log.shorten()


def last_lines(log: Path, most: int) -> list[str]:
    """Return the last lines of a log that are not blank, unchanged. Raises OSError."""
    with open_regular(log) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        text = file.read(_TAIL).decode("utf-8", "replace")
    return [line for line in text.splitlines() if line.strip()][-most:]


def tool_logs(log: Path) -> list[Path]:
    """Return the logs of build tools that were kept beside the log of a build."""
    return [path for path in _tool_log_paths(log).values() if path.is_file()]


def remove_logs(log: Path) -> None:
    """Remove the log of an earlier build, and the logs of tools beside it. Raises OSError."""
    for path in (log, *_tool_log_paths(log).values()):
        path.unlink(missing_ok=True)


def keep_tool_logs(log: Path, folders: Iterable[Path]) -> None:
    """Copy the logs of build tools from these folders to the folder of the log of their build.

    If several have one name, the newest is copied. Files that can't be read or written are skipped.
    """
    newest: dict[str, tuple[int, Path]] = {}
    for folder in folders:
        for base, _, names in os.walk(folder):
            for name in set(names).intersection(_TOOL_LOGS):
                with suppress(OSError):
                    path = Path(base, name)
                    candidate = path.lstat().st_mtime_ns, path
                    newest[name] = max(newest.get(name, candidate), candidate)
    for name, (_, path) in newest.items():
        with suppress(OSError), open_regular(path, follow_links=False) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _MAX_TOOL_LOG))
            _tool_log_paths(log)[name].write_bytes(file.read(_MAX_TOOL_LOG))


def _tool_log_paths(log: Path) -> dict[str, Path]:
    """Return the paths of the kept logs of tools, by their names."""
    return {name: log.with_name(f"{log.stem}.{name}") for name in _TOOL_LOGS}
