"""Examine files of a wheel: run as a child process by :mod:`polywheel.audit.pool`.

The argument is a folder with ``request.json``: ``wheel``, ``files`` (names of members), ``properties`` (of the label),
``allow`` (patterns), and ``processes`` (how many may decode one file). The report of file N is ``N.json``, see
:class:`FileReport`, and is complete or missing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from polywheel.audit.binaries import Binary, names_used_in_wheel, parse_binaries, read_member
from polywheel.audit.device_code import CudaArchitecture, DeviceCode, read_device_code
from polywheel.audit.extensions import admitted_extensions
from polywheel.audit.findings import Check, Finding, Severity
from polywheel.audit.instructions import CHECKED, check_instructions
from polywheel.errors import PolywheelError
from polywheel.model.variant import VariantProperty

_MEMORY, _MEMORY_FACTOR = 4 * 1024**3, 12
"""Bytes of memory for each file, and for each of its bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileReport:
    """What was found in one file."""

    file: str
    findings: tuple[Finding, ...] = ()
    extensions: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """By machine: the extensions beyond its baseline that the code uses."""

    unchecked_machines: tuple[str, ...] = ()
    """Machines whose instructions polywheel does not know."""

    code_bytes: int = 0
    patterns: tuple[str, ...] = ()
    """The patterns that allowed something."""

    libraries: tuple[str, ...] = ()
    device_code: DeviceCode = field(default_factory=DeviceCode)

    def to_json(self) -> str:
        document = asdict(self)
        for finding, entry in zip(self.findings, document["findings"], strict=True):
            entry |= {"severity": finding.severity.value, "check": finding.check.value}
        code = self.device_code
        document["device_code"] |= {"cuda": [asdict(a) for a in code.cuda], "hip": [*code.hip]}
        return json.dumps(document)

    @classmethod
    def from_json(cls, text: str) -> FileReport:
        """Read the document of :meth:`to_json`."""
        document: dict[str, Any] = json.loads(text)
        code = document.pop("device_code")
        return cls(
            file=document["file"],
            findings=tuple(map(_finding, document["findings"])),
            extensions=tuple((machine, tuple(names)) for machine, names in document["extensions"]),
            unchecked_machines=tuple(document["unchecked_machines"]),
            code_bytes=document["code_bytes"],
            patterns=tuple(document["patterns"]),
            libraries=tuple(document["libraries"]),
            device_code=DeviceCode(
                cuda=frozenset(CudaArchitecture(**entry) for entry in code["cuda"]),
                hip=frozenset(code["hip"]),
                damage=tuple(code["damage"]),
                has_cuda=code["has_cuda"],
                has_hip=code["has_hip"],
            ),
        )


def _finding(entry: dict[str, Any]) -> Finding:
    kinds = {"severity": Severity(entry["severity"]), "check": Check(entry["check"])}
    return Finding(**(entry | kinds))


def unreadable(file: str, what: str, hint: str | None = None) -> FileReport:
    """Return the report of a file that can't be examined."""
    finding = Finding(severity=Severity.WARNING, check=Check.FILE, what=what, file=file, hint=hint)
    return FileReport(file=file, findings=(finding,))


def examine_file(
    wheel: Path,
    file: str,
    properties: Iterable[VariantProperty],
    allowed: Iterable[str],
    *,
    processes: int = 1,
) -> FileReport:
    """Examine a member of a wheel. Raises ConfigError if a package is missing."""
    content = read_member(wheel, file)
    report = FileReport(file=file)
    for binary in parse_binaries(content, file):
        report = _with_binary(
            report,
            binary,
            tuple(properties),
            tuple(allowed),
            names_used=lambda: names_used_in_wheel(wheel, file),
            processes=processes,
        )
    return report


def _with_binary(
    report: FileReport,
    binary: Binary,
    properties: tuple[VariantProperty, ...],
    allowed: tuple[str, ...],
    *,
    names_used: Callable[[], Container[str] | None],
    processes: int,
) -> FileReport:
    code = read_device_code(binary.sections)
    known = report.device_code
    report = replace(
        report,
        libraries=tuple(dict.fromkeys((*report.libraries, *binary.libraries))),
        device_code=DeviceCode(
            cuda=known.cuda | code.cuda,
            hip=known.hip | code.hip,
            damage=(*known.damage, *code.damage),
            has_cuda=known.has_cuda or code.has_cuda,
            has_hip=known.has_hip or code.has_hip,
        ),
    )
    if not any(section.content for section in binary.code):
        return report
    if binary.machine not in CHECKED:
        return replace(report, unchecked_machines=(*report.unchecked_machines, binary.machine))
    admitted = admitted_extensions(binary.machine, properties, is_macos=binary.is_macos)
    check = check_instructions(binary, admitted, allowed, names_used, processes=processes)
    return replace(
        report,
        findings=(*report.findings, *check.findings),
        extensions=(*report.extensions, (binary.machine, tuple(sorted(check.extensions)))),
        code_bytes=report.code_bytes + check.code_bytes,
        patterns=tuple(sorted({*report.patterns, *check.patterns})),
    )


def main() -> None:
    """Examine the files of a request, one after another."""
    folder = Path(sys.argv[1])
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    wheel = Path(request["wheel"])
    properties = [VariantProperty(*parts) for parts in request["properties"]]
    for number, file, size in request["files"]:
        _limit_memory(size)
        try:
            report = examine_file(
                wheel, file, properties, request["allow"], processes=request["processes"]
            )
        except PolywheelError as error:
            report = unreadable(file, error.problems[0].what, error.problems[0].hint)
        except MemoryError:
            report = unreadable(file, f"{file} can't be examined: it needs too much memory")
        path = folder / f"{number}.json.new"
        path.write_text(report.to_json(), encoding="ascii")
        path.replace(folder / f"{number}.json")


def _limit_memory(size: int) -> None:
    """Limit the memory of this process, on systems that can, for a file of ``size`` bytes."""
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _MEMORY + _MEMORY_FACTOR * size
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


if __name__ == "__main__":
    main()
