"""``polywheel index``: the variant metadata of an index, and an index that a file server can serve."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from polywheel.cli import say
from polywheel.cli.arguments import CommandParser
from polywheel.errors import WheelError
from polywheel.index.write.index import IndexResult, write_index
from polywheel.index.write.releases import Release
from polywheel.system.terminal import print_json, print_lines

SHAPE = 1
"""The version of what ``--json`` prints."""
_WIDTH = 78
"""Letters of a line of ``--help``."""


def run(arguments: Sequence[str]) -> int:
    """Write the index and print what became of each release."""
    options = _parse(arguments)
    folder = Path(options.folder)
    out = Path(options.out) if options.out is not None else folder
    expected = None
    if options.release:
        from polywheel.cli.index_release import expected_release

        expected = expected_release(options.release)
    done = write_index(folder, out, simple=options.simple, notify=say, expected=expected)
    if options.json:
        print_json(_as_json(done))
    else:
        print_lines(map(_line, done.published))
    for file, why in done.left_out.items():
        say(f"{file} is left out: {why}")
    for path in done.removed:
        say(f"{path} is stale, and removed")
    for problem in done.problems:
        print_lines(problem.lines(), stream=sys.stderr)
    for release in done.withheld:
        say(f"{release} is not written: what an earlier run wrote of it stays as it is")
    return WheelError.exit_code if done.problems else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel index",
        description="Write {name}-{version}-variants.json for every release in a folder of wheels, "
        "from which installers choose a variant; with --simple, an index as well that any file "
        "server can serve. A release whose wheels contradict each other, or can't be read, is "
        "not written, the others are, and the exit code is 4. Without --simple, the variant of a "
        "wheel is all that is looked at; polywheel show tells of the rest.",
        epilog="example: polywheel index dist --simple && python -m http.server -d dist",
        # Left to itself it imports shutil to ask for the width of the terminal, --help or not.
        formatter_class=partial(argparse.HelpFormatter, width=_WIDTH),
    )
    parser.add_argument("folder", metavar="DIR", help="the folder of the wheels, and of sdists")
    parser.add_argument(
        "--simple",
        action="store_true",
        help="also write the simple API as files, simple/PROJECT/index.html and index.json, with "
        "hashes and core metadata",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="OUT",
        help="write to this folder (default: DIR); with --simple, wheels are linked into it, so "
        "that it can be served alone. What an earlier run wrote there and is stale is removed",
    )
    parser.add_argument(
        "--release",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="index only the release that FILE describes: a plan (polywheel matrix --json) or a report "
        "(polywheel build --report); reports of several machines each with an option of their own. "
        "Nothing is written if a wheel of it is missing",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def _line(release: Release) -> str:
    wheels = [file for file in release.files if file.name.wheel is not None]
    plain = sum(file.name.label is None for file in wheels)
    parts = []
    if release.metadata is not None:
        variants = _counted(len(release.metadata.variants), "variant")
        parts.append(f"{variants} in {_counted(len(wheels) - plain, 'wheel')}")
    if plain:
        parts.append(_counted(plain, "non-variant wheel"))
    if sdists := len(release.files) - len(wheels):
        parts.append(_counted(sdists, "sdist"))
    written = f" → {release.variants_json}" if release.metadata is not None else ""
    return f"{release}: {', '.join(parts)}{written}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _as_json(done: IndexResult) -> dict[str, Any]:
    return {
        "shape": SHAPE,
        "releases": [
            {
                "name": release.project,
                "version": str(release.version),
                "published": published,
                "variants_json": release.variants_json if release.metadata is not None else None,
                "variants": sorted(release.metadata.variants) if release.metadata else [],
                "files": [file.name.filename for file in release.files],
            }
            for published, releases in ((True, done.published), (False, done.withheld))
            for release in releases
        ],
        "left_out": [{"file": file, "why": why} for file, why in done.left_out.items()],
        "removed": list(done.removed),
        "problems": [{"what": one.what, "at": one.at, "hint": one.hint} for one in done.problems],
    }
