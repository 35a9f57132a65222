"""The source of a run: read once, copied for every build, never written to.

A checkout of git or Mercurial is taken with what is changed and new in it, without what is ignored;
anything else without what is plainly no source; an sdist whole. Version tools must still find the
version, so a copy of a checkout is a checkout too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from polywheel.errors import BuildError, ConfigError
from polywheel.run.source import git, mercurial
from polywheel.run.source.git import Repository
from polywheel.run.source.tree import content_digest, copy_files, remove_folder
from polywheel.run.source.unpack import unpack_sdist
from polywheel.system.cache import cache_directory
from polywheel.system.files import MAX_DEPTH, TOO_DEEP, sha256_of
from polywheel.system.files import replace as rename
from polywheel.system.manifest import is_intact, record_files, write_synced
from polywheel.system.source_date_epoch import EARLIEST, LATEST
from polywheel.system.source_files import (
    JOURNAL,
    files_below,
    git_prefix,
    git_source_files,
    source_entries,
)
from polywheel.system.temporary import mark_as_used, remove_unused, temporary_folder

_NOTE = "polywheel-source.json"
_SNAPSHOT = "source"
_SHAPE = 1
_KEPT = 7 * 24 * 3600
"""Seconds that a snapshot, or an unpacked sdist, is kept after its last use."""
_MOST = 20
"""Snapshots, and unpacked sdists, that are kept: those that were used last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A source tree, as it was when the run began."""

    root: Path
    files: tuple[str, ...]
    """Relative paths with ``/``, sorted; symbolic links among them."""

    digest: str
    """SHA-256 over names, modes and contents, and what version tools see; hexadecimal."""

    epoch: int
    """Seconds since 1970: the commit's, or that of the newest file."""

    repositories: tuple[Repository | mercurial.Checkout, ...] = ()
    """Where the root is that of a checkout: its own, and those within."""

    changed: bool = True
    """Whether a checkout holds what is not committed."""

    prefix: str = ""
    """Where the root lies in a checkout of git whose root is elsewhere: ``python/``."""

    @property
    def is_checkout(self) -> bool:
        """Whether the root is that of a checkout."""
        return bool(self.repositories)

    def copy_to(self, place: Path) -> None:
        """Make ``place`` a copy: what is there already and equal stays, what is no part goes.

        One place is for one thread at a time. Raises BuildError where it can't be written.
        """
        try:
            copy_files(self.root, self.files, place)
            for repository in self.repositories:
                repository.write(place)
        except OSError as error:
            raise BuildError(
                f"the source can't be copied: {error.strerror or error}",
                at=str(error.filename or place),
            ) from None

    def frozen(self, *, fresh: bool = False) -> Source:
        """The same source in a folder of the cache: what is edited during a run has no effect on it.

        With ``fresh``, the content of one that is there is compared, and not only sizes and times.
        Raises BuildError where it has changed since it was read.
        """
        kept = cache_directory() / "snapshots" / self.digest[:32]
        try:
            if fresh and is_intact(kept) and not self.is_content_of(kept / _SNAPSHOT):
                remove_folder(kept)
            kept.parent.mkdir(parents=True, exist_ok=True)
            mark_as_used(kept)
            if not is_intact(kept):
                remove_unused(kept.parent, most=_MOST, seconds=_KEPT)
                with temporary_folder(kept.parent) as folder:
                    made = folder / "made"
                    copy_files(self.root, self.files, made / _SNAPSHOT)
                    if not self.is_content_of(made / _SNAPSHOT):
                        raise BuildError(
                            "the source changed while it was read", hint="run it again"
                        )
                    record_files(made)
                    _keep(made, kept)
            os.utime(kept)  # so that it counts as used
        except OSError as error:
            if not is_intact(kept):  # another run may have been quicker
                raise BuildError(
                    f"the source can't be copied: {error.strerror or error}",
                    at=str(error.filename or kept),
                ) from None
        return replace(self, root=kept / _SNAPSHOT)

    def is_content_of(self, root: Path) -> bool:
        """Whether these files have this content in another folder. Raises BuildError."""
        return _read(root, self.files, self.repositories).digest == self.digest


@contextmanager
def open_source_tree(path: Path, *, clean: bool = False, fresh: bool = False) -> Iterator[Path]:
    """The folder of the source in a folder or an sdist, in which its pyproject.toml is.

    ``clean`` checks out what is committed. That is done once: the project, the plan, and the builds
    are read from this folder, so a commit made meanwhile has no effect. ``fresh`` unpacks an sdist
    again, though an earlier run has done it. Raises ConfigError for a path that is neither a folder
    nor an sdist, BuildError where it can't be read.
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
                raise ConfigError(f"{inside} is not committed", at="--clean", hint="drop --clean")
            yield tree / inside
    elif not path.is_file():
        raise ConfigError(f"there is no {path}", hint="name a project's folder, or an sdist")
    elif clean:
        raise ConfigError(f"{path.name} is no checkout of git", at="--clean", hint="drop --clean")
    else:
        yield unpack_source(path, fresh=fresh).root


def read_opened_source(tree: Path, origin: Path, *, without: Iterable[Path] = ()) -> Source:
    """The source in a folder that :func:`open_source_tree` made of ``origin``.

    Files in one of the paths ``without``, or in the output directory of a run, are not part of it.
    Raises ConfigError and BuildError.
    """
    if origin.is_file():
        return cached_source(tree.parent) or unpack_source(origin)
    return read_source(tree, without=without)


def unpack_source(
    path: Path, *, kept: Path | None = None, epoch: int | None = None, fresh: bool = False
) -> Source:
    """The source in an sdist, unpacked into the folder ``kept`` if it is not there already.

    By default that is one of the cache for the archive's content. ``epoch`` is the time of the
    source, where the archive's own does not count. With ``fresh``, what was unpacked there from
    another archive is replaced. Raises ConfigError and BuildError.
    """
    try:
        kept = kept or cache_directory() / "sdists" / sha256_of(path)[:32]
        found = cached_source(kept)
        if found is not None and not fresh:
            return found
        kept.parent.mkdir(parents=True, exist_ok=True)
        remove_unused(kept.parent, most=_MOST, seconds=_KEPT)
        with temporary_folder(kept.parent) as folder:
            made = folder / "made"
            made.mkdir()
            source = read_source(unpack_sdist(path, made), whole=True, epoch=epoch)
            note = {
                "shape": _SHAPE,
                "folder": source.root.name,
                "files": source.files,
                "digest": source.digest,
                "epoch": source.epoch,
            }
            record_files(made)
            # Names that are no UTF-8 are escaped, and come back as they were.
            write_synced(made / _NOTE, json.dumps(note))
            if found is None or not source.is_content_of(found.root):
                remove_folder(kept)
                rename(made, kept)
    except OSError as error:
        raise BuildError(
            f"{path.name} can't be unpacked: {error.strerror or error}", at=str(path)
        ) from None
    found = cached_source(kept)
    if found is None:
        raise BuildError(f"{path.name} was unpacked, and is gone again", at=str(kept))
    return found


def _keep(made: Path, kept: Path) -> None:
    """Give a folder its name in the cache; one that is there already stays, where it is intact."""
    if not is_intact(kept):
        remove_folder(kept)
        rename(made, kept)


def cached_source(kept: Path) -> Source | None:
    """The source that was unpacked there; None where none was."""
    try:
        if not kept.is_dir():
            return None
        mark_as_used(kept)
        said = json.loads((kept / _NOTE).read_text(encoding="ascii"))
        root = kept / PurePosixPath(said["folder"]).name
        if said["shape"] != _SHAPE or not root.is_dir() or not is_intact(kept):
            return None
        os.utime(kept)  # so that it counts as used
        return Source(
            root=root,
            files=tuple(map(str, said["files"])),
            digest=str(said["digest"]),
            epoch=int(said["epoch"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def read_source(
    root: Path, *, whole: bool = False, epoch: int | None = None, without: Iterable[Path] = ()
) -> Source:
    """Read every file of a tree once. ``epoch`` is its time, where it is not told by the tree.

    ``whole`` takes what is there, in place of what git or usage call the source. Raises BuildError.
    """
    inside = None if whole else git_prefix(root)
    hg = None
    if inside != "" and not whole:  # also one that a checkout of git has within it, and ignores
        hg = mercurial.read_checkout(root)
    if hg is not None:
        found = _read(root, _without(root, hg.files, without), [hg])
        epoch = epoch or hg.time or found.newest
        return _as_source(root, found, epoch, repositories=(hg,), changed=hg.changed)
    names = git_source_files(root, inside)
    if names is None:
        inside = None  # git is about something else, which has this folder in it
        names = sorted(files_below(root, ignore=not whole))
    repositories = tuple(git.find_repositories(root)) if inside == "" else ()
    found = _read(root, _without(root, names, without), repositories)
    committed = git.commit_time(root) if inside is not None else None
    changed = any(one.changed for one in repositories) or (
        inside is None or not git.untracked_files(root).isdisjoint(found.files)
    )
    epoch = epoch or committed or found.newest
    return _as_source(
        root, found, epoch, repositories=repositories, changed=changed, prefix=inside or ""
    )


def _as_source(
    root: Path,
    found: _Read,
    epoch: int,
    *,
    repositories: tuple[Repository | mercurial.Checkout, ...],
    changed: bool,
    prefix: str = "",
) -> Source:
    return Source(
        root=root,
        files=found.files,
        digest=found.digest,
        # Never the time of this run: the wheels would be others every time.
        epoch=min(max(epoch, EARLIEST), LATEST),
        repositories=repositories,
        changed=changed,
        prefix=prefix,
    )


class _Read(NamedTuple):
    files: tuple[str, ...]
    digest: str
    newest: int


def _read(
    root: Path, names: Iterable[str], repositories: Iterable[Repository | mercurial.Checkout]
) -> _Read:
    """What of these names is there, and the digest of all of it."""
    files = []
    total = hashlib.sha256()
    for one in repositories:
        total.update(f"{one.at}\0{one.state}\n".encode("utf-8", "surrogateescape"))
    newest = 0.0
    for name, status in source_entries(root, names):
        if name.count("/") > MAX_DEPTH:
            raise BuildError(f"in the source, {TOO_DEEP}", at=f"{name[:100]}…")
        files.append(name)
        if name.startswith(mercurial.CHANGED_BY_STATUS):
            continue
        newest = max(newest, status.st_mtime)
        total.update(os.fsencode(name) + b"\0" + content_digest(root / name, status))
    return _Read(tuple(files), total.hexdigest(), int(newest))


def _without(root: Path, names: Sequence[str], paths: Iterable[Path]) -> list[str]:
    """The names that lie neither in one of these paths nor where a run of polywheel writes."""
    place = root.resolve()
    ours = {name.removesuffix(JOURNAL) for name in names if name.endswith(f"/{JOURNAL}")}
    for path in paths:
        resolved = path.resolve()
        if resolved != place and resolved.is_relative_to(place):
            ours.add(f"{resolved.relative_to(place).as_posix()}/")
    return [name for name in names if not any(f"{name}/".startswith(one) for one in ours)]
