"""Which files of a folder are its source: git says so, or usage where git does not know the folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from polywheel.errors import BuildError
from polywheel.system.files import walk

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


def unreadable(path: Path, error: OSError) -> BuildError:
    """The error for a file of a source that can't be read."""
    why = error.strerror or error
    return BuildError(f"a file of the source can't be read: {why}", at=str(path))
