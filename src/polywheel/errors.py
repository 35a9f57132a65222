"""The one family of errors, and how an error is put to a person.

Library code raises a :class:`PolywheelError`; it never prints and never exits. The faces (the
build hooks, the commands) catch it once, print :meth:`PolywheelError.render` and leave with
:attr:`PolywheelError.exit_code`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from polywheel.system.terminal import drop_output, log_line, one_line, prepare_streams, print_lines

INTERRUPTED, OUTPUT_LOST, INTERNAL = 130, 141, 70
"""Exit codes: after SIGINT and SIGPIPE as a shell has them; EX_SOFTWARE of sysexits.h."""
_NO_MEMORY = re.compile("failed to map segment|[Cc]annot allocate memory")
"""What the dynamic linker says where it can't load an extension module for want of memory."""
_LONGEST = 10_000
"""Characters of a line of an error."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: what, where it stands, and what to do about it.

    The texts may hold a stranger's words: each is shown on one line.
    """

    what: str
    at: str | None = None
    hint: str | None = None
    output: tuple[str, ...] = ()
    """The last lines that another program printed, which say why."""

    def render(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """What :meth:`render` says, a line at a time; safe to print as it is."""
        yield one_line(f"error: {self.what}", longest=_LONGEST)
        yield from (f"  | {log_line(line, longest=_LONGEST)}" for line in self.output)
        if self.at:
            yield one_line(f"  at: {self.at}", longest=_LONGEST)
        if self.hint:
            yield one_line(f"  hint: {self.hint}", longest=_LONGEST)


class PolywheelError(Exception):
    """Base of everything that polywheel raises on purpose."""

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        at: str | None = None,
        hint: str | None = None,
        output: Iterable[str] = (),
    ) -> None:
        self.problems: tuple[Problem, ...] = (Problem(what, at, hint, tuple(output)),)
        super().__init__(what)

    @classmethod
    def collected(cls, problems: Iterable[Problem]) -> Self:
        """One error for everything that was found wrong, so that it is shown together."""
        found = tuple(dict.fromkeys(problems))
        error = cls(found[0].what)
        error.problems = found
        return error

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """Everything that is wrong, as lines for a terminal or a build log."""
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """What :meth:`render` says, a line at a time; safe to print as it is."""
        for problem in self.problems:
            yield from problem.lines()


class BuildError(PolywheelError):
    """The real backend is missing, or it failed."""

    exit_code = 1


class UnsupportedError(BuildError):
    """The real backend can't do this here, and says so (``UnsupportedOperation`` of PEP 517)."""


class ConfigError(PolywheelError):
    """What the user wrote (pyproject.toml, config settings, arguments) can't be followed."""

    exit_code = 2


class ProviderError(PolywheelError):
    """A provider plugin can't be asked, or its answer can't be used."""

    exit_code = 3


class WheelError(PolywheelError):
    """A wheel that can't be read, or can't be written."""

    exit_code = 4


def show_error(error: PolywheelError) -> None:
    """Print what is wrong on standard error. Raises OSError."""
    print_lines(error.lines(), stream=sys.stderr)


def exit_code_of(command: Callable[[], int]) -> int:
    """Run a command; its exit code, or that of the error it ends in, which is shown.

    For the faces: no exception passes, and 0 means that all output has been written.
    """
    prepare_streams()
    try:
        try:
            code = command()
        except SystemExit as ended:  # argparse: --help, --version, wrong usage
            code = ended.code if isinstance(ended.code, int) else 2
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001  # nothing is hidden: see _show_unexpected
        code = _shown(error)
    drop_output()
    return code


def _shown(error: BaseException) -> int:
    """Show an error that a command ended in, where that is possible; the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):  # whoever read the output has enough of it
        return OUTPUT_LOST
    known = known_error(error)
    with suppress(OSError, MemoryError):  # then it is seen by the exit code alone
        if known is not None:
            show_error(known)
        else:
            _show_unexpected(error)
    return INTERNAL if known is None else known.exit_code


def known_error(error: BaseException) -> PolywheelError | None:
    """An error in words that need no traceback; None for a mistake in polywheel."""
    if isinstance(error, PolywheelError):
        return error
    if isinstance(error, OSError):  # a full disk, a folder that was removed
        where = f"{error.filename}: " if error.filename else ""
        return PolywheelError(f"{where}{error.strerror or error}")
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        what = "no thread can be started: a limit of this machine or of the shell is reached"
        return PolywheelError(what, hint="see ulimit -a: -u and -v")
    return _memory_shortage(error)


def _memory_shortage(error: BaseException) -> PolywheelError | None:
    """An error that Python raises where it gets no memory, for some libraries and the compiler too."""
    unloadable = isinstance(error, ImportError) and _NO_MEMORY.search(str(error))
    if unloadable or isinstance(error, MemoryError):
        return PolywheelError("there is not enough memory")
    if isinstance(error, SyntaxError) and Path(error.filename or "").is_file():
        what = f"{error.filename} can't be compiled"
        return PolywheelError(what, hint="there is too little memory, or the file is damaged")
    if isinstance(error, SystemError):
        return PolywheelError(f"Python failed: {error}", hint="there may be too little memory")
    return None


def _show_unexpected(error: BaseException) -> None:
    """The traceback, and below it, where it is seen, what to do about it."""
    import traceback

    text = "".join(traceback.format_exception(error))
    print_lines(text.rstrip("\n").split("\n"), stream=sys.stderr)
    last = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    show_error(
        PolywheelError(
            f"internal error: {last}",
            hint="this is a mistake in polywheel: please report it, with the lines above and what "
            "was run",
        )
    )


def nearest(found: str, known: Iterable[str]) -> str | None:
    """A hint that names the known name nearest to ``found``, or lists the few that there are."""
    names = sorted(set(known))
    if close := closest(found, names):
        return f"did you mean {close!r}?"
    if names and len(names) <= 8:
        return "known: " + ", ".join(names)
    return None


def closest(found: str, known: Iterable[str]) -> str | None:
    """The known name that ``found`` is probably a misspelling of."""
    import difflib  # errors are rare, and starting up is part of every command

    return next(iter(difflib.get_close_matches(found, sorted(set(known)), n=1, cutoff=0.6)), None)
