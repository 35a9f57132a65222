"""Findings, sorted and as JSON."""

from __future__ import annotations

from polywheel.audit.findings import (
    Check,
    Finding,
    Severity,
    WheelAudit,
    audit_document,
    sorted_findings,
)

NOTE = Finding(severity=Severity.NOTE, check=Check.UNUSED_LEVEL, what="no code uses v3")
ERROR = Finding(
    severity=Severity.ERROR,
    check=Check.INSTRUCTIONS,
    what="AVX2 is beyond x86-64-v1",
    file="demo/_core.so",
    symbol="add",
    offset=0x1139,
    instruction="vpaddd ymm0, ymm0, ymm1",
    count=3,
)
OTHER = Finding(severity=Severity.ERROR, check=Check.FILE, what="it is cut short", file="b.so")


def test_findings_are_sorted_by_severity_file_and_place_without_duplicates() -> None:
    later = Finding(
        severity=Severity.ERROR,
        check=Check.INSTRUCTIONS,
        what="AVX2 is beyond x86-64-v1",
        file="demo/_core.so",
        offset=0x2000,
    )
    assert sorted_findings([NOTE, later, ERROR, OTHER, ERROR]) == (OTHER, ERROR, later, NOTE)


def test_a_wheel_as_json() -> None:
    audit = WheelAudit(
        wheel="dist/demo.whl",
        findings=sorted_findings([NOTE, ERROR]),
        files=2,
        code_bytes=1000,
        extensions=("AVX2",),
    )
    assert audit.has_errors
    assert (audit.count(Severity.ERROR), audit.count(Severity.WARNING)) == (1, 0)
    document = audit_document(audit)
    assert document["wheel"] == "dist/demo.whl"
    assert (document["files"], document["code_bytes"]) == (2, 1000)
    assert document["extensions"] == ["AVX2"]
    error, note = document["findings"]
    assert error == {
        "severity": "error",
        "check": "instructions",
        "what": "AVX2 is beyond x86-64-v1",
        "file": "demo/_core.so",
        "symbol": "add",
        "offset": 0x1139,
        "instruction": "vpaddd ymm0, ymm0, ymm1",
        "count": 3,
        "hint": None,
    }
    assert (note["severity"], note["file"], note["count"]) == ("note", None, 1)
