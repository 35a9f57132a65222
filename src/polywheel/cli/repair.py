"""``polywheel repair``: run auditwheel or a similar tool on a variant wheel."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from polywheel.cli.arguments import CommandParser, add_options, split_at_dashes
from polywheel.errors import ConfigError
from polywheel.system.terminal import print_lines
from polywheel.wheel.repair import parse_command, repair


def run(arguments: Sequence[str]) -> int:
    """Repair the wheel; exit code 0."""
    own, command = split_at_dashes(arguments)
    options = _parse(own)
    if not command and (options.wheel is None or options.dest_dir is None):
        raise ConfigError(
            "no repair command",
            hint="add the command after --, such as: polywheel repair -- auditwheel repair -w DIR "
            "WHEEL; to only copy and rename a wheel, use --wheel and --dest-dir",
        )
    task = parse_command(command, wheel=options.wheel, dest_dir=options.dest_dir)
    # As for the build backend: the next steps of cibuildwheel can't read a label.
    default = "unlabelled" if os.environ.get("CIBUILDWHEEL") == "1" else "label"
    labelled = (options.filename or default) == "label"
    sys.stdout.flush()
    repaired = repair(task, labelled=labelled)
    variant = repaired.variant
    description = f"variant {variant.label}" if variant is not None else "no variant"
    if variant is not None and not labelled:
        description += "; polywheel finalize adds the label to the filename"
    print_lines([f"{task.wheel} -> {repaired.wheel}: {description}"])
    return 0


_OPTIONS = """\
--wheel WHEEL   the wheel (default: the wheel in the command)
--dest-dir DIR  the folder for the repaired wheel (default: the value of -w or --wheel-dir in the
                command, else the only folder in it)
--filename KIND
                label or unlabelled: whether the filename of the repaired wheel has the label (default: label;
                unlabelled under cibuildwheel, which can't read labels)
"""


def _filename_kind(text: str) -> str:
    kind = "unlabelled" if text == "plain" else text  # as it was called
    if kind not in {"label", "unlabelled"}:
        raise argparse.ArgumentTypeError(f"expected label or unlabelled, found {text!r}")
    return kind


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel repair",
        usage="%(prog)s [options] -- COMMAND …",
        description="Run a repair command on a variant wheel. The command sees a filename without a "
        "label. The repaired wheel is checked: it must be the same variant. Without a command, the "
        "wheel is only copied. Use it in CIBW_REPAIR_WHEEL_COMMAND if the backend adds labels to "
        "filenames.",
        epilog="example: polywheel repair -- auditwheel repair -w {dest_dir} {wheel}",
    )
    add_options(parser, _OPTIONS, dest_dir=str, filename=_filename_kind)
    return parser.parse_args(arguments)
