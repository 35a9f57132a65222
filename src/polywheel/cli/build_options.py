"""The options of ``polywheel build``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from polywheel.cli.arguments import CommandParser
from polywheel.cli.plans import add_project, add_selection
from polywheel.config.reader import LONGEST, bytes_of
from polywheel.config.selection import parse_selection
from polywheel.errors import ConfigError
from polywheel.system.limits import cpu_count


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; those that contradict each other raise ConfigError."""
    parser = CommandParser(
        prog="polywheel build",
        description="Build the wheels of a matrix: in parallel, what is equal once, what is "
        "finished not again. SOURCE is a project's folder, or an sdist.",
        epilog="example: polywheel build -o dist --select 'v3*' --python 3.12",
    )
    add_project(parser)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("dist"), metavar="DIR", help="(default: dist)"
    )
    add_selection(parser)
    _add_how(parser)
    _add_limits(parser)
    _add_output(parser)
    ours, theirs = _parted(arguments)
    options = parser.parse_args(ours)
    options.cibuildwheel = _cibuildwheel(options, theirs)
    options.settings = _settings(options.settings)
    if options.clean and Path(options.source).is_file():
        raise ConfigError("an sdist is what was committed", at="--clean", hint="drop --clean")
    if options.prune and options.dry_run:
        raise ConfigError("a dry run removes nothing", at="--prune", hint="drop --prune")
    source, out = Path(options.source).resolve(), options.output.resolve()
    if source.is_dir() and source.is_relative_to(out):
        raise ConfigError(
            f"the output directory {options.output} holds the source",
            at="-o",
            hint="choose a folder of its own, such as dist",
        )
    return options


def _parted(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """What stands before ``--``, and what stands behind it."""
    if "--" not in arguments:
        return arguments, ()
    place = list(arguments).index("--")
    return arguments[:place], arguments[place + 1 :]


def _cibuildwheel(options: argparse.Namespace, theirs: Sequence[str]) -> tuple[str, ...] | None:
    """The options for cibuildwheel; None where it builds nothing. Raises ConfigError."""
    if options.frontend == "cibuildwheel":
        return tuple(theirs)
    if theirs:
        raise ConfigError(
            f"nobody takes {theirs[0]!r}",
            at="--",
            hint="what stands behind -- is for cibuildwheel: add --frontend cibuildwheel",
        )
    return None


def _add_how(parser: argparse.ArgumentParser) -> None:
    how = parser.add_argument_group("how")
    how.add_argument("--plan", type=Path, metavar="FILE", help="a plan of polywheel matrix --json")
    how.add_argument(
        "--frontend",
        choices=["polywheel", "cibuildwheel"],
        default="polywheel",
        help="who runs the builds: cibuildwheel runs once for each variant, with the options that "
        "stand behind -- (default: polywheel)",
    )
    how.add_argument(
        "--dry-run", action="store_true", help="print what would be built, and what it is told"
    )
    failing = how.add_mutually_exclusive_group()
    failing.add_argument(
        "--keep-going", action="store_true", help="build the others where one fails (default)"
    )
    failing.add_argument("--fail-fast", action="store_true", help="end at the first failure")
    how.add_argument("--clean", action="store_true", help="build what is committed only")
    how.add_argument(
        "--fresh", action="store_true", help="create the environments of builds and plugins anew"
    )
    how.add_argument("--force", action="store_true", help="write over wheels of another origin")
    how.add_argument(
        "--prune",
        action="store_true",
        help="remove stale wheels from the output directory: those that polywheel made there, and "
        "that are not planned any more",
    )
    how.add_argument(
        "--install-python", action="store_true", help="install missing Pythons through uv"
    )
    how.add_argument(
        "-C",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a config setting for the real backend",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        *("-j", "--jobs"),
        type=_count,
        default=cpu_count(),
        metavar="N",
        help="jobs at once, and compile slots for all of them together (default: processors)",
    )
    limits.add_argument(
        "--job-timeout", type=_seconds, metavar="SECONDS", help="end builds that take longer"
    )
    limits.add_argument(
        "--memory-per-job",
        type=_size,
        metavar="SIZE",
        help="no more jobs at once than have so much memory each, such as 2G",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("what is told")
    output.add_argument("--report", type=Path, metavar="FILE", help="write a report as JSON")
    output.add_argument(
        "--log-dir", type=Path, metavar="DIR", help="(default: logs in the directory of -o)"
    )
    output.add_argument(
        "--keep-work",
        action="store_true",
        help="keep the files of builds that fail, and say where they are",
    )
    output.add_argument("--json", action="store_true", help="print events as JSON lines")


def _settings(texts: Sequence[str]) -> dict[str, str | list[str]]:
    """Config settings by key; several with one key are a list. Raises ConfigError."""
    found: dict[str, list[str]] = {}
    for text in texts:
        key, assigned, value = text.partition("=")
        if not key or not assigned:
            raise ConfigError(
                f"malformed config setting {text!r}", at="-C", hint="write -CKEY=VALUE"
            )
        found.setdefault(key, []).append(value)
    settings = {key: values[0] if len(values) == 1 else values for key, values in found.items()}
    _, theirs = parse_selection(settings)
    ours = [key for key in settings if key not in (theirs or {})]
    if ours:
        raise ConfigError(
            f"{', '.join(ours)}: which variants are built, and how they are named, the matrix says",
            at="-C",
            hint="choose among its jobs with --select",
        )
    return settings


def _size(text: str) -> int:
    size = bytes_of(text)
    if size is None:
        raise argparse.ArgumentTypeError(f"expected a size such as 2G or 512M, found {text!r}")
    return size


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 1024, found {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= LONGEST:
        raise argparse.ArgumentTypeError(f"expected seconds, found {text!r}")
    return seconds
