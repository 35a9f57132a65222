"""Sharing the builds of a plan out: among shards that CI starts, or into the entries it may have.

A build is never split: its jobs are stamped from one wheel. Builds go, the longest first, each to the
share that has least to do (longest processing time first), ties by id; so the same plan is shared out
in the same way everywhere, and in whatever order it comes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from math import fsum, isfinite
from pathlib import Path
from statistics import median

from polywheel.errors import ConfigError
from polywheel.matrix.plan_json import read_document, settle, tables
from polywheel.matrix.platforms import python_order
from polywheel.matrix.selection import of_builds
from polywheel.model.plan import Build, Plan

REPORT_SHAPE = 1
"""The version of reports whose durations are read."""
_SHARD = re.compile(r"([1-9][0-9]{0,4})/([1-9][0-9]{0,4})")

Seconds = Mapping[str, float]
"""How long jobs took, by id."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One share of so many; the first is 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``I/N``. Raises ConfigError."""
        found = _SHARD.fullmatch(text.strip())
        if not found or int(found[1]) > int(found[2]):
            raise ConfigError(
                f"malformed shard {text!r}",
                at="--shard",
                hint="expected I/N, for example 1/4 to 4/4: the first to the last of four",
            )
        return cls(int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True)
class Pack:
    """Builds that one entry of a CI matrix does one after the other; all of one target."""

    builds: tuple[Build, ...]

    @property
    def target(self) -> str:
        return self.builds[0].target

    @property
    def pythons(self) -> tuple[str, ...]:
        """Those that build, lowest first."""
        return tuple(sorted({one.python for one in self.builds}, key=python_order))

    @property
    def jobs(self) -> tuple[str, ...]:
        return tuple(job for one in self.builds for job in one.jobs)


def shard(plan: Plan, one: Shard, seconds: Seconds) -> Plan:
    """One share of a plan. All of them together are the plan, and no two have a build in common;
    where there are more shares than builds, some are empty.
    """
    shares = _shares(build_seconds(plan, seconds), one.of)
    return of_builds(plan, shares[one.number - 1])


def pack(plan: Plan, most: int, seconds: Seconds) -> tuple[Pack, ...]:
    """All builds of a plan in at most so many packs, in its order.

    Every pack is of one target, since that says on which machine it runs; and of one Python, where
    there are packs enough for that. Raises ConfigError where there are more targets than packs.
    """
    if len(plan.builds) <= most:
        return tuple(Pack((one,)) for one in plan.builds)
    groups: dict[object, list[Build]] = {}
    for build in plan.builds:
        groups.setdefault((build.target, build.python), []).append(build)
    if len(groups) > most:
        groups = {}
        for build in plan.builds:
            groups.setdefault(build.target, []).append(build)
    if len(groups) > most:
        raise ConfigError(
            f"builds for {len(groups)} targets do not fit into {most} jobs: "
            "a job runs on one machine",
            at="--max-jobs",
            hint=f"give {len(groups)} or more, or choose targets with --target",
        )
    weights = build_seconds(plan, seconds)
    by_id = {one.id: one for one in plan.builds}
    order = {identifier: number for number, identifier in enumerate(by_id)}
    packs: list[Pack] = []
    counts = _apportion(groups.values(), weights, most)
    for members, count in zip(groups.values(), counts, strict=True):
        shares = _shares({one.id: weights[one.id] for one in members}, count)
        ordered = (sorted(share, key=order.__getitem__) for share in shares)
        packs += [Pack(tuple(by_id[name] for name in share)) for share in ordered]
    return tuple(sorted(packs, key=lambda one: order[one.builds[0].id]))


def _apportion(groups: Iterable[list[Build]], weights: Mapping[str, float], most: int) -> list[int]:
    """How many packs each group gets: one, and the others where they shorten the longest."""
    sizes = [len(group) for group in groups]
    loads = [fsum(weights[one.id] for one in group) for group in groups]
    counts = [1] * len(sizes)
    waiting: list[tuple[float, float, int]] = [
        (-load, -size, number)
        for number, (load, size) in enumerate(zip(loads, sizes, strict=True))
        if size > 1
    ]
    heapify(waiting)
    for _ in range(most - len(sizes)):
        if not waiting:
            break
        _, _, number = heappop(waiting)
        counts[number] += 1
        if counts[number] < sizes[number]:
            count = counts[number]
            heappush(waiting, (-loads[number] / count, -sizes[number] / count, number))
    return counts


def build_seconds(plan: Plan, seconds: Seconds) -> dict[str, float]:
    """How long each build takes with its jobs, by id.

    That of a build which is not recorded is the median of the others; where none is recorded,
    each counts for 1.
    """
    known = {
        build.id: fsum(seconds[job] for job in build.jobs if job in seconds)
        for build in plan.builds
        if any(job in seconds for job in build.jobs)
    }
    otherwise = median(known.values()) if known else 1.0
    return {build.id: known.get(build.id, otherwise) for build in plan.builds}


def _shares(weights: Mapping[str, float], count: int) -> list[list[str]]:
    """The names in so many shares, the longest first to the one with least to do."""
    shares: list[list[str]] = [[] for _ in range(count)]
    loads = [(0.0, 0, number) for number in range(count)]
    for name, weight in sorted(weights.items(), key=lambda one: (-one[1], one[0])):
        load, size, number = loads[0]
        shares[number].append(name)
        heapreplace(loads, (load + weight, size + 1, number))
    return shares


def read_durations(path: Path) -> dict[str, float]:
    """How long jobs took, from the report of a run: ``{"shape": 1, "jobs": [{"id", "seconds"}]}``.

    Other keys are left alone, and so is a job without ``seconds``. Raises ConfigError.
    """
    hint = "polywheel build --report FILE writes one"
    table = read_document(path, REPORT_SHAPE, what="report", hint=hint, closed=False)
    found: dict[str, float] = {}
    for job in tables(table, "jobs"):
        identifier, seconds = job.string("id"), job.number("seconds")
        if identifier is None and job.data.get("id") is None:
            job.wrong("id", "id is missing")
        elif seconds is None or identifier is None:
            continue
        elif not isfinite(seconds) or seconds < 0:
            job.wrong("seconds", f"expected seconds, found {seconds:g}")
        elif identifier in found:
            job.wrong("id", f"{identifier[:200]!r} is listed twice")
        else:
            found[identifier] = seconds
    if "jobs" not in table:
        table.wrong("jobs", "jobs is missing")
    settle(table.problems)
    return found
