"""The results of an audit: findings, and their JSON document."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Severity(Enum):
    """How serious a finding is. The values are in the order of the output."""

    ERROR = "error"
    """The wheel breaks the promise of its label."""

    WARNING = "warning"
    """The wheel is probably not what its label says."""

    NOTE = "note"
    """Worth knowing, for example that something was not checked."""


class Check(Enum):
    """What found something."""

    INSTRUCTIONS = "instructions"
    """Instructions beyond those that the label implies."""

    UNUSED_LEVEL = "unused-level"
    """A label whose instructions no code uses."""

    SAME_CONTENT = "same-content"
    """Two labels with the same content."""

    GPU_ARCHITECTURES = "gpu-architectures"
    """Device code for other GPUs than those of the label."""

    LIBRARIES = "libraries"
    """Libraries that contradict the label."""

    ABI3 = "abi3"
    """Functions outside of the stable ABI of Python."""

    FILE = "file"
    """A file that can't be examined."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that an audit found. The texts may come from the wheel: they are not safe to print."""

    severity: Severity
    check: Check
    what: str
    """One sentence without a full stop."""

    file: str | None = None
    """The member of the wheel; None if the finding is about the whole wheel. A part of a universal file of
    macOS has its processor at the end: `name.so (arm64)`."""

    symbol: str | None = None
    """The function, as it is in the file; None if the finding is not about one function."""

    offset: int | None = None
    """The address of the first instruction in the file, as disassemblers show it."""

    instruction: str | None = None
    """The first instruction, as text."""

    count: int = 1
    """How many instructions this finding is about."""

    hint: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelAudit:
    """The audit of one wheel."""

    wheel: str
    """The path of the wheel, as the user wrote it."""

    findings: tuple[Finding, ...]
    """Sorted, see :func:`sorted_findings`."""

    files: int = 0
    """How many files with machine code were examined."""

    code_bytes: int = 0
    """How many bytes of machine code were examined."""

    extensions: tuple[str, ...] = ()
    """All instruction set extensions in its code, also those that are allowed or behind a check."""

    @property
    def has_errors(self) -> bool:
        return any(finding.severity is Severity.ERROR for finding in self.findings)

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)


_ORDER = tuple(Severity)


def sorted_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings without duplicates: errors first, then by file and offset."""
    return tuple(
        sorted(
            dict.fromkeys(findings),
            key=lambda finding: (
                *(_ORDER.index(finding.severity), finding.file or "", finding.check.value),
                *(finding.offset or 0, finding.symbol or "", finding.what),
            ),
        )
    )


def audit_document(audit: WheelAudit) -> dict[str, Any]:
    """Return the JSON entry of one wheel."""
    return {
        "wheel": audit.wheel,
        "files": audit.files,
        "code_bytes": audit.code_bytes,
        "extensions": list(audit.extensions),
        "findings": [finding_document(finding) for finding in audit.findings],
    }


def finding_document(finding: Finding) -> dict[str, Any]:
    """Return the JSON entry of one finding."""
    return {
        "severity": finding.severity.value,
        "check": finding.check.value,
        "what": finding.what,
        "file": finding.file,
        "symbol": finding.symbol,
        "offset": finding.offset,
        "instruction": finding.instruction,
        "count": finding.count,
        "hint": finding.hint,
    }
