"""``polywheel providers``: the providers of a project's namespaces and what they support."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from polywheel.cli import print_document, require_rich, say
from polywheel.cli.arguments import FRESH, JSON, CommandParser, add_options
from polywheel.cli.plans import add_project, read_project_of
from polywheel.config.project import PROVIDER_TIMEOUT
from polywheel.providers.client import ask_plugins
from polywheel.providers.plugins import PluginEnvironments
from polywheel.providers.provider_report import (
    ProviderSurvey,
    installed_plugins,
    project_plugins,
    provider_as_json,
    with_answers,
)
from polywheel.setup.presets import load_preset, preset_names
from polywheel.system.terminal import one_line


def run(arguments: Sequence[str]) -> int:
    """Print the providers. Returns 0. Raises ConfigError and ProviderError."""
    options = _parse(arguments)
    if options.installed:
        providers = installed_plugins()
        python, timeout = sys.executable, PROVIDER_TIMEOUT
    else:
        project = read_project_of(options)
        providers = project_plugins(project)
        timeout = project.settings.provider_timeout
        requirements = [
            text for provider in providers if provider.query for text in provider.requires
        ]
        python = PluginEnvironments(fresh=options.fresh, notify=say).python(requirements)
    queries = [provider.query for provider in providers if provider.query is not None]
    answers = ask_plugins(queries, python=python, timeout=timeout, notify=say)
    rows = [
        provider_as_json(
            with_answers(provider, answers) if provider.query else _with_preset(provider)
        )
        for provider in providers
    ]
    if options.json:
        print_document({"providers": rows})
    else:
        _print_table(rows)
    return 0


_OPTIONS = f"""\
--installed  show the installed plugins instead, from the entry point group 'variant_plugins'
{FRESH}{JSON}"""


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel providers",
        description="Show version, generation, features, and values of every provider of a project, "
        "and the values that this machine supports, best first. Plugins run in an isolated "
        "environment.",
        epilog="example: polywheel providers . --json",
    )
    add_project(parser)
    add_options(parser, _OPTIONS)
    return parser.parse_args(arguments)


def _with_preset(provider: ProviderSurvey) -> ProviderSurvey:
    """The provider with the features of its preset, if the preset answers instead of the plugin."""
    if provider.kind != "preset" or provider.namespace not in preset_names():
        return provider
    preset = load_preset(provider.namespace, at=provider.at)
    return provider.with_features(
        {
            name: feature.values or (f"/{feature.pattern}/",)
            for name, feature in preset.features.items()
        }
    )


def _print_table(providers: list[dict[str, Any]]) -> None:
    require_rich()
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("namespace", "provider", "version", "features", "supported here, best first")
    for provider in providers:
        cells = (
            [provider["namespace"]],
            [
                f"{provider['kind']} {provider['plugin'] or ''}".strip(),
                provider["generation"] or "",
            ],
            [provider["version"] or ""],
            _feature_lines(provider["features"]),
            _supported_lines(provider),
        )
        # Text, because rich interprets markup in a str.
        table.add_row(*(Text("\n".join(map(one_line, filter(None, lines)))) for lines in cells))
    Console().print(table)


def _supported_lines(provider: dict[str, Any]) -> list[str]:
    """A line for each feature with its supported values, or that no plugin was asked."""
    if provider["supported"] is None and provider["kind"] in {"preset", "builtin", "never"}:
        return [f"{provider['kind']}: not asked"]
    return _feature_lines(provider["supported"])


def _feature_lines(features: list[dict[str, Any]] | None) -> list[str]:
    """A line for each feature with its values. Features with the only value ``on`` share a line."""
    if features is None:
        return ["—"]
    switches = [feature["feature"] for feature in features if feature["values"] == ["on"]]
    lines = [
        f"{feature['feature']}: {', '.join(feature['values'])}"
        for feature in features
        if feature["values"] != ["on"]
    ]
    return [*lines, *([", ".join(switches)] if switches else [])]
