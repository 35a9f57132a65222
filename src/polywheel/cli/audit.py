"""``polywheel audit``: compare the code of wheels with their labels.

With ``--json`` it prints ``{"shape": 1, "wheels": [...]}``, with an entry for each wheel, in order:

- ``wheel``, its path; ``label``, null for a non-variant wheel; ``files`` and ``code_bytes``, how much was examined;
- ``extensions``: all instruction set extensions in its code beyond the baseline of the processor;
- ``findings``: ``severity`` (``error``, ``warning``, ``note``), ``check`` (``instructions``, ``unused-level``,
  ``same-content``, ``gpu-architectures``, ``libraries``, ``abi3``, ``file``), ``what``, ``hint``, ``file``, ``symbol``,
  ``offset`` and ``instruction`` of the first instruction, and ``count``. All but the first three and ``count`` may be null.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from polywheel.cli import print_document, say
from polywheel.cli.arguments import JSON, CommandParser, add_options, number_up_to
from polywheel.cli.wheels import add_wheels, wheel_paths
from polywheel.config.project import PYPROJECT, AuditSettings, read_project
from polywheel.errors import WheelError, show_error
from polywheel.model.variant import VariantProperty
from polywheel.setup.presets import check_baseline
from polywheel.system.terminal import count_others, format_size, print_lines, quantity

if TYPE_CHECKING:
    from polywheel.audit.audit import AuditedWheel
    from polywheel.audit.findings import Finding

_LONGEST = 600
"""Characters of a printed line: names come from untrusted wheels."""
_MOST = 20
"""How many findings of one severity are printed for a wheel; ``--json`` prints all."""
_MOST_PROCESSES = 1024

_OPTIONS = """\
--allow PATTERN ...      FILE or FILE:FUNCTION, as globs: functions that check the processor in a way
                         that polywheel does not recognize
--baseline PROPERTY ...  a property that every supported machine has, such as "x86_64 :: level :: v2"
--processes N            how many processes examine files (default: one for each processor)
--quiet                  print no notes
"""


def run(arguments: Sequence[str]) -> int:
    """Audit the wheels. Returns 0, or 4 if there are errors or a wheel can't be read."""
    options = _parse(arguments)
    from polywheel.audit.audit import AuditOptions, audit_wheel
    from polywheel.audit.needless_labels import check_same_content, read_content

    settings = _project_settings()
    allow = (*settings.allow, *options.allow)
    baseline = settings.baseline
    if options.baseline:
        baseline = tuple(VariantProperty.parse(text, at="--baseline") for text in options.baseline)
    check_baseline(
        baseline, at="--baseline" if options.baseline else "tool.polywheel.audit.baseline"
    )
    audit_options = AuditOptions(allow=allow, baseline=baseline, processes=options.processes)
    code = 0
    audited: dict[Path, AuditedWheel] = {}
    contents = []
    for path in wheel_paths(options.wheels):
        try:
            audited[path] = audit_wheel(path, audit_options, stop=Event())
            contents.append(read_content(path, audited[path].label))
        except WheelError as error:
            show_error(error)
            code = max(code, error.exit_code)
    same = check_same_content(contents)
    entries = []
    for path, wheel in audited.items():
        complete = wheel.with_findings(same.get(path, ()))
        if complete.audit.has_errors:
            code = max(code, WheelError.exit_code)
        if options.json:
            entries.append(complete.document())
        else:
            print_lines(_lines(complete, quiet=options.quiet), longest=_LONGEST)
    if options.json:
        print_document({"wheels": entries})
    _report_unused(allow, audited.values())
    return code


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel audit",
        description="Compare the machine code of wheels with their labels: instructions beyond those that "
        "the label implies, GPU architectures, libraries, and the stable ABI. Wheels without a label "
        "are compared with the baseline of their platform. The exit code is 4 if there are errors. "
        "The settings are those of [tool.polywheel.audit] in the current folder.",
        epilog="example: polywheel audit dist --baseline 'x86_64 :: level :: v2'",
    )
    add_wheels(parser)
    add_options(parser, _OPTIONS + JSON, processes=number_up_to(_MOST_PROCESSES))
    return parser.parse_args(arguments)


def _project_settings() -> AuditSettings:
    """The settings of the project in the current folder; none if there is no project."""
    if not Path(PYPROJECT).is_file():
        return AuditSettings()
    return read_project(Path(), variants=False).settings.audit


def _report_unused(allow: Iterable[str], audited: Iterable[AuditedWheel]) -> None:
    used = {pattern for wheel in audited for pattern in wheel.patterns}
    for pattern in dict.fromkeys(allow):
        if pattern not in used:
            say(f"warning: the pattern {pattern!r} allowed nothing in these wheels")


def _lines(wheel: AuditedWheel, *, quiet: bool) -> Iterator[str]:
    from polywheel.audit.findings import Severity

    audit = wheel.audit
    counts = [
        quantity(audit.count(severity), severity.value)
        for severity in Severity
        if audit.count(severity)
    ]
    examined = f"{quantity(audit.files, 'file')}, {format_size(audit.code_bytes)} of code"
    yield f"{Path(audit.wheel).name}: {', '.join(counts) or 'nothing found'} ({examined})"
    for severity in Severity:
        findings = [finding for finding in audit.findings if finding.severity is severity]
        if severity is Severity.NOTE and quiet:
            continue
        for finding in findings[:_MOST]:
            yield from _finding_lines(finding)
        for line in count_others(findings, _MOST, f" {severity.value}s: --json lists all"):
            yield f"  {line}"


def _finding_lines(finding: Finding) -> Iterator[str]:
    place = [part for part in (finding.file, finding.symbol) if part]
    yield f"  {finding.severity.value}: {': '.join([*place, finding.what])}"
    if finding.instruction:
        more = f", and {finding.count - 1} more" if finding.count > 1 else ""
        yield f"    {finding.offset:#x}: {finding.instruction}{more}"
    if finding.hint:
        yield f"    hint: {finding.hint}"
