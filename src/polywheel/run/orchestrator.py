"""A whole plan, from its source to a directory of finished wheels."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

from polywheel.config.project import Project
from polywheel.errors import BuildError
from polywheel.model.plan import Build, Plan
from polywheel.model.profile import BackendProfile
from polywheel.providers.environment import cache_directory
from polywheel.run.builder import Builder, Outcome, Standing
from polywheel.run.compile_slots import Slots, compile_slots
from polywheel.run.environments import Environments
from polywheel.run.interpreters import Interpreter, find_interpreter, install_interpreter
from polywheel.run.journal import Journal, opened_journal
from polywheel.run.orders import Workshop
from polywheel.run.report import Report
from polywheel.run.scheduler import Finished, Limits, Task, run_all
from polywheel.run.sdist import SdistMaker
from polywheel.run.served import served_polywheel, without_polywheel
from polywheel.run.source import Source, opened_source

_DEFAULT_REQUIRES = ("setuptools>=40.8.0",)
"""What builds a project that names no backend (PEP 518, "build-system table")."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """How a run is to go."""

    out: Path
    at_once: int
    """Jobs at a time, and compile slots for all of them together."""

    logs: Path
    keep_going: bool = True
    fresh: bool = False
    """Whether kept environments are made anew."""

    force: bool = False
    """Whether a wheel of another origin may be written over."""

    clean: bool = False
    """Whether only what is committed is built."""

    install_python: bool = False
    config: Path | None = None
    settings: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    """Config settings for the real backend."""

    seconds: float | None = None
    """How long one job may take."""

    memory_per_job: int = 0
    """Bytes; 0 where nobody said."""

    recorded: Mapping[str, float] = field(default_factory=dict)
    """Seconds that jobs took, from an earlier report."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Watcher:
    """Whoever wants to know how it goes; each is called in the thread that runs the plan."""

    said: Callable[[str], None] = lambda _: None
    begun: Callable[[Sequence[Build], Sequence[Outcome]], None] = lambda *_: None
    """The builds that there is work for, and the outcomes of the others."""

    started: Callable[[Build], None] = lambda _: None
    ended: Callable[[Outcome], None] = lambda _: None


def run_plan(
    plan: Plan,
    project: Project,
    source: Path,
    wishes: Wishes,
    *,
    here: str,
    profile: BackendProfile | None,
    watcher: Watcher,
) -> Report:
    """Make the wheels of a plan that this machine (the target ``here``) can make.

    A failure of one build is an outcome in the report; PolywheelError is raised for what keeps all
    of them from being made. After KeyboardInterrupt, what runs is ended, and the report says so.
    """
    started = time.monotonic()
    requires = without_polywheel(
        project.build_system.requires or _DEFAULT_REQUIRES,
        at="pyproject.toml: build-system.requires",
    )
    builds = [build for build in plan.builds if build.target == here]
    elsewhere = tuple(build.id for build in plan.builds if build.target != here)
    with (
        opened_journal(wishes.out) as journal,
        opened_source(source, clean=wishes.clean) as tree,
        compile_slots(wishes.at_once, wishes.at_once) as slots,
    ):
        interpreters, missing = _interpreters(builds, wishes, watcher)
        stop = Event()
        shop = _workshop(tree, wishes, stop)
        environments = Environments(fresh=wishes.fresh, notify=watcher.said)
        wishes.logs.mkdir(parents=True, exist_ok=True)
        built = tree
        if interpreters and source.is_dir():
            built = SdistMaker(
                shop=shop,
                interpreter=next(iter(interpreters.values())),
                environments=environments,
                requires=requires,
                profile=profile.name if profile is not None else None,
                place=_place(source),
                log=wishes.logs / "sdist.log",
                notify=watcher.said,
            ).unpacked_sdist(tree)
        run = _Run(
            plan=plan,
            requires=requires,
            tree=built,
            place=_place(source),
            shop=shop,
            environments=environments,
            wishes=wishes,
            interpreters=interpreters,
            journal=journal,
            slots=slots,
            profile=profile,
            watcher=watcher,
        )
        outcomes, interrupted = run.all(builds, missing)
    order = {build.id: number for number, build in enumerate(plan.builds)}
    return Report(
        plan=plan,
        out=wishes.out,
        outcomes=tuple(sorted(outcomes, key=lambda one: order[one.build])),
        elsewhere=elsewhere,
        seconds=time.monotonic() - started,
        interrupted=interrupted,
    )


def _place(source: Path) -> Path:
    """Where the builds of a source lie: always the same folder, so that compiler caches hit."""
    resolved = os.fsencode(source.resolve())
    name = f"{source.resolve().stem[:40]}-{hashlib.sha256(resolved).hexdigest()[:10]}"
    return cache_directory() / "work" / name


def _interpreters(
    builds: Iterable[Build], wishes: Wishes, watcher: Watcher
) -> tuple[dict[str, Interpreter], dict[str, str]]:
    """The Pythons of the builds; and why those that are not there are not."""
    pythons = sorted({build.python for build in builds})
    found: dict[str, Interpreter] = {}
    missing: dict[str, str] = {}
    if not pythons:
        return found, missing
    with ThreadPoolExecutor(max_workers=min(8, len(pythons))) as pool:
        for python, one in zip(pythons, pool.map(find_interpreter, pythons), strict=True):
            if one is not None:
                found[python] = one
            elif not wishes.install_python:
                missing[python] = f"there is no Python {python} here; --install-python gets it"
            else:
                try:
                    found[python] = install_interpreter(python, notify=watcher.said)
                except BuildError as error:
                    missing[python] = error.problems[0].what
    return found, missing


def _workshop(tree: Source, wishes: Wishes, stop: Event) -> Workshop:
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return Workshop(
        polywheel=served_polywheel(),
        config=wishes.config,
        settings=wishes.settings,
        epoch=int(epoch) if epoch.isdigit() else tree.epoch,
        seconds=wishes.seconds,
        stop=stop,
    )


@dataclass(kw_only=True)
class _Run:
    plan: Plan
    requires: Sequence[str]
    tree: Source
    place: Path
    shop: Workshop
    environments: Environments
    wishes: Wishes
    interpreters: Mapping[str, Interpreter]
    journal: Journal
    slots: Slots
    profile: BackendProfile | None
    watcher: Watcher

    def all(
        self, builds: Sequence[Build], missing: Mapping[str, str]
    ) -> tuple[list[Outcome], bool]:
        """The outcomes, and whether the run was interrupted."""
        builder = self._builder(self.shop.stop)
        outcomes = [
            Outcome(build=build.id, state="no interpreter", error=missing[build.python])
            for build in builds
            if build.python in missing
        ]
        standings: dict[str, Standing] = {}
        for build in builds:
            if build.python in missing:
                continue
            standing = builder.look(build)
            if standing.missing:
                standings[build.id] = standing
            else:
                outcomes.append(Outcome(build=build.id, state="skipped", wheels=standing.wheels))
        waiting = {build.id: build for build in builds if build.id in standings}
        self.watcher.begun(list(waiting.values()), outcomes)
        for outcome in outcomes:
            self.watcher.ended(outcome)
        interrupted = False

        def work(task: Task, stop: Event) -> Outcome:
            build = waiting[task.id]
            return self._builder(stop, builder).make(build, standings[task.id])

        def ended(done: Finished[Outcome]) -> None:
            outcomes.append(done.result)
            self.watcher.ended(done.result)

        try:
            run_all(
                [self._task(build) for build in waiting.values()],
                work,
                limits=self._limits(),
                failed=lambda outcome: outcome.state == "failed",
                started=lambda task: self.watcher.started(waiting[task.id]),
                finished=ended,
            )
        except KeyboardInterrupt:
            interrupted = True
        known = {outcome.build for outcome in outcomes}
        for identifier, standing in standings.items():
            if identifier not in known:
                outcomes.append(Outcome(build=identifier, state="waiting", wheels=standing.wheels))
        return outcomes, interrupted

    def _builder(self, stop: Event, like: Builder | None = None) -> Builder:
        """A builder whose orders end when ``stop`` is set."""
        if like is not None:
            return replace(like, shop=replace(like.shop, stop=stop))
        return Builder(
            plan=self.plan,
            requires=self.requires,
            source=self.tree,
            place=self.place,
            shop=self.shop,
            interpreters=self.interpreters,
            environments=self.environments,
            journal=self.journal,
            out=self.wishes.out,
            logs=self.wishes.logs,
            slots=self.slots,
            profile=self.profile,
            force=self.wishes.force,
        )

    def _task(self, build: Build) -> Task:
        took = [self.wishes.recorded.get(job) or self.journal.seconds(job) for job in build.jobs]
        known = [one for one in took if one is not None]
        return Task(
            id=build.id,
            seconds=max(known) if known else None,
            memory=self.wishes.memory_per_job,
        )

    def _limits(self) -> Limits:
        return Limits(
            at_once=self.wishes.at_once,
            memory=_free_memory() if self.wishes.memory_per_job else None,
            keep_going=self.wishes.keep_going,
        )


def _free_memory() -> int | None:
    """Bytes that programs may still take; None where the system does not say."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        line = next(one for one in text.splitlines() if one.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) // 2
    except (AttributeError, OSError, ValueError):
        return None


def cpu_count() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1
