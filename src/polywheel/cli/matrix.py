"""``polywheel matrix``: what has to be built, where, and why; for people and for CI."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from polywheel.cli import say
from polywheel.cli.arguments import CommandParser
from polywheel.cli.plans import add_project, add_selection, chooses, chosen, durations, project_of
from polywheel.config.project import Project
from polywheel.errors import ConfigError
from polywheel.matrix.expansion import expand_project
from polywheel.model.plan import Plan
from polywheel.system.terminal import print_json, print_lines

FORMATS = ("table", "json", "labels", "github", "gitlab")
_FOR_CI = ("github", "gitlab")


def run(arguments: Sequence[str]) -> int:
    """Expand the matrix and print it as asked."""
    options = _parse(arguments)
    _check(options)
    project = project_of(options)
    plan = expand_project(project)
    if options.check_providers:
        from polywheel.matrix.providers import check_providers

        asked = check_providers(project, plan, fresh=options.fresh, notify=say)
        say(f"the providers know every property: {', '.join(asked) or 'there is none to ask'}")
    if options.why is not None:
        _print_reasons(project, plan, options)
    elif options.diff is not None:
        _print_difference(plan, options)
    else:
        _print_plan(chosen(plan, options), options)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel matrix",
        description="What the matrix of a project comes to: jobs, each of which is one wheel, and "
        "the builds that they are stamped from.",
        epilog="example: polywheel matrix . --format github --max-jobs 40 --select 'v3*'",
    )
    add_project(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--format",
        choices=FORMATS,
        default="table",
        help="table (default); json: the plan, see docs/plan.md; labels: one a line; github: the "
        "value of a job's matrix, in one line; gitlab: a child pipeline",
    )
    how.add_argument(
        "--json",
        action="store_const",
        const="json",
        dest="format",
        help="the same as --format json",
    )
    add_selection(parser)
    parser.add_argument(
        "--max-jobs",
        metavar="N",
        help="with github and gitlab: put builds of the same target together, so that there are at "
        "most N entries (github: 256 where it is not given)",
    )
    parser.add_argument(
        "--check-providers",
        action="store_true",
        help="first ask the providers whether they know every property, before anything is built",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="with --check-providers: install the plugins anew"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--why",
        metavar="LABEL",
        help="instead of the matrix: which rule made or removed the cells with this label (or the "
        "job with this id)",
    )
    instead.add_argument(
        "--diff",
        metavar="PLAN.json",
        help="instead of the matrix: what is added, removed and changed since this plan",
    )
    return parser.parse_args(arguments)


def _check(options: argparse.Namespace) -> None:
    """Refuse options that would be without effect."""
    instead = "--why" if options.why is not None else "--diff" if options.diff is not None else None
    if instead and (chooses(options) or options.durations is not None):
        raise ConfigError(
            f"{instead} is about the whole matrix", at=instead, hint="leave the selection out"
        )
    if instead and options.format not in {"table", "json"}:
        raise ConfigError(f"{instead} has no format {options.format!r}", at="--format")
    if options.max_jobs is not None and (instead or options.format not in _FOR_CI):
        raise ConfigError(
            "only the formats of CI systems have entries to put builds into",
            at="--max-jobs",
            hint="add --format github or --format gitlab",
        )
    if options.durations is not None and options.shard is None and options.format not in _FOR_CI:
        raise ConfigError(
            "a report says how long jobs take, and nothing is shared out here",
            at="--durations",
            hint="add --shard I/N, or --format github or gitlab",
        )


def _print_plan(plan: Plan, options: argparse.Namespace) -> None:
    if options.format == "json":
        from polywheel.matrix.plan_json import plan_as_json

        print_json(plan_as_json(plan), exact=True)
    elif options.format == "labels":
        from polywheel.matrix.selection import labels

        print_lines(labels(plan.jobs))
    elif options.format in _FOR_CI:
        print(_for_ci(plan, options))
    else:
        from polywheel.cli.matrix_table import print_table

        print_table(plan, whole=not chooses(options))


def _for_ci(plan: Plan, options: argparse.Namespace) -> str:
    from polywheel.matrix import ci_formats
    from polywheel.matrix.shards import pack

    to_github = options.format == "github"
    most = _max_jobs(options)
    if to_github:
        if most is not None and most > ci_formats.GITHUB_MOST:
            raise ConfigError(
                f"GitHub makes at most {ci_formats.GITHUB_MOST} jobs of a matrix, not {most}",
                at="--max-jobs",
            )
        most = most or ci_formats.GITHUB_MOST
    most = most or len(plan.builds)
    packs = pack(plan, most, durations(options, plan))
    if len(packs) < len(plan.builds):
        say(f"{len(plan.builds)} builds are put into {len(packs)} jobs")
    text = (ci_formats.github if to_github else ci_formats.gitlab)(plan, packs)
    if to_github and 2 * len(text) > ci_formats.GITHUB_OUTPUT:
        say(
            f"warning: these are {len(text)} letters, and GitHub hands no more than "
            f"{ci_formats.GITHUB_OUTPUT // 2} from one job to another: choose jobs, "
            "or pass the plan on as an artifact"
        )
    return text


def _max_jobs(options: argparse.Namespace) -> int | None:
    text = options.max_jobs
    if text is None:
        return None
    if not text.isdecimal() or not text.isascii() or len(text) > 6 or int(text) < 1:
        raise ConfigError(f"expected a whole number from 1, found {text!r}", at="--max-jobs")
    return int(text)


def _print_reasons(project: Project, plan: Plan, options: argparse.Namespace) -> None:
    from polywheel.matrix.why import cell_reasons, reasons_as_json, reasons_as_lines

    found = cell_reasons(project, plan, options.why)
    _print(options, reasons_as_json(found), reasons_as_lines(found))


def _print_difference(plan: Plan, options: argparse.Namespace) -> None:
    from polywheel.matrix.diff import difference, difference_as_json, difference_as_lines
    from polywheel.matrix.plan_json import read_plan

    found = difference(read_plan(Path(options.diff)), plan)
    _print(options, difference_as_json(found), difference_as_lines(found))


def _print(options: argparse.Namespace, document: dict[str, Any], lines: Iterable[str]) -> None:
    if options.format == "json":
        print_json(document)
    else:
        print_lines(lines)
