"""A report in the JUnit XML format, for the test views of CI systems.

The format is the one that the xUnit plugin of Jenkins accepts (its ``junit-10.xsd``), and that GitLab and
others read. There is one test suite for the wheels, and one for their tests.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

from polywheel.report.log_ends import read_log_end
from polywheel.report.model import ReportBuild, ReportJob, RunReport
from polywheel.run.outcome import FAILURES, PRESENT, State, WheelTestState
from polywheel.system.terminal import log_line, one_line

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not allow (section 2.2)."""
_LONGEST_MESSAGE = 1000
_WHY_SKIPPED = {
    State.ELSEWHERE: "it is for another machine",
    State.NO_PYTHON: "its Python is not installed",
    State.NOT_STARTED: "the run ended before it started",
    State.STOPPED: "the run ended while it was being built",
}


def junit_text(report: RunReport) -> str:
    """Return the report as JUnit XML: a test case for each job, and one for each test of a wheel."""
    suites = ET.Element("testsuites", name=_allowed(report.project or "polywheel"))
    builds = ET.SubElement(suites, "testsuite", name="wheels")
    tests = ET.SubElement(suites, "testsuite", name="tests of wheels")
    by_id = report.builds_by_id()
    for job in report.jobs:
        _add_job(builds, job, by_id[job.build], report)
        if job.test is not None:
            _add_test(tests, job, report)
    for suite in (builds, tests):
        _count(suite)
        began = min(filter(None, (run.began for run in report.runs)), default=None)
        if began is not None:
            suite.set("timestamp", began)
    if not len(tests):
        suites.remove(tests)
    ET.indent(suites)
    text = ET.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _add_job(suite: ET.Element, job: ReportJob, build: ReportBuild, report: RunReport) -> None:
    """Add the test case of a job."""
    case = _case(suite, job, report, "wheels", job.seconds or 0.0)
    tested = job.test is not None and job.test.state == WheelTestState.FAILED
    if job.state == State.TEST_FAILED and tested:
        return  # the failure is that of the test
    if job.state in FAILURES:
        error = build.error or f"the build is {job.state}"
        lines = [error, *_finding_lines(job), *_log_lines(build.log, job, report)]
        if job.reproduce is not None:
            lines += ["", f"to build it again: {job.reproduce}"]
        _add_result(case, "failure", error, "\n".join(lines), kind=str(job.state))
    elif job.state not in PRESENT:
        _add_result(case, "skipped", _WHY_SKIPPED[job.state], build.error, kind=str(job.state))


def _add_test(suite: ET.Element, job: ReportJob, report: RunReport) -> None:
    """Add the test case of the test of a job's wheel."""
    test = job.test
    if test is None:
        return
    case = _case(suite, job, report, "tests", test.seconds)
    if test.state == WheelTestState.FAILED:
        reason = test.reason or "the test failed"
        _add_result(
            case, "failure", reason, "\n".join([reason, *_log_lines(test.log, job, report)])
        )
    elif test.state == WheelTestState.SKIPPED:
        _add_result(case, "skipped", test.reason or "", None)


def _case(
    suite: ET.Element, job: ReportJob, report: RunReport, kind: str, seconds: float
) -> ET.Element:
    """Return a new test case. Its class is the project and what is done with the wheels."""
    return ET.SubElement(
        suite,
        "testcase",
        name=_allowed(job.id),
        classname=_allowed(f"{report.project or 'polywheel'}.{kind}"),
        time=f"{seconds:.3f}",
    )


def _add_result(
    case: ET.Element, name: str, message: str, text: str | None, *, kind: str = ""
) -> None:
    """Add the reason of a failed or skipped test case."""
    first_line = message.strip().partition("\n")[0]
    result = ET.SubElement(case, name, message=_allowed(first_line[:_LONGEST_MESSAGE]))
    if kind:
        result.set("type", kind)
    if text:
        result.text = _allowed(text)


def _finding_lines(job: ReportJob) -> Iterator[str]:
    """Yield the errors that the audit found."""
    for finding in job.audit or ():
        if finding.severity == "error":
            places = [part for part in (finding.file, finding.symbol) if part]
            yield f"audit: {': '.join([*places, finding.what])}"


def _log_lines(log: str | None, job: ReportJob, report: RunReport) -> Iterator[str]:
    """Yield the end of a log, after a line with its path; nothing if there is none."""
    end = read_log_end(log, report.run_of(job))
    if end is not None:
        yield from ("", f"the end of {log}:", *map(log_line, end.split("\n")))


def _count(suite: ET.Element) -> None:
    """Set the counts and the time of a test suite."""
    counts = {name: len(suite.findall(f"testcase/{name}")) for name in ("failure", "skipped")}
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(counts["failure"]))
    suite.set("errors", "0")
    suite.set("skipped", str(counts["skipped"]))
    seconds = sum(float(case.get("time", "0")) for case in suite)
    suite.set("time", f"{seconds:.3f}")


def _allowed(text: str) -> str:
    """Escape the characters of a text that are invisible or reorder text. XML allows no others."""
    lines = (one_line(line) for line in text.split("\n"))
    return _FORBIDDEN.sub("\ufffd", "\n".join(lines))
