"""``polywheel label``: add a variant label and metadata to existing wheels."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polywheel.cli import say
from polywheel.cli.arguments import CommandParser
from polywheel.cli.wheels import add_output_options, for_each_wheel, wheel_paths
from polywheel.system.terminal import print_json, print_lines
from polywheel.wheel.label import (
    WheelLabel,
    label_wheel,
    make_label,
    parse_selection,
    read_label_project,
)

SHAPE = 1
"""The version of the output of ``--json``."""


def run(arguments: Sequence[str]) -> int:
    """Label the wheels. Returns 0, or the highest exit code of all errors."""
    options = _parse(arguments)
    wheels = wheel_paths(options.wheels)
    selection = parse_selection(options.property, options.label, null=options.null)
    project = read_label_project(
        options.pyproject, selection, options.provider, metadata_fields=options.metadata_fields
    )
    label = make_label(
        selection, project, validate=options.validate, fresh=options.fresh, notify=say
    )
    written, code = for_each_wheel(wheels, lambda wheel: _label_wheel(wheel, label, options))
    if options.json:
        print_json({"shape": SHAPE, "wheels": written})
    return code


def _label_wheel(wheel: Path, label: WheelLabel, options: argparse.Namespace) -> dict[str, Any]:
    target = label_wheel(
        wheel,
        options.output,
        label,
        in_place=options.in_place,
        overwrite=options.force,
        notify=say,
    )
    properties = [str(prop) for prop in label.variant.properties]
    if not options.json:
        print_lines([f"{wheel.name} -> {target}: {', '.join(properties) or 'null variant'}"])
    return {
        "wheel": str(wheel),
        "written": str(target),
        "label": label.variant.label,
        "properties": properties,
    }


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel label",
        description="Add variant metadata to existing wheels, as the build backend does, and the "
        "label to their filenames. The labelled wheels are written next to the original wheels.",
        epilog="example: polywheel label dist/*.whl -p x86_64::level::v3 --pyproject pyproject.toml",
    )
    parser.add_argument("wheels", nargs="+", metavar="WHEEL", help="wheels, folders, or globs")
    parser.add_argument(
        "-p",
        "--property",
        action="append",
        default=[],
        metavar="PROPERTY",
        help="a property, as namespace::feature::value; may be repeated, or separated by commas",
    )
    variant = parser.add_mutually_exclusive_group()
    variant.add_argument(
        "--label",
        metavar="L",
        help="the label of the variant; without -p, the label of a declared variant",
    )
    variant.add_argument("--null", action="store_true", help="use the null variant")
    parser.add_argument(
        "--pyproject",
        type=Path,
        metavar="FILE",
        help="read namespaces, providers, and variants from the [variant] tables of FILE",
    )
    parser.add_argument(
        "--provider",
        action="append",
        default=[],
        metavar="NS=REQUIREMENT[@MODULE:OBJECT]",
        help="without --pyproject: the provider of a namespace; may be repeated, the first has the "
        "highest priority",
    )
    add_output_options(parser)
    parser.add_argument(
        "--no-metadata-fields",
        dest="metadata_fields",
        action="store_false",
        help="write variant.json only, without Variant-* fields in METADATA (twine rejects them)",
    )
    parser.add_argument(
        "--no-validate",
        dest="validate",
        action="store_false",
        help="do not check the properties with the provider plugins",
    )
    parser.add_argument("--fresh", action="store_true", help="reinstall the plugins")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)
