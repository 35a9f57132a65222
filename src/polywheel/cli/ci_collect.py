"""``polywheel ci collect``: collect the wheels and reports of all jobs of a CI run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from polywheel.ci.collect import (
    collect_wheels,
    find_files,
    merge_reports,
    summary,
    unreported_jobs,
)
from polywheel.cli import say
from polywheel.config.reader import Table
from polywheel.errors import BuildError, ConfigError, Problem, WheelError
from polywheel.matrix.plan_json import read_document
from polywheel.run.report import SHAPE, write_report
from polywheel.system.terminal import count_others, print_lines, quantity

_MOST_PROBLEMS = 20
"""How many problems are printed."""


def collect(options: argparse.Namespace) -> int:
    """Collect the wheels and reports of CI jobs.

    Returns 0, or 1 if a wheel is missing or CI jobs failed, or 4 if a wheel or report is wrong.
    """
    if not options.folder.is_dir():
        exists = options.folder.exists()
        what = "is not a folder" if exists else "does not exist"
        raise ConfigError(f"{options.folder} {what}", at="DIR")
    artifacts = find_files(options.folder)
    empty = not artifacts.wheels and not artifacts.reports
    if empty and options.plan is None and options.result in {None, "success"}:
        raise ConfigError(
            f"{options.folder} contains no wheels and no reports",
            hint="pass the folder that contains the artifacts of all jobs",
        )
    tables, problems = _read_reports(artifacts.reports)
    reports = merge_reports(tables)
    if options.plan is not None:
        reports = replace(reports, unreported=unreported_jobs(reports, options.plan))
    wheels, wrong = collect_wheels(artifacts, reports, options.output)
    collected = {path.name for path in wheels}
    refused = frozenset(job["id"] for job in reports.made if job["file"] not in collected)
    reports = replace(reports, refused=refused)
    problems += [*(problem for table in tables for problem in table.problems.found), *wrong]
    if options.report is not None:
        write_report(reports.document(options.output), options.report)
    print_lines(summary(reports, wheels=len(wheels), result=options.result).splitlines())
    _show_problems(problems)
    if problems:
        return WheelError.exit_code
    missing = len(reports.missing) + len(reports.unreported)
    if missing:
        say(f"missing: {quantity(missing, 'wheel')}")
    if options.result not in {None, "success"}:
        say(f"the CI jobs ended with {options.result}")
    if missing or options.result not in {None, "success"}:
        return BuildError.exit_code
    say(f"{quantity(len(wheels), 'wheel')} in {options.output}")
    return 0


def _read_reports(paths: Sequence[Path]) -> tuple[list[Table], list[Problem]]:
    """Read the reports. Return the problems of unreadable ones: their wheels are still collected."""
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


def _show_problems(problems: list[Problem]) -> None:
    for problem in problems[:_MOST_PROBLEMS]:
        print_lines(problem.lines(), stream=sys.stderr)
    for line in count_others(problems, _MOST_PROBLEMS, " problems"):
        say(line)
