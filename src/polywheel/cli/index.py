"""``polywheel index``: write variants.json files, and an index that a file server can serve."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from polywheel.cli import print_result, problem_as_json, say
from polywheel.cli.arguments import JSON, CommandParser, add_options
from polywheel.errors import WheelError
from polywheel.index.write.index import IndexResult, write_index
from polywheel.index.write.releases import Release
from polywheel.system.terminal import print_lines, quantity

_WIDTH = 78
"""Characters of a line of ``--help``."""


def run(arguments: Sequence[str]) -> int:
    """Write the index and print a line for each release. Returns 4 if a release is wrong, else 0."""
    options = _parse(arguments)
    folder: Path = options.folder
    expected = None
    if options.release:
        from polywheel.cli.index_release import expected_release

        expected = expected_release(options.release)
    result = write_index(
        folder, options.out or folder, simple=options.simple, notify=say, expected=expected
    )
    print_result(map(_line, result.published), _as_json(result), as_json=options.json)
    for file, reason in result.left_out.items():
        say(f"left out {file}: {reason}")
    for path in result.removed:
        say(f"removed {path}, which was out of date")
    for problem in result.problems:
        print_lines(problem.lines(), stream=sys.stderr)
    for release in result.withheld:
        say(f"{release} was not written; the files of an earlier run stay unchanged")
    return WheelError.exit_code if result.problems else 0


_OPTIONS = f"""\
--simple            also write the simple API as files (simple/PROJECT/index.html and index.json),
                    with hashes and core metadata
-o --out OUT        write to this folder (default: DIR). With --simple, wheels are linked into it, so
                    that the folder can be served on its own. Outdated files of an earlier run are
                    removed
--release FILE ...  index only the release in FILE: a plan (polywheel matrix --json) or a report
                    (polywheel build --report). Repeat the option for the reports of several
                    machines. Nothing is written if a wheel of the release is missing
{JSON}"""


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel index",
        description="Write {name}-{version}-variants.json, which installers need to choose a variant, "
        "for every release in a folder of wheels. With --simple, also write an index that any file "
        "server can serve. A release with unreadable or conflicting wheels is skipped, and the exit "
        "code is 4. Without --simple, only the variant of each wheel is read; use polywheel show to "
        "check the rest.",
        epilog="example: polywheel index dist --simple && python -m http.server -d dist",
        # The default imports shutil to get the width of the terminal, even without --help.
        formatter_class=partial(argparse.HelpFormatter, width=_WIDTH),
    )
    parser.add_argument(
        "folder", metavar="DIR", type=Path, help="the folder with the wheels and sdists"
    )
    add_options(parser, _OPTIONS, out=Path)
    return parser.parse_args(arguments)


def _line(release: Release) -> str:
    wheels = [file for file in release.files if file.name.wheel is not None]
    plain = sum(file.name.label is None for file in wheels)
    parts = []
    if release.metadata is not None:
        variants = quantity(len(release.metadata.variants), "variant")
        parts.append(f"{variants} in {quantity(len(wheels) - plain, 'wheel')}")
    if plain:
        parts.append(quantity(plain, "non-variant wheel"))
    if sdists := len(release.files) - len(wheels):
        parts.append(quantity(sdists, "sdist"))
    written = f" → {release.variants_json}" if release.metadata is not None else ""
    return f"{release}: {', '.join(parts)}{written}"


def _as_json(result: IndexResult) -> dict[str, Any]:
    return {
        "releases": [
            {
                "name": release.project,
                "version": str(release.version),
                "published": published,
                "variants_json": release.variants_json if release.metadata is not None else None,
                "variants": sorted(release.metadata.variants) if release.metadata else [],
                "files": [file.name.filename for file in release.files],
            }
            for published, releases in ((True, result.published), (False, result.withheld))
            for release in releases
        ],
        "left_out": [{"file": file, "why": reason} for file, reason in result.left_out.items()],
        "removed": list(result.removed),
        "problems": list(map(problem_as_json, result.problems)),
    }
