"""Arguments that the wheel commands share: wheels, folders, and globs, and where to write."""

from __future__ import annotations

import argparse
import glob
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from polywheel.errors import ConfigError, PolywheelError, nearest, show_error

T = TypeVar("T")
SUFFIX = ".whl"
FORCE_HELP = "overwrite existing wheels"
HASHES_HELP = "read every file of the wheels and compare it with its hash in RECORD"


def wheel_paths(patterns: Iterable[str]) -> list[Path]:
    """The wheels that paths, globs, and folders name, each once, in order.

    Windows shells do not expand globs. Raises ConfigError if an argument names no wheel.
    """
    wheels: dict[Path, None] = {}
    for text in patterns:
        paths = [
            wheel
            for path in _expand_glob(text)
            for wheel in (sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path])
        ]
        if not paths:
            raise ConfigError(f"{text} contains no wheels", hint=_nearest_wheel(Path(text)))
        wheels.update(dict.fromkeys(paths))
    return list(wheels)


def _expand_glob(text: str) -> list[Path]:
    path = Path(text)
    if path.exists():
        return [path]
    try:
        # Path.glob does not support absolute patterns.
        paths = sorted(map(Path, glob.glob(text, recursive=True)))  # noqa: PTH207
    except RecursionError:
        raise ConfigError(f"{text} matches folders that are nested too deeply") from None
    if not paths:
        raise ConfigError(f"{text} does not exist", hint=_nearest_wheel(path))
    return paths


def _nearest_wheel(path: Path) -> str | None:
    return nearest(path.name, [wheel.name for wheel in path.parent.glob(f"*{SUFFIX}")])


def for_each_wheel(paths: Iterable[Path], process: Callable[[Path], T]) -> tuple[list[T], int]:
    """Process every wheel. Returns the results and the exit code: the highest of all errors, or 0.

    The error of a wheel is shown, and the next wheel is processed.
    """
    results: list[T] = []
    code = 0
    for path in paths:
        try:
            results.append(process(path))
        except PolywheelError as error:
            show_error(error)
            code = max(code, error.exit_code)
    return results, code


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the place of new wheels: ``--output``, ``--in-place``, and ``--force``."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="write to DIR and create it if needed (default: the folder of each wheel)",
    )
    group.add_argument(
        "--in-place",
        action="store_true",
        help="change and rename the wheel itself; if its dist-info folder is at the end of the "
        "archive, only that part is written",
    )
    parser.add_argument("--force", action="store_true", help=FORCE_HELP)
