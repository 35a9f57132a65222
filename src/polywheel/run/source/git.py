"""Read checkouts of git, and make a copy of a source a checkout too.

Version tools ask git for tags, the commit, and changes. So a copy gets a ``.git`` folder of its own, with the
HEAD, tags, and index of the original. It borrows the objects of the original, and never writes there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from polywheel.errors import BuildError, ConfigError
from polywheel.system.source_files import is_real_folder, list_git_files, run_git

_CONFIGURED = (
    *("core.autocrlf", "core.eol", "core.filemode", "core.symlinks", "core.ignorecase"),
    *("core.precomposeunicode", "core.excludesfile", "core.attributesfile", "core.sparsecheckout"),
    *("core.sparsecheckoutcone", "index.sparse", "extensions.objectformat"),
)
"""Settings that decide whether a file is changed. Filters (``filter.NAME.clean``) do this too."""
_CARRIED = ("index", "info/exclude", "info/attributes", "info/sparse-checkout", "shallow")


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """The data of one repository of a checkout for its copy."""

    at: str
    """Its folder, relative to the root of the checkout; ``""`` for the root itself."""

    head: str | None
    """The commit that is checked out; None if there is no commit yet."""

    files: Mapping[str, bytes]
    """The files for ``.git``."""

    empty: tuple[str, ...]
    """The folders of missing submodules. Without these folders, git considers the submodules removed."""

    index_time: int
    """The modification time of the index, in nanoseconds. git uses it to decide which files to read."""

    state: str
    """A digest of the data that version tools use: HEAD, branch, tags, and changes."""

    changed: bool
    """Whether a tracked file, or the index, differs from HEAD."""

    def write(self, tree: Path) -> None:
        """Make the folder of this repository in ``tree`` a checkout."""
        folder = tree / self.at / ".git"
        for name in ("refs/heads", "refs/tags", "objects/info"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for name in self.empty:
            (tree / self.at / name).mkdir(parents=True, exist_ok=True)
        if "index" in self.files:
            os.utime(folder / "index", ns=(self.index_time, self.index_time))


def untracked_files(folder: Path) -> set[str]:
    """Return the new files below a folder, which git neither tracks nor ignores."""
    return set(list_git_files(folder) or ())


def find_repositories(root: Path, at: str = "") -> Iterator[Repository]:
    """Yield the repository at the root of a checkout, and the existing repositories inside it."""
    folder = root / at
    names = [name.rstrip("/") for name in list_git_files(folder, "--cached") or ()]
    inner = [name for name in names if is_real_folder(folder / name)]
    existing = [name for name in inner if (folder / name / ".git").exists()]
    yield _read_repository(folder, at, empty=tuple(name for name in inner if name not in existing))
    for name in existing:
        yield from find_repositories(root, f"{at}/{name}".strip("/"))


def check_out(root: Path, tree: Path) -> None:
    """Check out the commit of a checkout into ``tree``, which becomes a checkout. Raises BuildError."""
    for repository in find_repositories(root):
        commit = repository.head
        if repository.at:  # for an inner repository, the commit that the outer one records
            commit = run_git(tree, "rev-parse", "--verify", "-q", f"HEAD:{repository.at}")
        if commit is None:
            continue
        repository.write(tree)
        if run_git(tree / repository.at, "reset", "--hard", "--quiet", commit) is None:
            raise BuildError("the commit can't be checked out", at=str(root / repository.at))


def checkout_root(folder: Path) -> Path:
    """Return the root of the checkout of a folder; the folder itself if it is not in a checkout."""
    return Path(run_git(folder, "rev-parse", "--show-toplevel") or folder)


def require_commit(folder: Path) -> None:
    """Raise ConfigError if a folder is not in a checkout with a commit."""
    if not run_git(folder, "rev-parse", "--verify", "-q", "HEAD"):
        raise ConfigError(
            f"{folder} is not a git checkout with a commit", at="--clean", hint="remove --clean"
        )


def commit_time(folder: Path) -> int | None:
    """Return the time of the commit that is checked out, in seconds since 1970."""
    output = run_git(folder, "log", "-1", "--format=%ct") or ""
    return int(output) if output.isdigit() else None


def _read_repository(folder: Path, at: str, *, empty: tuple[str, ...]) -> Repository:
    head = run_git(folder, "rev-parse", "--verify", "-q", "HEAD")
    branch = run_git(folder, "symbolic-ref", "-q", "HEAD")
    tags = run_git(folder, "for-each-ref", "--format=%(objectname) %(refname)", "refs/tags") or ""
    refs = "".join(f"{line}\n" for line in tags.splitlines())
    if branch and head:
        refs += f"{head} {branch}\n"
    status = run_git(folder, "status", "--porcelain", "--untracked-files=no") or ""
    index = _git_path(folder, "index")
    texts = {
        "HEAD": f"ref: {branch}\n" if branch else f"{head}\n",
        "packed-refs": refs,
        "config": _config(folder),
        "objects/info/alternates": _alternates(_git_path(folder, "objects")),
    }
    files = {name: os.fsencode(text) for name, text in texts.items()}
    for name in _CARRIED:
        if (path := _git_path(folder, name)).is_file():
            files[name] = path.read_bytes()
    if shared := run_git(folder, "rev-parse", "--shared-index-path"):
        files[Path(shared).name] = (folder / shared).read_bytes()
    state = "\0".join((head or "", branch or "", tags, status))
    return Repository(
        at=at,
        head=head,
        files=files,
        empty=empty,
        index_time=index.stat().st_mtime_ns if index.is_file() else 0,
        state=hashlib.sha256(state.encode("utf-8", "surrogateescape")).hexdigest(),
        changed=head is None or bool(status),
    )


def _alternates(objects: Path) -> str:
    """Return the alternates file of a copy of a repository with these objects."""
    borrowed = objects / "info" / "alternates"
    if borrowed.is_file():
        text = borrowed.read_text(encoding="utf-8", errors="surrogateescape")
        has_own = any(path.name not in {"info", "pack"} for path in objects.iterdir())
        # A repository without objects of its own may be removed before the copy.
        if text.startswith(("/", '"/')) and not (has_own or any((objects / "pack").glob("*"))):
            return text
    return f"{_quote(objects.as_posix())}\n"


def _git_path(folder: Path, name: str) -> Path:
    """Return a path in the repository of a folder. A worktree has some files, and shares the others."""
    return (folder / (run_git(folder, "rev-parse", "--git-path", name) or f".git/{name}")).resolve()


def _config(folder: Path) -> str:
    """Return the configuration of a copy: how changes are detected, and no background work."""
    settings: dict[str, str | None] = {}
    for entry in (run_git(folder, "config", "--list", "-z") or "").split("\0"):
        key, assigned, value = entry.partition("\n")
        if key in _CONFIGURED or key.startswith("filter."):
            settings[key] = value if assigned else None
    # Copies have the modification times of the originals, but not the other data that the index has.
    settings |= {
        "core.bare": "false",
        "core.checkstat": "minimal",
        "core.trustctime": "false",
        "core.fsmonitor": "false",
        "gc.auto": "0",
        "maintenance.auto": "false",
        "core.repositoryformatversion": "1" if "extensions.objectformat" in settings else "0",
    }
    lines = []
    for key, text in settings.items():
        section, _, rest = key.partition(".")
        subsection, _, name = rest.rpartition(".")
        lines.append(f"[{section} {_quote(subsection)}]" if subsection else f"[{section}]")
        lines.append(f"\t{name}" if text is None else f"\t{name} = {_quote(text)}")
    return "".join(f"{line}\n" for line in lines)


def _quote(text: str) -> str:
    """Quote a string for git's files."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def copy_borrowed_objects(tree: Path) -> None:
    """Copy the borrowed objects of the repositories of a copy, so that the copy can be moved.

    They are linked if the file system has links. Objects are never written to.
    """
    for borrowed in [*tree.rglob(".git/objects/info/alternates")]:
        objects = borrowed.parent.parent
        for lender in [*_lenders(objects)]:
            for folder, _, names in os.walk(lender):
                target = objects / Path(folder).relative_to(lender)
                target.mkdir(parents=True, exist_ok=True)
                for name in names:
                    if not (target / name).exists():
                        try:
                            (target / name).hardlink_to(Path(folder, name))
                        except OSError:  # another file system, or one without links
                            shutil.copy2(Path(folder, name), target / name)
        borrowed.unlink()


def _lenders(objects: Path) -> Iterator[Path]:
    """Yield the folders that objects are borrowed from, directly and indirectly."""
    try:
        text = (objects / "info" / "alternates").read_text("utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return
    for line in filter(None, text.splitlines()):
        lender = objects / line.strip('"')
        yield lender
        yield from _lenders(lender)
