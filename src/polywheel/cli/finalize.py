"""``polywheel finalize``: add labels back to wheel filenames after tools that can't read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polywheel.cli import print_result
from polywheel.cli.arguments import JSON, CommandParser, add_options
from polywheel.cli.wheels import FORCE, HASHES, wheel_paths
from polywheel.errors import BuildError, ConfigError, show_error
from polywheel.wheel.finalize import FinalizedWheel, finalize

_OPTIONS = f"""\
-o --output DIST  copy the wheels to DIST and create it if needed (default: rename each wheel in its
                  folder)
--plain           accept non-variant wheels and keep their names
--keep-going      if an argument names no wheels, finalize the others; the exit code is 1
{HASHES}
{FORCE}{JSON}"""


def run(arguments: Sequence[str]) -> int:
    """Add labels to the filenames. Returns 0, or the highest exit code of all errors."""
    parser = CommandParser(
        prog="polywheel finalize",
        description="Add the variant label from variant.json to the filenames of wheels that went "
        "through cibuildwheel, auditwheel, or pip without a label. Every wheel is checked first, as "
        "by polywheel show. Inconsistent wheels and wheels with conflicting names stay unchanged, and "
        "the exit code is 4. A second run changes nothing.",
        epilog="example: polywheel finalize wheelhouse/v1 wheelhouse/v3 -o dist",
    )
    parser.add_argument("wheels", nargs="+", metavar="DIR", help="folders, wheels, or globs")
    add_options(parser, _OPTIONS, output=Path)
    options = parser.parse_args(arguments)
    missing: list[ConfigError] = []
    result = finalize(
        wheel_paths(options.wheels, missing=missing.append if options.keep_going else None),
        options.output,
        plain=options.plain,
        hashes=options.hashes,
        force=options.force,
    )
    print_result(
        map(_line, result.done),
        {"wheels": [_as_json(wheel) for wheel in result.done]},
        as_json=options.json,
    )
    for error in (*missing, *result.errors):
        show_error(error)
    codes = [error.exit_code for error in result.errors]
    return max(codes, default=BuildError.exit_code if missing else 0)


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
