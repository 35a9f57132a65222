"""Unpacking sdists: archives come from strangers, and nothing of one gets out of its folder."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO

from polywheel.errors import BuildError, ConfigError

MOST_BYTES = 16 << 30
MOST_FILES = 500_000
"""More than any sdist has; an archive made to fill a disk is stopped there."""

_CHUNK = 1 << 20
_FIRST_TIME, _LAST_TIME = 0, (1 << 32) - 1
_UNREADABLE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, OSError, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, KeyError),  # as zipfile and tarfile put it
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Member:
    name: str
    content: IO[bytes] | None = None
    """None for a link."""

    link: str = ""
    executable: bool = False
    time: float = 0.0


def unpacked(path: Path, folder: Path) -> Path:
    """Unpack an sdist into an empty folder; the one folder that it holds.

    ``.tar.gz`` (PEP 517, "Source distributions"), and ``.zip`` as there were before. Files keep
    their times. Links lead to files of the archive, and are made last, so that nothing is written
    through one. Raises ConfigError for what is no sdist, BuildError for a broken or hostile one.
    """
    if not path.name.endswith((".tar.gz", ".zip")):
        raise ConfigError(
            f"{path.name} is no sdist", hint="its name ends with .tar.gz, or with .zip"
        )
    links: list[_Member] = []
    room = MOST_BYTES
    try:
        with closing(_zipped(path) if path.suffix == ".zip" else _tarred(path)) as members:
            for count, member in enumerate(members):
                if count >= MOST_FILES:
                    raise BuildError(f"{path.name} holds more than {MOST_FILES} files")
                if member.content is None:
                    links.append(member)
                else:
                    room -= _written(member, folder / _place(member.name, path), room, path)
        for member in links:
            _link(member, folder, path)
    except _UNREADABLE as error:
        raise BuildError(f"{path.name} can't be unpacked: {error}", at=str(path)) from None
    found = [one for one in folder.iterdir() if one.is_dir() and not one.is_symlink()]
    if len(found) != 1:
        raise BuildError(f"{path.name} holds {len(found)} folders in place of one", at=str(path))
    return found[0]


def _tarred(path: Path) -> Generator[_Member, None, None]:
    with tarfile.open(path, "r:gz") as archive:
        for one in archive:
            if one.issym():
                yield _Member(name=one.name, link=one.linkname)
            elif one.isreg() or one.islnk():
                # A hard link is another name of a file of the archive, and becomes one of its own.
                content = archive.extractfile(one)
                if content is None:
                    raise BuildError(f"{path.name} holds a link to no file: {one.name!r}")
                executable = bool(one.mode & stat.S_IXUSR)
                yield _Member(name=one.name, content=content, executable=executable, time=one.mtime)
            elif not one.isdir():
                raise BuildError(f"{path.name} holds what is neither file nor folder: {one.name!r}")


def _zipped(path: Path) -> Generator[_Member, None, None]:
    with zipfile.ZipFile(path) as archive:
        for one in archive.infolist():
            mode = one.external_attr >> 16
            if one.is_dir():
                continue
            with archive.open(one) as content:
                if stat.S_ISLNK(mode):
                    yield _Member(name=one.filename, link=os.fsdecode(content.read(4096)))
                    continue
                # A zip has a time of day without a zone: so that all machines read the same one.
                time = datetime(*one.date_time, tzinfo=UTC).timestamp()
                executable = bool(mode & stat.S_IXUSR)
                yield _Member(name=one.filename, content=content, executable=executable, time=time)


def _place(name: str, path: Path) -> PurePosixPath:
    """The relative path of a member."""
    place = PurePosixPath(name)
    odd = ("\\", ":") if os.name == "nt" else ("\0",)
    if not name or place.is_absolute() or ".." in place.parts or any(one in name for one in odd):
        raise BuildError(f"{path.name} holds a file that leads out of it: {name!r}", at=str(path))
    return place


def _written(member: _Member, target: Path, room: int, path: Path) -> int:
    """Write a file; how many bytes it has."""
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with target.open("wb") as file:
        while member.content is not None and (chunk := member.content.read(_CHUNK)):
            size += len(chunk)
            if size > room:
                raise BuildError(f"{path.name} holds more than {MOST_BYTES >> 30} GiB")
            file.write(chunk)
    if member.executable:
        target.chmod(target.stat().st_mode | 0o111)
    time = min(max(member.time, _FIRST_TIME), _LAST_TIME)
    os.utime(target, (time, time))
    return size


def _link(member: _Member, folder: Path, path: Path) -> None:
    """Make a symbolic link that leads to something within the one folder of the archive."""
    place = _place(member.name, path)
    target = PurePosixPath(member.link)
    ups = next((n for n, part in enumerate(target.parts) if part != ".."), len(target.parts))
    out = target.is_absolute() or ups > len(place.parts) - 2 or ".." in target.parts[ups:]
    where = folder / place
    where.parent.mkdir(parents=True, exist_ok=True)
    # A link below a link could count its way up from somewhere else.
    if out or not member.link or where.parent.resolve() != folder.resolve() / place.parent:
        raise BuildError(
            f"{path.name} holds a link that leads out of it: {member.name!r} → {member.link!r}",
            at=str(path),
        )
    if where.is_symlink() or where.exists():
        raise BuildError(f"{path.name} holds two things named {member.name!r}", at=str(path))
    try:
        where.symlink_to(member.link)
    except OSError:
        # Windows lets not everybody make links; what it leads to does as well.
        shutil.copy2(where.parent / member.link, where)
