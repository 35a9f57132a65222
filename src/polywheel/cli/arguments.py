"""The argument parser of every command: what can't be parsed is a ConfigError with the nearest name."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from polywheel.errors import ConfigError, closest, nearest

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_UNEXPECTED = re.compile(r"unrecognized arguments: (\S+)")
_UNKNOWN = re.compile(r"argument (.*?): invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL)


class CommandParser(argparse.ArgumentParser):
    """Parses the arguments of one command."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError; ``message`` is what argparse found wrong."""
        more = f"`{self.prog} --help` lists all"
        if unexpected := _UNEXPECTED.match(message):
            name = unexpected[1]
            close = closest(name.partition("=")[0], _option_names(self))
            hint = f"did you mean {close!r}? {more}" if close else more
            raise ConfigError(f"unexpected argument {name!r}", at=self.prog, hint=hint)
        if unknown := _UNKNOWN.match(message):
            what, value, listed = unknown.groups()
            known = {name.strip("' ") for name in listed.split(",")}
            what = "command" if what in {"COMMAND", "command"} else f"value for {what}"
            hint = nearest(value, known) or more
            raise ConfigError(f"unknown {what}: {value!r}", at=self.prog, hint=hint)
        raise ConfigError(message, at=self.prog, hint=more)

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        """Print --help or --version. That of argparse takes no notice of an error, a full disk say."""
        if message:
            (file or sys.stderr).write(message)


def _option_names(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The options of a command, and of the commands below it."""
    for action in parser._actions:  # noqa: SLF001  # argparse has no other list of its options
        yield from action.option_strings
        if isinstance(action.choices, dict):
            for one in action.choices.values():
                if isinstance(one, argparse.ArgumentParser):
                    yield from _option_names(one)
