"""The source of a run: read once, copied for every build, never written to.

A checkout of git is taken with what is changed and what is new in it, but without what git ignores;
anything else without what is plainly no source. Version tools must still find the version, so a copy
of a checkout is a checkout too: it borrows the objects of the original and has its HEAD and tags.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from polywheel.errors import BuildError, ConfigError

_IGNORED = {
    *(".git", ".hg", ".svn", "__pycache__", ".venv", "venv", ".tox", ".nox", ".cache"),
    *(".mypy_cache", ".ruff_cache", ".pytest_cache", "node_modules", ".eggs"),
}
_IGNORED_AT_TOP = {"build", "dist", "target", "_skbuild"}
_CHUNK = 1024 * 1024
_GIT_ALONE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A source tree, as it was when the run began."""

    root: Path
    files: tuple[str, ...]
    """Relative paths with ``/``, sorted; symbolic links among them."""

    digest: str
    """SHA-256 over names, modes and contents, hexadecimal."""

    epoch: int
    """Seconds since 1970: the commit's, or that of the newest file."""

    git: bool
    """Whether the root is that of a checkout of git."""

    head: str | None
    """The commit that a checkout is at."""

    changed: bool
    """Whether a checkout holds what is not committed."""

    def copy_to(self, place: Path) -> None:
        """Make ``place`` a copy: what is there already and equal stays, what is no part goes."""
        place.mkdir(parents=True, exist_ok=True)
        wanted = set(self.files)
        for path in _files_below(place):
            if path not in wanted:
                (place / path).unlink()
        for name in self.files:
            _copy_file(self.root / name, place / name)
        if self.git:
            _borrow_git(self.root, place, self.head)


@contextmanager
def opened_source(path: Path, *, clean: bool = False) -> Iterator[Source]:
    """The source in a folder or an sdist; ``clean`` takes what is committed only.

    Raises ConfigError for what is neither, BuildError where it can't be read.
    """
    if path.is_dir():
        if clean:
            with _committed(path.resolve()) as tree:
                yield read_source(tree)
        else:
            yield read_source(path.resolve())
        return
    if not path.is_file():
        raise ConfigError(f"there is no {path}", hint="name a project's folder, or an sdist")
    with tempfile.TemporaryDirectory(prefix="polywheel-") as folder:
        yield read_source(unpacked(path, Path(folder).resolve()))


def read_source(root: Path, *, epoch: int | None = None) -> Source:
    """Read every file of a tree once. ``epoch`` is its time where it has none itself.

    Raises BuildError.
    """
    git = (root / ".git").exists() and shutil.which("git") is not None
    head = _git(root, "rev-parse", "--verify", "-q", "HEAD") if git else None
    names = _tracked(root) if git else sorted(_files_below(root, ignore=True))
    total = hashlib.sha256((head or "").encode("ascii"))
    newest = 0.0
    files = []
    for name in names:
        path = root / name
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue  # deleted, and git does not know yet
        if path.is_dir() and not path.is_symlink():
            continue  # a submodule that is not there
        newest = max(newest, status.st_mtime)
        files.append(name)
        total.update(f"{name}\0{status.st_mode & 0o111:o}\0".encode("utf-8", "surrogateescape"))
        total.update(_digest(path))
    committed = _git(root, "log", "-1", "--format=%ct") if head else None
    return Source(
        root=root,
        files=tuple(files),
        digest=total.hexdigest(),
        epoch=epoch or int(committed or newest or time.time()),
        git=git,
        head=head,
        changed=bool(_git(root, "status", "--porcelain")) if head else True,
    )


def _digest(path: Path) -> bytes:
    if path.is_symlink():
        return os.fsencode(path.readlink())
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                found.update(chunk)
    except OSError as error:
        raise BuildError(
            f"a file of the source can't be read: {error.strerror or error}", at=str(path)
        ) from None
    return found.digest()


def _tracked(root: Path) -> list[str]:
    """What git would take: tracked files, and new ones that it does not ignore."""
    said = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard") or ""
    return sorted({name for name in said.split("\0") if name})


def _files_below(root: Path, *, ignore: bool = False) -> Iterator[str]:
    """Files and symbolic links below a folder, as relative paths with ``/``."""
    for folder, folders, names in os.walk(root):
        relative = Path(folder).relative_to(root)
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        left_out = {".git"}
        if ignore:
            left_out = _IGNORED | (_IGNORED_AT_TOP if relative == Path() else set())
        folders[:] = sorted(
            name
            for name in folders
            if name not in left_out
            and name not in links
            and not (ignore and name.endswith(".egg-info"))
        )
        for name in (*names, *links):
            yield (relative / name).as_posix()


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        if target.is_symlink() and target.readlink() == source.readlink():
            return
        target.unlink(missing_ok=True)
        target.symlink_to(source.readlink())
        return
    if target.is_symlink():
        target.unlink()
    shutil.copy2(source, target)


def _borrow_git(root: Path, place: Path, head: str | None) -> None:
    """A repository of its own in ``place`` with the objects, tags and HEAD of the original."""
    shutil.rmtree(place / ".git", ignore_errors=True)
    if _git(place, "init", "--quiet") is None or head is None:
        return
    objects = _git(root, "rev-parse", "--git-path", "objects")
    if objects is None:
        return
    borrowed = place / ".git" / "objects" / "info" / "alternates"
    borrowed.parent.mkdir(parents=True, exist_ok=True)
    borrowed.write_text(f"{(root / objects).resolve()}\n", encoding="utf-8", newline="\n")
    tags = _git(root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/tags") or ""
    packed = "# pack-refs with: peeled fully-peeled sorted\n"
    packed += "".join(f"{line}\n" for line in sorted(tags.splitlines(), key=lambda one: one[41:]))
    (place / ".git" / "packed-refs").write_text(packed, encoding="utf-8", newline="\n")
    _git(place, "update-ref", "--no-deref", "HEAD", head)
    shallow = _git(root, "rev-parse", "--git-path", "shallow")
    if shallow is not None and (root / shallow).is_file():
        shutil.copy(root / shallow, place / ".git" / "shallow")
    _git(place, "read-tree", "HEAD")
    _git(place, "update-index", "-q", "--refresh")


@contextmanager
def _committed(root: Path) -> Iterator[Path]:
    """What is committed, as a checkout of its own."""
    head = _git(root, "rev-parse", "--verify", "-q", "HEAD")
    if head is None:
        raise ConfigError(f"{root} is no checkout of git with a commit", hint="drop --clean")
    with tempfile.TemporaryDirectory(prefix="polywheel-") as folder:
        tree = Path(folder).resolve() / "source"
        tree.mkdir()
        _borrow_git(root, tree, head)
        if _git(tree, "checkout", "--quiet", "--force", "--detach", head) is None:
            raise BuildError("the committed source can't be checked out", at=str(root))
        yield tree


def _git(root: Path, *arguments: str) -> str | None:
    """What git says, without the last line break; None where it fails."""
    environment = {name: text for name, text in os.environ.items() if name not in _GIT_ALONE}
    try:
        done = subprocess.run(
            # A checkout that another user owns (in a container, say) is built all the same.
            [
                shutil.which("git") or "git",
                "-c",
                "safe.directory=*",
                "-c",
                "core.quotePath=false",
                *arguments,
            ],
            cwd=root,
            env={**environment, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError:
        return None
    if done.returncode != 0:
        return None
    return done.stdout.decode("utf-8", "surrogateescape").removesuffix("\n")


def unpacked(path: Path, folder: Path) -> Path:
    """The one folder of an sdist."""
    try:
        if path.name.endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")  # the filter refuses escapes
        elif path.name.endswith(".zip"):
            with zipfile.ZipFile(path) as zipped:
                _refuse_escaping(zipped.namelist(), path)
                zipped.extractall(folder)  # noqa: S202  # names have been looked at
        else:
            raise ConfigError(
                f"{path.name} is no sdist", hint="its name ends with .tar.gz, or with .zip"
            )
    except (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError) as error:
        raise BuildError(f"{path.name} can't be unpacked: {error}", at=str(path)) from None
    found = [one for one in folder.iterdir() if one.is_dir()]
    if len(found) != 1:
        raise BuildError(f"{path.name} holds {len(found)} folders in place of one", at=str(path))
    return found[0]


def _refuse_escaping(names: Iterable[str], path: Path) -> None:
    for name in names:
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or name.startswith(("/", "\\")) or ":" in parts[0]:
            raise BuildError(f"{path.name} holds a file that leads out of it: {name!r}")
