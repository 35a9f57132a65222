"""Checkouts of git: what is in them, and what a copy needs to be one too.

Version tools ask git for tags, the commit and what has changed, so a copy gets a ``.git`` of its own:
it has the HEAD, tags and index of the original, borrows its objects, and never writes there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from polywheel.errors import BuildError, ConfigError
from polywheel.system.source_files import is_real_folder, run_git

_CONFIGURED = (
    *("core.autocrlf", "core.eol", "core.filemode", "core.symlinks", "core.ignorecase"),
    *("core.precomposeunicode", "core.excludesfile", "core.attributesfile", "core.sparsecheckout"),
    *("core.sparsecheckoutcone", "index.sparse", "extensions.objectformat"),
)
"""Settings that say whether a file counts as changed; filters (``filter.NAME.clean``) do too."""
_CARRIED = ("info/exclude", "info/attributes", "info/sparse-checkout", "shallow")


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """One repository of a checkout, as a copy of it is to have it."""

    at: str
    """Its folder, relative to the root of the checkout; ``""`` for the root itself."""

    head: str | None
    """The commit that is checked out; None where there is none yet."""

    files: Mapping[str, bytes]
    """What is to lie in ``.git``."""

    empty: tuple[str, ...]
    """The folders of submodules that are not there: without them git takes one for removed."""

    index_time: int
    """When the index was written, in nanoseconds; by it git knows which files to look into."""

    state: str
    """What version tools see of it (HEAD, branch, tags, what differs), as a digest."""

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
    """The files below a folder that are new: git neither tracks nor ignores them."""
    said = run_git(folder, "ls-files", "-z", "--others", "--exclude-standard") or ""
    return set(filter(None, said.split("\0")))


def find_repositories(root: Path, at: str = "") -> Iterator[Repository]:
    """The repository at the root of a checkout, and those within it that are there."""
    folder = root / at
    said = run_git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard") or ""
    names = [name.rstrip("/") for name in said.split("\0") if name]
    within = [name for name in names if is_real_folder(folder / name)]
    there = [name for name in within if (folder / name / ".git").exists()]
    yield _repository(folder, at, empty=tuple(name for name in within if name not in there))
    for name in there:
        yield from find_repositories(root, f"{at}/{name}".strip("/"))


def check_out(root: Path, tree: Path) -> None:
    """Fill ``tree`` with what is committed in a checkout, as a checkout. Raises BuildError."""
    for one in find_repositories(root):
        commit = one.head
        if one.at:  # of what is within, the commit that the one around it names
            commit = run_git(tree, "rev-parse", "--verify", "-q", f"HEAD:{one.at}")
        if commit is None:
            continue
        one.write(tree)
        place = tree / one.at
        if run_git(place, "reset", "--hard", "--quiet", commit) is None:
            raise BuildError("what is committed can't be checked out", at=str(root / one.at))


def checkout_root(folder: Path) -> Path:
    """The root of the checkout that a folder lies in; the folder itself where it lies in none."""
    return Path(run_git(folder, "rev-parse", "--show-toplevel") or folder)


def require_commit(folder: Path) -> None:
    """Raise ConfigError where a folder is in no checkout that has a commit."""
    known = shutil.which("git") and run_git(folder, "rev-parse", "--verify", "-q", "HEAD")
    if not known:
        raise ConfigError(
            f"{folder} is no checkout of git with a commit", at="--clean", hint="drop --clean"
        )


def commit_time(folder: Path) -> int | None:
    """When the commit that is checked out was made, in seconds since 1970."""
    said = run_git(folder, "log", "-1", "--format=%ct") or ""
    return int(said) if said.isdigit() else None


def _repository(folder: Path, at: str, *, empty: tuple[str, ...] = ()) -> Repository:
    head = run_git(folder, "rev-parse", "--verify", "-q", "HEAD")
    branch = run_git(folder, "symbolic-ref", "-q", "HEAD")
    tags = run_git(folder, "for-each-ref", "--format=%(objectname) %(refname)", "refs/tags") or ""
    refs = "".join(f"{line}\n" for line in tags.splitlines())
    if branch and head:
        refs += f"{head} {branch}\n"
    status = run_git(folder, "status", "--porcelain", "--untracked-files=no") or ""
    index = _inside(folder, "index")
    files = {
        "HEAD": f"ref: {branch}\n" if branch else f"{head}\n",
        "packed-refs": refs,
        "config": _config(folder),
        "objects/info/alternates": _lender(_inside(folder, "objects")),
    }
    content = {name: os.fsencode(text) for name, text in files.items()}
    for name in _CARRIED:
        if (path := _inside(folder, name)).is_file():
            content[name] = path.read_bytes()
    if index.is_file():
        content["index"] = index.read_bytes()
        shared = run_git(folder, "rev-parse", "--shared-index-path")
        if shared:
            content[Path(shared).name] = (folder / shared).read_bytes()
    seen = "\0".join((head or "", branch or "", tags, status))
    return Repository(
        at=at,
        head=head,
        files=content,
        empty=empty,
        index_time=index.stat().st_mtime_ns if index.is_file() else 0,
        state=hashlib.sha256(seen.encode("utf-8", "surrogateescape")).hexdigest(),
        changed=head is None or bool(status),
    )


def _lender(objects: Path) -> str:
    """Where a copy of a repository with these objects gets them from."""
    borrowed = objects / "info" / "alternates"
    if borrowed.is_file() and not any(
        one.name not in {"info", "pack"} for one in objects.iterdir()
    ):
        text = borrowed.read_text(encoding="utf-8", errors="surrogateescape")
        # One that has none of its own, and may be gone sooner than the copy.
        if text.startswith(("/", '"/')) and not any((objects / "pack").glob("*")):
            return text
    return f"{_quoted(objects.as_posix())}\n"


def _inside(folder: Path, name: str) -> Path:
    """A path in the repository of a folder; a worktree has some of its own, and shares the others."""
    return (folder / (run_git(folder, "rev-parse", "--git-path", name) or f".git/{name}")).resolve()


def _config(folder: Path) -> str:
    """The configuration of a copy: what says when a file has changed, and no work behind its back."""
    said: dict[str, str | None] = {}
    for entry in (run_git(folder, "config", "--list", "-z") or "").split("\0"):
        key, assigned, value = entry.partition("\n")
        if key in _CONFIGURED or key.startswith("filter."):
            said[key] = value if assigned else None
    # Copies have the times of the originals, and nothing else that the index knows of a file.
    said |= {
        "core.bare": "false",
        "core.checkstat": "minimal",
        "core.trustctime": "false",
        "core.fsmonitor": "false",
        "gc.auto": "0",
        "maintenance.auto": "false",
        "core.repositoryformatversion": "1" if "extensions.objectformat" in said else "0",
    }
    lines = []
    for key, text in said.items():
        section, _, rest = key.partition(".")
        subsection, _, name = rest.rpartition(".")
        lines.append(f"[{section} {_quoted(subsection)}]" if subsection else f"[{section}]")
        lines.append(f"\t{name}" if text is None else f"\t{name} = {_quoted(text)}")
    return "".join(f"{line}\n" for line in lines)


def _quoted(text: str) -> str:
    """A string as git's files take it, whatever is in it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def copy_borrowed_objects(tree: Path) -> None:
    """Give the repositories of a copy the objects that they borrow, for where it is to be moved to.

    They are linked where the file system can, as nobody ever writes to one.
    """
    for borrowed in [*tree.rglob(".git/objects/info/alternates")]:
        objects = borrowed.parent.parent
        for lender in [*_lenders(objects)]:
            for folder, _, names in os.walk(lender):
                place = objects / Path(folder).relative_to(lender)
                place.mkdir(parents=True, exist_ok=True)
                for name in names:
                    if not (place / name).exists():
                        _link_or_copy(Path(folder, name), place / name)
        borrowed.unlink()


def _lenders(objects: Path) -> Iterator[Path]:
    """The folders that objects are borrowed from, and those that they are borrowed from in turn."""
    try:
        text = (objects / "info" / "alternates").read_text("utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return
    for line in filter(None, text.splitlines()):
        lender = objects / line.strip('"')
        yield lender
        yield from _lenders(lender)


def _link_or_copy(origin: Path, target: Path) -> None:
    try:
        target.hardlink_to(origin)
    except OSError:  # another file system, or one without links
        shutil.copy2(origin, target)
