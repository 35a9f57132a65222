"""``polywheel init``: append a working set of tables to a project's pyproject.toml."""

from __future__ import annotations

import argparse
import re
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from polywheel.cli import say
from polywheel.cli.arguments import CommandParser, add_options
from polywheel.config.project import PYPROJECT, read_project, refuse_file
from polywheel.environments.interpreters import find_interpreter
from polywheel.errors import ConfigError
from polywheel.init.compose import InitTables, compose, refuse_tables
from polywheel.init.pyproject_file import (
    InitText,
    append_text,
    change_file,
    check_toml,
    find_init_text,
    new_file,
    read_content,
)
from polywheel.init.templates import named_templates, start_templates
from polywheel.matrix.platforms import python_order, this_target
from polywheel.model.plan import Plan

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def run(arguments: Sequence[str]) -> int:
    """Write the tables. Returns 0, also if they already exist. Raises ConfigError."""
    # The earlier name of the option is still read.
    options = _parse([re.sub(r"\A--preset(?=\Z|=)", "--template", word) for word in arguments])
    source = Path(options.source)
    names = [name for text in options.template for name in text.split(",") if name]
    named_templates(names)
    refuse_file(source)
    pyproject = source / PYPROJECT
    _refuse_byte_order_mark(pyproject)
    project = read_project(source, variants=False)
    target: Path = options.output or pyproject
    content = read_content(target)
    earlier = find_init_text(content) if content is not None else None
    if earlier is not None:
        _report_existing(earlier, names, target)
        return 0
    if options.output is None:
        refuse_tables(project)
    tables = compose(project, names)
    new_content = tables.text.encode()
    if options.output is None:
        new_content = append_text(content or b"", tables.text)
        check_toml(new_content, target)
    if options.dry_run:
        print(tables.text, end="")
    elif options.output is None:
        change_file(target, content or b"", new_content)
    else:
        new_file(target, new_content)
    _print_result(tables, options, target)
    return 0


def _report_existing(earlier: InitText, names: Sequence[str], target: Path) -> None:
    """Print that the tables exist. Raises ConfigError if they are for other templates."""
    if names and set(names) != set(earlier.templates):
        raise ConfigError(
            f"the tables of polywheel init already exist, for {', '.join(earlier.templates)}",
            at=f"{target.name}: lines {earlier.first} to {earlier.last}",
            hint="remove these lines and run the command again, or edit them by hand",
        )
    say(
        f"{target} already has these tables (lines {earlier.first} to {earlier.last}): "
        "nothing to do"
    )


def _refuse_byte_order_mark(path: Path) -> None:
    """Raise ConfigError for a byte order mark. Pip and build can't read such a file either."""
    content = read_content(path)
    if content is not None and content.startswith(BYTE_ORDER_MARK):
        raise ConfigError(
            f"{path.name} begins with a byte order mark, which TOML does not allow",
            at=f"{path.name}: line 1",
            hint="save it as UTF-8 without a byte order mark; pip and build can't read it either",
        )


def _print_result(tables: InitTables, options: argparse.Namespace, target: Path) -> None:
    """Print the languages, the written lines, and the next steps."""
    if tables.languages:
        say("found " + ", ".join(tables.languages))
    verb = "would write" if options.dry_run else "wrote"
    lines = tables.text.count("\n")
    say(f"{verb} {lines} lines for {', '.join(tables.templates)} to {target}")
    labels = {job.label for job in tables.plan.jobs if job.label is not None}
    arguments = "" if options.source == "." else f" {shlex.quote(options.source)}"
    if options.output is not None:
        arguments += f" --config {shlex.quote(str(target))}"
    say(
        f"the matrix has {len(tables.plan.jobs)} wheels, {len(tables.plan.builds)} builds, and "
        f"{len(labels)} variants; `polywheel matrix{arguments}` shows it"
    )
    for note in tables.notes:
        say(f"note: {note}")
    if options.output is not None:
        say(f"use it with --config {target} or POLYWHEEL_CONFIG={target}")
    if not options.dry_run:
        say(f"next: `polywheel build{arguments}` builds the wheels for this machine")
        _note_missing_pythons(tables.plan)
    if tables.by_hand:
        also = "" if options.output is None else f" and set POLYWHEEL_CONFIG={target}"
        say(
            f"to also build with pip or python -m build, change [build-system] in {PYPROJECT}{also}:"
        )
        for line in tables.by_hand:
            say(f"    {line}")


def _note_missing_pythons(plan: Plan) -> None:
    """Print a note if Pythons of the plan are not installed, or no build is for this machine."""
    here = this_target()
    pythons = {build.python for build in plan.builds_for(here)}
    if not pythons:
        say(f"note: this matrix has no wheels for this machine ({here})")
        return
    missing = [
        python for python in sorted(pythons, key=python_order) if find_interpreter(python) is None
    ]
    if missing:
        rest = "only the other wheels are" if len(missing) < len(pythons) else "nothing is"
        verb, them = ("is", "it") if len(missing) == 1 else ("are", "them")
        say(
            f"note: Python {', '.join(missing)} {verb} not installed; use --install-python to "
            f"install {them} with uv, otherwise {rest} built"
        )


_OPTIONS = f"""\
--template NAME [NAME ...]  use these templates; several templates are combined into one matrix
--dry-run                   print the tables and write nothing
-o --output FILE            write the tables to a new file instead of {PYPROJECT}
"""


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel init",
        description=textwrap.fill(
            f"Append a working, commented set of variant tables to the {PYPROJECT} of a project. "
            "Existing content stays unchanged. Without --template, the template depends on the languages: "
            "cuda for CUDA, rocm for HIP, and x86-64-levels for other compiled languages."
        ),
        epilog="templates:\n" + "\n".join(_listed()) + "\n\n"
        "example: polywheel init . --template x86-64-levels blas --dry-run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", nargs="?", default=".", help="the project (default: .)")
    add_options(parser, _OPTIONS)
    return parser.parse_args(arguments)


def _listed() -> Iterable[str]:
    width = max(map(len, start_templates()))
    return (
        f"  {template.name:<{width}}  {template.about}" for template in start_templates().values()
    )
