"""The logs of builds: what their processes print, up to a bound, and the logs that build tools keep."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from polywheel.system.files import open_regular

MOST = 256 * 1024 * 1024
"""Bytes of a log; the middle is cut out of one that is larger."""
_FRONT = 64 * 1024 * 1024
_END = 1024 * 1024
"""Bytes at the front and at the end that stay."""
_LOOKED_AT = 64 * 1024
"""Bytes at the end of a log in which its last lines are looked for."""
_TOOL_LOGS = ("meson-log.txt", "CMakeConfigureLog.yaml", "CMakeError.log")
"""What Meson and CMake write of their checks; CMake has the first since 3.26, before that the second."""
_MOST_OF_A_TOOL = 16 * 1024 * 1024
"""Bytes at the end of such a log that are kept."""
_NOTICE = "\npolywheel: this log had more than {} bytes, and a part of it was left out here\n\n"


@dataclass(frozen=True, slots=True)
class Log:
    """An open log, which children write to without going through this process."""

    path: Path
    file: FileIO

    def shorten(self) -> None:
        """Cut the middle out of a log that is too large. Call it from time to time.

        Nobody who writes to it has to wait, and all go on behind what stays. Raises OSError.
        """
        size = os.fstat(self.file.fileno()).st_size
        if size <= MOST:
            return
        with self.path.open("rb") as reader:
            reader.seek(size - _END)
            end = reader.read(_END)
        self.file.truncate(_FRONT)
        # On Windows the position is shared with those who write.
        self.file.seek(0, os.SEEK_END)
        self.file.write(_NOTICE.format(MOST).encode() + end)


@contextmanager
def opened_log(path: Path) -> Iterator[Log]:
    """A log that is added to. Raises OSError."""
    with path.open("ab", buffering=0) as file:
        log = Log(path, file)
        yield log
        log.shorten()


def last_lines(log: Path, most: int) -> list[str]:
    """The last lines of a log that are not blank, as they stand. Raises OSError."""
    with open_regular(log) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LOOKED_AT))
        text = file.read(_LOOKED_AT).decode("utf-8", "replace")
    return [line for line in text.splitlines() if line.strip()][-most:]


def tool_logs(log: Path) -> list[Path]:
    """The logs of build tools that were kept beside the log of a build."""
    return [path for path in _places(log).values() if path.is_file()]


def remove_logs(log: Path) -> None:
    """Remove the log of an earlier build, and what was kept beside it. Raises OSError."""
    for path in (log, *_places(log).values()):
        path.unlink(missing_ok=True)


def keep_tool_logs(log: Path, folders: Iterable[Path]) -> None:
    """Copy the logs of build tools from these folders, to beside the log of their build.

    Of several of one name it is the newest. What can't be read or written is left out.
    """
    found: dict[str, tuple[int, Path]] = {}
    for folder in folders:
        for base, _, names in os.walk(folder):
            for name in set(names).intersection(_TOOL_LOGS):
                with suppress(OSError):
                    path = Path(base, name)
                    one = path.lstat().st_mtime_ns, path
                    found[name] = max(found.get(name, one), one)
    for name, (_, path) in found.items():
        with suppress(OSError), open_regular(path, follow_links=False) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _MOST_OF_A_TOOL))
            _places(log)[name].write_bytes(file.read(_MOST_OF_A_TOOL))


def _places(log: Path) -> dict[str, Path]:
    """Where the logs of tools are kept, by their names."""
    return {name: log.with_name(f"{log.stem}.{name}") for name in _TOOL_LOGS}
