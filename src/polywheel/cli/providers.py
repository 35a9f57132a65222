"""``polywheel providers``: who governs the namespaces of a project, and what they know."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from polywheel.cli import say
from polywheel.cli.arguments import CommandParser
from polywheel.cli.plans import add_project, project_of
from polywheel.config.project import PROVIDER_TIMEOUT
from polywheel.errors import ConfigError
from polywheel.providers.client import ask_plugins
from polywheel.providers.plugins import PluginEnvironments
from polywheel.providers.survey import (
    Surveyed,
    installed_plugins,
    project_plugins,
    surveyed,
    with_answers,
)
from polywheel.setup.presets import load_preset, preset_names
from polywheel.system.terminal import one_line, print_json

SHAPE = 1
"""The version of what ``--json`` prints."""


def run(arguments: Sequence[str]) -> int:
    """Survey the providers and print them."""
    options = _parse(arguments)
    if options.installed:
        providers = installed_plugins()
        python, timeout = sys.executable, PROVIDER_TIMEOUT
    else:
        project = project_of(options)
        providers = project_plugins(project)
        timeout = project.settings.provider_timeout
        wanted = [text for one in providers if one.query for text in one.requires]
        environments = PluginEnvironments(fresh=options.fresh, notify=say)
        python = environments.python(wanted)
    queries = [one.query for one in providers if one.query is not None]
    answers = ask_plugins(queries, python=python, timeout=timeout, notify=say)
    found = [with_answers(one, answers) if one.query else _with_preset(one) for one in providers]
    if options.json:
        print_json({"shape": SHAPE, "providers": [surveyed(one) for one in found]})
    else:
        _print_table([surveyed(one) for one in found])
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel providers",
        description="For every provider of a project: version, generation, features and values, "
        "and what this machine supports, best first. Plugins run in an isolated environment.",
        epilog="example: polywheel providers . --json",
    )
    add_project(parser)
    parser.add_argument(
        "--installed",
        action="store_true",
        help="the plugins installed here instead, by the entry points 'variant_plugins'",
    )
    parser.add_argument("--fresh", action="store_true", help="install the plugins anew")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def _with_preset(provider: Surveyed) -> Surveyed:
    """What the preset of a namespace knows, where that stands for its plugin."""
    if provider.kind != "preset" or provider.namespace not in preset_names():
        return provider
    preset = load_preset(provider.namespace, at=provider.at)
    return provider.knowing(
        {
            name: feature.values or (f"/{feature.pattern}/",)
            for name, feature in preset.features.items()
        }
    )


def _print_table(providers: list[dict[str, Any]]) -> None:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ModuleNotFoundError:
        raise ConfigError(
            "a table needs the package rich", hint="install polywheel[cli], or add --json"
        ) from None

    table = Table("namespace", "provider", "version", "features", "fits here, best first")
    for one in providers:
        cells = (
            [one["namespace"]],
            [f"{one['kind']} {one['plugin'] or ''}".strip(), one["generation"] or ""],
            [one["version"] or ""],
            _features(one["features"]),
            _features(one["supported"]),
        )
        # Not str, in which rich looks for markup.
        table.add_row(*(Text("\n".join(map(one_line, filter(None, lines)))) for lines in cells))
    Console().print(table)


def _features(features: list[dict[str, Any]] | None) -> list[str]:
    """Features with their values, one a line; ``on`` alone is left out."""
    if features is None:
        return ["—"]
    plain = [one["feature"] for one in features if one["values"] == ["on"]]
    lines = [
        f"{one['feature']}: {', '.join(one['values'])}"
        for one in features
        if one["values"] != ["on"]
    ]
    return [*lines, *([", ".join(plain)] if plain else [])]
