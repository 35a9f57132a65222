"""``polywheel finalize``: labels back into the names of wheels, when all that can't read them is done."""

from __future__ import annotations

import argparse
import glob
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from polywheel.cli.arguments import CommandParser
from polywheel.cli.wheels import wheel_paths
from polywheel.errors import show_error
from polywheel.system.terminal import print_json, print_lines
from polywheel.wheel.finalize import FinalizedWheel, finalize

SHAPE = 1
"""The version of what ``--json`` prints."""


def run(arguments: Sequence[str]) -> int:
    """Give the wheels their final names; exit code 0, or that of the worst error."""
    options = _parse(arguments)
    found = finalize(
        wheel_paths(_matched(options.wheels)),
        options.output,
        plain=options.plain,
        hashes=options.hashes,
        force=options.force,
    )
    if options.json:
        wheels = [_as_json(one) for one in found.done]
        print_json({"shape": SHAPE, "wheels": wheels})
    else:
        print_lines(_line(one) for one in found.done)
    for error in found.errors:
        show_error(error)
    return max((error.exit_code for error in found.errors), default=0)


def _matched(patterns: Iterable[str]) -> Iterator[str]:
    """The folders and files of globs that the shell has left to the program, as that of Windows."""
    for text in patterns:
        found = [] if Path(text).exists() else sorted(glob.glob(text))  # noqa: PTH207  # absolute too
        yield from found or [text]


def _line(one: FinalizedWheel) -> str:
    what = "no variant"
    if one.variant is not None:
        what = ", ".join(map(str, one.variant.properties)) or "the null variant"
    if one.changed:
        return f"{one.wheel} -> {one.written}: {what}"
    return f"{one.written}: {what}, nothing to do"


def _as_json(one: FinalizedWheel) -> dict[str, object]:
    variant = one.variant
    return {
        "wheel": str(one.wheel),
        "written": str(one.written),
        "label": variant.label if variant is not None else None,
        "properties": [str(prop) for prop in variant.properties] if variant is not None else None,
        "changed": one.changed,
    }


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel finalize",
        description="Put the variant label, which stands in variant.json, into the names of wheels "
        "that cibuildwheel, auditwheel or pip had to handle under plain ones. Every wheel is looked "
        "at first, as polywheel show does; one that disagrees with itself, or whose name another "
        "wheel has or wants, stays as it is, and the exit code is 4. A second run changes nothing.",
        epilog="example: polywheel finalize wheelhouse/v1 wheelhouse/v3 -o dist",
    )
    parser.add_argument("wheels", nargs="+", metavar="DIR", help="folders, wheels or globs")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIST",
        help="copy the wheels to this folder, made if it is not there (default: rename each wheel "
        "where it lies)",
    )
    parser.add_argument(
        "--plain", action="store_true", help="let non-variant wheels pass, under their own names"
    )
    parser.add_argument(
        "--hashes",
        action="store_true",
        help="read every file of the wheels and hold it against its hash in RECORD",
    )
    parser.add_argument(
        "--force", action="store_true", help="write over a wheel that is there already"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)
