"""The ends of logs: from hostile logs and hostile paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from polywheel.report.log_ends import MOST_BYTES, MOST_LINES, read_log_end
from polywheel.report.model import ReportRun


def run_in(folder: Path, out: str | None = None) -> ReportRun:
    return ReportRun(path=str(folder / "report.json"), out=out)


def test_only_the_end_of_a_long_log(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with log.open("wb") as file:
        file.truncate(200_000_000)  # sparse
        file.seek(0, 2)
        file.write(b"\n" + b"".join(b"line %d\n" % number for number in range(1000)))
    lines = (read_log_end(str(log), run_in(tmp_path)) or "").split("\n")
    assert len(lines) == MOST_LINES
    assert (lines[0], lines[-1]) == ("line 800", "line 999")


def test_one_long_line(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"x" * (2 * MOST_BYTES))
    assert read_log_end(str(log), run_in(tmp_path)) == "x" * MOST_BYTES


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"a\0b\xff\n")
    assert read_log_end(str(log), run_in(tmp_path)) == "a\0b\ufffd"


@pytest.mark.parametrize(
    ("log", "out", "place"),
    [
        ("/src/dist/logs/a.log", "/src/dist", "logs/a.log"),
        ("/src/dist/more/a.log", "/src/dist", "more/a.log"),
        ("/other/a.log", "/src/dist", "logs/a.log"),
        ("/other/a.log", None, "a.log"),
        ("C:\\src\\dist\\logs\\a.log", "C:\\src\\dist", "logs/a.log"),
    ],
)
def test_logs_that_were_downloaded_with_the_report(
    log: str, out: str | None, place: str, tmp_path: Path
) -> None:
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_text("here\n", encoding="utf-8")
    assert read_log_end(log, run_in(tmp_path, out)) == "here"


def test_other_files_are_not_read(tmp_path: Path) -> None:
    """The path may come from another machine."""
    secret = tmp_path / "secret"
    secret.write_text("secret", encoding="utf-8")
    (tmp_path / "link.log").symlink_to(secret)
    (tmp_path / "folder.log").mkdir()
    inner = tmp_path / "inner"
    inner.mkdir()
    for log in (str(secret), str(tmp_path / "link.log"), str(tmp_path / "folder.log"), "a\0.log"):
        assert read_log_end(log, run_in(inner)) is None
    (tmp_path / "b.log").write_text("outside", encoding="utf-8")
    assert read_log_end("/out/../b.log", run_in(inner, "/out")) is None
