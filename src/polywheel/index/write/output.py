"""The folder that an index is written to: files appear whole, and vanish when they are stale.

``.polywheel-index.json`` there lists what earlier runs wrote, each with its hash. What is in that list,
was not written again and still is what was written is removed; anything else is the user's.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from polywheel.errors import Problem, WheelError
from polywheel.system.files import read_regular, sha256_of
from polywheel.system.temporary import remove_abandoned_once, replacing, temporary_folder

ROOT = "simple"
"""The folder of the pages."""
MANIFEST = ".polywheel-index.json"
_SHAPE = 1
_MAX_MANIFEST = 64 * 1024 * 1024
_MAX_READ = 1024 * 1024 * 1024
# What a manifest may name: nothing that leads out of the folder, whoever wrote it.
_PAGE = r"simple/(?:[a-z0-9-]+/)?index\.(?:html|json)"
_GENERATED = r"[A-Za-z0-9_.+!-]+(?:-variants\.json|\.whl\.metadata)"
_ARCHIVE = r"[A-Za-z0-9_.+!-]+(?:\.whl|\.tar\.gz|\.zip)"


class OutputFolder:
    """Writes below ``root``. Paths are relative, with ``/``. Every method raises WheelError.

    ``opened`` is closed when all has been written.
    """

    def __init__(self, root: Path, opened: ExitStack, *, notify: Callable[[str], None]) -> None:
        self.root = root
        self._opened = opened
        self._parts: Path | None = None
        self._number = count()
        self.problems: list[Problem] = []
        self._notify = notify
        self._written: dict[str, str] = {}
        with self._speaking_of(""):
            root.mkdir(parents=True, exist_ok=True)
        remove_abandoned_once(root)
        self._before = self._manifest()

    @property
    def before(self) -> Mapping[str, str]:
        """What earlier runs wrote: the hash of each file."""
        return self._before

    def read(self, path: str) -> bytes | None:
        """What an earlier run wrote, if it is still there, as it was."""
        try:
            content = read_regular(self.root / path, limit=_MAX_READ)
        except OSError:
            return None
        same = self._before.get(path) == hashlib.sha256(content).hexdigest()
        return content if same else None

    def write(self, path: str, content: bytes) -> None:
        """Write a file, in place of one of that name; one that is the same stays untouched."""
        self._written[path] = hashlib.sha256(content).hexdigest()
        target = self.root / path
        with self._speaking_of(path):
            if _is(target, content):
                return
            if target.parent != self.root:
                target.parent.mkdir(parents=True, exist_ok=True)
            with self._replacing(target) as part:
                part.write_bytes(content)

    def announce(self, files: Mapping[str, str]) -> None:
        """List files, each with its hash, before they are taken: those that are not here yet.

        So the next run knows what a run that is killed has put here. A line counts only where the
        file has that hash.
        """
        new = {
            name: digest
            for name, digest in files.items()
            if name not in self._before and not (self.root / name).exists()
        }
        if new:
            self._list({**self._before, **new})

    def take(self, source: Path, sha256: str) -> Problem | None:
        """Have a wheel or an sdist here under its name: linked, or copied where that can't be done.

        A file of that name that is another, and that no earlier run put there, stays; that is the
        problem then.
        """
        target = self.root / source.name
        with self._speaking_of(source.name):
            ours = self._before.get(source.name)
            if target.exists():
                same = target.samefile(source)
                there = sha256 if same else sha256_of(target)
                if there == sha256:
                    if ours is not None:
                        self._written[source.name] = sha256
                    return None
                if there != ours:
                    return Problem(
                        f"{source.name} is there already, and it is another file",
                        str(self.root),
                        "remove it, or write to another folder",
                    )
            with self._replacing(target) as part:
                try:
                    os.link(source.resolve(), part)
                except OSError:
                    from shutil import copy2  # where nothing can be linked, as a rule

                    copy2(source, part)
        self._written[source.name] = sha256
        return None

    def finish(self, *, keep: Callable[[str], bool], archives: bool) -> list[str]:
        """Remove what is stale, write the manifest; what was removed.

        ``keep`` says of a path that earlier runs wrote whether it stays, written again or not;
        ``archives`` whether wheels and sdists are this run's to remove.
        """
        removed = []
        files = dict(self._written)
        for path in sorted(set(self._before) - set(self._written)):
            if re.fullmatch(_ARCHIVE, path) and not archives:
                continue
            if keep(path):
                files[path] = self._before[path]
            elif self._remove(path):
                removed.append(path)
        if files or (self.root / MANIFEST).exists():
            self._list(files)
        return removed

    def _list(self, files: Mapping[str, str]) -> None:
        """Write the manifest."""
        document = {"shape": _SHAPE, "files": dict(sorted(files.items()))}
        content = (json.dumps(document, indent=1) + "\n").encode()
        target = self.root / MANIFEST
        with self._speaking_of(MANIFEST):
            if not _is(target, content):
                with self._replacing(target) as part:
                    part.write_bytes(content)

    def _remove(self, path: str) -> bool:
        """Remove a file that still is what was written, and the folder that it leaves empty."""
        target = self.root / path
        with self._speaking_of(path):
            inside = target.parent.resolve().is_relative_to(self.root.resolve())
            if not inside or target.is_symlink() or not target.is_file():
                return False
            if sha256_of(target) != self._before[path]:
                self._notify(f"{path} is stale, but was changed since it was written: it stays")
                return False
            target.unlink()
            if target.parent != self.root and not any(target.parent.iterdir()):
                target.parent.rmdir()
        return True

    def _manifest(self) -> dict[str, str]:
        path = self.root / MANIFEST
        try:
            if not path.exists():
                return {}
            files = _files(json.loads(read_regular(path, limit=_MAX_MANIFEST)))
        except (OSError, ValueError, RecursionError) as error:
            self.problems.append(
                Problem(
                    f"the list of what earlier runs wrote can't be read: {str(error)[:200]}",
                    str(path),
                    "it is written anew; what is stale by now is to be removed by hand",
                )
            )
            return {}
        return files

    @contextmanager
    def _replacing(self, target: Path) -> Iterator[Path]:
        """A path for what becomes ``target`` at the end; its mode is what the umask makes it."""
        if self._parts is None:  # one folder for all: a thousand files take no longer for it
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

    @contextmanager
    def _speaking_of(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WheelError(
                f"{path or self.root} can't be written: {error.strerror or error}",
                at=str(self.root),
                hint="choose a folder with -o",
            ) from None


def _files(document: object) -> dict[str, str]:
    """What a manifest lists of what an index is made of; raises ValueError where it is none."""
    if not isinstance(document, dict) or document.get("shape") != _SHAPE:
        raise ValueError(f"its shape is not {_SHAPE}")
    files = document.get("files")
    return {
        path: digest
        for path, digest in (files.items() if isinstance(files, dict) else ())
        if isinstance(digest, str)
        and not path.startswith(".")
        and any(re.fullmatch(pattern, path) for pattern in (_PAGE, _GENERATED, _ARCHIVE))
    }


def _is(target: Path, content: bytes) -> bool:
    """Whether a file is there, and has this content already."""
    try:
        return target.stat().st_size == len(content) and target.read_bytes() == content
    except (FileNotFoundError, IsADirectoryError):
        return False
