"""Names of the chemical elements by symbol; how many there are depends on the wheel."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

__all__ = ["Element", "elements", "main"]


class Element(NamedTuple):
    number: int
    symbol: str
    name: str


def elements() -> dict[str, Element]:
    """Return the elements of this wheel by symbol, in the order of their numbers."""
    found: dict[str, Element] = {}
    # The second file is not in the small wheel.
    for part in ("elements-1-20.csv", "elements-21-118.csv"):
        path = files(__name__) / part
        if path.is_file():
            for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
                found[row["symbol"]] = Element(int(row["number"]), row["symbol"], row["name"])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print number, symbol and name of the symbols asked for; all elements if there are none."""
    known = elements()
    wanted = list(sys.argv[1:] if arguments is None else arguments) or list(known)
    unknown = [symbol for symbol in wanted if symbol not in known]
    if unknown:
        print(
            f"not among the {len(known)} elements of this wheel: {', '.join(unknown)}",
            file=sys.stderr,
        )
        return 1
    for symbol in wanted:
        print(*known[symbol])
    return 0
