"""``polywheel label``: add a variant label and metadata to existing wheels."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polywheel.cli import say
from polywheel.cli.arguments import FRESH, JSON, CommandParser, add_options
from polywheel.cli.wheels import add_output_options, add_wheels, process_wheels, wheel_paths
from polywheel.matrix.selected_variant import resolve_variant
from polywheel.wheel.label import (
    label_option,
    label_wheel,
    make_label,
    parse_label_options,
    read_label_project,
)


def run(arguments: Sequence[str]) -> int:
    """Label the wheels. Returns 0, or the highest exit code of all errors."""
    options = _parse(arguments)
    wheels = wheel_paths(options.wheels)
    selection = parse_label_options(options.property, options.label, null=options.null)
    project = read_label_project(
        options.pyproject,
        selection,
        options.provider,
        metadata_fields=not options.no_metadata_fields,
    )
    label = make_label(
        resolve_variant(selection, project, spelling=label_option),
        project,
        validate=not options.no_validate,
        fresh=options.fresh,
        notify=say,
    )
    properties = [str(prop) for prop in label.variant.properties]

    def label_file(wheel: Path) -> tuple[str, dict[str, Any]]:
        target = label_wheel(
            wheel,
            options.output,
            label,
            in_place=options.in_place,
            overwrite=options.force,
            notify=say,
        )
        line = f"{wheel.name} -> {target}: {', '.join(properties) or 'null variant'}"
        entry = {"wheel": str(wheel), "written": str(target), "label": label.variant.label}
        return line, {**entry, "properties": properties}

    return process_wheels(wheels, label_file, as_json=options.json)


_PROPERTY = """\
-p --property PROPERTY ...
             a property, as namespace::feature::value; may be repeated, or separated by commas
"""
_VARIANT = """\
--label L    the label of the variant; without -p, the label of a variant of the project
--null       use the null variant
"""
_PROVIDERS = """\
--pyproject FILE
             read namespaces, providers, and variants from FILE, a pyproject.toml
--provider NS=REQUIREMENT[@MODULE:OBJECT] ...
             without --pyproject: the provider of a namespace; may be repeated, the first has the
             highest priority
"""
_OPTIONS = f"""\
--no-metadata-fields
             write variant.json only, without Variant-* fields in METADATA (twine rejects them)
--no-validate  do not check the properties with the provider plugins
{FRESH}{JSON}"""


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel label",
        description="Add variant metadata to existing wheels, as the build backend does, and the "
        "label to their filenames. The labelled wheels are written next to the original wheels.",
        epilog="example: polywheel label dist/*.whl -p x86_64::level::v3 --pyproject pyproject.toml",
    )
    add_wheels(parser)
    add_options(parser, _PROPERTY)
    add_options(parser.add_mutually_exclusive_group(), _VARIANT)
    add_options(parser, _PROVIDERS)
    add_output_options(parser)
    add_options(parser, _OPTIONS)
    return parser.parse_args(arguments)
