"""``polywheel matrix``: print the wheels and builds of a matrix, as a table or for CI."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from polywheel.cli import print_result, say
from polywheel.cli.arguments import CommandParser, add_options, number_up_to
from polywheel.cli.plans import (
    add_project,
    add_selection,
    ci_jobs,
    durations,
    has_selection,
    read_project_of,
    select_jobs,
)
from polywheel.config.project import Project
from polywheel.errors import DIFFERENT, ConfigError
from polywheel.matrix.expansion import expand_project
from polywheel.model.plan import Plan
from polywheel.system.terminal import print_json, print_lines

_FOR_CI = ("github", "gitlab")


def run(arguments: Sequence[str]) -> int:
    """Expand the matrix and print it. Returns 0, or 5 if it differs from a plan. Raises ConfigError."""
    options = _parse(arguments)
    _check(options)
    project = read_project_of(options)
    plan = expand_project(project)
    if options.check_providers:
        from polywheel.matrix.check_providers import check_providers

        if providers := check_providers(project, plan, fresh=options.fresh, notify=say):
            say(f"all properties are valid; checked with: {', '.join(providers)}")
        else:
            say("no provider plugin to check properties with")
    as_json = options.format == "json"
    if options.why is not None:
        from polywheel.matrix.why import cell_reasons, reasons_as_json, reasons_as_lines

        reasons = cell_reasons(project, plan, options.why)
        print_result(reasons_as_lines(reasons), reasons_as_json(reasons), as_json=as_json)
    elif options.diff is not None:
        from polywheel.matrix.diff import difference, difference_as_json, difference_as_lines
        from polywheel.matrix.plan_json import read_plan

        before = read_plan(Path(options.diff))
        if any(build.setup is None for build in before.builds):
            say(
                f"note: {options.diff} has no build setups, so changed setup rules are not shown: it is of "
                "an earlier version of polywheel"
            )
        changes = difference(before, plan)
        print_result(difference_as_lines(changes), difference_as_json(changes), as_json=as_json)
        return DIFFERENT if changes else 0
    else:
        _print_plan(project, select_jobs(plan, options), options)
    return 0


_FORMAT = """\
--format {table,json,labels,github,gitlab}
              output format. table (default); json: the plan (docs/plan.md); labels: one label per
              line; github: the matrix of a GitHub Actions job; gitlab: a GitLab child pipeline
--json        same as --format json
"""
_OPTIONS = """\
--max-jobs N  with --format github or gitlab: combine builds of one target into at most N CI jobs
              (default for github: 256)
--check-providers
              first check all properties with the provider plugins
--fresh       with --check-providers: reinstall the plugins
"""
_INSTEAD = """\
--why LABEL   show which rule added or removed the cells with this label or job id
--diff PLAN.json
              show the differences from an earlier plan; the exit code is 5 if there are any
"""


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="polywheel matrix",
        description="Show the matrix of a project: its jobs (one wheel each) and the builds that "
        "make them.",
        epilog="example: polywheel matrix . --format github --max-jobs 40 --select 'v3*'",
    )
    add_project(parser)
    add_options(parser.add_mutually_exclusive_group(), _FORMAT)
    add_selection(parser)
    add_options(parser, _OPTIONS, max_jobs=number_up_to(999_999))
    add_options(parser.add_mutually_exclusive_group(), _INSTEAD)
    options = parser.parse_args(arguments)
    options.format = "json" if options.json else options.format or "table"
    return options


def _check(options: argparse.Namespace) -> None:
    """Raises ConfigError for options that would have no effect."""
    instead = "--why" if options.why is not None else "--diff" if options.diff is not None else None
    if instead and (has_selection(options) or options.durations is not None):
        raise ConfigError(
            f"{instead} works on the whole matrix",
            at=instead,
            hint="leave out the options that select jobs",
        )
    if instead and options.format not in {"table", "json"}:
        raise ConfigError(
            f"{instead} does not support --format {options.format}",
            at="--format",
            hint="use table or json",
        )
    if options.fresh and not options.check_providers:
        what = "--fresh has no effect without --check-providers"
        raise ConfigError(what, at="--fresh", hint="add --check-providers")
    if options.max_jobs is not None and (instead or options.format not in _FOR_CI):
        raise ConfigError(
            "--max-jobs needs a CI format",
            at="--max-jobs",
            hint="add --format github or --format gitlab",
        )
    if options.durations is not None and options.shard is None and options.format not in _FOR_CI:
        raise ConfigError(
            "--durations has no effect without shards or CI jobs",
            at="--durations",
            hint="add --shard I/N, or --format github or gitlab",
        )


def _print_plan(project: Project, plan: Plan, options: argparse.Namespace) -> None:
    if options.format == "json":
        from polywheel.matrix.plan_json import plan_as_json

        print_json(plan_as_json(plan), exact=True)
    elif options.format == "labels":
        from polywheel.matrix.selection import labels

        print_lines(labels(plan.jobs))
    elif options.format in _FOR_CI:
        print(_for_ci(project, plan, options))
    else:
        from polywheel.cli.matrix_table import print_table

        print_table(plan, whole=not has_selection(options))


def _for_ci(project: Project, plan: Plan, options: argparse.Namespace) -> str:
    from polywheel.config.ci_table import read_ci

    packs, text = ci_jobs(
        plan,
        options.format,
        options.max_jobs,
        durations(options, plan),
        minutes=read_ci(project).github.timeout_minutes,
    )
    if len(packs) < len(plan.builds):
        say(f"{len(plan.builds)} builds are combined into {len(packs)} CI jobs")
    return text
