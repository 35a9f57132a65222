"""``polywheel label``: a wheel that exists becomes a wheel of a variant."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polywheel.cli import say
from polywheel.cli.arguments import CommandParser
from polywheel.cli.wheels import add_output_options, each_wheel, wheel_paths
from polywheel.system.terminal import print_json, print_lines
from polywheel.wheel.label import (
    WheelLabel,
    label_wheel,
    make_label,
    output_folder,
    parse_selection,
    read_label_project,
)

SHAPE = 1
"""The version of what ``--json`` prints."""


def run(arguments: Sequence[str]) -> int:
    """Label the wheels; exit code 0, or that of the worst error."""
    options = _parse(arguments)
    wheels = wheel_paths(options.wheels)
    selection = parse_selection(options.property, options.label, null=options.null)
    project = read_label_project(
        options.pyproject, selection, options.provider, metadata_fields=options.metadata_fields
    )
    label = make_label(
        selection, project, validate=options.validate, fresh=options.fresh, notify=say
    )
    written, code = each_wheel(wheels, lambda wheel: _one(wheel, label, options))
    if options.json:
        print_json({"shape": SHAPE, "wheels": written})
    return code


def _one(wheel: Path, label: WheelLabel, options: argparse.Namespace) -> dict[str, Any]:
    target = label_wheel(
        wheel,
        output_folder(wheel, options.output),
        label,
        in_place=options.in_place,
        overwrite=options.force,
        notify=say,
    )
    properties = [str(prop) for prop in label.variant.properties]
    if not options.json:
        what = ", ".join(properties) or "the null variant"
        print_lines([f"{wheel.name} -> {target}: {what}"])
    return {
        "wheel": str(wheel),
        "written": str(target),
        "label": label.variant.label,
        "properties": properties,
    }


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel label",
        description="Stamp wheels with a variant, as the build backend would have done, and put "
        "its label into their names. The wheels stay; the labelled ones are written beside them.",
        epilog="example: polywheel label dist/*.whl -p x86_64::level::v3 --pyproject pyproject.toml",
    )
    parser.add_argument("wheels", nargs="+", metavar="WHEEL", help="paths, globs or folders")
    parser.add_argument(
        "-p",
        "--property",
        action="append",
        default=[],
        metavar="PROPERTY",
        help="namespace::feature::value; several with several -p, or separated by commas",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--label", metavar="L", help="the label to use; without -p, that of a declared variant"
    )
    what.add_argument("--null", action="store_true", help="the null variant")
    parser.add_argument(
        "--pyproject",
        type=Path,
        metavar="FILE",
        help="the file whose [variant] tables declare namespaces, providers and variants",
    )
    parser.add_argument(
        "--provider",
        action="append",
        default=[],
        metavar="NS=REQUIREMENT[@MODULE:OBJECT]",
        help="without --pyproject: who governs a namespace; the first named has priority",
    )
    add_output_options(parser)
    parser.add_argument(
        "--no-metadata-fields",
        dest="metadata_fields",
        action="store_false",
        help="write variant.json alone, no Variant-* fields of METADATA (twine refuses those)",
    )
    parser.add_argument(
        "--no-validate",
        dest="validate",
        action="store_false",
        help="do not ask the providers' plugins whether they know the properties",
    )
    parser.add_argument("--fresh", action="store_true", help="install the plugins anew")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)
