r"""Text that is safe in a terminal and in the log of a CI system, and the standard streams.

Names, paths, and values in messages come from untrusted files. Each message is shown on one line.
Characters that would end the line, move the cursor, or hide or reorder text are escaped (``\n``,
``\u202e``). Text that a CI system would run as a command is broken up. Escaped text is not escaped again.
Passwords in URLs are left out.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import suppress
from typing import TextIO

# Characters without a glyph or without a width: Default_Ignorable_Code_Point of Unicode, and the empty
# Braille pattern. str.isprintable is true for them.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
_CI_COMMAND = re.compile(r"#(#)(?=[A-Za-z.]*\[)")
"""``##[error]`` of GitHub Actions and ``##vso[`` of Azure Pipelines, anywhere in a line."""

# Colours, cursor movements, titles (ECMA-48).
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")

_PASSWORD = re.compile(r"""(?<=://)([^\s/?#@:"'`<>]*):[^\s/?#"'`<>]*@""")
_TOKEN = re.compile(r"""(https?://)[^\s/?#@:"'`<>]+@""", re.IGNORECASE)
"""A user name without a password is a token: GitHub and others accept tokens this way."""

_PLAIN = {"→": "->", "…": "...", "—": "-", "●": "#", "○": "o", "·": "."}
"""Replacements for our own symbols if the encoding of a stream lacks them."""
_ERRORS = "polywheel"
"""The name of the error handler that applies them (:func:`codecs.register_error`)."""


def one_line(text: str, *, longest: int | None = None) -> str:
    """Return a text on one line with escapes for invisible characters. ``longest`` is in characters.

    The line has no command of a CI system: ``::`` at its beginning (GitHub Actions), ``##[`` and ``##vso[``
    anywhere.
    """
    text = without_passwords(text)
    if longest is not None and len(text) > longest:
        text = f"{text[: longest - 1]}…"
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else _escape(letter) for letter in text)
    if not text.isascii():
        text = _INVISIBLE.sub(lambda match: _escape(match[0]), text)
    text = _CI_COMMAND.sub(r"#\\x23", text)
    if text.lstrip(" ").startswith("::"):
        text = text.replace(":", "\\x3a", 1)
    return text


def without_passwords(text: str) -> str:
    """Replace passwords and tokens of URLs (``https://user:password@host``) by ``****``."""
    if "://" not in text or "@" not in text:
        return text
    return _TOKEN.sub(r"\1****@", _PASSWORD.sub(r"\1:****@", text))


def log_line(text: str, *, longest: int | None = None) -> str:
    """Return a line of another program's output without control sequences, as :func:`one_line` does."""
    return one_line(_SEQUENCE.sub("", text).expandtabs(), longest=longest)


def quantity(number: int, noun: str, plural: str = "") -> str:
    """A number and a noun: ``1 wheel``, ``2 wheels``. ``plural`` is the plural, by default with an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def format_size(size: int) -> str:
    """Return a number of bytes with three digits, in powers of 1,000: ``187 B``, ``1.4 kB``, ``192 MB``."""
    amount, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):  # the loop variable is used below
        if amount < 999.5 or unit == "TB":
            break
        amount /= 1000
    return f"{size} B" if unit == "B" else f"{amount:.3g} {unit}"


def count_others(items: Sized, most: int, noun: str) -> Iterator[str]:
    """Yield ``and 3 more …`` if there are more than ``most`` items, of which the others are not shown."""
    if len(items) > most:
        yield f"and {len(items) - most} more{noun}"


def join_first(texts: Iterable[str], most: int) -> str:
    """Join the first texts: ``a, b and 3 more``."""
    names = list(texts)
    return " ".join([", ".join(names[:most]), *count_others(names, most, "")])


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def print_lines(
    lines: Iterable[str], *, stream: TextIO | None = None, longest: int | None = None
) -> None:
    """Print texts, each on one line, to standard output or another stream. Raises OSError."""
    stream = stream or sys.stdout
    for line in lines:
        stream.write(escape_unencodable(one_line(line, longest=longest), stream) + "\n")
        stream.flush()


def print_json(document: object, *, exact: bool = False) -> None:
    """Print a JSON document to standard output, formatted by :func:`json_text`. Raises OSError."""
    sys.stdout.write(json_text(document, indent=2, exact=exact) + "\n")


def json_text(
    document: object,
    *,
    indent: int | None = None,
    dense: bool = False,
    ascii_only: bool = True,
    exact: bool = False,
) -> str:
    """Return a document as JSON without commands of CI systems. ``dense`` leaves out spaces.

    Passwords are left out, unless it has to be ``exact`` because polywheel reads it again.
    """
    import json  # --help and errors do not need it

    separators = (",", ":") if dense else None
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only, separators=separators)
    text = text.replace("##", "#\\u0023")  # "##" occurs only in strings
    return text if exact else without_passwords(text)


def escape_unencodable(text: str, stream: TextIO) -> str:
    """Escape the characters of a text that the encoding of a stream lacks."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, _ERRORS).decode(encoding)


def _escape_missing(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter) or _escape(letter) for letter in missing), error.end


codecs.register_error(_ERRORS, _escape_missing)


class _ClosedOutput(io.FileIO):
    """Replaces a closed standard output. Writing to it is an error, because the output is lost."""

    def write(self, _: object) -> int:
        raise BrokenPipeError(errno.EPIPE, "standard output is closed")


def prepare_streams() -> None:
    """Make the standard streams accept every character, and replace closed ones.

    If a stream is closed (``>&-``), the next opened file would get its number, and the output of child
    processes would go to that file. Writing to a closed standard output raises BrokenPipeError. Messages to
    a closed standard error are dropped.
    """
    if sys.stdin is None:
        sys.stdin = open(_null(os.O_RDONLY), encoding="utf-8")  # noqa: SIM115  # for the whole run
    if sys.stdout is None:
        raw = _ClosedOutput(_null(os.O_RDONLY), "w")
        # Without a buffer, because a buffer would be written again at exit.
        sys.stdout = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
    if sys.stderr is None:
        sys.stderr = open(_null(os.O_WRONLY), "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def _null(flags: int) -> int:
    """Open the null device at the lowest free descriptor. Child processes inherit it."""
    descriptor = os.open(os.devnull, flags)
    os.set_inheritable(descriptor, True)
    return descriptor


def drop_output() -> None:
    """Discard the buffered output of standard output and standard error.

    Call this if a stream can't be written to. Otherwise Python tries again at exit, and prints an error.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
            continue
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
