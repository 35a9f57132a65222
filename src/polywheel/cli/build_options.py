"""The options of ``polywheel build``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from polywheel.cli.arguments import CommandParser, number_up_to, split_at_dashes
from polywheel.cli.plans import add_project, add_selection
from polywheel.config.reader import LONGEST, parse_size
from polywheel.config.selection import refuse_variant_settings
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
    parser.add_argument(
        *("-o", "--output"),
        type=Path,
        default=Path("dist"),
        metavar="DIR",
        help="write the wheels to DIR (default: dist)",
    )
    add_selection(parser)
    _add_execution(parser)
    _add_limits(parser)
    _add_output(parser)
    own, cibuildwheel_options = split_at_dashes(arguments)
    options = parser.parse_args(own)
    options.cibuildwheel = _cibuildwheel(options, cibuildwheel_options)
    options.settings = _settings(options.settings)
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
    group.add_argument(
        "--plan",
        type=Path,
        metavar="FILE",
        help="build the jobs of this plan, which polywheel matrix --json has written",
    )
    group.add_argument(
        "--frontend",
        choices=["polywheel", "cibuildwheel"],
        default="polywheel",
        help="the tool that runs the builds; cibuildwheel runs once for each variant, with the "
        "options after -- (default: polywheel)",
    )
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="build nothing; show the builds with their flags and settings",
    )
    on_failure = group.add_mutually_exclusive_group()
    on_failure.add_argument(
        "--keep-going", action="store_true", help="continue after a failed build (default)"
    )
    on_failure.add_argument(
        "--fail-fast", action="store_true", help="stop at the first failed build"
    )
    group.add_argument("--clean", action="store_true", help="build from committed files only")
    group.add_argument(
        "--fresh", action="store_true", help="recreate the build and plugin environments"
    )
    group.add_argument(
        "--force", action="store_true", help="overwrite wheels that polywheel did not build"
    )
    group.add_argument(
        "--prune",
        action="store_true",
        help="remove wheels that polywheel built in the output directory and that are no longer "
        "in the plan",
    )
    group.add_argument(
        "--install-python", action="store_true", help="install missing Python versions with uv"
    )
    group.add_argument(
        "-C",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="pass a config setting to the real backend; may be repeated",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits")
    group.add_argument(
        *("-j", "--jobs"),
        type=number_up_to(1024),
        default=cpu_count(),
        metavar="N",
        help="run up to N builds at a time, with N compiler processes in total (default: number of "
        "CPUs)",
    )
    group.add_argument(
        "--job-timeout",
        type=_seconds,
        metavar="SECONDS",
        help="stop builds that take longer than SECONDS",
    )
    group.add_argument(
        "--memory-per-job",
        type=_size,
        metavar="SIZE",
        help="run only as many builds at a time as fit into memory with SIZE each, such as 2G",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--report", type=Path, metavar="FILE", help="write a JSON report to FILE")
    group.add_argument(
        "--log-dir",
        type=Path,
        metavar="DIR",
        help="write build logs to DIR (default: logs in the output directory)",
    )
    group.add_argument(
        "--keep-work",
        action="store_true",
        help="keep the working folders of failed builds and print their paths",
    )
    group.add_argument("--json", action="store_true", help="print events as JSON lines")


def _settings(texts: Sequence[str]) -> dict[str, str | list[str]]:
    """Config settings by key. A repeated key has a list of values. Raises ConfigError."""
    by_key: dict[str, list[str]] = {}
    for text in texts:
        key, assigned, value = text.partition("=")
        if not key or not assigned:
            raise ConfigError(
                f"malformed config setting {text!r}", at="-C", hint="write -CKEY=VALUE"
            )
        by_key.setdefault(key, []).append(value)
    settings = {key: values[0] if len(values) == 1 else values for key, values in by_key.items()}
    refuse_variant_settings(settings, at="-C")
    return settings


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
