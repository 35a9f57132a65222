"""The command line: ``polywheel COMMAND``, and what all commands use to print.

One file per command. It is imported when the command is called.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from polywheel import __version__
from polywheel.cli.arguments import CommandParser
from polywheel.errors import ConfigError, Problem, exit_code_of
from polywheel.system.terminal import print_json, print_lines

COMMANDS = {
    "init": "add a working set of variant tables to a project",
    "matrix": "show the wheels and builds of a project's matrix, or print them for CI",
    "build": "build the wheels of the matrix in parallel",
    "test": "run the tests of wheels that exist already",
    "report": "show the report of a run as a page, a summary, JUnit XML, or a trace",
    "ci": "write workflows for GitHub and GitLab, and collect the wheels of a CI run",
    "label": "add a variant label and metadata to existing wheels",
    "unlabel": "restore the original wheels from variant wheels",
    "finalize": "add labels back to wheel filenames after cibuildwheel or auditwheel",
    "repair": "run auditwheel or a similar tool on a variant wheel",
    "show": "show the variant metadata of wheels and check it",
    "audit": "compare the machine code of wheels with their labels",
    "index": "write variants.json files and a simple index for a folder of wheels",
    "explain": "show which wheel an installer chooses for a machine, and why",
    "cache": "show what is in the cache, and remove entries",
    "providers": "show the variant providers of a project and what this machine supports",
}
"""The line of each command in ``--help``. The module of a command has the same name."""
SHAPE = 1
"""The version of every JSON document that :func:`print_document` prints."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code (README, "Exit codes")."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    return exit_code_of(lambda: _run_command(words))


def _run_command(words: Sequence[str]) -> int:
    # Every command has its own parser. The main parser handles everything else.
    if words and words[0] in COMMANDS:
        command, rest = words[0], list(words[1:])
    else:
        command, rest = _parse(words)
    code: int = _import_command(command).run(rest)
    return code


def _import_command(command: str) -> ModuleType:
    """Import the module of a command.

    The imported objects live until the program ends. They are frozen so that the garbage collector
    does not visit them again and again. That saves a tenth of the time of a short command.
    """
    gc.disable()
    try:
        module = import_module(f"polywheel.cli.{command}")
        gc.freeze()
    finally:
        gc.enable()
    return module


def _parse(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the command and its arguments.

    Raises SystemExit after ``--help`` and ``--version``, and ConfigError for an unknown command.
    """
    parser = CommandParser(
        prog="polywheel",
        description="Build, label, and inspect wheel variants.",
        epilog="example: polywheel build --dry-run",
    )
    parser.add_argument("--version", action="version", version=f"polywheel {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False).set_defaults(command=name)
    options, rest = parser.parse_known_args(arguments)
    return options.command, rest


def say(line: str, *details: str) -> None:
    """Print a message on standard error. Standard output is for results."""
    print_lines([f"polywheel: {line}", *details], stream=sys.stderr)


def print_document(document: Mapping[str, Any]) -> None:
    """Print a JSON document with the version of its format."""
    print_json({"shape": SHAPE, **document})


def print_result(lines: Iterable[str], document: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a result: its lines, or its JSON document."""
    if as_json:
        print_document(document)
    else:
        print_lines(lines)


def problem_as_json(problem: Problem) -> dict[str, str | None]:
    return {"what": problem.what, "at": problem.at, "hint": problem.hint}


def require_rich() -> None:
    """Raise ConfigError if the package rich, which prints tables, is missing."""
    from importlib.util import find_spec  # for tables only

    if find_spec("rich") is None:
        raise ConfigError(
            "the table needs the package rich", hint="install polywheel[cli], or use --json"
        )
