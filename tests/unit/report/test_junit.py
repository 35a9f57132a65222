"""Reports as JUnit XML."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

from polywheel.report.junit import junit_text
from polywheel.report.model import (
    ReportBuild,
    ReportFinding,
    ReportJob,
    ReportRun,
    ReportTest,
    RunReport,
)
from polywheel.run.outcome import State, WheelTestState

ATTRIBUTES = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, set[str]()),
    "testsuite": (
        {"name", "tests", "failures", "errors", "time", "skipped", "timestamp"},
        {"name", "tests", "failures", "errors"},
    ),
    "testcase": ({"name", "time", "classname"}, {"name"}),
    "failure": ({"type", "message"}, set[str]()),
    "skipped": ({"type", "message"}, set[str]()),
}
"""By element: the attributes that we use and that junit-10.xsd of Jenkins' xUnit plugin allows, and those that it
requires."""
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase"},
    "testcase": {"skipped", "failure"},
    "failure": set[str](),
    "skipped": set[str](),
}
SUREFIRE_TIME = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?")


def parse(report: RunReport) -> ET.Element:
    """Parse the output, and check it with the rules of the schema."""
    root = ET.fromstring(junit_text(report))
    assert root.tag == "testsuites"
    for element in root.iter():
        allowed, required = ATTRIBUTES[element.tag]
        assert required <= element.attrib.keys() <= allowed
        assert {child.tag for child in element} <= CHILDREN[element.tag]
        if element.tag == "testsuite":
            assert SUREFIRE_TIME.fullmatch(element.attrib["time"])
            cases = element.findall("testcase")
            assert int(element.attrib["tests"]) == len(cases)
            assert int(element.attrib["failures"]) == len(element.findall("testcase/failure"))
            assert int(element.attrib["skipped"]) == len(element.findall("testcase/skipped"))
    return root


def job(name: str, state: State, **values: object) -> ReportJob:
    entry = ReportJob(
        id=name,
        run=0,
        label=name,
        properties=(),
        pythons=("3.12",),
        targets=("linux-x86_64",),
        build=f"build-{name}",
        state=state,
    )
    return replace(entry, **values)  # type: ignore[arg-type]


def report_of(*jobs: ReportJob, folder: Path = Path(), **build: object) -> RunReport:
    entry = ReportBuild(
        id="", run=0, python="3.12", target="linux-x86_64", jobs=(), state=State.BUILT
    )
    builds = [
        replace(entry, id=one.build, jobs=(one.id,), state=one.state, **build)  # type: ignore[arg-type]
        for one in jobs
    ]
    run = ReportRun(path=str(folder / "report.json"), began="2026-11-29T12:00:00+00:00")
    return RunReport(project="demo", runs=(run,), builds=tuple(builds), jobs=jobs)


def only(root: ET.Element, path: str) -> ET.Element:
    (element,) = root.findall(path)
    return element


def test_every_state() -> None:
    root = parse(report_of(*(job(str(state), state) for state in State)))
    results = {
        case.attrib["name"]: next((child.tag for child in case), "passed")
        for case in root.iter("testcase")
    }
    assert results == {
        **dict.fromkeys(("built", "up-to-date", "stamped"), "passed"),
        **dict.fromkeys(("failed", "test-failed"), "failure"),
        **dict.fromkeys(("stopped", "not-started", "no-python", "elsewhere"), "skipped"),
    }
    suite = only(root, "testsuite")  # no wheel was tested
    assert suite.attrib["timestamp"] == "2026-11-29T12:00:00+00:00"


def test_a_failure_has_the_error_and_the_end_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("\x1b[31mgcc failed\x1b[0m\n::error::x\n", encoding="utf-8")
    finding = ReportFinding(severity="error", check="libraries", what="bad", file="a.so")
    failed = job("a", State.FAILED, audit=(finding,), reproduce="polywheel build .")
    root = parse(report_of(failed, folder=tmp_path, error="it failed\n  at: x", log=str(log)))
    failure = only(root, "testsuite/testcase/failure")
    assert failure.attrib == {"message": "it failed", "type": "failed"}
    lines = (failure.text or "").split("\n")
    assert lines[:3] == ["it failed", "  at: x", "audit: a.so: bad"]
    assert f"the end of {log}:" in lines
    assert "gcc failed" in lines
    assert not any(line.startswith("::") for line in lines)
    assert lines[-1] == "to build it again: polywheel build ."


def test_tests_of_wheels_are_cases_of_their_own(tmp_path: Path) -> None:
    log = tmp_path / "t.log"
    log.write_text("assert 1 == 2\n", encoding="utf-8")
    failed = ReportTest(
        state=WheelTestState.FAILED, reason="exit code 1", seconds=1.5, log=str(log)
    )
    jobs = (
        job("a", State.TEST_FAILED, test=failed),
        job("b", State.BUILT, test=ReportTest(state=WheelTestState.PASSED)),
        job("c", State.BUILT, test=ReportTest(state=WheelTestState.SKIPPED, reason="test-skip")),
    )
    root = parse(report_of(*jobs, folder=tmp_path))
    wheels, tests = root.findall("testsuite")
    assert [len(case) for case in wheels] == [0, 0, 0]  # the wheel was built
    assert [next((child.tag for child in case), "") for case in tests] == ["failure", "", "skipped"]
    assert tests[0].attrib == {"name": "a", "classname": "demo.tests", "time": "1.500"}
    assert "assert 1 == 2" in (tests[0][0].text or "")
    assert tests[2][0].attrib["message"] == "test-skip"


def test_hostile_texts(tmp_path: Path) -> None:
    """Characters that XML does not allow, markup, and the end of a CDATA section."""
    hostile = "a\0\x0b\x1b\ud800\ufffe]]><x>&\"'\u202e"
    log = tmp_path / "a.log"
    log.write_bytes(b"\xff\x00]]><failure/>\x9b31m\n")
    failed = job(hostile, State.FAILED, reproduce=hostile)
    text = junit_text(report_of(failed, folder=tmp_path, error=hostile, log=str(log)))
    text.encode()
    root = parse(report_of(failed, folder=tmp_path, error=hostile, log=str(log)))
    assert len(root.findall(".//failure")) == 1
    assert "]]><x>&" in root.findall(".//testcase")[0].attrib["name"]
    for character in "\x1b\x9b\u202e":
        assert character not in text
