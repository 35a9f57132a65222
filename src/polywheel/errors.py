"""The one family of errors, and how an error is put to a person.

Library code raises a :class:`PolywheelError`; it never prints and never exits. The faces (the
build hooks, the commands) catch it once, print :meth:`PolywheelError.render` and leave with
:attr:`PolywheelError.exit_code`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: what, where it stands, and what to do about it."""

    what: str
    at: str | None = None
    hint: str | None = None

    def render(self) -> str:
        lines = [f"error: {self.what}"]
        if self.at:
            lines.append(f"  at: {self.at}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class PolywheelError(Exception):
    """Base of everything that polywheel raises on purpose."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, at: str | None = None, hint: str | None = None) -> None:
        self.problems: tuple[Problem, ...] = (Problem(what, at, hint),)
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
        return "\n".join(problem.render() for problem in self.problems)


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
