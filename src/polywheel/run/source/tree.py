"""A folder of files: which of them are source, what is in them, and copies that follow it."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path, PurePosixPath

from polywheel.system.files import replace
from polywheel.system.source_files import is_copied_as_link, unreadable_error
from polywheel.system.temporary import remove_tree, temporary_folder

_CHUNK = 1 << 20


def copy_files(root: Path, names: Collection[str], place: Path) -> None:
    """Make ``place`` a copy of these files: what is there already and equal stays, the rest goes.

    One place is for one thread at a time. Raises OSError.
    """
    if place.is_symlink() or place.is_file():
        place.unlink()
    place.mkdir(parents=True, exist_ok=True)
    folders = {str(one) for name in names for one in PurePosixPath(name).parents}
    _remove_others(place, "", set(names), folders)
    for folder in sorted(folders):
        (place / folder).mkdir(exist_ok=True)
    for name in names:
        _copy_file(root, name, place / name)


def remove_folder(folder: Path) -> None:
    """Remove a folder; whoever is killed meanwhile leaves nothing that could be taken for it."""
    if folder.parent.is_dir():
        with temporary_folder(folder.parent) as gone, suppress(FileNotFoundError):
            replace(folder, gone / "gone")


def content_digest(path: Path, status: os.stat_result) -> bytes:
    """The kind of a file, and its content."""
    if stat.S_ISLNK(status.st_mode):
        return b"link" + hashlib.sha256(os.fsencode(path.readlink())).digest()
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                found.update(chunk)
    except OSError as error:
        raise unreadable_error(path, error) from None
    return (b"exec" if status.st_mode & stat.S_IXUSR else b"file") + found.digest()


def _remove_others(folder: Path, at: str, files: set[str], folders: set[str]) -> None:
    """Remove from a copy what is no part of it (any more)."""
    with os.scandir(folder) as entries:
        for entry in list(entries):
            name = f"{at}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if name in folders:
                    _remove_others(Path(entry.path), f"{name}/", files, folders)
                else:
                    remove_tree(Path(entry.path))
                    if os.path.lexists(entry.path):
                        raise OSError(errno.ENOTEMPTY, "it can't be removed", entry.path)
            elif name not in files:
                Path(entry.path).unlink()


def has_mode(status: os.stat_result, mode: int, *, posix: bool) -> bool:
    """Whether a file has these permissions; Windows has none but that to write."""
    return stat.S_IMODE(status.st_mode) == mode if posix else bool(status.st_mode & stat.S_IWUSR)


def _copy_file(root: Path, name: str, target: Path) -> None:
    origin = root / name
    if is_copied_as_link(root, name):
        link = origin.readlink()
        if target.is_symlink() and target.readlink() == link:
            return
        target.unlink(missing_ok=True)
        target.symlink_to(link, target_is_directory=origin.is_dir())
        return
    wanted = origin.stat()
    mode = 0o755 if wanted.st_mode & stat.S_IXUSR else 0o644
    if target.is_file() and not target.is_symlink():
        there = target.stat()
        same = there.st_size == wanted.st_size and there.st_mtime_ns == wanted.st_mtime_ns
        if same and has_mode(there, mode, posix=os.name != "nt"):
            return
    target.unlink(missing_ok=True)
    shutil.copyfile(origin, target)
    target.chmod(mode)
    os.utime(target, ns=(wanted.st_atime_ns, wanted.st_mtime_ns))
