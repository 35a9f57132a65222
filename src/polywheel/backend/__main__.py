"""``python -m polywheel.backend explain -Cvariant=…``: print the build setup of a variant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from polywheel.backend import say
from polywheel.backend.hook_call import HookCall
from polywheel.backend.setup_report import setup_report, setup_report_lines
from polywheel.config.selection import parse_config_settings
from polywheel.errors import exit_code_of
from polywheel.providers.plugins import PluginEnvironments
from polywheel.system.terminal import print_json, print_lines


def main(arguments: Sequence[str]) -> int:
    """Print the build setup of a variant, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m polywheel.backend explain",
        description="Show the build setup of a variant with the origin of each part, and the "
        "environment variables and config settings for the real backend. Nothing is built.",
        epilog="example: python -m polywheel.backend explain -Cvariant=x86_64::level::v3",
    )
    parser.add_argument("explain", choices=["explain"])
    parser.add_argument("source", nargs="?", default=".", help="the project (default: .)")
    parser.add_argument(
        "-C",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a config setting, as for a build; may be repeated",
    )
    parser.add_argument("--fresh", action="store_true", help="reinstall the plugins")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_intermixed_args(arguments)
    # As for other frontends, a setting without a value is empty: -Cnull-variant.
    texts = (text if "=" in text else f"{text}=" for text in options.settings)
    settings = parse_config_settings(texts)
    call = HookCall.read(Path(options.source), settings, notify=say)
    report = setup_report(call, PluginEnvironments(fresh=options.fresh, notify=say))
    if options.json:
        print_json(report)
    else:
        print_lines(setup_report_lines(report))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(lambda: main(sys.argv[1:])))
