"""Decisions for Windows and macOS, which can't run here."""

from __future__ import annotations

import ctypes
import io
import os
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from polywheel.errors import BuildError
from polywheel.run.source.snapshot import read_source
from polywheel.run.source.unpack import _Unpacking, unpack_sdist
from polywheel.run.work_folder import work_folder_path
from polywheel.system import source_files
from polywheel.system.files import (
    is_reserved_on_windows,
    portable_folder_name,
    retry_permission_errors,
)
from polywheel.system.job_objects import BasicLimits, ExtendedLimits

ODD = ["v3.", "v3..", "v3 ", "con", "nul.v3", "COM1", "lpt9.x.y", "a:b", "a?", "a\tb", ".", ".."]
USUAL = ["v3", "x86_64_v3", "linux-x86_64-cp312-v3", "console", "com", "com10", "v3.1", ".hidden"]


@pytest.mark.parametrize("name", ODD)
def test_names_that_windows_does_not_keep(name: str) -> None:
    assert is_reserved_on_windows(name)
    found = portable_folder_name(name)
    assert not is_reserved_on_windows(found)
    assert len({portable_folder_name(one) for one in (*ODD, *USUAL)}) == len({*ODD, *USUAL})


@pytest.mark.parametrize("name", USUAL)
def test_names_that_all_systems_keep(name: str) -> None:
    assert portable_folder_name(name) == name


def test_builds_of_labels_that_differ_by_a_dot_have_two_folders(tmp_path: Path) -> None:
    """Windows leaves out a dot at the end."""
    first, second = (work_folder_path(tmp_path, f"any-py3-v3{dot}") for dot in ("", "."))
    assert first != second
    assert not second.name.endswith(".")


def test_files_of_an_sdist_that_windows_has_no_name_for() -> None:
    windows, other = (
        _Unpacking(path=Path("demo-1.0.tar.gz"), folder=Path(), bytes=1, windows=windows)
        for windows in (True, False)
    )
    assert other._relative_path("demo-1.0/aux.c") == PurePosixPath("demo-1.0", "aux.c")
    for name in ("demo-1.0/aux.c", "demo-1.0/a.", "demo-1.0/c:x", "demo-1.0\\..\\x"):
        with pytest.raises(BuildError, match="Windows has no name for"):
            windows._relative_path(name)


def test_two_files_of_an_sdist_that_are_one_where_case_does_not_count(tmp_path: Path) -> None:
    """The second one is there already, and was not written under its name."""
    sdist = tmp_path / "demo-1.0.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        for name in ("demo-1.0/a.py", "demo-1.0/b.py", "demo-1.0/b.py"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    folder = tmp_path / "other"
    (folder / "demo-1.0").mkdir(parents=True)
    (folder / "demo-1.0" / "a.py").touch()
    with pytest.raises(BuildError, match="another name that is the same here"):
        unpack_sdist(sdist, folder)
    (tmp_path / "empty").mkdir()
    unpack_sdist(sdist, tmp_path / "empty")  # one name twice is no matter: the last counts


@pytest.mark.skipif(os.name == "nt", reason="makes links")
def test_where_links_can_not_be_made_a_copy_has_what_they_lead_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a source that is frozen: what was read, and what the copy has, are the same."""
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "cache"))
    root = tmp_path / "project"
    (root / "src" / "inner").mkdir(parents=True)
    (root / "pyproject.toml").touch()
    (root / "src" / "a.c").write_text("int a;\n", encoding="utf-8")
    (root / "file").symlink_to("src/a.c")
    (root / "folder").symlink_to("src")
    (root / "nowhere").symlink_to("gone")
    (root / "src" / "itself").symlink_to("..")
    (root / "src" / "inner" / "up").symlink_to("../../src")

    def refused(*_: object, **__: object) -> None:
        raise OSError(22, "A required privilege is not held by the client")

    monkeypatch.setattr(source_files, "can_link", lambda: False)
    monkeypatch.setattr(Path, "symlink_to", refused)
    frozen = read_source(root).freeze()
    there = {
        path.relative_to(frozen.root).as_posix()
        for path in frozen.root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    assert there == {"pyproject.toml", "file", "folder/a.c", "src/a.c"}
    assert (frozen.root / "file").read_text("utf-8") == "int a;\n"


@pytest.mark.skipif(os.name == "nt", reason="makes links")
def test_where_links_can_not_be_made_an_sdist_has_what_they_lead_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdist = tmp_path / "demo-1.0.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("demo-1.0/src/a.c"), io.BytesIO())
        for name, link in (("file", "src/a.c"), ("folder", "src")):
            member = tarfile.TarInfo(f"demo-1.0/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, link
            archive.addfile(member)

    def refused(*_: object, **__: object) -> None:
        raise OSError(22, "A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refused)
    (tmp_path / "folder").mkdir()
    root = unpack_sdist(sdist, tmp_path / "folder")
    files = {one.relative_to(root).as_posix() for one in root.rglob("*") if one.is_file()}
    assert files == {"src/a.c", "file", "folder/a.c"}


def test_what_is_refused_for_a_moment_is_tried_again() -> None:
    """A virus scanner has a new file open, say."""
    calls = []

    def act() -> None:
        calls.append(1)
        if len(calls) < 3:
            raise PermissionError(13, "used by another process")

    retry_permission_errors(act, seconds=10)
    assert len(calls) == 3
    calls.clear()
    with pytest.raises(PermissionError):
        retry_permission_errors(act, seconds=0)
    assert len(calls) == 1


@pytest.mark.skipif(ctypes.sizeof(ctypes.c_void_p) != 8, reason="sizes of 64-bit systems")
def test_structures_of_job_objects() -> None:
    """As winnt.h lays them out."""
    assert ctypes.sizeof(BasicLimits) == 64
    assert BasicLimits.limit_flags.offset == 16
    assert BasicLimits.active_processes.offset == 40
    assert BasicLimits.affinity.offset == 48
    assert ctypes.sizeof(ExtendedLimits) == 144
    assert ExtendedLimits.process_memory.offset == 112
