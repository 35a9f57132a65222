"""Names that may belong to a pipe, a device, or a link."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from polywheel.run.worker.protocol import SdistStep, read_response
from polywheel.system.files import open_regular, read_regular

posix = pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices are those of POSIX")
KINDS = ("pipe", "folder", "socket", "device", "link to a pipe", "link to nothing", "nothing")


def made(path: Path, kind: str) -> Path:
    """Something at a path that is no file."""
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            before = Path.cwd()
            os.chdir(path.parent)  # the path of a socket may have a hundred bytes
            try:
                one.bind(path.name)
            finally:
                os.chdir(before)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "link to a pipe":
        os.mkfifo(path.with_name("other"))
        path.symlink_to("other")
    elif kind == "link to nothing":
        path.symlink_to("none")
    return path


@posix
@pytest.mark.parametrize("kind", KINDS)
def test_only_regular_files_are_opened(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path / "x.whl", kind)
    with pytest.raises(OSError, match=r"regular|directory"):
        open_regular(path)


@posix
def test_links_are_followed_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"content"
    with pytest.raises(OSError, match="regular"):
        open_regular(tmp_path / "link", follow_links=False)


def test_no_more_is_read_than_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_regular(tmp_path / "file", limit=5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_regular(tmp_path / "file", limit=4)


@posix
@pytest.mark.parametrize("kind", KINDS)
def test_a_response_that_is_no_file_is_none(tmp_path: Path, kind: str) -> None:
    assert read_response(made(tmp_path / "response.json", kind), SdistStep(out="")) is None
