"""The options of ``polywheel build``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from polywheel.cli.arguments import (
    CommandParser,
    add_flag,
    add_option,
    number_up_to,
    split_at_dashes,
)
from polywheel.cli.plans import add_project, add_selection
from polywheel.config.reader import LONGEST, parse_size
from polywheel.config.selection import parse_config_settings, refuse_variant_settings
from polywheel.errors import ConfigError
from polywheel.run.options import refuse_source_in_output
from polywheel.system.limits import cpu_count


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the options of ``polywheel build``. Raises ConfigError if options contradict each other."""
    parser = CommandParser(
        prog="polywheel build",
        description="Build the wheels of the matrix. Builds run in parallel, identical builds run "
        "once, and finished builds are skipped. SOURCE is a project folder or an sdist.",
        epilog="example: polywheel build -o dist --select 'v3*' --python 3.12",
    )
    add_project(parser)
    text = "write the wheels to DIR (default: dist)"
    add_option(parser, "-o --output", "DIR", text, type=Path, default=Path("dist"))
    add_selection(parser)
    _add_execution(parser)
    _add_limits(parser)
    _add_output(parser)
    own, cibuildwheel_options = split_at_dashes(arguments)
    options = parser.parse_args(own)
    options.cibuildwheel = _cibuildwheel(options, cibuildwheel_options)
    options.settings = parse_config_settings(options.settings)
    refuse_variant_settings(options.settings, at="-C")
    if options.clean and Path(options.source).is_file():
        raise ConfigError(
            "--clean needs a project folder; an sdist has no uncommitted files",
            at="--clean",
            hint="leave out --clean",
        )
    if options.prune and options.dry_run:
        raise ConfigError("a dry run removes nothing", at="--prune", hint="leave out --prune")
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


def _add_execution(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("execution")
    text = "build the jobs of this plan, which polywheel matrix --json has written"
    add_option(group, "--plan", "FILE", text, type=Path)
    group.add_argument(
        "--frontend",
        choices=["polywheel", "cibuildwheel"],
        default="polywheel",
        help="the tool that runs the builds; cibuildwheel runs once for each variant, with the "
        "options after -- (default: polywheel)",
    )
    text = "build nothing; show the builds with their flags and settings"
    add_flag(group, "--dry-run", text)
    on_failure = group.add_mutually_exclusive_group()
    add_flag(on_failure, "--keep-going", "continue after a failed build (default)")
    add_flag(on_failure, "--fail-fast", "stop at the first failed build")
    add_flag(group, "--clean", "build from committed files only")
    add_flag(group, "--fresh", "recreate the build and plugin environments")
    add_flag(group, "--force", "overwrite wheels that polywheel did not build")
    add_flag(
        group,
        "--prune",
        "remove wheels that polywheel built in the output directory and that are no longer in the "
        "plan",
    )
    add_flag(group, "--install-python", "install missing Python versions with uv")
    text = "pass a config setting to the real backend; may be repeated"
    add_option(group, "-C", "KEY=VALUE", text, dest="settings", action="append", default=[])


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits")
    add_option(
        group,
        "-j --jobs",
        "N",
        "run up to N builds at a time, with N compiler processes in total (default: number of CPUs)",
        type=number_up_to(1024),
        default=cpu_count(),
    )
    text = "stop builds that take longer than SECONDS"
    add_option(group, "--job-timeout", "SECONDS", text, type=_seconds)
    text = "run only as many builds at a time as fit into memory with SIZE each, such as 2G"
    add_option(group, "--memory-per-job", "SIZE", text, type=_size)


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    add_option(group, "--report", "FILE", "write a JSON report to FILE", type=Path)
    text = "write build logs to DIR (default: logs in the output directory)"
    add_option(group, "--log-dir", "DIR", text, type=Path)
    text = "keep the working folders of failed builds and print their paths"
    add_flag(group, "--keep-work", text)
    add_flag(group, "--json", "print events as JSON lines")


def _size(text: str) -> int:
    size = parse_size(text)
    if size is None:
        raise argparse.ArgumentTypeError(f"expected a size such as 2G or 512M, found {text!r}")
    return size


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= LONGEST:
        raise argparse.ArgumentTypeError(f"expected a number of seconds, found {text!r}")
    return seconds
