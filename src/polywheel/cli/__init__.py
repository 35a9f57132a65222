"""The command line: ``polywheel COMMAND``. One file a command; each is imported when it is called."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from polywheel import __version__
from polywheel.errors import PolywheelError

COMMANDS = {
    "label": "make wheels that exist wheels of a variant",
    "unlabel": "the non-variant wheels that variant wheels were made of",
    "index": "variants.json for every release of a folder, and an index to serve",
    "providers": "the providers of a project: what they know, what fits this machine",
}
"""Every command, in the module of its name, with the line that ``--help`` shows."""

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code: 0 done, 1 a build failed, 2 usage, 3 provider, 4 wheel."""
    parser = argparse.ArgumentParser(
        prog="polywheel",
        description="Wheel variants: build them, label them, look at them.",
        epilog="example: polywheel providers --json",
    )
    parser.add_argument("--version", action="version", version=f"polywheel {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, about in COMMANDS.items():
        commands.add_parser(name, help=about, add_help=False).set_defaults(command=name)
    chosen, rest = parser.parse_known_args(arguments)
    try:
        code: int = import_module(f"polywheel.cli.{chosen.command}").run(rest)
    except PolywheelError as error:
        print(error.render(), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def say(line: str) -> None:
    """A line about what is going on: not on standard output, which is for answers."""
    print(f"polywheel: {line}", file=sys.stderr, flush=True)
