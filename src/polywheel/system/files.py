"""Read untrusted files and folders, and compute portable file names.

An untrusted path may be anything: a link, a pipe, a huge file, or a very deep folder.
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
from typing import Any, NoReturn

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of a file with the response of a child process."""
MAX_DEPTH = 200
"""Nested folders: more than in any project. Functions of the standard library recurse once or more for
each level, and Python limits recursion to a thousand levels.
"""
TOO_DEEP = f"folders are nested more than {MAX_DEPTH} levels deep"
"""The message for folders below that limit."""
_PATIENCE = 2.0
"""Seconds for which a rename is retried on Windows."""
_RETRY_INTERVAL = 0.02
_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


def is_reserved_on_windows(name: str) -> bool:
    """Whether a file or folder name means another file, or a device, on Windows.

    https://learn.microsoft.com/windows/win32/fileio/naming-a-file: names must not end with a dot or a
    space. The part before the first dot must not be the name of a device.
    """
    base = name.partition(".")[0].rstrip(" ")
    changed = name.rstrip(". ") != name or _FORBIDDEN.search(name) is not None
    return changed or _DEVICE.fullmatch(base) is not None


def portable_folder_name(text: str) -> str:
    """Return a folder name for a text: the text itself, or another name if Windows would change it.

    Different texts have different names.
    """
    if not is_reserved_on_windows(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"_{_FORBIDDEN.sub('_', text).rstrip('. ')}-{digest}"


def open_regular(path: str | Path, *, follow_links: bool = True) -> BufferedReader:
    """Open a regular file for reading.

    Raises OSError for any other kind of file, without waiting for the other end of a pipe. With
    ``follow_links=False``, also raises OSError for a symbolic link.
    """
    # Check before opening: opening a device may have side effects.
    status = os.stat(path, follow_symlinks=follow_links)  # noqa: PTH116  # called a thousand times
    _refuse_others(status, path)
    extra = getattr(os, "O_NONBLOCK", 0) | (0 if follow_links else getattr(os, "O_NOFOLLOW", 0))
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | extra))  # noqa: SIM115
    try:
        _refuse_others(os.fstat(file.fileno()), path)  # it may have been replaced
    except BaseException:
        file.close()
        raise
    return file


def _refuse_others(status: os.stat_result, path: str | Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        raise OSError(number, "it is not a regular file", str(path))


def read_regular(path: str | Path, *, limit: int, follow_links: bool = True) -> bytes:
    """Return the content of a regular file. Raises OSError, also for more than ``limit`` bytes."""
    with open_regular(path, follow_links=follow_links) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit} bytes", str(path))
    return content


def sha256_of(path: Path, *, follow_links: bool = True) -> str:
    """Return the SHA-256 of a regular file of any size, in hexadecimal. Raises OSError."""
    with open_regular(path, follow_links=follow_links) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a table of a JSON document, as ``object_pairs_hook``.

    Raises ValueError for a duplicate key: readers differ in which of the two values they use.
    """
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a table has the same key twice")
    return table


def refuse_constant(constant: str) -> NoReturn:
    """Raise ValueError for ``NaN`` and ``Infinity``, which are not JSON, as ``parse_constant``."""
    raise ValueError(f"{constant} is not a JSON value")


def replace(source: Path, target: Path) -> None:
    """Rename a file or folder. An existing target file is replaced. Raises OSError.

    On Windows a rename fails while a process has one of the files open, and virus scanners open every new
    file. So it is retried for a while.
    """
    seconds = _PATIENCE if os.name == "nt" else 0.0
    retry_permission_errors(lambda: source.replace(target), seconds=seconds)


def rename(source: Path, target: Path, *, overwrite: bool) -> None:
    """Rename a file. Without ``overwrite``, raises FileExistsError if the target exists.

    That includes a target that another process creates during this call, if the file system has hard
    links. Raises OSError.
    """
    if overwrite:
        replace(source, target)
        return
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        replace(source, target)
    else:
        try:
            source.unlink()
        except OSError:
            target.unlink()
            raise


def retry_permission_errors(act: Callable[[], object], *, seconds: float) -> None:
    """Call a function, and retry it for ``seconds`` while it raises PermissionError. Raises OSError."""
    until = time.monotonic() + seconds
    while True:
        try:
            act()
        except PermissionError:
            if time.monotonic() >= until:
                raise
            time.sleep(_RETRY_INTERVAL)
        else:
            return


def walk(folder: str | Path, *, strict: bool = True) -> Iterator[tuple[str, list[str], list[str]]]:
    """Like :func:`os.walk`, top down.

    Raises OSError if folders are nested too deeply, and with ``strict`` if a folder can't be listed.
    """

    def unreadable(error: OSError) -> None:
        if strict:
            raise error

    top = os.fspath(folder).rstrip(os.sep).count(os.sep)
    for step in os.walk(folder, onerror=unreadable):
        if step[0].count(os.sep) - top > MAX_DEPTH:
            raise OSError(errno.ENAMETOOLONG, TOO_DEEP, step[0])
        yield step
