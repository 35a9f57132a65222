"""Options that several commands share: the project, and the jobs of its plan."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from polywheel.cli import say
from polywheel.cli.arguments import add_options
from polywheel.config.project import CONFIG_VARIABLE, Project, config_file, read_project
from polywheel.errors import ConfigError
from polywheel.matrix.selection import Selection, select
from polywheel.model.plan import Plan

if TYPE_CHECKING:
    from polywheel.matrix.shards import Pack

_SELECTION = ("select", "only", "python", "target", "pr_subset", "shard")


_CONFIG = f"""\
--config FILE  read [variant] and [tool.polywheel] from FILE instead of pyproject.toml (default: the
               value of {CONFIG_VARIABLE})
"""
_JOB_SELECTION = """\
--select GLOB ...       jobs whose label or id matches GLOB; the label of the non-variant wheel is
                        'non-variant'
--only JOB_ID [JOB_ID ...]
                        jobs with these ids; one argument may hold several ids, separated by spaces
--python VERSION ...    jobs for this Python version
--target NAME ...       jobs for this target
--pr-subset             the fewest jobs that cover every value of every axis, for pull requests
--shard I/N             shard I of N; the jobs of one build stay in one shard
--durations FILE        estimate build times from FILE, the report of an earlier run
"""


def add_project(parser: argparse.ArgumentParser) -> None:
    """Add ``SOURCE`` and ``--config``."""
    add_source(parser)
    add_config(parser)


def add_source(parser: argparse.ArgumentParser) -> None:
    text = "the project (default: .)"
    parser.add_argument("source", nargs="?", default=".", metavar="SOURCE", help=text)


def add_config(parser: argparse.ArgumentParser) -> None:
    add_options(parser, _CONFIG)


def config_path(options: argparse.Namespace) -> Path | None:
    """The file of ``--config``, else that of the environment variable; None for pyproject.toml."""
    return options.config or config_file()


def read_project_of(options: argparse.Namespace) -> Project:
    """Read the project that ``SOURCE`` and ``--config`` name. Raises ConfigError."""
    return read_project(Path(options.source), variants=True, config=config_path(options))


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the options that select jobs of a plan."""
    group = parser.add_argument_group(
        "job selection",
        "a job must match every option; --select, --only, --python, and --target may be repeated",
    )
    add_options(group, _JOB_SELECTION, durations=Durations)


def has_selection(options: argparse.Namespace) -> bool:
    """Whether the options can leave out jobs of a plan."""
    return any(getattr(options, name) for name in _SELECTION)


class Durations:
    """The report of ``--durations``, which is read once, when it is needed."""

    def __init__(self, file: str) -> None:
        self.file = file

    @cached_property
    def seconds(self) -> Mapping[str, float]:
        """Seconds by job."""
        from polywheel.matrix.shards import read_durations

        return read_durations(Path(self.file))


def durations(options: argparse.Namespace, plan: Plan) -> Mapping[str, float]:
    """Seconds by job, from the report of ``--durations``; empty without this option."""
    report: Durations | None = options.durations
    if report is None:
        return {}
    if not any(job.id in report.seconds for job in plan.jobs):
        say(
            f"note: {report.file} has none of these jobs; shards are balanced by the number of builds"
        )
    return report.seconds


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
        globs=tuple(glob for text in options.select for glob in text.split()),
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


def ci_jobs(
    plan: Plan,
    ci: str,
    max_jobs: int | None,
    seconds: Mapping[str, float],
    *,
    minutes: int,
    at: str = "--max-jobs",
) -> tuple[Sequence[Pack], str]:
    """Combine the builds of a plan into jobs of ``github`` or ``gitlab``. Return them, and as text.

    ``seconds`` are the build times by job, ``minutes`` the time limit of a job on GitHub, and ``at`` is the place of
    ``max_jobs``. Raises ConfigError for more jobs than GitHub allows.
    """
    from polywheel.ci import plan_formats
    from polywheel.matrix.shards import pack

    if ci == "gitlab":
        packs = pack(plan, max_jobs or len(plan.builds), seconds)
        return packs, plan_formats.gitlab(plan, packs)
    most = plan_formats.GITHUB_MOST
    if max_jobs is not None and max_jobs > most:
        raise ConfigError(
            f"expected at most {most}, the largest matrix on GitHub, found {max_jobs}",
            at=at,
        )
    packs = pack(plan, max_jobs or most, seconds)
    return packs, plan_formats.github(plan, packs, minutes=minutes)


def print_warnings(plan: Plan) -> None:
    """Print the warnings of a plan on standard error."""
    for warning in plan.warnings:
        say(f"warning: {warning}")
