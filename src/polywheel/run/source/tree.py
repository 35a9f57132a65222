"""Copy the files of a source tree, and compute digests of their content."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path, PurePosixPath

from polywheel.system.files import replace, sha256_of
from polywheel.system.source_files import is_copied_as_link, unreadable_error
from polywheel.system.temporary import remove_tree, temporary_folder


def copy_files(root: Path, names: Collection[str], target: Path) -> None:
    """Make ``target`` a copy of these files. Equal files are kept, other files are removed.

    Only one thread may use a target at a time. Raises OSError.
    """
    if target.is_symlink() or target.is_file():
        target.unlink()
    target.mkdir(parents=True, exist_ok=True)
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    _remove_others(target, "", set(names), folders)
    for folder in sorted(folders):
        (target / folder).mkdir(exist_ok=True)
    for name in names:
        _copy_file(root, name, target / name)


def remove_folder(folder: Path) -> None:
    """Remove a folder. A kill meanwhile does not leave a partial folder under its name."""
    if folder.parent.is_dir():
        with temporary_folder(folder.parent) as gone, suppress(FileNotFoundError):
            replace(folder, gone / "gone")


def content_digest(path: Path, status: os.stat_result) -> bytes:
    """Return the kind of a file and the digest of its content. Raises BuildError."""
    if stat.S_ISLNK(status.st_mode):
        return b"link" + hashlib.sha256(os.fsencode(path.readlink())).digest()
    try:
        digest = bytes.fromhex(sha256_of(path))
    except OSError as error:
        raise unreadable_error(path, error) from None
    return (b"exec" if status.st_mode & stat.S_IXUSR else b"file") + digest


def _remove_others(folder: Path, at: str, files: set[str], folders: set[str]) -> None:
    """Remove files and folders that are not part of the copy."""
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
    """Whether a file has these permissions. Windows has only the write permission."""
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
    status = origin.stat()
    mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
    if target.is_file() and not target.is_symlink():
        existing = target.stat()
        same = existing.st_size == status.st_size and existing.st_mtime_ns == status.st_mtime_ns
        if same and has_mode(existing, mode, posix=os.name != "nt"):
            return
    target.unlink(missing_ok=True)
    shutil.copyfile(origin, target)
    target.chmod(mode)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
