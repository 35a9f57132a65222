"""A folder of files: which of them are source, what is in them, and copies that follow it."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePath, PurePosixPath

from polywheel.system.files import replace
from polywheel.system.source_files import files_below, unreadable
from polywheel.system.temporary import remove_tree, temporary_folder

_CHUNK = 1 << 20


def entries(root: Path, names: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
    """The files and links among these names; what a relative link out of the tree leads to."""
    for name in names:
        path = root / name
        try:
            status = path.lstat() if _stays_link(root, name) else path.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue  # deleted, and git does not know yet
        except OSError as error:
            raise unreadable(path, error) from None
        if stat.S_ISDIR(status.st_mode):
            if path.resolve() in {one.resolve() for one in path.parents}:
                continue  # a link to a folder that it lies in: a copy would have no end
            inner = sorted(f"{name}/{one}" for one in files_below(path, ignore=True))
            yield from entries(root, inner)
        elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):  # no pipe, no socket
            yield name, status


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


def remove(folder: Path) -> None:
    """Remove a folder; whoever is killed meanwhile leaves nothing that could be taken for it."""
    if folder.parent.is_dir():
        with temporary_folder(folder.parent) as gone, suppress(FileNotFoundError):
            replace(folder, gone / "gone")


def _stays_link(root: Path, name: str) -> bool:
    """Whether a name is that of a link that a copy of the tree has too.

    A relative one that leads out of the tree would lead elsewhere from a copy. Where nobody may make
    links, a copy has what they lead to.
    """
    path = root / name
    if not path.is_symlink() or not can_link():
        return False
    link = path.readlink()
    reached = PurePath(os.path.normpath(PurePath(name).parent / link))
    if link.is_absolute() or reached.parts[:1] != ("..",) or not path.exists():
        return True
    return path.resolve() in root.resolve().parents  # a copy of it would hold the tree again


@cache
def can_link() -> bool:
    """Whether this process may make symbolic links: on Windows that takes a privilege."""
    if os.name != "nt":
        return True
    with temporary_folder() as folder:
        try:
            (folder / "link").symlink_to("nowhere")
        except OSError:
            return False
    return True


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
        raise unreadable(path, error) from None
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
    if _stays_link(root, name):
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
