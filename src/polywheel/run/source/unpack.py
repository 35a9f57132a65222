"""Unpack sdists. Archives are untrusted, so no member may be written outside of the folder."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from polywheel.errors import BuildError, ConfigError, WheelError
from polywheel.run.source.tar import Kind, Member, TarError, TarReader
from polywheel.system.files import MAX_DEPTH, TOO_DEEP, is_reserved_on_windows, walk
from polywheel.wheel.archive.reader import open_archive

MOST_BYTES = 16 << 30
MOST_FILES = 500_000
"""Files, links, and folders: more than any sdist has."""

_SMALL = 1 << 30
_RATIO = 200
"""An archive may unpack to a GiB, or to this multiple of its size. Sources have a ratio of 10 or 20, and
deflate has at most 1032."""

_CHUNK = 1 << 20
_MAX_LINK = 4096
_FIRST_TIME, _LAST_TIME = 0, (1 << 32) - 1
_UNREADABLE = (
    *(TarError, zipfile.BadZipFile, zlib.error, OSError, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, KeyError),  # as zipfile puts it
)
_DIRECTORY_ENTRY = b"PK\x01\x02"
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""Other methods may need any amount of memory, and no tool uses them for sdists."""

_Read = Callable[[int], bytes]


def unpack_sdist(path: Path, folder: Path) -> Path:
    """Unpack an sdist into an empty folder. Return the only folder that it contains.

    Sdists are ``.tar.gz`` (PEP 517, "Source distributions") or, as in the past, ``.zip``. Files keep their
    modification times. Links must lead to files of the archive. They are created last, so that nothing is
    written through a link. Raises ConfigError if the file is not an sdist, and BuildError if it is broken or
    hostile.
    """
    if not path.name.endswith((".tar.gz", ".zip")):
        raise ConfigError(
            f"{path.name} is not an sdist", hint="expected a name that ends with .tar.gz or .zip"
        )
    try:
        limit = min(MOST_BYTES, max(_SMALL, _RATIO * path.stat().st_size))
        unpacking = _Unpacking(path=path, folder=folder, bytes=limit)
        members = _zip_members(path) if path.suffix == ".zip" else _tar_members(path, limit)
        for member, read in members:
            unpacking.add(member, read)
        unpacking.create_links()
    except _UNREADABLE as error:
        raise BuildError(f"{path.name} can't be unpacked: {error}", at=str(path)) from None
    folders = [inner for inner in folder.iterdir() if inner.is_dir() and not inner.is_symlink()]
    if len(folders) != 1:
        raise BuildError(f"{path.name} contains {len(folders)} folders; expected one", at=str(path))
    return folders[0]


def _tar_members(path: Path, limit: int) -> Iterator[tuple[Member, _Read]]:
    with gzip.open(path, "rb") as stream:
        # A member has one header, and at most two headers that extend it.
        reader = TarReader(stream, most_bytes=limit, most_headers=3 * MOST_FILES)
        for member in reader:
            yield member, reader.read


def _zip_members(path: Path) -> Iterator[tuple[Member, _Read]]:
    directories: list[bytes] = []
    with path.open("rb") as file:
        try:
            open_archive(file, path, seen=directories.append)
        except WheelError as error:  # zipfile reports other problems
            if not directories:
                what = f"{path.name} can't be unpacked: {error.problems[0].what}"
                raise BuildError(what, at=str(path)) from None
        # Check this before zipfile reads all entries into memory.
        if directories.pop().count(_DIRECTORY_ENTRY) > MOST_FILES:
            raise BuildError(f"{path.name} has more than {MOST_FILES} files", at=str(path))
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                if not info.filename:
                    raise BuildError(f"{path.name} contains a file without a name", at=str(path))
                if info.compress_type not in _METHODS:
                    what = f"{path.name} contains a file that is compressed with another method"
                    raise BuildError(f"{what} than deflate: {info.filename!r}", at=str(path))
                with archive.open(info) as content:
                    yield _zip_member(info, content.read), content.read


def _zip_member(info: zipfile.ZipInfo, read: _Read) -> Member:
    mode = info.external_attr >> 16
    kind = Kind.LINK if stat.S_ISLNK(mode) else Kind.FILE
    if info.is_dir():
        kind = Kind.FOLDER
    try:
        # Times in a zip have no time zone. UTC gives the same time on all machines.
        time = datetime(*info.date_time, tzinfo=UTC).timestamp()
    except ValueError:
        time = 0.0
    return Member(
        name=info.filename,
        kind=kind,
        link=os.fsdecode(read(_MAX_LINK)) if kind is Kind.LINK else "",
        size=info.file_size,
        executable=bool(mode & stat.S_IXUSR),
        time=time,
    )


@dataclass(kw_only=True, slots=True)
class _Unpacking:
    """Puts the members of an archive into a folder."""

    path: Path
    folder: Path
    bytes: int
    """The remaining size limit of all files together."""

    links: list[Member] = field(default_factory=list)
    folders: set[PurePosixPath] = field(default_factory=set)
    """The existing folders."""

    files: set[PurePosixPath] = field(default_factory=set)
    count: int = 0
    windows: bool = os.name == "nt"

    def add(self, member: Member, read: _Read) -> None:
        """Write a member, or keep a link for :meth:`create_links`. Raises BuildError and OSError."""
        self._count()
        if member.kind is Kind.OTHER:
            raise self._error(f"has a member that is neither file nor folder: {member.name!r}")
        relative = self._relative_path(member.name)
        if member.kind is Kind.FILE:
            target = self._target(relative)
            if relative not in self.files and os.path.lexists(target):
                # For example, two names differ in case, and the file system ignores case.
                raise self._error(f"has {member.name!r} and another name that is the same here")
            self.files.add(relative)
            self._write(member, target, read)
        elif member.kind is not Kind.FOLDER:
            self.links.append(member)

    def create_links(self) -> None:
        """Create the links. Raises BuildError and OSError."""
        # A hard link is another name of a file of the archive. It becomes a copy of that file.
        for member in self.links:
            if member.kind is Kind.HARD_LINK:
                origin = self.folder / self._relative_path(member.link)
                if not origin.is_file():
                    raise self._error(f"has a link to no file: {member.name!r}")
                self._copy_file(origin, self._target(self._relative_path(member.name)))
        for member in self.links:
            if member.kind is Kind.LINK:
                self._create_symlink(member)

    def _count(self) -> None:
        self.count += 1
        if self.count > MOST_FILES:
            raise self._error(f"has more than {MOST_FILES} files")

    def _take(self, size: int) -> None:
        """Count bytes towards the limit of the archive."""
        self.bytes -= size
        if self.bytes < 0:
            raise self._error("unpacks to more bytes than an sdist of its size may")

    def _error(self, what: str) -> BuildError:
        return BuildError(f"{self.path.name} {what}", at=str(self.path))

    def _relative_path(self, name: str) -> PurePosixPath:
        """Return the path of a member. Raises BuildError if it is not allowed."""
        path = PurePosixPath(name)
        if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
            raise self._error(f"has a file that leads out of it: {name!r}")
        if self.windows and any(map(is_reserved_on_windows, path.parts)):
            raise self._error(f"has a file that Windows has no name for: {name!r}")
        if len(path.parts) > MAX_DEPTH:
            raise self._error(f"can't be unpacked: {TOO_DEEP}")
        return path

    def _target(self, relative: PurePosixPath) -> Path:
        """Return the path for a member in the folder. Create its parent folders."""
        missing = [parent for parent in relative.parents if parent not in self.folders]
        for parent in reversed(missing):
            self._count()
            (self.folder / parent).mkdir(exist_ok=True)
        self.folders.update(missing)
        return self.folder / relative

    def _write(self, member: Member, target: Path, read: _Read) -> None:
        with target.open("wb") as file:
            while chunk := read(_CHUNK):
                self._take(len(chunk))
                file.write(chunk)
        if member.executable:
            target.chmod(target.stat().st_mode | 0o111)
        time = min(max(member.time, _FIRST_TIME), _LAST_TIME)
        os.utime(target, (time, time))

    def _create_symlink(self, member: Member) -> None:
        """Create a symbolic link. Its target must be inside the folder of the archive."""
        relative = self._relative_path(member.name)
        target = PurePosixPath(member.link)
        ups = next((n for n, part in enumerate(target.parts) if part != ".."), len(target.parts))
        out = target.is_absolute() or ups > len(relative.parts) - 2 or ".." in target.parts[ups:]
        link = self._target(relative)
        # The parent of a link may be a link itself, with another number of parents.
        top = self.folder.resolve()
        if out or not member.link or link.parent.resolve() != top / relative.parent:
            raise self._error(f"has a link that leads out of it: {member.name!r} → {member.link!r}")
        if link.is_symlink() or link.exists():
            raise self._error(f"has two members named {member.name!r}")
        try:
            link.symlink_to(member.link)
        except OSError:
            # On Windows, links need a privilege. Copy the target instead.
            origin = link.parent / member.link
            if not origin.is_dir():
                self._copy_file(origin, link)
                return
            if link.is_relative_to(origin):
                raise self._error(f"has a link to a folder around it: {link.name!r}") from None
            for folder, _, names in walk(origin):
                for name in names:
                    self._count()
                    self._take(Path(folder, name).stat().st_size)
            shutil.copytree(origin, link)

    def _copy_file(self, origin: Path, target: Path) -> None:
        self._take(origin.stat().st_size)
        shutil.copy2(origin, target)
