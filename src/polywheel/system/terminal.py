r"""Text that is safe in a terminal and in the log of a CI system, and the streams it is written to.

Names, paths, and values in messages come from strangers' files. Each is shown on one line. What would
end the line, move the cursor, or hide or reorder text is written as an escape (``\n``, ``\u202e``),
and what a CI system would read as a command is broken up. Escaped text is not escaped again. Passwords in
URLs are left out.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TextIO

# Letters and marks that have no picture, or take no place: Default_Ignorable_Code_Point of Unicode,
# and the empty Braille pattern. str.isprintable takes them for printable.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
_CI_COMMAND = re.compile(r"#(#)(?=[A-Za-z.]*\[)")
"""``##[error]`` of GitHub Actions and ``##vso[`` of Azure Pipelines, which count anywhere in a line."""

# Colours, cursor movements, titles (ECMA-48).
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")

_PASSWORD = re.compile(r"""(?<=://)([^\s/?#@:"'`<>]*):[^\s/?#"'`<>]*@""")
_TOKEN = re.compile(r"""(https?://)[^\s/?#@:"'`<>]+@""", re.IGNORECASE)
"""A user of a web server without a password is one: GitHub and others take tokens that way."""

_PLAIN = {"→": "->", "…": "...", "—": "-", "●": "#", "○": "o", "·": "."}
"""What is written for our own symbols where the encoding of a stream lacks them."""
_ERRORS = "polywheel"
"""The name of the error handler that does so (:func:`codecs.register_error`)."""


def one_line(text: str, *, longest: int | None = None) -> str:
    """A text on one line, with escapes for all that is not plainly visible; ``longest`` in characters.

    The line is no command to a CI system: ``::`` counts at its beginning (GitHub Actions), ``##[`` and
    ``##vso[`` anywhere.
    """
    text = without_passwords(text)
    if longest is not None and len(text) > longest:
        text = f"{text[: longest - 1]}…"
    if not text.isprintable():
        text = "".join(one if one.isprintable() else _escape(one) for one in text)
    if not text.isascii():
        text = _INVISIBLE.sub(lambda found: _escape(found[0]), text)
    text = _CI_COMMAND.sub(r"#\\x23", text)
    if text.lstrip(" ").startswith("::"):
        text = text.replace(":", "\\x3a", 1)
    return text


def without_passwords(text: str) -> str:
    """A text in which passwords and tokens of URLs (``https://user:password@host``) are ``****``."""
    if "://" not in text or "@" not in text:
        return text
    return _TOKEN.sub(r"\1****@", _PASSWORD.sub(r"\1:****@", text))


def log_line(text: str, *, longest: int | None = None) -> str:
    """A line of another program's output: without colours and the like, the rest by :func:`one_line`."""
    return one_line(_SEQUENCE.sub("", text).expandtabs(), longest=longest)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def put(lines: Iterable[str], *, stream: TextIO | None = None, longest: int | None = None) -> None:
    """Print texts, each on one line, on standard output or another stream. Raises OSError."""
    stream = stream or sys.stdout
    for line in lines:
        stream.write(encodable(one_line(line, longest=longest), stream) + "\n")
        stream.flush()


def put_json(document: object, *, exact: bool = False) -> None:
    """Print a document for programs on standard output, as :func:`json_text` has it. Raises OSError."""
    sys.stdout.write(json_text(document, indent=2, exact=exact) + "\n")


def json_text(
    document: object,
    *,
    indent: int | None = None,
    dense: bool = False,
    ascii_only: bool = True,
    exact: bool = False,
) -> str:
    """A document as JSON, in which a CI system finds no command; ``dense`` has no blanks.

    Passwords in it are left out, unless it has to be ``exact``, as polywheel will read it again.
    """
    import json  # --help and errors need none

    separators = (",", ":") if dense else None
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only, separators=separators)
    text = text.replace("##", "#\\u0023")  # there is none outside of strings
    return text if exact else without_passwords(text)


def encodable(text: str, stream: TextIO) -> str:
    """A text with escapes for the characters that the encoding of a stream lacks."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, _ERRORS).decode(encoding)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_PLAIN.get(one) or _escape(one) for one in missing), error.end


codecs.register_error(_ERRORS, _replaced)


class _ClosedOutput(io.FileIO):
    """In place of a standard output that was closed: whatever is written is lost, and it is an error."""

    def write(self, _: object) -> int:
        raise BrokenPipeError(errno.EPIPE, "standard output is closed")


def prepare_streams() -> None:
    """Let the standard streams take every character, and make sure that there are some.

    Where one is closed (``>&-``), the next file that is opened would get its number, and what a child
    process prints would end up in that file. Output that is lost that way raises BrokenPipeError;
    messages have nowhere to go, and are dropped.
    """
    if sys.stdin is None:
        sys.stdin = open(_null(os.O_RDONLY), encoding="utf-8")  # noqa: SIM115  # for the whole run
    if sys.stdout is None:
        raw = _ClosedOutput(_null(os.O_RDONLY), "w")
        # Without a buffer, which would be written once more at the end.
        sys.stdout = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
    if sys.stderr is None:
        sys.stderr = open(_null(os.O_WRONLY), "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def _null(flags: int) -> int:
    """A descriptor of the null device that child processes have too: the lowest one that is free."""
    descriptor = os.open(os.devnull, flags)
    os.set_inheritable(descriptor, True)
    return descriptor


def drop_output() -> None:
    """Let what is still to be written to standard output and standard error go nowhere.

    For when one of them takes no more: Python would try again as it ends, and complain.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
            continue
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
