"""The argument parser of every command, and tables of options.

Wrong arguments raise ConfigError with the nearest name.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from polywheel.errors import ConfigError, closest, nearest

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

JSON = "--json  print JSON\n"
FRESH = "--fresh  reinstall the plugins\n"
"""Options that several commands have."""

_UNEXPECTED = re.compile(r"unrecognized arguments: (\S+)")
_UNKNOWN = re.compile(r"argument (.*?): invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL)


class CommandParser(argparse.ArgumentParser):
    """Parses the arguments of one command. Options can't be abbreviated: a typo would be another option."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  # those of argparse
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError. ``message`` is the error message of argparse."""
        see_help = f"see `{self.prog} --help`"
        if unexpected := _UNEXPECTED.match(message):
            name = unexpected[1]
            options = _options(self)
            close = closest(name.partition("=")[0], options)
            hint = f"did you mean {close!r}? {see_help}" if close else see_help
            if commands := options.get(name.partition("=")[0]):  # the command is none of them
                hint = f"it is an option of {' and '.join(f'`{command}`' for command in commands)}"
            raise ConfigError(f"unexpected argument {name!r}", at=self.prog, hint=hint)
        if unknown := _UNKNOWN.match(message):
            argument, value, listed = unknown.groups()
            choices = {name.strip("' ") for name in listed.split(",")}
            is_command = argument in {"COMMAND", "command"}
            kind = "command" if is_command else f"value for {argument}"
            hint = nearest(value, choices) or see_help
            raise ConfigError(f"unknown {kind}: {value!r}", at=self.prog, hint=hint)
        raise ConfigError(message, at=self.prog, hint=see_help)

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        """Print --help or --version. The method of argparse ignores errors, such as a full disk."""
        if message:
            (file or sys.stderr).write(message)


def add_options(
    parser: argparse._ActionsContainer, table: str, **types: Callable[[str], object]
) -> None:
    """Add options from a table of their names, values, and descriptions, like that of ``--help``.

    An option without a value is a flag. Other values: ``{a,b}`` is one of these words, ``X ...``
    may be repeated, and ``X [X ...]`` may also have several values at once; both give a list. Two
    blanks separate the description, which may go on in indented lines. ``types`` parse values, by
    the name of the option; by default, FILE and DIR are paths, and other values are texts.
    """
    for row in re.split(r"\n(?=-)", table.strip()):
        head, _, text = row.partition("  ")
        names = [word for word in head.split() if word.startswith("-")]
        value = " ".join(head.split()[len(names) :])
        name, _, several = value.partition(" ")
        settings: dict[str, Any] = {"help": " ".join(text.split())}
        if not value:
            settings["action"] = "store_true"
        elif value.startswith("{"):
            settings["choices"] = value.strip("{}").split(",")
        else:
            settings["metavar"] = name
            default_type = Path if name in {"FILE", "DIR"} else str
            settings["type"] = types.get(names[-1].strip("-").replace("-", "_"), default_type)
        if several:
            settings["default"] = []
            settings["action"] = "append" if several == "..." else "extend"
            settings["nargs"] = None if several == "..." else "+"
        parser.add_argument(*names, **settings)


def _options(parser: argparse.ArgumentParser) -> dict[str, list[str]]:
    """The options of a command and of its subcommands, with the commands that have them."""
    options: dict[str, list[str]] = {}
    for action in parser._actions:  # noqa: SLF001  # argparse has no other list of its options
        for name in action.option_strings:
            options.setdefault(name, []).append(parser.prog)
        if isinstance(action.choices, dict):
            for subparser in action.choices.values():
                if isinstance(subparser, argparse.ArgumentParser):
                    for name, commands in _options(subparser).items():
                        options.setdefault(name, []).extend(commands)
    return options


def split_at_dashes(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments before ``--`` and the arguments after it."""
    words = list(arguments)
    if "--" not in words:
        return words, []
    position = words.index("--")
    return words[:position], words[position + 1 :]


def number_up_to(largest: int) -> Callable[[str], int]:
    """The type of an option that takes a whole number from 1 to ``largest``."""

    def parse(text: str) -> int:
        is_number = text.isascii() and text.isdigit() and len(text) < 10
        if not is_number or not 1 <= int(text) <= largest:
            raise argparse.ArgumentTypeError(
                f"expected a number from 1 to {largest}, found {text!r}"
            )
        return int(text)

    return parse


def size_option(text: str) -> int:
    """The type of an option that takes a size. Returns bytes."""
    from polywheel.config.reader import parse_size  # few commands need it

    size = parse_size(text)
    if size is None:
        raise argparse.ArgumentTypeError(f"expected a size such as 2G or 512M, found {text!r}")
    return size
