"""What failed builds have in common: their causes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from polywheel.report.model import ReportBuild
from polywheel.run.outcome import State

_ERROR_LINE = re.compile(
    r"\b(?i:error)(?:\[E\d+\])?(?: [A-Z]*\d+)?\s?: |\b[A-Z]\w*(?:Error|Exception): |undefined reference to"
)
_FOLDERS = re.compile(r"(?:[A-Za-z]:)?[^\s:'\"]*[/\\](?=[^\s:/\\]+[:(])")
"""The folders of a file in a compiler's message: they differ between builds."""


def is_problem(build: ReportBuild) -> bool:
    """Whether a build did not give its wheels, and the user can do something about it."""
    return build.has_failed or build.state is State.NO_PYTHON


def cause_of(build: ReportBuild, logs: Iterable[str | None]) -> str:
    """Return what failed builds with one cause have in common: the first line with an error, without folders.

    It is looked for in the ends of logs, in their order. Without one, it is the first line of the error message,
    without the Python version. Logs and messages may have any characters.
    """
    for text in logs:
        for line in (text or "").split("\n"):
            if _ERROR_LINE.search(line):
                return _FOLDERS.sub("", line.strip())
    error = re.sub(r"\APython 3\.[0-9]+t?: ", "", build.error or "").partition("\n")[0]
    return error or str(build.state).replace("-", " ")
