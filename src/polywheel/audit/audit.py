"""The audit of one wheel: all checks of its files against its label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import Any

from polywheel.audit.abi3 import check_abi3
from polywheel.audit.binaries import binary_members
from polywheel.audit.examine import FileReport
from polywheel.audit.expectations import file_expectations
from polywheel.audit.extensions import own_extensions, unknown_namespaces
from polywheel.audit.findings import (
    Check,
    Finding,
    Severity,
    WheelAudit,
    audit_document,
    sorted_findings,
)
from polywheel.audit.gpu import check_device_code
from polywheel.audit.libraries import check_libraries
from polywheel.audit.needless_labels import check_unused_extensions
from polywheel.audit.pool import ExamineOptions, examine_files
from polywheel.errors import ConfigError
from polywheel.model.variant import VariantProperty
from polywheel.model.wheelname import WheelName
from polywheel.wheel.inspect import read_variant

_GPUS = frozenset({"cuda", "amdgpu"})
"""Machines of ELF files with device code."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditOptions:
    """How wheels are audited."""

    allow: tuple[str, ...] = ()
    """Functions that check the processor in a way that polywheel does not see, as ``FILE:FUNCTION`` globs."""

    baseline: tuple[VariantProperty, ...] = ()
    """Properties of every machine that the project supports. A label with the same feature wins."""

    processes: int | None = None
    """How many processes examine files at a time; by default, one for each processor."""


@dataclass(frozen=True, slots=True)
class AuditedWheel:
    """The audit of a wheel, and what else is known then."""

    audit: WheelAudit
    label: str | None
    patterns: frozenset[str]
    """The patterns of ``allow`` that allowed something."""

    def with_findings(self, findings: Iterable[Finding]) -> AuditedWheel:
        """Return the audit with more findings."""
        audit = replace(self.audit, findings=sorted_findings((*self.audit.findings, *findings)))
        return replace(self, audit=audit)

    def document(self) -> dict[str, Any]:
        """Return the JSON entry of the wheel."""
        return {**audit_document(self.audit), "label": self.label}


def audit_wheel(path: Path, options: AuditOptions, *, stop: Event) -> AuditedWheel:
    """Audit a wheel. Raises WheelError if it can't be read, and ConfigError if a package is missing."""
    variant = read_variant(path)
    own = () if variant is None else variant.properties
    features = {(prop.namespace, prop.feature) for prop in own}
    properties = (
        *own,
        *(prop for prop in options.baseline if (prop.namespace, prop.feature) not in features),
    )
    members = binary_members(path)
    if members:
        _require_packages(WheelName.parse(path.name))
    reports = examine_files(
        path,
        members,
        ExamineOptions(properties=properties, allow=options.allow, processes=options.processes),
        stop=stop,
    )
    findings = [finding for report in reports for finding in report.findings]
    findings += _notes(reports, own)
    findings += _label_findings(reports, own)
    findings += check_abi3(path, [member.name for member in members], stop=stop)
    audit = WheelAudit(
        wheel=str(path),
        findings=sorted_findings(findings),
        files=len(reports),
        code_bytes=sum(report.code_bytes for report in reports),
        extensions=tuple(sorted(set().union(*_used(reports).values()))),
    )
    patterns = frozenset(pattern for report in reports for pattern in report.patterns)
    return AuditedWheel(audit, None if variant is None else variant.label, patterns)


def _require_packages(name: WheelName) -> None:
    """Raise ConfigError if a package is missing. They are imported in child processes."""
    if find_spec("lief") is None:
        raise ConfigError(
            "the audit of machine code needs the package lief",
            hint="pip install 'polywheel[audit]'",
        )
    is_x86 = name.platform.endswith(("x86_64", "amd64", "universal2"))
    if is_x86 and find_spec("iced_x86") is None:
        raise ConfigError(
            "the audit of code for x86-64 needs the package iced-x86",
            hint="pip install 'polywheel[audit]'; on other processors than x86-64, "
            "pip install iced-x86, which needs Rust",
        )


def _used(reports: Iterable[FileReport]) -> dict[str, set[str]]:
    """The extensions that the code of a wheel uses, by machine."""
    used: dict[str, set[str]] = {}
    for report in reports:
        for machine, names in report.extensions:
            used.setdefault(machine, set()).update(names)
    return used


def _notes(reports: Iterable[FileReport], own: tuple[VariantProperty, ...]) -> Iterator[Finding]:
    """Findings about the whole wheel: what was not checked."""
    unchecked: dict[str, int] = {}
    for report in reports:
        for machine in report.unchecked_machines:
            unchecked[machine] = unchecked.get(machine, 0) + 1
    for machine, count in unchecked.items():
        files = "1 file" if count == 1 else f"{count} files"
        what = f"the instructions of {files} for {machine} are not checked"
        yield Finding(severity=Severity.NOTE, check=Check.INSTRUCTIONS, what=what)
    for namespace in unknown_namespaces(own):
        what = f"the namespace {namespace!r} has no preset: its properties are not checked"
        yield Finding(severity=Severity.NOTE, check=Check.INSTRUCTIONS, what=what)


def _label_findings(
    reports: Iterable[FileReport], own: Iterable[VariantProperty]
) -> Iterator[Finding]:
    """Findings about the properties of a label: device code, libraries, and properties without effect.

    That no file of the wheel has something is known only if all files could be examined. Device code in files of
    its own (cubin, hsaco) is not examined.
    """
    reports, expectations = tuple(reports), file_expectations(own)
    used = _used(reports)
    unchecked = {machine for report in reports for machine in report.unchecked_machines}
    findings = [
        *check_device_code({report.file: report.device_code for report in reports}, expectations),
        *check_libraries({report.file: report.libraries for report in reports}, expectations),
    ]
    for prop in own:
        if prop.namespace not in unchecked:
            added = {str(prop): own_extensions(prop)}
            findings += check_unused_extensions(added, used.get(prop.namespace, set()))
    is_complete = unchecked.isdisjoint(_GPUS) and all(
        finding.check is not Check.FILE for report in reports for finding in report.findings
    )
    for finding in findings:
        if is_complete or finding.file is not None:
            yield finding
