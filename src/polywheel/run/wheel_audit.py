"""The audit of wheels in builds, before they get their final names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from polywheel.config.project import AuditSettings
from polywheel.errors import ConfigError, Problem, WheelError
from polywheel.run.outcome import WARNING
from polywheel.run.worker.protocol import Message

if TYPE_CHECKING:
    from polywheel.audit.findings import Finding

_MOST = 10
"""How many errors of a wheel are reported."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelAuditor:
    """Audits the wheels of a run."""

    settings: AuditSettings
    stop: Event

    def audit(self, job: str, wheel: Path) -> Sequence[Message]:
        """Return the errors and warnings of the audit of a job's wheel. Raises WheelError if errors are errors."""
        from polywheel.audit.audit import AuditOptions, audit_wheel
        from polywheel.audit.findings import Severity

        # Other builds run at the same time.
        options = AuditOptions(
            allow=self.settings.allow, baseline=self.settings.baseline, processes=1
        )
        audit = audit_wheel(wheel, options, stop=self.stop).audit
        errors = [one for one in audit.findings if one.severity == Severity.ERROR]
        warnings = [one for one in audit.findings if one.severity == Severity.WARNING]
        if errors and self.settings.builds == "error":
            problems = [Problem(_text(one), wheel.name, one.hint) for one in errors[:_MOST]]
            if len(errors) > _MOST:
                problems.append(
                    Problem(f"and {len(errors) - _MOST} more: polywheel audit lists all")
                )
            raise WheelError.collected(problems)
        found = [*errors, *warnings]
        texts = [f"{WARNING}audit: {_text(one)}" for one in found[:_MOST]]
        if len(found) > _MOST:
            more = len(found) - _MOST
            texts.append(f"{WARNING}audit: {wheel.name}: {more} more: polywheel audit lists all")
        return [Message(text, (job,)) for text in texts]


def create_auditor(settings: AuditSettings, stop: Event) -> WheelAuditor | None:
    """Return what audits the wheels of a run; None if they are not audited.

    Raises ConfigError if a package is missing.
    """
    if settings.builds == "off":
        return None
    for package in ("lief", "abi3audit"):
        if find_spec(package) is None:
            raise ConfigError(
                f"the audit of wheels needs the package {package}",
                at=f"tool.polywheel.audit.builds = {settings.builds!r}",
                hint="pip install 'polywheel[audit]'",
            )
    return WheelAuditor(settings=settings, stop=stop)


def _text(finding: Finding) -> str:
    parts = [finding.file, finding.symbol, finding.what]
    return ": ".join(part for part in parts if part)
