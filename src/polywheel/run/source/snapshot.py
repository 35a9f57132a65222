"""The source of a run: read once, copied for every build, never written to.

The source of a git or Mercurial checkout has changed and new files, but no ignored files. The source of
another folder leaves out well-known generated folders. An sdist is used completely. Version tools must still
find the version, so a copy of a checkout is a checkout too.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from polywheel.config.project import PYPROJECT
from polywheel.errors import BuildError, ConfigError
from polywheel.run.source import git, mercurial
from polywheel.run.source.git import Repository
from polywheel.run.source.unpack import unpack_sdist
from polywheel.system.cache import cache_directory
from polywheel.system.cache_entries import record_use
from polywheel.system.cache_manifest import is_intact, record_files, write_json
from polywheel.system.files import MAX_DEPTH, TOO_DEEP, sha256_of
from polywheel.system.files import replace as rename
from polywheel.system.source_date_epoch import EARLIEST, LATEST
from polywheel.system.source_files import (
    files_below,
    git_prefix,
    git_source_files,
    is_copied_as_link,
    source_entries,
    unreadable_error,
    without_output_folders,
)
from polywheel.system.temporary import mark_as_used, remove_unused, temporary_folder

_NOTE = "polywheel-source.json"
_SNAPSHOT = "source"
_STATE = " (state of the checkout)"
_SHAPE = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A source tree at the start of the run."""

    root: Path
    files: tuple[str, ...]
    """Relative paths of files and symbolic links, with ``/``, sorted."""

    digest: str
    """SHA-256 of names, modes, contents, and the data for version tools, in hexadecimal."""

    contents: Mapping[str, str]
    """The kind and the SHA-256 of each file, by its path, and the state of each repository."""

    epoch: int
    """The time of the commit, or of the newest file, in seconds since 1970."""

    repositories: tuple[Repository | mercurial.Checkout, ...] = ()
    """If the root is the root of a checkout: its repository, and the repositories inside it."""

    changed: bool = True
    """Whether a checkout has uncommitted changes."""

    prefix: str = ""
    """The path of the root in a git checkout with another root: ``python/``."""

    @property
    def is_checkout(self) -> bool:
        """Whether the root is the root of a checkout."""
        return bool(self.repositories)

    def copy_to(self, folder: Path) -> None:
        """Copy the source to a new folder. Raises BuildError if it can't be written."""
        try:
            copy_files(self.root, self.files, folder)
            for repository in self.repositories:
                repository.write(folder)
        except OSError as error:
            raise BuildError(
                f"the source can't be copied: {error.strerror or error}",
                at=str(error.filename or folder),
            ) from None

    def freeze(self, *, fresh: bool = False) -> Source:
        """Return a copy of the source in the cache. Edits during a run do not change it.

        With ``fresh``, the content of an existing copy is compared, not only sizes and times. Raises
        BuildError if the source has changed since it was read.
        """
        kept = cache_directory() / "snapshots" / self.digest[:32]

        def is_usable() -> bool:
            return is_intact(kept) and (not fresh or self.has_same_content(kept / _SNAPSHOT))

        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            mark_as_used(kept)
            if not is_usable():
                remove_unused(kept.parent)
                with temporary_folder(kept.parent) as folder:
                    new = folder / "new"
                    copy_files(self.root, self.files, new / _SNAPSHOT)
                    if not self.has_same_content(new / _SNAPSHOT):
                        raise source_changed_error()
                    record_files(new)
                    if not is_usable():  # no other run has created it meanwhile
                        _replace_folder(kept, new)
            record_use(kept)
        except OSError as error:
            if not is_intact(kept):  # another run may have created it meanwhile
                raise BuildError(
                    f"the source can't be copied: {error.strerror or error}",
                    at=str(error.filename or kept),
                ) from None
        return replace(self, root=kept / _SNAPSHOT)

    def has_same_content(self, root: Path) -> bool:
        """Whether the files in another folder have the same content. Raises BuildError."""
        return _read_files(root, self.files, self.repositories).digest == self.digest


@contextmanager
def open_source_tree(path: Path, *, clean: bool = False, fresh: bool = False) -> Iterator[Path]:
    """Open a source folder or an sdist. Yield the folder with its pyproject.toml.

    ``clean`` checks out the commit. This is done once: the project, the plan, and the builds are read from
    this folder, so later commits have no effect. ``fresh`` unpacks an sdist again. Raises ConfigError if the
    path is neither a folder nor an sdist, and BuildError if it can't be read.
    """
    if path.is_dir():
        if not clean:
            yield path.resolve()
            return
        git.require_commit(path)
        top = git.checkout_root(path)
        inside = git_prefix(path) or ""
        with temporary_folder() as folder:
            tree = folder.resolve() / top.name
            tree.mkdir()
            git.check_out(top, tree)
            if not (tree / inside).is_dir():
                raise ConfigError(f"{inside} is not committed", at="--clean", hint="remove --clean")
            yield tree / inside
    elif not path.is_file():
        raise ConfigError(
            f"{path} does not exist", hint="expected the folder of a project, or an sdist"
        )
    elif clean:
        raise ConfigError(f"{path.name} is not a git checkout", at="--clean", hint="remove --clean")
    else:
        yield unpack_source(path, fresh=fresh).root


def read_opened_source(tree: Path, origin: Path, *, without: Iterable[Path] = ()) -> Source:
    """Read the source in the folder that :func:`open_source_tree` yielded for ``origin``.

    Files in one of the paths ``without``, or in the output directory of a run, are left out. Raises
    ConfigError and BuildError.
    """
    if origin.is_file():
        return cached_source(tree.parent) or unpack_source(origin)
    return read_source(tree, without=without)


def unpack_source(
    path: Path, *, kept: Path | None = None, epoch: int | None = None, fresh: bool = False
) -> Source:
    """Unpack an sdist into the folder ``kept``, if that is not done yet. Return its source.

    By default the folder is in the cache, named after the content of the archive. ``epoch`` replaces the time
    of the archive. With ``fresh``, the unpacked content of another archive is replaced. Raises ConfigError and
    BuildError.
    """
    try:
        kept = kept or cache_directory() / "sdists" / sha256_of(path)[:32]
        source = cached_source(kept)
        if source is not None and not fresh:
            return source
        kept.parent.mkdir(parents=True, exist_ok=True)
        remove_unused(kept.parent)
        with temporary_folder(kept.parent) as folder:
            new = folder / "new"
            new.mkdir()
            unpack_sdist(path, new)
            unpacked_source(new, kept, epoch=epoch, known=source)
    except OSError as error:
        raise BuildError(
            f"{path.name} can't be unpacked: {error.strerror or error}", at=str(path)
        ) from None
    source = cached_source(kept)
    if source is None:
        raise BuildError(f"{path.name} was unpacked, but is missing now", at=str(kept))
    return source


def unpacked_source(
    new: Path, kept: Path, *, epoch: int | None, known: Source | None = None
) -> Source | None:
    """Move an unpacked sdist, the only folder in ``new``, to the folder ``kept`` of the cache. Return its source.

    If ``known`` has the same content, it stays. Raises OSError and BuildError.
    """
    (root,) = new.iterdir()
    unpacked = read_source(root, whole=True, epoch=epoch)
    note = {
        "shape": _SHAPE,
        "folder": unpacked.root.name,
        "files": unpacked.files,
        "digest": unpacked.digest,
        "contents": unpacked.contents,
        "epoch": unpacked.epoch,
    }
    record_files(new)
    write_json(new / _NOTE, note)
    if known is None or not unpacked.has_same_content(known.root):
        _replace_folder(kept, new)
    return cached_source(kept)


def cached_source(kept: Path) -> Source | None:
    """Return the source that was unpacked into a folder; None if there is none."""
    try:
        if not kept.is_dir():
            return None
        mark_as_used(kept)
        note = json.loads((kept / _NOTE).read_text(encoding="ascii"))
        root = kept / PurePosixPath(note["folder"]).name
        if note["shape"] != _SHAPE or not root.is_dir() or not is_intact(kept):
            return None
        record_use(kept)
        return Source(
            root=root,
            files=tuple(map(str, note["files"])),
            digest=str(note["digest"]),
            contents={str(name): str(text) for name, text in note["contents"].items()},
            epoch=int(note["epoch"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _replace_folder(kept: Path, new: Path) -> None:
    """Give a new folder its name in the cache. A kill leaves no partial folder under that name."""
    with temporary_folder(kept.parent) as folder:
        with suppress(FileNotFoundError):
            rename(kept, folder / "old")
        rename(new, kept)


def source_changed_error() -> BuildError:
    """Return the error for a source that was edited during a run."""
    return BuildError("the source changed while it was read", hint="run it again")


def read_source(
    root: Path, *, whole: bool = False, epoch: int | None = None, without: Iterable[Path] = ()
) -> Source:
    """Read every file of a tree once. Return its source. ``epoch`` replaces the time of the tree.

    ``whole`` includes all files, and not only the files that git lists. Raises BuildError.
    """
    prefix = None if whole else git_prefix(root)
    hg = None
    if prefix != "" and not whole:  # it may be inside a git checkout that ignores it
        hg = mercurial.read_checkout(root)
    repositories: tuple[Repository | mercurial.Checkout, ...] = ()
    if hg is not None:
        names, repositories, prefix, committed = hg.files, (hg,), None, hg.time
    else:
        listed = git_source_files(root, prefix)
        if listed is None:
            prefix = None  # the folder is inside a git checkout, but not part of it
        names = tuple(sorted(files_below(root, ignore=not whole)) if listed is None else listed)
        repositories = tuple(git.find_repositories(root)) if prefix == "" else ()
        committed = git.commit_time(root) if prefix is not None else None
    read = _read_files(root, _without(root, names, without), repositories)
    changed = any(repository.changed for repository in repositories)
    if hg is None:
        changed |= prefix is None or not git.untracked_files(root).isdisjoint(read.files)
    # Never the time of this run: the wheels would differ each time. Edits of the tables of polywheel build
    # nothing again, so they must not change the time of a folder.
    newest = read.newest_of_all if whole else read.newest or read.newest_of_all
    return Source(
        root=root,
        files=read.files,
        digest=read.digest,
        contents=read.contents,
        epoch=min(max(epoch or committed or newest, EARLIEST), LATEST),
        repositories=repositories,
        changed=changed,
        prefix=prefix or "",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _ReadFiles:
    """The existing files of a source."""

    files: tuple[str, ...]
    digest: str
    contents: Mapping[str, str]
    newest: int
    """The time of the newest file except pyproject.toml; 0 if there is no other file."""

    newest_of_all: int


def _read_files(
    root: Path, names: Iterable[str], repositories: Iterable[Repository | mercurial.Checkout]
) -> _ReadFiles:
    """Read the existing files of these names."""
    files, contents = [], {}
    digest = hashlib.sha256()
    for repository in repositories:
        digest.update(f"{repository.at}\0{repository.state}\n".encode("utf-8", "surrogateescape"))
        contents[f"{repository.at or '.'}{_STATE}"] = repository.state
    newest = newest_of_all = 0.0
    for name, status in source_entries(root, names):
        if name.count("/") > MAX_DEPTH:
            raise BuildError(f"in the source, {TOO_DEEP}", at=f"{name[:100]}…")
        files.append(name)
        if name.startswith(mercurial.CHANGED_BY_STATUS):
            continue
        newest_of_all = max(newest_of_all, status.st_mtime)
        if name != PYPROJECT:
            newest = max(newest, status.st_mtime)
        content = _content_digest(root / name, status)
        contents[name] = f"{content[:4].decode()} {content[4:].hex()}"
        digest.update(os.fsencode(name) + b"\0" + content)
    return _ReadFiles(
        files=tuple(files),
        digest=digest.hexdigest(),
        contents=contents,
        newest=int(newest),
        newest_of_all=int(newest_of_all),
    )


def copy_files(root: Path, names: Collection[str], target: Path) -> None:
    """Copy these files to a new folder. Raises OSError, also if the folder exists."""
    try:
        target.mkdir(parents=True)
    except FileExistsError:
        raise OSError(errno.EEXIST, "an earlier copy can't be removed", str(target)) from None
    for folder in sorted({str(parent) for name in names for parent in PurePosixPath(name).parents}):
        (target / folder).mkdir(exist_ok=True)
    for name in names:
        origin, copy = root / name, target / name
        if is_copied_as_link(root, name):
            copy.symlink_to(origin.readlink(), target_is_directory=origin.is_dir())
            continue
        status = origin.stat()
        shutil.copyfile(origin, copy)
        copy.chmod(0o755 if status.st_mode & stat.S_IXUSR else 0o644)
        os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))


def _content_digest(path: Path, status: os.stat_result) -> bytes:
    """Return the kind of a file and the digest of its content. Raises BuildError."""
    if stat.S_ISLNK(status.st_mode):
        return b"link" + hashlib.sha256(os.fsencode(path.readlink())).digest()
    try:
        digest = bytes.fromhex(sha256_of(path))
    except OSError as error:
        raise unreadable_error(path, error) from None
    return (b"exec" if status.st_mode & stat.S_IXUSR else b"file") + digest


def _without(root: Path, names: Sequence[str], paths: Iterable[Path]) -> list[str]:
    """Return the names that are neither in one of these paths nor in the output folder of a run."""
    top = root.resolve()
    folders = [path.resolve() for path in paths]
    inside = [path for path in folders if path != top and path.is_relative_to(top)]
    relative = [f"{path.relative_to(top).as_posix()}/" for path in inside]
    return without_output_folders(names, *relative)
