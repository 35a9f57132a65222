"""``polywheel unlabel``: back from a variant wheel to the wheel that it was made of."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from polywheel.cli import say
from polywheel.cli.arguments import CommandParser
from polywheel.cli.wheels import add_output_options, destination, each_wheel, wheel_paths
from polywheel.model.wheelname import WheelName
from polywheel.system.terminal import put, put_json
from polywheel.wheel.in_place import change_in_place
from polywheel.wheel.inspect import inspect_wheel, refuse_disagreements
from polywheel.wheel.stamp import strip_variant_fields, unstamp_wheel, unstamping

SHAPE = 1
"""The version of what ``--json`` prints."""


def run(arguments: Sequence[str]) -> int:
    """Take labels and stamps off; exit code 0, or that of the worst error."""
    options = _parse(arguments)
    written, code = each_wheel(wheel_paths(options.wheels), lambda wheel: _one(wheel, options))
    if options.json:
        put_json({"shape": SHAPE, "wheels": written})
    return code


def _one(wheel: Path, options: argparse.Namespace) -> dict[str, Any]:
    name = WheelName.parse(wheel.name)
    target = destination(wheel, options) / str(replace(name, label=None))
    if target == wheel and not inspect_wheel(wheel).stamped_in:
        if not options.json:
            put([f"{wheel.name}: no variant, nothing to do"])
        return {"wheel": str(wheel), "written": None, "label": None}
    check = partial(refuse_disagreements, source=wheel, notify=say)
    if options.in_place:
        change_in_place(
            wheel,
            target,
            lambda found: unstamping(found, strip_variant_fields),
            overwrite=options.force,
            check=check,
        )
    else:
        force: bool = options.force
        unstamp_wheel(wheel, target, strip_variant_fields, overwrite=force, check=check)
    if not options.json:
        put([f"{wheel.name} -> {target}: no variant"])
    return {"wheel": str(wheel), "written": str(target), "label": name.label}


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel unlabel",
        description="Write the non-variant wheels that variant wheels were made of: every file "
        "with the content, order, mode and time that it had. The variant wheels stay.",
        epilog="example: polywheel unlabel dist/demo-1.0-py3-none-any-v3.whl -o plain",
    )
    parser.add_argument("wheels", nargs="+", metavar="WHEEL", help="paths, globs or folders")
    add_output_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)
