"""Sources: the files that belong to a source, its copies, and that the original is never changed."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from polywheel.errors import BuildError, ConfigError, PolywheelError
from polywheel.run.source import unpack
from polywheel.run.source.git import copy_borrowed_objects
from polywheel.run.source.snapshot import (
    Source,
    open_source_tree,
    read_opened_source,
    read_source,
    unpack_source,
)
from polywheel.run.source.unpack import unpack_sdist
from support.checkouts import git
from support.projects import write_project

FILES = {"pyproject.toml": "", "src/demo.c": "int a;\n", "ünï cöde/a b.txt": "1\n"}
pytestmark = pytest.mark.usefixtures("git_user")
posix = pytest.mark.skipif(sys.platform == "win32", reason="names and links as POSIX has them")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "cache"))


def checkout(folder: Path, files: Mapping[str, str] = FILES) -> Path:
    """A checkout with one commit, tagged 1.0."""
    write_project(folder, files)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    git(folder, "tag", "-a", "v1.0", "-m", "one")
    return folder


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every file below a folder, links as what they say; ``.git`` left out."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if ".git" in name.split("/"):
            continue
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def stamp(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything below a folder, ``.git`` and all, with times."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        name = path.relative_to(folder).as_posix()
        # Git marks what it has just looked at as still in use, whoever asks.
        marked = name.startswith((".git/objects/", ".git/sharedindex."))
        time = None if path.is_dir() or marked else status.st_mtime_ns
        found[name] = (status.st_mode, time, content)
    return found


@contextmanager
def opened_source(path: Path, *, clean: bool = False) -> Iterator[Source]:
    """The source of a run."""
    with open_source_tree(path, clean=clean) as tree:
        yield read_opened_source(tree, path)


def copy(root: Path, place: Path) -> Path:
    with opened_source(root) as source:
        source.copy_to(place)
    return place


def describe(folder: Path) -> tuple[str, ...]:
    """What version tools ask."""
    return (
        git(folder, "describe", "--dirty", "--tags", "--long", "--always"),
        git(folder, "rev-parse", "HEAD", "--abbrev-ref", "HEAD"),
        git(folder, "for-each-ref", "refs/tags"),
        git(folder, "status", "--porcelain", "--untracked-files=no"),
        git(folder, "log", "-1", "--format=%ct %H"),
        git(folder, "tag", "--points-at", "HEAD"),
    )


# Checkouts of git -------------------------------------------------------------------------------


def changed_files(root: Path) -> None:
    write_project(root, {"src/demo.c": "int changed;\n", "new.c": "int new;\n", "build.log": "x"})
    write_project(root, {".gitignore": "*.log\n"})


def removed_files(root: Path) -> None:
    (root / "src/demo.c").unlink()


def removed_from_the_index(root: Path) -> None:
    git(root, "rm", "-q", "--cached", "src/demo.c")


def renamed(root: Path) -> None:
    git(root, "mv", "src/demo.c", "src/other.c")


def staged_only(root: Path) -> None:
    write_project(root, {"staged.c": "int s;\n"})
    git(root, "add", "staged.c")


def staged_and_taken_back(root: Path) -> None:
    before = (root / "src/demo.c").read_bytes()
    write_project(root, {"src/demo.c": "int changed;\n"})
    git(root, "add", "-A")
    (root / "src/demo.c").write_bytes(before)


def later_commit(root: Path) -> None:
    write_project(root, {"more.c": "int more;\n"})
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "second")
    git(root, "tag", "light")


def detached(root: Path) -> None:
    later_commit(root)
    git(root, "checkout", "-q", "v1.0")


def mid_merge(root: Path) -> None:
    git(root, "checkout", "-q", "-b", "side")
    write_project(root, {"src/demo.c": "int side;\n"})
    git(root, "commit", "-q", "-a", "-m", "side")
    git(root, "checkout", "-q", "main")
    write_project(root, {"src/demo.c": "int main;\n"})
    git(root, "commit", "-q", "-a", "-m", "main")
    subprocess.run(["git", "merge", "-q", "side"], cwd=root, capture_output=True, check=False)


def packed(root: Path) -> None:
    later_commit(root)
    git(root, "gc", "-q")


def split_index(root: Path) -> None:
    git(root, "update-index", "--split-index")
    staged_only(root)


def sparse(root: Path) -> None:
    git(root, "sparse-checkout", "set", "src")


def unix_endings(root: Path) -> None:
    git(root, "config", "core.autocrlf", "input")
    (root / "crlf.txt").write_bytes(b"a\r\nb\r\n")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "crlf")
    (root / "crlf.txt").write_bytes(b"a\nb\n")


def filtered(root: Path) -> None:
    """As git-lfs does it: what is committed is something else than what lies there."""
    git(root, "config", "filter.upper.clean", "tr a-z A-Z")
    write_project(root, {".gitattributes": "*.up filter=upper\n", "big.up": "small\n"})
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "filter")


def racy(root: Path) -> None:
    """Changed after ``git add``, in the same instant and of the same size."""
    time = (root / "src/demo.c").stat().st_mtime_ns
    git(root, "update-index", "--refresh")
    (root / "src/demo.c").write_text("int b;\n", encoding="utf-8")
    os.utime(root / "src/demo.c", ns=(time, time))
    os.utime(root / ".git/index", ns=(time, time))


STATES = (
    *(changed_files, removed_files, removed_from_the_index, renamed, staged_only),
    *(staged_and_taken_back, later_commit, detached, mid_merge, packed, split_index, sparse),
    *(unix_endings, filtered, racy),
)


@pytest.mark.parametrize("change", STATES, ids=lambda one: one.__name__)
def test_a_copy_of_a_checkout_is_what_the_checkout_is(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    root = checkout(tmp_path / "project")
    change(root)
    before = stamp(root)
    place = copy(root, tmp_path / "copy")
    assert stamp(root) == before, "the original was written to"
    assert describe(place) == describe(root)
    taken = contents(root)
    taken.pop("build.log", None)
    assert contents(place) == taken


def test_work_in_a_copy_leaves_the_original_alone(tmp_path: Path) -> None:
    root = checkout(tmp_path / "project")
    place = copy(root, tmp_path / "copy")
    before = stamp(root)
    write_project(place, {"src/demo.c": "int worked;\n"})
    git(place, "add", "-A")
    git(place, "commit", "-q", "-m", "in the copy")
    git(place, "tag", "v9")
    git(place, "gc", "-q", "--prune=now")
    assert stamp(root) == before
    assert "v9" not in git(root, "tag")


def test_a_worktree(tmp_path: Path) -> None:
    root = checkout(tmp_path / "project")
    later_commit(root)
    git(root, "worktree", "add", "-q", "-b", "side", str(tmp_path / "tree"), "v1.0")
    tree = write_project(tmp_path / "tree", {"src/demo.c": "int side;\n"})
    before = stamp(root)
    place = copy(tree, tmp_path / "copy")
    assert stamp(root) == before
    assert describe(place) == describe(tree)
    assert contents(place) == contents(tree)


def test_a_shallow_clone(tmp_path: Path) -> None:
    root = checkout(tmp_path / "project")
    later_commit(root)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth", "1", root.as_uri(), str(clone))
    place = copy(clone, tmp_path / "copy")
    assert describe(place) == describe(clone)
    assert git(place, "rev-list", "--count", "HEAD") == "1"


def test_a_clone_that_borrows_itself(tmp_path: Path) -> None:
    root = checkout(tmp_path / 'pro"ject #1')
    git(tmp_path, "clone", "-q", "--shared", str(root), str(tmp_path / "clone"))
    assert describe(copy(tmp_path / "clone", tmp_path / "copy")) == describe(root)


def test_a_repository_of_sha256(tmp_path: Path) -> None:
    root = write_project(tmp_path / "project", FILES)
    git(root, "init", "-q", "-b", "main", "--object-format=sha256")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    git(root, "tag", "v2.0")
    assert describe(copy(root, tmp_path / "copy")) == describe(root)


def test_a_checkout_without_a_commit(tmp_path: Path) -> None:
    root = write_project(tmp_path / "project", FILES)
    git(root, "init", "-q")
    with opened_source(root) as source:
        assert source.is_checkout
        assert source.changed
        source.copy_to(tmp_path / "copy")
    assert contents(tmp_path / "copy") == contents(root)
    assert git(tmp_path / "copy", "status", "--porcelain", "-uno") == ""


@pytest.fixture
def with_submodule(tmp_path: Path) -> Path:
    inner = checkout(tmp_path / "inner", {"lib.c": "int lib;\n"})
    root = checkout(tmp_path / "project")
    git(root, "submodule", "--quiet", "add", str(inner), "vendor/inner")
    git(root, "commit", "-q", "-m", "vendored")
    return root


def test_a_submodule_comes_along(with_submodule: Path, tmp_path: Path) -> None:
    (with_submodule / "vendor/inner/lib.c").write_text("int changed;\n", encoding="utf-8")
    place = copy(with_submodule, tmp_path / "copy")
    assert contents(place) == contents(with_submodule)
    assert describe(place) == describe(with_submodule)
    assert describe(place / "vendor/inner") == describe(with_submodule / "vendor/inner")


def test_a_submodule_that_is_not_there(with_submodule: Path, tmp_path: Path) -> None:
    git(with_submodule, "submodule", "--quiet", "deinit", "-f", "--all")
    place = copy(with_submodule, tmp_path / "copy")
    assert describe(place) == describe(with_submodule)
    assert not (place / "vendor/inner/lib.c").exists()


def test_a_repository_within_that_git_does_not_know(tmp_path: Path) -> None:
    root = checkout(tmp_path / "project")
    checkout(root / "cloned", {"a.c": "int a;\n"})
    place = copy(root, tmp_path / "copy")
    assert (place / "cloned/a.c").is_file()
    assert describe(place / "cloned") == describe(root / "cloned")


@posix
def test_odd_names(tmp_path: Path) -> None:
    odd = {"a\nb.txt": "1", 'quo"te': "2", "back\\slash": "3", "tab\t": "4", " ": "5", "-rf": "6"}
    root = checkout(tmp_path / "project", {**FILES, **odd})
    raw = os.fsdecode(b"latin-\xfc.txt")
    (root / raw).write_text("7", encoding="utf-8")
    place = copy(root, tmp_path / "copy")
    assert contents(place) == contents(root)
    assert raw in contents(place)


@posix
def test_links_stay_links_unless_they_would_lead_elsewhere(tmp_path: Path) -> None:
    write_project(tmp_path, {"LICENSE": "all rights\n", "shared/a.h": "a", "shared/sub/b.h": "b"})
    root = checkout(tmp_path / "project")
    (root / "within").symlink_to("src/demo.c")
    (root / "folder").symlink_to("src")
    (root / "dangling").symlink_to("nowhere")
    (root / "up").symlink_to("..")
    (root / "absolute").symlink_to(tmp_path / "LICENSE")
    (root / "LICENSE").symlink_to("../LICENSE")
    (root / "shared").symlink_to("../shared")
    found = contents(copy(root, tmp_path / "copies" / "copy"))
    assert {name: found[name] for name in ("within", "folder", "dangling", "up", "absolute")} == {
        "within": "src/demo.c",
        "folder": "src",
        "dangling": "nowhere",
        "up": "..",
        "absolute": str(tmp_path / "LICENSE"),
    }
    assert found["LICENSE"] == b"all rights\n"
    assert found["shared/a.h"] == b"a"
    assert found["shared/sub/b.h"] == b"b"


@posix
def test_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    root = write_project(tmp_path / "project", FILES)
    os.mkfifo(root / "pipe")
    assert set(read_source(root).files) == set(FILES)


def test_what_a_run_writes_is_no_source(tmp_path: Path) -> None:
    root = checkout(tmp_path / "project")
    before = read_source(root, without=[root / "logs", root / "report.json"])
    write_project(root, {"out/.polywheel-journal.jsonl": "", "out/demo.whl": "", "logs/a.log": ""})
    write_project(root, {"report.json": "{}", "logs.py": ""})
    after = read_source(root, without=[root / "logs", root / "report.json"])
    assert set(after.files) - set(before.files) == {"logs.py"}
    (root / "logs.py").unlink()
    again = read_source(root, without=[root / "logs", root / "report.json", root])
    assert again.digest == before.digest
    assert not again.changed


def test_a_part_of_a_checkout(tmp_path: Path) -> None:
    top = checkout(tmp_path / "top", {"python/pyproject.toml": "", "python/a.py": "", "b.c": ""})
    write_project(top, {".gitignore": "*.log\n", "python/x.log": "", "python/new.py": ""})
    source = read_source(top / "python")
    assert source.files == ("a.py", "new.py", "pyproject.toml")
    assert source.prefix == "python/"
    assert not source.is_checkout
    source.copy_to(tmp_path / "copy")
    assert not (tmp_path / "copy" / ".git").exists()


def test_a_project_in_what_another_checkout_ignores(tmp_path: Path) -> None:
    top = checkout(tmp_path / "top", {".gitignore": "/work/\n"})
    write_project(top / "work", FILES)
    source = read_source(top / "work")
    assert set(source.files) == set(FILES)
    assert not source.is_checkout
    assert source.prefix == ""


def test_what_git_is_told_by_a_hook_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = checkout(tmp_path / "project")
    other = checkout(tmp_path / "other", {"pyproject.toml": "", "b": ""})
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert set(read_source(root).files) == set(FILES)


def test_a_checkout_that_is_broken(tmp_path: Path) -> None:
    root = checkout(tmp_path / "project")
    (root / ".git/index").write_bytes(b"no index")
    with pytest.raises(BuildError, match="git can't list the files"):
        read_source(root)


@pytest.mark.parametrize("kind", ["folder", "worktree"])
def test_without_git_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    root = checkout(tmp_path / "project")
    if kind == "worktree":
        git(root, "worktree", "add", "-q", str(tmp_path / "tree"))
        root = tmp_path / "tree"
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with opened_source(root) as source:
        assert not source.is_checkout
        assert source.changed
        assert set(source.files) == set(FILES)
        source.copy_to(tmp_path / "copy")
    assert not (tmp_path / "copy" / ".git").exists()


# Digest and time --------------------------------------------------------------------------------


def tag_added(root: Path) -> None:
    git(root, "tag", "v2.0")


def executable(root: Path) -> None:
    (root / "src/demo.c").chmod(0o755)


def commit(root: Path) -> None:
    git(root, "commit", "-q", "--allow-empty", "-m", "nothing")


def branch(root: Path) -> None:
    git(root, "checkout", "-q", "-b", "other")


@pytest.mark.parametrize("change", [changed_files, tag_added, executable, commit, branch, renamed])
def test_what_changes_the_digest(change: Callable[[Path], None], tmp_path: Path) -> None:
    root = checkout(tmp_path / "project")
    before = read_source(root)
    assert not before.changed
    change(root)
    assert read_source(root).digest != before.digest


def test_what_leaves_the_digest_alone(tmp_path: Path) -> None:
    root = checkout(tmp_path / "project", {**FILES, ".gitignore": "*.log\n"})
    before = read_source(root)
    write_project(root, {"a.log": "ignored"})
    (root / "src/demo.c").touch()
    (root / "src/demo.c").chmod(0o600)
    git(root, "gc", "-q")
    assert read_source(root).digest == before.digest
    plain, other = write_project(tmp_path / "a", FILES), write_project(tmp_path / "b", FILES)
    write_project(
        other, {"build/x.o": "", "__pycache__/x.pyc": "", "env/pyvenv.cfg": "", "env/a": ""}
    )
    write_project(other, {"demo.egg-info/PKG-INFO": "", "src/build/kept.c": ""})
    assert read_source(plain).digest != read_source(other).digest, "src/build is source"
    (other / "src/build/kept.c").unlink()
    assert read_source(plain).digest == read_source(other).digest


def test_the_time_of_a_source(tmp_path: Path) -> None:
    assert read_source(checkout(tmp_path / "git")).epoch == 1709208000
    plain = write_project(tmp_path / "plain", FILES)
    for number, name in enumerate(FILES):
        os.utime(plain / name, (10**9 + number, 10**9 + number))
    assert read_source(plain).epoch == 10**9 + 2
    for seconds in (7, 0):  # poetry-core gives 0 to every file of an sdist
        for name in FILES:
            os.utime(plain / name, (seconds, seconds))
        assert read_source(plain).epoch == 315532800, "no zip archive has an earlier one"


# Copies -----------------------------------------------------------------------------------------


def test_a_copy_has_the_times_and_contents_and_goes_to_a_new_folder(tmp_path: Path) -> None:
    root = write_project(tmp_path / "project", {**FILES, "kind": "file", "kinds/b": ""})
    os.utime(root / "src/demo.c", (10**9, 10**9))
    place = copy(root, tmp_path / "copy")
    assert (place / "src/demo.c").stat().st_mtime == 10**9
    assert contents(place) == contents(root)
    write_project(place, {"src/stray.c": ""})
    with pytest.raises(BuildError, match="an earlier copy can't be removed") as caught:
        copy(root, place)
    assert caught.value.problems[0].at == str(place)


@posix
def test_a_copy_can_be_written_where_the_original_can_not(tmp_path: Path) -> None:
    root = write_project(tmp_path / "project", FILES)
    (root / "src/demo.c").chmod(0o444)
    place = copy(root, tmp_path / "copy")
    assert (place / "src/demo.c").stat().st_mode & 0o200


def test_a_copy_that_can_not_be_written(tmp_path: Path) -> None:
    root = write_project(tmp_path / "project", FILES)
    write_project(tmp_path, {"occupied": "a file"})
    with pytest.raises(BuildError, match="can't be copied"):
        read_source(root).copy_to(tmp_path / "occupied" / "copy")


def test_a_frozen_source_is_what_it_was(tmp_path: Path) -> None:
    root = checkout(tmp_path / "project")
    source = read_source(root)
    frozen = source.freeze()
    assert frozen.root != root
    write_project(root, {"src/demo.c": "int later;\n"})
    assert source.freeze().root == frozen.root
    frozen.copy_to(tmp_path / "copy")
    assert (tmp_path / "copy/src/demo.c").read_text(encoding="utf-8") == FILES["src/demo.c"]


def as_another_process_used(kept: Path, seconds: float) -> None:
    """A process that has ended, at that time."""
    os.utime(kept, (seconds, seconds))
    shutil.rmtree(kept.with_name(f"{kept.name}.users"))


def test_fresh_compares_content(tmp_path: Path) -> None:
    """Sizes and times are compared without it."""
    root = write_project(tmp_path / "project", FILES)
    path = tar(tmp_path / "demo-1.0.tar.gz", SDIST)
    frozen, sdist = read_source(root).freeze().root, unpack_source(path).root
    for one in (frozen / "src" / "demo.c", sdist / "pyproject.toml"):
        status, content = one.stat(), one.read_bytes()
        one.write_bytes(b"#" * len(content))
        os.utime(one, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert read_source(root).freeze(fresh=True).root == frozen
    assert unpack_source(path, fresh=True).root == sdist
    assert (frozen / "src" / "demo.c").read_text("utf-8") == FILES["src/demo.c"]
    assert not (sdist / "pyproject.toml").read_bytes().startswith(b"##")


def test_what_was_not_used_for_long_goes(tmp_path: Path) -> None:
    root = write_project(tmp_path / "project", FILES)
    path = tar(tmp_path / "demo-1.0.tar.gz", SDIST)
    old, kept = read_source(root).freeze().root, unpack_source(path).root.parent
    write_project(root, {"src/demo.c": "int second;\n"})
    recent = read_source(root).freeze().root
    for one in (old.parent, kept):
        as_another_process_used(one, 10**9)
    write_project(root, {"src/demo.c": "int third;\n"})
    read_source(root).freeze()
    assert not old.exists()
    assert recent.exists()
    assert unpack_source(path).root.parent == kept
    assert kept.stat().st_mtime > 10**9, "it counts as used"


def test_a_source_that_changes_before_it_is_frozen(tmp_path: Path) -> None:
    root = write_project(tmp_path / "project", FILES)
    source = read_source(root)
    write_project(root, {"src/demo.c": "int later;\n"})
    with pytest.raises(BuildError, match="changed while it was read"):
        source.freeze()


# --clean ----------------------------------------------------------------------------------------


def test_clean_takes_what_is_committed(tmp_path: Path) -> None:
    root = checkout(tmp_path / "project")
    version = describe(root)
    changed_files(root)
    before = stamp(root)
    with opened_source(root, clean=True) as source:
        assert not source.changed
        source.copy_to(tmp_path / "copy")
    assert stamp(root) == before
    assert describe(tmp_path / "copy") == version
    assert contents(tmp_path / "copy") == {name: text.encode() for name, text in FILES.items()}


def test_a_commit_during_a_clean_run_has_no_effect(tmp_path: Path) -> None:
    """The project is read from the checkout that is built: HEAD is resolved once."""
    root = checkout(tmp_path / "project")
    version = describe(root)
    with open_source_tree(root, clean=True) as tree:
        write_project(root, {"src/demo.c": "int later;\n", "later.c": ""})
        git(root, "add", "-A")
        git(root, "commit", "-q", "-m", "later")
        source = read_opened_source(tree, root)
        source.copy_to(tmp_path / "copy")
    assert source.root == tree
    assert describe(tmp_path / "copy") == version
    assert contents(tmp_path / "copy") == {name: text.encode() for name, text in FILES.items()}


def test_clean_with_a_submodule(with_submodule: Path, tmp_path: Path) -> None:
    version = describe(with_submodule)
    inner = with_submodule / "vendor/inner"
    write_project(inner, {"lib.c": "int changed;\n", "more.c": ""})
    git(inner, "add", "-A")
    git(inner, "commit", "-q", "-m", "later")
    with opened_source(with_submodule, clean=True) as source:
        source.copy_to(tmp_path / "copy")
    assert describe(tmp_path / "copy") == version
    assert (tmp_path / "copy/vendor/inner/lib.c").read_text(encoding="utf-8") == "int lib;\n"
    assert not (tmp_path / "copy/vendor/inner/more.c").exists()


def test_clean_of_a_part_of_a_checkout(tmp_path: Path) -> None:
    top = checkout(tmp_path / "top", {"python/pyproject.toml": "", "b.c": ""})
    write_project(top, {"python/new.py": ""})
    with opened_source(top / "python", clean=True) as source:
        assert source.files == ("pyproject.toml",)
        assert source.prefix == "python/"


def test_clean_needs_a_commit(tmp_path: Path) -> None:
    root = write_project(tmp_path / "project", FILES)
    said = "not a git checkout with a commit"
    with pytest.raises(ConfigError, match=said), opened_source(root, clean=True):
        pass
    git(root, "init", "-q")
    with pytest.raises(ConfigError, match=said), opened_source(root, clean=True):
        pass


# Sdists -----------------------------------------------------------------------------------------


def tar(path: Path, members: Mapping[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                archive.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(content), 10**9
                info.mode = 0o755 if name.endswith(".sh") else 0o644
                archive.addfile(info, io.BytesIO(content))
    return path


def link(target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


SDIST = {"demo-1.0/pyproject.toml": b"", "demo-1.0/run.sh": b"#!", "demo-1.0/build/kept.c": b"k"}


def test_an_sdist_is_taken_whole(tmp_path: Path) -> None:
    path = tar(tmp_path / "demo-1.0.tar.gz", SDIST)
    with opened_source(path) as source:
        assert set(source.files) == {"pyproject.toml", "run.sh", "build/kept.c"}
        assert source.epoch == 10**9
        source.copy_to(tmp_path / "copy")
        first = source
    if sys.platform != "win32":
        assert (tmp_path / "copy/run.sh").stat().st_mode & 0o111
    with opened_source(path) as source:
        assert source == first, "unpacked once, and the same from then on"


def test_a_zip_gives_the_same_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "demo-1.0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in SDIST.items():
            info = zipfile.ZipInfo(name, (2001, 9, 9, 1, 46, 40))
            info.external_attr = 0o100755 << 16
            archive.writestr(info, content)
        archive.mkdir("demo-1.0/empty")
    first = unpack_source(path)
    assert first.epoch == 10**9
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "another"))
    second = unpack_source(path)
    assert (second.digest, second.epoch, second.files) == (first.digest, first.epoch, first.files)


@posix
def test_links_of_an_sdist(tmp_path: Path) -> None:
    members: dict[str, bytes | tarfile.TarInfo] = {
        "demo-1.0/inc/a.h": b"a",
        "demo-1.0/link.h": link("inc/a.h"),
        "demo-1.0/sub/up.h": link("../inc/a.h"),
        "demo-1.0/hard.h": link("demo-1.0/inc/a.h", tarfile.LNKTYPE),
    }
    folder = tmp_path / "out"
    folder.mkdir()
    root = unpack_sdist(tar(tmp_path / "demo-1.0.tar.gz", {**SDIST, **members}), folder)
    assert (root / "link.h").read_bytes() == (root / "sub/up.h").read_bytes() == b"a"
    assert (root / "hard.h").read_bytes() == b"a"


HOSTILE_TARS: dict[str, Mapping[str, bytes | tarfile.TarInfo]] = {
    "climbs": {"demo-1.0/../../evil": b""},
    "absolute": {"/evil": b""},
    "link out": {"demo-1.0/a": link("../../evil")},
    "link to all": {"demo-1.0/a": link("/etc/passwd")},
    "link out of the one folder": {"demo-1.0/a": link("../beside")},
    "link that goes down to come up": {"demo-1.0/a": link("sub/../../evil")},
    "file through a link": {"demo-1.0/a": link(".."), "demo-1.0/a/evil": b""},
    "file through a link that is fine": {"demo-1.0/a": link("b"), "demo-1.0/a/evil": b""},
    "link below a link": {
        "demo-1.0/x/y/a": b"",
        "demo-1.0/l": link("x/y"),
        "demo-1.0/l/out": link("../../evil"),
    },
    "hard link out": {"demo-1.0/a": link("../../etc/passwd", tarfile.LNKTYPE)},
    "device": {"demo-1.0/null": link("", tarfile.CHRTYPE)},
    "pipe": {"demo-1.0/pipe": link("", tarfile.FIFOTYPE)},
    "file on a folder": {"demo-1.0/a/b": b"", "demo-1.0/a": b""},
    "two folders": {"other-2.0/a": b""},
    "empty link": {"demo-1.0/a": link("")},
}


@posix
@pytest.mark.parametrize("members", HOSTILE_TARS.values(), ids=HOSTILE_TARS.keys())
def test_a_hostile_tar(members: Mapping[str, bytes | tarfile.TarInfo], tmp_path: Path) -> None:
    path = tar(tmp_path / "demo-1.0.tar.gz", {**SDIST, **members})
    folder = tmp_path / "deep" / "out"
    folder.mkdir(parents=True)
    with pytest.raises(PolywheelError, match=r"demo-1\.0\.tar\.gz"):
        unpack_sdist(path, folder)
    outside = {path for path in tmp_path.rglob("evil") if not path.is_relative_to(folder)}
    assert not outside
    for one in folder.rglob("*"):
        assert one.resolve().is_relative_to(folder.resolve())


@pytest.mark.parametrize("name", ["demo-1.0/../../evil", "/evil", "../evil", "demo-1.0/a/../../e"])
def test_a_hostile_zip(name: str, tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo-1.0/pyproject.toml", "")
        archive.writestr(name, "")
    with pytest.raises(BuildError, match="leads out of it"):
        unpack_source(path)
    assert not list(tmp_path.rglob("evil"))


@posix
def test_a_link_in_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0.zip"
    info = zipfile.ZipInfo("demo-1.0/out")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo-1.0/pyproject.toml", "")
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(BuildError, match="link that leads out"):
        unpack_source(path)


@pytest.mark.parametrize(
    ("said", "limits"),
    [("more than 2 files", {"MOST_FILES": 2}), ("too many bytes", {"MOST_BYTES": 2})],
)
def test_an_sdist_that_never_ends(
    said: str, limits: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(unpack, name, value)
    with pytest.raises(BuildError, match=said):
        unpack_source(tar(tmp_path / "demo-1.0.tar.gz", SDIST))


@pytest.mark.parametrize("keep", [0, 10, 60])
def test_a_broken_sdist(keep: int, tmp_path: Path) -> None:
    path = tar(tmp_path / "demo-1.0.tar.gz", SDIST)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BuildError, match="can't be unpacked"):
        unpack_source(path)
    (tmp_path / "demo-1.0.zip").write_bytes(b"PK\3\4")
    with pytest.raises(BuildError, match="can't be unpacked"):
        unpack_source(tmp_path / "demo-1.0.zip")


def test_what_is_no_source(tmp_path: Path) -> None:
    write_project(tmp_path, {"demo-1.0-py3-none-any.whl": ""})
    for name, said in (
        ("demo-1.0-py3-none-any.whl", "is not an sdist"),
        ("nowhere", "does not exist"),
    ):
        with pytest.raises(ConfigError, match=said), opened_source(tmp_path / name):
            pass


def test_a_kept_sdist_that_was_cut_short_is_unpacked_again(tmp_path: Path) -> None:
    path = tar(tmp_path / "demo-1.0.tar.gz", SDIST)
    first: Source = unpack_source(path)
    (first.root.parent / "polywheel-source.json").write_text("{", encoding="utf-8")
    (first.root / "run.sh").unlink()
    assert unpack_source(path) == first
    assert (first.root / "run.sh").is_file()


def test_a_copy_that_goes_where_the_original_is_not(tmp_path: Path) -> None:
    """Into a container, say: then it has the objects, borrowed ones of its lender too."""
    origin = checkout(tmp_path / "origin")
    git(tmp_path, "clone", "-q", "--shared", str(origin), "clone")
    clone = tmp_path / "clone"
    read_source(clone).copy_to(tmp_path / "copy")
    copy_borrowed_objects(tmp_path / "copy")
    shutil.rmtree(origin)
    shutil.rmtree(clone)
    assert git(tmp_path / "copy", "describe", "--tags") == "v1.0"
    assert git(tmp_path / "copy", "fsck") == ""
    assert git(tmp_path / "copy", "status", "--porcelain") == ""


def test_snapshots_are_no_more_than_a_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that changes before every run would else fill the cache for a week."""
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "cache"))
    tree = tmp_path / "tree"
    tree.mkdir()
    place = tmp_path / "cache" / "snapshots"
    for number in range(30):
        (tree / "pyproject.toml").write_text(f"# {number}", encoding="utf-8")
        kept = read_source(tree).freeze().root.parent
        as_another_process_used(kept, time.time() - 3600 + number)
    assert len(list(place.iterdir())) <= 21
    assert kept.is_dir()
