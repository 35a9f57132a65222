"""``polywheel unlabel``: restore the original wheel from a variant wheel."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polywheel.cli import say
from polywheel.cli.arguments import CommandParser
from polywheel.cli.wheels import add_output_options, for_each_wheel, wheel_paths
from polywheel.model.wheelname import WheelName
from polywheel.system.terminal import print_json, print_lines
from polywheel.wheel.label import unlabel_wheel

SHAPE = 1
"""The version of the output of ``--json``."""


def run(arguments: Sequence[str]) -> int:
    """Restore the wheels. Returns 0, or the highest exit code of all errors."""
    options = _parse(arguments)
    written, code = for_each_wheel(
        wheel_paths(options.wheels), lambda wheel: _unlabel_wheel(wheel, options)
    )
    if options.json:
        print_json({"shape": SHAPE, "wheels": written})
    return code


def _unlabel_wheel(wheel: Path, options: argparse.Namespace) -> dict[str, Any]:
    name = WheelName.parse(wheel.name)
    target = unlabel_wheel(
        wheel,
        options.output,
        in_place=options.in_place,
        overwrite=options.force,
        notify=say,
    )
    if target is None:
        if not options.json:
            print_lines([f"{wheel.name}: no variant, nothing to do"])
        return {"wheel": str(wheel), "written": None, "label": None}
    if not options.json:
        print_lines([f"{wheel.name} -> {target}: no variant"])
    return {"wheel": str(wheel), "written": str(target), "label": name.label}


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel unlabel",
        description="Restore the original, non-variant wheels from variant wheels. The content, "
        "order, mode, and time of every file are restored. The variant wheels stay unchanged.",
        epilog="example: polywheel unlabel dist/demo-1.0-py3-none-any-v3.whl -o plain",
    )
    parser.add_argument("wheels", nargs="+", metavar="WHEEL", help="wheels, folders, or globs")
    add_output_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)
