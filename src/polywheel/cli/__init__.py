"""The command line: ``polywheel COMMAND``. One file a command; each is imported when it is called."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from polywheel import __version__
from polywheel.cli.arguments import CommandParser
from polywheel.errors import exit_code_of
from polywheel.system.terminal import print_lines

COMMANDS = {
    "build": "build the wheels of a matrix, in parallel, each thing once",
    "ci": "workflows for GitHub and GitLab, and the end of their runs",
    "init": "a working set of tables for a project, to begin with",
    "matrix": "what has to be built, where, and why: for people and for CI",
    "label": "make wheels that exist wheels of a variant",
    "unlabel": "the non-variant wheels that variant wheels were made of",
    "finalize": "the labels of wheels whose names had to be plain until now, back into them",
    "repair": "run auditwheel or its like on a wheel whose name it could not read",
    "show": "what wheels say of themselves, and where their parts disagree",
    "index": "variants.json for every release of a folder, and an index to serve",
    "explain": "which wheel a machine gets, and why not each of the others",
    "providers": "the providers of a project: what they know, what fits this machine",
}
"""Every command, in the module of its name, with the line that ``--help`` shows."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code (README, "Exit codes")."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return exit_code_of(lambda: _run(given))


def _run(given: Sequence[str]) -> int:
    # A command has a parser of its own: that of all is for what names none.
    if given and given[0] in COMMANDS:
        command, rest = given[0], list(given[1:])
    else:
        command, rest = _parse(given)
    code: int = _module(command).run(rest)
    return code


def _module(command: str) -> ModuleType:
    """The module of a command.

    What it imports stays to the end: the garbage collector is kept from looking at it again and
    again, last when the program ends. That is a tenth of the time that a short command takes.
    """
    gc.disable()
    try:
        module = import_module(f"polywheel.cli.{command}")
        gc.freeze()
    finally:
        gc.enable()
    return module


def _parse(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The command and what follows it; ends the program for ``--help`` and for what is no command."""
    parser = CommandParser(
        prog="polywheel",
        description="Wheel variants: build them, label them, look at them.",
        epilog="example: polywheel providers --json",
    )
    parser.add_argument("--version", action="version", version=f"polywheel {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, about in COMMANDS.items():
        commands.add_parser(name, help=about, add_help=False).set_defaults(command=name)
    chosen, rest = parser.parse_known_args(arguments)
    return chosen.command, rest


def say(line: str, *more: str) -> None:
    """Say what is going on: not on standard output, which is for answers."""
    print_lines([f"polywheel: {line}", *more], stream=sys.stderr)
