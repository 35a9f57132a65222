"""What the commands that work on a plan have in common: which project, which of its jobs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from polywheel.cli import say
from polywheel.config.project import CONFIG_VARIABLE, Project, config_file, read_project
from polywheel.errors import ConfigError
from polywheel.matrix.selection import Selection, select
from polywheel.model.plan import Plan

_CHOICES = ("select", "only", "python", "target", "pr_subset", "shard")


def add_project(parser: argparse.ArgumentParser) -> None:
    """``SOURCE`` and ``--config``."""
    parser.add_argument(
        "source", nargs="?", default=".", metavar="SOURCE", help="the project (default: .)"
    )
    add_config(parser)


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="take the [variant] and [tool.polywheel] tables of this file in place of the "
        f"project's (default: the file that {CONFIG_VARIABLE} names)",
    )


def project_of(options: argparse.Namespace) -> Project:
    """The project that the options name. Raises ConfigError."""
    config = Path(options.config) if options.config is not None else config_file()
    return read_project(Path(options.source), variants=True, config=config)


def add_selection(parser: argparse.ArgumentParser) -> None:
    """The options that choose jobs of a plan."""
    group = parser.add_argument_group(
        "which jobs", "all that are given together; each of the first four may be repeated"
    )
    group.add_argument(
        "--select",
        action="append",
        default=[],
        metavar="GLOB",
        help="those whose label or id matches; 'non-variant' is the label of the non-variant wheel",
    )
    group.add_argument(
        "--only",
        action="extend",
        nargs="+",
        default=[],
        metavar="JOB_ID",
        help="those with these ids, several in one argument too, as the CI formats have them",
    )
    group.add_argument(
        "--python", action="append", default=[], metavar="VERSION", help="those for this Python"
    )
    group.add_argument(
        "--target", action="append", default=[], metavar="NAME", help="those for this target"
    )
    group.add_argument(
        "--pr-subset",
        action="store_true",
        help="the fewest that have every value of every axis, for pull requests",
    )
    group.add_argument(
        "--shard", metavar="I/N", help="the I-th of N shares; builds are not split, only shared out"
    )
    group.add_argument(
        "--durations",
        metavar="FILE",
        help="a report of an earlier run: how long jobs take",
    )


def chooses(options: argparse.Namespace) -> bool:
    """Whether the options leave anything of a plan out."""
    return any(getattr(options, name) for name in _CHOICES)


def durations(options: argparse.Namespace, plan: Plan) -> Mapping[str, float]:
    """How long jobs took, by the report that the options name; empty where they name none."""
    if options.durations is None:
        return {}
    from polywheel.matrix.shards import read_durations

    found = read_durations(Path(options.durations))
    if not any(job.id in found for job in plan.jobs):
        say(f"note: {options.durations} knows none of the jobs: they are shared out by count")
    return found


def chosen(plan: Plan, options: argparse.Namespace) -> Plan:
    """The jobs that the options choose. Raises ConfigError."""
    ids = [one for text in options.only for one in text.split()]
    if options.only and not ids:
        raise ConfigError(
            "no id is given", at="--only", hint="polywheel matrix --json has the ids of all jobs"
        )
    tell_warnings(plan)
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
            say(f"note: there are fewer builds than shards, and none is for {options.shard}")
    return plan


def tell_warnings(plan: Plan) -> None:
    """What is probably a mistake in the matrix, on standard error."""
    for warning in plan.warnings:
        say(f"warning: {warning}")
