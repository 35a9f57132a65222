"""The cache folder: its location, and the check that no other user can write to it.

polywheel runs programs from the cache: plugins, build tools, and a copy of itself. Their paths are
predictable. So the folder must belong to the user, and other users must not be able to write to it, or
to replace it or one of its parent folders.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from polywheel.errors import ConfigError

VARIABLE = "POLYWHEEL_CACHE_DIR"
_MOST_LINKS = 40
"""Symbolic links in one path: the limit of Linux (path_resolution(7))."""
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def cache_directory() -> Path:
    """Return the cache folder. Create it, private to the user, if it does not exist yet.

    Raises ConfigError if it can't be created, or if another user owns it or can write to it.
    """
    path = _configured_or_default()
    try:
        _refuse_shared(path)
        if not path.is_dir():
            _create(path)
            _refuse_shared(path)  # another user may have created it meanwhile
    except OSError as error:
        raise ConfigError(
            f"the cache folder can't be used: {error.strerror or error}",
            at=str(path),
            hint=f"set {VARIABLE} to another folder",
        ) from None
    return path


def _configured_or_default() -> Path:
    if given := os.environ.get(VARIABLE):
        return Path(given).absolute()  # child processes have other working directories
    try:
        home = _home()
    except RuntimeError as error:
        raise ConfigError(f"no cache folder: {error}", hint=f"set {VARIABLE} to a folder") from None
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
        return base / "polywheel" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "polywheel"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache").absolute() / "polywheel"


def _home() -> Path:
    """Return the user's home folder. Raises RuntimeError if there is none.

    ``HOME`` may be the folder of another user, as under sudo and in the containers of GitHub's jobs. Then
    it is the home folder in the system's user database.
    """
    home = Path.home()
    if sys.platform == "win32":
        return home
    import pwd

    try:
        if home.stat().st_uid in {os.geteuid(), 0}:
            return home
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except (KeyError, OSError):
        return home


def _create(path: Path) -> None:
    """Create a folder and its missing parents, all private to the user."""
    if not path.parent.is_dir():
        _create(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)


def _refuse_shared(path: Path) -> None:
    """Raise ConfigError if another user can write to a folder or to one of its parents."""
    if sys.platform == "win32":  # the folder is in the user's profile, which is private
        return
    user = os.geteuid()
    # In a user namespace, root of the machine may have another number. The owner of / can do anything.
    trusted = {user, 0, Path("/").stat().st_uid}
    steps = list(_steps(path))
    for step, status in steps:
        last = (step, status) == steps[-1] and path.is_dir()
        why = refusal(status, trusted=trusted, user=user, last=last)
        if why is not None:
            what = "the cache folder" if last else f"{step}, on the path to the cache folder,"
            private = f"empty it and make it private to user {user} (chown, chmod 700), or "
            raise ConfigError(
                f"{what} {why}: other users could put programs there, and polywheel would run them",
                at=str(path),
                hint=f"{private if last else ''}set {VARIABLE} to a folder of your own",
            )


def refusal(
    status: os.stat_result, *, trusted: Collection[int], user: int, last: bool
) -> str | None:
    """Return why a folder or link on the path of the cache is not trusted; None if it is trusted.

    ``last`` is true for the cache folder itself. A parent may be writable for everybody if it has the
    sticky bit, as /tmp does: then users can't replace files of other users.
    """
    if status.st_uid not in trusted or (last and status.st_uid not in {user, 0}):
        return f"belongs to user {status.st_uid}, not to user {user}"
    if stat.S_ISLNK(status.st_mode) or (status.st_mode & stat.S_ISVTX and not last):
        return None
    others = status.st_mode & _WRITABLE_BY_OTHERS
    if others & stat.S_IWOTH:
        return f"is writable for everybody (mode {stat.S_IMODE(status.st_mode):o})"
    if others and not _is_private_group(status.st_gid, status.st_uid):
        return f"is writable for its group (mode {stat.S_IMODE(status.st_mode):o})"
    return None


def _is_private_group(group: int, user: int) -> bool:
    """Whether a group has only one user. Many systems create such a group with each user."""
    if sys.platform == "win32":
        return False
    import grp
    import pwd

    try:
        entry, owner = grp.getgrgid(group), pwd.getpwuid(user)
    except KeyError:
        return False
    own = owner.pw_gid == group and entry.gr_name == owner.pw_name
    return own and set(entry.gr_mem) <= {owner.pw_name}


def _steps(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield every folder and link that the system follows to a path, and the path itself.

    Stops at the first path that does not exist. Raises OSError.
    """
    at = Path(path.anchor)
    remaining = list(reversed(path.parts[1:]))
    links = 0
    yield at, at.lstat()
    while remaining:
        name = remaining.pop()
        if name == "..":
            at = at.parent
            continue
        step = at / name
        try:
            status = step.lstat()
        except FileNotFoundError:
            return
        yield step, status
        if not stat.S_ISLNK(status.st_mode):
            at = step
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = step.readlink()
        remaining.extend(reversed(target.parts[1:] if target.is_absolute() else target.parts))
        if target.is_absolute():
            at = Path(target.anchor)
