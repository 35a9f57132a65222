"""``polywheel finalize``: add labels back to wheel filenames after tools that can't read them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from polywheel.cli.arguments import CommandParser
from polywheel.cli.wheels import FORCE_HELP, HASHES_HELP, wheel_paths
from polywheel.errors import show_error
from polywheel.system.terminal import print_json, print_lines
from polywheel.wheel.finalize import FinalizedWheel, finalize

SHAPE = 1
"""The version of the output of ``--json``."""


def run(arguments: Sequence[str]) -> int:
    """Add labels to the filenames. Returns 0, or the highest exit code of all errors."""
    options = _parse(arguments)
    result = finalize(
        wheel_paths(options.wheels),
        options.output,
        plain=options.plain,
        hashes=options.hashes,
        force=options.force,
    )
    if options.json:
        print_json({"shape": SHAPE, "wheels": [_as_json(wheel) for wheel in result.done]})
    else:
        print_lines(_line(wheel) for wheel in result.done)
    for error in result.errors:
        show_error(error)
    return max((error.exit_code for error in result.errors), default=0)


def _line(wheel: FinalizedWheel) -> str:
    description = "no variant"
    if wheel.variant is not None:
        description = ", ".join(map(str, wheel.variant.properties)) or "null variant"
    if wheel.changed:
        return f"{wheel.wheel} -> {wheel.written}: {description}"
    return f"{wheel.written}: {description}, nothing to do"


def _as_json(wheel: FinalizedWheel) -> dict[str, object]:
    variant = wheel.variant
    return {
        "wheel": str(wheel.wheel),
        "written": str(wheel.written),
        "label": variant.label if variant is not None else None,
        "properties": [str(prop) for prop in variant.properties] if variant is not None else None,
        "changed": wheel.changed,
    }


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel finalize",
        description="Add the variant label from variant.json to the filenames of wheels that went "
        "through cibuildwheel, auditwheel, or pip without a label. Every wheel is checked first, as "
        "by polywheel show. Inconsistent wheels and wheels with conflicting names stay unchanged, and "
        "the exit code is 4. A second run changes nothing.",
        epilog="example: polywheel finalize wheelhouse/v1 wheelhouse/v3 -o dist",
    )
    parser.add_argument("wheels", nargs="+", metavar="DIR", help="folders, wheels, or globs")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIST",
        help="copy the wheels to DIST and create it if needed (default: rename each wheel in its "
        "folder)",
    )
    parser.add_argument(
        "--plain", action="store_true", help="accept non-variant wheels and keep their names"
    )
    parser.add_argument("--hashes", action="store_true", help=HASHES_HELP)
    parser.add_argument("--force", action="store_true", help=FORCE_HELP)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)
