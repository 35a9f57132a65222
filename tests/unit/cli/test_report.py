"""``polywheel report``: which outputs are written, and where."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from polywheel.cli import main
from polywheel.run.outcome import State


def write_report(path: Path, *, size: int = 10, project: str = "demo") -> str:
    build: dict[str, Any] = {"id": "a", "python": "3.12", "target": "linux-x86_64", "jobs": ["a"]}
    job = {
        "id": "a",
        "label": "v3",
        "properties": ["x86_64 :: level :: v3"],
        "build": "a",
        "size": size,
    }
    document = {
        "shape": 1,
        "project": project,
        "seconds": 1,
        "builds": [{**build, "state": State.BUILT}],
        "jobs": [{**job, "pythons": ["3.12"], "targets": ["linux-x86_64"], "state": State.BUILT}],
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(path)


def test_a_page_and_the_change_since_an_earlier_report(tmp_path: Path) -> None:
    report = write_report(tmp_path / "report.json")
    earlier = write_report(tmp_path / "earlier.json", size=20)
    page = tmp_path / "page.html"
    assert main(["report", report, "--html", str(page), "--against", earlier]) == 0
    assert '"previous":{"a":{"size":20}}' in page.read_text(encoding="utf-8")


def test_a_page_on_standard_output(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    report = write_report(tmp_path / "report.json", project="naïve")
    assert main(["report", report, "--html", "-"]) == 0
    out = capfdbinary.readouterr().out
    assert out.startswith(b"<!DOCTYPE html>")
    assert "<title>Wheels of naïve</title>".encode() in out


def test_no_output_and_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = write_report(tmp_path / "report.json")
    assert main(["report", report]) == 2
    assert "no output is selected" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "none.json"), "--html", "x.html"]) == 2
    assert "none.json" in capsys.readouterr().err
    assert main(["report", report, "--html", str(tmp_path)]) == 4
    assert "the output can't be written" in capsys.readouterr().err
    assert main(["report", report, "--html", "-", "--against", str(tmp_path / "none.json")]) == 2


def test_a_comparison_without_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = write_report(tmp_path / "report.json")
    assert main(["report", report, "--against", report]) == 2
    assert "no output is selected" in capsys.readouterr().err


def test_several_outputs_of_several_reports(tmp_path: Path) -> None:
    reports = [write_report(tmp_path / name) for name in ("a.json", "b.json")]
    outputs = {name: tmp_path / name for name in ("html", "markdown", "junit", "trace")}
    options = [word for name, path in outputs.items() for word in (f"--{name}", str(path))]
    assert main(["report", *reports, *options]) == 0
    texts = {name: path.read_text(encoding="utf-8") for name, path in outputs.items()}
    assert texts["html"].startswith("<!DOCTYPE html>")
    assert texts["markdown"].startswith("## Wheels of demo\n")
    assert len(list(ET.fromstring(texts["junit"]).iter("testcase"))) == 1
    assert json.loads(texts["trace"])["traceEvents"]


def test_one_output_on_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = write_report(tmp_path / "report.json")
    assert main(["report", report, "--markdown", "-", "--junit", "-"]) == 2
    assert "only one output can be standard output" in capsys.readouterr().err


def test_an_invalid_report_is_an_error_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(write_report(tmp_path / "report.json", size=-1))
    assert main(["report", str(path), "--trace", str(tmp_path / "trace.json")]) == 2
    error = capsys.readouterr().err
    assert "expected a whole number, 0 or more, found -1" in error
    assert "report.json: jobs[0].size" in error
    assert not (tmp_path / "trace.json").exists()
