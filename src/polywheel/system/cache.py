"""The cache folder: where it is, and that nobody else can put anything into it.

Programs are run from the cache: the plugins, the build tools, and a copy of polywheel itself, all at
paths that anybody can foresee. So the folder must belong to the user, and nobody else may be able to
write to it, or to replace it or a folder that it lies in.
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
"""Symbolic links in one path, as Linux has it (path_resolution(7))."""
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def cache_directory() -> Path:
    """The cache folder. It is created, for the user alone, where it does not exist yet.

    Raises ConfigError where it can't be created, and where somebody else can write to it or owns it.
    """
    path = _named_or_usual()
    try:
        if sys.platform != "win32":  # there it lies in the user's profile, which is private
            _refuse_shared(path)
        if not path.is_dir():
            _create(path)
            if sys.platform != "win32":  # somebody else may have created it meanwhile
                _refuse_shared(path)
    except OSError as error:
        raise ConfigError(
            f"the cache folder can't be used: {error.strerror or error}",
            at=str(path),
            hint=f"name another folder in {VARIABLE}",
        ) from None
    return path


def _named_or_usual() -> Path:
    if given := os.environ.get(VARIABLE):
        return Path(given).absolute()  # it is used from other working directories too
    try:
        home = _home()
    except RuntimeError as error:
        raise ConfigError(
            f"there is no cache folder: {error}", hint=f"name one in {VARIABLE}"
        ) from None
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
        return base / "polywheel" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "polywheel"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache").absolute() / "polywheel"


def _home() -> Path:
    """The user's home folder. Raises RuntimeError where there is none.

    Where ``HOME`` is the folder of another user, as under sudo and in the containers of GitHub's jobs, it
    is the one that the system has for this user.
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
    """Create a folder and those that it lies in, all for the user alone."""
    if not path.parent.is_dir():
        _create(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)


def _refuse_shared(path: Path) -> None:
    """Raise ConfigError where somebody else can write to a folder, or to one on the way to it."""
    if sys.platform == "win32":
        return
    user = os.geteuid()
    # In a user namespace, root of the machine may have another number. Who owns / can do anything.
    trusted = {user, 0, Path("/").stat().st_uid}
    steps = list(_steps(path))
    for step, status in steps:
        last = (step, status) == steps[-1] and path.is_dir()
        why = refusal(status, trusted=trusted, user=user, last=last)
        if why is not None:
            what, hint = f"{step}, on the way to the cache folder,", ""
            if last:
                what = "the cache folder"
                hint = f"empty it and make it private to user {user} (chown, chmod 700), or "
            raise ConfigError(
                f"{what} {why}: what is put there would be executed",
                at=str(path),
                hint=f"{hint}name a folder of your own in {VARIABLE}",
            )


def refusal(
    status: os.stat_result, *, trusted: Collection[int], user: int, last: bool
) -> str | None:
    """Why a folder, or a link, on the way to the cache is not to be trusted; None if it is.

    ``last`` is the cache folder itself: in one on the way to it, that is writable for everybody, the
    sticky bit keeps others from replacing what they do not own (such as /tmp).
    """
    if status.st_uid not in trusted or (last and status.st_uid not in {user, 0}):
        return f"belongs to user {status.st_uid}, and this is user {user}"
    if stat.S_ISLNK(status.st_mode) or (status.st_mode & stat.S_ISVTX and not last):
        return None
    others = status.st_mode & _WRITABLE_BY_OTHERS
    if others & stat.S_IWOTH:
        return f"is writable for everybody (mode {stat.S_IMODE(status.st_mode):o})"
    if others and not _is_private_group(status.st_gid, status.st_uid):
        return f"is writable for its group (mode {stat.S_IMODE(status.st_mode):o})"
    return None


def _is_private_group(group: int, user: int) -> bool:
    """Whether a group is that of one user alone, which many systems create with the user."""
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
    """Every folder and link that the system passes on the way to a path, and the path itself.

    It ends at the first that does not exist. Raises OSError.
    """
    at = Path(path.anchor)
    left = list(reversed(path.parts[1:]))
    links = 0
    yield at, at.lstat()
    while left:
        name = left.pop()
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
        left.extend(reversed(target.parts[1:] if target.is_absolute() else target.parts))
        if target.is_absolute():
            at = Path(target.anchor)
