"""List the source files of a folder: those that git lists, or all but well-known generated folders."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path, PurePath

from polywheel.errors import BuildError
from polywheel.system.files import walk
from polywheel.system.processes import capture_output
from polywheel.system.temporary import temporary_folder

GIT_LOCAL_VARIABLES = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE"),
    *("GIT_IMPLICIT_WORK_TREE", "GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE"),
)
"""Variables that git hooks set. They would make git in a copy use the original repository."""

_IGNORED = {
    *(".git", ".hg", ".svn", "__pycache__", ".venv", ".tox", ".nox", ".cache", ".eggs"),
    *(".mypy_cache", ".ruff_cache", ".pytest_cache", "node_modules"),
}
_IGNORED_AT_TOP = {"build", "dist", "target", "_skbuild"}
JOURNAL = ".polywheel-journal.jsonl"
"""The file that a run of polywheel keeps in its output folder. It is not source."""


def git_prefix(folder: Path) -> str | None:
    """Return the path of a folder in its checkout (``python/``; ``""`` at the top); None if it is in none."""
    return run_git(folder, "rev-parse", "--show-prefix")


def list_git_files(folder: Path, *kinds: str) -> list[str] | None:
    """List the new files below a folder that git does not ignore, and inner repositories.

    ``kinds`` are options of ``git ls-files`` that add files. Returns None if git fails.
    """
    output = run_git(folder, "ls-files", "-z", *kinds, "--others", "--exclude-standard")
    return None if output is None else list(filter(None, output.split("\0")))


def git_source_files(root: Path, prefix: str | None) -> list[str] | None:
    """Return the source files that git lists; None if the folder does not belong to a checkout.

    ``prefix`` is the result of :func:`git_prefix`. A folder inside a checkout does not belong to it if git
    ignores it or has no file of it. Raises BuildError if git fails.
    """
    names = _tracked_and_new(root) if prefix is not None else []
    if prefix != "" and not {"pyproject.toml", "setup.py"}.intersection(names):
        return None
    return names


def _tracked_and_new(folder: Path) -> list[str]:
    """List files below a folder with those of inner repositories, which git may not track. Raises BuildError."""
    names = list_git_files(folder, "--cached")
    if names is None:
        raise BuildError(
            "git can't list the files of this checkout", at=str(folder), hint="run git status there"
        )
    files = set()
    for name in names:
        inner = folder / name
        if not is_real_folder(inner):
            files.add(name)
        elif (inner / ".git").exists():
            files.update(f"{name.rstrip('/')}/{file}" for file in _tracked_and_new(inner))
    return sorted(files)


def is_real_folder(path: Path) -> bool:
    """Whether a path is a folder, and not a link to a folder."""
    return path.is_dir() and not path.is_symlink()


def run_git(folder: Path, *arguments: str) -> str | None:
    """Return the output of git without the last line break; None if it fails, or if there is no git."""
    git = shutil.which("git")
    if git is None:
        return None
    environment = {
        name: text for name, text in os.environ.items() if name not in GIT_LOCAL_VARIABLES
    }
    # A checkout of another user (for example in a container) is built too.
    options = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
    output = capture_output(
        [git, *options, *arguments],
        folder=folder,
        environment={**environment, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
    )
    return None if output is None else os.fsdecode(output).removesuffix("\n")


def files_below(
    root: Path, *, ignore: bool = False, ignore_at_top: bool = True, strict: bool = True
) -> Iterator[str]:
    """Yield files and symbolic links below a folder, as relative paths with ``/``.

    ``ignore`` leaves out well-known folders that are not source; with ``ignore_at_top`` also ``build`` and
    similar folders at the top. Raises BuildError if folders are nested too deeply, and with ``strict`` if
    a folder can't be listed.
    """
    try:
        for path, folders, names in walk(root, strict=strict):
            folder = Path(path)
            relative = folder.relative_to(root)
            links = [name for name in folders if (folder / name).is_symlink()]
            ignored = set()
            if ignore:
                at_top = ignore_at_top and relative == Path()
                ignored = _IGNORED | (_IGNORED_AT_TOP if at_top else set())
                ignored |= {name for name in folders if name.endswith(".egg-info")}
                ignored |= {name for name in folders if (folder / name / "pyvenv.cfg").exists()}
            folders[:] = sorted(set(folders) - ignored - set(links))
            for name in (*names, *links):
                if not ignore or name != ".git":  # in a worktree, .git is a file
                    yield (relative / name).as_posix()
    except OSError as error:
        raise unreadable_error(Path(error.filename or root), error) from None


def without_output_folders(names: Sequence[str], *folders: str) -> list[str]:
    """Return the names that are neither in the output folder of a run nor in ``folders`` (``build/``)."""
    outputs = [name.removesuffix(JOURNAL) for name in names if name.endswith(f"/{JOURNAL}")]
    return [name for name in names if not f"{name}/".startswith((*outputs, *folders))]


def source_entries(root: Path, names: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the files and links among these names, with their status.

    A relative link that leads out of the tree counts as its target.
    """
    for name in names:
        path = root / name
        try:
            status = path.lstat() if is_copied_as_link(root, name) else path.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue  # deleted, but not yet in git
        except OSError as error:
            raise unreadable_error(path, error) from None
        if stat.S_ISDIR(status.st_mode):
            if path.resolve() in {parent.resolve() for parent in path.parents}:
                continue  # a link to its own parent: a copy would be infinite
            inner = sorted(f"{name}/{file}" for file in files_below(path, ignore=True))
            yield from source_entries(root, inner)
        elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):  # not a pipe or a socket
            yield name, status


def is_copied_as_link(root: Path, name: str) -> bool:
    """Whether a name is a symbolic link that stays a link in a copy of the tree.

    A relative link that leads out of the tree would have another target in a copy. If this process can't
    create links, a copy has their targets.
    """
    path = root / name
    if not path.is_symlink() or not can_link():
        return False
    link = path.readlink()
    reached = PurePath(os.path.normpath(PurePath(name).parent / link))
    if link.is_absolute() or reached.parts[:1] != ("..",) or not path.exists():
        return True
    # A copy of its target would contain the tree again.
    return path.resolve() in root.resolve().parents


@cache
def can_link() -> bool:
    """Whether this process may create symbolic links. On Windows that needs a privilege."""
    if os.name != "nt":
        return True
    with temporary_folder() as folder:
        try:
            (folder / "link").symlink_to("nowhere")
        except OSError:
            return False
    return True


def unreadable_error(path: Path, error: OSError) -> BuildError:
    """Return the error for a source file that can't be read."""
    why = error.strerror or error
    return BuildError(f"a file of the source can't be read: {why}", at=str(path))
