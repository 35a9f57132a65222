"""``polywheel repair``: auditwheel and its like, on a wheel whose name they could not read."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from polywheel.cli.arguments import CommandParser
from polywheel.errors import ConfigError
from polywheel.system.terminal import print_lines
from polywheel.wheel.repair import parse_command, repair


def run(arguments: Sequence[str]) -> int:
    """Repair the wheel; exit code 0."""
    own, command = _split(arguments)
    options = _parse(own)
    if not command and (options.wheel is None or options.dest_dir is None):
        raise ConfigError(
            "there is no command to repair the wheel with",
            hint="it stands behind --, as in: polywheel repair -- auditwheel repair -w DIR WHEEL; "
            "with --wheel, --dest-dir and no command, the wheel is copied, under the name that "
            "--filename says",
        )
    task = parse_command(command, wheel=options.wheel, dest_dir=options.dest_dir)
    # As for the build backend: what cibuildwheel does next needs the plain name.
    default = "plain" if os.environ.get("CIBUILDWHEEL") == "1" else "label"
    labelled = (options.filename or default) == "label"
    sys.stdout.flush()
    done = repair(task, labelled=labelled)
    what = f"variant {done.variant.label}" if done.variant is not None else "no variant"
    note = ""
    if done.variant is not None and not labelled:
        note = "; 'polywheel finalize' puts its label back"
    print_lines([f"{task.wheel} -> {done.wheel}: {what}{note}"])
    return 0


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our own arguments, and the command behind ``--``."""
    given = list(arguments)
    if "--" not in given:
        return given, []
    at = given.index("--")
    return given[:at], given[at + 1 :]


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel repair",
        usage="%(prog)s [options] -- COMMAND …",
        description="Run a repair command on the plain name of a wheel, and check that the wheel "
        "is the same variant after it. Without a command, the wheel is copied, and that "
        "is all. For CIBW_REPAIR_WHEEL_COMMAND, where a backend puts labels into filenames.",
        epilog="example: polywheel repair -- auditwheel repair -w {dest_dir} {wheel}",
    )
    parser.add_argument(
        "--wheel", metavar="WHEEL", help="the wheel (default: the one that the command names)"
    )
    parser.add_argument(
        "--dest-dir",
        metavar="DIR",
        help="the folder for the repaired wheel (default: what the command has behind -w or "
        "--wheel-dir, else the one folder that it names)",
    )
    parser.add_argument(
        "--filename",
        choices=["label", "plain"],
        help="whether the name of the repaired wheel has the label (default: label; plain under "
        "cibuildwheel, whose later steps could not read it)",
    )
    return parser.parse_args(arguments)
