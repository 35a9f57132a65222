"""The options of ``polywheel build``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from polywheel.cli.arguments import (
    CommandParser,
    add_options,
    number_up_to,
    size_option,
    split_at_dashes,
)
from polywheel.cli.plans import add_project, add_selection
from polywheel.config.reader import LONGEST
from polywheel.config.selection import parse_config_settings, refuse_variant_settings
from polywheel.errors import ConfigError
from polywheel.run.options import refuse_source_in_output
from polywheel.system.limits import cpu_count

_EXECUTION = """\
--plan FILE       build the jobs of this plan, which polywheel matrix --json has written
--frontend {polywheel,cibuildwheel}
                  the tool that runs the builds; cibuildwheel runs once for each variant, with the
                  options after -- (default: polywheel)
--dry-run         build nothing; show the builds with their flags and settings, and why they run
"""
_ON_FAILURE = """\
--keep-going      continue after a failed build (default)
--fail-fast       stop at the first failed build
"""
_MORE_EXECUTION = """\
--clean           build from committed files only
--fresh           recreate the build and plugin environments
--rebuild         build wheels again that are up to date or in the cache
--explain-rebuild
                  print why each wheel is built or stamped
--force           overwrite wheels that polywheel did not build
--prune           remove wheels that polywheel built in the output directory and that are no longer
                  in the plan
--install-python  install missing Python versions with uv
--compiler-cache {auto,ccache,sccache,off}
                  the compiler cache; auto uses one that is installed (default: compiler-cache in
                  [tool.polywheel])
-C KEY=VALUE ...  pass a config setting to the real backend; may be repeated
"""
_TESTS = """\
--no-tests        do not run the test commands
--require-tests   fail if this machine can't test a wheel
"""
_LIMITS = """\
-j --jobs N       run up to N builds at a time, with N compiler processes in total (default: number
                  of CPUs)
--job-timeout SECONDS
                  stop builds that take longer than SECONDS
--memory-per-job SIZE
                  run only as many builds at a time as fit into memory with SIZE each, such as 2G
"""
_OUTPUT = """\
--report FILE     write a JSON report to FILE
--html FILE       write a page that shows the run to FILE
--log-dir DIR     write build logs to DIR (default: logs in the output directory)
--keep-work       keep the working folders of failed builds and print their paths
--json            print events as JSON lines
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the options of ``polywheel build``. Raises ConfigError if options contradict each other."""
    parser = CommandParser(
        prog="polywheel build",
        description="Build the wheels of the matrix. Builds run in parallel, identical builds run "
        "once, and finished builds are skipped. SOURCE is a project folder or an sdist.",
        epilog="example: polywheel build -o dist --select 'v3*' --python 3.12",
    )
    add_project(parser)
    add_options(parser, "-o --output DIR  write the wheels to DIR (default: dist)")
    add_selection(parser)
    execution = parser.add_argument_group("execution")
    add_options(execution, _EXECUTION)
    add_options(execution.add_mutually_exclusive_group(), _ON_FAILURE)
    add_options(execution, _MORE_EXECUTION)
    add_options(parser.add_argument_group("tests").add_mutually_exclusive_group(), _TESTS)
    limits = parser.add_argument_group("limits")
    number = number_up_to(1024)
    add_options(limits, _LIMITS, jobs=number, job_timeout=_seconds, memory_per_job=size_option)
    add_options(parser.add_argument_group("output"), _OUTPUT)
    parser.set_defaults(output=Path("dist"), frontend="polywheel", jobs=cpu_count())
    own, cibuildwheel_options = split_at_dashes(arguments)
    options = parser.parse_args(own)
    options.cibuildwheel = _cibuildwheel(options, cibuildwheel_options)
    options.settings = parse_config_settings(options.C)
    refuse_variant_settings(options.settings, at="-C")
    if options.clean and Path(options.source).is_file():
        raise ConfigError(
            "--clean needs a project folder; an sdist has no uncommitted files",
            at="--clean",
            hint="leave out --clean",
        )
    if options.prune and options.dry_run:
        raise ConfigError("a dry run removes nothing", at="--prune", hint="leave out --prune")
    if options.report is not None and options.dry_run:
        what = "a dry run writes no report"
        raise ConfigError(what, at="--report", hint="leave out --report; --json prints the jobs")
    if options.html is not None and options.dry_run:
        what = "a dry run writes no page"
        raise ConfigError(what, at="--html", hint="leave out --html")
    refuse_source_in_output(Path(options.source), options.output)
    return options


def _cibuildwheel(options: argparse.Namespace, arguments: Sequence[str]) -> tuple[str, ...] | None:
    """The options for cibuildwheel; None if polywheel runs the builds. Raises ConfigError."""
    if options.frontend == "cibuildwheel":
        return tuple(arguments)
    if arguments:
        raise ConfigError(
            f"unexpected argument {arguments[0]!r}",
            at="--",
            hint="arguments after -- are for cibuildwheel: add --frontend cibuildwheel",
        )
    return None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= LONGEST:
        raise argparse.ArgumentTypeError(f"expected a number of seconds, found {text!r}")
    return seconds
