"""The folder that an index is written to. Files are written completely, and stale files are
removed.

``.polywheel-index.json`` in that folder lists the files that earlier runs wrote, with their
hashes. A listed file that is not written again is removed if it is unchanged. Other files belong
to the user and are kept.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count
from pathlib import Path

from polywheel.errors import Problem, WheelError, os_error_as
from polywheel.system.files import read_regular, sha256_of
from polywheel.system.temporary import remove_abandoned_once, replacing, temporary_folder

ROOT = "simple"
"""The folder of the simple API."""
MANIFEST = ".polywheel-index.json"
_SHAPE = 1
_MAX_MANIFEST = 64 * 1024 * 1024
_MAX_READ = 1024 * 1024 * 1024
# The paths that a manifest may contain. None leads out of the folder, even if the manifest is
# forged.
_PAGE = r"simple/(?:[a-z0-9-]+/)?index\.(?:html|json)"
_GENERATED = r"[A-Za-z0-9_.+!-]+(?:-variants\.json|\.whl\.metadata)"
_ARCHIVE = r"[A-Za-z0-9_.+!-]+(?:\.whl|\.tar\.gz|\.zip)"


class OutputFolder:
    """Writes files below ``root``. Paths are relative, with ``/``. Methods raise WheelError.

    ``opened`` must be closed after the last write.
    """

    def __init__(self, root: Path, opened: ExitStack, *, notify: Callable[[str], None]) -> None:
        self.root = root
        self._opened = opened
        self._parts: Path | None = None
        self._number = count()
        self.problems: list[Problem] = []
        self._notify = notify
        self._written: dict[str, str] = {}
        with self._translate_errors(""):
            root.mkdir(parents=True, exist_ok=True)
        remove_abandoned_once(root)
        self.before: Mapping[str, str] = self._read_manifest()
        """The files that earlier runs wrote, with their hashes."""

    def read(self, path: str) -> bytes | None:
        """Return the content of a file of an earlier run; None if it is missing or was changed."""
        try:
            content = read_regular(self.root / path, limit=_MAX_READ)
        except OSError:
            return None
        same = self.before.get(path) == hashlib.sha256(content).hexdigest()
        return content if same else None

    def write(self, path: str, content: bytes) -> None:
        """Write a file, or replace it. A file with the same content is not touched."""
        self._written[path] = hashlib.sha256(content).hexdigest()
        self._write(path, content)

    def _write(self, path: str, content: bytes) -> None:
        target = self.root / path
        with self._translate_errors(path):
            if _has_content(target, content):
                return
            if target.parent != self.root:
                target.parent.mkdir(parents=True, exist_ok=True)
            with self._replacing(target) as part:
                part.write_bytes(content)

    def record(self, files: Mapping[str, str]) -> None:
        """Record new files in the manifest, with their hashes, before they are placed.

        If the run is killed, the next run knows which files are from polywheel. A file counts
        only if it has the recorded hash.
        """
        new = {
            name: digest
            for name, digest in files.items()
            if name not in self.before and not (self.root / name).exists()
        }
        if new:
            self._write_manifest({**self.before, **new})

    def place_file(self, source: Path, sha256: str) -> Problem | None:
        """Link a wheel or an sdist into the folder; copy it if it can't be linked.

        An existing file with other content that no earlier run placed is kept, and returned as a
        problem.
        """
        target = self.root / source.name
        with self._translate_errors(source.name):
            recorded = self.before.get(source.name)
            if target.exists():
                current = sha256 if target.samefile(source) else sha256_of(target)
                if current == sha256:
                    if recorded is not None:
                        self._written[source.name] = sha256
                    return None
                if current != recorded:
                    what = f"{source.name} already exists with other content"
                    hint = "remove it, or choose another folder with -o"
                    return Problem(what, str(self.root), hint)
            with self._replacing(target) as part:
                try:
                    os.link(source.resolve(), part)
                except OSError:
                    from shutil import copy2  # rarely needed

                    copy2(source, part)
        self._written[source.name] = sha256
        return None

    def finish(self, *, keep: Callable[[str], bool], archives: bool) -> list[str]:
        """Remove stale files and write the manifest. Return the removed paths.

        ``keep`` returns whether a file of an earlier run stays. ``archives``: this run may
        remove wheels and sdists.
        """
        removed = []
        files = dict(self._written)
        for path in sorted(set(self.before) - set(self._written)):
            if re.fullmatch(_ARCHIVE, path) and not archives:
                continue
            if keep(path):
                files[path] = self.before[path]
            elif self._remove(path):
                removed.append(path)
        if files or (self.root / MANIFEST).exists():
            self._write_manifest(files)
        return removed

    def _write_manifest(self, files: Mapping[str, str]) -> None:
        document = {"shape": _SHAPE, "files": dict(sorted(files.items()))}
        self._write(MANIFEST, (json.dumps(document, indent=1) + "\n").encode())

    def _remove(self, path: str) -> bool:
        """Remove a file if it is unchanged, and its folder if it is then empty."""
        target = self.root / path
        with self._translate_errors(path):
            inside = target.parent.resolve().is_relative_to(self.root.resolve())
            if not inside or target.is_symlink() or not target.is_file():
                return False
            if sha256_of(target) != self.before[path]:
                self._notify(f"{path} is stale, but not removed, because it was changed")
                return False
            target.unlink()
            if target.parent != self.root and not any(target.parent.iterdir()):
                target.parent.rmdir()
        return True

    def _read_manifest(self) -> dict[str, str]:
        path = self.root / MANIFEST
        try:
            if not path.exists():
                return {}
            return _files(json.loads(read_regular(path, limit=_MAX_MANIFEST)))
        except (OSError, ValueError, RecursionError) as error:
            what = f"the list of files of earlier runs can't be read: {str(error)[:200]}"
            hint = "a new list is written; remove stale files by hand"
            self.problems.append(Problem(what, str(path), hint))
            return {}

    @contextmanager
    def _replacing(self, target: Path) -> Iterator[Path]:
        """Yield a path that becomes ``target`` at the end, with the mode that the umask gives."""
        if self._parts is None:  # one folder for all files is faster
            self._parts = self._opened.enter_context(temporary_folder(self.root))
        part = self._parts / str(next(self._number))
        try:
            yield part
            part.replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with replacing(target) as beside:  # ``simple`` is a link to another file system
                beside.write_bytes(part.read_bytes())
        finally:
            part.unlink(missing_ok=True)

    def _translate_errors(self, path: str) -> AbstractContextManager[None]:
        """Raise WheelError with the name of the file instead of OSError."""
        hint = "choose another folder with -o"
        what = f"{path or self.root} can't be written"
        return os_error_as(WheelError, what, at=self.root, hint=hint)


def _files(document: object) -> dict[str, str]:
    """Return the files that a manifest lists. Raises ValueError if it is not a manifest."""
    if not isinstance(document, dict) or document.get("shape") != _SHAPE:
        raise ValueError(f"expected shape {_SHAPE}")
    files = document.get("files")
    return {
        path: digest
        for path, digest in (files.items() if isinstance(files, dict) else ())
        if isinstance(digest, str)
        and not path.startswith(".")
        and any(re.fullmatch(pattern, path) for pattern in (_PAGE, _GENERATED, _ARCHIVE))
    }


def _has_content(target: Path, content: bytes) -> bool:
    """Return whether a file exists with this content."""
    try:
        return target.stat().st_size == len(content) and target.read_bytes() == content
    except (FileNotFoundError, IsADirectoryError):
        return False
