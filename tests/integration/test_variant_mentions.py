"""Sources that may read the variant that they are built for."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from polywheel.matrix.builds import why_variant_is_read
from support.checkouts import git

LABEL = 'os.environ["POLYWHEEL_VARIANT_LABEL"]'


def first_mention(root: Path) -> str | None:
    said = why_variant_is_read(root)
    assert said is None or said.endswith(
        " mentions POLYWHEEL_VARIANT_, so a build may read its variant"
    )
    return said and said.partition(" mentions ")[0]


def write(root: Path, name: str, content: str | bytes = LABEL) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("checkout", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        *("setup.py", "build.rs", "CMakeLists.txt", "meson.build", "pyproject.toml", "Makefile"),
        *("backend/own/__init__.py", "crates/core/build.rs", ".config/flags", "build/backend.py"),
        *("name with blanks", "größe.py", "a/b/c/d/e/f"),
    ],
)
def test_a_mention_counts_in_any_file_of_the_source(
    name: str, checkout: bool, tmp_path: Path
) -> None:
    if checkout:
        git(tmp_path, "init", "-q")
    write(tmp_path, "pyproject.toml", "[project]\nname = 'demo'")
    assert first_mention(tmp_path) is None
    write(tmp_path, name)
    assert first_mention(tmp_path) == name


@pytest.mark.parametrize(
    "content",
    [
        "POLYWHEEL_VARIANT_PROPERTIES",
        "$ENV{POLYWHEEL_VARIANT_LABEL}",
        "polywheel_variant_label",  # Windows does not tell the cases apart
        LABEL.encode("utf-16"),
        b"\xff\xfe\x00 " + LABEL.encode(),  # not UTF-16 after all
        b"\x7fELF\0\0" + LABEL.encode(),  # a program that is part of the source
        "x" * 10_000_000 + LABEL,
        "x" * 8190 + LABEL,
    ],
)
def test_a_mention_counts_however_it_is_written(content: str | bytes, tmp_path: Path) -> None:
    write(tmp_path, "file", content)
    assert first_mention(tmp_path) == "file"


def test_what_is_not_built_does_not_count(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, "pyproject.toml", "")
    write(tmp_path, ".gitignore", "/ignored\n/dist/\n")
    write(tmp_path, "ignored")
    write(tmp_path, "dist/log")
    # What a run of polywheel has written into a folder that git does not ignore.
    write(tmp_path, "wheels/.polywheel-journal.jsonl", "")
    write(tmp_path, "wheels/logs/v3.log")
    assert first_mention(tmp_path) is None


@pytest.mark.parametrize("folder", [".git", "node_modules", "env"])
def test_outside_of_git_virtual_environments_and_the_like_do_not_count(
    folder: str, tmp_path: Path
) -> None:
    write(tmp_path, "env/pyvenv.cfg", "")
    write(tmp_path, f"{folder}/lib/file")
    assert first_mention(tmp_path) is None


def test_a_repository_within_counts(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, "pyproject.toml", "")
    git(tmp_path, "init", "-q", "third_party/library")
    write(tmp_path, "third_party/library/CMakeLists.txt")
    assert first_mention(tmp_path) == "third_party/library/CMakeLists.txt"


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_what_links_lead_to_counts(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write(source, "pyproject.toml", "")
    write(tmp_path, "shared/tools/flags.py")
    (source / "tools").symlink_to("../shared/tools")
    (source / "nowhere").symlink_to("nothing")
    assert first_mention(source) == "tools/flags.py"


def test_large_data_is_not_read(tmp_path: Path) -> None:
    """A file without content on the disk, so that making it takes no time."""
    write(tmp_path, "weights.bin", b"\0")
    with (tmp_path / "weights.bin").open("r+b") as file:
        file.truncate(20 << 30)
    began = time.process_time()  # not that of other programs
    assert first_mention(tmp_path) is None
    assert time.process_time() - began < 2


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
@pytest.mark.parametrize("checkout", [False, True])
def test_a_link_that_a_copy_has_too_is_not_followed(checkout: bool, tmp_path: Path) -> None:
    """An absolute one, or one to a folder that holds the source: it may lead to a whole disk."""
    source = tmp_path / "disk/source"
    write(source, "pyproject.toml", "")
    write(tmp_path, "disk/other/flags.py")
    if checkout:
        git(source, "init", "-q")
    (source / "everything").symlink_to(tmp_path / "disk")
    (source / "above").symlink_to("..")
    assert first_mention(source) is None
    write(source, "flags.py")
    (source / "a").symlink_to("../other")
    assert first_mention(source) == "a/flags.py"


def test_a_source_with_too_much_to_read_may_hold_a_mention(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path, f"data{number}", "x" * 1_000_000)
    assert why_variant_is_read(tmp_path) is None
    said = "the source has more than 2 MiB to search for POLYWHEEL_VARIANT_"
    assert str(why_variant_is_read(tmp_path, limit=2 << 20)).startswith(said)
