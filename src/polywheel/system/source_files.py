"""Which files of a folder are its source: git says so, or usage where git does not know the folder."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path, PurePath

from polywheel.errors import BuildError
from polywheel.system.files import walk
from polywheel.system.temporary import temporary_folder

LOCAL_VARIABLES = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE"),
    *("GIT_IMPLICIT_WORK_TREE", "GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE"),
)
"""Variables that a hook of git sets, and that would lead from a copy to the original."""

_IGNORED = {
    *(".git", ".hg", ".svn", "__pycache__", ".venv", ".tox", ".nox", ".cache", ".eggs"),
    *(".mypy_cache", ".ruff_cache", ".pytest_cache", "node_modules"),
}
_IGNORED_AT_TOP = {"build", "dist", "target", "_skbuild"}


JOURNAL = ".polywheel-journal.jsonl"
"""The file that a run of polywheel keeps in its output folder, which is no source."""


def git_prefix(folder: Path) -> str | None:
    """Where in its checkout a folder lies (``python/``; ``""`` at the top); None where in none."""
    return git(folder, "rev-parse", "--show-prefix") if shutil.which("git") else None


def known_to_git(root: Path, prefix: str | None) -> list[str] | None:
    """The files of a source that git would take; None where git is not about it.

    ``prefix`` is what :func:`git_prefix` says. A folder within a checkout that git ignores, or has
    nothing of, is no part of it. Raises BuildError where git can't say.
    """
    names = _git_files(root) if prefix is not None else []
    if prefix != "" and not {"pyproject.toml", "setup.py"}.intersection(names):
        return None
    return names


def _git_files(folder: Path) -> list[str]:
    """What git would take below a folder: tracked files, and new ones that it does not ignore.

    A repository within (a submodule, or one that git does not know) gives what it would take itself.
    Raises BuildError where git can't say.
    """
    said = git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if said is None:
        raise BuildError(
            "git can't list the files of this checkout", at=str(folder), hint="see git status there"
        )
    found = set()
    for name in filter(None, said.split("\0")):
        inner = folder / name
        if not is_folder(inner):
            found.add(name)
        elif (inner / ".git").exists():
            found.update(f"{name.rstrip('/')}/{one}" for one in _git_files(inner))
    return sorted(found)


def is_folder(path: Path) -> bool:
    """Whether a path is a folder, and no link to one."""
    return path.is_dir() and not path.is_symlink()


def git(folder: Path, *arguments: str) -> str | None:
    """What git says, without the last line break; None where it fails. It writes nothing."""
    environment = {name: text for name, text in os.environ.items() if name not in LOCAL_VARIABLES}
    # A checkout that another user owns (in a container, say) is built all the same.
    options = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
    try:
        done = subprocess.run(
            [shutil.which("git") or "git", *options, *arguments],
            cwd=folder,
            env={**environment, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError:
        return None
    return os.fsdecode(done.stdout).removesuffix("\n") if done.returncode == 0 else None


def files_below(
    root: Path, *, ignore: bool = False, ignore_at_top: bool = True, strict: bool = True
) -> Iterator[str]:
    """Files and symbolic links below a folder, as relative paths with ``/``.

    ``ignore`` leaves out what is plainly no source; with ``ignore_at_top`` also ``build`` and its like.
    Raises BuildError for folders that lie too deep, and with ``strict`` for one that can't be listed.
    """
    folders = walk(root, strict=strict)
    try:
        yield from _below(root, folders, ignore=ignore, ignore_at_top=ignore_at_top)
    except OSError as error:
        raise unreadable(Path(error.filename or root), error) from None


def _below(
    root: Path,
    found: Iterable[tuple[str, list[str], list[str]]],
    *,
    ignore: bool,
    ignore_at_top: bool,
) -> Iterator[str]:
    for folder, folders, names in found:
        here = Path(folder)
        relative = here.relative_to(root)
        links = [name for name in folders if (here / name).is_symlink()]
        left_out = set()
        if ignore:
            at_top = ignore_at_top and relative == Path()
            left_out = _IGNORED | (_IGNORED_AT_TOP if at_top else set())
            left_out |= {name for name in folders if name.endswith(".egg-info")}
            left_out |= {name for name in folders if (here / name / "pyvenv.cfg").exists()}
        folders[:] = sorted(set(folders) - left_out - set(links))
        for name in (*names, *links):
            if not ignore or name != ".git":  # a worktree has a file of this name
                yield (relative / name).as_posix()


def entries(root: Path, names: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
    """The files and links among these names; what a relative link out of the tree leads to."""
    for name in names:
        path = root / name
        try:
            status = path.lstat() if stays_link(root, name) else path.stat()
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


def stays_link(root: Path, name: str) -> bool:
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


def unreadable(path: Path, error: OSError) -> BuildError:
    """The error for a file of a source that can't be read."""
    why = error.strerror or error
    return BuildError(f"a file of the source can't be read: {why}", at=str(path))
