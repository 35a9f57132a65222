"""Reports as Markdown."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from polywheel.report.markdown import markdown_text
from polywheel.report.model import ReportWarning, RunReport
from polywheel.run.outcome import PRESENT
from support.reports import make_report


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the table after a heading."""
    table = text.partition(heading)[2].strip().partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n")[2:]]


def test_a_small_report() -> None:
    report = make_report(builds=6)
    text = markdown_text(report)
    assert text.startswith("## Wheels")
    assert "### Failures" not in text
    wheels = rows(text, "### Wheels")
    assert len(wheels) == 6
    assert all(len(row) == 7 for row in wheels)
    assert "<details>" not in text


def test_failures_are_grouped_by_their_cause() -> None:
    report = make_report(builds=60, failed=(1, 4, 7, 8), errors=2)
    failures = rows(markdown_text(report), "### Failures")
    assert sum(int(row[1]) for row in failures) == 4
    assert len(failures) == 2
    assert [int(row[1]) for row in failures] == sorted(
        (int(row[1]) for row in failures), reverse=True
    )


def test_a_long_table_is_collapsed_and_begins_with_failures() -> None:
    report = make_report(builds=60, failed=(30,))
    text = markdown_text(report)
    assert "<details><summary>59 of 60 wheels</summary>\n\n| variant |" in text
    assert text.rstrip().count("</details>") == 1
    (first, *others) = rows(text, "</summary>")
    states = {str(state).replace("-", " ") for state in PRESENT}
    assert first[3] not in states
    assert {row[3] for row in others} <= states


def test_the_error_is_the_one_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text(
        "fine\n\x1b[1msrc/demo.c:1:2: error: \x1b[0mno | such `type`\n", encoding="utf-8"
    )
    report = make_report(builds=2, failed=(0,))
    builds = (replace(report.builds[0], log=str(log)), report.builds[1])
    ((cause, *_),) = rows(markdown_text(replace(report, builds=builds)), "### Failures")
    assert cause == "demo.c&#58;1&#58;2&#58; error&#58; no &#124; such &#96;type&#96;"


def hostile(report: RunReport, text: str) -> RunReport:
    builds = tuple(
        replace(build, id=f"{build.id}{text}", target=text, error=text) for build in report.builds
    )
    jobs = tuple(
        replace(job, label=text, pythons=(text,), build=f"{job.build}{text}") for job in report.jobs
    )
    warnings = tuple(
        ReportWarning(level="note", text=f"{number} {text}", jobs=(text,)) for number in range(3000)
    )
    return replace(report, project=text, builds=builds, jobs=jobs, warnings=warnings)


def test_nothing_of_the_report_is_markup() -> None:
    text = "|`*_[x](javascript:1)<script>&amp;\n# h\r\ud800\u202e@user #1 https://x.example"
    found = markdown_text(hostile(make_report(builds=3, failed=(0,)), text))
    found.encode("ascii")
    plain = re.sub(r"&#[0-9]+;", "", found)
    for part in ("<script", "`", "[", "(javascript", "https:", "@", "#1", "_"):
        assert part not in plain
    assert all(len(row) == 7 for row in rows(found, "### Wheels"))


def test_it_is_never_too_large_for_github() -> None:
    """GitHub shows no summary of more than 1 MiB."""
    report = hostile(make_report(builds=3000, failed=range(0, 3000, 2), errors=3000), "☠" * 500)
    builds = tuple(
        replace(build, error=f"{number} {build.error}")
        for number, build in enumerate(report.builds)
    )
    text = markdown_text(replace(report, builds=builds))
    assert 100_000 < len(text.encode()) < 1 << 20
    assert text.count("\n\nand ") == 3
    assert text.count("</details>") == 1
