"""What the commands about wheels share: paths and globs on the command line, one wheel after another."""

from __future__ import annotations

import argparse
import glob
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from polywheel.errors import ConfigError, PolywheelError, nearest, show_error

T = TypeVar("T")
SUFFIX = ".whl"


def wheel_paths(patterns: Iterable[str]) -> list[Path]:
    """The wheels that paths, globs and folders name, each once, in order.

    Shells of Windows leave globs to the program. Raises ConfigError for one that names nothing.
    """
    found: dict[Path, None] = {}
    for text in patterns:
        path = Path(text)
        if path.is_dir():
            paths = sorted(path.glob(f"*{SUFFIX}"))
        elif path.exists():
            paths = [path]
        else:
            try:
                # Path.glob takes no absolute pattern.
                paths = sorted(map(Path, glob.glob(text, recursive=True)))  # noqa: PTH207
            except RecursionError:
                raise ConfigError(f"{text} matches too many folders in one another") from None
        if not paths:
            there = [one.name for one in path.parent.glob(f"*{SUFFIX}")]
            what = "holds no wheel" if path.is_dir() else "does not exist, and matches nothing"
            raise ConfigError(f"{text} {what}", hint=nearest(path.name, there))
        found.update(dict.fromkeys(paths))
    return list(found)


def each_wheel(paths: Iterable[Path], work: Callable[[Path], T]) -> tuple[list[T], int]:
    """What ``work`` makes of each wheel, and the exit code: that of the worst error, or 0.

    One wheel that fails does not keep the others from their turn; its error is shown.
    """
    done: list[T] = []
    code = 0
    for path in paths:
        try:
            done.append(work(path))
        except PolywheelError as error:
            show_error(error)
            code = max(code, error.exit_code)
    return done, code


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Where a command writes the wheels that it makes."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="the folder to write to, made if it is not there (default: beside each wheel)",
    )
    where.add_argument(
        "--in-place",
        action="store_true",
        help="change the wheel itself and its name; of a wheel that ends with its dist-info, "
        "only that end is written",
    )
    parser.add_argument(
        "--force", action="store_true", help="write over a wheel that is there already"
    )
