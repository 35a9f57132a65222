"""``polywheel unlabel``: restore the original wheel from a variant wheel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polywheel.cli import say
from polywheel.cli.arguments import JSON, CommandParser, add_options
from polywheel.cli.wheels import add_output_options, add_wheels, process_wheels, wheel_paths
from polywheel.model.wheelname import WheelName
from polywheel.wheel.label import unlabel_wheel


def run(arguments: Sequence[str]) -> int:
    """Restore the wheels. Returns 0, or the highest exit code of all errors."""
    parser = CommandParser(
        prog="polywheel unlabel",
        description="Restore the original, non-variant wheels from variant wheels. The content, "
        "order, mode, and time of every file are restored. The variant wheels stay unchanged.",
        epilog="example: polywheel unlabel dist/demo-1.0-py3-none-any-v3.whl -o plain",
    )
    add_wheels(parser)
    add_output_options(parser)
    add_options(parser, JSON)
    options = parser.parse_args(arguments)

    def unlabel(wheel: Path) -> tuple[str, dict[str, Any]]:
        label = WheelName.parse(wheel.name).label
        target = unlabel_wheel(
            wheel, options.output, in_place=options.in_place, overwrite=options.force, notify=say
        )
        if target is None:
            line = f"{wheel.name}: no variant, nothing to do"
            return line, {"wheel": str(wheel), "written": None, "label": None}
        line = f"{wheel.name} -> {target}: label removed"
        return line, {"wheel": str(wheel), "written": str(target), "label": label}

    return process_wheels(wheel_paths(options.wheels), unlabel, as_json=options.json)
