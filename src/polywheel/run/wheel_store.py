"""The store of wheels in the cache: unstamped wheels by the key of their build.

An entry is the folder ``wheels/KEY[:2]/KEY`` with the wheel and its note. It appears complete or not at all, and its
content is compared with the hashes in the note before each use.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from threading import Lock
from typing import Any

from polywheel.run.cache_content import (
    SIZE_VARIABLE,
    WHEELS,
    kind_times,
    max_cache_size,
    prune_cache,
)
from polywheel.system.cache import cache_directory
from polywheel.system.cache_entries import (
    discard_entry,
    keep_used_entries,
    place_entry,
    record_use,
)
from polywheel.system.files import MAX_ANSWER, open_regular, read_regular, sha256_of
from polywheel.system.temporary import temporary_folder

_NOTE = "entry.json"
_SHAPE = 1
_KEY = re.compile("[0-9a-f]{64}")
_CHUNK = 1 << 20
_TRIES = 3
_NO_ACCESS = frozenset(
    {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR}
)
"""Errors of a read that say nothing about the content of the file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredWheel:
    """An unstamped wheel in the store."""

    path: Path
    """The wheel. It stays until the :class:`WheelStore` that returned it is closed or deleted."""

    sha256: str
    seconds: float
    """How long its build took."""

    own_files: Mapping[str, str]
    """The digests of the files of the source that the wheel contains, by name."""


class WheelStore:
    """The store, as one run uses it. Its methods may run in several threads at once.

    Wheels that it returns or adds stay in the cache as long as this object exists.
    """

    def __init__(self, *, notify: Callable[[str], None]) -> None:
        """Raises ConfigError if the cache can't be used, or for a malformed limit of its size."""
        self._max_size = max_cache_size()
        self._times = kind_times()
        self._root = cache_directory() / WHEELS.folder
        self._notify = notify
        self._lock = Lock()
        self._noted = False
        self._began = 0
        uses = ExitStack()
        with suppress(
            OSError
        ):  # a disk that is full or read-only: the note comes with the first wheel
            self._began = uses.enter_context(keep_used_entries())
        weakref.finalize(self, uses.close)

    def find(self, key: str) -> StoredWheel | None:
        """Return the wheel of a key, which counts as a use; None if there is none.

        An entry with wrong content is removed, with a note.
        """
        folder = self._entry_folder(key)
        try:
            return self._find(folder, key)
        except OSError as error:
            self._note_once(f"the wheels in the cache can't be read: {_reason(error)}")
            return None

    def copy(self, stored: StoredWheel, folder: Path) -> Path:
        """Copy a wheel to a new folder in ``folder``, and return its path.

        Raises OSError, also if it was replaced since it was found.
        """
        target = folder / "unstamped"
        target.mkdir()
        if _copy(stored.path, target / stored.path.name) != stored.sha256:
            raise OSError(errno.ESTALE, "another run has replaced it", str(stored.path))
        return target / stored.path.name

    def add(self, key: str, wheel: Path, *, seconds: float, own_files: Mapping[str, str]) -> None:
        """Copy a wheel into the store. It replaces the wheel of an earlier run with the same key.

        If the disk is full or read-only, a note says so once, and nothing is stored.
        """
        folder = self._entry_folder(key)
        try:
            size = wheel.stat().st_size
            if size > self._max_size:
                self._note_once(
                    f"{wheel.name} is not stored in the cache: it is larger than {SIZE_VARIABLE}"
                )
                return
            self._root.mkdir(exist_ok=True)
            with temporary_folder(self._root) as scratch:
                new = scratch / "new"
                new.mkdir()
                digest = _copy(wheel, new / wheel.name)
                note = {
                    "shape": _SHAPE,
                    "key": key,
                    "wheel": wheel.name,
                    "sha256": digest,
                    "seconds": seconds,
                    "own_files": dict(own_files),
                }
                (new / _NOTE).write_bytes(_note_bytes(note))
                place_entry(new, folder, note=_NOTE, began=self._began)
        except OSError as error:
            self._note_once(f"wheels are not stored in the cache: {_reason(error)}")

    def prune(self) -> None:
        """Remove the least recently used entries of the whole cache beyond its limit (:func:`prune_cache`).

        Does nothing if no entry of any kind was added since this object was created.
        """
        if kind_times() != self._times:
            prune_cache(self._max_size)

    def _find(self, folder: Path, key: str) -> StoredWheel | None:
        before = None
        for _ in range(_TRIES):
            if not record_use(folder):
                return None
            note = None
            try:
                note = read_regular(folder / _NOTE, limit=MAX_ANSWER, follow_links=False)
                if (stored := _read(folder, key, note)) is not None:
                    return stored
            except OSError as error:
                if error.errno in _NO_ACCESS:
                    raise
            if note == before:
                break
            before = note  # another run may have replaced the entry meanwhile: once more
        self._notify(f"note: a damaged wheel in the cache is not used, and built again: {folder}")
        with suppress(FileNotFoundError):
            discard_entry(folder)
        return None

    def _entry_folder(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a SHA-256 in hexadecimal: {key!r}")
        return self._root / key[:2] / key

    def _note_once(self, text: str) -> None:
        with self._lock:
            noted, self._noted = self._noted, True
        if not noted:
            self._notify(f"note: {text}")


def _read(folder: Path, key: str, text: bytes) -> StoredWheel | None:
    """Return the wheel that a note describes; None if the note or the wheel is damaged. Raises OSError."""
    try:
        note = json.loads(text)
        if not isinstance(note, dict) or _note_bytes(note) != text or note["key"] != key:
            return None
        name, own_files = note["wheel"], note["own_files"]
        if note["shape"] != _SHAPE or not _is_plain_name(name):
            return None
        stored = StoredWheel(
            path=folder / name,
            sha256=str(note["sha256"]),
            seconds=float(note["seconds"]),
            own_files={str(file): str(digest) for file, digest in own_files.items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return stored if sha256_of(stored.path, follow_links=False) == stored.sha256 else None


def _note_bytes(note: Mapping[str, Any]) -> bytes:
    """The content of the file of a note, with a digest of all of it."""
    rest = {name: value for name, value in note.items() if name != "digest"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode("ascii")).hexdigest()
    return json.dumps({**rest, "digest": digest}, sort_keys=True).encode("ascii")


def _is_plain_name(name: object) -> bool:
    """Whether a value is the name of a file, and not a path on any system."""
    return (
        isinstance(name, str)
        and name not in {"", ".", ".."}
        and PurePosixPath(name).name == PureWindowsPath(name).name == name
    )


def _copy(wheel: Path, target: Path) -> str:
    """Copy a file, and return its SHA-256. Raises OSError."""
    digest = hashlib.sha256()
    with open_regular(wheel) as origin, target.open("xb") as copy:
        while chunk := origin.read(_CHUNK):
            digest.update(chunk)
            copy.write(chunk)
    return digest.hexdigest()


def _reason(error: OSError) -> str:
    file = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{file}"
