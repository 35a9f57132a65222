"""The audit of wheels in builds, before they get their final names."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from polywheel.config.project import AuditSettings
from polywheel.errors import ConfigError, WheelError
from polywheel.model.plan import Plan
from polywheel.model.wheelname import WheelName
from polywheel.run.outcome import WARNING, AuditFindings, Outcome
from polywheel.run.worker.protocol import Message
from polywheel.setup.presets import check_baseline
from polywheel.system.terminal import one_line, quantity

if TYPE_CHECKING:
    from polywheel.audit.findings import Finding

_MOST = 10
"""How many errors, and how many other findings, of a wheel are reported."""
_LONGEST = 600
"""Characters of a finding: names come from untrusted wheels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildAudit:
    """The audit of the wheel of a job."""

    job: str
    messages: tuple[Message, ...] = ()
    """Warnings and notes."""

    error: str = ""
    """Why the wheel must not be published, in one line or several; empty if it may be."""

    findings: AuditFindings = ()
    """All findings, for the report."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelAuditor:
    """Audits the wheels of a run."""

    settings: AuditSettings
    stop: Event

    def audit(self, job: str, wheel: Path) -> BuildAudit:
        """Audit the wheel of a job. Raises WheelError if it can't be read."""
        from polywheel.audit.audit import AuditOptions, audit_wheel
        from polywheel.audit.findings import Check, Severity, finding_document

        # Other builds run at the same time.
        options = AuditOptions(
            allow=self.settings.allow, baseline=self.settings.baseline, processes=1
        )
        findings = audit_wheel(wheel, options, stop=self.stop).audit.findings
        errors = [one for one in findings if one.severity == Severity.ERROR]
        warnings = [one for one in findings if one.severity == Severity.WARNING]
        unused = [one for one in findings if one.check == Check.UNUSED_LEVEL]
        error = ""
        if self.settings.builds == "error":
            error, errors = _error_text(wheel, errors), []
        texts = [f"{WARNING}audit: {text}" for text in _texts(wheel, [*errors, *warnings])]
        texts += [f"note: audit: {text}" for text in _texts(wheel, unused)]
        return BuildAudit(
            job=job,
            messages=tuple(Message(text, (job,)) for text in texts),
            error=error,
            findings=tuple(map(finding_document, findings)),
        )


def create_auditor(settings: AuditSettings, stop: Event) -> WheelAuditor | None:
    """Return what audits the wheels of a run; None if they are not audited.

    Raises ConfigError if a package is missing.
    """
    if settings.builds == "off":
        return None
    check_baseline(settings.baseline, at="tool.polywheel.audit.baseline")
    x86 = ["iced_x86"] if platform.machine().lower() in {"x86_64", "amd64"} else []
    for package in ("lief", "abi3audit", *x86):
        if find_spec(package) is None:
            raise ConfigError(
                f"the audit of wheels needs the package {package.replace('_', '-')}",
                at=f"tool.polywheel.audit.builds = {settings.builds!r}",
                hint="pip install 'polywheel[audit]'",
            )
    return WheelAuditor(settings=settings, stop=stop)


def find_same_content(plan: Plan, out: Path, outcomes: Iterable[Outcome]) -> list[Message]:
    """Return warnings about wheels with the same content although their build setups differ.

    Plans and reports name variants with the same build setup themselves.
    """
    from polywheel.audit.needless_labels import WheelContent, check_same_content, read_content

    contents: dict[tuple[WheelName, str], WheelContent] = {}
    jobs: dict[Path, str] = {}
    for wheel in (wheel for outcome in outcomes for wheel in outcome.wheels):
        job, path = plan.job(wheel.job), out / wheel.file
        key = (replace(WheelName.parse(wheel.file), label=None), wheel.setup or wheel.job)
        if job is None or key in contents:
            continue
        try:
            contents[key] = read_content(path, job.label)
        except WheelError:  # it was removed meanwhile
            continue
        jobs[path] = wheel.job
    by_finding: dict[Finding, list[str]] = {}
    for path, findings in check_same_content(contents.values()).items():
        for finding in findings:
            by_finding.setdefault(finding, []).append(jobs[path])
    return [
        Message(f"{WARNING}audit: {finding.what}; {finding.hint}", tuple(ids))
        for finding, ids in by_finding.items()
    ]


def _error_text(wheel: Path, errors: Sequence[Finding]) -> str:
    """The errors of a wheel, of which the first is in the first line; empty without errors."""
    if not errors:
        return ""
    first, *others = _texts(wheel, errors)
    lines = [f"the audit of {wheel.name} found {quantity(len(errors), 'error')}: {first}", *others]
    return "\n  ".join([*lines, *dict.fromkeys(one.hint for one in errors if one.hint)])


def _texts(wheel: Path, findings: Sequence[Finding]) -> list[str]:
    texts = []
    for one in findings[:_MOST]:
        parts = [one.file, one.symbol, one.what]
        texts.append(one_line(": ".join(part for part in parts if part), longest=_LONGEST))
    if len(findings) > _MOST:
        more = len(findings) - _MOST
        texts.append(f"{wheel.name}: {more} more: polywheel audit lists all")
    return texts
