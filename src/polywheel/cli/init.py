"""``polywheel init``: a working set of tables for a project, behind what its pyproject.toml has."""

from __future__ import annotations

import argparse
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from polywheel.cli import say
from polywheel.cli.arguments import CommandParser
from polywheel.config.project import PYPROJECT, read_project
from polywheel.environments.interpreters import find_interpreter
from polywheel.errors import ConfigError
from polywheel.init.compose import InitTables, check_together, compose, refuse_tables
from polywheel.init.file import Earlier, appended, change_file, earlier_text, new_file, read_content
from polywheel.init.presets import named_presets, start_presets
from polywheel.matrix.platforms import python_order, this_target
from polywheel.model.plan import Plan

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def run(arguments: Sequence[str]) -> int:
    """Write the tables; 0 also where they are there already."""
    options = _parse(arguments)
    source = Path(options.source)
    names = [name for text in options.preset for name in text.split(",") if name]
    named_presets(names)
    pyproject = source / PYPROJECT
    _refuse_byte_order_mark(pyproject)
    project = read_project(source, variants=False)
    target: Path = options.output or pyproject
    content = read_content(target)
    earlier = earlier_text(content) if content is not None else None
    if earlier is not None:
        _nothing_to_do(earlier, names, target)
        return 0
    if options.output is None:
        refuse_tables(project)
    start = compose(project, names)
    whole = start.text.encode()
    if options.output is None:
        whole = appended(content or b"", start.text)
        check_together(whole, target)
    if options.dry_run:
        print(start.text, end="")
    elif options.output is None:
        change_file(target, content or b"", whole)
    else:
        new_file(target, whole)
    _tell(start, options, target)
    return 0


def _nothing_to_do(earlier: Earlier, names: Sequence[str], target: Path) -> None:
    """Say so. Raises ConfigError where other presets are asked for than are there."""
    if names and set(names) != set(earlier.presets):
        raise ConfigError(
            f"init has written tables already, for {', '.join(earlier.presets)}",
            at=f"{target.name}: lines {earlier.first} to {earlier.last}",
            hint="remove these lines and run it again, or change them by hand",
        )
    say(
        f"{target} has these tables already (lines {earlier.first} to {earlier.last}): "
        "nothing to do"
    )


def _refuse_byte_order_mark(path: Path) -> None:
    """TOML readers, those of pip and of build among them, stop at one; so does ours."""
    content = read_content(path)
    if content is not None and content.startswith(BYTE_ORDER_MARK):
        raise ConfigError(
            f"{path.name} begins with a byte order mark, which TOML has no place for",
            at=f"{path.name}: line 1",
            hint="save it as UTF-8 without one: pip and build can't read it either",
        )


def _tell(start: InitTables, options: argparse.Namespace, target: Path) -> None:
    """What was found, what was written, what is left to do."""
    if start.found:
        say("found " + ", ".join(start.found))
    done = "would write" if options.dry_run else "wrote"
    lines = start.text.count("\n")
    say(f"{done} {lines} lines for {', '.join(start.presets)} to {target}")
    labels = {job.label for job in start.plan.jobs if job.label is not None}
    arguments = "" if options.source == "." else f" {shlex.quote(options.source)}"
    if options.output is not None:
        arguments += f" --config {shlex.quote(str(target))}"
    say(
        f"the matrix: {len(start.plan.jobs)} wheels, {len(start.plan.builds)} builds, "
        f"{len(labels)} variants; look at it with `polywheel matrix{arguments}`"
    )
    for note in start.notes:
        say(f"note: {note}")
    if options.output is not None:
        say(f"for use with --config {target} or POLYWHEEL_CONFIG={target}")
    if not options.dry_run:
        say(f"next: `polywheel build{arguments}` builds the wheels for this machine")
        _tell_missing_pythons(start.plan)
    if start.by_hand:
        also = "" if options.output is None else f" and set POLYWHEEL_CONFIG={target}"
        say(f"for pip and python -m build, change [build-system] of {PYPROJECT}{also}:")
        for line in start.by_hand:
            say(f"    {line}")


def _tell_missing_pythons(plan: Plan) -> None:
    """Say which Pythons of the plan are not installed here, and what can be done about it."""
    here = this_target()
    wanted = {build.python for build in plan.builds_for(here)}
    if not wanted:
        say(f"note: no wheel of this matrix is for this machine, {here}")
        return
    missing = [one for one in sorted(wanted, key=python_order) if find_interpreter(one) is None]
    if missing:
        left = "the wheels of the others are" if len(missing) < len(wanted) else "nothing is"
        say(
            f"note: Python {', '.join(missing)} is not installed here: add --install-python to "
            f"install it through uv; without it, {left} built"
        )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel init",
        description=textwrap.fill(
            "Look at a project and append a working, commented set of tables to its "
            f"{PYPROJECT}. What stands there stays as it is. Without --preset the languages decide: "
            "CUDA and HIP get their GPU presets, others that are compiled x86-64-levels."
        ),
        epilog="presets:\n" + "\n".join(_listed()) + "\n\n"
        "example: polywheel init . --preset x86-64-levels blas --dry-run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", nargs="?", default=".", help="the project (default: .)")
    parser.add_argument(
        "--preset",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME",
        help="what to begin with; several make one matrix",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the tables, and write nothing"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help=f"write the tables to a new file, and leave {PYPROJECT} alone",
    )
    return parser.parse_args(arguments)


def _listed() -> Iterable[str]:
    width = max(map(len, start_presets()))
    return (f"  {one.name:<{width}}  {one.about}" for one in start_presets().values())
