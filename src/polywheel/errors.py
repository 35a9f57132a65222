"""The error classes, their exit codes, and how errors are shown.

Library code raises a :class:`PolywheelError`. It does not print and does not exit. The build hooks
and the commands catch the error once, print :meth:`PolywheelError.render`, and exit with
:attr:`PolywheelError.exit_code`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from polywheel.system.terminal import drop_output, log_line, one_line, prepare_streams, print_lines

INTERRUPTED, OUTPUT_LOST, INTERNAL = 130, 141, 70
"""Exit codes: as in a shell after SIGINT and SIGPIPE, and EX_SOFTWARE of sysexits.h."""
DIFFERENT = 5
"""The exit code of a comparison that found a difference. No error has it."""
_NO_MEMORY = re.compile("failed to map segment|[Cc]annot allocate memory")
"""The messages of the dynamic linker if there is too little memory to load an extension module."""
_LONGEST = 10_000
"""The most characters of a line of an error."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, its location, and a hint.

    The texts may come from untrusted files. Each is shown on one line.
    """

    what: str
    at: str | None = None
    hint: str | None = None
    output: tuple[str, ...] = ()
    """The last lines of another program's output."""

    def render(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """The lines of :meth:`render`, safe to print."""
        yield one_line(f"error: {self.what}", longest=_LONGEST)
        yield from (f"  | {log_line(line, longest=_LONGEST)}" for line in self.output)
        if self.at:
            yield one_line(f"  at: {self.at}", longest=_LONGEST)
        if self.hint:
            yield one_line(f"  hint: {self.hint}", longest=_LONGEST)


class PolywheelError(Exception):
    """The base class of all errors of polywheel."""

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
        """One error for several problems, without duplicates."""
        distinct = tuple(dict.fromkeys(problems))
        error = cls(distinct[0].what)
        error.problems = distinct
        return error

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """All problems as text, for a terminal or a build log."""
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """The lines of :meth:`render`, safe to print."""
        for problem in self.problems:
            yield from problem.lines()


class BuildError(PolywheelError):
    """A build failed, or the real backend is missing."""

    exit_code = 1


class UnsupportedError(BuildError):
    """The real backend does not support the operation (``UnsupportedOperation`` of PEP 517)."""


class ConfigError(PolywheelError):
    """The input of the user (pyproject.toml, config settings, arguments) is wrong."""

    exit_code = 2


class ProviderError(PolywheelError):
    """A provider plugin failed, or its answer is wrong."""

    exit_code = 3


class WheelError(PolywheelError):
    """A wheel can't be read or written, or it is inconsistent."""

    exit_code = 4


@contextmanager
def os_error_as(
    kind: type[PolywheelError], what: str, *, at: str | Path | None = None, hint: str | None = None
) -> Iterator[None]:
    """Raise ``what`` and the reason as a PolywheelError if the block raises OSError."""
    try:
        yield
    except OSError as error:
        at = None if at is None else str(at)
        raise kind(f"{what}: {error.strerror or error}", at=at, hint=hint) from None


def show_error(error: PolywheelError) -> None:
    """Print an error on standard error. Raises OSError."""
    print_lines(error.lines(), stream=sys.stderr)


def exit_code_of(command: Callable[[], int]) -> int:
    """Run a command and return its exit code.

    An error is shown, and its exit code is returned. No exception leaves this function. The exit code 0
    means that all output was written.
    """
    prepare_streams()
    try:
        try:
            code = command()
        except SystemExit as exit_request:  # argparse: --help, --version, wrong usage
            code = exit_request.code if isinstance(exit_request.code, int) else 2
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001  # nothing is hidden: see _show_unexpected
        code = _show_any_error(error)
    drop_output()
    return code


def _show_any_error(error: BaseException) -> int:
    """Show the error of a command, if possible. Returns the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):  # the reader of the output has closed it
        return OUTPUT_LOST
    known = known_error(error)
    with suppress(OSError, MemoryError):  # the exit code still shows the failure
        if known is not None:
            show_error(known)
        else:
            _show_unexpected(error)
    return INTERNAL if known is None else known.exit_code


def known_error(error: BaseException) -> PolywheelError | None:
    """The error as a PolywheelError, which is shown without a traceback; None for a bug in polywheel."""
    if isinstance(error, PolywheelError):
        return error
    if isinstance(error, OSError):  # a full disk, a folder that was removed
        file = f"{error.filename}: " if error.filename else ""
        return PolywheelError(f"{file}{error.strerror or error}")
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        what = "can't start a thread: a limit of this machine or of the shell is reached"
        return PolywheelError(what, hint="see ulimit -a: -u and -v")
    return _memory_error(error)


def _memory_error(error: BaseException) -> PolywheelError | None:
    """The error for exceptions that Python, libraries, and the compiler raise without memory."""
    unloadable = isinstance(error, ImportError) and _NO_MEMORY.search(str(error))
    if unloadable or isinstance(error, MemoryError):
        return PolywheelError("out of memory")
    if isinstance(error, SyntaxError) and Path(error.filename or "").is_file():
        what = f"{error.filename} can't be compiled"
        return PolywheelError(what, hint="there is too little memory, or the file is damaged")
    if isinstance(error, SystemError):
        return PolywheelError(f"Python failed: {error}", hint="there may be too little memory")
    return None


def _show_unexpected(error: BaseException) -> None:
    """Print the traceback and, below it, a request to report the bug."""
    import traceback

    text = "".join(traceback.format_exception(error))
    print_lines(text.rstrip("\n").split("\n"), stream=sys.stderr)
    last = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    show_error(
        PolywheelError(
            f"internal error: {last}",
            hint="this is a bug in polywheel; please report it with the command and all lines above",
        )
    )


def nearest(name: str, known: Iterable[str]) -> str | None:
    """A hint with the known name nearest to ``name``, or with all known names if they are few."""
    names = sorted(set(known))
    if close := closest(name, names):
        return f"did you mean {close!r}?"
    if names and len(names) <= 8:
        return "known: " + ", ".join(names)
    return None


def closest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name that is most similar to ``name``; None if no name is similar.

    ``cutoff`` is the least similarity: 0 for any name, 1 for the same name.
    """
    import difflib  # imported for errors only, to keep the start of commands fast

    return next(iter(difflib.get_close_matches(name, sorted(set(known)), n=1, cutoff=cutoff)), None)
