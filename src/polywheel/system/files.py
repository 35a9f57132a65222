"""Read files and folders that others made, and compute portable file names.

A path that others made may be anything: a link, a pipe, a huge file, or a very deep folder.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])", re.IGNORECASE)
_ODD = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


def means_another_file(name: str) -> bool:
    """Whether Windows takes a name of a file or folder for another one, or for a device.

    https://learn.microsoft.com/windows/win32/fileio/naming-a-file: no dots or blanks at the end, and
    no name of a device, whatever stands behind the first dot.
    """
    base = name.partition(".")[0].rstrip(" ")
    odd = name.rstrip(". ") != name or _ODD.search(name) is not None
    return odd or _DEVICE.fullmatch(base) is not None


def folder_name(text: str) -> str:
    """A text as the name of a folder: itself, or another one where Windows would not keep it.

    Different texts have different names.
    """
    if not means_another_file(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"_{_ODD.sub('_', text).rstrip('. ')}-{digest}"


MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of a file in which a child process answers."""

_PATIENCE = 2.0
"""Seconds for which renaming is tried again on Windows."""
_LOOK = 0.02
DEEPEST = 200
"""Folders that may lie in one another: more than in any project. Functions of the standard library
call themselves once or more for each, and Python ends that at a thousand.
"""


def open_regular(path: str | Path, *, follow_links: bool = True) -> BufferedReader:
    """Open a regular file for reading.

    Raises OSError for anything else, without waiting for the other end of a pipe; with
    ``follow_links=False`` also for a symbolic link.
    """
    # Before it is opened: opening a device may do something.
    status = os.stat(path, follow_symlinks=follow_links)  # noqa: PTH116  # called a thousand times
    _refuse_others(status, path)
    more = getattr(os, "O_NONBLOCK", 0) | (0 if follow_links else getattr(os, "O_NOFOLLOW", 0))
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | more))  # noqa: SIM115
    try:
        _refuse_others(os.fstat(file.fileno()), path)  # it may be another one by now
    except BaseException:
        file.close()
        raise
    return file


def _refuse_others(status: os.stat_result, path: str | Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        raise OSError(number, "it is not a regular file", str(path))


def read_regular(path: str | Path, *, limit: int, follow_links: bool = True) -> bytes:
    """The content of a regular file. Raises OSError, also for more than ``limit`` bytes."""
    with open_regular(path, follow_links=follow_links) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit} bytes", str(path))
    return content


def sha256_of(path: Path, *, follow_links: bool = True) -> str:
    """The hash of a regular file of any size, hexadecimal. Raises OSError."""
    import hashlib  # every command reads files, and few take hashes

    with open_regular(path, follow_links=follow_links) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table of a JSON document, as ``object_pairs_hook``. Raises ValueError for a key that repeats.

    Readers differ in which of the two they take.
    """
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a table holds the same key twice")
    return table


def replace(source: Path, target: Path) -> None:
    """Give a file or folder another name, which a file may have already. Raises OSError.

    On Windows that fails while anybody has one of them open, and there are programs that look into
    every new file: it is tried again for a while.
    """
    persist(lambda: source.replace(target), seconds=_PATIENCE if os.name == "nt" else 0.0)


def persist(act: Callable[[], object], *, seconds: float) -> None:
    """Do something that may be refused for a moment. Raises OSError if it still is at the end."""
    until = time.monotonic() + seconds
    while True:
        try:
            act()
        except PermissionError:
            if time.monotonic() >= until:
                raise
            time.sleep(_LOOK)
        else:
            return


def walk(folder: str | Path, *, strict: bool = True) -> Iterator[tuple[str, list[str], list[str]]]:
    """As :func:`os.walk`, top down.

    Raises OSError where folders lie too deep, and with ``strict`` also for one that can't be listed.
    """

    def unreadable(error: OSError) -> None:
        if strict:
            raise error

    top = os.fspath(folder).rstrip(os.sep).count(os.sep)
    for found in os.walk(folder, onerror=unreadable):
        if found[0].count(os.sep) - top > DEEPEST:
            raise OSError(errno.ENAMETOOLONG, too_deep(), found[0])
        yield found


def too_deep() -> str:
    """What is wrong where folders lie too deep."""
    return f"more than {DEEPEST} folders lie in one another"
