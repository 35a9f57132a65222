"""``polywheel ci collect``: the wheels and reports of all jobs of a CI run, in one place."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from polywheel.ci.collecting import SHAPE, find, gather, merged, write_report
from polywheel.ci.summary import counted, summary
from polywheel.cli import say
from polywheel.config.reader import Table
from polywheel.errors import BuildError, ConfigError, Problem, WheelError
from polywheel.matrix.documents import read_document
from polywheel.terminal import put

_NAMED = 20
"""How many problems are named."""


def collect(options: argparse.Namespace) -> int:
    """Collect; 0 where all is there, 1 where a wheel is missing, 4 where one is not right."""
    if not options.folder.is_dir():
        raise ConfigError(f"there is no folder {options.folder}", at="DIR")
    found = find(options.folder)
    if not found.wheels and not found.reports and options.result in {None, "success"}:
        raise ConfigError(
            f"{options.folder} holds no wheel and no report",
            hint="name the folder of all artifacts",
        )
    tables, problems = _read(found.reports)
    reports = merged(tables)
    wheels, wrong = gather(found, reports, options.output)
    problems += [*(one for table in tables for one in table.problems.found), *wrong]
    if options.report is not None:
        write_report(reports, options.report, options.output)
    put(summary(reports, wheels=len(wheels), result=options.result).splitlines())
    _tell(problems)
    if problems:
        return WheelError.exit_code
    lacking = reports.lacking
    if lacking:
        say(f"not made: {counted(len(lacking), 'wheel')}")
    if options.result not in {None, "success"}:
        say(f"the jobs ended with {options.result}")
    if lacking or options.result not in {None, "success"}:
        return BuildError.exit_code
    say(f"{counted(len(wheels), 'wheel')} in {options.output}")
    return 0


def _read(paths: Sequence[Path]) -> tuple[list[Table], list[Problem]]:
    """The reports, and what is wrong with those that can't be read: the wheels are there all the same."""
    tables: list[Table] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            tables.append(
                read_document(path, SHAPE, what="report", hint="see docs/report.md", closed=False)
            )
        except ConfigError as error:
            problems += error.problems
    return tables, problems


def _tell(problems: list[Problem]) -> None:
    for problem in problems[:_NAMED]:
        put(problem.lines(), stream=sys.stderr)
    if len(problems) > _NAMED:
        say(f"and {len(problems) - _NAMED} more")
