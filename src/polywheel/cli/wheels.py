"""What the wheel commands share: the wheels to process, and the options for new wheels."""

from __future__ import annotations

import argparse
import glob
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from polywheel.cli import print_document
from polywheel.cli.arguments import add_options
from polywheel.errors import ConfigError, PolywheelError, nearest, show_error
from polywheel.system.terminal import print_lines

_WHEELS = "*.whl"


def wheel_paths(
    patterns: Iterable[str], *, missing: Callable[[ConfigError], None] | None = None
) -> list[Path]:
    """The wheels that paths, globs, and folders name, each once, in order.

    Windows shells do not expand globs. Raises ConfigError if an argument names no wheel, or calls ``missing``
    with it.
    """
    wheels: dict[Path, None] = {}
    for text in patterns:
        try:
            wheels.update(dict.fromkeys(_wheels_of(text)))
        except ConfigError as error:
            if missing is None:
                raise
            missing(error)
    return list(wheels)


def _wheels_of(text: str) -> list[Path]:
    paths = [
        wheel
        for path in _expand_glob(text)
        for wheel in (sorted(path.glob(_WHEELS)) if path.is_dir() else [path])
    ]
    if not paths:
        raise ConfigError(f"{text} contains no wheels", hint=_nearest_wheel(Path(text)))
    return paths


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
    return nearest(path.name, [wheel.name for wheel in path.parent.glob(_WHEELS)])


def process_wheels(
    wheels: Iterable[Path], process: Callable[[Path], tuple[str, dict[str, Any]]], *, as_json: bool
) -> int:
    """Process every wheel and print the results. Returns the highest exit code of all errors, or 0.

    ``process`` returns a line and the JSON entry of a wheel. Its error is shown, and the next wheel
    is processed.
    """
    entries: list[dict[str, Any]] = []
    code = 0
    for wheel in wheels:
        try:
            line, entry = process(wheel)
        except PolywheelError as error:
            show_error(error)
            code = max(code, error.exit_code)
            continue
        entries.append(entry)
        if not as_json:
            print_lines([line])
    if as_json:
        print_document({"wheels": entries})
    return code


def add_wheels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("wheels", nargs="+", metavar="WHEEL", help="wheels, folders, or globs")


FORCE = "--force  overwrite existing wheels\n"
HASHES = "--hashes  read every file of the wheels and compare it with its hash in RECORD"
_OUTPUT = """\
-o --output DIR  write to DIR and create it if needed (default: the folder of each wheel)
--in-place       change and rename the wheel itself; if its dist-info folder is at the end of the
                 archive, only that part is written
"""


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for new wheels: ``--output``, ``--in-place``, and ``--force``."""
    add_options(parser.add_mutually_exclusive_group(), _OUTPUT)
    add_options(parser, FORCE)
