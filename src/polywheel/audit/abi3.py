"""Check the extension modules of abi3 wheels for functions outside of the stable ABI, with abi3audit."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import Any

from polywheel.audit.binaries import read_member
from polywheel.audit.findings import Check, Finding, Severity
from polywheel.errors import ConfigError, WheelError, os_error_as
from polywheel.model.wheelname import WheelName
from polywheel.system.logs import last_lines
from polywheel.system.processes import run_child
from polywheel.system.temporary import temporary_folder

SECONDS = 300.0
"""Time limit of one run of abi3audit."""
_BATCH = 100
"""The most files of one run."""
_SUFFIXES = (".so", ".pyd")
_PYTHON = re.compile("(?:cp|py)3([0-9]{1,3})")
_OLDEST = 2
"""The first minor version of Python 3 with a stable ABI."""
_MOST_NAMES = 10


def abi3_modules(name: WheelName, files: Iterable[str]) -> list[str]:
    """Return the files of a wheel that use the stable ABI, according to its tags or to their own names."""
    modules = [file for file in files if file.endswith(_SUFFIXES)]
    if "abi3" in name.abi.split("."):
        return modules
    return [file for file in modules if ".abi3." in file.rpartition("/")[2]]


def oldest_python(name: WheelName) -> int:
    """Return the minor version of the oldest Python 3 for which a wheel is tagged."""
    minors = [int(match[1]) for match in map(_PYTHON.fullmatch, name.python.split(".")) if match]
    return max(_OLDEST, min(minors, default=_OLDEST))


def check_abi3(wheel: Path, files: Iterable[str], *, stop: Event) -> Iterator[Finding]:
    """Yield findings about the stable ABI in the files with machine code of a wheel.

    abi3audit runs in child processes. They end when ``stop`` is set. Raises WheelError,
    and ConfigError if abi3audit is missing.
    """
    name = WheelName.parse(wheel.name)
    modules = abi3_modules(name, files)
    if modules and find_spec("abi3audit") is None:
        raise ConfigError(
            "the audit of abi3 wheels needs the package abi3audit",
            hint="pip install 'polywheel[audit]'",
        )
    for start in range(0, len(modules), _BATCH):
        yield from _check_batch(wheel, modules[start : start + _BATCH], oldest_python(name), stop)


def _check_batch(
    wheel: Path, modules: Sequence[str], minimum: int, stop: Event
) -> Iterator[Finding]:
    what = "the files can't be written for abi3audit"
    with os_error_as(WheelError, what, at=wheel), temporary_folder() as folder:
        files = {}
        for number, file in enumerate(modules):
            # No name of a stranger becomes a path.
            path = folder / f"{number}{'.pyd' if file.endswith('.pyd') else '.so'}"
            path.write_bytes(read_member(wheel, file))
            files[str(path)] = file
        together, why = _run_abi3audit([*files], minimum, folder, stop)
        for copy, file in files.items():
            results = together
            if not together and len(files) > 1:  # one damaged file ends the whole run
                results, why = _run_abi3audit([copy], minimum, folder, stop)
            if copy in results:
                yield from _findings(results[copy], file, minimum)
            else:
                what = f"abi3audit can't examine it: {why}"
                yield Finding(severity=Severity.WARNING, check=Check.FILE, what=what, file=file)


def _run_abi3audit(
    paths: Sequence[str], minimum: int, folder: Path, stop: Event
) -> tuple[Mapping[str, Any], str]:
    """Run abi3audit. Return its results by path, or no results and the reason."""
    report, log = folder / "report.json", folder / "log.txt"
    for file in (report, log):
        file.unlink(missing_ok=True)
    command = [sys.executable, "-I", "-m", "abi3audit", "--report", "--output", str(report)]
    command += ["--assume-minimum-abi3", f"3.{minimum}", *paths]
    environment = {**os.environ, "ABI3AUDIT_LOGLEVEL": "ERROR", "NO_COLOR": "1", "COLUMNS": "1000"}
    child = run_child(
        command, folder=folder, environment=environment, log=log, stop=stop, seconds=SECONDS
    )
    if child.late or child.stopped:
        return {}, "it was stopped" if child.stopped else f"it took longer than {SECONDS:g} seconds"
    try:
        specs = json.loads(report.read_text(encoding="utf-8"))["specs"]
        return {path: spec["object"]["result"] for path, spec in specs.items()}, ""
    except (OSError, ValueError, KeyError, TypeError):
        return {}, _reason(last_lines(log, 1000)) or f"it ended with exit code {child.code}"


def _reason(lines: Sequence[str]) -> str:
    """The reason of a failure: the message of abi3audit, or the last line of a traceback."""
    for line in reversed(lines):
        _, error, why = line.partition("auditing error: ")
        if error:
            return re.split(r"\s{2,}", why)[0]  # the place in abi3audit follows at the right
    return lines[-1].strip() if lines else ""


def _findings(result: Mapping[str, Any], file: str, minimum: int) -> Iterator[Finding]:
    """Findings about one file, from its result in a report of abi3audit."""
    if private := sorted(result["non_abi3_symbols"]):
        what = f"outside of the stable ABI: {_names(private)}"
        yield _finding(what, file, len(private))
    newer: Mapping[str, str] = result["future_abi3_objects"]
    if newer:
        names = [f"{name} (Python {newer[name]})" for name in sorted(newer)]
        what = f"newer than the stable ABI of Python 3.{minimum}, the oldest of the wheel: "
        yield _finding(what + _names(names), file, len(names))


def _names(names: Sequence[str]) -> str:
    more = f", and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _finding(what: str, file: str, count: int) -> Finding:
    return Finding(severity=Severity.ERROR, check=Check.ABI3, what=what, file=file, count=count)
