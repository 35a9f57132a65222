"""Examine the files of a wheel in child processes, several at a time.

A file that crashes or blocks its process costs one finding: the other files of that process are examined by a new one.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from threading import Event

from polywheel.audit.binaries import LARGEST, BinaryMember
from polywheel.audit.examine import FileReport, unreadable
from polywheel.errors import WheelError, os_error_as
from polywheel.model.variant import VariantProperty
from polywheel.system.limits import cpu_count
from polywheel.system.logs import last_lines
from polywheel.system.processes import run_child
from polywheel.system.temporary import temporary_folder

_SECONDS, _SECONDS_PER_MB = 120.0, 2.0
"""The time limit of a process, and what each MB of its files adds."""
_START_BYTES = 2_000_000
"""Starting another process takes as long as examining this many bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExamineOptions:
    """What all processes get."""

    properties: tuple[VariantProperty, ...] = ()
    """The properties of the label."""

    allow: tuple[str, ...] = ()
    """Patterns of the settings, see :class:`~polywheel.audit.instructions.AllowedUse`."""

    processes: int | None = None
    """How many run at a time; by default, one for each processor. Some start others for parts of large files."""


def examine_files(
    wheel: Path, members: Sequence[BinaryMember], options: ExamineOptions, *, stop: Event
) -> tuple[FileReport, ...]:
    """Examine members of a wheel, and return their reports, in order. Raises WheelError."""
    sized = [member for member in members if member.size <= LARGEST]
    processes = options.processes or cpu_count()
    batches = _batches(sized, processes)
    total = _size(sized) or 1
    what = "the files can't be examined"
    with os_error_as(WheelError, what, at=wheel), ThreadPoolExecutor(len(batches) or 1) as threads:
        reports = {
            report.file: report
            for batch in threads.map(
                lambda batch: _examine_batch(
                    wheel.absolute(),
                    batch,
                    # A batch with one large file gets more processes than the others.
                    replace(options, processes=ceil(processes * _size(batch) / total) or 1),
                    stop,
                ),
                batches,
            )
            for report in batch
        }
    for member in members:
        if member.size > LARGEST:
            what = f"it is not examined: it has more than {LARGEST / 1e9:.2g} GB"
            reports[member.name] = unreadable(member.name, what)
    return tuple(reports[member.name] for member in members)


def _batches(members: Iterable[BinaryMember], processes: int) -> list[list[BinaryMember]]:
    """Distribute members over processes: the largest first, each to the process with the fewest bytes."""
    batches: list[list[BinaryMember]] = []
    sizes: list[int] = []
    for member in sorted(members, key=lambda member: -member.size):
        number = min(range(len(sizes)), key=sizes.__getitem__, default=None)
        if number is None or (len(sizes) < processes and sizes[number] > _START_BYTES):
            batches.append([member])
            sizes.append(member.size)
        else:
            batches[number].append(member)
            sizes[number] += member.size
    return batches


def _size(members: Iterable[BinaryMember]) -> int:
    return sum(member.size for member in members)


def _examine_batch(
    wheel: Path, members: Sequence[BinaryMember], options: ExamineOptions, stop: Event
) -> list[FileReport]:
    """Examine members one after another, in as many processes as it takes."""
    reports: list[FileReport] = []
    remaining = list(members)
    while remaining:
        done = _run(wheel, remaining, options, stop)
        reports += done
        remaining = remaining[len(done) :]
    return reports


def _run(
    wheel: Path, members: Sequence[BinaryMember], options: ExamineOptions, stop: Event
) -> list[FileReport]:
    """Examine members in one process. Returns the reports of those that it examined, at least one."""
    with temporary_folder() as folder:
        request = {
            "wheel": str(wheel),
            "files": [(number, member.name, member.size) for number, member in enumerate(members)],
            "properties": [
                (prop.namespace, prop.feature, prop.value) for prop in options.properties
            ],
            "allow": options.allow,
            "processes": options.processes,
        }
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        seconds = _SECONDS + _SECONDS_PER_MB * _size(members) / 1e6
        log = folder / "log.txt"
        child = run_child(
            [sys.executable, "-I", "-m", "polywheel.audit.examine", str(folder)],
            folder=folder,
            environment=os.environ,
            log=log,
            stop=stop,
            seconds=seconds,
        )
        if child.stopped:
            raise WheelError("the audit was stopped", at=str(wheel))
        reports: list[FileReport] = []
        for number, member in enumerate(members):
            path = folder / f"{number}.json"
            if not path.exists():
                break
            reports.append(FileReport.from_json(path.read_text(encoding="ascii")))
            if reports[-1].file != member.name:
                raise WheelError(f"a report is about another file than {member.name}")
        if len(reports) < len(members):
            why = "it took too long" if child.late else _reason(child.code, last_lines(log, 5))
            file = members[len(reports)].name
            reports.append(unreadable(file, f"{file} can't be examined: {why}"))
        return reports


def _reason(code: int, lines: Sequence[str]) -> str:
    ended = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"the process ended with {ended}" + (f": {lines[-1]}" if lines else "")
