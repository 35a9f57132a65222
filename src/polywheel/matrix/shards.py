"""Distribute the builds of a plan to shards, or to the jobs of a CI system.

A build is never split, because its jobs are stamped from one wheel. The longest build goes first, each to the share
with the least work; ties are decided by id. So the result does not depend on the machine or on the order of the plan.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from math import fsum, isfinite
from pathlib import Path
from statistics import median

from polywheel.errors import ConfigError
from polywheel.matrix.plan_json import raise_problems, read_document
from polywheel.matrix.platforms import python_order
from polywheel.matrix.selection import keep_jobs
from polywheel.model.plan import Build, Plan

REPORT_SHAPE = 1
"""The version of the reports."""
_SHARD = re.compile(r"([1-9][0-9]{0,4})/([1-9][0-9]{0,4})")

Seconds = Mapping[str, float]
"""Durations of jobs by id."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One share of a plan. The first number is 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``I/N``. Raises ConfigError."""
        match = _SHARD.fullmatch(text.strip())
        if not match or int(match[1]) > int(match[2]):
            raise ConfigError(
                f"malformed shard {text!r}",
                at="--shard",
                hint="expected I/N, for example 1/4 to 4/4: the first to the last of four",
            )
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class Pack:
    """The builds of one job of a CI system, all for one target and machine. They run one after the other."""

    builds: tuple[Build, ...]

    @property
    def target(self) -> str:
        return self.builds[0].target

    @property
    def pythons(self) -> tuple[str, ...]:
        """The Pythons that build, lowest first."""
        return tuple(sorted({build.python for build in self.builds}, key=python_order))

    @property
    def jobs(self) -> tuple[str, ...]:
        return tuple(job for build in self.builds for job in build.jobs)


def shard(plan: Plan, share: Shard, seconds: Seconds) -> Plan:
    """One share of a plan. Each build is in one share. If there are more shares than builds, some are empty."""
    builds = {*_distribute(build_seconds(plan, seconds), share.of)[share.number - 1]}
    return keep_jobs(plan, {job.id for job in plan.jobs if job.build in builds})


def pack(plan: Plan, most: int, seconds: Seconds) -> tuple[Pack, ...]:
    """All builds of a plan in at most ``most`` packs, in the order of the plan.

    The builds of a pack have one target, runner, and container. If there are enough packs,
    they also have one Python. Raises ConfigError if there are more targets than packs.
    """
    if len(plan.builds) <= most:
        return tuple(Pack((build,)) for build in plan.builds)
    groups: dict[object, list[Build]] = {}
    for build in plan.builds:
        groups.setdefault((_machine(build), build.python), []).append(build)
    if len(groups) > most:
        groups = {}
        for build in plan.builds:
            groups.setdefault(_machine(build), []).append(build)
    if len(groups) > most:
        raise ConfigError(
            f"builds for {len(groups)} targets and images do not fit into {most} jobs: "
            "a job runs on one machine",
            at="--max-jobs",
            hint=f"give {len(groups)} or more, or choose targets with --target",
        )
    weights = build_seconds(plan, seconds)
    by_id = {build.id: build for build in plan.builds}
    order = {identifier: number for number, identifier in enumerate(by_id)}
    packs: list[Pack] = []
    for builds, count in zip(groups.values(), _apportion(groups, weights, most), strict=True):
        shares = _distribute({build.id: weights[build.id] for build in builds}, count)
        ordered = (sorted(share, key=order.__getitem__) for share in shares)
        packs += [Pack(tuple(by_id[name] for name in share)) for share in ordered]
    return tuple(sorted(packs, key=lambda pack: order[pack.builds[0].id]))


def _machine(build: Build) -> object:
    """Equal for builds that can run in one job of a CI system."""
    settings = build.settings
    credentials = settings.container_credentials
    return (build.target, settings.runner, settings.image, settings.container_options, credentials)


def _apportion(
    groups: Mapping[object, Sequence[Build]], weights: Mapping[str, float], most: int
) -> list[int]:
    """The number of packs of each group: one, and more for groups with the longest packs."""
    sizes = [len(builds) for builds in groups.values()]
    loads = [fsum(weights[build.id] for build in builds) for builds in groups.values()]
    counts = [1] * len(sizes)
    queue = [(-loads[n], -float(size), n) for n, size in enumerate(sizes) if size > 1]
    heapify(queue)
    for _ in range(most - len(sizes)):
        if not queue:
            break
        number = heappop(queue)[-1]
        counts[number] += 1
        count = counts[number]
        if count < sizes[number]:
            heappush(queue, (-loads[number] / count, -sizes[number] / count, number))
    return counts


def build_seconds(plan: Plan, seconds: Seconds) -> dict[str, float]:
    """The duration of each build with its jobs, by id.

    The duration of an unknown build is the median of the known ones. Without any, it is 1.
    """
    known = {
        build.id: fsum(seconds[job] for job in build.jobs if job in seconds)
        for build in plan.builds
        if any(job in seconds for job in build.jobs)
    }
    default = median(known.values()) if known else 1.0
    return {build.id: known.get(build.id, default) for build in plan.builds}


def _distribute(weights: Mapping[str, float], count: int) -> list[list[str]]:
    """The names in ``count`` shares: the longest first, each to the share with the least work."""
    shares: list[list[str]] = [[] for _ in range(count)]
    loads = [(0.0, 0, number) for number in range(count)]
    for name in sorted(weights, key=lambda name: (-weights[name], name)):
        load, size, number = loads[0]
        shares[number].append(name)
        heapreplace(loads, (load + weights[name], size + 1, number))
    return shares


def read_durations(path: Path) -> dict[str, float]:
    """Durations of jobs from the report of a run: ``{"shape": 1, "jobs": [{"id", "seconds"}]}``.

    Other keys, and jobs without ``seconds``, are ignored. Raises ConfigError.
    """
    hint = "polywheel build --report FILE writes one"
    table = read_document(path, REPORT_SHAPE, what="report", hint=hint, closed=False)
    durations: dict[str, float] = {}
    for job in table.tables("jobs"):
        identifier, seconds = job.string("id"), job.number("seconds")
        if identifier is None and job.data.get("id") is None:
            job.wrong("id", "id is missing")
        elif seconds is None or identifier is None:
            continue
        elif not isfinite(seconds) or seconds < 0:
            job.wrong("seconds", f"expected seconds, found {seconds:g}")
        elif identifier in durations:
            job.wrong("id", f"{identifier[:200]!r} is listed twice")
        else:
            durations[identifier] = seconds
    if "jobs" not in table:
        table.wrong("jobs", "jobs is missing")
    raise_problems(table.problems)
    return durations
