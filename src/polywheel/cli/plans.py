"""Options that several commands share: the project, and the jobs of its plan."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from polywheel.cli import say
from polywheel.config.project import CONFIG_VARIABLE, Project, config_file, read_project
from polywheel.errors import ConfigError
from polywheel.matrix.selection import Selection, select
from polywheel.model.plan import Plan

_SELECTION = ("select", "only", "python", "target", "pr_subset", "shard")


def add_project(parser: argparse.ArgumentParser) -> None:
    """Add ``SOURCE`` and ``--config``."""
    parser.add_argument(
        "source", nargs="?", default=".", metavar="SOURCE", help="the project (default: .)"
    )
    add_config(parser)


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="read [variant] and [tool.polywheel] from FILE instead of pyproject.toml (default: "
        f"the value of {CONFIG_VARIABLE})",
    )


def read_project_of(options: argparse.Namespace) -> Project:
    """Read the project that ``SOURCE`` and ``--config`` name. Raises ConfigError."""
    config = Path(options.config) if options.config is not None else config_file()
    return read_project(Path(options.source), variants=True, config=config)


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the options that select jobs of a plan."""
    group = parser.add_argument_group(
        "job selection",
        "a job must match every option; --select, --only, --python, and --target may be repeated",
    )
    group.add_argument(
        "--select",
        action="append",
        default=[],
        metavar="GLOB",
        help="jobs whose label or id matches GLOB; the label of the non-variant wheel is "
        "'non-variant'",
    )
    group.add_argument(
        "--only",
        action="extend",
        nargs="+",
        default=[],
        metavar="JOB_ID",
        help="jobs with these ids; one argument may hold several ids, separated by spaces",
    )
    group.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="VERSION",
        help="jobs for this Python version",
    )
    group.add_argument(
        "--target", action="append", default=[], metavar="NAME", help="jobs for this target"
    )
    group.add_argument(
        "--pr-subset",
        action="store_true",
        help="the fewest jobs that cover every value of every axis, for pull requests",
    )
    group.add_argument(
        "--shard", metavar="I/N", help="shard I of N; the jobs of one build stay in one shard"
    )
    group.add_argument(
        "--durations",
        metavar="FILE",
        help="estimate build times from FILE, the report of an earlier run",
    )


def has_selection(options: argparse.Namespace) -> bool:
    """Whether the options can leave out jobs of a plan."""
    return any(getattr(options, name) for name in _SELECTION)


def durations(options: argparse.Namespace, plan: Plan) -> Mapping[str, float]:
    """Seconds by job, from the report of ``--durations``; empty without this option."""
    if options.durations is None:
        return {}
    from polywheel.matrix.shards import read_durations

    seconds = read_durations(Path(options.durations))
    if not any(job.id in seconds for job in plan.jobs):
        say(
            f"note: {options.durations} has none of these jobs; shards are balanced by the number "
            "of builds"
        )
    return seconds


def select_jobs(plan: Plan, options: argparse.Namespace) -> Plan:
    """The plan with the selected jobs only. Prints the warnings of the plan. Raises ConfigError."""
    ids = [identifier for text in options.only for identifier in text.split()]
    if options.only and not ids:
        raise ConfigError(
            "expected at least one job id",
            at="--only",
            hint="polywheel matrix --json lists the ids of all jobs",
        )
    print_warnings(plan)
    selection = Selection(
        globs=tuple(options.select),
        jobs=tuple(ids),
        pythons=tuple(options.python),
        targets=tuple(options.target),
    )
    plan = select(plan, selection)
    if options.pr_subset:
        from polywheel.matrix.selection import pr_subset

        plan = pr_subset(plan)
    if options.shard is not None:
        from polywheel.matrix.shards import Shard, shard

        plan = shard(plan, Shard.parse(options.shard), durations(options, plan))
        if not plan.jobs:
            say(f"note: shard {options.shard} is empty: there are fewer builds than shards")
    return plan


def github_max_jobs(option: int | None) -> int:
    """The most CI jobs, from ``--max-jobs``. Raises ConfigError for more than GitHub allows."""
    from polywheel.ci.plan_formats import GITHUB_MOST

    if option is not None and option > GITHUB_MOST:
        raise ConfigError(
            f"expected at most {GITHUB_MOST}, the largest matrix on GitHub, found {option}",
            at="--max-jobs",
        )
    return option or GITHUB_MOST


def print_warnings(plan: Plan) -> None:
    """Print the warnings of a plan on standard error."""
    for warning in plan.warnings:
        say(f"warning: {warning}")
