"""The argument parser of every command, and its kinds of options.

Wrong arguments raise ConfigError with the nearest name.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from polywheel.errors import ConfigError, closest, nearest

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_UNEXPECTED = re.compile(r"unrecognized arguments: (\S+)")
_UNKNOWN = re.compile(r"argument (.*?): invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL)


class CommandParser(argparse.ArgumentParser):
    """Parses the arguments of one command."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError. ``message`` is the error message of argparse."""
        see_help = f"see `{self.prog} --help`"
        if unexpected := _UNEXPECTED.match(message):
            name = unexpected[1]
            close = closest(name.partition("=")[0], _option_names(self))
            hint = f"did you mean {close!r}? {see_help}" if close else see_help
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


def add_flag(parser: argparse._ActionsContainer, name: str, text: str) -> None:
    """Add an option without a value. ``text`` is its description in ``--help``."""
    parser.add_argument(name, action="store_true", help=text)


def add_option(
    parser: argparse._ActionsContainer,
    names: str,
    value: str,
    text: str,
    **options: Any,  # noqa: ANN401 -- as argparse
) -> None:
    """Add an option with a value: ``-o --output``, ``FILE``, and its description in ``--help``."""
    parser.add_argument(*names.split(), metavar=value, help=text, **options)


def add_list_option(parser: argparse._ActionsContainer, names: str, value: str, text: str) -> None:
    """Add an option that may be repeated. Its value is a list, which is empty without it."""
    add_option(parser, names, value, text, action="append", default=[])


def add_json(parser: argparse._ActionsContainer) -> None:
    """Add ``--json``."""
    add_flag(parser, "--json", "print JSON")


def add_fresh(parser: argparse._ActionsContainer) -> None:
    """Add ``--fresh`` for provider plugins."""
    add_flag(parser, "--fresh", "reinstall the plugins")


def _option_names(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The options of a command and of its subcommands."""
    for action in parser._actions:  # noqa: SLF001  # argparse has no other list of its options
        yield from action.option_strings
        if isinstance(action.choices, dict):
            for subparser in action.choices.values():
                if isinstance(subparser, argparse.ArgumentParser):
                    yield from _option_names(subparser)


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
