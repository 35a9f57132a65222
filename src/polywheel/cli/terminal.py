"""Printing what may hold strangers' words: it can do a terminal no harm, in letters that it has."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO


def put(lines: Iterable[str], *, stream: TextIO | None = None, longest: int | None = None) -> None:
    """Print lines, on standard output where no other stream is given; ``longest`` in letters."""
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    for line in lines:
        text = printable(line if longest is None else line[:longest])
        if longest is not None and len(line) > longest:
            text += "…"
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def printable(text: str) -> str:
    """A text in which whatever a terminal would act on is spelled out."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )
