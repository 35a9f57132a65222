"""``polywheel report``: show reports of ``polywheel build`` in other formats."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from polywheel.cli.arguments import CommandParser, add_options
from polywheel.errors import ConfigError, WheelError, os_error_as
from polywheel.report.junit import junit_text
from polywheel.report.markdown import markdown_text
from polywheel.report.model import RunReport
from polywheel.report.page import render_page
from polywheel.report.read import read_reports
from polywheel.report.trace import trace_text
from polywheel.system.temporary import write_output

_OUTPUTS = """\
--html FILE       write a page for browsers; it needs no other file and no network
--markdown FILE   write a summary in Markdown, such as for the job summary of GitHub
--junit FILE      write JUnit XML, such as for the test report of GitLab; each wheel and each test
                  of a wheel is a test case
--trace FILE      write a trace of the builds for https://ui.perfetto.dev
"""
_COMPARISON = """\
--against FILE    show the change of each wheel's size since this earlier report; for --html
"""

_FORMATS: dict[str, Callable[[RunReport, RunReport | None], str]] = {
    "html": lambda report, against: render_page(report, against=against),
    "markdown": lambda report, _: markdown_text(report),
    "junit": lambda report, _: junit_text(report),
    "trace": lambda report, _: trace_text(report),
}
"""What makes the text of each output, by its option."""


def run(arguments: Sequence[str]) -> int:
    """Write the outputs. Returns 0, whatever the reports say."""
    options = _parse(arguments)
    report = read_reports(options.reports)
    against = read_reports([options.against]) if options.against is not None else None
    for name, render in _FORMATS.items():
        path = getattr(options, name)
        if path is not None:
            _write(path, render(report, against))
    return 0


def _write(path: Path, text: str) -> None:
    """Write an output, in UTF-8. Raises WheelError."""
    if str(path) == "-":
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
        return
    with os_error_as(WheelError, "the output can't be written", at=path):
        write_output(path, text.encode())


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the options. Raises ConfigError if they contradict each other."""
    parser = CommandParser(
        prog="polywheel report",
        description="Show reports of polywheel build in other formats. Several reports, such as those of "
        "the jobs of a CI run, are merged.",
        epilog="example: polywheel report report.json --html report.html",
    )
    parser.add_argument(
        "reports", nargs="+", type=Path, metavar="REPORT", help="files of polywheel build --report"
    )
    add_options(parser.add_argument_group("output: at least one; - is standard output"), _OUTPUTS)
    add_options(parser.add_argument_group("comparison"), _COMPARISON)
    options = parser.parse_args(arguments)
    chosen = [name for name in _FORMATS if getattr(options, name) is not None]
    if not chosen:
        raise ConfigError(
            "no output is selected",
            hint=f"use {' or '.join(f'--{name} FILE' for name in _FORMATS)}",
        )
    if [str(getattr(options, name)) for name in chosen].count("-") > 1:
        raise ConfigError(
            "only one output can be standard output", hint="write the others to files"
        )
    if options.against is not None and options.html is None:
        what = "--against has no effect without --html"
        raise ConfigError(what, at="--against", hint="leave out --against, or add --html FILE")
    return options
